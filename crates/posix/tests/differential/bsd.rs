//! The calls that both sides have.

use std::net::SocketAddr;

use polytcp_posix::{Destination, EpollEvent, Errno, Fd, FdSet, PollFd, Sockets};

/// BSD sockets, the kernel's or a stack's.
pub(crate) trait Bsd: Send + Sync {
    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Fd, Errno>;
    fn bind(&self, fd: Fd, address: SocketAddr) -> Result<(), Errno>;
    fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno>;
    fn accept(&self, fd: Fd, flags: i32) -> Result<(Fd, SocketAddr), Errno>;
    fn connect(&self, fd: Fd, to: Destination) -> Result<(), Errno>;
    fn getsockname(&self, fd: Fd) -> Result<SocketAddr, Errno>;
    fn getpeername(&self, fd: Fd) -> Result<SocketAddr, Errno>;
    fn recv(&self, fd: Fd, len: usize, flags: i32) -> Result<Vec<u8>, Errno>;
    fn send(&self, fd: Fd, data: &[u8], flags: i32) -> Result<usize, Errno>;
    fn shutdown(&self, fd: Fd, how: i32) -> Result<(), Errno>;
    fn close(&self, fd: Fd) -> Result<(), Errno>;
    fn setsockopt(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno>;
    fn getsockopt(&self, fd: Fd, level: i32, name: i32, len: usize) -> Result<Vec<u8>, Errno>;
    /// With a place that the caller has filled.
    fn getsockopt_in(&self, fd: Fd, level: i32, name: i32, place: &mut [u8]) -> Result<usize, Errno>;
    fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno>;
    fn ioctl(&self, fd: Fd, request: u64) -> Result<i32, Errno>;
    /// What is of `events` and of what is told unasked, now.
    fn poll(&self, fd: Fd, events: i16) -> i16;
    fn epoll_create(&self, flags: i32) -> Result<Fd, Errno>;
    fn epoll_ctl(&self, epfd: Fd, op: i32, fd: Fd, event: EpollEvent) -> Result<(), Errno>;
    /// At most `max` of what is ready now.
    fn epoll_wait(&self, epfd: Fd, max: usize) -> Result<Vec<EpollEvent>, Errno>;
    /// What is left in the sets for reading, writing and exceptions, now.
    fn select(&self, nfds: i32, sets: [&[Fd]; 3]) -> Result<(usize, [Vec<Fd>; 3]), Errno>;
}

impl Bsd for &Sockets {
    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Fd, Errno> {
        Sockets::socket(self, domain, kind, protocol)
    }

    fn bind(&self, fd: Fd, address: SocketAddr) -> Result<(), Errno> {
        Sockets::bind(self, fd, address)
    }

    fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno> {
        Sockets::listen(self, fd, backlog)
    }

    fn accept(&self, fd: Fd, flags: i32) -> Result<(Fd, SocketAddr), Errno> {
        Sockets::accept(self, fd, flags)
    }

    fn connect(&self, fd: Fd, to: Destination) -> Result<(), Errno> {
        Sockets::connect(self, fd, to)
    }

    fn getsockname(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        Sockets::getsockname(self, fd)
    }

    fn getpeername(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        Sockets::getpeername(self, fd)
    }

    fn recv(&self, fd: Fd, len: usize, flags: i32) -> Result<Vec<u8>, Errno> {
        let mut buffer = vec![0; len];
        let len = Sockets::recv(self, fd, &mut buffer, flags)?;
        buffer.truncate(len);
        Ok(buffer)
    }

    fn send(&self, fd: Fd, data: &[u8], flags: i32) -> Result<usize, Errno> {
        Sockets::send(self, fd, data, flags)
    }

    fn shutdown(&self, fd: Fd, how: i32) -> Result<(), Errno> {
        Sockets::shutdown(self, fd, how)
    }

    fn close(&self, fd: Fd) -> Result<(), Errno> {
        Sockets::close(self, fd)
    }

    fn setsockopt(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        Sockets::setsockopt(self, fd, level, name, value)
    }

    fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno> {
        Sockets::set_nonblocking(self, fd, on)
    }

    fn getsockopt_in(&self, fd: Fd, level: i32, name: i32, place: &mut [u8]) -> Result<usize, Errno> {
        Sockets::getsockopt(self, fd, level, name, place)
    }

    fn getsockopt(&self, fd: Fd, level: i32, name: i32, len: usize) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; len];
        let len = Sockets::getsockopt(self, fd, level, name, &mut value)?;
        value.truncate(len);
        Ok(value)
    }

    fn ioctl(&self, fd: Fd, request: u64) -> Result<i32, Errno> {
        Sockets::ioctl(self, fd, request)
    }

    fn poll(&self, fd: Fd, events: i16) -> i16 {
        let mut fds = [PollFd { fd, events, revents: 0 }];
        Sockets::poll(self, &mut fds, Some(std::time::Duration::ZERO)).expect("poll never fails");
        fds[0].revents
    }

    fn epoll_create(&self, flags: i32) -> Result<Fd, Errno> {
        Sockets::epoll_create(self, flags)
    }

    fn epoll_ctl(&self, epfd: Fd, op: i32, fd: Fd, event: EpollEvent) -> Result<(), Errno> {
        Sockets::epoll_ctl(self, epfd, op, fd, event)
    }

    fn epoll_wait(&self, epfd: Fd, max: usize) -> Result<Vec<EpollEvent>, Errno> {
        let mut events = vec![EpollEvent::default(); max];
        let count = Sockets::epoll_wait(self, epfd, &mut events, Some(std::time::Duration::ZERO))?;
        events.truncate(count);
        Ok(events)
    }

    fn select(&self, nfds: i32, sets: [&[Fd]; 3]) -> Result<(usize, [Vec<Fd>; 3]), Errno> {
        let mut kept = sets.map(|fds| {
            let mut set = FdSet::new();
            fds.iter().for_each(|fd| set.insert(*fd));
            set
        });
        let [read, write, except] = &mut kept;
        let now = Some(std::time::Duration::ZERO);
        let count = Sockets::select(self, nfds, Some(read), Some(write), Some(except), now)?;
        let left = [0, 1, 2].map(|at| sets[at].iter().copied().filter(|fd| kept[at].contains(*fd)).collect());
        Ok((count, left))
    }
}
