//! The kernel's sockets, in a namespace.

use std::mem::MaybeUninit;
use std::net::SocketAddr;

use polytcp_lab::Kernel;
use polytcp_posix::{Destination, EpollEvent, Errno, Fd, libc};
use socket2::SockAddr;

use crate::bsd::Bsd;

/// Sockets of one namespace's kernel.
pub(crate) struct KernelBsd<'a>(pub(crate) &'a Kernel);

/// What a call returned, or why it failed.
fn answer(returned: isize) -> Result<usize, Errno> {
    usize::try_from(returned).map_err(|_| {
        let error = std::io::Error::last_os_error();
        Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))
    })
}

fn name(
    call: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> i32,
) -> Result<(usize, SocketAddr), Errno> {
    // SAFETY: `try_init` gives room for any address, and the length says how much of it the kernel filled.
    let told = unsafe {
        SockAddr::try_init(|storage, len| {
            let returned = call(storage.cast(), len);
            if returned < 0 { Err(std::io::Error::last_os_error()) } else { Ok(returned) }
        })
    };
    let (returned, address) =
        told.map_err(|error| Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok((returned as usize, address.as_socket().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))))
}

impl Bsd for KernelBsd<'_> {
    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Result<Fd, Errno> {
        self.0.run(|| {
            // SAFETY: takes numbers only.
            answer(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) } as isize)
                .map(|fd| fd as Fd)
        })
    }

    fn bind(&self, fd: Fd, address: SocketAddr) -> Result<(), Errno> {
        let address = SockAddr::from(address);
        // SAFETY: the address is valid for the length that is given.
        answer(unsafe { libc::bind(fd, address.as_ptr().cast(), address.len()) } as isize).map(drop)
    }

    fn listen(&self, fd: Fd, backlog: i32) -> Result<(), Errno> {
        // SAFETY: takes numbers only.
        answer(unsafe { libc::listen(fd, backlog) } as isize).map(drop)
    }

    fn accept(&self, fd: Fd, flags: i32) -> Result<(Fd, SocketAddr), Errno> {
        // SAFETY: `name` gives room for the address and its length.
        let accepted =
            name(|address, len| unsafe { libc::accept4(fd, address, len, flags | libc::SOCK_CLOEXEC) })?;
        Ok((accepted.0 as Fd, accepted.1))
    }

    fn connect(&self, fd: Fd, to: Destination) -> Result<(), Errno> {
        let address = match to {
            Destination::Address(to) => SockAddr::from(to),
            Destination::Unspecified => SockAddr::from(SocketAddr::from(([0, 0, 0, 0], 0))),
            // The kernel reads addresses by itself.
            Destination::Malformed(error) => return Err(error),
        };
        let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        // SAFETY: both are at least as long as an address is, and do not overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(
                address.as_ptr().cast::<u8>(),
                storage.as_mut_ptr().cast::<u8>(),
                address.len() as usize,
            );
            if to == Destination::Unspecified {
                (*storage.as_mut_ptr()).ss_family = libc::AF_UNSPEC as libc::sa_family_t;
            }
        }
        // SAFETY: the address is valid for the length that is given.
        answer(unsafe { libc::connect(fd, storage.as_ptr().cast(), address.len()) } as isize).map(drop)
    }

    fn getsockname(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        // SAFETY: `name` gives room for the address and its length.
        name(|address, len| unsafe { libc::getsockname(fd, address, len) }).map(|told| told.1)
    }

    fn getpeername(&self, fd: Fd) -> Result<SocketAddr, Errno> {
        // SAFETY: `name` gives room for the address and its length.
        name(|address, len| unsafe { libc::getpeername(fd, address, len) }).map(|told| told.1)
    }

    fn recv(&self, fd: Fd, len: usize, flags: i32) -> Result<Vec<u8>, Errno> {
        let mut buffer = vec![0_u8; len];
        // SAFETY: the buffer is valid for the length that is given.
        let len = answer(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), len, flags) })?;
        buffer.truncate(len);
        Ok(buffer)
    }

    fn send(&self, fd: Fd, data: &[u8], flags: i32) -> Result<usize, Errno> {
        // SAFETY: the data is valid for the length that is given.
        answer(unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), flags | libc::MSG_NOSIGNAL) })
    }

    fn shutdown(&self, fd: Fd, how: i32) -> Result<(), Errno> {
        // SAFETY: takes numbers only.
        answer(unsafe { libc::shutdown(fd, how) } as isize).map(drop)
    }

    fn close(&self, fd: Fd) -> Result<(), Errno> {
        // SAFETY: the descriptor is of this table, and nobody else owns it.
        answer(unsafe { libc::close(fd) } as isize).map(drop)
    }

    fn setsockopt(&self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let len = value.len() as libc::socklen_t;
        // SAFETY: the value is valid for the length that is given.
        answer(unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), len) } as isize).map(drop)
    }

    fn set_nonblocking(&self, fd: Fd, on: bool) -> Result<(), Errno> {
        let mut number = i32::from(on);
        // SAFETY: the request reads one int.
        answer(unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut number) } as isize).map(drop)
    }

    fn getsockopt(&self, fd: Fd, level: i32, name: i32, len: usize) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0_u8; len];
        let len = self.getsockopt_in(fd, level, name, &mut value)?;
        value.truncate(len);
        Ok(value)
    }

    fn getsockopt_in(&self, fd: Fd, level: i32, name: i32, place: &mut [u8]) -> Result<usize, Errno> {
        let mut len = place.len() as libc::socklen_t;
        let value = place.as_mut_ptr().cast();
        // SAFETY: the place is valid for the length that is given.
        answer(unsafe { libc::getsockopt(fd, level, name, value, &raw mut len) } as isize)?;
        Ok(len as usize)
    }

    fn ioctl(&self, fd: Fd, request: u64) -> Result<i32, Errno> {
        let mut number = 0_i32;
        // SAFETY: the requests that are used write one int.
        answer(unsafe { libc::ioctl(fd, request as libc::Ioctl, &raw mut number) } as isize)?;
        Ok(number)
    }

    fn poll(&self, fd: Fd, events: i16) -> i16 {
        let mut entry = libc::pollfd { fd, events, revents: 0 };
        // SAFETY: one entry is given.
        answer(unsafe { libc::poll(&raw mut entry, 1, 0) } as isize).expect("poll");
        entry.revents
    }

    fn epoll_create(&self, flags: i32) -> Result<Fd, Errno> {
        // SAFETY: takes a number only.
        answer(unsafe { libc::epoll_create1(flags) } as isize).map(|fd| fd as Fd)
    }

    fn epoll_ctl(&self, epfd: Fd, op: i32, fd: Fd, event: EpollEvent) -> Result<(), Errno> {
        let mut event = libc::epoll_event { events: event.events, u64: event.data };
        // SAFETY: the event is valid for the call.
        answer(unsafe { libc::epoll_ctl(epfd, op, fd, &raw mut event) } as isize).map(drop)
    }

    fn epoll_wait(&self, epfd: Fd, max: usize) -> Result<Vec<EpollEvent>, Errno> {
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; max.max(1)];
        // SAFETY: there is room for as many events as are asked for.
        let returned = unsafe { libc::epoll_wait(epfd, events.as_mut_ptr(), max as i32, 0) };
        events.truncate(answer(returned as isize)?);
        Ok(events.iter().map(|event| EpollEvent { events: event.events, data: event.u64 }).collect())
    }

    fn select(&self, nfds: i32, sets: [&[Fd]; 3]) -> Result<(usize, [Vec<Fd>; 3]), Errno> {
        let mut kept = sets.map(|fds| {
            // SAFETY: all bits zero is an empty set.
            let mut set = unsafe { MaybeUninit::<libc::fd_set>::zeroed().assume_init() };
            // SAFETY: the descriptors of the test are below FD_SETSIZE.
            fds.iter()
                .filter(|fd| (0..1024).contains(*fd))
                .for_each(|fd| unsafe { libc::FD_SET(*fd, &raw mut set) });
            set
        });
        let [read, write, except] = &mut kept;
        let mut now = libc::timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: the sets and the time are valid for the call.
        let returned =
            unsafe { libc::select(nfds, &raw mut *read, &raw mut *write, &raw mut *except, &raw mut now) };
        let count = answer(returned as isize)?;
        let left = [0, 1, 2].map(|at| {
            // SAFETY: as above.
            sets[at]
                .iter()
                .copied()
                .filter(|fd| unsafe { libc::FD_ISSET(*fd, &raw const kept[at]) })
                .collect()
        });
        Ok((count, left))
    }
}
