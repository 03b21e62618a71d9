#include "spawn.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol.h"

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

/* The child's part, in the memory of its parent, which waits: it may do no more than system calls. */
static int become(const struct command *command, const char *path)
{
    setsid();
    if (dup2(command->out, STDOUT_FILENO) < 0 || dup2(command->err, STDERR_FILENO) < 0)
        return errno;
    if (command->tag) {
        struct rlimit tag = {command->tag, command->tag};
        setrlimit(RLIMIT_RTTIME, &tag);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(path, command->arguments, command->variables);
    return errno;
}

static pid_t start(const struct command *command, const char *path, int *error)
{
    volatile int told = 0;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = vfork();
    if (pid == 0) {
        told = become(command, path);
        _exit(127);
    }
    *error = pid < 0 ? errno : told;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && told)
        waitpid(pid, NULL, 0);
    return *error ? -1 : pid;
}

static pid_t failed(struct failure *failure, uint32_t stage, int error, const char *path)
{
    *failure = (struct failure){.stage = stage, .error = error};
    snprintf(failure->path, sizeof failure->path, "%.*s", (int)sizeof failure->path - 1, path);
    return -1;
}

pid_t spawn(const struct command *command, struct failure *failure)
{
    char path[PATH_MAX];
    bool is_elsewhere = strcmp(command->working_dir, "/") != 0;
    if (is_elsewhere && chdir(command->working_dir))
        return failed(failure, WORKING_DIR, errno, command->working_dir);
    pid_t pid = -1;
    int error = find_program(command->arguments[0] ? command->arguments[0] : "", command->variables, path, sizeof path);
    if (!error)
        pid = start(command, path, &error);
    if (error) {
        bool is_there = error == ENOENT && strchr(path, '/') && access(path, F_OK) == 0;
        failed(failure, is_there ? INTERPRETER : PROGRAM, error, path);
    }
    if (is_elsewhere && chdir("/")) /* hold no file system that someone wants to unmount */
        _exit(1);
    return pid;
}
