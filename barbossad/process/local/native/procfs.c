#include "procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* Longer than an environment can be (execve(2)), unless a process has moved its own. */
enum { MOST_FILE_BYTES = 8 * 1024 * 1024 };

/* Whether a file could not be opened for a reason that says nothing of the file. */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

void pids_add(struct pids *pids, pid_t pid)
{
    if (pids->count == pids->room) {
        pids->room = pids->room ? 2 * pids->room : 64;
        pids->items = grown(pids->items, pids->room * sizeof *pids->items);
    }
    pids->items[pids->count++] = pid;
}

/* Reads what is left of an open file, NUL-terminated; returns its length. The buffer is the same at each call. */
static size_t read_open(int fd, char **content)
{
    static char *buffer;
    static size_t room;
    if (!buffer)
        buffer = grown(NULL, room = 4096);
    *content = buffer;
    size_t length = 0;
    ssize_t got;
    while (length < MOST_FILE_BYTES && (got = read(fd, buffer + length, room - length - 1)) > 0) {
        length += (size_t)got;
        if (length + 1 == room)
            *content = buffer = grown(buffer, room *= 2);
    }
    buffer[length] = '\0';
    return length;
}

/* Reads a file; returns its length, 0 when the process is gone or it is not ours to read, -1 if that cannot be told. */
static ssize_t read_file(const char *path, char **content)
{
    static char nothing[1];
    *content = nothing;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return is_shortage(errno) ? -1 : 0;
    size_t length = read_open(fd, content);
    close(fd);
    return (ssize_t)length;
}

static ssize_t read_of(pid_t pid, const char *name, char **content)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return read_file(path, content);
}

static bool parse_stat(const char *text, struct process_stat *found)
{
    const char *behind_name = strrchr(text, ')'); /* the name may hold anything, even that */
    int parent, group, session;
    unsigned long long ticks;
    static const char fields[] = " %*c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu";
    if (!behind_name || sscanf(behind_name + 1, fields, &parent, &group, &session, &ticks) != 4)
        return false;
    *found = (struct process_stat){.parent = parent, .group = group, .session = session, .start_ticks = ticks};
    return true;
}

bool read_stat(pid_t pid, struct process_stat *found)
{
    char *text;
    return read_of(pid, "stat", &text) > 0 && parse_stat(text, found);
}

uint64_t read_tag(pid_t pid)
{
    static const char line[] = "\nMax realtime timeout";
    char *text;
    read_of(pid, "limits", &text);
    char *at = strstr(text, line);
    unsigned long long hard;
    return at && sscanf(at + sizeof line - 1, " %*s %llu", &hard) == 1 ? hard : 0; /* "unlimited" is no number */
}

bool read_variable(pid_t pid, const char *name, char *value, size_t room)
{
    char *text;
    ssize_t length = read_of(pid, "environ", &text);
    size_t name_length = strlen(name);
    for (char *entry = text; entry < text + length; entry += strlen(entry) + 1)
        if (strncmp(entry, name, name_length) == 0 && entry[name_length] == '=')
            return (size_t)snprintf(value, room, "%s", entry + name_length + 1) < room;
    return false;
}

/* Calls for each entry of a folder that is a number; returns whether all were seen. */
static bool each_number(const char *path, bool (*call)(pid_t owner, pid_t number, struct pids *found), pid_t owner,
                        struct pids *found)
{
    DIR *folder = opendir(path);
    if (!folder)
        return !is_shortage(errno);
    bool is_whole = true;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (isdigit((unsigned char)entry->d_name[0]))
            is_whole &= call(owner, (pid_t)atoi(entry->d_name), found);
    closedir(folder);
    return is_whole;
}

static void add_listed(char *text, struct pids *found)
{
    for (char *end; (end = strchr(text, ' ')); text = end + 1)
        pids_add(found, (pid_t)atoi(text));
}

static bool add_of_thread(pid_t pid, pid_t thread, struct pids *found)
{
    char path[96], *text;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)thread);
    ssize_t length = read_file(path, &text);
    add_listed(text, found);
    return length >= 0;
}

static bool add_if_child(pid_t parent, pid_t pid, struct pids *found)
{
    char *text;
    struct process_stat stat;
    ssize_t length = read_of(pid, "stat", &text);
    if (length > 0 && parse_stat(text, &stat) && stat.parent == parent)
        pids_add(found, pid);
    return length >= 0;
}

static bool has_children_file(void)
{
    static int has = -1; /* CONFIG_PROC_CHILDREN */
    if (has < 0)
        has = access("/proc/thread-self/children", R_OK) == 0;
    return has;
}

bool add_children(pid_t pid, struct pids *found)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    if (has_children_file())
        return each_number(path, add_of_thread, pid, found);
    return each_number("/proc", add_if_child, pid, found);
}

bool add_own_children(struct pids *found)
{
    static int fd = -1;
    if (fd < 0 && has_children_file()) { /* it stays open: a lack of descriptors must not hide what is left */
        char path[96];
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)getpid(), (int)getpid());
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return add_children(getpid(), found);
    char *text;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return false;
    read_open(fd, &text);
    add_listed(text, found);
    return true;
}

void kill_child(pid_t pid)
{
    struct process_stat found;
    if (read_stat(pid, &found) && found.group == pid)
        killpg(pid, SIGKILL);
    kill(pid, SIGKILL); /* whether it is gone, or has become another user's, is seen by whether it stays */
}

void ask_to_end(pid_t pid, uint64_t start_ticks)
{
    int handle = (int)syscall(SYS_pidfd_open, pid, 0);
    if (handle < 0)
        return;
    struct process_stat found;
    if (read_stat(pid, &found) && found.start_ticks == start_ticks) {
        syscall(SYS_pidfd_send_signal, handle, SIGTERM, NULL, 0);
        syscall(SYS_pidfd_send_signal, handle, SIGCONT, NULL, 0);
    }
    close(handle);
}
