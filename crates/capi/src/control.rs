//! `close`, `shutdown`, options, `ioctl`, `fcntl`.

use std::ffi::{c_int, c_long, c_ulong, c_void};

use libc::socklen_t;
use rustix::io::Errno;

use crate::boundary::{answer, of_kernel};
use crate::descriptors::{self, Descriptor};
use crate::epoll;
use crate::memory;

/// What no option's value is longer than, whatever room there is for it.
const OPTION_BYTES_MAX: usize = 1 << 16;

// These two are declared with `...` in the header, as the calls they mirror, and have the third argument by name here,
// since Rust cannot define such functions. Where an argument of `...` is passed in the register that a named one would
// be in, which the calling conventions of these machines say, it is the same.
const _: () = assert!(
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")),
    "find out how this machine passes variable arguments"
);

/// shutdown(2).
///
/// Returns 0, or -1 and errno, as shutdown(2).
#[unsafe(no_mangle)]
pub extern "C" fn pt_shutdown(fd: c_int, how: c_int) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: it takes numbers only.
            return of_kernel(unsafe { libc::shutdown(fd, how) });
        };
        descriptor.net.sockets.shutdown(descriptor.fd, how)?;
        Ok(0)
    })
}

/// close(2): gracefully, in the background, or at once where data is unread or SO_LINGER says so. Only this call closes a
/// descriptor of the library's; calls that other threads make on it at that moment end by themselves.
///
/// Returns 0, or -1 and errno, as close(2).
#[unsafe(no_mangle)]
pub extern "C" fn pt_close(fd: c_int) -> c_int {
    answer(|| match descriptors::remove(fd) {
        Some(descriptor) => {
            drop(descriptor);
            Ok(0)
        }
        None if epoll::close(fd) => Ok(0),
        // SAFETY: it takes a number, which is none of ours.
        None => of_kernel(unsafe { libc::close(fd) }),
    })
}

/// setsockopt(2), at the levels SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP and SOL_MPTCP.
///
/// Returns 0, or -1 and errno, as setsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::setsockopt(fd, level, name, value, len) });
        };
        let len = usize::try_from(len as i32).map_err(|_| Errno::INVAL)?.min(OPTION_BYTES_MAX);
        // SAFETY: by setsockopt's contract the value has that many octets.
        let value = unsafe { memory::octets(value.cast(), len) }.ok_or(Errno::FAULT)?;
        descriptor.net.sockets.setsockopt(descriptor.fd, level, name, value)?;
        Ok(0)
    })
}

/// getsockopt(2): the value is cut where there is too little room, and len is set to how long it is then.
///
/// Returns 0, or -1 and errno, as getsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::getsockopt(fd, level, name, value, len) });
        };
        // SAFETY: by getsockopt's contract it points to a length.
        let room = unsafe { memory::read(len) }?;
        let room = usize::try_from(room as i32).map_err(|_| Errno::INVAL)?.min(OPTION_BYTES_MAX);
        // SAFETY: by getsockopt's contract there is that much room.
        let value = unsafe { memory::room(value.cast(), room) }.ok_or(Errno::FAULT)?;
        let told = descriptor.net.sockets.getsockopt(descriptor.fd, level, name, value)?;
        // SAFETY: by getsockopt's contract it points to a length.
        unsafe { memory::write(len, told as socklen_t) }?;
        Ok(0)
    })
}

/// ioctl(2). `argument` is declared as `...`: see above.
///
/// # Safety
/// `argument` is what the request asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::ioctl(fd, request as _, argument) });
        };
        let sockets = &descriptor.net.sockets;
        // The kernel takes 32 bits.
        match u64::from(request as u32) {
            #[allow(clippy::useless_conversion, reason = "it has another type in other C libraries")]
            request if request == u64::from(libc::FIONBIO) => {
                // SAFETY: by the request's contract it points to an `int`.
                let on = unsafe { memory::read(argument.cast::<c_int>()) }?;
                sockets.set_nonblocking(descriptor.fd, on != 0)?;
            }
            #[allow(clippy::useless_conversion, reason = "it has another type in other C libraries")]
            request if request == u64::from(libc::FIOCLEX) || request == u64::from(libc::FIONCLEX) => {
                // SAFETY: the number is an open descriptor, and the request has no argument.
                return of_kernel(unsafe { libc::ioctl(descriptor.number(), request as _) });
            }
            request => {
                let value = sockets.ioctl(descriptor.fd, request)?;
                // SAFETY: by the request's contract it points to an `int`.
                unsafe { memory::write(argument.cast::<c_int>(), value) }?;
            }
        }
        Ok(0)
    })
}

impl Descriptor {
    fn fcntl(&self, command: c_int, argument: c_long) -> Result<c_int, Errno> {
        let sockets = &self.net.sockets;
        match command {
            libc::F_GETFL => {
                let nonblocking = sockets.is_nonblocking(self.fd)?;
                Ok(libc::O_RDWR | if nonblocking { libc::O_NONBLOCK } else { 0 })
            }
            libc::F_SETFL => {
                sockets.set_nonblocking(self.fd, argument as c_int & libc::O_NONBLOCK != 0)?;
                Ok(0)
            }
            libc::F_GETFD | libc::F_SETFD => {
                // SAFETY: the number is an open descriptor; these commands take a number or nothing.
                of_kernel(unsafe { libc::fcntl(self.number(), command, argument) })
            }
            _ => Err(Errno::INVAL),
        }
    }
}

/// fcntl(2). `argument` is declared as `...`: see above.
///
/// # Safety
/// `argument` is what the command asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int {
    answer(|| match descriptors::find(fd) {
        Some(descriptor) => descriptor.fcntl(command, argument),
        // SAFETY: the caller's arguments as they are.
        None => of_kernel(unsafe { libc::fcntl(fd, command, argument) }),
    })
}
