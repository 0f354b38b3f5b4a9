//! Watchers of a run beside its counts: the checks of windows and rules always, a capture and a plot on demand.

use std::io;
use std::path::Path as FilePath;

use polytcp_proto::time::Instant;

use crate::capture::Capture;
use crate::path::Path;
use crate::plot::Plot;
use crate::rules::Rules;
use crate::scenario::{Action, EventSpec, Scenario};
use crate::tap::Sighting;
use crate::window::WindowCheck;

/// Who watches a run.
#[derive(Default)]
pub struct Watchers {
    window: WindowCheck,
    rules: Rules,
    capture: Option<Capture>,
    plot: Option<Box<Plot>>,
    /// The traffic is over: the picture ends.
    is_over: bool,
}

impl Watchers {
    /// Writes a file `HOST.pcapng` into `folder` for each host.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn capture(&mut self, folder: &FilePath, scenario: &Scenario) -> io::Result<()> {
        self.capture = Some(Capture::create(folder, scenario)?);
        Ok(())
    }

    /// Gathers what [`draw`](Self::draw) shows.
    pub fn plot(&mut self) {
        self.plot = Some(Box::default());
    }

    /// Draws the run into an SVG file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn draw(&self, file: &FilePath, scenario: &Scenario) -> Result<(), String> {
        self.plot.as_ref().map_or(Ok(()), |plot| plot.draw(file, scenario))
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// The first failure to write.
    pub fn finish(&mut self) -> io::Result<()> {
        self.capture.take().map_or(Ok(()), Capture::finish)
    }

    /// What a packet shows that must not be, in a line.
    pub(crate) fn see(&mut self, sighting: &Sighting<'_>) -> Option<String> {
        let place = self.window.see(sighting);
        if let Some(capture) = &mut self.capture {
            capture.see(sighting);
        }
        if let Some(plot) = self.plot.as_mut().filter(|_| !self.is_over) {
            plot.see(sighting, place.as_ref());
        }
        let fault = self.rules.see(sighting);
        place.and_then(|place| place.fault()).or(fault)
    }

    /// The world is made.
    pub(crate) fn begin(&mut self, scenario: &Scenario) {
        self.rules = Rules::new(scenario);
    }

    /// The run is over, in which `timers` ran out and `resets` were sent: what must not be, in a line.
    pub(crate) fn end(&self, timers: u64, resets: u64) -> Option<String> {
        self.rules.finish(timers, resets)
    }

    /// Something is about to happen to a link.
    pub(crate) fn happens(&mut self, link: usize, action: &Action) {
        self.rules.happened(link, action);
    }

    pub(crate) fn tick(&mut self, now: Instant, paths: &[Path]) {
        if let Some(plot) = self.plot.as_mut().filter(|_| !self.is_over) {
            plot.tick(now, paths);
        }
    }

    pub(crate) fn traffic_over(&mut self) {
        self.is_over = true;
    }

    pub(crate) fn happened(&mut self, event: &EventSpec) {
        if let Some(plot) = self.plot.as_mut().filter(|_| !self.is_over) {
            plot.happened(event);
        }
    }
}
