//! The two directions of an emulated link, shared between the thread that drives them, those that send,
//! and those that change them while packets are under way.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytcp_netem::{LinkConfig, Trace};
use polytcp_proto::packet::Transmit;
use polytcp_proto::time::Instant;
use rustix::event::{EventfdFlags, eventfd};

use crate::boxes::{Boxes, Crossing, Passages};
use crate::clock::monotonic_now;
pub use crate::passage::EmulatedStats;
use crate::passage::{Boxed, Joining, Passage};

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

    /// Lets one direction take rate and delay from a trace that starts now, or from its configuration
    /// again; see [`Link::follow`](polytcp_netem::Link::follow).
    pub fn follow(&self, direction: Direction, trace: Option<Trace>) {
        self.links.change(direction, |passage| passage.follow(monotonic_now(), trace));
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
    /// The boxes on the path, if any. Locked before the passages.
    boxes: Option<Mutex<Crossing>>,
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
    pub(crate) fn new(
        egress: LinkConfig,
        ingress: LinkConfig,
        boxes: Boxes,
        seed: u64,
    ) -> io::Result<Arc<Self>> {
        let boxes = Crossing::new(boxes).map(Mutex::new);
        let boxed = if boxes.is_some() { Boxed::Yes } else { Boxed::No };
        Ok(Arc::new(Self {
            egress: Mutex::new(Passage::new(egress, seed, boxed)),
            ingress: Mutex::new(Passage::new(ingress, !seed, boxed)),
            boxes,
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

    /// Puts a packet on the path.
    pub(crate) fn offer(&self, direction: Direction, now: Instant, packet: Transmit, mtu: u16) {
        match &self.boxes {
            None => self.change(direction, |passage| passage.offer(now, packet, mtu)),
            Some(boxes) => {
                self.cross(boxes, |crossing| crossing.offer(now, direction, packet, mtu, self.passages()));
            }
        }
    }

    /// The next packet of one direction that is due by `now`.
    pub(crate) fn take(&self, direction: Direction, now: Instant, joining: Joining) -> Option<Transmit> {
        if let Some(boxes) = &self.boxes {
            self.cross(boxes, |crossing| crossing.settle(now, self.passages()));
        }
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
        let boxes = self.boxes.as_ref().and_then(|boxes| lock(boxes).deadline());
        let deadline = [egress, ingress, boxes, other].into_iter().flatten().min();
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
        if after < before {
            self.ring_for(after);
        }
    }

    /// Lets the boxes work, and rings when anything is due earlier for it than the driver was told.
    fn cross(&self, boxes: &Mutex<Crossing>, work: impl FnOnce(&mut Crossing)) {
        let mut crossing = lock(boxes);
        let before = self.earliest(&crossing);
        work(&mut crossing);
        let after = self.earliest(&crossing);
        drop(crossing);
        if after < before {
            self.ring_for(after);
        }
    }

    fn earliest(&self, crossing: &Crossing) -> Instant {
        let directions = [Direction::Egress, Direction::Ingress].map(|direction| self.deadline_of(direction));
        let deadlines = directions.into_iter().chain([crossing.deadline()]).flatten();
        deadlines.min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Rings when the driver was told a later deadline.
    fn ring_for(&self, deadline: Instant) {
        let mut bell = lock(&self.bell);
        if deadline < bell.told && bell.rung == Rung::No {
            bell.rung = Rung::Yes;
            if let Err(error) = rustix::io::write(&self.doorbell, &1u64.to_ne_bytes()) {
                tracing::warn!(%error, "an emulated link cannot wake its driver");
            }
        }
    }

    fn passages(&self) -> Passages<'_> {
        Passages { egress: &self.egress, ingress: &self.ingress }
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
