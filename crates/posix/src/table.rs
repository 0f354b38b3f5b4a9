//! Descriptors: numbers for sockets, the lowest free one first, as POSIX has it.

use std::sync::Arc;

use rustix::io::Errno;

use crate::socket::Socket;

/// Descriptors that a table holds at most; Linux's usual `RLIMIT_NOFILE`.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// A descriptor of a [`Sockets`](crate::Sockets); it means nothing to the kernel.
pub type Fd = i32;

#[derive(Default)]
pub(crate) struct Table {
    entries: Vec<Option<Arc<Socket>>>,
}

impl Table {
    /// Gives a socket the lowest free number.
    pub(crate) fn insert(&mut self, socket: Arc<Socket>) -> Result<Fd, Errno> {
        let at = match self.entries.iter().position(Option::is_none) {
            Some(free) => {
                self.entries[free] = Some(socket);
                free
            }
            None if self.entries.len() >= DESCRIPTORS_MAX => return Err(Errno::MFILE),
            None => {
                self.entries.push(Some(socket));
                self.entries.len() - 1
            }
        };
        Ok(at as Fd)
    }

    pub(crate) fn get(&self, fd: Fd) -> Result<Arc<Socket>, Errno> {
        let entry = usize::try_from(fd).ok().and_then(|at| self.entries.get(at));
        entry.and_then(Clone::clone).ok_or(Errno::BADF)
    }

    pub(crate) fn remove(&mut self, fd: Fd) -> Result<Arc<Socket>, Errno> {
        let entry = usize::try_from(fd).ok().and_then(|at| self.entries.get_mut(at));
        entry.and_then(Option::take).ok_or(Errno::BADF)
    }
}
