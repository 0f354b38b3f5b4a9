//! `poll` and `select`, for sockets of any number of stacks and descriptors of the kernel's together.
//!
//! Sockets of one stack alone wait in that stack. Otherwise the kernel's `poll` waits: for its own descriptors, and for a
//! [`Bell`] that the stacks ring.

use std::ffi::{c_int, c_ulong};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::{fd_set, nfds_t, pollfd, timeval};
use polytcp_posix::{PollFd, Polling};
use rustix::io::Errno;

use crate::bell::Bell;
use crate::boundary::{answer, of_kernel};
use crate::descriptors::{self, Descriptor};
use crate::memory;
use crate::stack::Net;

/// Entries of one call at most; Linux asks `RLIMIT_NOFILE`, whose usual largest value this is.
const ENTRIES_MAX: usize = 1 << 20;

/// The sockets of one stack in a call.
struct Group {
    net: Arc<Net>,
    /// Which entries of the call.
    places: Vec<usize>,
    entries: Vec<PollFd>,
}

/// A call's entries, sorted by whose they are.
struct Sorted {
    groups: Vec<Group>,
    /// Keeps the sockets open during the call.
    _open: Vec<Arc<Descriptor>>,
    /// As long as the call's; what is not the kernel's has a negative descriptor here, which it skips.
    kernel: Vec<pollfd>,
}

impl Sorted {
    fn new(entries: &[pollfd]) -> Self {
        let mut sorted = Self { groups: Vec::new(), _open: Vec::new(), kernel: entries.to_vec() };
        for (place, entry) in entries.iter().enumerate() {
            let Some(descriptor) = descriptors::find(entry.fd) else { continue };
            sorted.kernel[place].fd = -1;
            let of_net = |group: &Group| Arc::ptr_eq(&group.net, &descriptor.net);
            let at = sorted.groups.iter().position(of_net).unwrap_or_else(|| {
                let net = Arc::clone(&descriptor.net);
                sorted.groups.push(Group { net, places: Vec::new(), entries: Vec::new() });
                sorted.groups.len() - 1
            });
            sorted.groups[at].places.push(place);
            sorted.groups[at].entries.push(PollFd { fd: descriptor.fd, events: entry.events, revents: 0 });
            sorted._open.push(descriptor);
        }
        sorted
    }

    /// Tells what was found; how many entries have something to tell.
    fn tell(&self, entries: &mut [pollfd]) -> c_int {
        for (entry, found) in entries.iter_mut().zip(&self.kernel) {
            entry.revents = found.revents;
        }
        for group in &self.groups {
            for (place, found) in group.places.iter().zip(&group.entries) {
                entries[*place].revents = found.revents;
            }
        }
        entries.iter().filter(|entry| entry.revents != 0).count() as c_int
    }

    /// Waits in the kernel, for a bell that the stacks ring too.
    fn wait(&mut self, until: Option<Instant>) -> Result<(), Errno> {
        let bell = Bell::new()?;
        let waker = bell.waker();
        let polls: Vec<Polling> =
            self.groups.iter().map(|group| group.net.sockets.begin_poll(&group.entries)).collect();
        let places = self.kernel.len();
        self.kernel.push(pollfd { fd: bell.descriptor(), events: libc::POLLIN, revents: 0 });
        let waited = loop {
            let groups = self.groups.iter_mut().zip(&polls);
            let ready: usize = groups.map(|(group, poll)| poll.look(&mut group.entries, &waker)).sum();
            let left = match ready {
                0 => until.map(|until| until.saturating_duration_since(Instant::now())),
                _ => Some(Duration::ZERO),
            };
            let found = match poll_kernel(&mut self.kernel, left) {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            let has_rung = self.kernel[places].revents != 0;
            if ready > 0 || found > c_int::from(has_rung) {
                break Ok(());
            }
            if has_rung {
                bell.silence();
            } else if left.is_some_and(|left| left.is_zero()) {
                break Ok(());
            }
        };
        self.kernel.truncate(places);
        waited
    }
}

/// `poll(2)`, whose milliseconds are rounded up.
pub(crate) fn poll_kernel(entries: &mut [pollfd], timeout: Option<Duration>) -> Result<c_int, Errno> {
    let millis = match timeout {
        None => -1,
        Some(timeout) => c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX),
    };
    // SAFETY: the entries are as many as is said.
    of_kernel(unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as nfds_t, millis) })
}

/// `poll` over entries of all kinds; how many have something to tell.
fn poll(entries: &mut [pollfd], timeout: Option<Duration>) -> Result<c_int, Errno> {
    let mut sorted = Sorted::new(entries);
    let is_kernel_asked = sorted.kernel.iter().any(|entry| entry.fd >= 0);
    match &mut sorted.groups[..] {
        [] => poll_kernel(&mut sorted.kernel, timeout).map(drop)?,
        [group] if !is_kernel_asked => {
            group.net.sockets.poll(&mut group.entries, timeout)?;
        }
        _ => {
            // Whatever could be too long to tell is for ever.
            let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            sorted.wait(until)?;
        }
    }
    Ok(sorted.tell(entries))
}

/// poll(2): the library's descriptors, of one stack or several, and the kernel's together. timeout is in milliseconds; a
/// negative one waits for ever. Signals end the wait with EINTR only where a descriptor of the kernel's is among them.
///
/// Returns how many entries have something to tell, or -1 and errno, as poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    answer(|| {
        let count = usize::try_from(count).ok().filter(|count| *count <= ENTRIES_MAX).ok_or(Errno::INVAL)?;
        if count > 0 && fds.is_null() {
            return Err(Errno::FAULT);
        }
        let entries = match count {
            0 => &mut [],
            // SAFETY: by poll's contract there are that many entries, which are the caller's alone.
            _ => unsafe { std::slice::from_raw_parts_mut(fds, count) },
        };
        poll(entries, u64::try_from(timeout).ok().map(Duration::from_millis))
    })
}

/// Bits in each word of a set.
const WORD_BITS: usize = c_ulong::BITS as usize;

/// What each set asks for, and what is told in it (Linux: `POLLIN_SET`, `POLLOUT_SET`, `POLLEX_SET`).
const ASKED: [i16; 3] = [
    libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND,
    libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND,
    libc::POLLPRI,
];
const TOLD: [i16; 3] = [ASKED[0] | libc::POLLHUP | libc::POLLERR, ASKED[1] | libc::POLLERR, ASKED[2]];

/// The three sets of `select`, each null or of so many words.
struct Sets {
    sets: [*mut c_ulong; 3],
    words: usize,
}

impl Sets {
    /// The entries that the bits stand for.
    ///
    /// # Safety
    /// The sets are as the type says.
    unsafe fn entries(&self, count: usize) -> Result<Vec<pollfd>, Errno> {
        let mut entries: Vec<pollfd> = Vec::new();
        for word in 0..self.words {
            let mut bits = [0; 3];
            for (bits, set) in bits.iter_mut().zip(self.sets) {
                if !set.is_null() {
                    // SAFETY: the set has more words than this.
                    *bits = unsafe { memory::read(set.wrapping_add(word)) }?;
                }
            }
            let any = bits[0] | bits[1] | bits[2];
            for bit in (0..WORD_BITS).filter(|bit| any >> bit & 1 != 0) {
                let fd = word * WORD_BITS + bit;
                let asked = (0..3).filter(|set| bits[*set] >> bit & 1 != 0);
                let events = asked.fold(0, |events, set| events | ASKED[set]);
                if fd < count {
                    entries.push(pollfd { fd: fd as c_int, events, revents: 0 });
                }
            }
        }
        Ok(entries)
    }

    /// Leaves the bits of what was found; how many there are.
    ///
    /// # Safety
    /// The sets are as the type says, and the caller's alone.
    unsafe fn tell(&self, entries: &[pollfd]) -> Result<c_int, Errno> {
        let mut bits = [const { Vec::new() }; 3];
        bits.iter_mut().for_each(|set| set.resize(self.words, 0));
        let mut told = 0;
        for entry in entries {
            for set in 0..3 {
                if entry.events & ASKED[set] != 0 && entry.revents & TOLD[set] != 0 {
                    let fd = entry.fd as usize;
                    bits[set][fd / WORD_BITS] |= (1 as c_ulong) << (fd % WORD_BITS);
                    told += 1;
                }
            }
        }
        for (set, bits) in self.sets.into_iter().zip(bits).filter(|(set, _)| !set.is_null()) {
            for (word, bits) in bits.into_iter().enumerate() {
                // SAFETY: the set has more words than this.
                unsafe { memory::write(set.wrapping_add(word), bits) }?;
            }
        }
        Ok(told)
    }
}

/// A `struct timeval`; `EINVAL` for a negative one.
fn duration(value: timeval) -> Result<Duration, Errno> {
    let seconds = u64::try_from(value.tv_sec).map_err(|_| Errno::INVAL)?;
    let micros = u64::try_from(value.tv_usec).map_err(|_| Errno::INVAL)?;
    Ok(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)))
}

/// select(2): the library's descriptors, of one stack or several, and the kernel's together. The timeout is set to what is
/// left of it, as in Linux. Signals end the wait as that of pt_poll().
///
/// Returns how many bits are set, or -1 and errno, as select(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_select(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    answer(|| {
        let count = usize::try_from(count).ok().filter(|count| *count <= ENTRIES_MAX).ok_or(Errno::INVAL)?;
        let limit = match timeout.is_null() {
            true => None,
            // SAFETY: by select's contract it points to a time.
            false => Some(duration(unsafe { memory::read(timeout) }?)?),
        };
        let sets =
            Sets { sets: [read.cast(), write.cast(), except.cast()], words: count.div_ceil(WORD_BITS) };
        // SAFETY: by select's contract each set has that many bits, in whole words.
        let mut entries = unsafe { sets.entries(count) }?;
        let begin = Instant::now();
        let polled = poll(&mut entries, limit);
        if let Some(limit) = limit {
            let left = limit.saturating_sub(begin.elapsed());
            let left = timeval {
                tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_usec: left.subsec_micros().into(),
            };
            // SAFETY: by select's contract it points to a time, which is the caller's alone.
            unsafe { memory::write(timeout, left) }?;
        }
        polled?;
        if entries.iter().any(|entry| entry.revents & libc::POLLNVAL != 0) {
            return Err(Errno::BADF);
        }
        // SAFETY: as above; the sets are the caller's alone.
        unsafe { sets.tell(&entries) }
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn set_of(fds: &[i32]) -> [c_ulong; 16] {
        let mut set = [0; 16];
        fds.iter().for_each(|fd| set[*fd as usize / WORD_BITS] |= 1 << (*fd as usize % WORD_BITS));
        set
    }

    #[test]
    fn bits_become_entries_and_entries_bits() {
        let (mut read, mut write) = (set_of(&[3, 70]), set_of(&[70]));
        let sets = Sets { sets: [read.as_mut_ptr(), write.as_mut_ptr(), std::ptr::null_mut()], words: 2 };
        // SAFETY: each set has 16 words.
        let mut entries = unsafe { sets.entries(71) }.expect("sets");
        let asked: Vec<_> = entries.iter().map(|entry| (entry.fd, entry.events)).collect();
        assert_eq!(asked, [(3, ASKED[0]), (70, ASKED[0] | ASKED[1])]);
        // SAFETY: as above.
        assert_eq!(unsafe { sets.entries(70) }.expect("sets").len(), 1, "beyond what is asked for");
        // An error is told to readers and writers, a hang-up to readers.
        entries[0].revents = libc::POLLHUP;
        entries[1].revents = libc::POLLERR;
        // SAFETY: as above.
        assert_eq!(unsafe { sets.tell(&entries) }, Ok(3));
        assert_eq!((read, write), (set_of(&[3, 70]), set_of(&[70])));
        entries[0].revents = libc::POLLOUT;
        entries[1].revents = libc::POLLOUT;
        // SAFETY: as above.
        assert_eq!(unsafe { sets.tell(&entries) }, Ok(1), "nobody asked whether 3 can be written");
        assert_eq!((read, write), (set_of(&[]), set_of(&[70])));
    }

    #[test]
    fn descriptors_of_the_kernel_are_the_kernels_matter() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("descriptors");
        let mut entries = [
            pollfd { fd: ours.as_raw_fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 },
            pollfd { fd: -1, events: 0, revents: 7 },
        ];
        // SAFETY: there are two entries.
        assert_eq!(unsafe { pt_poll(entries.as_mut_ptr(), 2, -1) }, 1);
        assert_eq!((entries[0].revents, entries[1].revents), (libc::POLLOUT, 0));
        let mut write = set_of(&[ours.as_raw_fd()]);
        let mut time = timeval { tv_sec: 5, tv_usec: 0 };
        let none = std::ptr::null_mut;
        // SAFETY: the set has 1024 bits.
        let ready = unsafe { pt_select(1024, none(), write.as_mut_ptr().cast(), none(), &mut time) };
        assert_eq!((ready, write), (1, set_of(&[ours.as_raw_fd()])));
        assert!(time.tv_sec == 4 || time.tv_usec == 0, "what is left of it");
        let mut closed = set_of(&[1023]);
        // SAFETY: as above.
        assert_eq!(unsafe { pt_select(1024, closed.as_mut_ptr().cast(), none(), none(), &mut time) }, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
        // SAFETY: as above.
        assert_eq!(unsafe { pt_select(-1, none(), none(), none(), &mut time) }, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
    }
}
