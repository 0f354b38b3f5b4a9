//! Who waits for a socket: threads in calls, in `poll` and in `epoll_wait`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Names one waiter; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(u64);

static NEXT_TICKET: AtomicU64 = AtomicU64::new(0);

impl Ticket {
    pub(crate) fn new() -> Self {
        Self(NEXT_TICKET.fetch_add(1, Ordering::Relaxed))
    }
}

/// The waiters of one socket. As a waker it wakes them all, once: whoever still waits enters himself again.
///
/// Its lock is taken last and held for no other call, so that it may be rung from anywhere.
#[derive(Default)]
pub(crate) struct Queue {
    waiters: Mutex<Vec<(Ticket, Waker)>>,
}

impl Queue {
    /// Enters a waiter, or renews it.
    pub(crate) fn enter(&self, ticket: Ticket, waker: &Waker) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        match waiters.iter_mut().find(|(entered, _)| *entered == ticket) {
            Some((_, old)) => old.clone_from(waker),
            None => waiters.push((ticket, waker.clone())),
        }
    }

    /// A waiter goes away.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.retain(|(entered, _)| *entered != ticket);
    }

    /// Something changed: whom to wake.
    pub(crate) fn take(&self) -> Vec<Waker> {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiters).into_iter().map(|(_, waker)| waker).collect()
    }
}

impl Wake for Queue {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.take().into_iter().for_each(Waker::wake);
    }
}
