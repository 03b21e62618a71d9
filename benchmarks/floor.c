/* The least a host can do for a workflow: posix_spawn, waitpid, one SQLite commit.
 *
 * usage: floor DATABASE SHELL
 *
 * Reads lines "IN_FLIGHT ROWS STAGE [STAGE ...]" and answers each with the nanoseconds it took to run
 * STAGE times `SHELL -c true` with at most IN_FLIGHT at once, stage after stage, and to commit ROWS rows
 * (WAL, synchronous=FULL). A process of its own, so that no interpreter slows the floor.
 *
 * SQLite is found with dlopen and the few prototypes stand here, so that no -dev package is needed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;

static int (*db_open)(const char *, sqlite3 **);
static int (*db_exec)(sqlite3 *, const char *, void *, void *, char **);
static int (*db_prepare)(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
static int (*db_step)(sqlite3_stmt *);
static int (*db_reset)(sqlite3_stmt *);
static const char *(*db_error)(sqlite3 *);

enum { SQLITE_OK = 0, SQLITE_DONE = 101, MAX_STAGES = 64 };

static sqlite3 *database;
static sqlite3_stmt *insert;
static char *shell;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "floor: %s: %s\n", what, why ? why : "");
    exit(1);
}

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (!found)
        die(name, dlerror());
    return found;
}

static void load_sqlite(void)
{
    void *library = dlopen("libsqlite3.so.0", RTLD_NOW);
    if (!library)
        die("libsqlite3.so.0", dlerror());
    *(void **)&db_open = symbol(library, "sqlite3_open");
    *(void **)&db_exec = symbol(library, "sqlite3_exec");
    *(void **)&db_prepare = symbol(library, "sqlite3_prepare_v2");
    *(void **)&db_step = symbol(library, "sqlite3_step");
    *(void **)&db_reset = symbol(library, "sqlite3_reset");
    *(void **)&db_error = symbol(library, "sqlite3_errmsg");
}

static void sql(const char *text)
{
    if (db_exec(database, text, NULL, NULL, NULL) != SQLITE_OK)
        die(text, db_error(database));
}

static void open_database(const char *path)
{
    if (db_open(path, &database) != SQLITE_OK)
        die(path, db_error(database));
    sql("PRAGMA journal_mode=WAL");
    sql("PRAGMA synchronous=FULL");
    sql("CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY, state TEXT, reason TEXT)");
    const char *text = "INSERT INTO run (state, reason) VALUES ('succeeded', 'the process exited with 0')";
    if (db_prepare(database, text, -1, &insert, NULL) != SQLITE_OK)
        die(text, db_error(database));
}

static void commit(int rows)
{
    sql("BEGIN IMMEDIATE");
    for (int row = 0; row < rows; row++) {
        if (db_step(insert) != SQLITE_DONE)
            die("insert", db_error(database));
        db_reset(insert);
    }
    sql("COMMIT");
}

static void spawn(void)
{
    char *const arguments[] = {"sh", "-c", "true", NULL};
    char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    pid_t child;
    int error = posix_spawn(&child, shell, NULL, NULL, arguments, environment);
    if (error)
        die(shell, strerror(error));
}

static void reap(void)
{
    int status;
    if (waitpid(-1, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("waitpid", "a child did not exit with 0");
}

static void run_stage(int count, int in_flight)
{
    int started = 0, ended = 0;
    while (ended < count) {
        while (started < count && started - ended < in_flight) {
            spawn();
            started++;
        }
        reap();
        ended++;
    }
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long long measure(char *line)
{
    int numbers[MAX_STAGES + 2], count = 0;
    for (char *word = strtok(line, " \n"); word && count < MAX_STAGES + 2; word = strtok(NULL, " \n"))
        numbers[count++] = atoi(word);
    if (count < 3 || numbers[0] < 1)
        die("a line is", "IN_FLIGHT ROWS STAGE [STAGE ...]");
    long long start = now();
    for (int stage = 2; stage < count; stage++)
        run_stage(numbers[stage], numbers[0]);
    commit(numbers[1]);
    return now() - start;
}

int main(int count, char **arguments)
{
    char line[1024];
    if (count != 3)
        die("usage", "floor DATABASE SHELL");
    shell = arguments[2];
    load_sqlite();
    open_database(arguments[1]);
    while (fgets(line, sizeof line, stdin)) {
        printf("%lld\n", measure(line));
        fflush(stdout);
    }
    return 0;
}
