//! The calls that packetdrill makes: those of `polytcp.h`, and those on the [wire](super::wire).

use std::ffi::{c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use std::os::fd::RawFd;

use libc::{
    epoll_event, iovec, loff_t, msghdr, nfds_t, pollfd, size_t, sockaddr, socklen_t, ssize_t, timeval,
    timezone, useconds_t,
};
use rustix::io::Errno;

use super::{Interface, UserData, packetdrill_interface};
use crate::boundary::{answer, of_kernel};
use crate::control::{pt_close, pt_fcntl, pt_getsockopt, pt_ioctl, pt_setsockopt, pt_shutdown};
use crate::descriptors;
use crate::epoll::{pt_epoll_create, pt_epoll_ctl, pt_epoll_wait};
use crate::memory;
use crate::opening::{pt_accept, pt_bind, pt_connect, pt_listen, pt_socket};
use crate::transfer::{
    pt_read, pt_readv, pt_recv, pt_recvfrom, pt_recvmsg, pt_send, pt_sendmsg, pt_sendto, pt_write, pt_writev,
};
use crate::wait::pt_poll;

/// Octets that `splice` moves at once at most: what a pipe holds.
const SPLICE_BYTES_MAX: usize = 64 << 10;

/// Calls of the library under the names that packetdrill has for them, which differ by the first argument. `refreshed` ones go
/// by sysctls.
macro_rules! pass_on {
    (@before refreshed $userdata:ident) => {
        // SAFETY: packetdrill gives back what it was given.
        unsafe { interface($userdata) }.refresh();
    };
    (@before plain $userdata:ident) => {};
    ($($manner:ident $name:ident = $call:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(
            unsafe extern "C" fn $name(_userdata: UserData, $($argument: $kind),*) -> $result {
                pass_on!(@before $manner _userdata);
                // SAFETY: the caller's arguments as they are.
                unsafe { $call($($argument),*) }
            }
        )*
    };
}

pass_on! {
    refreshed bind = pt_bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int;
    refreshed accept = pt_accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int;
    refreshed connect = pt_connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int;
    plain read = pt_read(fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t;
    plain readv = pt_readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
    plain recv = pt_recv(fd: c_int, buffer: *mut c_void, len: size_t, flags: c_int) -> ssize_t;
    plain recvfrom = pt_recvfrom(
        fd: c_int, buffer: *mut c_void, len: size_t, flags: c_int, from: *mut sockaddr, room: *mut socklen_t
    ) -> ssize_t;
    plain recvmsg = pt_recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    plain write = pt_write(fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t;
    plain writev = pt_writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
    plain send = pt_send(fd: c_int, buffer: *const c_void, len: size_t, flags: c_int) -> ssize_t;
    plain sendto = pt_sendto(
        fd: c_int, buffer: *const c_void, len: size_t, flags: c_int, to: *const sockaddr, to_len: socklen_t
    ) -> ssize_t;
    plain sendmsg = pt_sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    plain fcntl = pt_fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int;
    plain ioctl = pt_ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int;
    plain getsockopt = pt_getsockopt(
        fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t
    ) -> c_int;
    plain setsockopt = pt_setsockopt(
        fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t
    ) -> c_int;
    plain poll = pt_poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int;
    plain epoll_ctl = pt_epoll_ctl(epfd: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int;
    plain epoll_wait = pt_epoll_wait(epfd: c_int, events: *mut epoll_event, count: c_int, timeout: c_int) -> c_int;
}

extern "C" fn socket(userdata: UserData, domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: packetdrill gives back what it was given.
    unsafe { interface(userdata) }.refresh();
    pt_socket(domain, kind, protocol)
}

extern "C" fn listen(userdata: UserData, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: packetdrill gives back what it was given.
    unsafe { interface(userdata) }.refresh();
    pt_listen(fd, backlog)
}

extern "C" fn close(_: UserData, fd: c_int) -> c_int {
    pt_close(fd)
}

extern "C" fn shutdown(_: UserData, fd: c_int, how: c_int) -> c_int {
    pt_shutdown(fd, how)
}

extern "C" fn epoll_create(_: UserData, size: c_int) -> c_int {
    pt_epoll_create(size)
}

extern "C" fn usleep(_: UserData, micros: useconds_t) -> c_int {
    // SAFETY: it takes a number.
    unsafe { libc::usleep(micros) }
}

/// CLOCK_REALTIME, by which packets are stamped too.
unsafe extern "C" fn gettimeofday(_: UserData, time: *mut timeval, zone: *mut timezone) -> c_int {
    // SAFETY: the caller's arguments as they are.
    unsafe { libc::gettimeofday(time, zone.cast()) }
}

unsafe extern "C" fn pipe(_: UserData, fds: *mut c_int) -> c_int {
    // SAFETY: the caller's argument as it is.
    unsafe { libc::pipe(fds) }
}

/// `splice(2)`, where one of both ends may be a socket of the library's. What was taken from one end is given to the other
/// wholly, which may wait longer than Linux would.
unsafe extern "C" fn splice(
    _: UserData,
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    let is_ours = |fd: RawFd| descriptors::find(fd).is_some();
    if !is_ours(from) && !is_ours(to) {
        // SAFETY: the caller's arguments as they are.
        return unsafe { libc::splice(from, from_offset, to, to_offset, len, flags) };
    }
    answer(|| {
        if !from_offset.is_null() || !to_offset.is_null() {
            return Err(Errno::SPIPE);
        }
        let mut buffer = vec![0_u8; len.min(SPLICE_BYTES_MAX)];
        // SAFETY: there is that much room.
        let taken = of_kernel(unsafe { pt_read(from, buffer.as_mut_ptr().cast(), buffer.len()) })?;
        let mut left = &buffer[..taken as usize];
        while !left.is_empty() {
            // SAFETY: there are that many octets.
            let given = of_kernel(unsafe { pt_write(to, left.as_ptr().cast(), left.len()) });
            match given {
                Err(Errno::AGAIN) => {
                    let mut entry = pollfd { fd: to, events: libc::POLLOUT, revents: 0 };
                    // SAFETY: there is one entry.
                    of_kernel(unsafe { pt_poll(&mut entry, 1, -1) })?;
                }
                given => left = &left[given? as usize..],
            }
        }
        Ok(taken)
    })
}

/// # Safety
/// `userdata` is that of the interface.
unsafe fn interface<'a>(userdata: UserData) -> &'a Interface {
    // SAFETY: it was made by `init`, and packetdrill calls nothing after `free`.
    unsafe { &*userdata.cast_const().cast() }
}

/// A packet for the stack.
unsafe extern "C" fn netdev_send(userdata: UserData, packet: *const c_void, len: size_t) -> c_int {
    answer(|| {
        // SAFETY: by the interface's contract there are that many octets.
        let packet = unsafe { memory::octets(packet.cast(), len) }.ok_or(Errno::FAULT)?;
        // SAFETY: packetdrill gives back what it was given.
        let interface = unsafe { interface(userdata) };
        let sent = interface.wire.inject(packet);
        sent.map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Errno::NOBUFS,
            std::io::ErrorKind::InvalidInput => Errno::MSGSIZE,
            _ => Errno::IO,
        })?;
        // As a device of Linux: the script's next call finds what the packet did.
        interface.net.sockets.stack().take_input();
        Ok(0)
    })
}

/// The next packet of the stack, which is waited for.
unsafe extern "C" fn netdev_receive(
    userdata: UserData,
    packet: *mut c_void,
    len: *mut size_t,
    time_micros: *mut c_longlong,
) -> c_int {
    answer(|| {
        // SAFETY: by the interface's contract it points to a length.
        let room = unsafe { memory::read(len) }?;
        // SAFETY: by the interface's contract there is that much room.
        let room = unsafe { memory::room(packet.cast(), room) }.ok_or(Errno::FAULT)?;
        // SAFETY: packetdrill gives back what it was given.
        let (taken, time) = unsafe { interface(userdata) }.wire.sniff(room);
        // SAFETY: by the interface's contract both point to numbers.
        unsafe {
            memory::write(len, taken)?;
            memory::write(time_micros, time)?;
        }
        Ok(0)
    })
}

/// The end of a script. The stack goes on until the process ends: what it still sends is not looked at.
unsafe extern "C" fn free(userdata: UserData) {
    // SAFETY: it was made by `init`, and packetdrill calls nothing after this.
    drop(unsafe { Box::<Interface>::from_raw(userdata.cast()) });
}

/// The interface with all calls.
pub(super) fn table(userdata: UserData) -> packetdrill_interface {
    packetdrill_interface {
        userdata,
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read,
        readv,
        recv,
        recvfrom,
        recvmsg,
        write,
        writev,
        send,
        sendto,
        sendmsg,
        fcntl,
        ioctl,
        close,
        shutdown,
        getsockopt,
        setsockopt,
        poll,
        netdev_send,
        netdev_receive,
        usleep,
        gettimeofday,
        epoll_create,
        epoll_ctl,
        epoll_wait,
        pipe,
        splice,
    }
}
