/* Start one process, with a clean inheritance. */
#ifndef SPAWN_H
#define SPAWN_H

#include <stdint.h>
#include <sys/types.h>

struct command {
    char **arguments; /* ended by NULL, as are the variables */
    char **variables;
    const char *working_dir;
    int out, err;
    uint64_t tag; /* 0: none */
};

struct failure {
    uint32_t stage;
    int error;
    char path[1024];
};

/* Makes the caller such that its children inherit what tasks are promised: umask, limit of open files, signals. */
void reset_process(unsigned long most_files);

/* Starts a process in a session of its own and returns its pid, or -1 and what failed. Where a file system may keep it
 * waiting for its folder or its program, it waits alone: `told` is then the end of a pipe that tells what came of it
 * (`start_of`), and -1 where the program is being executed by now.
 */
pid_t spawn(const struct command *command, int *told, struct failure *failure);

enum start { WAITS, BEGAN, START_FAILED };

/* Says what came of a start by the pipe that tells it, and what failed. */
enum start start_of(int told, struct failure *failure);

#endif
