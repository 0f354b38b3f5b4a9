//! One direction of a link: a queue that departs at the link's rate, then a stretch of delay.
//!
//! A packet waits in the queue (bounded in octets), departs bit by bit, travels for the delay and its
//! jitter, and is due.

use alloc::collections::VecDeque;

use polytcp_proto::time::{Duration, Instant};

use crate::chance::Chances;
use crate::codel::{Codel, Head, HeadDrop};
use crate::config::{LinkConfig, Order, QueueDiscipline};
use crate::line::{Line, Pace};
use crate::trace::{Playback, Trace};

/// What became of a packet that was offered to a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It will come out when it is due, unless the link is cut or CoDel drops it before.
    Queued,
    /// It is gone.
    Dropped(DropReason),
}

/// Why a link dropped a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// Chance, as configured.
    Loss,
    /// The queue is full.
    QueueFull,
    /// The link is cut.
    Cut,
}

/// Totals of one link since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkStats {
    /// Packets that were taken into the queue.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// Packets that came out at the other end.
    pub delivered_packets: u64,
    /// Their octets.
    pub delivered_bytes: u64,
    /// Packets dropped by chance.
    pub lost: u64,
    /// Packets that were queued a second time.
    pub duplicated: u64,
    /// Packets that came out with a bit flipped.
    pub corrupted: u64,
    /// Packets that overtook another.
    pub reordered: u64,
    /// Packets dropped since the queue was full.
    pub queue_full: u64,
    /// Packets that were in the queue and dropped since packets had waited too long (CoDel).
    pub codel_drops: u64,
    /// Packets dropped by a cut: those on the link at that time, and those offered since.
    pub cut_drops: u64,
    /// Octets waiting for departure, as of the last call that took a time.
    pub queue_bytes: u64,
    /// Most octets that ever waited for departure.
    pub queue_bytes_peak: u64,
}

/// A packet at the far end of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival<P> {
    /// The packet as it was offered.
    pub packet: P,
    /// The bit that was flipped on the way, counted from the highest of the first octet.
    pub flipped_bit: Option<u32>,
}

/// One direction of a link, holding packets of type `P` until they are due.
///
/// Call [`push`](Self::push) when a packet is offered, and [`pop`](Self::pop) until it returns `None`
/// whenever [`next_deadline`](Self::next_deadline) has come. Times given to a link should not go
/// backwards; one that does counts as the latest one.
#[derive(Clone, Debug)]
pub struct Link<P> {
    config: LinkConfig,
    trace: Option<Playback>,
    chances: Chances,
    /// `None` while the link is cut.
    line: Option<Line>,
    codel: Codel,
    /// Waiting for departure; the first one is departing.
    queue: VecDeque<Waiting<P>>,
    /// Departed, in order of arrival.
    travelling: VecDeque<Travelling<P>>,
    stats: LinkStats,
}

#[derive(Clone, Debug)]
struct Waiting<P> {
    packet: P,
    size_bytes: u32,
    queued_at: Instant,
    /// The packet's place in the range of jitter, as a fraction of 2^32. Drawn on arrival so that a
    /// change of configuration does not shift the draws of later packets.
    jitter_draw: u32,
    flipped_bit: Option<u32>,
}

#[derive(Clone, Debug)]
struct Travelling<P> {
    packet: P,
    size_bytes: u32,
    flipped_bit: Option<u32>,
    due: Instant,
}

impl<P: Clone> Link<P> {
    /// Offers `packet`, which takes `size_bytes` octets of the link.
    pub fn push(&mut self, now: Instant, packet: P, size_bytes: u32) -> Verdict {
        let verdict = self.judge(now, size_bytes);
        match verdict {
            Verdict::Queued => {
                let jitter_draw = self.chances.jitter();
                let copy = self.chances.copied(self.config.duplicate).map(|draw| (draw, packet.clone()));
                self.enqueue(now, packet, size_bytes, jitter_draw);
                if let Some((jitter_draw, copy)) = copy
                    && self.has_room(size_bytes)
                {
                    self.stats.duplicated += 1;
                    self.enqueue(now, copy, size_bytes, jitter_draw);
                }
            }
            Verdict::Dropped(DropReason::Loss) => self.stats.lost += 1,
            Verdict::Dropped(DropReason::QueueFull) => self.stats.queue_full += 1,
            Verdict::Dropped(DropReason::Cut) => self.stats.cut_drops += 1,
        }
        self.depart(now);
        verdict
    }
}

impl<P> Link<P> {
    /// An empty link that is up; all its chances follow from `seed`.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            trace: None,
            chances: Chances::new(seed),
            line: Some(Line::IDLE),
            codel: Codel::default(),
            queue: VecDeque::new(),
            travelling: VecDeque::new(),
            stats: LinkStats::default(),
        }
    }

    /// The next packet that is due by `now` and arrived unharmed. One with a flipped bit is passed over,
    /// as if by a receiver whose checksum covers all of it.
    pub fn pop(&mut self, now: Instant) -> Option<P> {
        loop {
            if let Arrival { packet, flipped_bit: None } = self.pop_arrival(now)? {
                return Some(packet);
            }
        }
    }

    /// The next packet that is due by `now`, harmed or not: for who has a receiver with checksums.
    pub fn pop_arrival(&mut self, now: Instant) -> Option<Arrival<P>> {
        self.depart(now);
        let Travelling { packet, size_bytes, flipped_bit, due: _ } =
            self.travelling.pop_front_if(|first| first.due <= now)?;
        self.stats.delivered_packets += 1;
        self.stats.delivered_bytes += u64::from(size_bytes);
        self.stats.corrupted += u64::from(flipped_bit.is_some());
        Some(Arrival { packet, flipped_bit })
    }

    /// When to call [`pop`](Self::pop) next; `None` while the link is empty. No packet is due before,
    /// and mostly one is due then.
    pub fn next_deadline(&self) -> Option<Instant> {
        let arrived = self.travelling.front().map(|first| first.due);
        if arrived.is_some() && self.config.order == Order::Kept {
            return arrived;
        }
        let departing = self.departing_deadline();
        arrived.into_iter().chain(departing).min()
    }

    /// Replaces the configuration. Packets that have departed stay due when they were; those that wait
    /// depart at the new rate, the first one with what is left of it, and none is dropped for a
    /// smaller queue.
    pub fn set_config(&mut self, now: Instant, config: LinkConfig) {
        self.depart(now);
        self.settle(now);
        self.config = config;
        self.depart(now);
    }

    /// The configuration in force.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Takes rate and delay from `trace`, which starts at `now`, instead of from the configuration; or
    /// from the configuration again.
    ///
    /// The queue's limit still follows from the configuration: give one, or the rate and delay that it
    /// is to be derived from.
    pub fn follow(&mut self, now: Instant, trace: Option<Trace>) {
        self.depart(now);
        self.settle(now);
        self.trace = trace.map(|trace| Playback::start(now, trace));
        self.depart(now);
    }

    /// The trace that is followed.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref().map(Playback::trace)
    }

    /// Cuts the link: what is on it is dropped, and so is all that comes.
    pub fn cut(&mut self) {
        self.stats.cut_drops += self.len() as u64;
        self.stats.queue_bytes = 0;
        self.queue.clear();
        self.travelling.clear();
        self.codel = Codel::default();
        self.line = None;
    }

    /// Mends a link that was cut; no change to one that is up.
    pub fn restore(&mut self) {
        self.line.get_or_insert(Line::IDLE);
    }

    /// Whether packets pass: false between [`cut`](Self::cut) and [`restore`](Self::restore).
    pub fn is_up(&self) -> bool {
        self.line.is_some()
    }

    /// Packets on the link, waiting or travelling.
    pub fn len(&self) -> usize {
        self.queue.len() + self.travelling.len()
    }

    /// Whether nothing is on the link.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Totals since the link was made.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    fn judge(&mut self, now: Instant, size_bytes: u32) -> Verdict {
        if !self.is_up() {
            return Verdict::Dropped(DropReason::Cut);
        }
        self.depart(now);
        let lost = self.chances.lost(self.config.loss);
        if self.chances.lost_in_burst(self.config.burst_loss) || lost {
            return Verdict::Dropped(DropReason::Loss);
        }
        if self.has_room(size_bytes) { Verdict::Queued } else { Verdict::Dropped(DropReason::QueueFull) }
    }

    fn has_room(&self, size_bytes: u32) -> bool {
        let fits = self.queue.is_empty()
            || self.stats.queue_bytes.saturating_add(u64::from(size_bytes))
                <= self.config.queue_limit_bytes();
        fits && self.len() < self.config.packets_max as usize
    }

    fn enqueue(&mut self, now: Instant, packet: P, size_bytes: u32, jitter_draw: u32) {
        if self.queue.is_empty()
            && let Some(line) = &mut self.line
        {
            line.begin(now, size_bytes);
        }
        self.stats.packets += 1;
        self.stats.bytes += u64::from(size_bytes);
        self.stats.queue_bytes += u64::from(size_bytes);
        self.stats.queue_bytes_peak = self.stats.queue_bytes_peak.max(self.stats.queue_bytes);
        self.codel.saw(size_bytes);
        let flipped_bit = self.chances.flipped_bit(self.config.corrupt, size_bytes);
        self.queue.push_back(Waiting { packet, size_bytes, queued_at: now, jitter_draw, flipped_bit });
    }

    /// Moves on what has departed by `now`, through all steps of a trace until then.
    fn depart(&mut self, now: Instant) {
        while let Some(playback) = &mut self.trace
            && playback.next_at() <= now
        {
            if self.queue.is_empty() || !playback.carries() {
                playback.seek(now);
                continue;
            }
            let step_end = playback.next_at();
            self.depart_at_pace(step_end);
            self.settle(step_end);
            self.trace.as_mut().expect("looked at above").advance();
        }
        self.depart_at_pace(now);
    }

    /// Moves on what has departed by `now` while nothing changes.
    fn depart_at_pace(&mut self, now: Instant) {
        while let Some(departing) = self.queue.front()
            && let Some(departure) = self.line.and_then(|line| line.departure(self.pace()))
            && departure.at <= now
        {
            let due = self.arrival(departure.at, departing.jitter_draw);
            let Waiting { packet, size_bytes, flipped_bit, .. } =
                self.queue.pop_front().expect("looked at above");
            self.stats.queue_bytes -= u64::from(size_bytes);
            self.travel(Travelling { packet, size_bytes, flipped_bit, due });
            if let QueueDiscipline::Codel(config) = self.config.discipline {
                let mut standing = Standing { queue: &mut self.queue, stats: &mut self.stats };
                self.codel.dequeue(config, departure.at, &mut standing);
            }
            let next_bytes = self.queue.front().map_or(0, |next| next.size_bytes);
            self.line.as_mut().expect("it departed").proceed(departure, next_bytes);
        }
    }

    fn travel(&mut self, packet: Travelling<P>) {
        let place = self.travelling.partition_point(|ahead| ahead.due <= packet.due);
        self.stats.reordered += u64::from(place < self.travelling.len());
        self.travelling.insert(place, packet);
    }

    /// Accounts for what the packet in departure has done at the present rate, which is to change.
    fn settle(&mut self, now: Instant) {
        let pace = self.pace();
        if let Some(line) = &mut self.line
            && !self.queue.is_empty()
        {
            line.settle(now, pace);
        }
    }

    fn pace(&self) -> Pace {
        match &self.trace {
            Some(playback) => playback.pace(),
            None => self.config.rate_bits_per_sec.map_or(Pace::Unlimited, Pace::BitsPerSec),
        }
    }

    fn delay(&self) -> Duration {
        self.trace.as_ref().map_or(self.config.delay, Playback::delay)
    }

    /// A time before which no packet of the queue arrives; exact where packets keep their order.
    fn departing_deadline(&self) -> Option<Instant> {
        let first = self.queue.front()?;
        let departure = self.line?.departure(self.pace());
        let step_end = self.trace.as_ref().map(Playback::next_at);
        let arrival = departure.map(|departure| match self.config.order {
            Order::Kept => (departure.at, self.arrival(departure.at, first.jitter_draw)),
            Order::Free => (departure.at, departure.at + self.delay()),
        });
        match (arrival, step_end, self.config.order) {
            (Some((departs, due)), Some(end), Order::Kept) => Some(if departs <= end { due } else { end }),
            (Some((_, due)), Some(end), Order::Free) => Some(due.min(end)),
            (Some((_, due)), None, _) => Some(due),
            (None, end, _) => end,
        }
    }

    /// When a packet that departed at `departed` arrives: after delay and jitter, and where order is
    /// kept not before the one ahead of it.
    fn arrival(&self, departed: Instant, jitter_draw: u32) -> Instant {
        let jitter_nanos =
            (self.config.jitter.as_nanos().min(u128::from(u64::MAX)) * u128::from(jitter_draw)) >> 32;
        let due = departed + self.delay() + Duration::from_nanos(jitter_nanos as u64);
        match self.config.order {
            Order::Kept => self.travelling.back().map_or(due, |ahead| due.max(ahead.due)),
            Order::Free => due,
        }
    }
}

/// The queue of a link in the eyes of CoDel.
struct Standing<'a, P> {
    queue: &'a mut VecDeque<Waiting<P>>,
    stats: &'a mut LinkStats,
}

impl<P> HeadDrop for Standing<'_, P> {
    fn head(&self) -> Option<Head> {
        let Waiting { queued_at, size_bytes, .. } = self.queue.front()?;
        Some(Head { queued_at: *queued_at, rest_bytes: self.stats.queue_bytes - u64::from(*size_bytes) })
    }

    fn drop_head(&mut self) {
        if let Some(dropped) = self.queue.pop_front() {
            self.stats.queue_bytes -= u64::from(dropped.size_bytes);
            self.stats.codel_drops += 1;
        }
    }
}

#[cfg(test)]
mod tests;
