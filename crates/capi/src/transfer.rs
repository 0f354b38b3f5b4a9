//! Data: `send` and `recv` in all their forms.

use std::ffi::{c_int, c_void};
use std::io::{IoSlice, IoSliceMut};

use libc::{iovec, msghdr, sockaddr, socklen_t, ssize_t};
use rustix::io::Errno;

use crate::address;
use crate::boundary::{answer, of_kernel};
use crate::descriptors::{self, Descriptor};
use crate::memory::{self, Parts};

/// What is thrown away at a time (`MSG_TRUNC` without a buffer).
const SCRATCH_BYTES_MAX: usize = 1 << 20;
/// Parts of a message at most (Linux: `UIO_MAXIOV`).
const PARTS_MAX: usize = 1024;

impl Descriptor {
    fn send(&self, slices: &[IoSlice<'_>], parts: Parts, flags: c_int) -> Result<ssize_t, Errno> {
        let sockets = &self.net.sockets;
        let sent = match parts {
            Parts::Whole => sockets.sendmsg(self.fd, slices, flags),
            // Only where something could be sent it is found, and then nothing is sent.
            Parts::CutOff => sockets.sendmsg(self.fd, &[], flags).and(Err(Errno::FAULT)),
        };
        if sent == Err(Errno::PIPE) && flags & libc::MSG_NOSIGNAL == 0 {
            // SAFETY: what the program does at the signal is its own matter.
            unsafe { libc::raise(libc::SIGPIPE) };
        }
        Ok(sent? as ssize_t)
    }

    fn receive(&self, mut slices: Vec<IoSliceMut<'_>>, parts: Parts, flags: c_int) -> Result<ssize_t, Errno> {
        let sockets = &self.net.sockets;
        if parts == Parts::CutOff {
            // Only where more could be read than there is room for it is found, and then nothing is read.
            let room: usize = slices.iter().map(|slice| slice.len()).sum();
            let mut beyond = [0];
            let mut slices: Vec<_> = slices.iter_mut().map(|slice| IoSliceMut::new(slice)).collect();
            slices.push(IoSliceMut::new(&mut beyond));
            let flags = (flags | libc::MSG_PEEK) & !libc::MSG_WAITALL;
            if sockets.recvmsg(self.fd, &mut slices, flags)? > room {
                return Err(Errno::FAULT);
            }
        }
        Ok(sockets.recvmsg(self.fd, &mut slices, flags)? as ssize_t)
    }

    /// # Safety
    /// `buffer` is null, or points to `len` octets that nobody changes.
    unsafe fn send_one(&self, buffer: *const c_void, len: usize, flags: c_int) -> Result<ssize_t, Errno> {
        // SAFETY: as the caller's.
        match unsafe { memory::octets(buffer.cast(), len) } {
            Some(octets) => self.send(&[IoSlice::new(octets)], Parts::Whole, flags),
            None => self.send(&[], Parts::CutOff, flags),
        }
    }

    /// # Safety
    /// `buffer` is null, or points to `len` octets that nobody else uses.
    unsafe fn receive_one(&self, buffer: *mut c_void, len: usize, flags: c_int) -> Result<ssize_t, Errno> {
        // SAFETY: as the caller's.
        match unsafe { memory::room(buffer.cast(), len) } {
            Some(room) => self.receive(vec![IoSliceMut::new(room)], Parts::Whole, flags),
            // What is thrown away needs no room.
            None if flags & (libc::MSG_TRUNC | libc::MSG_PEEK) == libc::MSG_TRUNC => {
                let mut scratch = vec![0; len.min(SCRATCH_BYTES_MAX)];
                self.receive(vec![IoSliceMut::new(&mut scratch)], Parts::Whole, flags)
            }
            None => self.receive(Vec::new(), Parts::CutOff, flags),
        }
    }
}

/// read(2). Waits, unless O_NONBLOCK is set, at most for SO_RCVTIMEO.
///
/// Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as read(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_read(fd: c_int, buffer: *mut c_void, len: usize) -> ssize_t {
    answer(|| match descriptors::find(fd) {
        // SAFETY: by read's contract there is that much room.
        Some(descriptor) => unsafe { descriptor.receive_one(buffer, len, 0) },
        // SAFETY: the caller's arguments as they are.
        None => of_kernel(unsafe { libc::read(fd, buffer, len) }),
    })
}

/// write(2). Waits, unless O_NONBLOCK is set, at most for SO_SNDTIMEO. SIGPIPE is raised with EPIPE.
///
/// Returns how many octets were taken, or -1 and errno, as write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_write(fd: c_int, buffer: *const c_void, len: usize) -> ssize_t {
    answer(|| match descriptors::find(fd) {
        // SAFETY: by write's contract there are that many octets.
        Some(descriptor) => unsafe { descriptor.send_one(buffer, len, 0) },
        // SAFETY: the caller's arguments as they are.
        None => of_kernel(unsafe { libc::write(fd, buffer, len) }),
    })
}

/// readv(2).
///
/// Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as readv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::readv(fd, parts, count) });
        };
        let count = usize::try_from(count).map_err(|_| Errno::INVAL)?;
        // SAFETY: by readv's contract there are that many parts, each with its room.
        let (slices, parts) = unsafe { memory::parts_mut(parts, count) }?;
        descriptor.receive(slices, parts, 0)
    })
}

/// writev(2). SIGPIPE is raised with EPIPE.
///
/// Returns how many octets were taken, or -1 and errno, as writev(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::writev(fd, parts, count) });
        };
        let count = usize::try_from(count).map_err(|_| Errno::INVAL)?;
        // SAFETY: by writev's contract there are that many parts, each with its octets.
        let (slices, parts) = unsafe { memory::parts(parts, count) }?;
        descriptor.send(&slices, parts, 0)
    })
}

/// send(2): MSG_DONTWAIT, MSG_NOSIGNAL. Without the latter SIGPIPE is raised with EPIPE.
///
/// Returns how many octets were taken, or -1 and errno, as send(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_send(fd: c_int, buffer: *const c_void, len: usize, flags: c_int) -> ssize_t {
    answer(|| match descriptors::find(fd) {
        // SAFETY: by send's contract there are that many octets.
        Some(descriptor) => unsafe { descriptor.send_one(buffer, len, flags) },
        // SAFETY: the caller's arguments as they are.
        None => of_kernel(unsafe { libc::send(fd, buffer, len, flags) }),
    })
}

/// sendto(2). A stream socket ignores the address, as in Linux.
///
/// Returns how many octets were taken, or -1 and errno, as sendto(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_sendto(
    fd: c_int,
    buffer: *const c_void,
    len: usize,
    flags: c_int,
    address: *const sockaddr,
    address_len: socklen_t,
) -> ssize_t {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::sendto(fd, buffer, len, flags, address, address_len) });
        };
        if !address.is_null() {
            // SAFETY: by sendto's contract the address has that many octets.
            unsafe { address::given(address, address_len) }?;
        }
        // SAFETY: by sendto's contract there are that many octets.
        unsafe { descriptor.send_one(buffer, len, flags) }
    })
}

/// sendmsg(2). A stream socket ignores the address, as in Linux; control messages are ignored too.
///
/// Returns how many octets were taken, or -1 and errno, as sendmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::sendmsg(fd, message, flags) });
        };
        // SAFETY: by sendmsg's contract it points to a message.
        let header = unsafe { memory::read(message) }?;
        let count = parts_of(&header)?;
        // SAFETY: by sendmsg's contract there are that many parts, each with its octets.
        let (slices, parts) = unsafe { memory::parts(header.msg_iov, count) }?;
        descriptor.send(&slices, parts, flags)
    })
}

/// recv(2): MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT, and MSG_TRUNC, which throws away what it counts and needs no buffer.
///
/// Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as recv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_recv(fd: c_int, buffer: *mut c_void, len: usize, flags: c_int) -> ssize_t {
    answer(|| match descriptors::find(fd) {
        // SAFETY: by recv's contract there is that much room.
        Some(descriptor) => unsafe { descriptor.receive_one(buffer, len, flags) },
        // SAFETY: the caller's arguments as they are.
        None => of_kernel(unsafe { libc::recv(fd, buffer, len, flags) }),
    })
}

/// recvfrom(2). A stream socket tells no address, as in Linux: its length is set to 0.
///
/// Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as recvfrom(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    len: usize,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> ssize_t {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::recvfrom(fd, buffer, len, flags, address, address_len) });
        };
        // SAFETY: by recvfrom's contract there is that much room.
        let received = unsafe { descriptor.receive_one(buffer, len, flags) }?;
        if !address.is_null() {
            // SAFETY: by recvfrom's contract there is as much room as is said.
            unsafe { address::tell(None, address, address_len) }?;
        }
        Ok(received)
    })
}

/// recvmsg(2). No address and no control messages are told: their lengths and the flags are set to 0.
///
/// Returns how many octets were read, 0 at the end of the stream, or -1 and errno, as recvmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::recvmsg(fd, message, flags) });
        };
        // SAFETY: by recvmsg's contract it points to a message.
        let mut header = unsafe { memory::read(message) }?;
        let count = parts_of(&header)?;
        // SAFETY: by recvmsg's contract there are that many parts, each with its room.
        let (slices, parts) = unsafe { memory::parts_mut(header.msg_iov, count) }?;
        let received = descriptor.receive(slices, parts, flags)?;
        if !header.msg_name.is_null() {
            header.msg_namelen = 0;
        }
        header.msg_controllen = 0;
        header.msg_flags = 0;
        // SAFETY: by recvmsg's contract it points to a message, which is the caller's alone.
        unsafe { memory::write(message, header) }?;
        Ok(received)
    })
}

/// How many parts a message has, once its header is what Linux takes (`copy_msghdr_from_user`).
fn parts_of(header: &msghdr) -> Result<usize, Errno> {
    if !header.msg_name.is_null() && (header.msg_namelen as i32) < 0 {
        return Err(Errno::INVAL);
    }
    #[allow(clippy::unnecessary_cast, reason = "it has another type in other C libraries")]
    match header.msg_iovlen as usize {
        count if count > PARTS_MAX => Err(Errno::MSGSIZE),
        count => Ok(count),
    }
}
