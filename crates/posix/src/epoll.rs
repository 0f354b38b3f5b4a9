//! One epoll instance: its items, and which of them may have something to tell.
//!
//! As in Linux, an item enters the ready list when it is added or changed and what it asks for already is, and whenever its
//! socket's queue is rung with a key that concerns it. A wait takes items off the list in order and looks at their sockets: what
//! is not (any more) is dropped silently, what is gets reported; an item without `EPOLLET` and `EPOLLONESHOT` goes back to the end
//! of the list. So such items are told as long as what they ask for is, in turn where not all fit, and one with
//! `EPOLLET` again only after another ring.
//!
//! # Locks
//!
//! `scan` is held while items are added, changed, taken away and looked at, and taken before the locks of sockets and of the
//! instances that are watched from here, which form no circle. `lists` is held for no other call: rings come from threads that
//! hold a socket's lock.
//!
//! # No wake-up is lost
//!
//! - An item is taken off the ready list before its socket is looked at. What happens later rings and enters it again.
//! - A ring enters the item first and takes a sleeper then; a sleeper enters `waits` first and looks at the list then.
//! - A ring wakes one sleeper only. Whoever ends his wait, for whatever reason, [hands on](Epoll::hand_on) what is left on the
//!   list: he may have been the one that was woken for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use polytcp::Stack;
use polytcp::raw::{self, Duration};
use rustix::io::Errno;

use crate::queue::{Key, Link, Queue, Ticket};
use crate::sync::{Mutex, lock};
use crate::table::Fd;

/// As `struct epoll_event`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EpollEvent {
    /// `EPOLLIN`, `EPOLLOUT`, `EPOLLRDHUP` and so on; to ask with, also `EPOLLET`, `EPOLLONESHOT`, `EPOLLEXCLUSIVE`, and
    /// `EPOLLWAKEUP`, which means nothing here. `EPOLLERR` and `EPOLLHUP` are told unasked.
    pub events: u32,
    /// What the caller knows the descriptor by.
    pub data: u64,
}

/// What can be waited for.
pub(crate) trait Pollable: Send + Sync {
    /// Its name among all that can be; never reused.
    fn id(&self) -> u64;
    /// What `poll` says: `POLLIN` and so on.
    fn mask(&self) -> u32;
    /// Who waits for it.
    fn queue(&self) -> &Queue;
    /// It, where it is an epoll instance.
    fn as_epoll(&self) -> Option<&Epoll> {
        None
    }
}

/// Told unasked.
const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
/// How to tell, not what.
const MANNERS: u32 = EDGE | ONESHOT | EXCLUSIVE | libc::EPOLLWAKEUP as u32;
/// What may be asked for beside `EPOLLEXCLUSIVE`.
const WITH_EXCLUSIVE: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLWAKEUP | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32
        | ALWAYS;

/// Instances above each other at most, as in Linux.
const NESTED_MAX: usize = 5;

/// See the module.
pub(crate) struct Epoll {
    id: u64,
    this: Weak<Self>,
    scan: Mutex<()>,
    lists: Mutex<Lists>,
    /// Threads in `epoll_wait`.
    waits: Queue,
    /// Who polls the instance itself.
    queue: Queue,
    nonblocking: AtomicBool,
}

#[derive(Default)]
struct Lists {
    items: BTreeMap<u64, Item>,
    /// Items by the file and the descriptor under which they were added.
    names: HashMap<(u64, Fd), u64>,
    ready: VecDeque<u64>,
    next: u64,
}

struct Item {
    name: (u64, Fd),
    target: Weak<dyn Pollable>,
    /// With [`ALWAYS`]; [`MANNERS`] alone once `EPOLLONESHOT` was told.
    asked: EpollEvent,
    /// It is in the ready list.
    is_ready: bool,
}

impl Lists {
    /// Enters an item at the end of the ready list, unless it is in it.
    fn enter(&mut self, id: u64) {
        if let Some(item) = self.items.get_mut(&id)
            && !item.is_ready
        {
            item.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Takes the first ready item off the list: what it watches, and what it asks for.
    fn take_ready(&mut self) -> Option<(u64, Weak<dyn Pollable>, u32)> {
        let id = self.ready.pop_front()?;
        let item = self.items.get_mut(&id)?;
        item.is_ready = false;
        Some((id, Weak::clone(&item.target), item.asked.events))
    }

    /// An item that was taken off the list is still ready.
    fn put_back(&mut self, id: u64) {
        if let Some(item) = self.items.get_mut(&id)
            && !item.is_ready
        {
            item.is_ready = true;
            self.ready.push_front(id);
        }
    }

    /// Takes note that an item was reported, and returns what its owner knows it by.
    fn reported(&mut self, id: u64) -> Option<u64> {
        let asked = &mut self.items.get_mut(&id)?.asked;
        let data = asked.data;
        if asked.events & ONESHOT != 0 {
            asked.events &= MANNERS;
        } else if asked.events & EDGE == 0 {
            self.enter(id);
        }
        Some(data)
    }

    fn remove(&mut self, id: u64) -> Option<Item> {
        let item = self.items.remove(&id)?;
        self.names.remove(&item.name);
        if item.is_ready {
            self.ready.retain(|ready| *ready != id);
        }
        Some(item)
    }
}

impl Epoll {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            id,
            this: Weak::clone(this),
            scan: Mutex::default(),
            lists: Mutex::default(),
            waits: Queue::default(),
            queue: Queue::default(),
            nonblocking: AtomicBool::new(false),
        })
    }

    /// `O_NONBLOCK`, which changes nothing.
    pub(crate) fn nonblocking(&self) -> &AtomicBool {
        &self.nonblocking
    }

    /// `epoll_ctl`; whom it wakes is added to `wakers`. Where `target` is an instance, the caller holds the lock of the
    /// table's nesting.
    pub(crate) fn control(
        &self,
        op: i32,
        target: &Arc<dyn Pollable>,
        fd: Fd,
        asked: EpollEvent,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), Errno> {
        if target.id() == self.id {
            return Err(Errno::INVAL);
        }
        let is_exclusive = asked.events & EXCLUSIVE != 0;
        let name = (target.id(), fd);
        match op {
            libc::EPOLL_CTL_ADD => {
                let is_wrong = target.as_epoll().is_some() || asked.events & !WITH_EXCLUSIVE != 0;
                if is_exclusive && is_wrong {
                    return Err(Errno::INVAL);
                }
                target.as_epoll().map_or(Ok(()), |inner| self.may_watch(inner))?;
                self.add(target, name, asked, wakers)
            }
            libc::EPOLL_CTL_MOD if is_exclusive => Err(Errno::INVAL),
            libc::EPOLL_CTL_MOD => self.change(target, name, asked, wakers),
            libc::EPOLL_CTL_DEL => {
                let _scan = lock(&self.scan);
                let lists = &mut *lock(&self.lists);
                let id = *lists.names.get(&name).ok_or(Errno::NOENT)?;
                lists.remove(id);
                target.queue().unlink(&self.this, id);
                Ok(())
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn add(
        &self,
        target: &Arc<dyn Pollable>,
        name: (u64, Fd),
        asked: EpollEvent,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), Errno> {
        let _scan = lock(&self.scan);
        let id = {
            let lists = &mut *lock(&self.lists);
            if lists.names.contains_key(&name) {
                return Err(Errno::EXIST);
            }
            let id = lists.next;
            lists.next += 1;
            lists.names.insert(name, id);
            let asked = EpollEvent { events: asked.events | ALWAYS, ..asked };
            lists.items.insert(id, Item { name, target: Arc::downgrade(target), asked, is_ready: false });
            id
        };
        let is_exclusive = asked.events & EXCLUSIVE != 0;
        target.queue().link(Link { epoll: Weak::clone(&self.this), item: id, is_exclusive });
        self.look_at(id, target, asked.events, wakers);
        Ok(())
    }

    fn change(
        &self,
        target: &Arc<dyn Pollable>,
        name: (u64, Fd),
        asked: EpollEvent,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), Errno> {
        let _scan = lock(&self.scan);
        let id = {
            let lists = &mut *lock(&self.lists);
            let id = *lists.names.get(&name).ok_or(Errno::NOENT)?;
            let item = lists.items.get_mut(&id).ok_or(Errno::NOENT)?;
            if item.asked.events & EXCLUSIVE != 0 {
                return Err(Errno::INVAL);
            }
            item.asked = EpollEvent { events: asked.events | ALWAYS, ..asked };
            id
        };
        self.look_at(id, target, asked.events, wakers);
        Ok(())
    }

    /// An item was added or changed: it is ready where what it asks for is already.
    fn look_at(&self, id: u64, target: &Arc<dyn Pollable>, events: u32, wakers: &mut Vec<Waker>) {
        if target.mask() & (events | ALWAYS) != 0 {
            lock(&self.lists).enter(id);
            wakers.extend(self.waits.take_first());
            self.queue.ring(Key::READ, wakers);
        }
    }

    /// The queue that an item is linked in was rung. True when that woke a thread in `epoll_wait` for what it asks for.
    pub(crate) fn on_ring(&self, id: u64, key: Key, wakers: &mut Vec<Waker>) -> bool {
        {
            let lists = &mut *lock(&self.lists);
            let concerned = lists.items.get(&id).is_some_and(|item| key.meets(item.asked.events & !MANNERS));
            if !concerned {
                return false;
            }
            lists.enter(id);
        }
        let woken = self.waits.take_first();
        let woke = woken.is_some();
        wakers.extend(woken);
        self.queue.ring(Key::READ, wakers);
        woke
    }

    /// What an item watches is gone.
    pub(crate) fn forget(&self, id: u64) {
        lock(&self.lists).remove(id);
    }

    /// Fills `events` from the ready list, and returns how many.
    fn collect(&self, events: &mut [EpollEvent]) -> usize {
        // Dropped without the lock: the last reference to a socket closes it.
        let mut looked_at = Vec::new();
        let _scan = lock(&self.scan);
        let mut count = 0;
        // Those that were ready at the beginning: what is told goes to the end.
        let mut left = lock(&self.lists).ready.len();
        while left > 0 && count < events.len() {
            left -= 1;
            let Some((id, target, asked)) = lock(&self.lists).take_ready() else { break };
            let Some(target) = target.upgrade() else { continue };
            let told = target.mask() & asked & !MANNERS;
            looked_at.push(target);
            if told != 0
                && let Some(data) = lock(&self.lists).reported(id)
            {
                events[count] = EpollEvent { events: told, data };
                count += 1;
            }
        }
        count
    }

    /// Enters the thread among those that wait, and collects what there is.
    pub(crate) fn poll_wait(&self, ticket: Ticket, waker: &Waker, events: &mut [EpollEvent]) -> usize {
        self.waits.enter(ticket, waker);
        self.collect(events)
    }

    /// A thread goes away, with or without events: whom to wake in its place. See the module.
    pub(crate) fn hand_on(&self, ticket: Option<Ticket>) -> Option<Waker> {
        ticket.into_iter().for_each(|ticket| self.waits.leave(ticket));
        let is_left = !lock(&self.lists).ready.is_empty();
        if is_left { self.waits.take_first() } else { None }
    }

    /// `epoll_wait`: how many of `events` were filled. `None` waits for ever.
    pub(crate) fn wait(&self, stack: &Stack, events: &mut [EpollEvent], timeout: Option<Duration>) -> usize {
        let mut count = self.collect(events);
        let mut waits = None;
        if count == 0 && timeout.is_none_or(|timeout| !timeout.is_zero()) {
            let ticket = *waits.insert(Ticket::new());
            let until = timeout.map(|timeout| raw::now() + timeout);
            let answer =
                stack.block_on(until, |context| match self.poll_wait(ticket, context.waker(), events) {
                    // Nothing will ever come.
                    0 if stack.has_failed() => Poll::Ready(0),
                    0 => Poll::Pending,
                    count => Poll::Ready(count),
                });
            count = answer.unwrap_or(0);
        }
        stack.wake(self.hand_on(waits).into_iter().collect());
        count
    }

    /// Whether this instance may watch `inner`: no circle, and not too many above each other.
    fn may_watch(&self, inner: &Self) -> Result<(), Errno> {
        let below = inner.height(self.id).ok_or(Errno::LOOP)?;
        if self.depth() + below > NESTED_MAX { Err(Errno::LOOP) } else { Ok(()) }
    }

    /// Instances on the longest way down, this one counted; `None` where one leads to `forbidden`.
    fn height(&self, forbidden: u64) -> Option<usize> {
        if self.id == forbidden {
            return None;
        }
        let targets: Vec<_> =
            lock(&self.lists).items.values().map(|item| Weak::clone(&item.target)).collect();
        let mut below = 0;
        for target in targets.iter().filter_map(Weak::upgrade) {
            if let Some(inner) = target.as_epoll() {
                below = below.max(inner.height(forbidden)?);
            }
        }
        Some(below + 1)
    }

    /// Instances on the longest way up, this one counted.
    fn depth(&self) -> usize {
        1 + self.queue.linked().iter().map(|outer| outer.depth()).max().unwrap_or(0)
    }
}

impl Pollable for Epoll {
    fn id(&self) -> u64 {
        self.id
    }

    /// `POLLIN` where something is ready that still is.
    fn mask(&self) -> u32 {
        let mut looked_at = Vec::new();
        let _scan = lock(&self.scan);
        let mut left = lock(&self.lists).ready.len();
        while left > 0 {
            left -= 1;
            let Some((id, target, asked)) = lock(&self.lists).take_ready() else { break };
            let Some(target) = target.upgrade() else { continue };
            let is_so = target.mask() & asked & !MANNERS != 0;
            looked_at.push(target);
            if is_so {
                lock(&self.lists).put_back(id);
                return (libc::POLLIN | libc::POLLRDNORM) as u32;
            }
        }
        0
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn as_epoll(&self) -> Option<&Epoll> {
        Some(self)
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // What it watches finds out by itself, since the last reference to a socket must not be dropped just anywhere.
        self.queue.detach();
    }
}

#[cfg(test)]
mod tests;
