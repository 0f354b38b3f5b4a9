//! Callers that send a lot take the answers in themselves, and the engine keeps away from the devices meanwhile.
//!
//! On a fast path a segment is acknowledged while the call that sends it has not returned. To wake the engine for
//! each costs more than the acknowledgement itself, and more still where the peer is on the same machine: a reader
//! that catches up while the sender is interrupted sleeps, and has to be woken by the sender's next segment. So a call
//! that finds enough packets unanswered reads the devices before it returns, and the engine, which sees that calls send
//! many packets, looks for what they left behind only every [`QUIET`]. While anybody waits for a socket it stays at the
//! devices.

use std::sync::atomic::Ordering;
use std::sync::{PoisonError, TryLockError};

use polytcp_io::monotonic_now;
use polytcp_proto::time::{Duration, Instant};

use crate::device_slot::DeviceSlot;
use crate::reactor::Wakeup;
use crate::shared::Shared;

/// Packets sent through a device since it was read, from which on a call reads it: with 64 KiB each, 1 MiB.
const UNANSWERED_PACKETS: usize = 16;

/// How long the engine leaves the devices to callers: far below the timers of TCP.
///
/// By measurement, uploads through a TUN device: with 200 µs a sixth less.
const QUIET: Duration = Duration::from_millis(1);

/// How long calls are watched before the engine judges whether they send a lot.
const WATCH: Duration = Duration::from_millis(1);

/// Packets in each [`WATCH`] that are a lot: some 180 Mbit/s in segments of 1,448 octets, 8 Gbit/s in those of 64 KiB.
const MANY_PACKETS: u64 = 16;

/// What was seen before says nothing of now. Longer than the system lets other threads run before this one.
const FORGOTTEN: Duration = Duration::from_millis(20);

/// What the engine knows of callers.
#[derive(Default)]
pub(crate) struct CallerWatch {
    since: Instant,
    sent: u64,
    /// They sent a lot when last judged.
    busy: bool,
}

impl CallerWatch {
    /// Whether calls, which have `sent` packets in all, send a lot at the moment. Those that do are busy until they
    /// stop.
    fn are_busy(&mut self, now: Instant, sent: u64) -> bool {
        let passed = now.since(self.since);
        if passed >= if self.busy { QUIET } else { WATCH } {
            let packets = sent - self.sent;
            let many = u128::from(packets) * WATCH.as_nanos() >= u128::from(MANY_PACKETS) * passed.as_nanos();
            self.busy = passed < FORGOTTEN && if self.busy { packets > 0 } else { many };
            (self.since, self.sent) = (now, sent);
        }
        self.busy
    }
}

impl Shared {
    /// Sleeps and does a round as [`turn`](Self::turn), but leaves the devices to callers while these send a lot.
    pub(crate) fn turn_beside_callers(
        &self,
        wakeup: &mut Wakeup,
        watch: &mut CallerWatch,
        until: Option<Instant>,
    ) -> std::io::Result<usize> {
        let now = monotonic_now();
        if !watch.are_busy(now, self.sent_by_calls.load(Ordering::Relaxed)) {
            return self.turn(wakeup, until);
        }
        // Said before it is asked who waits: whoever begins to wait later sees it, and rings.
        self.engine_is_quiet.store(true, Ordering::SeqCst);
        let leaves = !self.look(|core| core.waiters.is_anyone_waiting());
        if leaves {
            self.reactor.wait_quietly(wakeup, now + QUIET)?;
        }
        self.engine_is_quiet.store(false, Ordering::SeqCst);
        self.turn(wakeup, if leaves { Some(now) } else { until })
    }

    /// Reads all devices and handles what came, and what another thread took from them before.
    pub(crate) fn take_all(&self) {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        self.receive(&mut driver, monotonic_now(), self.slots.iter());
        self.handle(driver);
    }

    /// Reads the devices through which a lot was sent since they were read, and handles what came.
    pub(crate) fn take_answers(&self) {
        if !self.slots.iter().any(is_unanswered) {
            return;
        }
        let mut driver = match self.driver.try_lock() {
            Ok(driver) => driver,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody reads them at this moment.
            Err(TryLockError::WouldBlock) => return,
        };
        let now = monotonic_now();
        self.receive(&mut driver, now, self.slots.iter().filter(|slot| is_unanswered(slot)));
        self.handle(driver);
    }
}

fn is_unanswered(slot: &DeviceSlot) -> bool {
    slot.unanswered() >= UNANSWERED_PACKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1) + Duration::from_micros(micros)
    }

    #[test]
    fn calls_that_send_a_lot_are_busy_until_they_stop() {
        let mut watch = CallerWatch::default();
        assert!(!watch.are_busy(at(0), 1_000), "nothing is known of the time before");
        assert!(!watch.are_busy(at(500), 1_500), "too soon to tell");
        assert!(watch.are_busy(at(1_200), 1_500));
        assert!(watch.are_busy(at(1_400), 1_500), "judged again after a while only");
        assert!(watch.are_busy(at(2_200), 1_501));
        assert!(!watch.are_busy(at(3_200), 1_501));
    }

    #[test]
    fn calls_that_send_little_or_seldom_are_not_busy() {
        let mut watch = CallerWatch::default();
        for round in 0..10 {
            assert!(!watch.are_busy(at(1_000 * round), 15 * round), "{round}");
        }
        assert!(!watch.are_busy(at(19_000), 135 + 150), "fifteen in each millisecond");
        assert!(!watch.are_busy(at(3_000_000), 1_000_000), "a burst some time in three seconds");
    }
}
