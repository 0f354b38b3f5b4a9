//! Who waits for a socket or an epoll instance: threads in calls and in `poll`, which are woken once, and items of epoll
//! instances, which are told what happened, every time.
//!
//! # No wake-up is lost
//!
//! - A thread enters the queue and then looks whether what it waits for is. Whoever changes something does that first and
//!   rings then. So either the thread sees the change, or it is in the queue when it is rung.
//! - An item of an epoll instance is linked before its socket is looked at for the first time, and stays linked.
//! - A ring without [`Key::WRITE`] does not reach those who wait for room. Room that comes rings with it only after someone
//!   has [asked for room](Queue::want_room), as in Linux (`SOCK_NOSPACE`): everyone who finds none asks, and looks again
//!   afterwards. Either that look sees the room, or the one who made it sees that it was asked for.
//!
//! # Locks
//!
//! A queue's lock is taken last and held for no other call, so that it may be rung from anywhere: by the thread that drives the
//! stack, and by calls that hold their socket's lock. Ringing takes one lock after the other, never one in another: that of
//! the queue, then for each item its instance's lists, then the queues of that instance, and so on upwards.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use polytcp::raw::{Change, Watcher};

use crate::epoll::Epoll;
use crate::sync::{AtomicBool, Mutex, lock};

/// Names one waiter; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(u64);

static NEXT_TICKET: AtomicU64 = AtomicU64::new(0);

impl Ticket {
    pub(crate) fn new() -> Self {
        Self(NEXT_TICKET.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a ring is about, as bits of `poll`: the keys of Linux's wait queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u32);

impl Key {
    /// Concerns threads alone, which look for themselves.
    pub(crate) const NOTHING: Self = Self(0);
    /// There is something to read (Linux: `sock_def_readable`).
    pub(crate) const READ: Self =
        Self((libc::POLLIN | libc::POLLPRI | libc::POLLRDNORM | libc::POLLRDBAND) as u32);
    /// There is room to write (Linux: `sk_stream_write_space`).
    pub(crate) const WRITE: Self = Self((libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND) as u32);
    /// The state changed, which concerns all (Linux: `sk_state_change`, `sk_error_report`).
    pub(crate) const ALL: Self = Self(u32::MAX);

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when it concerns one who asked for `events`.
    pub(crate) fn meets(self, events: u32) -> bool {
        self.0 & events != 0
    }
}

/// What an item of an epoll instance leaves in the queue of what it watches.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) epoll: Weak<Epoll>,
    pub(crate) item: u64,
    /// `EPOLLEXCLUSIVE`.
    pub(crate) is_exclusive: bool,
}

/// See the module. As a watcher of the stack it rings for what happens to a connection or a listener.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Somebody found no room to write.
    wants_room: AtomicBool,
    /// `SO_RCVLOWAT`: fewer octets concern no epoll instance.
    recv_lowat: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    threads: Vec<(Ticket, Waker)>,
    links: Vec<Link>,
}

impl Queue {
    /// Enters a thread, or renews it.
    pub(crate) fn enter(&self, ticket: Ticket, waker: &Waker) {
        let threads = &mut lock(&self.waiting).threads;
        match threads.iter_mut().find(|(entered, _)| *entered == ticket) {
            Some((_, old)) => old.clone_from(waker),
            None => threads.push((ticket, waker.clone())),
        }
    }

    /// A thread goes away.
    pub(crate) fn leave(&self, ticket: Ticket) {
        lock(&self.waiting).threads.retain(|(entered, _)| *entered != ticket);
    }

    /// The thread that has waited longest.
    pub(crate) fn take_first(&self) -> Option<Waker> {
        let threads = &mut lock(&self.waiting).threads;
        (!threads.is_empty()).then(|| threads.remove(0).1)
    }

    /// Enters an item of an epoll instance.
    pub(crate) fn link(&self, link: Link) {
        let links = &mut lock(&self.waiting).links;
        // Those of instances that are gone.
        links.retain(|link| link.epoll.strong_count() > 0);
        links.push(link);
    }

    /// An item goes away.
    pub(crate) fn unlink(&self, epoll: &Weak<Epoll>, item: u64) {
        lock(&self.waiting).links.retain(|link| link.item != item || !link.epoll.ptr_eq(epoll));
    }

    /// The instances that have items here.
    pub(crate) fn linked(&self) -> Vec<Arc<Epoll>> {
        let links = lock(&self.waiting).links.clone();
        links.iter().filter_map(|link| link.epoll.upgrade()).collect()
    }

    /// What this queue belongs to goes away: so do the items.
    pub(crate) fn detach(&self) {
        let links = std::mem::take(&mut lock(&self.waiting).links);
        for link in links {
            if let Some(epoll) = link.epoll.upgrade() {
                epoll.forget(link.item);
            }
        }
    }

    /// Something happened: adds those who are to be woken to `out`. Threads are, whatever it is; items of epoll instances
    /// if it concerns them.
    pub(crate) fn ring(&self, key: Key, out: &mut Vec<Waker>) {
        let links = {
            let waiting = &mut *lock(&self.waiting);
            out.extend(waiting.threads.drain(..).map(|(_, waker)| waker));
            if key == Key::NOTHING || waiting.links.is_empty() {
                return;
            }
            waiting.links.clone()
        };
        // One exclusive item that wakes a thread is enough, unless the state has changed.
        let mut is_taken = false;
        for link in links {
            if link.is_exclusive && is_taken && key != Key::ALL {
                continue;
            }
            let Some(epoll) = link.epoll.upgrade() else { continue };
            let woke = epoll.on_ring(link.item, key, out);
            is_taken |= woke && link.is_exclusive;
        }
    }

    /// Nobody found room: its coming is to be rung for. The caller looks once more afterwards.
    pub(crate) fn want_room(&self) {
        self.wants_room.store(true, Ordering::SeqCst);
    }

    /// There is room: true when it is to be rung for.
    pub(crate) fn take_room_wanted(&self) -> bool {
        self.wants_room.swap(false, Ordering::SeqCst)
    }

    /// Sets `SO_RCVLOWAT`, in octets.
    pub(crate) fn set_recv_lowat(&self, bytes: usize) {
        self.recv_lowat.store(bytes, Ordering::SeqCst);
    }

    fn key_of(&self, change: Change) -> Key {
        if change.state {
            return Key::ALL;
        }
        let mut key = Key::NOTHING;
        // None are there where another thread was faster, and at listeners.
        let is_enough =
            change.readable_bytes == 0 || change.readable_bytes >= self.recv_lowat.load(Ordering::SeqCst);
        if change.arrived && is_enough {
            key = key.or(Key::READ);
        }
        if change.writable && self.take_room_wanted() {
            key = key.or(Key::WRITE);
        }
        key
    }
}

impl Watcher for Queue {
    fn on_change(&self, change: Change) {
        let mut wakers = Vec::new();
        self.ring(self.key_of(change), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
pub(crate) mod tests;
