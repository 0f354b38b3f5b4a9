/* The library as packetdrill loads it: packets by hand, the calls of the interface, and commands from the shell.
 *
 *     packetdrill LIBRARY
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CHECK(holds) \
    do { \
        if (!(holds)) { \
            fprintf(stderr, "line %d: %s\n", __LINE__, #holds); \
            exit(1); \
        } \
    } while (0)

/* The calls by their place in the table. */
enum call {
    FREE, SOCKET, BIND, LISTEN, ACCEPT, CONNECT, READ, READV, RECV, RECVFROM, RECVMSG, WRITE, WRITEV, SEND, SENDTO, SENDMSG,
    FCNTL, IOCTL, CLOSE, SHUTDOWN, GETSOCKOPT, SETSOCKOPT, POLL, NETDEV_SEND, NETDEV_RECEIVE, USLEEP, GETTIMEOFDAY,
    EPOLL_CREATE, EPOLL_CTL, EPOLL_WAIT, PIPE, SPLICE, CALLS
};

static struct {
    void *userdata;
    void (*calls[CALLS])(void);
} table;

#define NUMBERS(call, ...) (((int (*)(void *, ...))table.calls[call])(table.userdata, __VA_ARGS__))

struct packet {
    struct iphdr ip;
    struct tcphdr tcp;
    char rest[1400];
} __attribute__((packed));

static uint16_t sum(const void *octets, size_t len, uint32_t sum)
{
    const uint8_t *octet = octets;
    size_t i;

    for (i = 0; i < len; i++)
        sum += i % 2 ? octet[i] : octet[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* From 192.0.2.1:9000 to 192.0.2.2:8080. */
static void inject(int flags, uint32_t seq, uint32_t ack, const char *payload)
{
    size_t tcp_len = sizeof(struct tcphdr) + strlen(payload), len = sizeof(struct iphdr) + tcp_len;
    struct packet packet = { .ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP } };

    packet.ip.tot_len = htons((uint16_t)len);
    packet.ip.saddr = inet_addr("192.0.2.1");
    packet.ip.daddr = inet_addr("192.0.2.2");
    packet.ip.check = htons((uint16_t)~sum(&packet.ip, sizeof packet.ip, 0));
    packet.tcp.source = htons(9000);
    packet.tcp.dest = htons(8080);
    packet.tcp.seq = htonl(seq);
    packet.tcp.ack_seq = htonl(ack);
    packet.tcp.doff = 5;
    packet.tcp.syn = (flags & 2) != 0;
    packet.tcp.ack = (flags & 16) != 0;
    packet.tcp.window = htons(30000);
    memcpy(packet.rest, payload, strlen(payload));
    packet.tcp.check = htons((uint16_t)~sum(&packet.tcp, tcp_len, sum(&packet.ip.saddr, 8, IPPROTO_TCP + (uint32_t)tcp_len)));
    CHECK(NUMBERS(NETDEV_SEND, &packet, len) == 0);
}

/* The next packet of the stack; its payload is a text. */
static struct packet sniffed(void)
{
    struct packet packet;
    struct timeval before, after;
    size_t len = sizeof packet - 1;
    long long micros;

    memset(&packet, 0, sizeof packet);
    CHECK(gettimeofday(&before, NULL) == 0);
    CHECK(NUMBERS(NETDEV_RECEIVE, &packet, &len, &micros) == 0);
    CHECK(NUMBERS(GETTIMEOFDAY, &after, NULL) == 0);
    CHECK(len == ntohs(packet.ip.tot_len));
    CHECK(micros <= after.tv_sec * 1000000LL + after.tv_usec && micros > (before.tv_sec - 60) * 1000000LL);
    CHECK(packet.tcp.source == htons(8080) && packet.tcp.dest == htons(9000));
    return packet;
}

/* What a command of the shell prints; it has to end with that code. */
static const char *told(const char *command, int code)
{
    static char text[512];
    FILE *output = popen(command, "r");
    int status;

    CHECK(output);
    text[fread(text, 1, sizeof text - 1, output)] = 0;
    status = pclose(output);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        fprintf(stderr, "%s: %d %s\n", command, WEXITSTATUS(status), text);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == code);
    return text;
}

static void commands(void)
{
    CHECK(strcmp(told("sysctl -q net.ipv4.tcp_timestamps=0; sysctl -n net.ipv4.tcp_timestamps", 0), "0\n") == 0);
    CHECK(strcmp(told("sysctl net.mptcp.enabled", 0), "net.mptcp.enabled = 1\n") == 0);
    CHECK(strstr(told("sysctl -q net.ipv4.tcp_sack=5 2>&1", 1), "net.ipv4.tcp_sack: `5` is not 0 or 1"));
    CHECK(strcmp(told("ip addr add 192.0.2.3/24 dev tun0 && ip mptcp endpoint add 192.0.2.3 id 4 signal", 0), "") == 0);
    CHECK(strcmp(told("ip mptcp endpoint change id 4 backup; ip mptcp endpoint show", 0),
                 "192.0.2.3 id 4 signal backup \n") == 0);
    CHECK(strcmp(told("ip mptcp limits set subflows 8 add_addr_accepted 7; ip mptcp limits", 0),
                 "add_addr_accepted 7 subflows 8 \n") == 0);
    CHECK(strstr(told("ip mptcp limits set subflows 9 2>&1", 1), "subflows goes from 0 to 8"));
    CHECK(strstr(told("ip mptcp endpoint delete id 9 2>&1", 2), "Error: "));
    CHECK(strcmp(told("ip mptcp endpoint flush; ip mptcp endpoint", 0), "") == 0);
    CHECK(strstr(told("nstat TcpPassiveOpens", 0), "TcpPassiveOpens                 1 "));
    CHECK(strcmp(told("nstat TcpPassiveOpens", 0), "#kernel\n") == 0);
    CHECK(strstr(told("ss -tan", 0), "192.0.2.2:8080"));
    CHECK(strcmp(told("tc qdisc add dev tun0 root pfifo limit 100", 0), "") == 0);
    /* What is written to /proc/sys is taken over at the next call that could go by it. */
    CHECK(system("echo 0 > /proc/sys/net/ipv4/tcp_window_scaling; echo 3 > /proc/sys/net/ipv4/tcp_syn_retries") == 0);
    CHECK(NUMBERS(CLOSE, NUMBERS(SOCKET, AF_INET, SOCK_STREAM, IPPROTO_TCP)) == 0);
    CHECK(strcmp(told("sysctl -n net.ipv4.tcp_syn_retries", 0), "3\n") == 0);
    CHECK(strcmp(told("sysctl -n net.ipv4.tcp_window_scaling", 0), "1\n") == 0);
    /* What is not the stack's is the system's. */
    CHECK(strstr(told("sysctl -n kernel.ostype", 0), "Linux"));
    CHECK(strstr(told("ip -o link show lo", 0), "lo"));
}

int main(int argc, char **argv)
{
    struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(8080) }, name;
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = 5 }, events[2];
    void (*init)(const char *, void *);
    int listener, fd, epfd, pipes[2];
    socklen_t len = sizeof name;
    struct packet packet;
    char text[8];
    void *library;

    CHECK(argc == 2);
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    *(void **)&init = dlsym(library, "packetdrill_interface_init");
    CHECK(init);
    init("addr add 192.0.2.2/24; net.ipv4.tcp_sack=0; isn 1000; pacing off", &table);

    listener = NUMBERS(SOCKET, AF_INET, SOCK_STREAM, IPPROTO_TCP);
    CHECK(listener >= 0);
    CHECK(NUMBERS(BIND, listener, &own, (socklen_t)sizeof own) == 0 && NUMBERS(LISTEN, listener, 1) == 0);
    inject(2, 0, 0, "");
    packet = sniffed();
    CHECK(packet.tcp.syn && packet.tcp.ack && packet.tcp.seq == htonl(1000) && packet.tcp.ack_seq == htonl(1));
    inject(16, 1, 1001, "");
    fd = NUMBERS(ACCEPT, listener, &name, &len);
    CHECK(fd >= 0 && name.sin_port == htons(9000));
    commands();

    CHECK(NUMBERS(WRITE, fd, "answer", (size_t)6) == 6);
    packet = sniffed();
    CHECK(strcmp(packet.rest, "answer") == 0 && packet.tcp.seq == htonl(1001));
    inject(16, 1, 1007, "thanks");
    packet = sniffed();
    CHECK(packet.tcp.ack_seq == htonl(7) && packet.rest[0] == 0);
    epfd = NUMBERS(EPOLL_CREATE, 1);
    CHECK(epfd >= 0 && NUMBERS(EPOLL_CTL, epfd, EPOLL_CTL_ADD, fd, &event) == 0);
    CHECK(NUMBERS(EPOLL_WAIT, epfd, events, 2, 10000) == 1 && events[0].data.u64 == 5);
    CHECK(NUMBERS(PIPE, pipes) == 0);
    CHECK(NUMBERS(SPLICE, fd, NULL, pipes[1], NULL, (size_t)100, 0u) == 6);
    CHECK(NUMBERS(READ, pipes[0], text, sizeof text) == 6 && memcmp(text, "thanks", 6) == 0);
    CHECK(NUMBERS(WRITE, pipes[1], "spliced", (size_t)7) == 7);
    CHECK(NUMBERS(SPLICE, pipes[0], NULL, fd, NULL, (size_t)100, 0u) == 7);
    CHECK(strcmp(sniffed().rest, "spliced") == 0);
    CHECK(NUMBERS(CLOSE, fd) == 0);
    CHECK(sniffed().tcp.fin);
    /* packetdrill closes the rest by the kernel's call. */
    CHECK(close(listener) == 0);
    ((void (*)(void *))table.calls[FREE])(table.userdata);
    puts("done");
    return 0;
}
