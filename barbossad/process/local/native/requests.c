#include "requests.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attempts.h"
#include "clocks.h"
#include "ending.h"
#include "memory.h"
#include "protocol.h"
#include "reaper.h"
#include "reports.h"
#include "spawn.h"

static const double ANNOUNCE_SECONDS = 0.05; /* a process that ends sooner is told of once, not twice */

enum { MOST_DESCRIPTORS = 3 };

/* Parts a text into strings that end with a NUL each: two lists, each ended by NULL, one behind the other. Returns
 * them, or NULL if there are not so many.
 */
static char **parted(char *text, size_t bytes, size_t first, size_t second)
{
    if (first + second > bytes)
        return NULL;
    char **strings = grown(NULL, (first + second + 2) * sizeof *strings), *at = text;
    for (size_t i = 0; i < first + second; i++) {
        char *nul = memchr(at, '\0', (size_t)(text + bytes - at));
        if (!nul) {
            free(strings);
            return NULL;
        }
        strings[i < first ? i : i + 1] = at;
        at = nul + 1;
    }
    strings[first] = strings[first + second + 1] = NULL;
    return strings;
}

static void launch_text(const struct request *request, char *text, const int *descriptors)
{
    size_t first = 2 + (size_t)request->argument_count; /* the marker and the working directory come before */
    struct failure failure = {.stage = PROGRAM, .error = EINVAL};
    char **strings = parted(text, request->text_bytes, first, request->variable_count);
    if (!strings) {
        tell_failure(request->serial, &failure);
        return;
    }
    struct command command = {.arguments = strings + 2, .variables = strings + first + 1, .working_dir = strings[1],
                              .out = descriptors[0], .err = descriptors[1],
                              .tag = reaper.tag ? reaper.tag - request->serial : 0};
    uint64_t boot_ticks = now_ticks();
    int told;
    pid_t pid = spawn(&command, &told, &failure);
    if (pid < 0) {
        tell_failure(request->serial, &failure);
    } else {
        struct attempt *attempt = attempt_add(request->serial, strings[0]);
        attempt->pid = pid;
        attempt->told = told;
        attempt->boot_ticks = boot_ticks;
        attempt->started_ms = now_ms();
        attempt->announce_at = now_seconds() + ANNOUNCE_SECONDS;
    }
    free(strings);
}

static void launch(const struct request *request, char *text, size_t text_bytes, const int *descriptors, bool is_cut)
{
    struct failure failure = {.stage = DESCRIPTORS, .error = EMFILE};
    if (is_cut) {
        tell_failure(request->serial, &failure);
    } else if (request->text_bytes <= text_bytes) {
        launch_text(request, text, descriptors);
    } else {
        text = mmap(NULL, request->text_bytes, PROT_READ, MAP_PRIVATE, descriptors[2], 0);
        if (text == MAP_FAILED) {
            failure.error = errno;
            tell_failure(request->serial, &failure);
            return;
        }
        launch_text(request, text, descriptors);
        munmap(text, request->text_bytes);
    }
}

bool receive(void)
{
    static _Alignas(struct request) char packet[PACKET_BYTES];
    _Alignas(struct cmsghdr) char ancillary[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
    struct iovec into = {packet, sizeof packet};
    struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1,
                             .msg_control = ancillary, .msg_controllen = sizeof ancillary};
    ssize_t got = recvmsg(reaper.control, &message, MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    if ((size_t)got < sizeof(struct request))
        return false;
    int descriptors[sizeof ancillary / sizeof(int)];
    size_t count = 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header) {
        count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(descriptors, CMSG_DATA(header), count * sizeof(int));
    }
    const struct request *request = (const struct request *)packet;
    size_t text_bytes = (size_t)got - sizeof *request;
    bool is_cut = message.msg_flags & MSG_CTRUNC || count < (request->text_bytes <= text_bytes ? 2U : 3U);
    if (request->kind == STOP)
        stop(request->serial, request->grace_seconds);
    else
        launch(request, packet + sizeof *request, text_bytes, descriptors, is_cut);
    while (count > 0)
        close(descriptors[--count]);
    return true;
}
