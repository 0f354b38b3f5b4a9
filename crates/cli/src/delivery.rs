//! How data arrives in one direction: how much, and how long nothing came while a link was down.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// When the link was down.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    cut_at: OnceLock<Instant>,
    restored_at: OnceLock<Instant>,
}

impl Outage {
    /// The link is down from now on. Only the first call counts.
    pub(crate) fn begin(&self) {
        self.cut_at.get_or_init(Instant::now);
    }

    /// The link is up from now on. Only the first call counts.
    pub(crate) fn end(&self) {
        self.restored_at.get_or_init(Instant::now);
    }

    /// When it began, if it did.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.cut_at.get().copied()
    }

    /// Whether it is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.restored_at.get().is_some()
    }

    /// How long it lasted, up to `end` where it did not end before.
    pub(crate) fn duration(&self, end: Instant) -> Duration {
        let Some(cut) = self.cut_at.get() else { return Duration::ZERO };
        self.restored_at.get().copied().unwrap_or(end).saturating_duration_since(*cut)
    }

    /// Whether the link was down at some time from `from` to `to`.
    fn touches(&self, from: Instant, to: Instant) -> bool {
        let began = self.cut_at.get().is_some_and(|cut| *cut <= to);
        began && self.restored_at.get().is_none_or(|restored| from <= *restored)
    }
}

/// One direction of a transfer. It begins when it is made.
#[derive(Debug)]
pub(crate) struct Flow {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    received: u64,
    last: Instant,
    longest_pause: Duration,
    longest_gap: Duration,
}

impl Flow {
    pub(crate) fn new() -> Self {
        let state = State {
            received: 0,
            last: Instant::now(),
            longest_pause: Duration::ZERO,
            longest_gap: Duration::ZERO,
        };
        Self { state: Mutex::new(state) }
    }

    /// Octets delivered so far.
    pub(crate) fn received(&self) -> u64 {
        self.lock().received
    }

    /// `len` octets came.
    pub(crate) fn deliver(&self, len: usize, outage: &Outage) {
        let now = Instant::now();
        let mut state = self.lock();
        state.longest_gap = state.gap_until(now);
        state.received += len as u64;
        state.longest_pause = state.pause_until(now, outage);
        state.last = now;
    }

    /// The longest time without delivery while the link was down, as far as it was over.
    pub(crate) fn longest_pause(&self) -> Duration {
        self.lock().longest_pause
    }

    /// As [`longest_pause`](Self::longest_pause), with one that is not over.
    pub(crate) fn longest_pause_so_far(&self, outage: &Outage) -> Duration {
        self.lock().pause_until(Instant::now(), outage)
    }

    /// The longest time without delivery since the first octet came, with one that is not over.
    pub(crate) fn longest_gap(&self) -> Duration {
        self.lock().gap_until(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn gap_until(&self, now: Instant) -> Duration {
        match self.received {
            0 => Duration::ZERO,
            _ => self.longest_gap.max(now.saturating_duration_since(self.last)),
        }
    }

    fn pause_until(&self, now: Instant, outage: &Outage) -> Duration {
        if outage.touches(self.last, now) {
            self.longest_pause.max(now.saturating_duration_since(self.last))
        } else {
            self.longest_pause
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_from_the_first_octet_on() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut state = *Flow::new().lock();
        state.last = start;
        assert_eq!(state.gap_until(at(500)), Duration::ZERO);
        state.received = 1;
        assert_eq!(state.gap_until(at(70)), Duration::from_millis(70));
        state.longest_gap = Duration::from_millis(100);
        assert_eq!(state.gap_until(at(70)), Duration::from_millis(100));
    }

    #[test]
    fn only_pauses_while_the_link_is_down_count() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let outage = Outage::default();
        assert!(!outage.touches(at(0), at(10)));
        outage.cut_at.set(at(100)).expect("once");
        assert!(!outage.touches(at(0), at(99)));
        assert!(outage.touches(at(90), at(300)));
        outage.restored_at.set(at(200)).expect("once");
        assert!(outage.touches(at(150), at(500)));
        assert!(!outage.touches(at(201), at(500)));
        assert_eq!(outage.duration(at(900)), Duration::from_millis(100));
    }
}
