//! The scheduler `default`: the subflow that would be done first, as Linux's.
//!
//! Of the best class present, the subflow whose bytes queued and on the way drain soonest at its pacing
//! rate. Beyond Linux, three helps for unequal paths: a subflow without room is passed over instead of
//! waited for; a slow one is left alone while its data would block a window, or a send buffer, that the
//! fastest can fill; and when either is exhausted because slow subflows carry what the peer waits for, a
//! much faster one that has room sends that again (opportunistic retransmission, once per range).

use super::{Decision, Run, Scheduler, SubflowView, View, best_class, is_much_faster};
use crate::time::Instant;

/// See the module's text. It has no state of its own.
#[derive(Debug)]
pub struct Default;

impl Scheduler for Default {
    fn name(&self) -> &'static str {
        "default"
    }

    fn next(&mut self, view: &View<'_>, _now: Instant) -> Decision {
        let wait = Decision::Wait { until: None };
        let fastest = best_class(view).min_by_key(|s| s.srtt);
        let usable = |s: &&SubflowView| s.room_bytes > 0 && !fastest.is_some_and(|f| blocks(view, f, s));
        let Some(best) = best_class(view).filter(usable).min_by_key(|s| drain_time(s)) else {
            return wait;
        };
        if let Some(span) = view.reinject
            && !best.suspect
        {
            let max_bytes = u32::try_from(span.len()).unwrap_or(u32::MAX);
            return Decision::Send { subflow: best.index, run: Run::Again { from: span.start }, max_bytes };
        }
        if view.unsent_bytes > 0 && view.window_left_bytes > 0 {
            return Decision::Send { subflow: best.index, run: Run::Unsent, max_bytes: u32::MAX };
        }
        if let Some(head) = view.blocking_head
            && let Some(holder) = view.subflows.iter().find(|s| s.index == head.holder)
            && let Some(helper) = best_class(view).filter(|s| s.room_bytes > 0).min_by_key(|s| s.srtt)
            && is_much_faster(helper, holder)
        {
            let max_bytes = u32::try_from(head.span.len()).unwrap_or(u32::MAX);
            let run = Run::Again { from: head.span.start };
            return Decision::Send { subflow: helper.index, run, max_bytes };
        }
        wait
    }
}

/// Data on `slow` would block the connection: while it is under way, `fast` alone could fill what is left
/// of the window or of the send buffer (the estimate of BLEST, Ferlin et al. 2016).
fn blocks(view: &View<'_>, fast: &SubflowView, slow: &SubflowView) -> bool {
    if slow.index == fast.index || fast.srtt.is_zero() || fast.suspect || view.window_left_bytes == 0 {
        return false;
    }
    let rounds = slow.srtt.as_nanos() / fast.srtt.as_nanos();
    rounds >= 2 && u128::from(fast.cwnd_bytes) * rounds > u128::from(view.ahead_bytes)
}

/// Nanoseconds until the subflow has nothing left, scaled so that an unknown rate counts as slow only
/// when something is on the way.
fn drain_time(subflow: &SubflowView) -> (u64, u64) {
    let bytes = u64::from(subflow.in_flight_bytes) + u64::from(subflow.queued_bytes);
    let drain = bytes.saturating_mul(1_000_000_000) / subflow.pacing_rate.max(1);
    (drain, subflow.srtt.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{subflow, view};
    use super::*;
    use crate::ranges::Span;
    use crate::sched::BlockingHead;
    use crate::seq::Dsn;
    use crate::time::Duration;

    fn chosen(view: &View<'_>) -> Option<usize> {
        match Default.next(view, Instant::ZERO) {
            Decision::Send { subflow, .. } => Some(subflow),
            Decision::Wait { .. } => None,
        }
    }

    #[test]
    fn the_subflow_that_drains_first_is_chosen() {
        let busy = SubflowView { in_flight_bytes: 5000, ..subflow(0) };
        let slow = SubflowView { in_flight_bytes: 3000, pacing_rate: 100_000, ..subflow(1) };
        assert_eq!(chosen(&view(&[busy, slow])), Some(0));
        let full = SubflowView { room_bytes: 0, ..busy };
        assert_eq!(chosen(&view(&[full, slow])), Some(1), "one without room is passed over");
        assert_eq!(chosen(&view(&[full])), None);
    }

    #[test]
    fn a_backup_serves_only_when_no_other_answers() {
        let full = SubflowView { room_bytes: 0, ..subflow(0) };
        let backup = SubflowView { backup: true, ..subflow(1) };
        assert_eq!(chosen(&view(&[full, backup])), None);
        let suspect = SubflowView { suspect: true, ..subflow(0) };
        assert_eq!(chosen(&view(&[suspect, backup])), Some(1));
        assert_eq!(chosen(&view(&[suspect])), Some(0));
    }

    #[test]
    fn a_slow_subflow_is_left_alone_while_its_data_would_fill_the_send_buffer() {
        let fast = SubflowView { in_flight_bytes: 9000, ..subflow(0) };
        let slow = SubflowView { srtt: Duration::from_millis(200), pacing_rate: 100_000_000, ..subflow(1) };
        let subflows = [fast, slow];
        let roomy = View { window_left_bytes: 1 << 24, ahead_bytes: 1 << 20, ..view(&subflows) };
        assert_eq!(chosen(&roomy), Some(1));
        assert_eq!(chosen(&View { ahead_bytes: 150_000, ..roomy }), Some(0));
    }

    #[test]
    fn a_fast_subflow_helps_out_when_a_slow_one_blocks_the_window() {
        let fast = SubflowView { srtt: Duration::from_millis(2), ..subflow(0) };
        let slow = SubflowView { srtt: Duration::from_millis(300), in_flight_bytes: 9000, ..subflow(1) };
        let subflows = [fast, slow];
        let span = Span::new(Dsn(5), Dsn(1005));
        let head = Some(BlockingHead { span, holder: 1 });
        let blocked = View { window_left_bytes: 0, blocking_head: head, ..view(&subflows) };
        assert_eq!(
            Default.next(&blocked, Instant::ZERO),
            Decision::Send { subflow: 0, run: Run::Again { from: Dsn(5) }, max_bytes: 1000 }
        );
        let full_buffer = View { unsent_bytes: 0, window_left_bytes: 9000, ..blocked };
        assert_eq!(Default.next(&full_buffer, Instant::ZERO), Default.next(&blocked, Instant::ZERO));
        let near = SubflowView { srtt: Duration::from_millis(3), in_flight_bytes: 9000, ..slow };
        let subflows = [fast, near];
        assert_eq!(chosen(&View { subflows: &subflows, ..blocked }), None);
    }
}
