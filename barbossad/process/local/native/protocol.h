/* What the daemon and the reaper say to each other: one packet a message over an inherited socket pair, in the byte
 * order and alignment of the host. `barbossad/process/local/protocol.py` is the other end; a test compares the two.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stdint.h>

enum { PACKET_BYTES = 65536 }; /* the longest packet, both ways */

/* To the reaper. A launch comes with the write ends of stdout and stderr. `text_bytes` of text follow, or lie in a
 * memory file that comes as a third descriptor: the marker, the working directory, the arguments, the environment, each
 * with a NUL behind it.
 */
enum request_kind { LAUNCH = 1, STOP = 2 };

struct request {
    uint32_t kind;
    uint32_t argument_count;
    uint32_t variable_count;
    uint32_t text_bytes;
    uint64_t serial; /* names the attempt; counts up from 1 */
    double grace_seconds;
};

/* From the reaper, READY first, then one or several in a packet. `text_bytes` of text follow each, padded to a multiple
 * of eight: the path that a failure concerns, or the pids of processes that could not be killed.
 */
enum report_kind { STARTED = 1, FAILED = 2, ENDED = 3, READY = 4 };
enum stage { DESCRIPTORS = 1, WORKING_DIR = 2, PROGRAM = 3, INTERPRETER = 4 };
enum { NO_STATUS = -1, MOST_TEXT_BYTES = 1024 };

struct report {
    uint64_t serial;
    int64_t started_ms; /* since the epoch, as is finished_ms */
    int64_t finished_ms;
    int64_t cpu_microseconds;
    int64_t peak_kib;
    uint64_t start_ticks; /* of the process, since the host was started */
    uint32_t kind;
    int32_t pid;
    int32_t wait_status; /* as wait(2) gives it; NO_STATUS if it could not be waited for */
    uint32_t stage;      /* of a failure, with its errno */
    int32_t error;
    uint32_t text_bytes;
};

#endif
