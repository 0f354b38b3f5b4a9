//! Driving: one round of a stack, and the thread that does rounds for ever.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use polytcp_io::{RxPool, monotonic_now};
use polytcp_proto::host::LinkState;
use polytcp_proto::packet::{InterfaceId, Received};
use polytcp_proto::time::{Duration, Instant};

use crate::busy_callers::CallerWatch;
use crate::device_slot::DeviceSlot;
use crate::reactor::Wakeup;
use crate::shared::Shared;

/// Packets read from one device per round: up to 4 MiB, and some 50 µs under the lock.
const PACKETS_PER_ROUND: usize = 64;

/// How often an ending engine looks whether its connections are done.
const LINGER_CHECK: Duration = Duration::from_millis(10);

/// What a round works with; one per stack.
#[derive(Default)]
pub(crate) struct Driver {
    pool: RxPool,
    received: Vec<Received>,
    batch: Vec<(InterfaceId, Received)>,
}

impl Shared {
    /// Sleeps until there is something to do or `until` has come, then does it: one round. Returns how
    /// many packets came in.
    pub(crate) fn turn(&self, wakeup: &mut Wakeup, until: Option<Instant>) -> std::io::Result<usize> {
        self.reactor.wait(wakeup, until)?;
        Ok(self.round(wakeup))
    }

    /// Reads the devices, lets the host work, and sends what it says.
    fn round(&self, wakeup: &Wakeup) -> usize {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        let now = monotonic_now();
        let readable = wakeup.devices().filter_map(|index| self.slots.get(index));
        let due = self.slots.iter().filter(|slot| is_due(slot, now));
        self.receive(&mut driver, now, readable.chain(due));
        self.handle(driver)
    }

    /// Reads `slots` into the driver's batch.
    pub(crate) fn receive<'a>(
        &self,
        driver: &mut Driver,
        now: Instant,
        slots: impl Iterator<Item = &'a DeviceSlot>,
    ) {
        for slot in slots.filter(|slot| !slot.is_gone()) {
            slot.receive(now, PACKETS_PER_ROUND, &mut driver.pool, &mut driver.received);
            driver.batch.extend(driver.received.drain(..).map(|packet| (slot.interface, packet)));
        }
    }

    /// Hands what was received to the host, and sends what it says. Returns how many packets it were.
    pub(crate) fn handle(&self, mut driver: MutexGuard<'_, Driver>) -> usize {
        let packets = driver.batch.len();

        let mut gone = Vec::new();
        let mut core = self.lock();
        let now = monotonic_now();
        for slot in self.slots.iter().filter(|slot| slot.take_failure()) {
            core.host.set_link(now, slot.interface, LinkState::Down);
            gone.push(slot);
        }
        let after = self.drive(&mut core, now, driver.batch.drain(..));
        drop(core);
        drop(driver);

        self.finish(after, now);
        gone.into_iter().filter_map(|slot| slot.device.as_fd()).for_each(|fd| self.reactor.remove(fd));
        // What a device itself has to do and when is known once all was sent.
        if let Some(deadline) = self.slots.iter().filter_map(|slot| slot.device.deadline()).min() {
            self.reactor.alarm_by(deadline);
        }
        packets
    }
}

fn is_due(slot: &DeviceSlot, now: Instant) -> bool {
    slot.device.deadline().is_some_and(|deadline| deadline <= now)
}

/// The engine thread: rounds until the stack's last handle is gone, then until its connections are
/// done or `linger` is over.
pub(crate) fn run(shared: &Arc<Shared>, linger: Duration) {
    let _guard = FailureGuard(shared);
    let mut wakeup = Wakeup::default();
    let mut callers = CallerWatch::default();
    let mut linger_until = None;
    loop {
        let stopping = shared.stopping.load(Ordering::SeqCst);
        if stopping {
            let now = monotonic_now();
            let until = *linger_until.get_or_insert(now + linger);
            let connections = shared.look(|core| core.host.connection_count());
            if connections == 0 || now >= until {
                tracing::debug!(connections, "engine ends");
                return;
            }
        }
        let until = stopping.then(|| monotonic_now() + LINGER_CHECK);
        if let Err(error) = shared.turn_beside_callers(&mut wakeup, &mut callers, until) {
            tracing::error!(%error, "engine cannot wait");
            shared.fail();
            return;
        }
    }
}

/// Tells all waiters when the thread ends by a panic, since nobody else would wake them.
struct FailureGuard<'a>(&'a Shared);

impl Drop for FailureGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}
