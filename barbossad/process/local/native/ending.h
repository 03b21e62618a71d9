/* How attempts end: asked or killed, the main process waited for, and nothing left of the others. */
#ifndef ENDING_H
#define ENDING_H

#include <stdbool.h>
#include <stdint.h>

/* Asks every process of an attempt to end; kills what is left after the grace (0: at once). */
void stop(uint64_t serial, double grace_seconds);

/* Waits for children that have ended, and says what that leaves. */
enum remaining { NO_CHILDREN, SOME_LIVE, MORE_DEAD };
enum remaining reap(double now);

/* Tells of processes that stay, kills those whose grace is over, gives up on those that cannot be killed. */
void keep_times(double now);

/* Kills what attempts left behind whose main process is gone, and tells of the end of those that left nothing more. */
void clear_up(enum remaining remaining, double now);

/* Returns the milliseconds until something is due, -1 for never. */
int timeout_ms(void);

#endif
