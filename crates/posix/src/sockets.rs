//! The table of sockets and epoll instances: every call by its descriptor.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polytcp::{Protocol, Stack};
use rustix::io::Errno;

use crate::epoll::{Epoll, EpollEvent};
use crate::opening::Destination;
use crate::options::Options;
use crate::poll::{self, PollFd, Polled, Polling};
use crate::select::{self, FdSet};
use crate::socket::{self, Domain, Net, Socket};
use crate::table::{Fd, File, Table};

/// Which options an MPTCP socket takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compat {
    /// All that have a meaning.
    #[default]
    Extended,
    /// Those that Linux 6.18 takes, with its errors for the others.
    Linux,
}

/// Flags of [`Sockets::socket`] and [`Sockets::accept`].
const FLAGS: i32 = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// A table of BSD sockets on one stack, as a process has one. All calls may be made by any thread at any time.
///
/// Errors are those of Linux; each call's documentation names what is special here. A descriptor that is not in the table is
/// `EBADF` in all of them, one of an epoll instance `ENOTSOCK` in those for sockets.
pub struct Sockets {
    net: Arc<Net>,
    table: Mutex<Table>,
    /// Held while one epoll instance begins to watch another, so that no two make a circle.
    nesting: Mutex<()>,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("compat", &self.net.compat).finish_non_exhaustive()
    }
}

impl Sockets {
    /// An empty table.
    pub fn new(stack: Stack) -> Self {
        Self::with_compat(stack, Compat::default())
    }

    /// An empty table whose MPTCP sockets take the options that `compat` says.
    pub fn with_compat(stack: Stack, compat: Compat) -> Self {
        Self {
            net: Arc::new(Net { stack, ports: Mutex::default(), compat }),
            table: Mutex::default(),
            nesting: Mutex::default(),
        }
    }

    /// The stack.
    pub fn stack(&self) -> &Stack {
        &self.net.stack
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, fd: Fd) -> Result<Arc<Socket>, Errno> {
        self.table().get(fd)?.socket()
    }

    /// `socket(2)`: `AF_INET` or `AF_INET6`, `SOCK_STREAM` with `SOCK_NONBLOCK` and `SOCK_CLOEXEC` (which means nothing
    /// here), `IPPROTO_MPTCP`, `IPPROTO_TCP` or 0, which is TCP.
    ///
    /// # Errors
    /// `EAFNOSUPPORT`, `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`, `EINVAL`, `EMFILE`; `ENOPROTOOPT` where MPTCP is switched off
    /// (`net.mptcp.enabled` = 0).
    pub fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Fd, Errno> {
        let domain = match domain {
            libc::AF_INET => Domain::Inet,
            libc::AF_INET6 => Domain::Inet6,
            _ => return Err(Errno::AFNOSUPPORT),
        };
        match kind & !FLAGS {
            libc::SOCK_STREAM => {}
            libc::SOCK_DGRAM | libc::SOCK_RAW => return Err(Errno::PROTONOSUPPORT),
            libc::SOCK_SEQPACKET | libc::SOCK_RDM => return Err(Errno::SOCKTNOSUPPORT),
            _ => return Err(Errno::INVAL),
        }
        let protocol = match protocol {
            0 | libc::IPPROTO_TCP => Protocol::Tcp,
            libc::IPPROTO_MPTCP if !self.stack().look(|host| host.config().mptcp.enabled) => {
                return Err(Errno::NOPROTOOPT);
            }
            libc::IPPROTO_MPTCP => Protocol::Mptcp,
            0..=262 => return Err(Errno::PROTONOSUPPORT),
            _ => return Err(Errno::INVAL),
        };
        let socket = Socket::new(&self.net, domain, protocol, Options::new());
        socket.set_nonblocking(kind & libc::SOCK_NONBLOCK != 0);
        self.table().insert(File::Socket(Arc::new(socket)))
    }

    /// `bind(2)`.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EAFNOSUPPORT`, `EINVAL` where it is bound or in use.
    pub fn bind(&self, fd: Fd, address: SocketAddr) -> Result<(), Errno> {
        self.get(fd)?.bind(address)
    }

    /// `listen(2)`; again with another backlog, which counts from then on.
    ///
    /// # Errors
    /// `EINVAL` where it is connected or connecting, `EADDRINUSE`.
    pub fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno> {
        self.get(fd)?.listen(backlog)
    }

    /// `accept4(2)`: the new socket and its peer. A client that did not ask for MPTCP gives a plain TCP socket.
    ///
    /// # Errors
    /// `EINVAL` where it does not listen or `flags` are unknown, `EAGAIN`, `EMFILE`.
    pub fn accept(&self, fd: Fd, flags: i32) -> Result<(Fd, SocketAddr), Errno> {
        if flags & !FLAGS != 0 {
            return Err(Errno::INVAL);
        }
        let accepted = self.get(fd)?.accept()?;
        accepted.set_nonblocking(flags & libc::SOCK_NONBLOCK != 0);
        let peer = accepted.lock().peer.map(|peer| accepted.domain.tell(peer));
        let peer = peer.unwrap_or(SocketAddr::new(accepted.domain.any(), 0));
        Ok((self.table().insert(File::Socket(Arc::new(accepted)))?, peer))
    }

    /// `connect(2)`.
    ///
    /// # Errors
    /// `EINPROGRESS` without blocking or after `SO_SNDTIMEO`, `EALREADY`, `EISCONN`, `ECONNREFUSED`, `ETIMEDOUT`,
    /// `ENETUNREACH`, `EADDRNOTAVAIL`, `EAFNOSUPPORT`; `ECONNABORTED` where the failure was told by `SO_ERROR` before.
    pub fn connect(&self, fd: Fd, to: impl Into<Destination>) -> Result<(), Errno> {
        self.get(fd)?.connect(to.into())
    }

    /// `getsockname(2)`.
    ///
    /// # Errors
    /// None but `EBADF`.
    pub fn getsockname(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        Ok(self.get(fd)?.local_name())
    }

    /// `getpeername(2)`: that of the first subflow, also after it is gone.
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn getpeername(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        self.get(fd)?.peer_name()
    }

    /// `recv(2)`: `MSG_PEEK`, `MSG_WAITALL`, `MSG_DONTWAIT`, `MSG_TRUNC` (throws away what it counts).
    ///
    /// # Errors
    /// `EAGAIN`, `ENOTCONN`, `ECONNRESET` and the others of a failed connection, once.
    pub fn recv(&self, fd: Fd, buffer: &mut [u8], flags: i32) -> Result<usize, Errno> {
        self.recvmsg(fd, &mut [IoSliceMut::new(buffer)], flags)
    }

    /// `readv(2)` and `recvmsg(2)` without control messages; see [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recvmsg(&self, fd: Fd, parts: &mut [IoSliceMut<'_>], flags: i32) -> Result<usize, Errno> {
        self.get(fd)?.receive(parts, flags)
    }

    /// `send(2)`: `MSG_DONTWAIT`, `MSG_MORE`; `MSG_NOSIGNAL` always, since nothing here raises signals.
    ///
    /// # Errors
    /// `EAGAIN`, `EPIPE`, `ECONNRESET` and the others of a failed connection, once.
    pub fn send(&self, fd: Fd, data: &[u8], flags: i32) -> Result<usize, Errno> {
        self.sendmsg(fd, &[IoSlice::new(data)], flags)
    }

    /// `writev(2)` and `sendmsg(2)`, whose address a stream socket ignores; see [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn sendmsg(&self, fd: Fd, parts: &[IoSlice<'_>], flags: i32) -> Result<usize, Errno> {
        self.get(fd)?.transmit(parts, flags)
    }

    /// `shutdown(2)`.
    ///
    /// # Errors
    /// `ENOTCONN`, `EINVAL` for an unknown `how`.
    pub fn shutdown(&self, fd: Fd, how: i32) -> Result<(), Errno> {
        self.get(fd)?.shutdown(how)
    }

    /// `close(2)`. Calls that other threads make at that moment end by themselves; the connection ends after the last.
    ///
    /// # Errors
    /// None but `EBADF`.
    pub fn close(&self, fd: Fd) -> Result<(), Errno> {
        let closed = self.table().remove(fd)?;
        drop(closed);
        Ok(())
    }

    /// `setsockopt(2)`.
    ///
    /// # Errors
    /// `ENOPROTOOPT`, `EOPNOTSUPP`, `EINVAL`, `EDOM`, as Linux has them for the option.
    pub fn setsockopt(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let socket = self.get(fd)?;
        socket.set_option(level, name, value)?;
        socket.note_option(level, name);
        Ok(())
    }

    /// `getsockopt(2)`: how many octets of `value` were filled.
    ///
    /// # Errors
    /// `ENOPROTOOPT`, `EOPNOTSUPP`, as Linux has them for the option.
    pub fn getsockopt(&self, fd: Fd, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno> {
        self.get(fd)?.get_option(level, name, value)
    }

    /// `ioctl(2)` that reads a number: [`SIOCINQ`](crate::SIOCINQ) (`FIONREAD`), [`SIOCOUTQ`](crate::SIOCOUTQ),
    /// [`SIOCOUTQNSD`](crate::SIOCOUTQNSD), [`SIOCATMARK`](crate::SIOCATMARK).
    ///
    /// # Errors
    /// `EINVAL` on listeners and epoll instances, `ENOTTY` for an unknown request.
    pub fn ioctl(&self, fd: Fd, request: u64) -> Result<i32, Errno> {
        let file = self.table().get(fd)?;
        match file {
            File::Socket(socket) => socket.queued(request),
            File::Epoll(_) => Err(Errno::INVAL),
        }
    }

    /// `O_NONBLOCK` (`fcntl(2)` with `F_SETFL`, `ioctl(2)` with `FIONBIO`).
    ///
    /// # Errors
    /// None but `EBADF`.
    pub fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno> {
        let file = self.table().get(fd)?;
        match file {
            File::Socket(socket) => socket.set_nonblocking(on),
            File::Epoll(epoll) => epoll.nonblocking().store(on, Ordering::Relaxed),
        }
        Ok(())
    }

    /// Whether `O_NONBLOCK` is set (`F_GETFL`).
    ///
    /// # Errors
    /// None but `EBADF`.
    pub fn is_nonblocking(&self, fd: Fd) -> Result<bool, Errno> {
        let file = self.table().get(fd)?;
        Ok(match file {
            File::Socket(socket) => socket.is_nonblocking(),
            File::Epoll(epoll) => epoll.nonblocking().load(Ordering::Relaxed),
        })
    }

    /// `poll(2)`: how many entries have something to tell. `None` waits for ever.
    ///
    /// # Errors
    /// None: a descriptor that is not in the table is told as `POLLNVAL`.
    pub fn poll(&self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        Ok(poll::poll(self.stack(), fds, &self.polled(fds), timeout))
    }

    /// Begins a `poll` whose caller waits elsewhere, for descriptors of the kernel too for instance.
    pub fn begin_poll(&self, fds: &[PollFd]) -> Polling {
        Polling::new(self.stack(), self.polled(fds))
    }

    fn polled(&self, fds: &[PollFd]) -> Polled {
        let table = self.table();
        fds.iter().map(|entry| table.get(entry.fd).ok().map(File::pollable)).collect()
    }

    /// `select(2)`: how many descriptors have something to tell, counted in each set. Descriptors of `nfds` and above are not
    /// looked at. Where it succeeds only those that have are left in the sets. `None` for the timeout waits for ever.
    ///
    /// # Errors
    /// `EINVAL` for a negative `nfds`, `EBADF` where a set has a descriptor that is not in the table.
    pub fn select(
        &self,
        nfds: i32,
        read: Option<&mut FdSet>,
        write: Option<&mut FdSet>,
        except: Option<&mut FdSet>,
        timeout: Option<Duration>,
    ) -> Result<usize, Errno> {
        let find = |fd| self.table().get(fd).map(File::pollable);
        select::select(self.stack(), nfds, [read, write, except], find, timeout)
    }

    /// `epoll_create1(2)`: an epoll instance. `flags` are 0 or `EPOLL_CLOEXEC`, which means nothing here.
    ///
    /// # Errors
    /// `EINVAL`, `EMFILE`.
    pub fn epoll_create(&self, flags: i32) -> Result<Fd, Errno> {
        if flags & !libc::EPOLL_CLOEXEC != 0 {
            return Err(Errno::INVAL);
        }
        self.table().insert(File::Epoll(Epoll::new(socket::next_id())))
    }

    /// `epoll_ctl(2)`: `EPOLL_CTL_ADD`, `EPOLL_CTL_MOD`, `EPOLL_CTL_DEL`, which ignores `event`. A socket that is closed leaves
    /// all instances. Instances may watch instances, five above each other.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`; `ELOOP` for a circle of instances or too many above each other; `EINVAL` for an instance that is to
    /// watch itself, an `epfd` that is none, an unknown `op`, and `EPOLLEXCLUSIVE` in `EPOLL_CTL_MOD`, for an
    /// instance, or with flags that it does not go with.
    pub fn epoll_ctl(&self, epfd: Fd, op: i32, fd: Fd, event: EpollEvent) -> Result<(), Errno> {
        let (epoll, target) = {
            let table = self.table();
            (table.get(epfd)?, table.get(fd)?.pollable())
        };
        let epoll = epoll.epoll()?;
        let mut wakers = Vec::new();
        let result = {
            let nests = target.as_epoll().is_some();
            let _nesting = nests.then(|| self.nesting.lock().unwrap_or_else(PoisonError::into_inner));
            epoll.control(op, &target, fd, event, &mut wakers)
        };
        self.stack().wake(wakers);
        result
    }

    /// `epoll_wait(2)`: how many of `events` were filled, in the order in which they became ready. `None` waits for ever.
    ///
    /// # Errors
    /// `EINVAL` for an `epfd` that is no instance, and where `events` is empty.
    pub fn epoll_wait(
        &self,
        epfd: Fd,
        events: &mut [EpollEvent],
        timeout: Option<Duration>,
    ) -> Result<usize, Errno> {
        let file = self.table().get(epfd)?;
        if events.is_empty() {
            return Err(Errno::INVAL);
        }
        Ok(file.epoll()?.wait(self.stack(), events, timeout))
    }
}
