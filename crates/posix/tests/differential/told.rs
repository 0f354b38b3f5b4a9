//! Answers as texts, without what is chance.

use std::fmt::Debug;
use std::net::SocketAddr;

use polytcp_posix::{Errno, Fd, libc};

use crate::bsd::Bsd;

/// An answer.
pub(crate) fn told<T: Debug>(answer: Result<T, Errno>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("E{}", error.raw_os_error()),
    }
}

/// Without the port, if there is one: which it is, is chance.
pub(crate) fn told_name(answer: Result<SocketAddr, Errno>) -> String {
    told(answer.map(|name| (name.ip(), name.port() != 0)))
}

/// What `poll` says of a descriptor.
pub(crate) fn told_mask(side: &dyn Bsd, fd: Fd) -> String {
    let asked =
        libc::POLLIN | libc::POLLPRI | libc::POLLOUT | libc::POLLRDHUP | libc::POLLRDNORM | libc::POLLWRNORM;
    let mask = side.poll(fd, asked);
    let names = [
        (libc::POLLIN, "IN"),
        (libc::POLLPRI, "PRI"),
        (libc::POLLOUT, "OUT"),
        (libc::POLLERR, "ERR"),
        (libc::POLLHUP, "HUP"),
        (libc::POLLRDHUP, "RDHUP"),
        (libc::POLLNVAL, "NVAL"),
        (libc::POLLRDNORM, "RDNORM"),
        (libc::POLLWRNORM, "WRNORM"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect();
    set.join("|")
}
