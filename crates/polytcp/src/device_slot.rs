//! A device with its transmit ring.
//!
//! Segments enter the ring under the host's lock and leave it without. One thread at a time drains a
//! ring, so that the order on the wire is the order of the ring; another that finds it busy leaves its
//! segments there, and the drainer looks again before it goes.

use crate::mutex::lock;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, TryLockError};

use polytcp_io::{Device, RxPool, SendOutcome};
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
use polytcp_proto::time::Instant;

/// Packets that a ring takes before the host is asked for no more: with 64 KiB each, 16 MiB.
pub(crate) const RING_PACKETS_FULL: usize = 256;

/// Packets in the ring of a device that is busy, beyond which new ones are dropped, as the queue of a
/// network interface does it (Linux: `txqueuelen`, 1000). Else one stuck device would stop all others.
const RING_PACKETS_MAX: usize = 1_024;

/// Packets that one call sends at most, so that no caller is kept at it while others fill the ring.
const DRAIN_PACKETS_MAX: usize = 512;

/// A device of a stack.
pub(crate) struct DeviceSlot {
    pub(crate) interface: InterfaceId,
    pub(crate) device: Box<dyn Device>,
    ring: Mutex<VecDeque<Transmit>>,
    /// Packets in the ring and in the hands of the drainer.
    waiting: AtomicUsize,
    /// Packets sent since the device was read.
    unanswered: AtomicUsize,
    /// Held by the drainer: what it took out of the ring and has not sent yet.
    draining: Mutex<VecDeque<Transmit>>,
    busy: AtomicBool,
    gone: AtomicBool,
    /// The device is gone, and the host was not told yet.
    untold: AtomicBool,
    pub(crate) counters: SlotCounters,
}

/// What passed a device, and what did not.
#[derive(Default)]
pub(crate) struct SlotCounters {
    pub(crate) packets_sent: AtomicU64,
    pub(crate) packets_received: AtomicU64,
    pub(crate) packets_refused: AtomicU64,
    pub(crate) packets_overflowed: AtomicU64,
    pub(crate) times_busy: AtomicU64,
}

/// Why a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drained {
    /// The ring is empty, or another thread drains it.
    Done,
    /// The device is busy: try again soon.
    Busy,
    /// There is more than one call may send.
    More,
}

impl DeviceSlot {
    pub(crate) fn new(interface: InterfaceId, device: Box<dyn Device>) -> Self {
        Self {
            interface,
            device,
            ring: Mutex::default(),
            waiting: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            draining: Mutex::default(),
            busy: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            untold: AtomicBool::new(false),
            counters: SlotCounters::default(),
        }
    }

    /// True when the host should not be asked for more: the ring is long and will be drained.
    pub(crate) fn is_full(&self) -> bool {
        !self.busy.load(Ordering::Relaxed) && self.waiting.load(Ordering::Relaxed) >= RING_PACKETS_FULL
    }

    /// Packets sent since the device was read.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// True once the device has failed for good.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// True once after the device has failed.
    pub(crate) fn take_failure(&self) -> bool {
        self.untold.load(Ordering::Relaxed) && self.untold.swap(false, Ordering::Relaxed)
    }

    /// Appends a packet. Called under the host's lock, which makes the order.
    pub(crate) fn push(&self, packet: Transmit) {
        if self.waiting.load(Ordering::Relaxed) >= RING_PACKETS_MAX || self.is_gone() {
            count(&self.counters.packets_overflowed);
            return;
        }
        let mut ring = lock(&self.ring);
        ring.push_back(packet);
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends what is in the ring, unless another thread is at it.
    pub(crate) fn drain(&self, now: Instant) -> Drained {
        let mut budget = DRAIN_PACKETS_MAX;
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return Drained::Done;
        }
        loop {
            let mut batch = match self.draining.try_lock() {
                Ok(batch) => batch,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Drained::Done,
            };
            let outcome = self.send_all(now, &mut batch, &mut budget);
            drop(batch);
            // Whoever came while `draining` was held has left his packets in the ring. He put them there
            // before he tried the lock, so looking into the ring now, after the lock is free, finds them.
            if outcome != Drained::Done || lock(&self.ring).is_empty() {
                return outcome;
            }
        }
    }

    fn send_all(&self, now: Instant, batch: &mut VecDeque<Transmit>, budget: &mut usize) -> Drained {
        loop {
            if batch.is_empty() {
                std::mem::swap(&mut *lock(&self.ring), batch);
            }
            let Some(packet) = batch.front() else { return Drained::Done };
            if *budget == 0 {
                return Drained::More;
            }
            *budget -= 1;
            match self.device.send(now, packet) {
                Ok(SendOutcome::Sent) => {
                    count(&self.counters.packets_sent);
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(SendOutcome::Busy) => {
                    count(&self.counters.times_busy);
                    self.busy.store(true, Ordering::Relaxed);
                    return Drained::Busy;
                }
                Ok(SendOutcome::Dropped) => count(&self.counters.packets_refused),
                Err(error) => {
                    count(&self.counters.packets_refused);
                    self.fail("send", &error);
                }
            }
            self.busy.store(false, Ordering::Relaxed);
            batch.pop_front();
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Reads up to `budget` packets into `out`.
    pub(crate) fn receive(&self, now: Instant, budget: usize, pool: &mut RxPool, out: &mut Vec<Received>) {
        let before = out.len();
        self.unanswered.store(0, Ordering::Relaxed);
        let result =
            self.device.advance(now).and_then(|()| self.device.receive(now, budget, pool, out).map(|_| ()));
        if let Err(error) = result {
            self.fail("receive", &error);
        }
        self.counters.packets_received.fetch_add((out.len() - before) as u64, Ordering::Relaxed);
    }

    fn fail(&self, call: &'static str, error: &io::Error) {
        if !self.gone.swap(true, Ordering::Relaxed) {
            tracing::warn!(device = self.device.name(), call, %error, "device gone");
            self.untold.store(true, Ordering::Relaxed);
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
