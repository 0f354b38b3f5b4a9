//! What all handles, sockets and drivers of one stack share, and the one way to the host.
//!
//! The host is behind one lock. While it is held no payload byte is copied, no system call is made and
//! no foreign code runs. Every way in, a socket call or a round of a driver, has the same shape:
//!
//! 1. lock; call the host; [`settle`](Shared::settle): move what it has to send into the devices'
//!    rings, collect whom to wake, look at its next deadline; unlock;
//! 2. [`finish`](Shared::finish): wake, drain the rings, set the alarm.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use polytcp_io::monotonic_now;
use polytcp_proto::host::{Event, Host, drive};
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
use polytcp_proto::pm::command::PmEvent;
use polytcp_proto::time::{Duration, Instant};

use crate::block::BlockPool;
use crate::device_slot::{DeviceSlot, Drained};
use crate::drive::Leadership;
use crate::engine::Driver;
use crate::pm_events::Subscribers;
use crate::reactor::Reactor;
use crate::waiters::{Source, Told, WaiterKey, Waiters};

/// How soon a busy device is offered its packet again. Devices have no way to say when; half a
/// millisecond is 64 KiB at 1 Gbit/s.
const BUSY_RETRY: Duration = Duration::from_micros(500);

/// What the lock protects.
pub(crate) struct Core {
    pub(crate) host: Host,
    pub(crate) waiters: Waiters,
    pub(crate) subscribers: Subscribers,
}

/// See the module.
pub(crate) struct Shared {
    core: Mutex<Core>,
    pub(crate) slots: Vec<DeviceSlot>,
    pub(crate) reactor: Reactor,
    /// Held during a round: devices are read and their packets handled by one thread at a time, in order.
    pub(crate) driver: Mutex<Driver>,
    /// The host has more to send than the rings took.
    held_back: AtomicBool,
    /// The engine thread is to end, or has ended.
    pub(crate) stopping: AtomicBool,
    /// The engine thread panicked.
    failed: AtomicBool,
    next_key: AtomicU64,
    /// Memory of writes that were sent.
    pub(crate) blocks: BlockPool,
    /// Who drives; `None` where an engine thread does.
    pub(crate) leadership: Option<Leadership>,
    /// Rounds done so far.
    pub(crate) rounds: AtomicU64,
    /// Packets that calls, not rounds, had to send.
    pub(crate) sent_by_calls: AtomicU64,
    /// The engine sleeps without looking at the devices.
    pub(crate) engine_is_quiet: AtomicBool,
}

/// Where the host's outputs go under the lock: to the rings, and to those who are to be woken after it.
struct Outlet<'a> {
    slots: &'a [DeviceSlot],
    waiters: &'a mut Waiters,
    subscribers: &'a mut Subscribers,
    wakers: Vec<Waker>,
    told: Told,
    packets: u64,
}

impl drive::Outputs for Outlet<'_> {
    fn has_room(&self) -> bool {
        !self.slots.iter().any(DeviceSlot::is_full)
    }

    fn transmit(&mut self, packet: Transmit) {
        self.packets += 1;
        match self.slots.get(packet.interface.0 as usize) {
            Some(slot) => slot.push(packet),
            None => debug_assert!(false, "the host named {:?}, which has no device", packet.interface),
        }
    }

    fn event(&mut self, host: &Host, event: Event) {
        self.waiters.on_event(event, host, &mut self.wakers, &mut self.told);
    }

    fn pm_event(&mut self, event: &PmEvent) {
        self.subscribers.publish(event, &mut self.wakers);
    }
}

/// What is left to do after the lock.
#[must_use]
pub(crate) struct After {
    wakers: Vec<Waker>,
    told: Told,
    alarm: Option<Instant>,
    /// How many were put into the rings.
    packets: u64,
    /// Somebody waits for a socket.
    awaited: bool,
}

impl Shared {
    pub(crate) fn new(
        host: Host,
        slots: Vec<DeviceSlot>,
        reactor: Reactor,
        leadership: Option<Leadership>,
    ) -> Self {
        let core = Core { host, waiters: Waiters::default(), subscribers: Subscribers::default() };
        Self {
            core: Mutex::new(core),
            slots,
            reactor,
            driver: Mutex::default(),
            held_back: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            next_key: AtomicU64::new(0),
            blocks: BlockPool::default(),
            leadership,
            rounds: AtomicU64::new(0),
            sent_by_calls: AtomicU64::new(0),
            engine_is_quiet: AtomicBool::new(false),
        }
    }

    /// Carries out a call that may change the host, and sends what became sendable before it returns.
    pub(crate) fn call<R>(&self, call: impl FnOnce(&mut Core, Instant) -> R) -> R {
        let mut core = self.lock();
        // Read under the lock, so that the host never sees time go back.
        let now = monotonic_now();
        let result = call(&mut core, now);
        let after = self.settle(&mut core, now);
        drop(core);
        self.sent_by_calls.fetch_add(after.packets, Ordering::Relaxed);
        self.finish(after, now);
        self.take_answers();
        result
    }

    /// Asks something that does not change the host.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut Core) -> R) -> R {
        look(&mut self.lock())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key for a new waiter.
    pub(crate) fn waiter_key(&self) -> WaiterKey {
        WaiterKey(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// True once the engine thread has panicked: nothing moves any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Lets every waiter find out that nothing moves any more.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
        let mut wakers = Vec::new();
        let mut core = self.lock();
        let mut told = Told::new();
        core.waiters.take_everyone(&mut wakers, &mut told);
        core.subscribers.take_wakers(&mut wakers);
        drop(core);
        self.wake(wakers);
        self.tell(told);
    }

    /// Wakes, without the lock. A thread that leads may sleep in a round, where its waker does not reach it.
    pub(crate) fn wake(&self, wakers: Vec<Waker>) {
        if wakers.is_empty() {
            return;
        }
        wakers.into_iter().for_each(Waker::wake);
        self.reach_leader();
    }

    /// Tells watchers, without the lock.
    fn tell(&self, told: Told) {
        if told.is_empty() {
            return;
        }
        told.into_iter().for_each(|(watcher, change)| watcher.on_change(change));
        self.reach_leader();
    }

    fn reach_leader(&self) {
        if self.leadership.as_ref().is_some_and(Leadership::is_taken) {
            self.reactor.ring();
        }
    }

    /// Takes the host's outputs. Nothing of this makes a system call.
    fn settle(&self, core: &mut Core, now: Instant) -> After {
        self.collect(core, |host, outlet| drive::settle(host, now, outlet))
    }

    /// Hands packets to the host, lets it do what is due, and takes its outputs. As
    /// [`settle`](Self::settle), under the lock.
    pub(crate) fn drive(
        &self,
        core: &mut Core,
        now: Instant,
        packets: impl Iterator<Item = (InterfaceId, Received)>,
    ) -> After {
        self.collect(core, |host, outlet| drive::round(host, now, packets, outlet))
    }

    fn collect(
        &self,
        core: &mut Core,
        drive: impl FnOnce(&mut Host, &mut Outlet<'_>) -> drive::Settled,
    ) -> After {
        let Core { host, waiters, subscribers } = &mut *core;
        let mut outlet = Outlet {
            slots: &self.slots,
            waiters,
            subscribers,
            wakers: Vec::new(),
            told: Told::new(),
            packets: 0,
        };
        let settled = drive(host, &mut outlet);
        let Outlet { packets, mut wakers, told, .. } = outlet;
        if settled.held_back {
            self.held_back.store(true, Ordering::Release);
        }
        if core.host.connection_count() == 0 && core.waiters.any(Source::Idle) {
            core.waiters.take_all(Source::Idle, &mut wakers);
        }
        // Compared under the lock: see `Reactor::alarm_at`.
        let alarm = settled.deadline.filter(|deadline| *deadline < self.reactor.alarm_at());
        After { wakers, told, alarm, packets, awaited: core.waiters.is_anyone_waiting() }
    }

    /// Does what had to wait for the lock to be free. Wakes first: a woken thread works on while this
    /// one makes the system calls.
    pub(crate) fn finish(&self, after: After, now: Instant) {
        self.wake(after.wakers);
        self.tell(after.told);
        if after.awaited && self.engine_is_quiet.swap(false, Ordering::SeqCst) {
            self.reactor.ring();
        }
        for slot in &self.slots {
            match slot.drain(now) {
                Drained::Done => {}
                Drained::Busy => self.reactor.alarm_by(now + BUSY_RETRY),
                Drained::More => self.reactor.ring(),
            }
        }
        if let Some(deadline) = after.alarm {
            self.reactor.alarm_by(deadline);
        }
        // The rings have room again, or will have once their drainers are done: a round goes on.
        if self.held_back.swap(false, Ordering::AcqRel) {
            self.reactor.ring();
        }
    }
}
