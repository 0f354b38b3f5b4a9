//! What the tests of the algorithms share.

use crate::time::{Duration, Instant};

use super::{AckSample, Initial};

pub(super) const MSS: u32 = 1000;

pub(super) fn initial() -> Initial {
    Initial { mss: MSS, initial_window_segments: 10 }
}

/// An acknowledgement at `millis` that the full window deserves, on a path of 100 ms.
pub(super) fn ack(millis: u64, acked_bytes: u32, in_flight: u32) -> AckSample {
    let rtt = Some(Duration::from_millis(100));
    AckSample {
        now: Instant::from_millis(millis),
        acked_bytes,
        rtt,
        min_rtt: rtt,
        srtt: rtt,
        in_flight,
        cwnd_limited: true,
        app_limited: false,
        delivery_rate: None,
        mss: MSS,
        ecn_echo: false,
    }
}
