//! HyStart++: leaves slow start when the delay rises, before the queue overflows (RFC 9406 §4).
//!
//! Rounds are counted by delivered bytes: a round is over when as much was acknowledged as was in flight
//! at its start, which is what SND.NXT would tell. Meant for the initial slow start only (RFC 9406 §4.3).

use crate::time::Duration;

use super::AckSample;

/// By how much slow start may enlarge the window for one acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// By all acknowledged bytes.
    Full,
    /// By so many bytes: Conservative Slow Start.
    Conservative(u32),
    /// Not any more: congestion avoidance begins.
    Done,
}

/// The state of HyStart++ for one flow.
#[derive(Clone, Debug)]
pub struct HyStart {
    /// Bytes still to be acknowledged in this round.
    round_left_bytes: u32,
    round_min: Option<Duration>,
    round_samples: u32,
    last_round_min: Option<Duration>,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    SlowStart,
    /// Slower growth for a few rounds, to see whether the rise of the delay lasts.
    Conservative {
        baseline: Duration,
        rounds: u32,
    },
}

impl Default for HyStart {
    fn default() -> Self {
        Self::new()
    }
}

impl HyStart {
    /// The state at the beginning of slow start.
    pub const fn new() -> Self {
        Self {
            round_left_bytes: 0,
            round_min: None,
            round_samples: 0,
            last_round_min: None,
            phase: Phase::SlowStart,
        }
    }

    /// Takes one acknowledgement of slow start, whether or not the window was in use.
    pub fn on_ack(&mut self, ack: &AckSample<'_>) -> Growth {
        if let Some(rtt) = ack.rtt {
            self.round_min = Some(self.round_min.map_or(rtt, |min| min.min(rtt)));
            self.round_samples += 1;
        }
        let growth = match &self.phase {
            Phase::SlowStart => Growth::Full,
            Phase::Conservative { .. } => Growth::Conservative(ack.acked_bytes / CSS_GROWTH_DIVISOR),
        };
        self.judge_delay();
        if self.round_left_bytes > ack.acked_bytes {
            self.round_left_bytes -= ack.acked_bytes;
            return growth;
        }
        self.last_round_min = self.round_min.take();
        self.round_samples = 0;
        self.round_left_bytes = ack.in_flight.saturating_sub(ack.acked_bytes);
        match &mut self.phase {
            Phase::Conservative { rounds, .. } if *rounds + 1 >= CSS_ROUNDS => Growth::Done,
            Phase::Conservative { rounds, .. } => {
                *rounds += 1;
                growth
            }
            Phase::SlowStart => growth,
        }
    }

    fn judge_delay(&mut self) {
        let Some(current) = self.round_min.filter(|_| self.round_samples >= N_RTT_SAMPLE) else {
            return;
        };
        match self.phase {
            Phase::SlowStart => {
                let Some(last) = self.last_round_min else { return };
                let rise = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
                if current >= last.saturating_add(rise) {
                    self.phase = Phase::Conservative { baseline: current, rounds: 0 };
                }
            }
            // The delay fell again: the rise was no queue.
            Phase::Conservative { baseline, .. } if current < baseline => self.phase = Phase::SlowStart,
            Phase::Conservative { .. } => {}
        }
    }
}

// RFC 9406 §4.3.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::super::test_support::{MSS, ack};
    use super::*;

    /// One round of twenty segments at a delay of `millis`; `Done` if it ended slow start, else what its last
    /// acknowledgement allowed.
    fn round(hystart: &mut HyStart, millis: u64) -> Growth {
        let rtt = Some(Duration::from_millis(millis));
        let mut last = Growth::Full;
        for _ in 0..20 {
            last = match hystart.on_ack(&AckSample { rtt, ..ack(0, MSS, 21 * MSS) }) {
                Growth::Done => return Growth::Done,
                growth => growth,
            };
        }
        last
    }

    #[test]
    fn a_lasting_rise_of_the_delay_ends_slow_start_after_five_slower_rounds() {
        let mut hystart = HyStart::new();
        assert_eq!(round(&mut hystart, 100), Growth::Full);
        assert_eq!(round(&mut hystart, 111), Growth::Full);
        assert_eq!(round(&mut hystart, 126), Growth::Conservative(MSS / 4));
        let slow = (0..20).position(|_| round(&mut hystart, 130) == Growth::Done);
        assert_eq!(slow, Some(4));
    }

    #[test]
    fn a_delay_that_falls_again_resumes_slow_start() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 100);
        assert_eq!(round(&mut hystart, 120), Growth::Conservative(MSS / 4));
        assert_eq!(round(&mut hystart, 101), Growth::Full);
        for _ in 0..20 {
            assert_eq!(round(&mut hystart, 101), Growth::Full);
        }
    }

    #[test]
    fn a_few_samples_prove_nothing() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 100);
        for _ in 0..50 {
            let rtt = Some(Duration::from_millis(500));
            let whole_window = AckSample { rtt, ..ack(0, 5 * MSS, 20 * MSS) };
            assert_eq!(hystart.on_ack(&whole_window), Growth::Full);
        }
    }
}
