/* A program that knows nothing but polytcp.h, with a Linux kernel as its peer: lab.rs is the other side.
 *
 *     lab CONFIG OCTETS
 *
 * The server is at 10.0.0.1:5000; the kernel connects to 10.0.0.2:6000 when this program says "listening". */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <polytcp.h>

#define CHECK(condition)                                                                                \
    do {                                                                                                \
        if (!(condition)) {                                                                             \
            fprintf(stderr, "lab.c:%d: %s (errno %d, %s)\n", __LINE__, #condition, errno, strerror(errno)); \
            exit(1);                                                                                    \
        }                                                                                               \
    } while (0)

#define FAILS(call, number) CHECK((call) == -1 && errno == (number))

static struct sockaddr_in address(const char *ip, unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

    CHECK(inet_pton(AF_INET, ip, &address.sin_addr) == 1);
    return address;
}

/* What needs no stack, and what is refused. */
static void without_a_stack(void)
{
    char error[128];
    int pair[2], fd;

    FAILS(pt_socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP), ENETDOWN);
    CHECK(!pt_stack_new("tun poly0 nowhere", error, sizeof error) && errno == EINVAL);
    CHECK(strstr(error, "nowhere") && !strchr(error, '\n'));
    CHECK(!pt_stack_new("tun fd:1 10.0.0.2/24", error, sizeof error));
    CHECK(strstr(error, "TUN"));
    /* Other sockets are the kernel's. */
    fd = pt_socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(pipe(pair) == 0);
    CHECK(pt_write(pair[1], "kernel", 6) == 6);
    CHECK(pt_read(pair[0], error, sizeof error) == 6);
    CHECK(pt_fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    FAILS(pt_read(pair[0], error, sizeof error), EAGAIN);
    CHECK(pt_close(pair[0]) == 0 && pt_close(pair[1]) == 0);
    FAILS(pt_close(pair[0]), EBADF);
    FAILS(pt_listen(-1, 1), EBADF);
}

/* Numbers, flags, addresses and null pointers, as Linux has them. */
static void details(void)
{
    struct sockaddr_in any = address("0.0.0.0", 0), own = address("10.0.0.2", 0);
    struct sockaddr_in6 any6 = { .sin6_family = AF_INET6 };
    struct sockaddr_storage name;
    struct sockaddr *to = (struct sockaddr *)&name;
    socklen_t len;
    char octet;
    int value, fd, fd6, next;

    fd = pt_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
    fd6 = pt_socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
    CHECK(fd >= 3 && fd < FD_SETSIZE && fd6 > fd && fd6 < FD_SETSIZE);
    next = open("/dev/null", O_RDONLY);
    CHECK(next != fd && next != fd6 && close(next) == 0);

    CHECK(pt_fcntl(fd, F_GETFD) == FD_CLOEXEC && pt_fcntl(fd6, F_GETFD) == 0);
    CHECK(pt_fcntl(fd6, F_SETFD, FD_CLOEXEC) == 0 && pt_fcntl(fd6, F_GETFD) == FD_CLOEXEC);
    CHECK(pt_fcntl(fd, F_GETFL) == O_RDWR && pt_fcntl(fd6, F_GETFL) == (O_RDWR | O_NONBLOCK));
    value = 1;
    CHECK(pt_ioctl(fd, FIONBIO, &value) == 0 && pt_fcntl(fd, F_GETFL) == (O_RDWR | O_NONBLOCK));
    CHECK(pt_fcntl(fd, F_SETFL, O_RDWR) == 0 && pt_fcntl(fd, F_GETFL) == O_RDWR);
    FAILS(pt_fcntl(fd, F_DUPFD, 0), EINVAL);
    FAILS(pt_ioctl(fd, FIONBIO, NULL), EFAULT);
    FAILS(pt_ioctl(fd, TIOCGWINSZ, &value), ENOTTY);

    FAILS(pt_bind(fd, (struct sockaddr *)&own, 15), EINVAL);
    FAILS(pt_bind(fd, (struct sockaddr *)&own, 129), EINVAL);
    FAILS(pt_bind(fd, NULL, sizeof own), EFAULT);
    FAILS(pt_bind(fd, (struct sockaddr *)&any6, sizeof any6), EAFNOSUPPORT);
    FAILS(pt_bind(fd6, (struct sockaddr *)&own, sizeof own), EINVAL);
    FAILS(pt_connect(fd6, (struct sockaddr *)&any6, 23), EINVAL);
    any6.sin6_family = AF_UNIX;
    FAILS(pt_bind(fd6, (struct sockaddr *)&any6, 24), EAFNOSUPPORT);
    any.sin_family = AF_UNSPEC;
    CHECK(pt_bind(fd, (struct sockaddr *)&any, sizeof any) == 0);
    FAILS(pt_bind(fd, (struct sockaddr *)&own, sizeof own), EINVAL);

    memset(&name, 0xff, sizeof name);
    len = 4;
    CHECK(pt_getsockname(fd, to, &len) == 0 && len == sizeof own);
    CHECK(name.ss_family == AF_INET && ((unsigned char *)&name)[4] == 0xff);
    len = sizeof name;
    CHECK(pt_getsockname(fd6, to, &len) == 0 && len == sizeof any6 && name.ss_family == AF_INET6);
    len = (socklen_t)-1;
    FAILS(pt_getsockname(fd, to, &len), EINVAL);
    len = sizeof name;
    FAILS(pt_getsockname(fd, NULL, &len), EFAULT);
    FAILS(pt_getsockname(fd, to, NULL), EFAULT);
    FAILS(pt_getpeername(fd, to, &len), ENOTCONN);

    value = 1;
    CHECK(pt_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value) == 0);
    FAILS(pt_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, NULL, sizeof value), EFAULT);
    FAILS(pt_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, (socklen_t)-1), EINVAL);
    len = 100;
    CHECK(pt_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &(socklen_t){ sizeof value }) == 0);
    CHECK(value == IPPROTO_MPTCP);
    FAILS(pt_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, NULL), EFAULT);

    CHECK(pt_send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    CHECK(pt_recv(fd, &octet, 1, 0) == -1 && errno == ENOTCONN);
    FAILS(pt_accept(fd, NULL, NULL), EINVAL);
    FAILS(pt_accept4(fd, NULL, NULL, 1), EINVAL);
    CHECK(pt_close(fd) == 0 && pt_close(fd6) == 0);
    FAILS(pt_close(fd), EBADF);
    FAILS(pt_send(fd6, "x", 1, 0), EBADF);
}

static unsigned char octet(size_t at)
{
    return (unsigned char)(at * 31 / 7);
}

/* Both ways at once through select() beside a pipe of the kernel's, in all kinds of calls. */
static void transfer(size_t octets)
{
    struct sockaddr_in server = address("10.0.0.1", 5000), name;
    unsigned char *out = malloc(octets), *in = malloc(octets + 1);
    struct sockaddr unspecified = { .sa_family = AF_UNSPEC };
    size_t sent = 0, received = 0;
    socklen_t len = sizeof name;
    int fd, value, wakeups = 0, bell[2];

    CHECK(out && in && pipe(bell) == 0);
    for (size_t at = 0; at < octets; at++)
        out[at] = octet(at);
    fd = pt_socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    CHECK(fd >= 0);
    FAILS(pt_connect(fd, NULL, sizeof server), EFAULT);
    FAILS(pt_connect(fd, (struct sockaddr *)&server, 1), EINVAL);
    FAILS(pt_connect(fd, (struct sockaddr *)&server, 15), EINVAL);
    CHECK(pt_connect(fd, (struct sockaddr *)&server, sizeof server) == 0);
    FAILS(pt_connect(fd, (struct sockaddr *)&server, 15), EISCONN);
    CHECK(pt_getpeername(fd, (struct sockaddr *)&name, &len) == 0 && len == sizeof name);
    CHECK(name.sin_port == server.sin_port && name.sin_addr.s_addr == server.sin_addr.s_addr);
    /* The server answers this when it sees both subflows. */
    CHECK(pt_sendto(fd, "?", 1, 0, (struct sockaddr *)&server, sizeof server) == 1);
    len = sizeof name;
    CHECK(pt_recvfrom(fd, in, 1, 0, (struct sockaddr *)&name, &len) == 1 && in[0] == '?' && len == 0);
    CHECK(pt_fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    FAILS(pt_recv(fd, NULL, 1, 0), EAGAIN);
    FAILS(pt_send(fd, NULL, 1, 0), EFAULT);
    FAILS(pt_writev(fd, NULL, 1), EFAULT);
    FAILS(pt_writev(fd, &(struct iovec){ out, 1 }, -1), EINVAL);
    FAILS(pt_sendmsg(fd, NULL, 0), EFAULT);

    while (received < octets) {
        fd_set readable, writable;
        struct timeval limit = { .tv_sec = 60 };
        int highest = fd > bell[0] ? fd : bell[0];
        ssize_t count;

        FD_ZERO(&readable);
        FD_ZERO(&writable);
        FD_SET(fd, &readable);
        FD_SET(bell[0], &readable);
        if (sent < octets)
            FD_SET(fd, &writable);
        CHECK(pt_select(highest + 1, &readable, &writable, NULL, &limit) > 0);
        CHECK(limit.tv_sec < 60 && limit.tv_sec >= 0);
        if (FD_ISSET(bell[0], &readable)) {
            char told;

            CHECK(pt_read(bell[0], &told, 1) == 1);
            wakeups++;
        }
        if (FD_ISSET(fd, &writable)) {
            size_t half = (octets - sent) / 2;
            struct iovec parts[2] = { { out + sent, half }, { out + sent + half, octets - sent - half } };
            struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

            count = sent % 2 ? pt_writev(fd, parts, 2) : pt_sendmsg(fd, &message, 0);
            CHECK(count > 0 || errno == EAGAIN);
            if (count > 0)
                sent += (size_t)count;
            if (sent == octets) {
                CHECK(pt_shutdown(fd, SHUT_WR) == 0);
                CHECK(write(bell[1], "", 1) == 1);
            }
        }
        if (FD_ISSET(fd, &readable)) {
            struct iovec parts[2] = { { in + received, 1 }, { in + received + 1, octets - received } };
            struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

            CHECK(pt_ioctl(fd, FIONREAD, &value) == 0 && value > 0);
            CHECK(pt_recv(fd, in + received, 1, MSG_PEEK) == 1);
            count = received % 2 ? pt_readv(fd, parts, 2) : pt_recvmsg(fd, &message, 0);
            CHECK(count > 0);
            received += (size_t)count;
        }
    }
    CHECK(received == octets && memcmp(in, out, octets) == 0);
    CHECK(pt_fcntl(fd, F_SETFL, 0) == 0);
    CHECK(pt_read(fd, in, 1) == 0);
    CHECK(wakeups <= 1);
    CHECK(pt_connect(fd, &unspecified, sizeof unspecified.sa_family) == 0);
    CHECK(pt_close(fd) == 0 && close(bell[0]) == 0 && close(bell[1]) == 0);
    free(out);
    free(in);
}

/* The kernel connects. */
static void serve(void)
{
    struct sockaddr_in own = address("10.0.0.2", 6000), name;
    struct pollfd entries[3];
    socklen_t len = sizeof name;
    char text[16];
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = 11 }, events[4];
    int one = 1, pipes[2], epfd, listener, fd;

    listener = pt_socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    CHECK(listener >= 0);
    CHECK(pt_setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
    CHECK(pt_bind(listener, (struct sockaddr *)&own, sizeof own) == 0);
    CHECK(pt_listen(listener, 5) == 0);
    entries[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
    CHECK(pt_poll(entries, 1, 0) == 0 && entries[0].revents == 0);
    puts("listening");
    CHECK(fflush(stdout) == 0);
    /* With a descriptor of the kernel's, and one that nobody has. */
    entries[1] = (struct pollfd){ .fd = 0, .events = POLLIN };
    entries[2] = (struct pollfd){ .fd = -1, .events = POLLIN };
    CHECK(pt_poll(entries, 3, 60000) == 1);
    CHECK(entries[0].revents == POLLIN && entries[1].revents == 0 && entries[2].revents == 0);
    fd = pt_accept4(listener, (struct sockaddr *)&name, &len, SOCK_CLOEXEC);
    CHECK(fd >= 0 && len == sizeof name && name.sin_family == AF_INET);
    CHECK(ntohl(name.sin_addr.s_addr) == 0x0a000001);
    /* What is said later is waited for: by the stack alone, and beside a pipe, which is told as well. */
    epfd = pt_epoll_create1(EPOLL_CLOEXEC);
    CHECK(epfd >= 0 && pipe(pipes) == 0);
    CHECK(pt_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0);
    FAILS(pt_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event), EEXIST);
    FAILS(pt_epoll_ctl(epfd, EPOLL_CTL_MOD, listener, &event), ENOENT);
    CHECK(pt_epoll_wait(epfd, events, 4, 60000) == 1);
    CHECK(events[0].events == EPOLLIN && events[0].data.u64 == 11);
    CHECK(pt_recv(fd, text, 4, MSG_WAITALL) == 4 && memcmp(text, "ques", 4) == 0);
    event.data.u64 = 12;
    CHECK(pt_epoll_ctl(epfd, EPOLL_CTL_ADD, pipes[0], &event) == 0);
    CHECK(pt_epoll_wait(epfd, events, 4, 60000) == 1 && events[0].data.u64 == 11);
    CHECK(write(pipes[1], "x", 1) == 1);
    CHECK(pt_epoll_wait(epfd, events, 4, 60000) == 2 && events[0].data.u64 + events[1].data.u64 == 23);
    CHECK(pt_epoll_wait(epfd, events, 1, 0) == 1);
    event.data.u64 = events[0].data.u64;
    CHECK(pt_epoll_wait(epfd, events, 1, 0) == 1 && events[0].data.u64 != event.data.u64);
    CHECK(pt_recv(fd, text + 4, 4, MSG_WAITALL) == 4 && memcmp(text, "question", 8) == 0);
    CHECK(pt_epoll_wait(epfd, events, 4, 60000) == 1 && events[0].data.u64 == 12);
    CHECK(pt_epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL) == 0);
    CHECK(pt_close(epfd) == 0 && close(pipes[0]) == 0 && close(pipes[1]) == 0);
    FAILS(pt_close(epfd), EBADF);
    CHECK(pt_write(fd, "answer", 6) == 6);
    CHECK(pt_close(fd) == 0 && pt_close(listener) == 0);
}

int main(int argc, char **argv)
{
    char error[256];
    pt_stack *stack;
    int fd;

    CHECK(argc == 3);
    without_a_stack();
    stack = pt_stack_new(argv[1], error, sizeof error);
    if (!stack)
        fprintf(stderr, "%s\n", error);
    CHECK(stack && error[0] == 0);
    details();
    transfer((size_t)atol(argv[2]));
    serve();
    fd = pt_socket_on(stack, AF_INET, SOCK_STREAM, IPPROTO_TCP);
    CHECK(fd >= 0);
    FAILS(pt_socket_on(NULL, AF_INET, SOCK_STREAM, 0), EINVAL);
    CHECK(pt_stack_free(stack) == 0);
    /* It went with its stack. */
    FAILS(pt_close(fd), EBADF);
    FAILS(pt_stack_free(stack), EINVAL);
    FAILS(pt_socket(AF_INET, SOCK_STREAM, 0), ENETDOWN);
    /* The devices are free again. */
    stack = pt_stack_new(argv[1], NULL, 0);
    CHECK(stack && pt_stack_free(stack) == 0);
    puts("well");
    return 0;
}
