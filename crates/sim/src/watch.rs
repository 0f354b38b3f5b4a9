//! Watchers of a run beside its counts.

use polytcp_proto::time::Instant;

use crate::scenario::EventSpec;
use crate::tap::Sighting;
use crate::window::WindowCheck;

/// Who watches a run.
#[derive(Default)]
pub struct Watchers {
    window: WindowCheck,
}

impl Watchers {
    /// What a packet shows that must not be, in a line.
    pub(crate) fn see(&mut self, sighting: &Sighting<'_>) -> Option<String> {
        self.window.see(sighting)
    }

    pub(crate) fn happened(&mut self, _at: Instant, _event: &EventSpec) {}
}
