//! Who waits for which socket, and for what.
//!
//! The list lives under the host's lock, beside the host: a waiter is entered in the same critical
//! section in which the socket was found not ready, so no change can slip in between. Every client is
//! a [`Waker`]: a task's or a parked thread's. Beside the list a socket has one [`Watcher`], which hears of every event
//! and what it was. Both are taken out under the lock, and called and dropped after it, since that runs foreign code.

use std::collections::HashMap;
use std::sync::Arc;
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

/// What happened to a watched socket since its watcher was told last, or since it is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// Data arrived, also beside data that was unread; for a listener, a connection to accept.
    pub arrived: bool,
    /// Octets that could be read then.
    pub readable_bytes: usize,
    /// A write would not have blocked then, whether or not it would have before.
    pub writable: bool,
    /// The state of the connection changed: connected, a direction ended, the end of ours acknowledged, failed, over.
    pub state: bool,
}

impl Change {
    /// Nothing moves any more.
    const END: Self = Self { arrived: true, readable_bytes: 0, writable: true, state: true };

    /// Two in a row.
    fn merge(&mut self, later: Self) {
        self.arrived |= later.arrived;
        self.state |= later.state;
        self.readable_bytes = later.readable_bytes;
        self.writable |= later.writable;
    }
}

/// Hears of all that happens to a socket. Called without the host's lock, by the thread that made it happen: it must not wait,
/// and not take a lock that anyone holds while he calls the stack.
pub trait Watcher: Send + Sync {
    /// Something happened.
    fn on_change(&self, change: Change);
}

/// Watchers to be told after the lock.
pub(crate) type Told = Vec<(Arc<dyn Watcher>, Change)>;

/// A watcher, and what it knows of its connection.
struct Watch {
    watcher: Arc<dyn Watcher>,
    received: u64,
    readiness: Readiness,
}

impl Watch {
    /// Takes note of an event of a connection.
    fn change(&mut self, id: ConnectionId, host: &Host) -> Change {
        let (received, readiness) = (host.bytes_received(id), host.readiness(id));
        let last = std::mem::replace(&mut self.readiness, readiness);
        let arrived = std::mem::replace(&mut self.received, received) != received;
        // What follows data and room alone.
        let directions = |of: Readiness| Readiness { readable: false, writable: false, ..of };
        Change {
            arrived,
            readable_bytes: host.bytes_readable(id),
            writable: readiness.writable,
            state: directions(last) != directions(readiness),
        }
    }

    /// Tells it later, once for what happened in a row.
    fn tell(&self, change: Change, told: &mut Told) {
        match told.last_mut() {
            Some((last, before)) if Arc::ptr_eq(last, &self.watcher) => before.merge(change),
            _ => told.push((Arc::clone(&self.watcher), change)),
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
    watch: Option<Watch>,
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
        let Some(Entry { list, .. }) = self.sockets.remove(&source) else { return Vec::new() };
        self.count -= list.len();
        list.into_iter().map(|waiter| waiter.waker).collect()
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

    /// Lets `watcher` hear of every event of `source`, beside the list; returns whom it replaces, to be dropped after the
    /// lock.
    #[must_use = "dropping a watcher can run code that takes the lock"]
    pub(crate) fn watch(
        &mut self,
        source: Source,
        watcher: Arc<dyn Watcher>,
        host: &mut Host,
    ) -> Option<Arc<dyn Watcher>> {
        let mut watch = Watch { watcher, received: 0, readiness: Readiness::default() };
        if let Source::Connection(id) = source {
            host.tell_arrivals(id);
            watch.received = host.bytes_received(id);
            watch.readiness = host.readiness(id);
        }
        let entry = self.sockets.entry(source).or_default();
        entry.watch.replace(watch).map(|replaced| replaced.watcher)
    }

    /// Ends [`watch`](Self::watch); returns who watched, to be dropped after the lock.
    #[must_use = "dropping a watcher can run code that takes the lock"]
    pub(crate) fn unwatch(&mut self, source: Source) -> Option<Arc<dyn Watcher>> {
        let Entry { list, watch, .. } = self.sockets.remove(&source)?;
        debug_assert!(list.is_empty(), "{source:?} is watched, and has waiters");
        watch.map(|watch| watch.watcher)
    }

    /// A thread sleeps that watches sockets.
    pub(crate) fn begin_sleep(&mut self) {
        self.sleepers += 1;
    }

    /// It is awake.
    pub(crate) fn end_sleep(&mut self) {
        self.sleepers -= 1;
    }

    /// Moves the wakers of those whom the event concerns to `out`, and enters the watcher in `told`.
    pub(crate) fn on_event(&mut self, event: Event, host: &Host, out: &mut Vec<Waker>, told: &mut Told) {
        match event {
            Event::Ready(id) => {
                let Some(entry) = self.sockets.get_mut(&Source::Connection(id)) else { return };
                entry.edges += 1;
                if let Some(watch) = &mut entry.watch {
                    let change = watch.change(id, host);
                    watch.tell(change, told);
                }
                if !entry.list.is_empty() {
                    let readiness = host.readiness(id);
                    self.count -= entry.take(|waiter| waiter.interest.is_met_by(&readiness), out);
                }
            }
            Event::Incoming(id) => {
                let Some(entry) = self.sockets.get_mut(&Source::Listener(id)) else { return };
                entry.edges += 1;
                if let Some(watch) = &entry.watch {
                    watch.tell(Change { arrived: true, ..Change::default() }, told);
                }
                // All of them: one alone might be going away, and then nobody would come.
                self.count -= entry.take(|_| true, out);
            }
        }
    }

    /// Moves all wakers of `source` to `out`, whatever they wait for.
    pub(crate) fn take_all(&mut self, source: Source, out: &mut Vec<Waker>) {
        if let Some(entry) = self.sockets.get_mut(&source) {
            entry.edges += 1;
            self.count -= entry.take(|_| true, out);
        }
    }

    /// Moves the wakers of all sockets to `out`, and enters all watchers in `told`: nothing moves any more.
    pub(crate) fn take_everyone(&mut self, out: &mut Vec<Waker>, told: &mut Told) {
        for entry in self.sockets.values_mut() {
            if let Some(watch) = &entry.watch {
                watch.tell(Change::END, told);
            }
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
