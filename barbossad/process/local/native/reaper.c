/* Be the parent of every task: start it, stop it, bury it, and leave nothing of it alive.
 *
 *     barbossa-reaper FD NOFILE TAG
 *
 * The daemon starts it once and speaks to it over the socket FD (protocol.h). As a child subreaper (prctl(2)) it
 * inherits whatever its tasks leave behind, however they forked. When the socket closes, because the daemon ended in
 * whatever way, it kills everything below it and exits; also where somebody has stopped it, because it asks the kernel
 * to be woken then (docs/decisions/0115). Its tasks get the soft limit NOFILE of open files, and each a
 * tag of its own, counted down from TAG (procfs.py).
 *
 * A program of its own so that it outlives a daemon that crashes, and in C so that a start costs what the kernel asks
 * for it and little more (docs/decisions/0092).
 */
#include "reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clocks.h"
#include "ending.h"
#include "mounts.h"
#include "procfs.h"
#include "reports.h"
#include "requests.h"
#include "spawn.h"

struct reaper reaper;

/* Serves until the daemon is gone; `wake` becomes readable when a child has ended. */
static void run(int wake)
{
    enum remaining remaining = SOME_LIVE;
    tell_ready();
    send_reports();
    struct pollfd watched[] = {{.fd = reaper.control, .events = POLLIN}, {.fd = wake, .events = POLLIN},
                               {.fd = mounts_open(), .events = POLLPRI}};
    mounts_look();
    struct pids none = {0};
    add_own_children(&none); /* what that needs is opened while there is something to open it with */
    free(none.items);
    for (;;) {
        if (poll(watched, 3, remaining == MORE_DEAD ? 0 : timeout_ms()) < 0 && errno != EINTR)
            return;
        if (watched[2].revents)
            mounts_look();
        if (watched[0].revents && !receive())
            return;
        double now = now_seconds();
        struct signalfd_siginfo ignored[16];
        while (watched[1].revents && read(wake, ignored, sizeof ignored) > 0)
            ;
        remaining = watched[1].revents || remaining == MORE_DEAD ? reap(now) : SOME_LIVE;
        keep_times(now);
        clear_up(remaining, now);
        send_reports();
        watched[0].revents = watched[1].revents = watched[2].revents = 0;
    }
}

/* Kills everything below until nothing is left. What is dead by then is waited for in one go before the next look: to
 * look at thousands takes long.
 */
static void end_all(void)
{
    struct pids children = {0};
    do {
        children.count = 0;
        add_own_children(&children);
        for (size_t i = 0; i < children.count; i++)
            kill_child(children.items[i]);
        for (size_t i = 0; i < children.count && waitpid(-1, NULL, WNOHANG) > 0; i++)
            ;
    } while (waitpid(-1, NULL, 0) > 0 || errno != ECHILD);
    free(children.items);
}

/* Returns the tag that attempts' tags count down from, 0 if a limit set by others leaves no room for it. */
static uint64_t taken_tag(uint64_t wanted)
{
    struct rlimit limit = {wanted, wanted};
    return wanted && setrlimit(RLIMIT_RTTIME, &limit) == 0 ? wanted : 0;
}

int main(int count, char **arguments)
{
    if (count != 4) {
        fprintf(stderr, "barbossa-reaper is started by barbossad, with a socket\n");
        return 2;
    }
    reaper.control = atoi(arguments[1]);
    reaper.pid = getpid();
    if (fcntl(reaper.control, F_SETFD, FD_CLOEXEC) || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) ||
        prctl(PR_SET_PDEATHSIG, SIGCONT, 0, 0, 0)) {
        perror("barbossa-reaper");
        return 1;
    }
    reaper.tag = taken_tag(strtoull(arguments[3], NULL, 10));
    reset_process(strtoul(arguments[2], NULL, 10));
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGCHLD);
    sigprocmask(SIG_SETMASK, &ends, NULL);
    int wake = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    if (wake >= 0)
        run(wake);
    end_all();
    return wake < 0;
}
