//! The two directions of an emulated link, shared between the thread that drives them, those that send,
//! and those that change them while packets are under way.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytcp_netem::LinkConfig;
use polytcp_proto::packet::Transmit;
use polytcp_proto::time::Instant;
use rustix::event::{EventfdFlags, eventfd};

use crate::clock::monotonic_now;
pub use crate::passage::EmulatedStats;
use crate::passage::{Joining, Passage};

/// A direction of an emulated link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// What the stack sends; from the first device to the second in a bridge.
    Egress,
    /// What the stack receives; from the second device to the first in a bridge.
    Ingress,
}

/// Changes and reads the links of an [`Emulated`](crate::Emulated) device or a
/// [`Bridge`](crate::Bridge) from any thread.
#[derive(Clone, Debug)]
pub struct LinkControl {
    links: Arc<Links>,
}

impl LinkControl {
    /// Replaces the configuration of one direction; see
    /// [`Link::set_config`](polytcp_netem::Link::set_config) for what becomes of packets under way.
    pub fn set_link(&self, direction: Direction, config: LinkConfig) {
        self.links.change(direction, |passage| passage.set_config(monotonic_now(), config));
    }

    /// The configuration of one direction.
    pub fn link(&self, direction: Direction) -> LinkConfig {
        self.links.lock(direction).config()
    }

    /// Cuts one direction: what is on the link is dropped, and all that comes.
    pub fn cut(&self, direction: Direction) {
        self.links.lock(direction).cut();
    }

    /// Mends one direction.
    pub fn restore(&self, direction: Direction) {
        self.links.lock(direction).restore();
    }

    /// Cuts both directions.
    pub fn cut_both(&self) {
        self.cut(Direction::Egress);
        self.cut(Direction::Ingress);
    }

    /// Mends both directions.
    pub fn restore_both(&self) {
        self.restore(Direction::Egress);
        self.restore(Direction::Ingress);
    }

    /// Whether packets pass in one direction.
    pub fn is_up(&self, direction: Direction) -> bool {
        self.links.lock(direction).is_up()
    }

    /// Totals of one direction since it was made.
    pub fn stats(&self, direction: Direction) -> EmulatedStats {
        self.links.lock(direction).stats()
    }
}

#[derive(Debug)]
pub(crate) struct Links {
    egress: Mutex<Passage>,
    ingress: Mutex<Passage>,
    bell: Mutex<Bell>,
    /// Readable when the driver has to ask for the deadline again.
    doorbell: OwnedFd,
}

/// What the driver knows. Locked around reading the passages' deadlines, so that a deadline that moves
/// forward meanwhile is either read or rung for.
#[derive(Debug)]
struct Bell {
    /// The deadline that the driver was told last.
    told: Instant,
    rung: Rung,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rung {
    No,
    Yes,
}

/// When to offer a packet again to a device that was busy, for each direction that has one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retries {
    pub(crate) egress: Option<Instant>,
    pub(crate) ingress: Option<Instant>,
}

impl Links {
    /// Two links whose chances follow from `seed` and differ from each other.
    pub(crate) fn new(egress: LinkConfig, ingress: LinkConfig, seed: u64) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            egress: Mutex::new(Passage::new(egress, seed)),
            ingress: Mutex::new(Passage::new(ingress, !seed)),
            bell: Mutex::new(Bell { told: Instant::FAR_FUTURE, rung: Rung::No }),
            doorbell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        }))
    }

    pub(crate) fn control(self: &Arc<Self>) -> LinkControl {
        LinkControl { links: Arc::clone(self) }
    }

    /// Readable when the deadline has moved forward since the driver asked for it.
    pub(crate) fn doorbell(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    /// Silences the doorbell; for the driver, before it works.
    pub(crate) fn answer(&self) -> io::Result<()> {
        let mut bell = lock(&self.bell);
        if bell.rung == Rung::Yes {
            rustix::io::read(&self.doorbell, &mut [0; 8])?;
            bell.rung = Rung::No;
        }
        Ok(())
    }

    /// Puts a packet on the link.
    pub(crate) fn offer(&self, direction: Direction, now: Instant, packet: Transmit, mtu: u16) {
        self.change(direction, |passage| passage.offer(now, packet, mtu));
    }

    /// The next packet of one direction that is due by `now`.
    pub(crate) fn take(&self, direction: Direction, now: Instant, joining: Joining) -> Option<Transmit> {
        self.lock(direction).take(now, joining)
    }

    /// Counts a packet that the device behind the link refused.
    pub(crate) fn count_refused(&self, direction: Direction) {
        self.lock(direction).count_refused();
    }

    /// When packets of one direction are due next.
    pub(crate) fn deadline_of(&self, direction: Direction) -> Option<Instant> {
        self.lock(direction).deadline()
    }

    /// Tells the driver the earliest of both directions' deadlines and `other`. While the device behind
    /// a direction is busy, it is the time to try again that counts, not when packets are due.
    pub(crate) fn tell_deadline(&self, retries: Retries, other: Option<Instant>) -> Option<Instant> {
        let mut bell = lock(&self.bell);
        let egress = retries.egress.or_else(|| self.deadline_of(Direction::Egress));
        let ingress = retries.ingress.or_else(|| self.deadline_of(Direction::Ingress));
        let deadline = [egress, ingress, other].into_iter().flatten().min();
        bell.told = deadline.unwrap_or(Instant::FAR_FUTURE);
        deadline
    }

    /// Changes one direction, and rings when that makes it due earlier than the driver was told.
    fn change(&self, direction: Direction, change: impl FnOnce(&mut Passage)) {
        let mut passage = self.lock(direction);
        let before = passage.deadline().unwrap_or(Instant::FAR_FUTURE);
        change(&mut passage);
        let after = passage.deadline().unwrap_or(Instant::FAR_FUTURE);
        drop(passage);
        if after >= before {
            return;
        }
        let mut bell = lock(&self.bell);
        if after < bell.told && bell.rung == Rung::No {
            bell.rung = Rung::Yes;
            if let Err(error) = rustix::io::write(&self.doorbell, &1u64.to_ne_bytes()) {
                tracing::warn!(%error, "an emulated link cannot wake its driver");
            }
        }
    }

    fn lock(&self, direction: Direction) -> MutexGuard<'_, Passage> {
        lock(match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        })
    }
}

/// A panic under one of these locks leaves counters behind at worst.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
