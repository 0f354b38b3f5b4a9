//! Networks that swallow SYNs with MP_CAPABLE: after one is found, new connections are plain TCP for a while.
//!
//! As Linux (`net.mptcp.blackhole_timeout`): the time doubles with each one found, up to 64 times the setting, and one
//! handshake with MP_CAPABLE that works ends it all. One state for the host, whatever the destination.

use crate::time::{Duration, Instant};

/// How often the time is doubled at most.
const DOUBLINGS_MAX: u32 = 6;

/// What is known of such networks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blackhole {
    /// Found in a row.
    found: u32,
    /// The latest one, where `found` is not 0.
    at: Instant,
}

impl Blackhole {
    /// Only a SYN without MP_CAPABLE was answered.
    pub(super) fn note_found(&mut self, now: Instant) {
        self.found = self.found.saturating_add(1);
        self.at = now;
    }

    /// MP_CAPABLE was answered with MP_CAPABLE.
    pub(super) fn clear(&mut self) {
        self.found = 0;
    }

    /// A new connection should not try MPTCP. `timeout` is the setting; zero switches all this off.
    pub(super) fn is_suspected(&self, now: Instant, timeout: Duration) -> bool {
        if self.found == 0 || timeout.is_zero() {
            return false;
        }
        let doublings = (self.found - 1).min(DOUBLINGS_MAX);
        now < self.at + timeout.saturating_mul(1 << doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_doubles_with_each_one_found_up_to_64_times() {
        let timeout = Duration::from_secs(10);
        let mut blackhole = Blackhole::default();
        let mut now = Instant::from_millis(5);
        assert!(!blackhole.is_suspected(now, timeout));
        for secs in [10, 20, 40, 80, 160, 320, 640, 640, 640] {
            blackhole.note_found(now);
            let end = now + Duration::from_secs(secs);
            assert!(blackhole.is_suspected(end - Duration::from_millis(1), timeout), "{secs} s");
            assert!(!blackhole.is_suspected(end, timeout), "{secs} s");
            now = end;
        }
        assert!(!blackhole.is_suspected(now, Duration::ZERO));
        blackhole.clear();
        blackhole.note_found(now);
        assert!(!blackhole.is_suspected(now + timeout, timeout), "it starts anew");
    }

    #[test]
    fn without_a_timeout_nothing_is_suspected() {
        let mut blackhole = Blackhole::default();
        blackhole.note_found(Instant::ZERO);
        assert!(!blackhole.is_suspected(Instant::ZERO, Duration::ZERO));
    }
}
