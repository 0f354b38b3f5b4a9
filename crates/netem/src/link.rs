//! One direction of a link: a queue that departs at the link's rate, then a stretch of delay.
//!
//! A packet waits in the queue (bounded in octets), departs bit by bit, travels for the delay and its
//! jitter, and is due. Times are exact: the part of a nanosecond that a departure leaves over is
//! credited to the packet behind it, so that a busy link carries its rate and not a rounding of it.

use alloc::collections::VecDeque;
use core::num::NonZeroU64;

use polytcp_proto::rng::Prng;
use polytcp_proto::time::{Duration, Instant};

use crate::config::LinkConfig;

/// What became of a packet that was offered to a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It will come out when it is due, unless the link is cut before.
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
    /// Packets dropped since the queue was full.
    pub queue_full: u64,
    /// Packets dropped by a cut: those on the link at that time, and those offered since.
    pub cut_drops: u64,
    /// Octets waiting for departure, as of the last call that took a time.
    pub queue_bytes: u64,
    /// Most octets that ever waited for departure.
    pub queue_bytes_peak: u64,
}

/// One direction of a link, holding packets of type `P` until they are due.
///
/// Call [`push`](Self::push) when a packet is offered, and [`pop`](Self::pop) until it returns `None`
/// whenever [`next_deadline`](Self::next_deadline) has come. Times given to a link should not go
/// backwards; one that does counts as the latest one.
#[derive(Clone, Debug)]
pub struct Link<P> {
    config: LinkConfig,
    chance: Prng,
    line: Line,
    /// Waiting for departure; the first one is departing.
    queue: VecDeque<Waiting<P>>,
    /// Departed, in order of arrival.
    travelling: VecDeque<Travelling<P>>,
    stats: LinkStats,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    /// `work` is left of the first packet in the queue, as of `at`, in bits times 10^9; negative is
    /// credit from the packet before.
    Up {
        at: Instant,
        work: i128,
    },
    Cut,
}

#[derive(Clone, Debug)]
struct Waiting<P> {
    packet: P,
    size_bytes: u32,
    /// The packet's place in the range of jitter, as a fraction of 2^32. Drawn on arrival so that a
    /// change of configuration does not shift the draws of later packets.
    jitter_draw: u32,
}

#[derive(Clone, Debug)]
struct Travelling<P> {
    packet: P,
    size_bytes: u32,
    due: Instant,
}

impl<P> Link<P> {
    /// An empty link that is up; all its chances follow from `seed`.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            chance: Prng::new(seed),
            line: Line::Up { at: Instant::ZERO, work: 0 },
            queue: VecDeque::new(),
            travelling: VecDeque::new(),
            stats: LinkStats::default(),
        }
    }

    /// Offers `packet`, which takes `size_bytes` octets of the link.
    pub fn push(&mut self, now: Instant, packet: P, size_bytes: u32) -> Verdict {
        let verdict = self.judge(now, size_bytes);
        match verdict {
            Verdict::Queued => self.enqueue(packet, size_bytes),
            Verdict::Dropped(DropReason::Loss) => self.stats.lost += 1,
            Verdict::Dropped(DropReason::QueueFull) => self.stats.queue_full += 1,
            Verdict::Dropped(DropReason::Cut) => self.stats.cut_drops += 1,
        }
        self.depart(now);
        verdict
    }

    /// The next packet that is due by `now`, in the order in which they were offered.
    pub fn pop(&mut self, now: Instant) -> Option<P> {
        self.depart(now);
        let first = self.travelling.pop_front_if(|first| first.due <= now)?;
        self.stats.delivered_packets += 1;
        self.stats.delivered_bytes += u64::from(first.size_bytes);
        Some(first.packet)
    }

    /// When the next packet is due; `None` while the link is empty.
    pub fn next_deadline(&self) -> Option<Instant> {
        if let Some(first) = self.travelling.front() {
            return Some(first.due);
        }
        let Line::Up { at, work } = self.line else { return None };
        let first = self.queue.front()?;
        Some(self.arrival(departure(at, work, self.config.rate_bits_per_sec).at, first.jitter_draw))
    }

    /// Replaces the configuration. Packets that have departed stay due when they were; those that wait
    /// depart at the new rate, the first one with what is left of it, and none is dropped for a
    /// smaller queue.
    pub fn set_config(&mut self, now: Instant, config: LinkConfig) {
        self.depart(now);
        if let Line::Up { at, work } = &mut self.line
            && !self.queue.is_empty()
            && let Some(rate) = self.config.rate_bits_per_sec
        {
            *work -= work_done(now.since(*at), rate);
            *at = (*at).max(now);
        }
        self.config = config;
        self.depart(now);
    }

    /// The configuration in force.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Cuts the link: what is on it is dropped, and so is all that comes.
    pub fn cut(&mut self) {
        self.stats.cut_drops += self.len() as u64;
        self.stats.queue_bytes = 0;
        self.queue.clear();
        self.travelling.clear();
        self.line = Line::Cut;
    }

    /// Mends a link that was cut; no change to one that is up.
    pub fn restore(&mut self) {
        if self.line == Line::Cut {
            self.line = Line::Up { at: Instant::ZERO, work: 0 };
        }
    }

    /// Whether packets pass: false between [`cut`](Self::cut) and [`restore`](Self::restore).
    pub fn is_up(&self) -> bool {
        self.line != Line::Cut
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
        let loss = self.config.loss.parts_per_million();
        if self.chance.ratio(u64::from(loss), 1_000_000) {
            return Verdict::Dropped(DropReason::Loss);
        }
        let fits = self.queue.is_empty()
            || self.stats.queue_bytes.saturating_add(u64::from(size_bytes))
                <= self.config.queue_limit_bytes();
        if !fits || self.len() >= self.config.packets_max as usize {
            return Verdict::Dropped(DropReason::QueueFull);
        }
        if self.queue.is_empty() {
            self.begin(now, size_bytes);
        }
        Verdict::Queued
    }

    /// Starts the departure of a packet of `size_bytes` on a line that was idle, at `now`; or at the
    /// last departure when `now` is not later, so that no credit is lost.
    fn begin(&mut self, now: Instant, size_bytes: u32) {
        if let Line::Up { at, work } = &mut self.line {
            if now > *at {
                (*at, *work) = (now, 0);
            }
            *work += work_of(size_bytes);
        }
    }

    fn enqueue(&mut self, packet: P, size_bytes: u32) {
        self.stats.packets += 1;
        self.stats.bytes += u64::from(size_bytes);
        self.stats.queue_bytes += u64::from(size_bytes);
        self.stats.queue_bytes_peak = self.stats.queue_bytes_peak.max(self.stats.queue_bytes);
        let jitter_draw = (self.chance.next_u64() >> 32) as u32;
        self.queue.push_back(Waiting { packet, size_bytes, jitter_draw });
    }

    /// Moves on what has departed by `now`.
    fn depart(&mut self, now: Instant) {
        while let Line::Up { at, work } = self.line
            && !self.queue.is_empty()
        {
            let departure = departure(at, work, self.config.rate_bits_per_sec);
            if departure.at > now {
                return;
            }
            let Waiting { packet, size_bytes, jitter_draw } =
                self.queue.pop_front().expect("the queue is not empty");
            let due = self.arrival(departure.at, jitter_draw);
            self.stats.queue_bytes -= u64::from(size_bytes);
            self.travelling.push_back(Travelling { packet, size_bytes, due });
            let next = self.queue.front().map_or(0, |next| work_of(next.size_bytes));
            self.line = Line::Up { at: departure.at, work: next - departure.credit };
        }
    }

    /// When a packet that departed at `departed` arrives: after delay and jitter, and not before the
    /// one ahead of it.
    fn arrival(&self, departed: Instant, jitter_draw: u32) -> Instant {
        let jitter_nanos =
            (self.config.jitter.as_nanos().min(u128::from(u64::MAX)) * u128::from(jitter_draw)) >> 32;
        let due = departed + self.config.delay + Duration::from_nanos(jitter_nanos as u64);
        self.travelling.back().map_or(due, |ahead| due.max(ahead.due))
    }
}

/// The end of a packet's departure: the first whole nanosecond by which its last bit has left, and the
/// work that the line could have done beyond it by then.
struct Departure {
    at: Instant,
    credit: i128,
}

fn departure(at: Instant, work: i128, rate: Option<NonZeroU64>) -> Departure {
    let (Some(rate), Ok(work)) = (rate, u128::try_from(work)) else { return Departure { at, credit: 0 } };
    let rate = u128::from(rate.get());
    let nanos = work.div_ceil(rate);
    let credit = (nanos * rate - work) as i128;
    Departure { at: at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)), credit }
}

/// Bits times 10^9: the rate, in bits per second, is then what a line does in a nanosecond.
fn work_of(size_bytes: u32) -> i128 {
    i128::from(size_bytes) * 8 * 1_000_000_000
}

fn work_done(time: Duration, rate: NonZeroU64) -> i128 {
    (time.as_nanos() as i128).saturating_mul(i128::from(rate.get()))
}

#[cfg(test)]
mod tests;
