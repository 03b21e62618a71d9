/* A disk that is watched, or that refuses: a library to preload (ld.so(8)) into a program that uses SQLite.
 *
 * DISK_FOLDER  the folder whose databases are watched (absolute)
 * DISK_TRACE   where every change of them is noted, in order, if set: records of the struct below, each with its data
 * DISK_FAULT   a file that holds, while it is there, the number of the error that each change of them fails with
 *
 * A change and its record are one step under a lock, and a sync is noted when it is done, so the order is the true one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct record {
    char op; /* N its name follows, C created, W written, T truncated to offset, S synced, U unlinked */
    char padding[3];
    uint32_t file;
    int64_t offset;
    int64_t length;
};

enum { MAX_FD = 65536, MAX_FILES = 256, FOLDER = 1 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t file_of[MAX_FD]; /* what a descriptor is open on: 0 nothing of ours, 1 the folder itself */
static struct { char name[NAME_MAX + 1]; ino_t inode; /* 0: it is gone */ } files[MAX_FILES];
static uint32_t last_file = FOLDER;
static int trace = -1;
static const char *folder, *fault_path;
static size_t folder_length;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void begin(void)
{
    real_open = dlsym(RTLD_NEXT, "open");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    folder = getenv("DISK_FOLDER");
    folder_length = folder ? strlen(folder) : 0;
    fault_path = getenv("DISK_FAULT");
    if (getenv("DISK_TRACE"))
        trace = real_open(getenv("DISK_TRACE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Return the name of a database (or of its log, or of the notes of a test) in the folder, "" for the folder, or NULL. */
static const char *watched(const char *path)
{
    if (!folder || strncmp(path, folder, folder_length) != 0)
        return NULL;
    if (path[folder_length] == 0)
        return "";
    const char *name = path + folder_length + 1, *end = name + strlen(name);
    if (path[folder_length] != '/' || strchr(name, '/'))
        return NULL;
    static const char *const endings[] = {".db", ".db-wal", ".db-journal", ".acks"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if ((size_t)(end - name) > strlen(endings[i]) && strcmp(end - strlen(endings[i]), endings[i]) == 0)
            return name;
    return NULL;
}

static void note(char op, uint32_t file, int64_t offset, const void *data, int64_t length)
{
    struct record record = {.op = op, .file = file, .offset = offset, .length = length};
    if (trace < 0)
        return;
    if (real_write(trace, &record, sizeof record) != sizeof record ||
        (length && real_write(trace, data, length) != length))
        abort();
}

/* Return whether a change has to fail, and set errno then. */
static int refused(void)
{
    char text[16] = {0};
    int descriptor = fault_path ? real_open(fault_path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return 0;
    ssize_t length = read(descriptor, text, sizeof text - 1);
    real_close(descriptor);
    if (length <= 0)
        return 0;
    errno = atoi(text);
    return 1;
}

static uint32_t known(int descriptor)
{
    return descriptor >= 0 && descriptor < MAX_FD ? file_of[descriptor] : 0;
}

static int opened(const char *path, int flags, mode_t mode)
{
    const char *name = watched(path);
    struct stat found;
    if (!name)
        return real_open(path, flags, mode);
    if ((flags & O_ACCMODE) != O_RDONLY && refused())
        return -1;
    pthread_mutex_lock(&lock);
    int is_new = stat(path, &found) != 0;
    int descriptor = real_open(path, flags, mode);
    if (descriptor >= 0 && descriptor < MAX_FD && fstat(descriptor, &found) == 0) {
        uint32_t file = *name ? 0 : FOLDER;
        for (uint32_t i = FOLDER + 1; !is_new && !file && i <= last_file; i++)
            if (files[i].inode == found.st_ino && strcmp(files[i].name, name) == 0)
                file = i;
        if (!file) {
            if (last_file == MAX_FILES - 1)
                abort();
            file = ++last_file;
            strcpy(files[file].name, name);
            files[file].inode = found.st_ino;
            note('N', file, 0, name, strlen(name));
            note('C', file, 0, NULL, 0);
        }
        file_of[descriptor] = file;
    }
    pthread_mutex_unlock(&lock);
    return descriptor;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name)                                  \
    int name(const char *path, int flags, ...)      \
    {                                               \
        va_list arguments;                          \
        va_start(arguments, flags);                 \
        mode_t mode = mode_of(flags, arguments);    \
        va_end(arguments);                          \
        return opened(path, flags, mode);           \
    }
OPEN(open)
OPEN(open64)

int close(int descriptor)
{
    pthread_mutex_lock(&lock);
    if (known(descriptor))
        file_of[descriptor] = 0;
    pthread_mutex_unlock(&lock);
    return real_close(descriptor);
}

#define CHANGE(call, op, offset, data, length)      \
    uint32_t file = known(descriptor);              \
    if (!file)                                      \
        return call;                                \
    if (refused())                                  \
        return -1;                                  \
    pthread_mutex_lock(&lock);                      \
    __typeof__(call) done = call;                   \
    if (done >= 0)                                  \
        note(op, file, offset, data, length);       \
    pthread_mutex_unlock(&lock);                    \
    return done;

ssize_t write(int descriptor, const void *data, size_t size)
{
    CHANGE(real_write(descriptor, data, size), 'W', lseek(descriptor, 0, SEEK_CUR) - done, data, done)
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    CHANGE(real_pwrite(descriptor, data, size, offset), 'W', offset, data, done)
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset)
{
    CHANGE(real_pwrite64(descriptor, data, size, offset), 'W', offset, data, done)
}

int fsync(int descriptor)
{
    CHANGE(real_fsync(descriptor), 'S', 0, NULL, 0)
}

int fdatasync(int descriptor)
{
    CHANGE(real_fdatasync(descriptor), 'S', 0, NULL, 0)
}

int ftruncate(int descriptor, off_t size)
{
    CHANGE(real_ftruncate(descriptor, size), 'T', size, NULL, 0)
}

int ftruncate64(int descriptor, off64_t size)
{
    CHANGE(real_ftruncate(descriptor, size), 'T', size, NULL, 0)
}

int unlink(const char *path)
{
    const char *name = watched(path);
    if (!name || !*name)
        return real_unlink(path);
    if (refused())
        return -1;
    pthread_mutex_lock(&lock);
    int done = real_unlink(path);
    for (uint32_t i = FOLDER + 1; done == 0 && i <= last_file; i++)
        if (strcmp(files[i].name, name) == 0)
            files[i].inode = 0;
    if (done == 0)
        note('U', 0, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
    return done;
}
