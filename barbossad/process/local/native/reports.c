#include "reports.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "procfs.h"
#include "protocol.h"
#include "reaper.h"

enum { RETRY_MS = 10 };

static _Alignas(struct report) char outbox[PACKET_BYTES / 2];
static size_t outbox_bytes;

void send_reports(void)
{
    while (outbox_bytes && send(reaper.control, outbox, outbox_bytes, MSG_NOSIGNAL) < 0)
        if (errno == ENOBUFS || errno == ENOMEM || errno == EAGAIN)
            poll(NULL, 0, RETRY_MS);
        else if (errno != EINTR)
            break; /* the daemon is gone */
    outbox_bytes = 0;
}

static void tell(struct report report, const char *text)
{
    report.text_bytes = (uint32_t)strlen(text);
    size_t padded = (report.text_bytes + 7U) / 8 * 8;
    if (outbox_bytes + sizeof report + padded > sizeof outbox)
        send_reports();
    memcpy(outbox + outbox_bytes, &report, sizeof report);
    memcpy(outbox + outbox_bytes + sizeof report, text, report.text_bytes);
    outbox_bytes += sizeof report + padded;
}

void tell_ready(void)
{
    tell((struct report){.kind = READY}, "");
}

void tell_start(const struct attempt *attempt)
{
    struct process_stat found = {0};
    read_stat(attempt->pid, &found);
    tell((struct report){.kind = STARTED, .serial = attempt->serial, .pid = attempt->pid,
                         .started_ms = attempt->started_ms, .start_ticks = found.start_ticks}, "");
}

void tell_failure(uint64_t serial, const struct failure *failure)
{
    tell((struct report){.kind = FAILED, .serial = serial, .stage = failure->stage, .error = failure->error},
         failure->path);
}

void tell_end(const struct attempt *attempt, const char *left)
{
    tell((struct report){.kind = ENDED, .serial = attempt->serial, .pid = attempt->pid,
                         .started_ms = attempt->started_ms, .finished_ms = attempt->finished_ms,
                         .wait_status = attempt->status, .cpu_microseconds = attempt->cpu_microseconds,
                         .peak_kib = attempt->peak_kib}, left);
}
