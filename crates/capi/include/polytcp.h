/* libpolytcp: Multipath TCP (RFC 8684) in user space, with the calls of BSD sockets.
 *
 * A stack is a host of its own on TUN devices; pt_stack_new() makes one. pt_socket() gives sockets on it, and every other call
 * is that of the same name without "pt_": same arguments, same results, same errno as Linux has. All calls may be made by any
 * thread at any time. What differs from Linux on purpose is listed in docs/differences.md of the project.
 *
 * Descriptors are small numbers that the kernel gives to nothing else. Every call takes descriptors of the kernel's too, and
 * passes them on to the call of the kernel, so that both kinds can be mixed, in pt_poll(), pt_select() and pt_epoll_wait() as well. The kernel's
 * own calls know nothing of the library's descriptors: neither dup(), sendfile() nor stdio work on them, and a child
 * that was forked must not use them.
 *
 * Null pointers are answered with EFAULT where Linux does; other wrong pointers are not found out. An error within the library
 * is answered with EIO and told on stderr. Signals do not interrupt a call that waits, but see pt_poll(), and a thread that is
 * cancelled (pthread_cancel) ends at its next cancellation point after the call.
 *
 * polytcp_bsd.h maps the names without "pt_" to these, for programs that are not to be changed. */


#ifndef POLYTCP_H
#define POLYTCP_H

/* Made by cbindgen from crates/capi/src; change the doc comments there. */

#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * ioctl(2): FIONBIO, FIONREAD (SIOCINQ), SIOCOUTQ (TIOCOUTQ), SIOCOUTQNSD, SIOCATMARK, FIOCLEX, FIONCLEX.
 *
 * Returns 0, or -1 and errno, as ioctl(2).
 */
int pt_ioctl(int fd, unsigned long request, ...);

/**
 * fcntl(2): F_GETFL, F_SETFL with O_NONBLOCK, F_GETFD, F_SETFD. Others are EINVAL.
 *
 * Returns what was asked for or 0, or -1 and errno, as fcntl(2).
 */
int pt_fcntl(int fd, int command, ...);

#ifdef __cplusplus
}
#endif

/**
 * A Multipath TCP host of its own: its addresses, devices and connections, none of which the kernel knows.
 *
 * It works on a thread of its own until `pt_stack_free`. Any thread may use it at any time.
 */
typedef struct pt_stack pt_stack;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes a stack and starts it. The first one of the process becomes the default, on which pt_socket() makes its sockets.
 *
 * config says what it is made of: settings, one in each line or separated by ';'. From '#' to the end of a line is comment.
 *
 *     tun NAME ADDRESS/PREFIX... [mtu OCTETS]
 *         A path, at least one: the TUN device NAME, which is made unless it exists (needs CAP_NET_ADMIN), and the stack's
 *         addresses on it. The kernel is at the other end; its address there is the administrator's matter. "fd:N" instead of
 *         NAME: the open descriptor N of a TUN device that was set up with IFF_NO_PI and IFF_VNET_HDR; the stack uses a
 *         duplicate of it. mtu is 1280 to 65535, default 1500.
 *     endpoint add ADDRESS [port N] [id N] [signal] [subflow] [backup] [fullmesh] [laminar]
 *         As "ip mptcp endpoint add" of Linux. Give "subflow" to each address that further subflows are to come from.
 *     limits set [subflows N] [add_addr_accepted N]
 *         As "ip mptcp limits set", 0 to 8. Default 2 and 0.
 *     net.mptcp.enabled = 0|1
 *         1, the default: sockets may be MPTCP. 0: IPPROTO_MPTCP is refused with ENOPROTOOPT.
 *     net.ipv4.tcp_congestion_control = NAME
 *         Default cubic; balia, bbr, lia, olia and reno are there too.
 *     net.ipv4.tcp_rmem = BYTES BYTES BYTES, and all others of docs/sysctls.md of the project
 *         As the sysctls of Linux of these names.
 *     compat extended|linux
 *         Which options an MPTCP socket takes: all that mean something, the default; or those of Linux 6.18, with its errors.
 *     mptcpize
 *         pt_socket() makes MPTCP sockets for programs that ask for TCP.
 *     linger SECONDS
 *         How long pt_stack_free() and exit() wait until what was written is delivered. Default 5.
 *
 * error, unless it is NULL, is room for error_len octets that takes one line, cut to what fits, which says what was wrong; the
 * empty text if nothing was. 256 octets are enough for most.
 *
 * Returns the stack, or NULL and errno: EFAULT (config is NULL), EINVAL (config is wrong), EPERM, EBUSY (a device is not to
 * be had), and what the system says when it has no descriptor, thread or memory left.
 */
pt_stack *pt_stack_new(const char *config, char *error, size_t error_len);

/**
 * Ends a stack: closes its sockets, waits until their peers have what was written (the setting "linger"), and gives its
 * devices back. Calls that other threads make on its sockets end. The pointer is not valid any more; if it was the default,
 * there is none now. NULL is no stack, and nothing is done.
 *
 * exit() and a return from main() do this for every stack that is left; a process that ends otherwise leaves its peers alone.
 *
 * Returns 0, or -1 and errno: EINVAL (not a stack), ETIMEDOUT (something was not delivered, or a thread still uses it).
 */
int pt_stack_free(pt_stack *stack);

/**
 * Makes a stack the default, on which pt_socket() makes its sockets. NULL: none is.
 *
 * Returns 0, or -1 and errno: EINVAL (not a stack).
 */
int pt_stack_set_default(pt_stack *stack);

/**
 * socket(2) on the default stack, for AF_INET and AF_INET6, SOCK_STREAM, and IPPROTO_MPTCP, IPPROTO_TCP or 0, which is TCP.
 * Every other kind of socket (AF_UNIX, SOCK_DGRAM ...) is one of the kernel's.
 *
 * The default stack is the first that the program has made, or what pt_stack_set_default() says. A program that has made none
 * gets one of the configuration in the environment variable POLYTCP_CONFIG (see pt_stack_new) at its first socket.
 *
 * Returns a descriptor, or -1 and errno, as socket(2); ENETDOWN where there is no stack.
 */
int pt_socket(int domain, int type, int protocol);

/**
 * socket(2) on a stack; never a socket of the kernel's.
 *
 * Returns a descriptor, or -1 and errno, as socket(2); EINVAL where stack is none.
 */
int pt_socket_on(pt_stack *stack, int domain, int type, int protocol);

/**
 * bind(2).
 *
 * Returns 0, or -1 and errno, as bind(2).
 */
int pt_bind(int fd, const struct sockaddr *address, socklen_t len);

/**
 * listen(2); again with another backlog, which counts from then on.
 *
 * Returns 0, or -1 and errno, as listen(2).
 */
int pt_listen(int fd, int backlog);

/**
 * accept(2). A client that did not ask for MPTCP gives a plain TCP socket.
 *
 * Returns a descriptor, or -1 and errno, as accept(2).
 */
int pt_accept(int fd, struct sockaddr *address, socklen_t *len);

/**
 * accept4(2): accept(2) with SOCK_NONBLOCK and SOCK_CLOEXEC for the new socket.
 *
 * Returns a descriptor, or -1 and errno, as accept4(2).
 */
int pt_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);

/**
 * connect(2). AF_UNSPEC disconnects.
 *
 * Returns 0, or -1 and errno, as connect(2).
 */
int pt_connect(int fd, const struct sockaddr *address, socklen_t len);

/**
 * getsockname(2): the address is cut where len is too short, and len is set to its whole length.
 *
 * Returns 0, or -1 and errno, as getsockname(2).
 */
int pt_getsockname(int fd, struct sockaddr *address, socklen_t *len);

/**
 * getpeername(2): the peer of the first subflow. The address is cut as by pt_getsockname().
 *
 * Returns 0, or -1 and errno, as getpeername(2).
 */
int pt_getpeername(int fd, struct sockaddr *address, socklen_t *len);

/**
 * read(2). Waits, unless O_NONBLOCK is set, at most for SO_RCVTIMEO.
 *
 * Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as read(2).
 */
ssize_t pt_read(int fd, void *buffer, size_t len);

/**
 * write(2). Waits, unless O_NONBLOCK is set, at most for SO_SNDTIMEO. SIGPIPE is raised with EPIPE.
 *
 * Returns how many octets were taken, or -1 and errno, as write(2).
 */
ssize_t pt_write(int fd, const void *buffer, size_t len);

/**
 * readv(2).
 *
 * Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as readv(2).
 */
ssize_t pt_readv(int fd, const struct iovec *parts, int count);

/**
 * writev(2). SIGPIPE is raised with EPIPE.
 *
 * Returns how many octets were taken, or -1 and errno, as writev(2).
 */
ssize_t pt_writev(int fd, const struct iovec *parts, int count);

/**
 * send(2): MSG_DONTWAIT, MSG_NOSIGNAL. Without the latter SIGPIPE is raised with EPIPE.
 *
 * Returns how many octets were taken, or -1 and errno, as send(2).
 */
ssize_t pt_send(int fd, const void *buffer, size_t len, int flags);

/**
 * sendto(2). A stream socket ignores the address, as in Linux.
 *
 * Returns how many octets were taken, or -1 and errno, as sendto(2).
 */
ssize_t pt_sendto(int fd, const void *buffer, size_t len, int flags, const struct sockaddr *address, socklen_t address_len);

/**
 * sendmsg(2). A stream socket ignores the address, as in Linux; control messages are ignored too.
 *
 * Returns how many octets were taken, or -1 and errno, as sendmsg(2).
 */
ssize_t pt_sendmsg(int fd, const struct msghdr *message, int flags);

/**
 * recv(2): MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT, and MSG_TRUNC, which throws away what it counts and needs no buffer.
 *
 * Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as recv(2).
 */
ssize_t pt_recv(int fd, void *buffer, size_t len, int flags);

/**
 * recvfrom(2). A stream socket tells no address, as in Linux: its length is set to 0.
 *
 * Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as recvfrom(2).
 */
ssize_t pt_recvfrom(int fd, void *buffer, size_t len, int flags, struct sockaddr *address, socklen_t *address_len);

/**
 * recvmsg(2). No address and no control messages are told: their lengths and the flags are set to 0.
 *
 * Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as recvmsg(2).
 */
ssize_t pt_recvmsg(int fd, struct msghdr *message, int flags);

/**
 * shutdown(2).
 *
 * Returns 0, or -1 and errno, as shutdown(2).
 */
int pt_shutdown(int fd, int how);

/**
 * close(2): gracefully, in the background, or at once where data is unread or SO_LINGER says so. Only this call closes a
 * descriptor of the library's; calls that other threads make on it at that moment end by themselves.
 *
 * Returns 0, or -1 and errno, as close(2).
 */
int pt_close(int fd);

/**
 * setsockopt(2), at the levels SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP and SOL_MPTCP.
 *
 * Returns 0, or -1 and errno, as setsockopt(2).
 */
int pt_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

/**
 * getsockopt(2): the value is cut where there is too little room, and len is set to how long it is then.
 *
 * Returns 0, or -1 and errno, as getsockopt(2).
 */
int pt_getsockopt(int fd, int level, int name, void *value, socklen_t *len);

/**
 * poll(2): the library's descriptors, of one stack or several, and the kernel's together. timeout is in milliseconds; a
 * negative one waits for ever. Signals end the wait with EINTR only where a descriptor of the kernel's is among them.
 *
 * Returns how many entries have something to tell, or -1 and errno, as poll(2).
 */
int pt_poll(struct pollfd *fds, nfds_t count, int timeout);

/**
 * select(2): the library's descriptors, of one stack or several, and the kernel's together. The timeout is set to what is
 * left of it, as in Linux. Signals end the wait as that of pt_poll().
 *
 * Returns how many bits are set, or -1 and errno, as select(2).
 */
int pt_select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout);

/**
 * epoll_create(2): epoll_create1(2) without flags. size says nothing but has to be positive.
 *
 * Returns a descriptor, or -1 and errno, as epoll_create(2).
 */
int pt_epoll_create(int size);

/**
 * epoll_create1(2): an instance that watches the library's descriptors, of one stack or several, and the kernel's together.
 *
 * Returns a descriptor, or -1 and errno, as epoll_create1(2).
 */
int pt_epoll_create1(int flags);

/**
 * epoll_ctl(2). An instance of pt_epoll_create1() that another one watches tells of the kernel's descriptors only.
 *
 * Returns 0, or -1 and errno, as epoll_ctl(2).
 */
int pt_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);

/**
 * epoll_wait(2). timeout is in milliseconds; a negative one waits for ever. Signals end the wait with EINTR only where the
 * instance watches descriptors of the kernel's.
 *
 * Returns how many events there are, or -1 and errno, as epoll_wait(2).
 */
int pt_epoll_wait(int epfd, struct epoll_event *events, int count, int timeout);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* POLYTCP_H */
