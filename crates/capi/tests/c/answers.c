/* Makes calls with addresses, lengths and pointers of all kinds, and prints each with its answer. Compiled twice, for the
 * kernel's sockets and with polytcp_bsd.h for the library's, it has to print the same: answers.rs compares.
 *
 *     answers OWN OTHER
 *
 * OWN is the sockets' own IPv4 address; at OTHER, port 5000, a server listens. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static const char *protocol_name;

static void told(int line, const char *call, long answer)
{
    /* Numbers of descriptors are not compared. */
    printf("%s %d: %s = %ld", protocol_name, line, call, answer);
    if (answer < 0)
        printf(" (%s)", strerror(errno));
    putchar('\n');
}

#define TELL(call) told(__LINE__, #call, (long)(call))
#define TELL_OPENED(call) told(__LINE__, #call, (call) >= 0 ? 0 : -1)

static struct sockaddr_in v4(const char *ip, unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };

    inet_pton(AF_INET, ip, &address.sin_addr);
    return address;
}

/* An address, its length before and after, and where it was written to. */
static void tell_name(int line, int (*call)(int, struct sockaddr *, socklen_t *), int fd, socklen_t room)
{
    unsigned char name[128];
    socklen_t len = room, at;
    int answer;

    memset(name, 0xee, sizeof name);
    answer = call(fd, (struct sockaddr *)name, &len);
    told(line, "name", answer);
    for (at = sizeof name; at > 0 && name[at - 1] == 0xee; at--)
        ;
    printf("  room %d: len %d, %d octets written, family %d\n", (int)room, (int)len, (int)at, name[0]);
}

static void unconnected(int protocol, const char *own)
{
    static const socklen_t rooms[] = { 0, 1, 2, 8, 16, 24, 28, 128, (socklen_t)-1 };
    struct sockaddr_in here = v4(own, 0), any = v4("0.0.0.0", 0), foreign = v4("10.77.0.1", 0);
    struct sockaddr_in6 any6 = { .sin6_family = AF_INET6 }, other6 = { .sin6_family = AF_UNIX };
    struct sockaddr_storage name = { 0 };
    struct sockaddr *to = (struct sockaddr *)&name;
    struct iovec part = { &name, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    int fd = socket(AF_INET, SOCK_STREAM, protocol), fd6 = socket(AF_INET6, SOCK_STREAM, protocol);
    int value = 1;
    socklen_t len;
    size_t at;

    for (len = 0; len <= 130; len++) {
        TELL(bind(fd6, (struct sockaddr *)&other6, len > sizeof other6 ? sizeof other6 : len));
        if (len < 16 || len > 128)
            TELL(bind(fd, (struct sockaddr *)&here, len));
        if (len < 24 || len > 128)
            TELL(bind(fd6, (struct sockaddr *)&any6, len));
    }
    TELL(bind(fd, (struct sockaddr *)&here, (socklen_t)-1));
    TELL(bind(fd, NULL, 0));
    TELL(bind(fd, NULL, 16));
    TELL(bind(fd, (struct sockaddr *)&any6, sizeof any6));
    TELL(bind(fd6, (struct sockaddr *)&here, sizeof here));
    TELL(bind(fd, (struct sockaddr *)&foreign, sizeof foreign));
    here.sin_family = AF_UNSPEC;
    TELL(bind(fd, (struct sockaddr *)&here, sizeof here));
    any.sin_family = AF_UNSPEC;
    TELL(bind(fd, (struct sockaddr *)&any, 15));
    TELL(bind(fd, (struct sockaddr *)&any, sizeof any));
    TELL(bind(fd, (struct sockaddr *)&any, sizeof any));
    TELL(bind(fd6, (struct sockaddr *)&any6, 24));
    for (at = 0; at < sizeof rooms / sizeof *rooms; at++) {
        tell_name(__LINE__, getsockname, fd, rooms[at]);
        tell_name(__LINE__, getsockname, fd6, rooms[at]);
        tell_name(__LINE__, getpeername, fd, rooms[at]);
    }
    len = sizeof name;
    TELL(getsockname(fd, NULL, &len));
    TELL(getsockname(fd, to, NULL));
    TELL(getpeername(fd, NULL, NULL));
    len = 0;
    TELL(getsockname(fd, NULL, &len));

    TELL(connect(fd6, (struct sockaddr *)&here, 1));
    TELL(connect(fd6, (struct sockaddr *)&any6, 23));
    TELL(connect(fd6, (struct sockaddr *)&other6, 24));
    TELL(connect(fd, (struct sockaddr *)&any6, sizeof any6));
    TELL(connect(fd, (struct sockaddr *)&foreign, 15));
    TELL(connect(fd, NULL, 16));
    TELL(connect(fd, NULL, 0));
    TELL(connect(fd, (struct sockaddr *)&foreign, 129));

    TELL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
    TELL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 3));
    TELL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof value));
    TELL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, (socklen_t)-1));
    len = 2;
    TELL(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len));
    printf("  len %d\n", (int)len);
    len = 100;
    TELL(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len));
    printf("  len %d, value %d\n", (int)len, value);
    len = (socklen_t)-1;
    TELL(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len));
    TELL(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, NULL));
    len = sizeof value;
    TELL(getsockopt(fd, SOL_SOCKET, SO_TYPE, NULL, &len));

    TELL(fcntl(fd, F_GETFL) & O_NONBLOCK);
    TELL(ioctl(fd, FIONBIO, NULL));
    value = 1;
    TELL(ioctl(fd, FIONBIO, &value));
    TELL(fcntl(fd, F_GETFL) & O_NONBLOCK);
    TELL(fcntl(fd, F_SETFL, 0));
    TELL(fcntl(fd, F_GETFL) & O_NONBLOCK);
    TELL(fcntl(fd, F_GETFD));
    TELL(fcntl(fd, F_SETFD, FD_CLOEXEC));
    TELL(fcntl(fd, F_GETFD));
    TELL(ioctl(fd, FIONREAD, NULL));
    TELL(ioctl(fd, FIONREAD, &value));

    TELL(send(fd, "x", 1, MSG_NOSIGNAL));
    TELL(send(fd, NULL, 1, MSG_NOSIGNAL));
    TELL(sendto(fd, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&foreign, 129));
    TELL(sendmsg(fd, NULL, MSG_NOSIGNAL));
    TELL(recv(fd, to, 1, 0));
    TELL(recv(fd, NULL, 1, 0));
    TELL(recvmsg(fd, NULL, 0));
    TELL(readv(fd, &part, -1));
    TELL(readv(fd, &part, 1025));
    TELL(readv(fd, NULL, 1));
    message.msg_iovlen = 1025;
    TELL(recvmsg(fd, &message, 0));
    TELL(sendmsg(fd, &message, MSG_NOSIGNAL));
    TELL(accept(fd, NULL, NULL));
    TELL(accept4(fd, NULL, NULL, 1));
    TELL(accept4(-1, NULL, NULL, 1));
    TELL(listen(fd, 5));
    TELL(fcntl(fd, F_SETFL, O_NONBLOCK));
    TELL(accept(fd, NULL, NULL));
    TELL(shutdown(fd, 7));
    TELL(close(fd6));
    TELL(close(fd6));
    TELL(close(fd));
    TELL(bind(fd, NULL, 0));
    TELL(connect(fd, NULL, 0));
    TELL_OPENED(socket(AF_INET, SOCK_STREAM | 0x40000000, protocol));
}

static void connected(int protocol, const char *other)
{
    static const socklen_t rooms[] = { 0, 4, 16, 128 };
    struct sockaddr_in server = v4(other, 5000);
    struct sockaddr_storage name;
    struct sockaddr unspecified = { .sa_family = AF_UNSPEC };
    unsigned char text[8];
    struct iovec parts[2] = { { text, 2 }, { NULL, 1 } };
    struct msghdr message = { .msg_name = &name, .msg_namelen = sizeof name, .msg_iov = parts, .msg_iovlen = 1 };
    struct timeval limit = { .tv_sec = 5 };
    int fd = socket(AF_INET, SOCK_STREAM, protocol);
    fd_set set;
    socklen_t len;
    size_t at;

    TELL(connect(fd, (struct sockaddr *)&server, sizeof server));
    TELL(connect(fd, (struct sockaddr *)&server, 15));
    TELL(connect(fd, (struct sockaddr *)&server, 1));
    TELL(connect(fd, NULL, 0));
    server.sin_family = AF_INET6;
    TELL(connect(fd, (struct sockaddr *)&server, sizeof server));
    for (at = 0; at < sizeof rooms / sizeof *rooms; at++)
        tell_name(__LINE__, getpeername, fd, rooms[at]);
    TELL(recv(fd, NULL, 1, MSG_DONTWAIT));
    TELL(send(fd, NULL, 1, 0));
    TELL(send(fd, NULL, 0, 0));
    TELL(writev(fd, parts + 1, 1));
    TELL(writev(fd, NULL, 0));
    TELL(writev(fd, parts, 2));
    /* The server sends back what comes. */
    TELL(send(fd, "0123456789", 10, 0));
    FD_ZERO(&set);
    FD_SET(fd, &set);
    TELL(select(fd + 1, &set, NULL, NULL, &limit));
    TELL(recv(fd, text, 8, MSG_PEEK | MSG_WAITALL));
    TELL(recv(fd, NULL, 1, 0));
    TELL(recv(fd, NULL, 2, MSG_TRUNC));
    TELL(recv(fd, text, 1, 0));
    printf("  %c\n", text[0]);
    TELL(readv(fd, parts, 2));
    printf("  %c%c\n", text[0], text[1]);
    TELL(recvmsg(fd, &message, 0));
    printf("  %c%c, name %d, flags %d\n", text[0], text[1], (int)message.msg_namelen, message.msg_flags);
    len = sizeof name;
    TELL(recvfrom(fd, text, 1, 0, (struct sockaddr *)&name, &len));
    printf("  %c, name %d\n", text[0], (int)len);
    TELL(recvfrom(fd, text, 1, 0, (struct sockaddr *)&name, NULL));
    TELL(shutdown(fd, SHUT_WR));
    TELL(recv(fd, text, 8, MSG_WAITALL));
    TELL(recv(fd, NULL, 8, 0));
    TELL(connect(fd, &unspecified, 2));
    TELL(getpeername(fd, (struct sockaddr *)&name, &len));
    TELL(close(fd));
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    protocol_name = "MPTCP";
    unconnected(IPPROTO_MPTCP, argv[1]);
    connected(IPPROTO_MPTCP, argv[2]);
    protocol_name = "TCP";
    unconnected(IPPROTO_TCP, argv[1]);
    connected(IPPROTO_TCP, argv[2]);
    return 0;
}
