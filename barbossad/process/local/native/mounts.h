/* Whether a file system is mounted that may keep whoever touches it waiting for ever: one whose other end is a server,
 * over a network or in a process, or which waits for another to be mounted.
 */
#ifndef MOUNTS_H
#define MOUNTS_H

#include <stdbool.h>

/* Opens what becomes exceptional (POLLPRI) when something is mounted or unmounted; -1 if it cannot be told. */
int mounts_open(void);

/* Looks at all that is mounted, touching none of it. */
void mounts_look(void);

/* Says whether one was there at the last look. */
bool mounts_may_hang(void);

#endif
