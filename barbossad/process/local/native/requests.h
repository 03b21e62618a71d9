/* What the daemon asks for. */
#ifndef REQUESTS_H
#define REQUESTS_H

#include <stdbool.h>

/* Takes one message; returns whether the daemon is still there. */
bool receive(void);

#endif
