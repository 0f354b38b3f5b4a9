/* libpolytcp under the names of BSD sockets, for programs in C that are not to be changed:
 *
 *     cc -include polytcp_bsd.h ... $(pkg-config --cflags --libs polytcp)
 *
 * It has to come before every other header of each file, which -include sees to: what the system's headers declare under
 * these names is declared before they change. Names of the program's own, as members of structures, change everywhere alike.
 *
 * Such a program makes no stack; it gets one from POLYTCP_CONFIG (see pt_stack_new) when it opens its first socket, and with
 * "mptcpize" there its TCP sockets become MPTCP sockets:
 *
 *     POLYTCP_CONFIG='tun poly0 10.0.1.2/24; tun poly1 10.0.2.2/24; endpoint add 10.0.2.2 subflow; mptcpize' program
 *
 * What is not mapped works on descriptors of the kernel only: dup() and its kin, ppoll(), pselect(), epoll_pwait(), sendfile(),
 * splice(), sendmmsg(), recvmmsg(), and stdio on a socket. */

#ifndef POLYTCP_BSD_H
#define POLYTCP_BSD_H

/* Extensions of Linux (accept4) are declared only where they are asked for before the first header. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

/* The headers that declare these calls, and no others: netinet/tcp.h for instance cannot be had beside linux/tcp.h. */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "polytcp.h"

/* Some of these are macros of the C library's already. */
#undef socket
#undef bind
#undef listen
#undef accept
#undef accept4
#undef connect
#undef getsockname
#undef getpeername
#undef read
#undef write
#undef readv
#undef writev
#undef send
#undef sendto
#undef sendmsg
#undef recv
#undef recvfrom
#undef recvmsg
#undef shutdown
#undef close
#undef setsockopt
#undef getsockopt
#undef ioctl
#undef fcntl
#undef poll
#undef select
#undef epoll_create
#undef epoll_create1
#undef epoll_ctl
#undef epoll_wait

#define socket pt_socket
#define bind pt_bind
#define listen pt_listen
#define accept pt_accept
#define accept4 pt_accept4
#define connect pt_connect
#define getsockname pt_getsockname
#define getpeername pt_getpeername
#define read pt_read
#define write pt_write
#define readv pt_readv
#define writev pt_writev
#define send pt_send
#define sendto pt_sendto
#define sendmsg pt_sendmsg
#define recv pt_recv
#define recvfrom pt_recvfrom
#define recvmsg pt_recvmsg
#define shutdown pt_shutdown
#define close pt_close
#define setsockopt pt_setsockopt
#define getsockopt pt_getsockopt
#define ioctl pt_ioctl
#define fcntl pt_fcntl
#define poll pt_poll
#define select pt_select
#define epoll_create pt_epoll_create
#define epoll_create1 pt_epoll_create1
#define epoll_ctl pt_epoll_ctl
#define epoll_wait pt_epoll_wait

#endif /* POLYTCP_BSD_H */
