//! The interface by which packetdrill tests a stack that is a shared library (`packetdrill.h`).
//!
//! `packetdrill --so_filename=libpolytcp.so.0 --so_flags="..." SCRIPT` loads the library and calls
//! [`packetdrill_interface_init`], which makes a stack with one device in memory. The script's calls are those of
//! `polytcp.h`; its packets pass the [wire]. [`flags`] is the text of `--so_flags`. Commands of the script that ask
//! or change the kernel (`ip`, `sysctl`, `nstat`, `ss`) reach the stack where the programs of these names are those
//! that `install` puts beside the library: see [`commands`] and [`control`]. [`proc`] is for scripts that write to the kernel themselves.

mod calls;
mod commands;
mod control;
mod flags;
mod proc;
mod wire;

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use libc::{
    epoll_event, iovec, loff_t, msghdr, nfds_t, pollfd, size_t, sockaddr, socklen_t, ssize_t, timeval,
    timezone, useconds_t,
};
use polytcp::Stack;

use crate::stack::Net;
use flags::Flags;
use proc::Namespace;
use wire::Wire;

/// What the interface's `userdata` points to.
struct Interface {
    wire: Arc<Wire>,
    net: Arc<Net>,
    namespace: Mutex<Namespace>,
}

impl Interface {
    /// Takes over what a script has written to `/proc/sys`.
    fn refresh(&self) {
        let mut namespace = self.namespace.lock().unwrap_or_else(PoisonError::into_inner);
        namespace.take_over(self.net.sockets.stack());
    }
}

type UserData = *mut c_void;

/// The table of calls, in the order of packetdrill's header. What is variadic there is declared with the one argument that
/// packetdrill passes, which the calling conventions of Linux pass alike.
#[repr(C)]
#[allow(non_camel_case_types, reason = "it is a type of C's")]
pub struct packetdrill_interface {
    userdata: UserData,
    free: unsafe extern "C" fn(UserData),
    socket: extern "C" fn(UserData, c_int, c_int, c_int) -> c_int,
    bind: unsafe extern "C" fn(UserData, c_int, *const sockaddr, socklen_t) -> c_int,
    listen: extern "C" fn(UserData, c_int, c_int) -> c_int,
    accept: unsafe extern "C" fn(UserData, c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    connect: unsafe extern "C" fn(UserData, c_int, *const sockaddr, socklen_t) -> c_int,
    read: unsafe extern "C" fn(UserData, c_int, *mut c_void, size_t) -> ssize_t,
    readv: unsafe extern "C" fn(UserData, c_int, *const iovec, c_int) -> ssize_t,
    recv: unsafe extern "C" fn(UserData, c_int, *mut c_void, size_t, c_int) -> ssize_t,
    recvfrom: unsafe extern "C" fn(
        UserData,
        c_int,
        *mut c_void,
        size_t,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> ssize_t,
    recvmsg: unsafe extern "C" fn(UserData, c_int, *mut msghdr, c_int) -> ssize_t,
    write: unsafe extern "C" fn(UserData, c_int, *const c_void, size_t) -> ssize_t,
    writev: unsafe extern "C" fn(UserData, c_int, *const iovec, c_int) -> ssize_t,
    send: unsafe extern "C" fn(UserData, c_int, *const c_void, size_t, c_int) -> ssize_t,
    sendto: unsafe extern "C" fn(
        UserData,
        c_int,
        *const c_void,
        size_t,
        c_int,
        *const sockaddr,
        socklen_t,
    ) -> ssize_t,
    sendmsg: unsafe extern "C" fn(UserData, c_int, *const msghdr, c_int) -> ssize_t,
    fcntl: unsafe extern "C" fn(UserData, c_int, c_int, c_long) -> c_int,
    ioctl: unsafe extern "C" fn(UserData, c_int, c_ulong, *mut c_void) -> c_int,
    close: extern "C" fn(UserData, c_int) -> c_int,
    shutdown: extern "C" fn(UserData, c_int, c_int) -> c_int,
    getsockopt: unsafe extern "C" fn(UserData, c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int,
    setsockopt: unsafe extern "C" fn(UserData, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    poll: unsafe extern "C" fn(UserData, *mut pollfd, nfds_t, c_int) -> c_int,
    netdev_send: unsafe extern "C" fn(UserData, *const c_void, size_t) -> c_int,
    netdev_receive: unsafe extern "C" fn(UserData, *mut c_void, *mut size_t, *mut c_longlong) -> c_int,
    usleep: extern "C" fn(UserData, useconds_t) -> c_int,
    gettimeofday: unsafe extern "C" fn(UserData, *mut timeval, *mut timezone) -> c_int,
    epoll_create: extern "C" fn(UserData, c_int) -> c_int,
    epoll_ctl: unsafe extern "C" fn(UserData, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    epoll_wait: unsafe extern "C" fn(UserData, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pipe: unsafe extern "C" fn(UserData, *mut c_int) -> c_int,
    splice: unsafe extern "C" fn(UserData, c_int, *mut loff_t, c_int, *mut loff_t, size_t, c_uint) -> ssize_t,
}

/// packetdrill's way in: makes a stack as `flags` says and fills the interface in.
///
/// packetdrill hears of no error: what is wrong is told on stderr in one line, and the process ends with 1.
///
/// # Safety
/// `flags` is null or ends with a zero; `interface` points to an interface.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(
    flags: *const c_char,
    interface: *mut packetdrill_interface,
) {
    let text = match flags.is_null() {
        true => c"",
        // SAFETY: it ends with a zero.
        false => unsafe { CStr::from_ptr(flags) },
    };
    let made = text.to_str().map_err(|_| "not UTF-8".to_owned()).and_then(start);
    match made {
        Ok(userdata) => {
            let table = calls::table(Box::into_raw(Box::new(userdata)).cast());
            // SAFETY: it points to an interface, which nobody has read yet.
            unsafe { interface.write(table) };
        }
        Err(fault) => {
            eprintln!("libpolytcp: so_flags: {fault}");
            std::process::exit(1);
        }
    }
}

fn start(text: &str) -> Result<Interface, String> {
    let Flags { config, addresses, mtu, seed } = Flags::parse(text, flags::told_by_packetdrill)?;
    let wire = Wire::new(mtu).map_err(|error| format!("the device in memory: {error}"))?;
    let wire = Arc::new(wire);
    let mut builder = Stack::builder().device(Arc::clone(&wire), &addresses);
    if let Some(seed) = seed {
        builder = builder.seed(seed);
    }
    let net = Net::make_default(builder, config)?;
    control::serve(&net).map_err(|error| format!("the socket for commands: {error}"))?;
    Ok(Interface { wire, net, namespace: Mutex::new(Namespace::now()) })
}
