#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mounts.h"
#include "protocol.h"
#include "reaper.h"

static void nothing(int number)
{
    (void)number;
}

void reset_process(unsigned long most_files)
{
    umask(022);
    if (chdir("/"))
        _exit(1);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max == RLIM_INFINITY || most_files < files.rlim_max ? most_files : files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    /* Handlers, unlike SIG_IGN, do not pass to children; the reaper itself ends by its socket alone, or by a fault. */
    static const int plain[] = {SIGCHLD, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS};
    for (int number = 1; number <= SIGRTMAX; number++) {
        struct sigaction heard = {.sa_handler = nothing, .sa_flags = SA_RESTART};
        for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
            if (number == plain[i])
                heard.sa_handler = SIG_DFL;
        sigaction(number, &heard, NULL);
    }
}

static void hear_all(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static const char *variable(char **variables, const char *name)
{
    size_t length = strlen(name);
    for (; *variables; variables++)
        if (strncmp(*variables, name, length) == 0 && (*variables)[length] == '=')
            return *variables + length + 1;
    return NULL;
}

static bool is_file(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISREG(found.st_mode);
}

/* Writes the path of the file to execute, as execvp(3) would find it with the task's PATH; returns 0 or an errno, with
 * the path that it concerns.
 */
static int find_program(const char *name, char **variables, char *path, size_t room)
{
    if (strchr(name, '/') || !*name) {
        snprintf(path, room, "%s", name);
        return !*name ? ENOENT : strlen(name) < room ? 0 : ENAMETOOLONG;
    }
    const char *folders = variable(variables, "PATH");
    if (!folders)
        folders = "/bin:/usr/bin";
    char denied[PATH_MAX] = "";
    for (const char *start = folders, *end;; start = end + 1) {
        end = strchrnul(start, ':');
        int length = (int)(end - start);
        int needed = snprintf(path, room, "%.*s/%s", length ? length : 1, length ? start : ".", name);
        if (needed >= 0 && (size_t)needed < room && is_file(path)) {
            if (access(path, X_OK) == 0)
                return 0;
            if (!*denied)
                snprintf(denied, sizeof denied, "%s", path);
        }
        if (!*end)
            break;
    }
    snprintf(path, room, "%s", *denied ? denied : name);
    return *denied ? EACCES : ENOENT;
}

/* The child's part, which may be done in the memory of its parent that waits: no more than system calls. */
static int become(const struct command *command, const char *path)
{
    if (dup2(command->out, STDOUT_FILENO) < 0 || dup2(command->err, STDERR_FILENO) < 0)
        return errno;
    hear_all();
    execve(path, command->arguments, command->variables);
    return errno;
}

/* Makes the child known as its attempt's. */
static void stand_alone(const struct command *command)
{
    setsid();
    if (command->tag) {
        struct rlimit tag = {command->tag, command->tag};
        setrlimit(RLIMIT_RTTIME, &tag);
    }
}

/* Writes down what failed; returns -1. */
static pid_t failed(struct failure *failure, uint32_t stage, int error, const char *path)
{
    *failure = (struct failure){.stage = stage, .error = error};
    snprintf(failure->path, sizeof failure->path, "%.*s", (int)sizeof failure->path - 1, path);
    return -1;
}

static pid_t program_failed(struct failure *failure, int error, const char *path)
{
    bool is_there = error == ENOENT && strchr(path, '/') && access(path, F_OK) == 0;
    return failed(failure, is_there ? INTERPRETER : PROGRAM, error, path);
}

static pid_t start(const struct command *command, const char *path, int *error)
{
    volatile int told = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        stand_alone(command);
        told = become(command, path);
        _exit(127);
    }
    *error = pid < 0 ? errno : told;
    if (pid > 0 && told)
        waitpid(pid, NULL, 0);
    return *error ? -1 : pid;
}

/* Starts a process and returns when it executes its program. */
static pid_t spawn_quickly(const struct command *command, struct failure *failure)
{
    char path[PATH_MAX];
    bool is_elsewhere = strcmp(command->working_dir, "/") != 0;
    if (is_elsewhere && chdir(command->working_dir))
        return failed(failure, WORKING_DIR, errno, command->working_dir);
    pid_t pid = -1;
    int error = find_program(command->arguments[0], command->variables, path, sizeof path);
    if (!error)
        pid = start(command, path, &error);
    if (error)
        program_failed(failure, error, path);
    if (is_elsewhere && chdir("/")) /* hold no file system that someone wants to unmount */
        _exit(1);
    return pid;
}

/* The child's part in memory of its own: it may wait for as long as it takes, and can be asked to end meanwhile. */
static void become_alone(const struct command *command, struct failure *failure)
{
    char path[PATH_MAX];
    stand_alone(command);
    signal(SIGTERM, SIG_DFL);
    hear_all();
    if (chdir(command->working_dir)) {
        failed(failure, WORKING_DIR, errno, command->working_dir);
        return;
    }
    int error = find_program(command->arguments[0], command->variables, path, sizeof path);
    program_failed(failure, error ? error : become(command, path), path);
}

/* Starts a process and returns before it looks for its program. */
static pid_t spawn_alone(const struct command *command, int *told, struct failure *failure)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return failed(failure, DESCRIPTORS, errno, "");
    pid_t pid = fork();
    int error = errno;
    if (pid == 0) {
        close(reaper.control); /* while it is open anywhere, the daemon does not learn that the reaper is gone */
        become_alone(command, failure);
        ssize_t written = write(ends[1], failure, sizeof *failure);
        _exit(written == sizeof *failure ? 127 : 126);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return failed(failure, PROGRAM, error, command->arguments[0]);
    }
    *told = ends[0];
    return pid;
}

pid_t spawn(const struct command *command, int *told, struct failure *failure)
{
    if (!command->arguments[0])
        return failed(failure, PROGRAM, ENOENT, "");
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    *told = -1;
    pid_t pid = mounts_may_hang() ? spawn_alone(command, told, failure) : spawn_quickly(command, failure);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

enum start start_of(int told, struct failure *failure)
{
    ssize_t got = read(told, failure, sizeof *failure);
    return got == sizeof *failure ? START_FAILED : got == 0 ? BEGAN : WAITS;
}
