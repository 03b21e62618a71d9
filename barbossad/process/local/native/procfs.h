/* What /proc says of processes, and signals that reach no other process than the one that is meant. */
#ifndef PROCFS_H
#define PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process_stat {
    pid_t parent, group, session;
    uint64_t start_ticks; /* since the host was started */
};

struct pids {
    pid_t *items;
    size_t count, room;
};

void pids_add(struct pids *pids, pid_t pid);

/* Returns whether the process is there, dead ones that nobody has waited for too. */
bool read_stat(pid_t pid, struct process_stat *found);

/* Returns the number that the process carries as its hard RLIMIT_RTTIME, 0 for none. */
uint64_t read_tag(pid_t pid);

/* Writes the value of a variable that the process was started with; returns whether there is one that has room. */
bool read_variable(pid_t pid, const char *name, char *value, size_t room);

/* Appends the children of a process, dead ones that nobody has waited for too; returns whether all could be seen. */
bool add_children(pid_t pid, struct pids *found);

/* The same for the caller itself, which has one thread and asks often. */
bool add_own_children(struct pids *found);

/* Kills a child that the caller has not waited for, and the group if it leads one: neither number can have become
 * another's, because the child still holds it.
 */
void kill_child(pid_t pid);

/* Sends SIGTERM, and SIGCONT so that a stopped process can act on it, to the process that was made at `start_ticks` and
 * to no other that took its number.
 */
void ask_to_end(pid_t pid, uint64_t start_ticks);

#endif
