//! One space of descriptors for all stacks of the process, and for the kernel's.
//!
//! Each socket's number is that of an eventfd which nobody reads or writes: so the kernel gives the number to nothing else,
//! it is the lowest free one and counts against `RLIMIT_NOFILE`, as programs expect of a descriptor (`select` takes numbers
//! below 1024 only), and the close-on-exec flag is the kernel's own. What it costs is one descriptor for each socket, which a
//! socket of the kernel would cost too.

use std::os::fd::{IntoRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use polytcp_posix::Fd;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::address::Family;
use crate::stack::Net;

/// An open socket. It is closed after the last call on it, as a file of the kernel's is.
pub(crate) struct Descriptor {
    pub(crate) net: Arc<Net>,
    /// Its number in the table of `net`.
    pub(crate) fd: Fd,
    pub(crate) family: Family,
    number: RawFd,
}

impl Descriptor {
    /// The number that the program knows.
    pub(crate) fn number(&self) -> RawFd {
        self.number
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // It is in the table: nobody else closes it.
        let _ = self.net.sockets.close(self.fd);
        // A program may have closed the number by the kernel's call and got it for something else since, which it would
        // write to for the last time after this.
        if !IS_PROCESS_ENDING.load(Ordering::Relaxed) {
            // SAFETY: it takes a number. Where it is closed already the kernel says so.
            unsafe { libc::close(self.number) };
        }
    }
}

/// From now on numbers are left to the kernel, which closes them.
static IS_PROCESS_ENDING: AtomicBool = AtomicBool::new(false);

/// See [`IS_PROCESS_ENDING`].
pub(crate) fn leave_numbers_to_the_kernel() {
    IS_PROCESS_ENDING.store(true, Ordering::Relaxed);
}

/// All open sockets, each at its number.
static TABLE: RwLock<Vec<Option<Arc<Descriptor>>>> = RwLock::new(Vec::new());

/// The socket with that number; `None` where the number is the kernel's or free.
pub(crate) fn find(number: RawFd) -> Option<Arc<Descriptor>> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    usize::try_from(number).ok().and_then(|at| table.get(at)).and_then(Clone::clone)
}

/// Gives a socket a number. `flags` are those of `socket`; a socket that gets none is closed.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub(crate) fn open(net: &Arc<Net>, fd: Fd, family: Family, flags: i32) -> Result<RawFd, Errno> {
    let cloexec = match flags & libc::SOCK_CLOEXEC {
        0 => EventfdFlags::empty(),
        _ => EventfdFlags::CLOEXEC,
    };
    let number = eventfd(0, cloexec).inspect_err(|_| {
        let _ = net.sockets.close(fd);
    })?;
    let descriptor = Descriptor { net: Arc::clone(net), fd, family, number: number.into_raw_fd() };
    let number = descriptor.number();
    let at = usize::try_from(number).map_err(|_| Errno::MFILE)?;
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    if table.len() <= at {
        table.resize(at + 1, None);
    }
    // A program that has closed a number by a call of the kernel's would close it again with what is left here.
    std::mem::forget(table[at].replace(Arc::new(descriptor)));
    Ok(number)
}

/// Takes a socket out; `None` where the number is the kernel's or free.
pub(crate) fn remove(number: RawFd) -> Option<Arc<Descriptor>> {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    usize::try_from(number).ok().and_then(|at| table.get_mut(at)).and_then(Option::take)
}

/// All sockets of a stack, by number.
pub(crate) fn of_net(net: &Arc<Net>) -> Vec<Arc<Descriptor>> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    table.iter().flatten().filter(|descriptor| Arc::ptr_eq(&descriptor.net, net)).map(Arc::clone).collect()
}

/// Takes all sockets of a stack out.
pub(crate) fn remove_all(net: &Arc<Net>) -> Vec<Arc<Descriptor>> {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let of_net = |entry: &&mut Option<Arc<Descriptor>>| {
        entry.as_ref().is_some_and(|descriptor| Arc::ptr_eq(&descriptor.net, net))
    };
    table.iter_mut().filter(of_net).filter_map(Option::take).collect()
}
