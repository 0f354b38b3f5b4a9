//! `poll`: waiting for several sockets at once.

use std::sync::Arc;
use std::task::{Poll, Waker};

use polytcp::Stack;
use polytcp::raw::{self, AwaitedWakes, Duration};

use crate::queue::Ticket;
use crate::socket::Socket;
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
    sockets: Polled,
    ticket: Ticket,
    _awaited: AwaitedWakes,
}

impl Polling {
    pub(crate) fn new(stack: &Stack, sockets: Polled) -> Self {
        Self { sockets, ticket: Ticket::new(), _awaited: stack.await_wakes() }
    }

    /// Looks at everything once, and has `waker` woken when something may have changed since; how many entries have something
    /// to tell. `fds` are those that the poll was begun with.
    pub fn look(&self, fds: &mut [PollFd], waker: &Waker) -> usize {
        self.sockets.iter().flatten().for_each(|socket| socket.queue.enter(self.ticket, waker));
        look(fds, &self.sockets)
    }
}

impl std::fmt::Debug for Polling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polling").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.sockets.iter().flatten().for_each(|socket| socket.queue.leave(self.ticket));
    }
}

/// The sockets of a call, beside what it asks of them.
pub(crate) type Polled = Vec<Option<Arc<Socket>>>;

/// Looks at everything once; how many entries have something to tell.
fn look(fds: &mut [PollFd], sockets: &Polled) -> usize {
    let mut ready = 0;
    for (entry, socket) in fds.iter_mut().zip(sockets) {
        let always = libc::POLLERR | libc::POLLHUP;
        entry.revents = match socket {
            _ if entry.fd < 0 => 0,
            None => libc::POLLNVAL,
            Some(socket) => socket.poll_mask() as i16 & (entry.events | always),
        };
        ready += usize::from(entry.revents != 0);
    }
    ready
}

/// Waits until something of what was asked for is, at most for `timeout`.
pub(crate) fn poll(stack: &Stack, fds: &mut [PollFd], sockets: &Polled, timeout: Option<Duration>) -> usize {
    let ready = look(fds, sockets);
    if ready > 0 || timeout.is_some_and(|timeout| timeout.is_zero()) {
        return ready;
    }
    let until = timeout.map(|timeout| raw::now() + timeout);
    let ticket = Ticket::new();
    let answer = stack.block_on(until, |context| {
        sockets.iter().flatten().for_each(|socket| socket.queue.enter(ticket, context.waker()));
        match look(fds, sockets) {
            0 => Poll::Pending,
            ready => Poll::Ready(ready),
        }
    });
    sockets.iter().flatten().for_each(|socket| socket.queue.leave(ticket));
    answer.unwrap_or(0)
}
