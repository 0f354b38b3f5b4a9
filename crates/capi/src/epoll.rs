//! `epoll`, for sockets of any number of stacks and descriptors of the kernel's together.
//!
//! An instance's number is that of an instance of the kernel's, which watches what is the kernel's; beside it is an instance in
//! each stack whose sockets it watches. Where only one of them watches anything it waits alone; else the kernel's `poll` waits,
//! for its own instance and for a [`Bell`] that the stacks ring.

use std::collections::HashMap;
use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use libc::{epoll_event, pollfd};
use polytcp_posix::{EpollEvent, Fd, PollFd};
use rustix::io::Errno;

use crate::bell::Bell;
use crate::boundary::{answer, of_kernel};
use crate::descriptors;
use crate::memory;
use crate::stack::Net;
use crate::wait::poll_kernel;

/// Events of one call at most; Linux takes more, and what does not fit is told by the next call.
const EVENTS_MAX: usize = 1 << 16;

/// An instance.
struct Epoll {
    kernel: OwnedFd,
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    nets: Vec<Arc<Part>>,
    /// Whether the kernel's instance was ever given anything: what closes leaves it without a word.
    asks_kernel: bool,
    /// Whose turn it is to tell first, so that nobody fills the room for ever.
    kernel_last: bool,
}

/// The instance in a stack. It is closed with this.
struct Part {
    net: Arc<Net>,
    fd: Fd,
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.net.sockets.close(self.fd);
    }
}

static INSTANCES: LazyLock<RwLock<HashMap<RawFd, Arc<Epoll>>>> = LazyLock::new(RwLock::default);

fn find(number: RawFd) -> Option<Arc<Epoll>> {
    INSTANCES.read().unwrap_or_else(PoisonError::into_inner).get(&number).map(Arc::clone)
}

/// Closes the instance with that number; false where there is none.
pub(crate) fn close(number: RawFd) -> bool {
    INSTANCES.write().unwrap_or_else(PoisonError::into_inner).remove(&number).is_some()
}

/// Nothing of a stack that ends is watched any more.
pub(crate) fn forget(net: &Arc<Net>) {
    let instances: Vec<_> =
        INSTANCES.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
    for instance in instances {
        let gone: Vec<_> = instance.parts().nets.extract_if(.., |part| Arc::ptr_eq(&part.net, net)).collect();
        drop(gone);
    }
}

impl Epoll {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance in a stack, made where there is none yet.
    fn part(&self, net: &Arc<Net>) -> Result<Arc<Part>, Errno> {
        let parts = &mut self.parts();
        if let Some(part) = parts.nets.iter().find(|part| Arc::ptr_eq(&part.net, net)) {
            return Ok(Arc::clone(part));
        }
        let part = Arc::new(Part { net: Arc::clone(net), fd: net.sockets.epoll_create(0)? });
        parts.nets.push(Arc::clone(&part));
        Ok(part)
    }

    fn wait(&self, events: &mut [epoll_event], timeout: Option<Duration>) -> Result<c_int, Errno> {
        // Whatever could be too long to tell is for ever.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (nets, asks_kernel, kernel_last) = {
            let mut parts = self.parts();
            let kernel_last = parts.kernel_last;
            parts.kernel_last = !kernel_last;
            (parts.nets.clone(), parts.asks_kernel, kernel_last)
        };
        match &nets[..] {
            [] => self.wait_kernel(events, timeout),
            [part] if !asks_kernel => part.wait(events, timeout),
            parts => self.wait_all(parts, kernel_last, events, until),
        }
    }

    fn wait_all(
        &self,
        parts: &[Arc<Part>],
        kernel_last: bool,
        events: &mut [epoll_event],
        until: Option<Instant>,
    ) -> Result<c_int, Errno> {
        let bell = Bell::new()?;
        let waker = bell.waker();
        let mut asked: Vec<_> = parts
            .iter()
            .map(|part| {
                let entries = [PollFd { fd: part.fd, events: libc::POLLIN, revents: 0 }];
                (part.net.sockets.begin_poll(&entries), entries)
            })
            .collect();
        loop {
            bell.silence();
            for (poll, entries) in &mut asked {
                poll.look(entries, &waker);
            }
            let mut sources: Vec<_> = std::iter::once(None).chain(parts.iter().map(Some)).collect();
            sources.rotate_left(usize::from(kernel_last));
            let mut found = 0;
            for source in sources {
                let room = &mut events[found as usize..];
                found += match source {
                    _ if room.is_empty() => 0,
                    None => self.wait_kernel(room, Some(Duration::ZERO))?,
                    Some(part) => part.wait(room, Some(Duration::ZERO))?,
                };
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if found > 0 || left.is_some_and(|left| left.is_zero()) {
                return Ok(found);
            }
            let of = |fd| pollfd { fd, events: libc::POLLIN, revents: 0 };
            poll_kernel(&mut [of(self.kernel.as_raw_fd()), of(bell.descriptor())], left)?;
        }
    }

    fn wait_kernel(&self, events: &mut [epoll_event], timeout: Option<Duration>) -> Result<c_int, Errno> {
        let millis = match timeout {
            None => -1,
            Some(timeout) => c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX),
        };
        let room = events.len() as c_int;
        // SAFETY: the events are as many as is said.
        of_kernel(unsafe { libc::epoll_wait(self.kernel.as_raw_fd(), events.as_mut_ptr(), room, millis) })
    }
}

impl Part {
    fn wait(&self, events: &mut [epoll_event], timeout: Option<Duration>) -> Result<c_int, Errno> {
        let mut found = vec![EpollEvent::default(); events.len()];
        let count = self.net.sockets.epoll_wait(self.fd, &mut found, timeout)?;
        for (event, found) in events.iter_mut().zip(&found[..count]) {
            *event = epoll_event { events: found.events, u64: found.data };
        }
        Ok(count as c_int)
    }
}

/// epoll_create(2): epoll_create1(2) without flags. size says nothing but has to be positive.
///
/// Returns a descriptor, or -1 and errno, as epoll_create(2).
#[unsafe(no_mangle)]
pub extern "C" fn pt_epoll_create(size: c_int) -> c_int {
    answer(|| if size > 0 { create(0) } else { Err(Errno::INVAL) })
}

/// epoll_create1(2): an instance that watches the library's descriptors, of one stack or several, and the kernel's together.
///
/// Returns a descriptor, or -1 and errno, as epoll_create1(2).
#[unsafe(no_mangle)]
pub extern "C" fn pt_epoll_create1(flags: c_int) -> c_int {
    answer(|| create(flags))
}

fn create(flags: c_int) -> Result<c_int, Errno> {
    // SAFETY: it takes a number.
    let number = of_kernel(unsafe { libc::epoll_create1(flags) })?;
    // SAFETY: it was opened above, and nobody else knows it.
    let kernel = unsafe { OwnedFd::from_raw_fd(number) };
    let instance = Arc::new(Epoll { kernel, parts: Mutex::default() });
    let before = INSTANCES.write().unwrap_or_else(PoisonError::into_inner).insert(number, instance);
    // A program that has closed a number by a call of the kernel's would close it again with what is left here.
    std::mem::forget(before);
    Ok(number)
}

/// epoll_ctl(2). An instance of pt_epoll_create1() that another one watches tells of the kernel's descriptors only.
///
/// Returns 0, or -1 and errno, as epoll_ctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_epoll_ctl(epfd: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int {
    answer(|| {
        let Some(instance) = find(epfd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::epoll_ctl(epfd, op, fd, event) });
        };
        let Some(descriptor) = descriptors::find(fd) else {
            instance.parts().asks_kernel = true;
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::epoll_ctl(epfd, op, fd, event) });
        };
        let event = match op {
            libc::EPOLL_CTL_DEL => EpollEvent::default(),
            _ => {
                // SAFETY: by epoll_ctl's contract it points to an event.
                let event = unsafe { memory::read(event) }?;
                EpollEvent { events: event.events, data: event.u64 }
            }
        };
        let part = instance.part(&descriptor.net)?;
        part.net.sockets.epoll_ctl(part.fd, op, descriptor.fd, event)?;
        Ok(0)
    })
}

/// epoll_wait(2). timeout is in milliseconds; a negative one waits for ever. Signals end the wait with EINTR only where the
/// instance watches descriptors of the kernel's.
///
/// Returns how many events there are, or -1 and errno, as epoll_wait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_epoll_wait(
    epfd: c_int,
    events: *mut epoll_event,
    count: c_int,
    timeout: c_int,
) -> c_int {
    answer(|| {
        let Some(instance) = find(epfd) else {
            // SAFETY: the caller's arguments as they are.
            return of_kernel(unsafe { libc::epoll_wait(epfd, events, count, timeout) });
        };
        let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Errno::INVAL)?;
        if events.is_null() {
            return Err(Errno::FAULT);
        }
        // SAFETY: by epoll_wait's contract there is room for that many events, which is the caller's alone.
        let events = unsafe { std::slice::from_raw_parts_mut(events, count.min(EVENTS_MAX)) };
        instance.wait(events, u64::try_from(timeout).ok().map(Duration::from_millis))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const NONE: epoll_event = epoll_event { events: 0, u64: 0 };

    #[test]
    fn descriptors_of_the_kernel_are_the_kernels_matter() {
        let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
        let epfd = pt_epoll_create1(libc::EPOLL_CLOEXEC);
        assert!(epfd >= 0);
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
        // SAFETY: the event is one.
        assert_eq!(unsafe { pt_epoll_ctl(epfd, libc::EPOLL_CTL_ADD, ours.as_raw_fd(), &mut event) }, 0);
        let mut events = [NONE; 4];
        // SAFETY: there is room for four.
        assert_eq!(unsafe { pt_epoll_wait(epfd, events.as_mut_ptr(), 4, 0) }, 0);
        theirs.write_all(b"x").expect("a pair");
        // SAFETY: as above.
        assert_eq!(unsafe { pt_epoll_wait(epfd, events.as_mut_ptr(), 4, -1) }, 1);
        assert_eq!({ events[0].u64 }, 7);
        assert!(close(epfd) && !close(epfd));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let refusal = |value| (value, std::io::Error::last_os_error().raw_os_error());
        assert_eq!(refusal(pt_epoll_create(0)), (-1, Some(libc::EINVAL)));
        assert_eq!(refusal(pt_epoll_create1(1)), (-1, Some(libc::EINVAL)));
        let epfd = pt_epoll_create(1);
        let mut events = [NONE; 1];
        // SAFETY: a null pointer is found out, and there is room for one event.
        unsafe {
            assert_eq!(refusal(pt_epoll_wait(epfd, events.as_mut_ptr(), 0, 0)), (-1, Some(libc::EINVAL)));
            assert_eq!(refusal(pt_epoll_wait(epfd, std::ptr::null_mut(), 1, 0)), (-1, Some(libc::EFAULT)));
            assert_eq!(refusal(pt_epoll_wait(-1, events.as_mut_ptr(), 1, 0)), (-1, Some(libc::EBADF)));
            let (add, null) = (libc::EPOLL_CTL_ADD, std::ptr::null_mut());
            assert_eq!(refusal(pt_epoll_ctl(epfd, add, epfd, null)), (-1, Some(libc::EFAULT)));
        }
        assert!(close(epfd));
    }
}
