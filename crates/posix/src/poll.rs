//! `poll`: waiting for several descriptors at once.

use std::sync::Arc;
use std::task::{Poll, Waker};

use polytcp::Stack;
use polytcp::raw::{self, AwaitedWakes, Duration};

use crate::epoll::Pollable;
use crate::queue::Ticket;
use crate::table::Fd;

/// As `struct pollfd`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PollFd {
    /// A descriptor; a negative one is skipped.
    pub fd: Fd,
    /// What is asked for: `POLLIN`, `POLLOUT`, `POLLRDHUP` and so on.
    pub events: i16,
    /// What is: `POLLERR`, `POLLHUP` and `POLLNVAL` are told unasked.
    pub revents: i16,
}

/// A `poll` that waits elsewhere, beside descriptors of the kernel for instance.
#[must_use = "nobody is woken any more once this is dropped"]
pub struct Polling {
    polled: Polled,
    ticket: Ticket,
    _awaited: AwaitedWakes,
}

impl Polling {
    pub(crate) fn new(stack: &Stack, polled: Polled) -> Self {
        Self { polled, ticket: Ticket::new(), _awaited: stack.await_wakes() }
    }

    /// Looks at everything once, and has `waker` woken when something may have changed since; how many entries have something
    /// to tell. `fds` are those that the poll was begun with.
    pub fn look(&self, fds: &mut [PollFd], waker: &Waker) -> usize {
        self.polled.iter().flatten().for_each(|file| file.queue().enter(self.ticket, waker));
        look(fds, &self.polled)
    }
}

impl std::fmt::Debug for Polling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polling").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.polled.iter().flatten().for_each(|file| file.queue().leave(self.ticket));
    }
}

/// What the descriptors of a call name, beside them; `None` where there is nothing.
pub(crate) type Polled = Vec<Option<Arc<dyn Pollable>>>;

/// Looks at everything once; how many entries have something to tell.
fn look(fds: &mut [PollFd], polled: &Polled) -> usize {
    let mut ready = 0;
    for (entry, file) in fds.iter_mut().zip(polled) {
        let always = libc::POLLERR | libc::POLLHUP;
        entry.revents = match file {
            _ if entry.fd < 0 => 0,
            None => libc::POLLNVAL,
            Some(file) => file.mask() as i16 & (entry.events | always),
        };
        ready += usize::from(entry.revents != 0);
    }
    ready
}

/// Waits until something of what was asked for is, at most for `timeout`.
pub(crate) fn poll(stack: &Stack, fds: &mut [PollFd], polled: &Polled, timeout: Option<Duration>) -> usize {
    let files: Vec<_> = polled.iter().flatten().map(Arc::clone).collect();
    wait_for(stack, &files, timeout, || look(fds, polled))
}

/// Waits until `look` at the files finds something, at most for `timeout`, and returns how much.
pub(crate) fn wait_for(
    stack: &Stack,
    files: &[Arc<dyn Pollable>],
    timeout: Option<Duration>,
    mut look: impl FnMut() -> usize,
) -> usize {
    let ready = look();
    if ready > 0 || timeout.is_some_and(|timeout| timeout.is_zero()) {
        return ready;
    }
    let until = timeout.map(|timeout| raw::now() + timeout);
    let ticket = Ticket::new();
    let answer = stack.block_on(until, |context| {
        files.iter().for_each(|file| file.queue().enter(ticket, context.waker()));
        match look() {
            // Nothing will ever come.
            0 if stack.has_failed() => Poll::Ready(0),
            0 => Poll::Pending,
            ready => Poll::Ready(ready),
        }
    });
    files.iter().for_each(|file| file.queue().leave(ticket));
    answer.unwrap_or(0)
}
