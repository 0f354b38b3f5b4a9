//! The wait lists alone: with what is waited for as a flag, and under loom in every order of steps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
#[cfg(not(loom))]
use std::task::Wake;

#[cfg(loom)]
use ::loom::sync::atomic::AtomicUsize;
#[cfg(not(loom))]
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::epoll::{EpollEvent, Pollable};

/// Something to poll whose answer the test sets.
pub(crate) struct Flag {
    id: u64,
    queue: Queue,
    mask: AtomicUsize,
}

impl Flag {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self { id, queue: Queue::default(), mask: AtomicUsize::new(0) })
    }

    pub(crate) fn set(&self, mask: i16) {
        self.mask.store(mask as usize, Ordering::SeqCst);
    }

    /// Sets the answer, and rings.
    #[cfg(loom)]
    fn becomes(&self, mask: i16, key: Key) {
        self.set(mask);
        self.ring(key);
    }

    pub(crate) fn ring(&self, key: Key) {
        let mut wakers = Vec::new();
        self.queue.ring(key, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Pollable for Flag {
    fn id(&self) -> u64 {
        self.id
    }

    fn mask(&self) -> u32 {
        self.mask.load(Ordering::SeqCst) as u32
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }
}

#[cfg(not(loom))]
#[derive(Default)]
struct Count(AtomicUsize);

#[cfg(not(loom))]
impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(not(loom))]
mod alone {
    use super::*;

    fn watching(flag: &Arc<Flag>, events: i32) -> Arc<Epoll> {
        let epoll = Epoll::new(99);
        let target: Arc<dyn Pollable> = Arc::clone(flag) as _;
        let asked = EpollEvent { events: events as u32, data: 5 };
        epoll.control(libc::EPOLL_CTL_ADD, &target, 3, asked, &mut Vec::new()).expect("add");
        epoll
    }

    #[test]
    fn a_thread_is_woken_once_by_whatever_happens() {
        let queue = Arc::<Queue>::default();
        let count = Arc::<Count>::default();
        queue.enter(Ticket::new(), &Waker::from(Arc::clone(&count)));
        queue.on_change(Change::default());
        queue.on_change(Change::default());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_thread_that_left_is_not_woken() {
        let queue = Arc::<Queue>::default();
        let count = Arc::<Count>::default();
        let ticket = Ticket::new();
        queue.enter(ticket, &Waker::from(Arc::clone(&count)));
        queue.leave(ticket);
        queue.on_change(Change { state: true, ..Change::default() });
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn room_rings_only_after_it_was_asked_for() {
        let flag = Flag::new(1);
        let epoll = watching(&flag, libc::EPOLLOUT | libc::EPOLLET);
        flag.set(libc::POLLOUT);
        let room = Change { writable: true, ..Change::default() };
        flag.queue.on_change(room);
        assert_eq!(epoll.mask(), 0);
        flag.queue.want_room();
        flag.queue.on_change(room);
        assert_ne!(epoll.mask(), 0);
    }

    #[test]
    fn less_than_the_low_water_mark_rings_no_item() {
        let flag = Flag::new(1);
        let epoll = watching(&flag, libc::EPOLLIN);
        flag.queue.set_recv_lowat(4);
        flag.set(libc::POLLIN);
        let arrival = |readable_bytes| Change { arrived: true, readable_bytes, ..Change::default() };
        flag.queue.on_change(arrival(3));
        assert_eq!(epoll.mask(), 0);
        flag.queue.on_change(arrival(4));
        assert_ne!(epoll.mask(), 0);
    }

    #[test]
    fn one_exclusive_item_is_told_where_it_wakes_a_thread_and_all_where_the_state_changed() {
        let flag = Flag::new(1);
        let epolls: Vec<_> =
            (0..2).map(|_| watching(&flag, libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE)).collect();
        let told = || epolls.iter().map(|epoll| epoll.mask() != 0).collect::<Vec<_>>();
        let count = Arc::<Count>::default();
        epolls[0].poll_wait(Ticket::new(), &Waker::from(Arc::clone(&count)), &mut [EpollEvent::default()]);
        flag.set(libc::POLLIN);
        flag.ring(Key::READ);
        assert_eq!(told(), [true, false]);
        flag.ring(Key::ALL);
        assert_eq!(told(), [true, true]);
    }

    #[test]
    fn items_of_an_instance_that_is_gone_leave_the_queue() {
        let flag = Flag::new(1);
        drop(watching(&flag, libc::EPOLLIN));
        flag.ring(Key::ALL);
        let _epoll = watching(&flag, libc::EPOLLIN);
        assert_eq!(lock(&flag.queue.waiting).links.len(), 1);
    }
}

/// `POLYTCP_LOOM=1 cargo test -p polytcp-posix --lib loom`
#[cfg(loom)]
mod loom {
    use std::task::Poll;

    use ::loom::future::block_on;
    use ::loom::thread;

    use super::*;

    fn add(epoll: &Epoll, told: &Arc<Flag>, events: i32) {
        let target: Arc<dyn Pollable> = Arc::clone(told) as _;
        let asked = EpollEvent { events: events as u32, data: told.id };
        let mut wakers = Vec::new();
        epoll.control(libc::EPOLL_CTL_ADD, &target, told.id as i32, asked, &mut wakers).expect("add");
        wakers.into_iter().for_each(Waker::wake);
    }

    /// As `epoll_wait` does it, for one event; its data.
    fn wait(epoll: &Epoll) -> u64 {
        let ticket = Ticket::new();
        let mut events = [EpollEvent::default()];
        block_on(std::future::poll_fn(|context| {
            match epoll.poll_wait(ticket, context.waker(), &mut events) {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        }));
        epoll.hand_on(Some(ticket)).into_iter().for_each(Waker::wake);
        events[0].data
    }

    #[test]
    fn loom_a_thread_that_waits_hears_of_what_it_waits_for() {
        ::loom::model(|| {
            let told = Flag::new(1);
            let other = Arc::clone(&told);
            let ringer = thread::spawn(move || other.becomes(libc::POLLIN, Key::NOTHING));
            let ticket = Ticket::new();
            block_on(std::future::poll_fn(|context| {
                told.queue.enter(ticket, context.waker());
                if told.mask() == 0 { Poll::Pending } else { Poll::Ready(()) }
            }));
            told.queue.leave(ticket);
            ringer.join().expect("no panic");
        });
    }

    #[test]
    fn loom_two_threads_that_wait_both_hear() {
        let mut model = ::loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let told = Flag::new(1);
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let told = Arc::clone(&told);
                    thread::spawn(move || {
                        let ticket = Ticket::new();
                        block_on(std::future::poll_fn(|context| {
                            told.queue.enter(ticket, context.waker());
                            if told.mask() == 0 { Poll::Pending } else { Poll::Ready(()) }
                        }));
                        told.queue.leave(ticket);
                    })
                })
                .collect();
            told.becomes(libc::POLLIN, Key::NOTHING);
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        });
    }

    #[test]
    fn loom_room_that_comes_while_it_is_asked_for_is_seen_or_rung_for() {
        ::loom::model(|| {
            let queue = Arc::<Queue>::default();
            // Under a lock, as the host has it.
            let has_room = Arc::new(Mutex::new(false));
            let (other, room) = (Arc::clone(&queue), Arc::clone(&has_room));
            let maker = thread::spawn(move || {
                *lock(&room) = true;
                other.take_room_wanted()
            });
            queue.want_room();
            let is_seen = *lock(&has_room);
            assert!(maker.join().expect("no panic") || is_seen);
        });
    }

    #[test]
    fn loom_an_edge_while_an_item_is_added_is_told() {
        ::loom::model(|| {
            let told = Flag::new(1);
            let epoll = Epoll::new(9);
            let other = Arc::clone(&told);
            let ringer = thread::spawn(move || other.becomes(libc::POLLIN, Key::READ));
            add(&epoll, &told, libc::EPOLLIN | libc::EPOLLET);
            assert_eq!(wait(&epoll), 1);
            ringer.join().expect("no panic");
        });
    }

    #[test]
    fn loom_each_of_two_edges_reaches_one_of_two_threads() {
        let mut model = ::loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let (first, second) = (Flag::new(1), Flag::new(2));
            let epoll = Epoll::new(9);
            add(&epoll, &first, libc::EPOLLIN | libc::EPOLLET);
            add(&epoll, &second, libc::EPOLLIN | libc::EPOLLET);
            let instance = Arc::clone(&epoll);
            let sleeper = thread::spawn(move || wait(&instance));
            let ringer = thread::spawn(move || {
                first.becomes(libc::POLLIN, Key::READ);
                second.becomes(libc::POLLIN, Key::READ);
                (first, second)
            });
            let here = wait(&epoll);
            let there = sleeper.join().expect("no panic");
            assert_eq!(here.min(there), 1);
            assert_eq!(here.max(there), 2);
            drop(ringer.join().expect("no panic"));
        });
    }

    #[test]
    fn loom_an_instance_that_watches_another_hears_of_its_items() {
        let mut model = ::loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let told = Flag::new(1);
            let (inner, outer) = (Epoll::new(8), Epoll::new(9));
            add(&inner, &told, libc::EPOLLIN | libc::EPOLLET);
            let target: Arc<dyn Pollable> = Arc::clone(&inner) as _;
            let asked = EpollEvent { events: (libc::EPOLLIN | libc::EPOLLET) as u32, data: 8 };
            outer.control(libc::EPOLL_CTL_ADD, &target, 8, asked, &mut Vec::new()).expect("add");
            let other = Arc::clone(&told);
            let ringer = thread::spawn(move || other.becomes(libc::POLLIN, Key::READ));
            assert_eq!(wait(&outer), 8);
            assert_eq!(wait(&inner), 1);
            ringer.join().expect("no panic");
        });
    }
}
