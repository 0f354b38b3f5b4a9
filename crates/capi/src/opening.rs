//! `socket`, `bind`, `listen`, `accept`, `connect`, and the names of both ends.

use std::ffi::c_int;
use std::sync::Arc;

use libc::{sockaddr, socklen_t};
use rustix::io::Errno;

use crate::address::{self, Family};
use crate::boundary::{answer, of_kernel};
use crate::config::AskedForTcp;
use crate::descriptors;
use crate::stack::{self, Net, pt_stack};

/// What `type` says beside its flags.
const TYPE_MASK: c_int = 0xf;

fn open(net: &Arc<Net>, domain: c_int, kind: c_int, protocol: c_int) -> Result<c_int, Errno> {
    let fd = net.sockets.socket(domain, kind, protocol)?;
    let family = if domain == libc::AF_INET { Family::Inet } else { Family::Inet6 };
    descriptors::open(net, fd, family, kind)
}

/// socket(2) on the default stack, for AF_INET and AF_INET6, SOCK_STREAM, and IPPROTO_MPTCP, IPPROTO_TCP or 0, which is TCP.
/// Every other kind of socket (AF_UNIX, SOCK_DGRAM ...) is one of the kernel's.
///
/// The default stack is the first that the program has made, or what pt_stack_set_default() says. A program that has made none
/// gets one of the configuration in the environment variable POLYTCP_CONFIG (see pt_stack_new) at its first socket.
///
/// Returns a descriptor, or -1 and errno, as socket(2); ENETDOWN where there is no stack.
#[unsafe(no_mangle)]
pub extern "C" fn pt_socket(domain: c_int, r#type: c_int, protocol: c_int) -> c_int {
    answer(|| {
        let has_family = matches!(domain, libc::AF_INET | libc::AF_INET6);
        let asks_for_tcp = matches!(protocol, 0 | libc::IPPROTO_TCP);
        let has_protocol = asks_for_tcp || protocol == libc::IPPROTO_MPTCP;
        if !has_family || r#type & TYPE_MASK != libc::SOCK_STREAM || !has_protocol {
            // SAFETY: it takes numbers only.
            return of_kernel(unsafe { libc::socket(domain, r#type, protocol) });
        }
        let net = stack::default()?;
        let protocol = match net.tcp {
            AskedForTcp::GetsMptcp if asks_for_tcp => libc::IPPROTO_MPTCP,
            _ => protocol,
        };
        open(&net, domain, r#type, protocol)
    })
}

/// socket(2) on a stack; never a socket of the kernel's.
///
/// Returns a descriptor, or -1 and errno, as socket(2); EINVAL where stack is none.
#[unsafe(no_mangle)]
pub extern "C" fn pt_socket_on(stack: *mut pt_stack, domain: c_int, r#type: c_int, protocol: c_int) -> c_int {
    answer(|| open(&stack::of(stack)?, domain, r#type, protocol))
}

/// bind(2).
///
/// Returns 0, or -1 and errno, as bind(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::bind(fd, address, len) });
        };
        // SAFETY: by bind's contract the address has that many octets.
        let address = unsafe { address::given(address, len) }?;
        let address = address::to_bind(descriptor.family, address)?;
        descriptor.net.sockets.bind(descriptor.fd, address)?;
        Ok(0)
    })
}

/// listen(2); again with another backlog, which counts from then on.
///
/// Returns 0, or -1 and errno, as listen(2).
#[unsafe(no_mangle)]
pub extern "C" fn pt_listen(fd: c_int, backlog: c_int) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: it takes numbers only.
            return of_kernel(unsafe { libc::listen(fd, backlog) });
        };
        descriptor.net.sockets.listen(descriptor.fd, backlog)?;
        Ok(0)
    })
}

/// accept(2). A client that did not ask for MPTCP gives a plain TCP socket.
///
/// Returns a descriptor, or -1 and errno, as accept(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: the caller's arguments as they are.
    unsafe { pt_accept4(fd, address, len, 0) }
}

/// accept4(2): accept(2) with SOCK_NONBLOCK and SOCK_CLOEXEC for the new socket.
///
/// Returns a descriptor, or -1 and errno, as accept4(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_accept4(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::accept4(fd, address, len, flags) });
        };
        let (accepted, peer) = descriptor.net.sockets.accept(descriptor.fd, flags)?;
        let number = descriptors::open(&descriptor.net, accepted, descriptor.family, flags)?;
        if !address.is_null() {
            // SAFETY: by accept's contract there is as much room as is said. Linux drops the connection too.
            let told = unsafe { address::tell(Some(peer), address, len) };
            told.inspect_err(|_| drop(descriptors::remove(number)))?;
        }
        Ok(number)
    })
}

/// connect(2). AF_UNSPEC disconnects.
///
/// Returns 0, or -1 and errno, as connect(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::connect(fd, address, len) });
        };
        // SAFETY: by connect's contract the address has that many octets.
        let address = unsafe { address::given(address, len) }?;
        let destination = address::to_connect(descriptor.family, address)?;
        descriptor.net.sockets.connect(descriptor.fd, destination)?;
        Ok(0)
    })
}

/// getsockname(2): the address is cut where len is too short, and len is set to its whole length.
///
/// Returns 0, or -1 and errno, as getsockname(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_getsockname(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::getsockname(fd, address, len) });
        };
        let name = descriptor.net.sockets.getsockname(descriptor.fd)?;
        // SAFETY: by getsockname's contract there is as much room as is said.
        unsafe { address::tell(Some(name), address, len) }?;
        Ok(0)
    })
}

/// getpeername(2): the peer of the first subflow. The address is cut as by pt_getsockname().
///
/// Returns 0, or -1 and errno, as getpeername(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    answer(|| {
        let Some(descriptor) = descriptors::find(fd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::getpeername(fd, address, len) });
        };
        let name = descriptor.net.sockets.getpeername(descriptor.fd)?;
        // SAFETY: by getpeername's contract there is as much room as is said.
        unsafe { address::tell(Some(name), address, len) }?;
        Ok(0)
    })
}
