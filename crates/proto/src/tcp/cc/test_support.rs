//! What the tests of the algorithms share.

use crate::time::{Duration, Instant};

use super::{AckSample, Initial};

pub(super) const MSS: u32 = 1000;

pub(super) fn initial() -> Initial {
    Initial { mss: MSS, initial_window_segments: 10, ..Initial::default() }
}

/// An acknowledgement at `millis` that the full window deserves, on a path of 100 ms.
pub(super) fn ack(millis: u64, acked_bytes: u32, in_flight: u32) -> AckSample<'static> {
    let rtt = Some(Duration::from_millis(100));
    AckSample {
        now: Instant::from_millis(millis),
        acked_bytes,
        rtt,
        min_rtt: rtt,
        srtt: rtt,
        in_flight,
        in_flight_after: in_flight.saturating_sub(acked_bytes),
        cwnd_limited: true,
        in_recovery: false,
        delivered: 0,
        rate: None,
        mss: MSS,
        ecn_echo: false,
        siblings: &[],
    }
}
