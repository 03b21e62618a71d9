/* What the daemon is told. Reports are kept until they are sent together. */
#ifndef REPORTS_H
#define REPORTS_H

#include <stdint.h>

#include "attempts.h"
#include "spawn.h"

/* That the reaper works. */
void tell_ready(void);

void tell_start(const struct attempt *attempt);
void tell_failure(uint64_t serial, const struct failure *failure);

/* `left` names the processes that could not be killed. */
void tell_end(const struct attempt *attempt, const char *left);

/* Waits while the daemon is busy. Whether it is gone is seen at the next read. */
void send_reports(void);

#endif
