//! Round-trip time and retransmission timeout (RFC 6298), with Linux's bounds and damping.
//!
//! [`RttEstimator`] owns what is known about the path's delay: the smoothed time, its variation, the
//! minimum of the last five minutes, and the exponential back-off. It does not choose samples (Karn's rule
//! and timestamps, RFC 6298 §3 and RFC 7323 §4, belong to the ACK path) and it arms no timer.
//!
//! Three things follow Linux rather than the letter of RFC 6298 §2, because a peer and its operator know
//! Linux's timing:
//! - the lower bound of 200 ms is put on the variance term and not on the whole RTO, so that
//!   a long path keeps its margin;
//! - the variance that enters the RTO is the largest of each round trip and decays once per round trip: one
//!   sample per ACK would otherwise forget a peak within a fraction of a window (RFC 7323 appendix G);
//! - a sample far below the mean raises the variation only by an eighth of the usual weight, since a path that
//!   becomes faster is no reason to wait longer.

use crate::time::{Duration, Instant, nanos};

/// RTO before the first sample (RFC 6298 §2.1).
pub const RTO_INITIAL: Duration = Duration::from_secs(1);
/// RTO after a handshake that gave no sample because its SYN had to be repeated (RFC 6298 §5.7).
pub const RTO_FALLBACK: Duration = Duration::from_secs(3);
/// Lower bound of the variance term of the RTO (Linux `TCP_RTO_MIN`).
///
/// Deviation: RFC 6298 §2.4 (SHOULD) asks for an RTO of at least one second; no stack in use does so.
pub const RTO_MIN: Duration = Duration::from_millis(200);
/// Upper bound of the RTO, back-off included (Linux `TCP_RTO_MAX`; RFC 6298 §2.5 asks for at least 60 s).
pub const RTO_MAX: Duration = Duration::from_secs(120);
/// How long a minimum is remembered at least (Linux `tcp_min_rtt_wlen`).
pub const MIN_RTT_WINDOW: Duration = Duration::from_secs(300);

const RTO_MIN_NANOS: u64 = 200_000_000;
/// Linux counts no sample below a microsecond; a zero would make every rate computed from it infinite.
const SAMPLE_MIN_NANOS: u64 = 1_000;

/// Estimates the round-trip time of one path and the timeout that follows from it.
#[derive(Clone, Debug)]
pub struct RttEstimator {
    state: State,
    /// Doublings of the RTO since the last progress.
    backoff: u8,
}

#[derive(Clone, Debug)]
enum State {
    NoSample { rto: Duration },
    Measured(Measured),
}

/// All times in nanoseconds: the hot path does plain integer arithmetic.
#[derive(Clone, Debug)]
struct Measured {
    srtt: u64,
    /// Smoothed mean deviation of the samples, RTTVAR of RFC 6298 with Linux's damping.
    rttvar: u64,
    /// The variance term of the RTO: four times the largest `rttvar` of recent rounds, at least `RTO_MIN`.
    margin: u64,
    /// The largest `4 * rttvar` of the round trip under way, at least `RTO_MIN`.
    round_margin: u64,
    round_end: Instant,
    latest: u64,
    min: WindowedMin,
}

impl Default for RttEstimator {
    fn default() -> Self {
        Self::new()
    }
}

impl RttEstimator {
    /// An estimator without a sample: its RTO is [`RTO_INITIAL`].
    pub const fn new() -> Self {
        Self { state: State::NoSample { rto: RTO_INITIAL }, backoff: 0 }
    }

    /// Takes the round-trip time `rtt` of a segment that was acknowledged at `now`; ends the back-off.
    ///
    /// The caller offers no sample of a retransmitted segment unless a timestamp tells which copy arrived
    /// (RFC 6298 §3).
    pub fn on_sample(&mut self, rtt: Duration, now: Instant) {
        let rtt = nanos(rtt).max(SAMPLE_MIN_NANOS);
        match &mut self.state {
            State::NoSample { .. } => self.state = State::Measured(Measured::first(rtt, now)),
            State::Measured(measured) => measured.update(rtt, now),
        }
        self.backoff = 0;
    }

    /// Takes note that the handshake ended without a sample; raises the RTO to [`RTO_FALLBACK`].
    ///
    /// Does nothing when there is a sample already.
    pub fn on_unmeasured_handshake(&mut self) {
        if let State::NoSample { rto } = &mut self.state {
            *rto = RTO_FALLBACK;
            self.backoff = 0;
        }
    }

    /// Doubles the RTO: its timer expired (RFC 6298 §5.5).
    pub fn on_rto(&mut self) {
        // 2^20 times the smallest RTO is far past RTO_MAX; the count stays small enough to shift by.
        self.backoff = (self.backoff + 1).min(20);
    }

    /// Ends the back-off: an acknowledgement of new data arrived.
    pub fn on_progress(&mut self) {
        self.backoff = 0;
    }

    /// How often the RTO was doubled since the last progress or sample; at most 20.
    pub fn backoff(&self) -> u8 {
        self.backoff
    }

    /// The retransmission timeout with its back-off; never above [`RTO_MAX`].
    pub fn rto(&self) -> Duration {
        self.base_rto().saturating_mul(1 << self.backoff).min(RTO_MAX)
    }

    /// The retransmission timeout without back-off; never above [`RTO_MAX`].
    pub fn base_rto(&self) -> Duration {
        match &self.state {
            State::NoSample { rto } => *rto,
            State::Measured(m) => Duration::from_nanos(m.srtt.saturating_add(m.margin)).min(RTO_MAX),
        }
    }

    /// The smoothed round-trip time.
    pub fn srtt(&self) -> Option<Duration> {
        self.measured().map(|m| Duration::from_nanos(m.srtt))
    }

    /// The smoothed mean deviation, without the lower bound that the RTO puts on it (`tcpi_rttvar`).
    pub fn rttvar(&self) -> Option<Duration> {
        self.measured().map(|m| Duration::from_nanos(m.rttvar))
    }

    /// The smallest sample of the last five to seven minutes, as of the latest sample.
    pub fn min_rtt(&self) -> Option<Duration> {
        self.measured().map(|m| Duration::from_nanos(m.min.value()))
    }

    /// The most recent sample.
    pub fn latest(&self) -> Option<Duration> {
        self.measured().map(|m| Duration::from_nanos(m.latest))
    }

    fn measured(&self) -> Option<&Measured> {
        match &self.state {
            State::NoSample { .. } => None,
            State::Measured(measured) => Some(measured),
        }
    }
}

impl Measured {
    /// RFC 6298 §2.2.
    fn first(rtt: u64, now: Instant) -> Self {
        let rttvar = rtt / 2;
        Self {
            srtt: rtt,
            rttvar,
            margin: rttvar.saturating_mul(4).max(RTO_MIN_NANOS),
            round_margin: RTO_MIN_NANOS,
            round_end: now + Duration::from_nanos(rtt),
            latest: rtt,
            min: WindowedMin::new(rtt, now),
        }
    }

    /// RFC 6298 §2.3 with gains 1/8 and 1/4, and the three departures that the module names.
    fn update(&mut self, rtt: u64, now: Instant) {
        let deviation = rtt.abs_diff(self.srtt);
        if deviation <= self.rttvar {
            self.rttvar -= (self.rttvar - deviation) / 4;
        } else if rtt < self.srtt {
            self.rttvar += (deviation - self.rttvar) / 32;
        } else {
            self.rttvar += (deviation - self.rttvar) / 4;
        }
        if rtt < self.srtt {
            self.srtt -= deviation / 8;
        } else {
            self.srtt += deviation / 8;
        }
        self.round_margin = self.round_margin.max(self.rttvar.saturating_mul(4));
        self.margin = self.margin.max(self.round_margin);
        // Linux ends a round when the data in flight at its start is acknowledged; a smoothed
        // round-trip time later is the same without a sequence number.
        if now >= self.round_end {
            self.margin -= (self.margin - self.round_margin) / 4;
            self.round_margin = RTO_MIN_NANOS;
            self.round_end = now + Duration::from_nanos(self.srtt);
        }
        self.latest = rtt;
        self.min.update(rtt, now);
    }
}

/// The minimum over a sliding window, in a fixed number of slots.
///
/// Each slot holds the minimum of a third of [`MIN_RTT_WINDOW`]; the slot under way and the three before it
/// always cover the window. Coarser than a queue of candidates, but it can be seen to be right.
#[derive(Clone, Debug)]
struct WindowedMin {
    /// `u64::MAX` where a slot saw no sample.
    slots: [u64; 4],
    /// Number of the slot under way, counted from the origin of time.
    current: u64,
}

impl WindowedMin {
    const SLOT_NANOS: u64 = MIN_RTT_WINDOW.as_nanos() as u64 / 3;

    fn new(value: u64, now: Instant) -> Self {
        let mut min = Self { slots: [u64::MAX; 4], current: now.as_nanos() / Self::SLOT_NANOS };
        min.update(value, now);
        min
    }

    fn update(&mut self, value: u64, now: Instant) {
        // A `now` before the slot under way counts into that slot: time does not run backwards here.
        let number = (now.as_nanos() / Self::SLOT_NANOS).max(self.current);
        for passed in 1..=(number - self.current).min(4) {
            self.slots[((self.current + passed) % 4) as usize] = u64::MAX;
        }
        self.current = number;
        let slot = &mut self.slots[(number % 4) as usize];
        *slot = (*slot).min(value);
    }

    fn value(&self) -> u64 {
        self.slots.iter().copied().fold(u64::MAX, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Feeds `rtt` every `rtt` for `count` times, from `now` on, and returns the time after it.
    fn feed(estimator: &mut RttEstimator, rtt: Duration, count: u32, mut now: Instant) -> Instant {
        for _ in 0..count {
            now += rtt;
            estimator.on_sample(rtt, now);
        }
        now
    }

    #[test]
    fn without_a_sample_the_rto_is_one_second_and_doubles_up_to_two_minutes() {
        let mut estimator = RttEstimator::new();
        assert_eq!((estimator.rto(), estimator.srtt(), estimator.min_rtt()), (RTO_INITIAL, None, None));
        for expected in [2, 4, 8, 16, 32, 64, 120, 120] {
            estimator.on_rto();
            assert_eq!(estimator.rto(), Duration::from_secs(expected));
        }
        for _ in 0..1000 {
            estimator.on_rto();
        }
        assert_eq!(estimator.rto(), RTO_MAX);
        estimator.on_progress();
        assert_eq!(estimator.rto(), RTO_INITIAL);
        estimator.on_unmeasured_handshake();
        assert_eq!(estimator.rto(), RTO_FALLBACK);
    }

    #[test]
    fn the_first_sample_sets_the_mean_and_half_of_it_as_variation() {
        let mut estimator = RttEstimator::new();
        estimator.on_rto();
        estimator.on_sample(ms(400), Instant::ZERO);
        assert_eq!(estimator.srtt(), Some(ms(400)));
        assert_eq!(estimator.rttvar(), Some(ms(200)));
        assert_eq!(estimator.rto(), ms(400 + 800));
        assert_eq!(estimator.backoff(), 0);
    }

    #[test]
    fn a_steady_path_settles_at_its_delay_plus_200_ms() {
        for rtt in [ms(1), ms(40), ms(600)] {
            let mut estimator = RttEstimator::new();
            feed(&mut estimator, rtt, 200, Instant::ZERO);
            assert_eq!(estimator.srtt(), Some(rtt));
            let excess = estimator.rto() - (rtt + RTO_MIN);
            assert!(excess < ms(1), "{rtt:?}: {excess:?}");
        }
    }

    #[test]
    fn a_peak_stays_in_the_rto_for_a_round_although_many_samples_follow() {
        let mut estimator = RttEstimator::new();
        let now = feed(&mut estimator, ms(100), 100, Instant::ZERO);
        estimator.on_sample(ms(900), now);
        let peak = estimator.rto();
        assert!(peak > ms(800), "{peak:?}");
        for i in 1..90 {
            estimator.on_sample(ms(100), now + ms(i));
        }
        assert!(estimator.rttvar() < Some(ms(10)));
        assert!(estimator.rto() > ms(700), "{:?}", estimator.rto());
        feed(&mut estimator, ms(100), 40, now + ms(100));
        assert!(estimator.rto() < ms(310), "{:?}", estimator.rto());
    }

    #[test]
    fn a_later_sample_counts_a_quarter_in_the_variation_and_then_an_eighth_in_the_mean() {
        let mut estimator = RttEstimator::new();
        estimator.on_sample(ms(400), Instant::ZERO);
        estimator.on_sample(ms(800), Instant::from_millis(400));
        // From the old mean: 200 + (400 - 200) / 4.
        assert_eq!((estimator.rttvar(), estimator.srtt()), (Some(ms(250)), Some(ms(450))));
        estimator.on_sample(ms(400), Instant::from_millis(800));
        // 250 - (250 - 50) / 4, and 450 - 50 / 8.
        let mean = Duration::from_micros(443_750);
        assert_eq!((estimator.rttvar(), estimator.srtt()), (Some(ms(200)), Some(mean)));
    }

    #[test]
    fn a_faster_path_hardly_raises_the_variation() {
        let mut slower = RttEstimator::new();
        let now = feed(&mut slower, ms(500), 100, Instant::ZERO);
        let mut faster = slower.clone();
        slower.on_sample(ms(900), now);
        faster.on_sample(ms(100), now);
        assert!(slower.rttvar() > Some(ms(99)));
        assert!(faster.rttvar() < Some(ms(13)));
    }

    #[test]
    fn a_minimum_lasts_five_minutes_and_no_longer_than_seven() {
        let mut estimator = RttEstimator::new();
        let start = Instant::from_millis(99_999);
        estimator.on_sample(ms(10), start);
        for second in 1..=300 {
            estimator.on_sample(ms(50), start + Duration::from_secs(second));
            assert_eq!(estimator.min_rtt(), Some(ms(10)), "after {second} s");
        }
        estimator.on_sample(ms(50), start + Duration::from_secs(401));
        assert_eq!(estimator.min_rtt(), Some(ms(50)));
        estimator.on_sample(ms(70), start + Duration::from_secs(100_000));
        assert_eq!((estimator.min_rtt(), estimator.latest()), (Some(ms(70)), Some(ms(70))));
    }

    #[test]
    fn no_sample_and_no_time_overflows() {
        let mut estimator = RttEstimator::new();
        for rtt in [Duration::ZERO, Duration::MAX, Duration::ZERO, Duration::MAX] {
            for now in [Instant::ZERO, Instant::FAR_FUTURE, Instant::ZERO] {
                estimator.on_sample(rtt, now);
                estimator.on_rto();
                assert!(estimator.rto() <= RTO_MAX);
            }
        }
        assert_eq!(estimator.min_rtt(), Some(Duration::from_micros(1)));
    }
}
