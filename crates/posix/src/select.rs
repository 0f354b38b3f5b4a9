//! `select`: sets of descriptors, waited for as `poll` does.

use std::sync::Arc;

use polytcp::Stack;
use polytcp::raw::Duration;
use rustix::io::Errno;

use crate::epoll::Pollable;
use crate::poll::wait_for;
use crate::table::Fd;

/// As `fd_set`, without its limit of 1024 descriptors.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FdSet {
    words: Vec<u64>,
}

impl FdSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// `FD_SET`; a negative descriptor is ignored.
    pub fn insert(&mut self, fd: Fd) {
        let Ok(fd) = usize::try_from(fd) else { return };
        if self.words.len() <= fd / 64 {
            self.words.resize(fd / 64 + 1, 0);
        }
        self.words[fd / 64] |= 1 << (fd % 64);
    }

    /// `FD_CLR`.
    pub fn remove(&mut self, fd: Fd) {
        let Ok(fd) = usize::try_from(fd) else { return };
        if let Some(word) = self.words.get_mut(fd / 64) {
            *word &= !(1 << (fd % 64));
        }
    }

    /// `FD_ISSET`.
    pub fn contains(&self, fd: Fd) -> bool {
        let word = usize::try_from(fd).ok().and_then(|fd| self.words.get(fd / 64));
        word.is_some_and(|word| word & (1 << (fd % 64)) != 0)
    }

    /// `FD_ZERO`.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Descriptors below `limit` that are in the set, in order.
    fn below(&self, limit: Fd) -> impl Iterator<Item = Fd> {
        let words = self.words.iter().enumerate();
        let all = words.flat_map(|(at, word)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| (at * 64 + bit) as Fd)
        });
        all.take_while(move |fd| *fd < limit)
    }

    /// Leaves nothing of the words in which descriptors below `limit` are, as the kernel writes whole ones.
    fn clear_below(&mut self, limit: Fd) {
        let words = (limit as usize).div_ceil(64).min(self.words.len());
        self.words[..words].fill(0);
    }
}

/// What each of the three sets asks for (Linux: `POLLIN_SET`, `POLLOUT_SET`, `POLLEX_SET`).
const SETS: [u32; 3] = [
    (libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLIN | libc::POLLHUP | libc::POLLERR) as u32,
    (libc::POLLWRBAND | libc::POLLWRNORM | libc::POLLOUT | libc::POLLERR) as u32,
    libc::POLLPRI as u32,
];

/// The three sets of a call: to read, to write, exceptions.
pub(crate) type Sets<'a> = [Option<&'a mut FdSet>; 3];

/// Waits until something of the sets below `nfds` is, and leaves only that in them.
pub(crate) fn select(
    stack: &Stack,
    nfds: Fd,
    mut sets: Sets<'_>,
    mut find: impl FnMut(Fd) -> Result<Arc<dyn Pollable>, Errno>,
    timeout: Option<Duration>,
) -> Result<usize, Errno> {
    if nfds < 0 {
        return Err(Errno::INVAL);
    }
    let mut asked: Vec<(usize, Fd)> = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        asked.extend(set.iter().flat_map(|set| set.below(nfds)).map(|fd| (at, fd)));
    }
    let files = asked.iter().map(|(_, fd)| find(*fd)).collect::<Result<Vec<_>, _>>()?;
    let mut told = Vec::new();
    let ready = wait_for(stack, &files, timeout, || {
        told.clear();
        let pairs = asked.iter().zip(&files);
        told.extend(pairs.filter(|((at, _), file)| file.mask() & SETS[*at] != 0).map(|(asked, _)| *asked));
        told.len()
    });
    sets.iter_mut().flatten().for_each(|set| set.clear_below(nfds));
    for (at, fd) in told.iter().take(ready) {
        if let Some(set) = &mut sets[*at] {
            set.insert(*fd);
        }
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_inserted_and_not_removed() {
        let mut set = FdSet::new();
        [3, 64, 1000, -1].iter().for_each(|fd| set.insert(*fd));
        set.remove(64);
        set.remove(5000);
        assert_eq!(set.below(2000).collect::<Vec<_>>(), [3, 1000]);
        assert_eq!(set.below(1000).collect::<Vec<_>>(), [3]);
        assert!(set.contains(1000) && !set.contains(64) && !set.contains(-1) && !set.contains(5000));
    }

    #[test]
    fn what_a_call_does_not_cover_stays() {
        let mut set = FdSet::new();
        [3, 63, 64, 128].iter().for_each(|fd| set.insert(*fd));
        set.clear_below(65);
        assert_eq!(set.below(2000).collect::<Vec<_>>(), [128]);
    }
}
