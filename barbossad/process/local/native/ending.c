#include "ending.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "attempts.h"
#include "clocks.h"
#include "memory.h"
#include "procfs.h"
#include "protocol.h"
#include "reaper.h"
#include "reports.h"
#include "spawn.h"

static const double RESCAN_SECONDS = 0.02;
static const double WAITING_SECONDS = 0.5; /* how often a start is looked at that does not come about */
static const double KILL_SECONDS = 10.0; /* how long a killed process may take to go; then its attempt ends anyway */

/* Of what is dead so many are waited for in one turn: who makes them faster must not keep others from their ends. */
enum { MOST_A_TURN = 256 };

/* Whether something was found that belongs to no attempt any more, and may leave more of its kind when it dies: so
 * nothing is known to be gone. What cannot be killed does not count for ever.
 */
static bool has_strays;

static bool is_dead(pid_t child)
{
    siginfo_t found = {0};
    return waitid(P_PID, (id_t)child, &found, WEXITED | WNOHANG | WNOWAIT) == 0 && found.si_pid == child;
}

static int in_order(const void *one, const void *other)
{
    pid_t a = *(const pid_t *)one, b = *(const pid_t *)other;
    return (a > b) - (a < b);
}

/* Finds the strangers; returns whether all could be seen. Dead ones are among them, so that what they used is known
 * when their attempt's end is told, unless there are many: to look at thousands would take long. What those made fell
 * to the reaper before they were dead: it is among those that are listed after that.
 */
static bool find_strangers(struct pids *found)
{
    struct pids children = {0}, dead = {0};
    bool is_whole = add_own_children(&children);
    bool is_many = children.count > MOST_A_TURN;
    for (size_t i = 0; is_many && i < children.count; i++)
        if (!attempt_by_main(children.items[i]) && is_dead(children.items[i]))
            pids_add(&dead, children.items[i]);
    if (dead.count) {
        qsort(dead.items, dead.count, sizeof *dead.items, in_order);
        children.count = 0;
        is_whole &= add_own_children(&children);
    }
    for (size_t i = 0; i < children.count; i++) {
        pid_t *pid = &children.items[i];
        bool was_dead = dead.count && bsearch(pid, dead.items, dead.count, sizeof *pid, in_order);
        if (!was_dead && !attempt_by_main(*pid))
            pids_add(found, *pid);
    }
    free(children.items);
    free(dead.items);
    return is_whole;
}

struct target {
    pid_t pid;
    uint64_t start_ticks;
};

/* Asks every process of an attempt to end. */
static void ask(const struct attempt *attempt)
{
    struct pids strangers = {0}, queue = {0};
    find_strangers(&strangers);
    for (size_t i = 0; i < strangers.count; i++)
        if (only_owner(stranger_of(strangers.items[i], reaper.tag)) == attempt)
            pids_add(&queue, strangers.items[i]);
    pids_add(&queue, attempt->pid);
    struct target *outside = NULL;
    size_t count = 0;
    for (size_t i = 0; i < queue.count; i++) { /* it grows meanwhile */
        struct process_stat found;
        add_children(queue.items[i], &queue);
        if (read_stat(queue.items[i], &found) && found.group != attempt->pid) {
            outside = grown(outside, (count + 1) * sizeof *outside);
            outside[count++] = (struct target){queue.items[i], found.start_ticks};
        }
    }
    if (killpg(attempt->pid, SIGTERM) == 0)
        killpg(attempt->pid, SIGCONT);
    for (size_t i = 0; i < count; i++)
        ask_to_end(outside[i].pid, outside[i].start_ticks);
    free(strangers.items);
    free(queue.items);
    free(outside);
}

void stop(uint64_t serial, double grace_seconds)
{
    struct attempt *attempt = attempt_by_serial(serial);
    if (!attempt)
        return;
    bool is_first = attempt->kill_at == NEVER;
    double kill_at = now_seconds() + grace_seconds;
    attempt->kill_at = kill_at < attempt->kill_at ? kill_at : attempt->kill_at;
    if (attempt->is_ending)
        return;
    attempt->is_stopping = true;
    if (is_first && grace_seconds > 0)
        ask(attempt);
}

/* Goes over from the main process to what is left of the others. */
static void main_ended(struct attempt *attempt, double now)
{
    attempt->finished_ms = now_ms();
    attempt->kill_at = attempt->kill_at == NEVER ? now : attempt->kill_at;
    attempt->is_announced = true;
    attempt->is_stopping = false;
    attempt->is_ending = true;
}

/* Waits for a dead stranger; what it used is its attempt's (that of a PID namespace is its first process's). Where they
 * die faster than that can be found out, it is nobody's.
 */
static void bury(pid_t pid, bool is_hasty)
{
    struct attempt *owner = is_hasty ? NULL : only_owner(stranger_of(pid, reaper.tag));
    struct rusage usage;
    if (wait4(pid, NULL, 0, &usage) == pid && owner)
        attempt_used(owner, &usage);
    stranger_forget(pid);
}

enum remaining reap(double now)
{
    static bool is_hasty;
    bool was_hasty = is_hasty;
    is_hasty = false;
    for (int count = 0; count < MOST_A_TURN; count++) {
        siginfo_t child = {0};
        if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT))
            return errno == ECHILD ? NO_CHILDREN : SOME_LIVE;
        if (!child.si_pid)
            return SOME_LIVE;
        struct attempt *attempt = attempt_by_main(child.si_pid);
        if (!attempt) {
            bury(child.si_pid, was_hasty);
            continue;
        }
        if (attempt->kill_at == NEVER || attempt->kill_at <= now)
            killpg(child.si_pid, SIGKILL); /* while the dead leader keeps the number from being reused */
        struct rusage usage;
        wait4(child.si_pid, &attempt->status, 0, &usage);
        attempt_used(attempt, &usage);
        attempt->killed_at = NEVER; /* the others have their own time to go */
        struct failure failure;
        if (attempt->told >= 0 && start_of(attempt->told, &failure) == START_FAILED) {
            tell_failure(attempt->serial, &failure);
            attempt_remove(attempt);
        } else {
            main_ended(attempt, now);
        }
    }
    is_hasty = true;
    return MORE_DEAD;
}

static bool is_killing(const struct attempt *attempt, double now)
{
    return (attempt->is_ending || attempt->is_stopping) && attempt->kill_at <= now;
}

/* Kills a stranger whose owners have all ended; notes with which of them it is left. */
static void sweep_one(struct stranger *stranger, double now)
{
    bool has_others = false, is_stray = true;
    for (size_t i = 0; i < attempt_count; i++)
        if (owns(attempts[i], stranger)) {
            is_stray = false;
            has_others |= !is_killing(attempts[i], now);
        }
    if (!has_others) {
        stranger->killed_at = stranger->killed_at > 0 ? stranger->killed_at : now;
        kill_child(stranger->pid);
    }
    has_strays |= is_stray && now - stranger->killed_at <= KILL_SECONDS;
    for (size_t i = 0; i < attempt_count; i++)
        if (attempts[i]->is_ending && owns(attempts[i], stranger))
            attempts[i]->is_left |= !has_others || !is_killing(attempts[i], now);
}

/* Writes the pids of what an attempt left. */
static void name_left(const struct attempt *attempt, const struct pids *strangers, char *text, size_t room)
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < strangers->count; i++) {
        const struct stranger *stranger = stranger_of(strangers->items[i], reaper.tag);
        if (owns(attempt, stranger) && length + 16 < room)
            length += (size_t)snprintf(text + length, room - length, "%s%d", length ? ", " : "", (int)stranger->pid);
    }
}

/* Tells of an attempt of which nothing is left but, perhaps, processes that cannot be killed, and forgets it. */
static void end(struct attempt *attempt, const char *left)
{
    tell_end(attempt, left);
    attempt_remove(attempt);
}

/* Kills what ended attempts left behind; tells of the end of those that left nothing more. */
static void sweep(double now)
{
    struct pids strangers = {0};
    bool is_whole = find_strangers(&strangers);
    has_strays = !is_whole; /* then nothing is known to be gone */
    for (size_t i = 0; i < attempt_count; i++)
        attempts[i]->is_left = false;
    for (size_t i = 0; i < strangers.count; i++)
        sweep_one(stranger_of(strangers.items[i], reaper.tag), now);
    for (size_t i = attempt_count; i-- > 0;) { /* backwards: the one that ends gives its place to the last */
        struct attempt *attempt = attempts[i];
        if (!attempt->is_ending)
            continue;
        if (is_killing(attempt, now) && attempt->killed_at == NEVER)
            attempt->killed_at = now;
        if (!attempt->is_left && !has_strays) {
            end(attempt, "");
        } else if (is_whole && now - attempt->killed_at > KILL_SECONDS) {
            char left[MOST_TEXT_BYTES];
            name_left(attempt, &strangers, left, sizeof left);
            end(attempt, left);
        }
    }
    free(strangers.items);
}

void clear_up(enum remaining remaining, double now)
{
    bool is_any = has_strays;
    for (size_t i = attempt_count; i-- > 0;) {
        if (attempts[i]->is_ending && remaining == NO_CHILDREN) /* so nothing is below them either */
            end(attempts[i], "");
        else
            is_any |= attempts[i]->is_ending || is_killing(attempts[i], now);
    }
    static double swept_at;
    if (remaining == NO_CHILDREN) {
        has_strays = false;
    } else if (is_any && (remaining != MORE_DEAD || now - swept_at >= RESCAN_SECONDS)) {
        sweep(now);
        swept_at = now;
    }
}

/* Tells of a start, if it is one by now: it may wait for a file system, or have failed, which is told when it is gone. */
static void announce(struct attempt *attempt, double now)
{
    struct failure failure;
    if (attempt->told >= 0 && start_of(attempt->told, &failure) != BEGAN) {
        attempt->announce_at = now + WAITING_SECONDS;
        return;
    }
    attempt_began(attempt);
    attempt->is_announced = true;
    tell_start(attempt);
}

void keep_times(double now)
{
    for (size_t i = 0; i < attempt_count; i++) {
        struct attempt *attempt = attempts[i];
        if (!attempt->is_announced && attempt->announce_at <= now)
            announce(attempt, now);
        if (!attempt->is_stopping || attempt->kill_at > now)
            continue;
        if (attempt->killed_at == NEVER) {
            attempt->killed_at = now;
            kill_child(attempt->pid);
        } else if (now - attempt->killed_at > KILL_SECONDS) {
            main_ended(attempt, now);
        }
    }
}

int timeout_ms(void)
{
    double now = now_seconds(), due = has_strays ? now + RESCAN_SECONDS : NEVER;
    for (size_t i = 0; i < attempt_count; i++) {
        const struct attempt *attempt = attempts[i];
        if (!attempt->is_announced && attempt->announce_at < due)
            due = attempt->announce_at;
        if (!attempt->is_stopping && !attempt->is_ending)
            continue;
        double next = attempt->kill_at > now ? attempt->kill_at : now + RESCAN_SECONDS;
        due = next < due ? next : due;
    }
    double left = (due - now) * 1000;
    return due == NEVER ? -1 : left < 0 ? 0 : left < 3600000 ? (int)left + 1 : 3600000;
}
