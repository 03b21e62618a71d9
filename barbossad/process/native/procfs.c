#include "procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory.h"

void pids_add(struct pids *pids, pid_t pid)
{
    if (pids->count == pids->room) {
        pids->room = pids->room ? 2 * pids->room : 64;
        pids->items = grown(pids->items, pids->room * sizeof *pids->items);
    }
    pids->items[pids->count++] = pid;
}

/* Reads a whole file, NUL-terminated; returns its length, 0 when the process is gone or not ours to read. The buffer
 * is the same at each call.
 */
static size_t read_file(const char *path, char **content)
{
    static char *buffer;
    static size_t room;
    if (!buffer)
        buffer = grown(NULL, room = 4096);
    *content = buffer;
    size_t length = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got;
        while ((got = read(fd, buffer + length, room - length - 1)) > 0) {
            length += (size_t)got;
            if (length + 1 == room)
                *content = buffer = grown(buffer, room *= 2);
        }
        close(fd);
    }
    buffer[length] = '\0';
    return length;
}

static size_t read_of(pid_t pid, const char *name, char **content)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return read_file(path, content);
}

bool read_stat(pid_t pid, struct process_stat *found)
{
    char *text;
    if (!read_of(pid, "stat", &text))
        return false;
    char *behind_name = strrchr(text, ')'); /* the name may hold anything, so what follows it is read from its end */
    int parent, group, session;
    unsigned long long ticks;
    static const char fields[] = " %*c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu";
    if (!behind_name || sscanf(behind_name + 1, fields, &parent, &group, &session, &ticks) != 4)
        return false;
    *found = (struct process_stat){.parent = parent, .group = group, .session = session, .start_ticks = ticks};
    return true;
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

bool has_variable(pid_t pid, const char *name, const char *value)
{
    char *text;
    size_t length = read_of(pid, "environ", &text), name_length = strlen(name);
    for (char *entry = text; entry < text + length; entry += strlen(entry) + 1)
        if (strncmp(entry, name, name_length) == 0 && entry[name_length] == '=')
            return strcmp(entry + name_length + 1, value) == 0;
    return false;
}

/* Calls for each entry of a folder that is a number. */
static void each_number(const char *path, void (*call)(pid_t owner, pid_t number, struct pids *found), pid_t owner,
                        struct pids *found)
{
    DIR *folder = opendir(path);
    if (!folder)
        return;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (isdigit((unsigned char)entry->d_name[0]))
            call(owner, (pid_t)atoi(entry->d_name), found);
    closedir(folder);
}

static void add_of_thread(pid_t pid, pid_t thread, struct pids *found)
{
    char path[96], *text;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)thread);
    read_file(path, &text);
    for (char *end; (end = strchr(text, ' ')); text = end + 1)
        pids_add(found, (pid_t)atoi(text));
}

static void add_if_child(pid_t parent, pid_t pid, struct pids *found)
{
    struct process_stat stat;
    if (read_stat(pid, &stat) && stat.parent == parent)
        pids_add(found, pid);
}

void add_children(pid_t pid, struct pids *found)
{
    static int has_file = -1; /* CONFIG_PROC_CHILDREN */
    if (has_file < 0)
        has_file = access("/proc/thread-self/children", R_OK) == 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    if (has_file)
        each_number(path, add_of_thread, pid, found);
    else
        each_number("/proc", add_if_child, pid, found);
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
