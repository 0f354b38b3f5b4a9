//! Bits that leave one after the other: when the packet at the head of a queue has departed.
//!
//! Times are exact: the part of a nanosecond that a departure leaves over is credited to the packet
//! behind it, so that a busy link carries its rate and not a rounding of it.

use core::num::NonZeroU64;
use core::time::Duration;

use polytcp_proto::time::Instant;

/// How fast bits leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// All at once.
    Unlimited,
    /// So many per second.
    BitsPerSec(NonZeroU64),
    /// None do, for now.
    Stopped,
}

/// What is left of the departing packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    at: Instant,
    /// Bits times 10^9 left as of `at`; negative is credit from the packet before.
    work: i128,
}

/// The end of a packet's departure: the first whole nanosecond by which its last bit has left, and the
/// work that the line could have done beyond it by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) at: Instant,
    credit: i128,
}

impl Line {
    pub(crate) const IDLE: Self = Self { at: Instant::ZERO, work: 0 };

    /// Starts a departure on an idle line at `now`; or at the last departure when `now` is not later,
    /// so that no credit is lost.
    pub(crate) fn begin(&mut self, now: Instant, size_bytes: u32) {
        if now > self.at {
            *self = Self { at: now, work: 0 };
        }
        self.work += work_of(size_bytes);
    }

    /// Goes on with the next packet, or with none (`size_bytes` 0), after `departure`.
    pub(crate) fn proceed(&mut self, departure: Departure, size_bytes: u32) {
        *self = Self { at: departure.at, work: work_of(size_bytes) - departure.credit };
    }

    /// When the packet has departed if `pace` stays; `None` when it never does.
    pub(crate) fn departure(&self, pace: Pace) -> Option<Departure> {
        let Self { at, work } = *self;
        let Ok(work) = u128::try_from(work) else { return Some(Departure { at, credit: 0 }) };
        match pace {
            Pace::Unlimited => Some(Departure { at, credit: 0 }),
            Pace::Stopped => (work == 0).then_some(Departure { at, credit: 0 }),
            Pace::BitsPerSec(rate) => {
                let rate = u128::from(rate.get());
                let nanos = work.div_ceil(rate);
                let credit = (nanos * rate - work) as i128;
                let taken = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                Some(Departure { at: at + taken, credit })
            }
        }
    }

    /// Takes off what has been done at `pace` by `now`, for a pace that is about to change.
    pub(crate) fn settle(&mut self, now: Instant, pace: Pace) {
        match pace {
            Pace::Unlimited => return,
            Pace::Stopped => {}
            Pace::BitsPerSec(rate) => {
                let time = now.since(self.at).as_nanos() as i128;
                self.work -= time.saturating_mul(i128::from(rate.get()));
            }
        }
        self.at = self.at.max(now);
    }
}

/// Bits times 10^9: the rate, in bits per second, is then what a line does in a nanosecond.
fn work_of(size_bytes: u32) -> i128 {
    i128::from(size_bytes) * 8 * 1_000_000_000
}
