//! The clock of the running stack, and how it relates to the wall's.

use std::time::SystemTime;

use polytcp_proto::time::Instant;
use rustix::time::{ClockId, clock_gettime};

/// The time of `CLOCK_MONOTONIC`, counted from the machine's start.
pub fn monotonic_now() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    // The kernel never returns a negative monotonic time.
    let nanos = (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64);
    Instant::from_nanos(nanos)
}

/// Translates monotonic times to wall-clock times by one pair of readings, so that a step of the wall
/// clock does not reorder a capture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallAnchor {
    unix_nanos_at_origin: u64,
}

impl WallAnchor {
    /// Reads both clocks.
    pub(crate) fn take() -> Self {
        let monotonic = monotonic_now().as_nanos();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix_nanos = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        Self { unix_nanos_at_origin: unix_nanos.saturating_sub(monotonic) }
    }

    /// Nanoseconds since 1970 at `instant`.
    pub(crate) fn unix_nanos(self, instant: Instant) -> u64 {
        self.unix_nanos_at_origin.saturating_add(instant.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let first = monotonic_now();
        assert!(first > Instant::ZERO);
        assert!(monotonic_now() >= first);
    }

    #[test]
    fn the_anchor_names_the_present_year() {
        let unix_nanos = WallAnchor::take().unix_nanos(monotonic_now());
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        assert!(unix_nanos.abs_diff(wall.as_nanos() as u64) < 60_000_000_000);
    }
}
