/* The attempts between their launch and their end, and whose the processes are that lost their parents.
 *
 * Whose is a process that has no parent but the reaper? Its tag says it, or where that cannot be set or was changed,
 * its environment or its session. Failing these it belongs to all attempts that were alive when it was made, and dies
 * with the last of them.
 */
#ifndef ATTEMPTS_H
#define ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct attempt {
    uint64_t serial;
    char *marker;
    pid_t pid; /* of its first process, the main one */
    int told; /* what came of its start (spawn.h), -1 once that is known */
    uint64_t boot_ticks;
    int64_t started_ms, finished_ms;
    double announce_at, kill_at, killed_at; /* on the monotonic clock; NEVER */
    bool is_announced, is_stopping;
    bool is_ending; /* the main process is gone */
    bool is_left;   /* others were found, while it is ending */
    int status;
    int64_t cpu_microseconds, peak_kib;
};

#define NEVER (1.0 / 0.0)

struct stranger {
    struct stranger *next;
    pid_t pid;
    uint64_t owner; /* the serial of an attempt, which may have ended by now, 0 for none */
    bool is_shared; /* by those that were alive when it was made */
    uint64_t start_ticks;
    double killed_at; /* 0: not yet */
};

extern struct attempt **attempts;
extern size_t attempt_count;

struct attempt *attempt_add(uint64_t serial, const char *marker);
void attempt_remove(struct attempt *attempt);

/* Notes that its start is over. */
void attempt_began(struct attempt *attempt);
struct attempt *attempt_by_serial(uint64_t serial);

/* Returns the attempt whose main process that is. */
struct attempt *attempt_by_main(pid_t pid);

void attempt_used(struct attempt *attempt, const struct rusage *usage);

/* Returns what is known of a child that is no attempt's main process, from now until it is forgotten. `tag` is what the
 * tags of attempts count down from, 0 if there are none.
 */
struct stranger *stranger_of(pid_t pid, uint64_t tag);
void stranger_forget(pid_t pid);

bool owns(const struct attempt *attempt, const struct stranger *stranger);

/* Returns the one attempt that a stranger belongs to, NULL if there is none or more than one. */
struct attempt *only_owner(const struct stranger *stranger);

#endif
