//! Data that is less than a segment and waits because the application said that more comes (Linux: `TCP_CORK`, `MSG_MORE`).
//!
//! Full segments go. What remains waits until it is a full segment, the application lets it go, or nothing was on the way for as
//! long as a retransmission timeout (Linux: the timer that looks after shut windows).

use crate::seq::Dsn;
use crate::time::{Duration, Instant};

/// What the application said, and since when something waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Hold {
    /// `TCP_CORK`.
    pub(super) corked: bool,
    /// More follows the last write (`MSG_MORE`): until the next acknowledgement, as in Linux. What was acknowledged then.
    pub(super) more: Option<Dsn>,
    /// Something waits and nothing is on the way.
    since: Option<Instant>,
    /// What waits goes now.
    lets_go: bool,
}

impl Hold {
    /// Whether what is less than a segment waits, now that everything before `acked` is acknowledged.
    pub(super) fn is_on(&self, acked: Dsn) -> bool {
        (self.corked || self.more == Some(acked)) && !self.lets_go
    }

    /// Less than a segment is unsent. Until when it waits at least; `None` for until something happens. `lets_go` from then on.
    pub(super) fn wait(&mut self, now: Instant, in_flight: bool, timeout: Duration) -> Option<Instant> {
        if in_flight {
            self.since = None;
            return None;
        }
        let until = *self.since.get_or_insert(now) + timeout;
        self.lets_go |= until <= now;
        Some(until)
    }

    /// What waits goes, once.
    pub(super) fn let_go(&mut self) {
        self.lets_go = true;
    }

    /// Something was sent.
    pub(super) fn on_sent(&mut self) {
        self.since = None;
        self.lets_go = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(200);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn what_is_corked_waits_for_a_timeout_while_nothing_is_on_the_way() {
        let mut hold = Hold { corked: true, ..Hold::default() };
        assert_eq!(hold.wait(at(0), true, TIMEOUT), None);
        assert_eq!(hold.wait(at(50), false, TIMEOUT), Some(at(250)));
        assert_eq!(hold.wait(at(100), false, TIMEOUT), Some(at(250)));
        assert!(hold.is_on(Dsn(1)));
        hold.wait(at(250), false, TIMEOUT);
        assert!(!hold.is_on(Dsn(1)), "it goes");
        hold.on_sent();
        assert!(hold.is_on(Dsn(1)), "the next waits again");
        assert_eq!(hold.wait(at(300), false, TIMEOUT), Some(at(500)));
    }

    #[test]
    fn more_is_expected_until_something_is_acknowledged() {
        let mut hold = Hold { more: Some(Dsn(7)), ..Hold::default() };
        assert!(hold.is_on(Dsn(7)));
        assert!(!hold.is_on(Dsn(8)));
        hold.let_go();
        assert!(!hold.is_on(Dsn(7)));
    }
}
