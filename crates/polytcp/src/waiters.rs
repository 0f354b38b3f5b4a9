//! Who waits for which socket, and for what.
//!
//! The list lives under the host's lock, beside the host: a waiter is entered in the same critical
//! section in which the socket was found not ready, so no change can slip in between. Every client is
//! a [`Waker`]: a task's, a parked thread's, later one that rings a `poll` or `epoll` instance.
//! Wakers are taken out under the lock, and woken and dropped after it, since both run foreign code.

use std::collections::HashMap;
use std::task::Waker;

use polytcp_proto::host::{ConnectionId, Event, Host, ListenerId, Readiness};

/// A socket that can be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Source {
    /// A connection.
    Connection(ConnectionId),
    /// A listener.
    Listener(ListenerId),
    /// The whole stack: that it has no connection left.
    Idle,
}

/// What a waiter waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// Data, end of stream, an error, or a connection to accept.
    Read,
    /// Room in the send buffer, or an error.
    Write,
    /// The end of the handshake.
    Connect,
}

impl Interest {
    /// True when `readiness` ends the wait.
    pub(crate) fn is_met_by(self, readiness: &Readiness) -> bool {
        let over = readiness.error || readiness.hup;
        match self {
            Self::Read => readiness.readable || readiness.read_closed || over,
            Self::Write => readiness.writable || over,
            Self::Connect => readiness.connected || over,
        }
    }
}

/// Names one waiter of a stack; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WaiterKey(pub(crate) u64);

struct Waiter {
    key: WaiterKey,
    interest: Interest,
    waker: Waker,
}

#[derive(Default)]
struct Entry {
    list: Vec<Waiter>,
    /// Woken at every event.
    watcher: Option<Waker>,
    edges: u64,
}

/// All waiters of a stack.
#[derive(Default)]
pub(crate) struct Waiters {
    sockets: HashMap<Source, Entry>,
    /// Waiters in all lists together.
    count: usize,
    /// Threads that sleep until a watcher wakes them.
    sleepers: usize,
}

impl Waiters {
    /// Begins to keep a list for `source`. Events of sockets without one wake nobody.
    pub(crate) fn open(&mut self, source: Source) {
        self.sockets.entry(source).or_default();
    }

    /// Drops the list of `source`, and returns its waiters for the caller to wake after the lock.
    pub(crate) fn close(&mut self, source: Source) -> Vec<Waker> {
        let Some(Entry { list, watcher, .. }) = self.sockets.remove(&source) else { return Vec::new() };
        self.count -= list.len();
        list.into_iter().map(|waiter| waiter.waker).chain(watcher).collect()
    }

    /// Enters a waiter, or renews the one with that key. It is woken once, then entered no more.
    ///
    /// Returns a waker that must be dropped after the lock.
    #[must_use = "dropping a waker can run code that takes the lock"]
    pub(crate) fn register(
        &mut self,
        source: Source,
        key: WaiterKey,
        interest: Interest,
        waker: &Waker,
    ) -> Option<Waker> {
        let list = &mut self.sockets.entry(source).or_default().list;
        match list.iter_mut().find(|waiter| waiter.key == key) {
            Some(waiter) => {
                waiter.interest = interest;
                if waiter.waker.will_wake(waker) {
                    return None;
                }
                Some(std::mem::replace(&mut waiter.waker, waker.clone()))
            }
            None => {
                list.push(Waiter { key, interest, waker: waker.clone() });
                self.count += 1;
                None
            }
        }
    }

    /// Removes a waiter that went away; returns its waker, to be dropped after the lock.
    #[must_use = "dropping a waker can run code that takes the lock"]
    pub(crate) fn remove(&mut self, source: Source, key: WaiterKey) -> Option<Waker> {
        let list = &mut self.sockets.get_mut(&source)?.list;
        let at = list.iter().position(|waiter| waiter.key == key)?;
        self.count -= 1;
        Some(list.swap_remove(at).waker)
    }

    /// Lets `watcher` be woken at every event of `source`, beside the list; returns whom it replaces, to be dropped
    /// after the lock.
    #[must_use = "dropping a waker can run code that takes the lock"]
    pub(crate) fn watch(&mut self, source: Source, watcher: Waker) -> Option<Waker> {
        self.sockets.entry(source).or_default().watcher.replace(watcher)
    }

    /// A thread sleeps that watches sockets.
    pub(crate) fn begin_sleep(&mut self) {
        self.sleepers += 1;
    }

    /// It is awake.
    pub(crate) fn end_sleep(&mut self) {
        self.sleepers -= 1;
    }

    /// Moves the wakers of those whom the event concerns to `out`.
    pub(crate) fn on_event(&mut self, event: Event, host: &Host, out: &mut Vec<Waker>) {
        match event {
            Event::Ready(id) => {
                let Some(entry) = self.sockets.get_mut(&Source::Connection(id)) else { return };
                entry.edges += 1;
                out.extend(entry.watcher.clone());
                if !entry.list.is_empty() {
                    let readiness = host.readiness(id);
                    self.count -= entry.take(|waiter| waiter.interest.is_met_by(&readiness), out);
                }
            }
            Event::Incoming(id) => {
                let Some(entry) = self.sockets.get_mut(&Source::Listener(id)) else { return };
                entry.edges += 1;
                out.extend(entry.watcher.clone());
                // All of them: one alone might be going away, and then nobody would come.
                self.count -= entry.take(|_| true, out);
            }
        }
    }

    /// Moves all wakers of `source` to `out`, whatever they wait for.
    pub(crate) fn take_all(&mut self, source: Source, out: &mut Vec<Waker>) {
        if let Some(entry) = self.sockets.get_mut(&source) {
            entry.edges += 1;
            out.extend(entry.watcher.clone());
            self.count -= entry.take(|_| true, out);
        }
    }

    /// Moves the wakers of all sockets to `out`.
    pub(crate) fn take_everyone(&mut self, out: &mut Vec<Waker>) {
        for entry in self.sockets.values_mut() {
            out.extend(entry.watcher.clone());
            self.count -= entry.take(|_| true, out);
        }
    }

    /// True when somebody waits for any socket.
    pub(crate) fn is_anyone_waiting(&self) -> bool {
        self.count > 0 || self.sleepers > 0
    }

    /// True when somebody waits for `source`.
    pub(crate) fn any(&self, source: Source) -> bool {
        self.sockets.get(&source).is_some_and(|entry| !entry.list.is_empty())
    }

    /// How often the readiness of `source` may have changed.
    pub(crate) fn edges(&self, source: Source) -> u64 {
        self.sockets.get(&source).map_or(0, |entry| entry.edges)
    }
}

impl Entry {
    /// Returns how many were taken.
    fn take(&mut self, concerned: impl Fn(&Waiter) -> bool, out: &mut Vec<Waker>) -> usize {
        let before = out.len();
        out.extend(self.list.extract_if(.., |waiter| concerned(waiter)).map(|waiter| waiter.waker));
        out.len() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn readiness(readable: bool, writable: bool) -> Readiness {
        Readiness { readable, writable, ..Readiness::default() }
    }

    #[test]
    fn an_interest_is_met_by_its_own_direction_and_by_the_end() {
        assert!(Interest::Read.is_met_by(&readiness(true, false)));
        assert!(!Interest::Read.is_met_by(&readiness(false, true)));
        assert!(Interest::Write.is_met_by(&readiness(false, true)));
        assert!(!Interest::Write.is_met_by(&readiness(true, false)));
        assert!(!Interest::Connect.is_met_by(&readiness(false, false)));
        let failed = Readiness { error: true, ..Readiness::default() };
        for interest in [Interest::Read, Interest::Write, Interest::Connect] {
            assert!(interest.is_met_by(&failed), "{interest:?}");
        }
    }

    #[test]
    fn a_waiter_is_entered_once_and_leaves_once() {
        let mut waiters = Waiters::default();
        let key = WaiterKey(1);
        let register = |waiters: &mut Waiters, waker| {
            waiters.register(Source::Idle, key, Interest::Read, waker).is_some()
        };
        let first = Waker::from(Arc::new(Silent));
        let second = Waker::from(Arc::new(Silent));
        assert!(!register(&mut waiters, &first));
        assert!(!register(&mut waiters, &first), "the same waker is not replaced");
        assert!(register(&mut waiters, &second), "another is, and comes back to be dropped");
        assert!(waiters.any(Source::Idle));
        assert!(waiters.remove(Source::Idle, key).is_some());
        assert!(waiters.remove(Source::Idle, key).is_none());
        assert!(!waiters.any(Source::Idle));
    }

    #[test]
    fn closing_a_source_returns_its_waiters() {
        let mut waiters = Waiters::default();
        for key in 0..3 {
            let replaced = waiters.register(Source::Idle, WaiterKey(key), Interest::Read, Waker::noop());
            assert!(replaced.is_none());
        }
        assert_eq!(waiters.close(Source::Idle).len(), 3);
        assert!(!waiters.any(Source::Idle));
        assert_eq!(waiters.edges(Source::Idle), 0);
    }

    struct Silent;

    impl std::task::Wake for Silent {
        fn wake(self: Arc<Self>) {}
    }
}
