/* Ask a server on a Unix socket for `daemon.ping` again and again, and say how long each answer took.
 *
 * usage: pinger SOCKET INTERVAL_MICROSECONDS
 *
 * Runs until its standard input ends, then prints one line of nanoseconds for each round trip. A process
 * of its own in C, so that what is measured is the server's delay and not an interpreter's.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SAMPLES = 1000000 };

static long long samples[MAX_SAMPLES];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || strlen(path) >= sizeof address.sun_path)
        die("socket");
    strcpy(address.sun_path, path);
    if (connect(server, (struct sockaddr *)&address, sizeof address))
        die(path);
    return server;
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long long ping(int server)
{
    static const char call[] = "{\"jsonrpc\":\"2.0\",\"method\":\"daemon.ping\",\"params\":{},\"id\":1}\n";
    char answer[4096];
    long long start = now();
    if (write(server, call, sizeof call - 1) != sizeof call - 1)
        die("write");
    for (;;) {
        ssize_t length = read(server, answer, sizeof answer);
        if (length <= 0)
            die("read");
        if (answer[length - 1] == '\n')
            return now() - start;
    }
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: pinger SOCKET INTERVAL_MICROSECONDS\n");
        return 2;
    }
    int server = dial(arguments[1]), taken = 0;
    struct timespec interval = {.tv_nsec = atol(arguments[2]) * 1000};
    struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
    while (taken < MAX_SAMPLES && ppoll(&end, 1, &interval, NULL) == 0)
        samples[taken++] = ping(server);
    for (int sample = 0; sample < taken; sample++)
        printf("%lld\n", samples[sample]);
    return 0;
}
