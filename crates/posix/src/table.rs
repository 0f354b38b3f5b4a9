//! Descriptors: numbers for sockets and epoll instances, the lowest free one first, as POSIX has it.

use std::sync::Arc;

use rustix::io::Errno;

use crate::epoll::{Epoll, Pollable};
use crate::socket::Socket;

/// Descriptors that a table holds at most; Linux's usual `RLIMIT_NOFILE`.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// A descriptor of a [`Sockets`](crate::Sockets); it means nothing to the kernel.
pub type Fd = i32;

/// What a descriptor names.
#[derive(Clone)]
pub(crate) enum File {
    Socket(Arc<Socket>),
    Epoll(Arc<Epoll>),
}

impl File {
    /// For calls on sockets.
    pub(crate) fn socket(self) -> Result<Arc<Socket>, Errno> {
        match self {
            Self::Socket(socket) => Ok(socket),
            Self::Epoll(_) => Err(Errno::NOTSOCK),
        }
    }

    /// For calls on epoll instances.
    pub(crate) fn epoll(self) -> Result<Arc<Epoll>, Errno> {
        match self {
            Self::Epoll(epoll) => Ok(epoll),
            Self::Socket(_) => Err(Errno::INVAL),
        }
    }

    /// For calls that wait for any.
    pub(crate) fn pollable(self) -> Arc<dyn Pollable> {
        match self {
            Self::Socket(socket) => socket,
            Self::Epoll(epoll) => epoll,
        }
    }
}

#[derive(Default)]
pub(crate) struct Table {
    entries: Vec<Option<File>>,
}

impl Table {
    /// Gives a file the lowest free number.
    pub(crate) fn insert(&mut self, file: File) -> Result<Fd, Errno> {
        let at = match self.entries.iter().position(Option::is_none) {
            Some(free) => {
                self.entries[free] = Some(file);
                free
            }
            None if self.entries.len() >= DESCRIPTORS_MAX => return Err(Errno::MFILE),
            None => {
                self.entries.push(Some(file));
                self.entries.len() - 1
            }
        };
        Ok(at as Fd)
    }

    pub(crate) fn get(&self, fd: Fd) -> Result<File, Errno> {
        let entry = usize::try_from(fd).ok().and_then(|at| self.entries.get(at));
        entry.and_then(Clone::clone).ok_or(Errno::BADF)
    }

    pub(crate) fn remove(&mut self, fd: Fd) -> Result<File, Errno> {
        let entry = usize::try_from(fd).ok().and_then(|at| self.entries.get_mut(at));
        entry.and_then(Option::take).ok_or(Errno::BADF)
    }
}
