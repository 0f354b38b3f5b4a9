/* Sends a megabyte to an echo server over Multipath TCP, on two paths, and compares what comes back.
 *
 *     cc -std=c11 -o echo_client echo_client.c $(pkg-config --cflags --libs polytcp)
 *     ./echo_client 10.9.0.1 5000
 *
 * The stack is at 10.9.0.2 on the TUN device poly0 and at 10.9.1.2 on poly1; it makes both, so the program needs
 * CAP_NET_ADMIN. The kernel's ends of them are set up before, for a server of this machine:
 *
 *     ip tuntap add dev poly0 mode tun vnet_hdr; ip addr add 10.9.0.1/24 dev poly0; ip link set poly0 up
 *     ip tuntap add dev poly1 mode tun vnet_hdr; ip addr add 10.9.1.1/24 dev poly1; ip link set poly1 up
 *
 * POLYTCP_CONFIG in the environment replaces the configuration below. */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <polytcp.h>

static const char CONFIG[] =
    "tun poly0 10.9.0.2/24\n"
    "tun poly1 10.9.1.2/24\n"
    "endpoint add 10.9.1.2 subflow   # the second subflow comes from here\n"
    "limits set subflows 2\n";

enum { LEN = 1 << 20 };

static unsigned char octet(size_t at)
{
    return (unsigned char)(at * 31 / 7);
}

static int failed(const char *what)
{
    fprintf(stderr, "echo_client: %s: %s\n", what, strerror(errno));
    return -1;
}

/* Sends and receives at the same time: neither side's buffers hold everything. */
static int exchange(int fd)
{
    static unsigned char out[LEN], in[LEN];
    size_t sent = 0, received = 0;

    for (size_t at = 0; at < LEN; at++)
        out[at] = octet(at);
    while (received < LEN) {
        struct pollfd entry = { .fd = fd, .events = POLLIN };
        ssize_t count;

        if (sent < LEN)
            entry.events |= POLLOUT;
        if (pt_poll(&entry, 1, 30000) != 1)
            return failed("poll");
        if (entry.revents & POLLOUT) {
            count = pt_send(fd, out + sent, LEN - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (count < 0 && errno != EAGAIN)
                return failed("send");
            if (count > 0)
                sent += (size_t)count;
            if (sent == LEN && pt_shutdown(fd, SHUT_WR) < 0)
                return failed("shutdown");
        }
        if (entry.revents & ~POLLOUT) {
            count = pt_recv(fd, in + received, LEN - received, MSG_DONTWAIT);
            if (count == 0) {
                fprintf(stderr, "echo_client: only %zu octets came back\n", received);
                return -1;
            }
            if (count < 0 && errno != EAGAIN)
                return failed("recv");
            if (count > 0)
                received += (size_t)count;
        }
    }
    if (memcmp(in, out, LEN) != 0) {
        fprintf(stderr, "echo_client: what came back is not what was sent\n");
        return -1;
    }
    return 0;
}

static int talk(const char *host, const char *port)
{
    struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    int fd, result;

    if (inet_pton(AF_INET, host, &server.sin_addr) != 1) {
        fprintf(stderr, "echo_client: %s is not an IPv4 address\n", host);
        return -1;
    }
    fd = pt_socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    if (fd < 0)
        return failed("socket");
    if (pt_connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
        result = failed("connect");
    else
        result = exchange(fd);
    if (pt_close(fd) < 0)
        result = failed("close");
    return result;
}

int main(int argc, char **argv)
{
    const char *config = getenv("POLYTCP_CONFIG");
    char error[256];
    pt_stack *stack;
    int result;

    if (argc != 3) {
        fprintf(stderr, "usage: echo_client ADDRESS PORT\n");
        return 2;
    }
    stack = pt_stack_new(config ? config : CONFIG, error, sizeof error);
    if (!stack) {
        fprintf(stderr, "echo_client: %s\n", error);
        return 1;
    }
    result = talk(argv[1], argv[2]);
    if (pt_stack_free(stack) < 0)
        result = failed("the last octets were not delivered");
    if (result == 0)
        printf("%d octets came back as they were sent\n", LEN);
    return result == 0 ? 0 : 1;
}
