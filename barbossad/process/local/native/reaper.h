/* What all parts of the reaper know. */
#ifndef REAPER_H
#define REAPER_H

#include <stdint.h>
#include <sys/types.h>

struct reaper {
    int control;  /* the socket to the daemon */
    uint64_t tag; /* what the tags of attempts count down from, 0 if there are none */
    pid_t pid;
};

extern struct reaper reaper;

#endif
