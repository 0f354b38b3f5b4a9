//! The scheduler `roundrobin`: one burst for each subflow in turn.
//!
//! For experiments and as the smallest example of a scheduler with state: the share of each subflow is
//! equal as long as its window lets it take its turn.

use super::{Decision, Run, Scheduler, View, best_class};
use crate::time::Instant;

/// See the module's text.
#[derive(Debug)]
pub struct RoundRobin {
    last: Option<usize>,
}

impl RoundRobin {
    /// Starts with the first subflow.
    pub fn new() -> Self {
        Self { last: None }
    }
}

impl core::default::Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Scheduler for RoundRobin {
    fn name(&self) -> &'static str {
        "roundrobin"
    }

    fn next(&mut self, view: &View<'_>, _now: Instant) -> Decision {
        let open = || best_class(view).filter(|s| s.room_bytes > 0);
        let after = open().find(|s| self.last.is_none_or(|last| s.index > last));
        let Some(chosen) = after.or_else(|| open().next()) else { return Decision::Wait { until: None } };
        if let Some(span) = view.reinject
            && !chosen.suspect
        {
            let max_bytes = u32::try_from(span.len()).unwrap_or(u32::MAX);
            return Decision::Send { subflow: chosen.index, run: Run::Again { from: span.start }, max_bytes };
        }
        if view.unsent_bytes > 0 && view.window_left_bytes > 0 {
            return Decision::Send { subflow: chosen.index, run: Run::Unsent, max_bytes: u32::MAX };
        }
        Decision::Wait { until: None }
    }

    fn on_sent(&mut self, subflow: usize, _bytes: u32) {
        self.last = Some(subflow);
    }

    fn on_subflows_changed(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{subflow, view};
    use super::*;

    #[test]
    fn subflows_take_turns() {
        let subflows = [subflow(0), subflow(1), subflow(2)];
        let mut scheduler = RoundRobin::new();
        for expected in [0, 1, 2, 0, 1] {
            let Decision::Send { subflow, .. } = scheduler.next(&view(&subflows), Instant::ZERO) else {
                panic!("there is data and room");
            };
            assert_eq!(subflow, expected);
            scheduler.on_sent(subflow, 1000);
        }
    }
}
