/* A program that knows nothing of polytcp, compiled with -include polytcp_bsd.h: it asks the server for a line by plain BSD
 * sockets, and leaves without closing anything. */

#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* As in programs with tables of calls. */
struct protocol {
    ssize_t (*send)(int fd, const void *data, size_t len, int flags);
    int (*close)(int fd);
};

int main(void)
{
    struct protocol protocol = { .send = send, .close = close };
    struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(5000) };
    char line[64];
    ssize_t len;
    int fd;

    server.sin_addr.s_addr = htonl(0x0a000001);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server) < 0) {
        perror("bsd");
        return 1;
    }
    if (protocol.send(fd, "question", 8, 0) != 8 || shutdown(fd, SHUT_WR) < 0)
        return 1;
    len = read(fd, line, sizeof line);
    if (len != 6 || memcmp(line, "answer", 6) != 0)
        return 1;
    if (write(STDOUT_FILENO, line, (size_t)len) != len)
        return 1;
    return protocol.close == close ? 0 : 1;
}
