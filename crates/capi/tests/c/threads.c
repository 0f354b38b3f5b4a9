/* Two stacks in one process, and threads that use the library at the same time: threads.rs is the other side.
 *
 *     threads CONFIG CONFIG
 *
 * At 10.0.0.1:5000 and 10.0.1.1:5000 a server sends back what comes; the stacks are at 10.0.0.2 and 10.0.1.2. */

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <polytcp.h>

#define CHECK(condition)                                                                                \
    do {                                                                                                \
        if (!(condition)) {                                                                             \
            fprintf(stderr, "threads.c:%d: %s (errno %d, %s)\n", __LINE__, #condition, errno, strerror(errno)); \
            exit(1);                                                                                    \
        }                                                                                               \
    } while (0)

enum { THREADS = 4, ROUNDS = 25 };

static int connected(pt_stack *stack, const char *ip)
{
    struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(5000) };
    int fd = stack ? pt_socket_on(stack, AF_INET, SOCK_STREAM, IPPROTO_MPTCP)
                   : pt_socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);

    CHECK(fd >= 0 && inet_pton(AF_INET, ip, &server.sin_addr) == 1);
    CHECK(pt_connect(fd, (struct sockaddr *)&server, sizeof server) == 0);
    return fd;
}

static int own_network(int fd)
{
    struct sockaddr_in own;
    socklen_t len = sizeof own;

    CHECK(pt_getsockname(fd, (struct sockaddr *)&own, &len) == 0);
    return (int)(ntohl(own.sin_addr.s_addr) >> 8 & 0xff);
}

static pt_stack *crowded;

/* Numbers are given and taken back all the time; what is sent on one must come back on it. */
static void *crowd(void *seed)
{
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char out[2] = { (unsigned char)(size_t)seed, (unsigned char)round }, in[2];
        int fd = connected(crowded, "10.0.1.1");

        CHECK(pt_send(fd, out, 2, 0) == 2);
        CHECK(pt_recv(fd, in, 2, MSG_WAITALL) == 2 && memcmp(in, out, 2) == 0);
        CHECK(pt_close(fd) == 0);
    }
    return NULL;
}

static void *wait_for_ever(void *fd)
{
    char octet;
    ssize_t count = pt_recv(*(int *)fd, &octet, 1, 0);

    CHECK(count <= 0);
    return NULL;
}

/* A thread that waits is cancelled: it goes once its call has returned. */
static void *is_cancelled(void *fd)
{
    char octet;

    pt_recv(*(int *)fd, &octet, 1, 0);
    for (;;)
        pthread_testcancel();
    return NULL;
}

int main(int argc, char **argv)
{
    pt_stack *first, *second;
    struct pollfd entries[4];
    pthread_t threads[THREADS], waiter;
    int a, b, c, bell[2];
    char text[4];
    void *end;

    CHECK(argc == 3);
    first = pt_stack_new(argv[1], NULL, 0);
    second = pt_stack_new(argv[2], NULL, 0);
    CHECK(first && second && first != second);

    a = connected(NULL, "10.0.0.1");
    b = connected(second, "10.0.1.1");
    CHECK(a != b && own_network(a) == 0 && own_network(b) == 1);
    CHECK(pt_stack_set_default(second) == 0);
    c = connected(NULL, "10.0.1.1");
    CHECK(c != a && c != b && own_network(c) == 1);

    /* All of them and the kernel's in one call. */
    CHECK(pipe(bell) == 0);
    entries[0] = (struct pollfd){ .fd = a, .events = POLLIN };
    entries[1] = (struct pollfd){ .fd = b, .events = POLLIN };
    entries[2] = (struct pollfd){ .fd = bell[0], .events = POLLIN };
    entries[3] = (struct pollfd){ .fd = c, .events = POLLOUT };
    CHECK(pt_poll(entries, 3, 20) == 0);
    CHECK(pt_poll(entries, 4, -1) == 1 && entries[3].revents == POLLOUT);
    CHECK(pt_send(a, "a", 1, 0) == 1);
    CHECK(pt_poll(entries, 3, -1) == 1 && entries[0].revents == POLLIN && entries[1].revents == 0);
    CHECK(pt_send(b, "b", 1, 0) == 1);
    CHECK(pt_poll(entries + 1, 2, -1) == 1 && entries[1].revents == POLLIN);
    CHECK(pt_read(a, text, 4) == 1 && text[0] == 'a');
    CHECK(pt_read(b, text, 4) == 1 && text[0] == 'b');
    CHECK(write(bell[1], "c", 1) == 1);
    CHECK(pt_poll(entries, 3, -1) == 1 && entries[2].revents == POLLIN);
    CHECK(close(bell[0]) == 0 && close(bell[1]) == 0);

    crowded = second;
    for (size_t at = 0; at < THREADS; at++)
        CHECK(pthread_create(&threads[at], NULL, crowd, (void *)at) == 0);
    for (size_t at = 0; at < THREADS; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);

    CHECK(pthread_create(&waiter, NULL, is_cancelled, &b) == 0);
    CHECK(pthread_cancel(waiter) == 0);
    CHECK(pt_send(b, "b", 1, 0) == 1);
    CHECK(pthread_join(waiter, &end) == 0 && end == PTHREAD_CANCELED);

    /* Whoever waits is told when the stack goes. */
    CHECK(pthread_create(&waiter, NULL, wait_for_ever, &a) == 0);
    CHECK(pt_stack_free(first) == 0);
    CHECK(pthread_join(waiter, NULL) == 0);
    CHECK(pt_close(a) == -1 && errno == EBADF);
    CHECK(pt_send(c, "c", 1, 0) == 1 && pt_read(c, text, 4) == 1 && text[0] == 'c');
    CHECK(pt_stack_free(second) == 0);
    puts("well");
    return 0;
}
