//! Rate and delay as they were recorded: a list of steps that a link follows, over and over.

mod mahimahi;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::time::Duration;

use polytcp_proto::time::Instant;

use crate::line::Pace;
pub use mahimahi::MahimahiError;

/// What a link is like from one time in a trace until the next step's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceStep {
    /// When the step begins, from the start of the trace.
    pub at: Duration,
    /// Bits that leave the queue per second; 0 holds everything back.
    pub rate_bits_per_sec: u64,
    /// Time from the last bit's departure to the packet's arrival.
    pub delay: Duration,
}

/// A recording of a link's rate and delay, which starts again when it ends. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    steps: Arc<[TraceStep]>,
    period: Duration,
}

/// Why steps make no trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceError {
    /// There is no step at time zero.
    NoStart,
    /// The step of this index, or the end, comes less than [`Trace::STEP_MIN`] after the step before.
    TooClose(usize),
}

impl Trace {
    /// The shortest time between two steps. A link that has stood for long catches up step by step.
    pub const STEP_MIN: Duration = Duration::from_millis(1);

    /// A trace of `steps`, in their order in time, that starts again after `period`.
    ///
    /// # Errors
    /// [`TraceError`] when the first step is not at zero, or steps are too close or out of order.
    pub fn new(steps: impl Into<Vec<TraceStep>>, period: Duration) -> Result<Self, TraceError> {
        let steps = steps.into();
        if steps.first().is_none_or(|first| first.at != Duration::ZERO) {
            return Err(TraceError::NoStart);
        }
        let ends = steps.iter().skip(1).map(|step| step.at).chain([period]);
        for (index, (step, end)) in steps.iter().zip(ends).enumerate() {
            if end.checked_sub(step.at).is_none_or(|long| long < Self::STEP_MIN) {
                return Err(TraceError::TooClose(index + 1));
            }
        }
        Ok(Self { steps: steps.into(), period })
    }

    /// The steps, in their order.
    pub fn steps(&self) -> &[TraceStep] {
        &self.steps
    }

    /// After what time the trace starts again.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Bits per second, on average over the period.
    pub fn mean_rate_bits_per_sec(&self) -> u64 {
        let ends = self.steps.iter().skip(1).map(|step| step.at).chain([self.period]);
        let work =
            self.steps.iter().zip(ends).map(|(step, end)| {
                u128::from(step.rate_bits_per_sec).saturating_mul((end - step.at).as_nanos())
            });
        let mean = work.fold(0, u128::saturating_add) / self.period.as_nanos().max(1);
        u64::try_from(mean).unwrap_or(u64::MAX)
    }
}

/// A trace being followed.
#[derive(Clone, Debug)]
pub(crate) struct Playback {
    trace: Trace,
    /// When the present round began.
    round: Instant,
    index: usize,
}

impl Playback {
    pub(crate) fn start(now: Instant, trace: Trace) -> Self {
        Self { trace, round: now, index: 0 }
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(crate) fn pace(&self) -> Pace {
        NonZeroU64::new(self.step().rate_bits_per_sec).map_or(Pace::Stopped, Pace::BitsPerSec)
    }

    pub(crate) fn delay(&self) -> Duration {
        self.step().delay
    }

    /// Whether anything departs in any step.
    pub(crate) fn carries(&self) -> bool {
        self.trace.steps.iter().any(|step| step.rate_bits_per_sec > 0)
    }

    /// When the next step begins.
    pub(crate) fn next_at(&self) -> Instant {
        let end = self.trace.steps.get(self.index + 1).map_or(self.trace.period, |next| next.at);
        self.round + end
    }

    /// Goes on to the next step.
    pub(crate) fn advance(&mut self) {
        self.index += 1;
        if self.index == self.trace.steps.len() {
            self.index = 0;
            self.round += self.trace.period;
        }
    }

    /// Goes to the step that is in force at `now`.
    pub(crate) fn seek(&mut self, now: Instant) {
        let since = now.since(self.round).as_nanos();
        let period = self.trace.period.as_nanos();
        let rounds = Duration::from_nanos(u64::try_from(since / period * period).unwrap_or(u64::MAX));
        self.round += rounds;
        let into = now.since(self.round);
        self.index = self.trace.steps.partition_point(|step| step.at <= into).saturating_sub(1);
    }

    fn step(&self) -> &TraceStep {
        &self.trace.steps[self.index]
    }
}
