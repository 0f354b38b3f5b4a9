//! What a driver sleeps on: the devices' descriptors, one timer and one doorbell, in one epoll set.
//!
//! The timer is the stack's alarm. Whoever finds an earlier deadline moves it, so that a socket call
//! with a new deadline costs one `timerfd_settime` and wakes nobody. It is never moved back: a
//! deadline that went away costs one wake-up for nothing, which is cheaper than a system call for
//! every acknowledgement that pushes a retransmission timeout further.
//!
//! A second set has the timer and the doorbell only: for an engine whose devices others read meanwhile.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use polytcp_io::monotonic_now;
use polytcp_proto::time::Instant;
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// See the module.
pub(crate) struct Reactor {
    epoll: OwnedFd,
    /// Without the devices.
    quiet: OwnedFd,
    timer: OwnedFd,
    doorbell: OwnedFd,
    /// When the timer fires, in nanoseconds; `u64::MAX` when it does not. Written under `moving` only.
    alarm_at: AtomicU64,
    /// Held while the timer is moved, so that timer and `alarm_at` change together.
    moving: Mutex<()>,
}

/// What ended a sleep.
#[derive(Default)]
pub(crate) struct Wakeup {
    events: Vec<epoll::Event>,
}

impl Wakeup {
    /// Indices of the devices that are readable.
    pub(crate) fn devices(&self) -> impl Iterator<Item = usize> {
        // By value: the kernel's event is a packed struct.
        self.events
            .iter()
            .map(|event| { event.data }.u64())
            .filter(|&key| key < DOORBELL)
            .map(|key| key as usize)
    }

    fn has_alarm(&self) -> bool {
        self.events.iter().any(|event| { event.data }.u64() == ALARM)
    }
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let reactor = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            quiet: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            doorbell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            alarm_at: AtomicU64::new(u64::MAX),
            moving: Mutex::new(()),
        };
        // Edge-triggered: each expiry and each ring is one event, and nobody has to read them back.
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        for set in [&reactor.epoll, &reactor.quiet] {
            epoll::add(set, &reactor.timer, epoll::EventData::new_u64(ALARM), edge)?;
            epoll::add(set, &reactor.doorbell, epoll::EventData::new_u64(DOORBELL), edge)?;
        }
        Ok(reactor)
    }

    /// Adds the descriptor of device `index`: level-triggered, since a round reads within a budget.
    pub(crate) fn add(&self, index: usize, fd: BorrowedFd<'_>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)?)
    }

    /// Stops watching a device that failed, which would else be reported for ever.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        if let Err(error) = epoll::delete(&self.epoll, fd) {
            tracing::debug!(%error, "epoll_delete");
        }
    }

    /// Sleeps until a device is readable, the alarm goes off, somebody rings, or `until` has come.
    ///
    /// The one who is woken owns what woke him: he must do a round, which sets the next alarm.
    pub(crate) fn wait(&self, wakeup: &mut Wakeup, until: Option<Instant>) -> io::Result<()> {
        self.wait_on(&self.epoll, wakeup, until)
    }

    /// The same without the devices: they do not end the sleep.
    pub(crate) fn wait_quietly(&self, wakeup: &mut Wakeup, until: Instant) -> io::Result<()> {
        self.wait_on(&self.quiet, wakeup, Some(until))
    }

    fn wait_on(&self, set: &OwnedFd, wakeup: &mut Wakeup, until: Option<Instant>) -> io::Result<()> {
        wakeup.events.clear();
        wakeup.events.reserve(EVENTS_MAX);
        let timeout = until.map(|until| {
            let left = until.since(monotonic_now());
            // Whole milliseconds, rounded up, as every kernel's epoll has them; the alarm is exact, and
            // this is for the case that another sleeper gets it.
            Timespec {
                tv_sec: left.as_secs().min(1 << 30) as _,
                tv_nsec: i64::from(left.subsec_nanos()) as _,
            }
        });
        if let Some(until) = until
            && until > monotonic_now()
        {
            self.alarm_by(until);
        }
        match epoll::wait(set, spare_capacity(&mut wakeup.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if wakeup.has_alarm() {
            let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have been moved since it fired. Then it fires once more for nothing.
            self.alarm_at.store(u64::MAX, Ordering::SeqCst);
        }
        Ok(())
    }

    /// When the alarm goes off.
    ///
    /// Asked under the host's lock, the answer is reliable: a driver that was woken by the alarm clears
    /// it before it takes that lock, so whoever still sees the old time is ahead of that driver.
    pub(crate) fn alarm_at(&self) -> Instant {
        Instant::from_nanos(self.alarm_at.load(Ordering::SeqCst))
    }

    /// Lets the alarm go off at `at` or before.
    pub(crate) fn alarm_by(&self, at: Instant) {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        if at >= self.alarm_at() {
            return;
        }
        let nanos = at.as_nanos().max(1); // An absolute time of zero would disarm the timer.
        let value = Timespec {
            tv_sec: (nanos / NANOS_PER_SEC).min(i64::MAX as u64) as _,
            tv_nsec: (nanos % NANOS_PER_SEC) as _,
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval: never, it_value: value };
        match timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value) {
            Ok(_) => self.alarm_at.store(at.as_nanos(), Ordering::SeqCst),
            // Only a bad descriptor or value leads here; a rung driver recomputes the deadline.
            Err(error) => {
                tracing::warn!(%error, "timerfd_settime");
                self.ring();
            }
        }
    }

    /// Ends one sleep, now or the next one.
    pub(crate) fn ring(&self) {
        // Only an overflow after 2^64 rings can fail.
        if let Err(error) = rustix::io::write(&self.doorbell, &1u64.to_ne_bytes()) {
            tracing::warn!(%error, "doorbell");
        }
    }
}

const NANOS_PER_SEC: u64 = 1_000_000_000;
/// Events taken per wake-up; more wait in the kernel for the next.
const EVENTS_MAX: usize = 64;
/// Keys of the epoll set; lower ones are indices of devices.
const DOORBELL: u64 = u64::MAX - 1;
const ALARM: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn slept(reactor: &Reactor, until: Option<Instant>) -> Duration {
        let before = monotonic_now();
        reactor.wait(&mut Wakeup::default(), until).expect("epoll works");
        monotonic_now().since(before)
    }

    #[test]
    fn the_alarm_ends_a_sleep_once_and_not_early() {
        let reactor = Reactor::new().expect("descriptors");
        let at = monotonic_now() + Duration::from_millis(3);
        reactor.alarm_by(at);
        reactor.alarm_by(at + Duration::from_secs(1));
        assert_eq!(reactor.alarm_at(), at);
        slept(&reactor, None);
        assert!(monotonic_now() >= at);
        assert_eq!(reactor.alarm_at(), Instant::FAR_FUTURE);
        assert!(
            slept(&reactor, Some(monotonic_now() + Duration::from_millis(5))) >= Duration::from_millis(4)
        );
    }

    #[test]
    fn an_alarm_in_the_past_goes_off_at_once() {
        let reactor = Reactor::new().expect("descriptors");
        reactor.alarm_by(Instant::from_nanos(0));
        slept(&reactor, None);
        reactor.alarm_by(monotonic_now());
        slept(&reactor, None);
    }

    #[test]
    fn a_ring_ends_one_sleep() {
        let reactor = Reactor::new().expect("descriptors");
        reactor.ring();
        slept(&reactor, None);
        assert!(
            slept(&reactor, Some(monotonic_now() + Duration::from_millis(3))) >= Duration::from_millis(2)
        );
    }

    #[test]
    fn a_time_in_the_past_does_not_sleep() {
        let reactor = Reactor::new().expect("descriptors");
        slept(&reactor, Some(Instant::ZERO));
    }
}
