#include "attempts.h"

#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "procfs.h"
#include "protocol.h"

static const char MARKER[] = "BARBOSSA_ATTEMPT";

enum { BUCKETS = 1024 };

struct attempt **attempts;
size_t attempt_count;

static struct stranger *strangers[BUCKETS];
static uint64_t last_serial;

struct attempt *attempt_add(uint64_t serial, const char *marker)
{
    static size_t room;
    if (attempt_count == room)
        attempts = grown(attempts, (room = room ? 2 * room : 64) * sizeof *attempts);
    struct attempt *attempt = grown(NULL, sizeof *attempt);
    *attempt = (struct attempt){.serial = serial, .kill_at = NEVER, .killed_at = NEVER, .status = NO_STATUS, .told = -1};
    last_serial = serial;
    attempt->marker = strcpy(grown(NULL, strlen(marker) + 1), marker);
    return attempts[attempt_count++] = attempt;
}

void attempt_remove(struct attempt *attempt)
{
    for (size_t i = 0; i < attempt_count; i++)
        if (attempts[i] == attempt) {
            attempts[i] = attempts[--attempt_count];
            break;
        }
    attempt_began(attempt);
    free(attempt->marker);
    free(attempt);
}

void attempt_began(struct attempt *attempt)
{
    if (attempt->told >= 0)
        close(attempt->told);
    attempt->told = -1;
}

struct attempt *attempt_by_serial(uint64_t serial)
{
    for (size_t i = 0; i < attempt_count; i++)
        if (attempts[i]->serial == serial)
            return attempts[i];
    return NULL;
}

struct attempt *attempt_by_main(pid_t pid)
{
    for (size_t i = 0; i < attempt_count; i++)
        if (attempts[i]->pid == pid && !attempts[i]->is_ending)
            return attempts[i];
    return NULL;
}

void attempt_used(struct attempt *attempt, const struct rusage *usage)
{
    attempt->cpu_microseconds += 1000000LL * (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec);
    attempt->cpu_microseconds += usage->ru_utime.tv_usec + usage->ru_stime.tv_usec;
    if (usage->ru_maxrss > attempt->peak_kib)
        attempt->peak_kib = usage->ru_maxrss;
}

static void find_owner(struct stranger *stranger, uint64_t tag)
{
    uint64_t serial = tag ? tag - read_tag(stranger->pid) : 0;
    if (0 < serial && serial <= last_serial) { /* anybody may lower a tag, to that of an attempt that there never was */
        stranger->owner = serial;
        return;
    }
    struct process_stat found;
    if (!read_stat(stranger->pid, &found))
        return;
    stranger->start_ticks = found.start_ticks;
    char marker[MOST_TEXT_BYTES] = "";
    bool is_marked = read_variable(stranger->pid, MARKER, marker, sizeof marker);
    for (size_t i = 0; i < attempt_count; i++) {
        const struct attempt *attempt = attempts[i];
        if (attempt->pid == found.session || (is_marked && strcmp(marker, attempt->marker) == 0)) {
            stranger->owner = attempt->serial;
            return;
        }
    }
    stranger->is_shared = true;
}

struct stranger *stranger_of(pid_t pid, uint64_t tag)
{
    struct stranger **bucket = &strangers[(unsigned)pid % BUCKETS];
    for (struct stranger *found = *bucket; found; found = found->next)
        if (found->pid == pid)
            return found;
    struct stranger *stranger = grown(NULL, sizeof *stranger);
    *stranger = (struct stranger){.next = *bucket, .pid = pid};
    find_owner(stranger, tag);
    return *bucket = stranger;
}

void stranger_forget(pid_t pid)
{
    for (struct stranger **at = &strangers[(unsigned)pid % BUCKETS]; *at; at = &(*at)->next)
        if ((*at)->pid == pid) {
            struct stranger *gone = *at;
            *at = gone->next;
            free(gone);
            return;
        }
}

bool owns(const struct attempt *attempt, const struct stranger *stranger)
{
    if (stranger->is_shared)
        return attempt->boot_ticks <= stranger->start_ticks + 1;
    return attempt->serial == stranger->owner;
}

struct attempt *only_owner(const struct stranger *stranger)
{
    struct attempt *owner = NULL;
    for (size_t i = 0; i < attempt_count; i++)
        if (owns(attempts[i], stranger)) {
            if (owner)
                return NULL;
            owner = attempts[i];
        }
    return owner;
}
