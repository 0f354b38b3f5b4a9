//! The round trip as a receiver sees it, which sends nothing that would be acknowledged (Linux's
//! `tcp_rcv_rtt_measure`): by the timestamp that data echoes (RFC 7323 §4), or without timestamps by how long a
//! window of data took. The receive buffer is measured by it.

use super::flow::Flow;
use super::segment::Segment;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// The estimate. It falls at once and rises slowly: a sender that pauses makes a round trip look long.
#[derive(Debug)]
pub(super) struct ReceiveRtt {
    smoothed: Option<Duration>,
    /// What the handshake took: the first echo may be of a time when the sender had nothing to say.
    handshake: Option<Duration>,
    /// The echo that was measured last; each acknowledgement lets go many segments, of which the first counts.
    last_echo: u32,
    /// Where the window ends that was open at `since`.
    window_end: SeqNum,
    since: Instant,
}

impl ReceiveRtt {
    pub(super) fn new(now: Instant, window_end: SeqNum, handshake: Option<Duration>) -> Self {
        Self { smoothed: None, handshake, last_echo: 0, window_end, since: now }
    }

    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Data echoes `echo`, which left `age` ago.
    fn on_echo(&mut self, echo: u32, age: Duration) {
        if echo == core::mem::replace(&mut self.last_echo, echo) {
            return;
        }
        self.smoothed = Some(match self.smoothed.or(self.handshake) {
            Some(old) if age > old => old + (age - old) / 8,
            Some(_) | None => age,
        });
    }

    /// Everything before `rcv_nxt` came. A window takes one round trip at least, so only a shorter time is news.
    fn on_progress(&mut self, now: Instant, rcv_nxt: SeqNum, window_end: SeqNum) {
        if rcv_nxt.before(self.window_end) {
            return;
        }
        let took = now.since(self.since);
        self.smoothed = Some(self.smoothed.map_or(took, |old| old.min(took)));
        self.window_end = window_end;
        self.since = now;
    }
}

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Takes a round trip from an acceptable segment, before its payload is taken.
    pub(super) fn measure_receive_rtt(&mut self, now: Instant, segment: &Segment) {
        let len = segment.payload.len() as u32;
        if len == 0 {
            return;
        }
        let Some(stamps) = self.stamps else {
            return self.rcv.rtt.on_progress(now, self.rcv.nxt, self.rcv.adv);
        };
        let echo = segment.options.timestamps.map_or(0, |ts| ts.ecr);
        // Small segments come when the peer's application had something to say.
        if echo == 0 || len < self.rcv.full_segment {
            return;
        }
        let ticks = super::opening::timestamp_at(now, stamps.offset).wrapping_sub(echo);
        if ticks < 1 << 31 {
            self.rcv.rtt.on_echo(echo, Duration::from_millis(u64::from(ticks.max(1))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_round_trip_counts_for_an_eighth_and_a_shorter_one_at_once() {
        let mut rtt = ReceiveRtt::new(Instant::ZERO, SeqNum(0), None);
        assert_eq!(rtt.smoothed(), None);
        rtt.on_echo(1, Duration::from_millis(20));
        rtt.on_echo(2, Duration::from_millis(100));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(30)));
        rtt.on_echo(2, Duration::from_millis(5));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(30)), "each echo once");
        rtt.on_echo(3, Duration::from_millis(10));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(10)));
    }

    #[test]
    fn a_first_echo_after_a_silence_is_a_longer_round_trip_than_that_of_the_handshake() {
        let mut rtt = ReceiveRtt::new(Instant::ZERO, SeqNum(0), Some(Duration::from_millis(4)));
        rtt.on_echo(1, Duration::from_millis(804));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(104)));
    }

    #[test]
    fn without_timestamps_the_fastest_window_counts() {
        let at = Instant::from_millis;
        let mut rtt = ReceiveRtt::new(at(0), SeqNum(1000), Some(Duration::from_millis(1)));
        rtt.on_progress(at(10), SeqNum(999), SeqNum(5000));
        assert_eq!(rtt.smoothed(), None);
        rtt.on_progress(at(40), SeqNum(1000), SeqNum(5000));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(40)));
        rtt.on_progress(at(60), SeqNum(5000), SeqNum(9000));
        rtt.on_progress(at(160), SeqNum(9000), SeqNum(13_000));
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(20)));
    }
}
