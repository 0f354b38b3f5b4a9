//! Rate and delay of a link that change as they were recorded, or as the steps of a scenario say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use polytcp_netem::{MahimahiError, Trace, TraceError, TraceStep};
use serde::{Deserialize, Serialize};

use crate::quantity::{Rate, Span};

/// What a direction of a link follows, over and over: the steps, or the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSpec {
    /// A recording in mahimahi's format, named from the folder of the scenario file: a line for each 1,500 octets
    /// that may leave, with the time in milliseconds. [`Scenario::read`](super::Scenario::read) puts its steps in
    /// its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The steps; the first one at `0s`, and from one to the next at least `1ms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<TraceStepSpec>,
    /// When the first step comes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
}

/// What a link is like from a time on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceStepSpec {
    /// When, since the trace began.
    pub at: Span,
    /// Default that nothing leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// One way. Default that of the link's shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
}

impl TraceSpec {
    /// As a link follows it; `delay` is that of steps which have none.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub(crate) fn trace(&self, delay: Duration) -> Result<Trace, String> {
        if let Some(file) = &self.file {
            return Err(format!(
                "trace: `{}` was not read, as only a scenario file can name it",
                file.display()
            ));
        }
        let every = self.every.ok_or("trace: it needs `every`, after which its steps begin again")?;
        if self.steps.iter().all(|step| step.rate.is_none()) {
            return Err("trace: no step has a rate".to_owned());
        }
        let steps: Vec<TraceStep> = self.steps.iter().map(|step| step.step(delay)).collect();
        Trace::new(steps, every.duration()).map_err(|fault| match fault {
            TraceError::NoStart => "trace: the first step is at 0s".to_owned(),
            TraceError::TooClose(step) if step == self.steps.len() => {
                "trace: `every` is at least 1ms after the last step".to_owned()
            }
            TraceError::TooClose(step) => {
                format!("trace: step {} is at least 1ms after the one before it", step + 1)
            }
        })
    }

    /// Puts the steps of the file, if there is one, in its place. It is looked for in `folder`.
    ///
    /// # Errors
    /// One line that names the file, and the line in it.
    pub(super) fn resolve(&mut self, folder: &Path) -> Result<(), String> {
        let Some(file) = self.file.take() else { return Ok(()) };
        if !self.steps.is_empty() || self.every.is_some() {
            return Err("trace: either `file`, or `steps` and `every`".to_owned());
        }
        let path = folder.join(&file);
        let text =
            std::fs::read_to_string(&path).map_err(|fault| format!("trace: {}: {fault}", path.display()))?;
        let at = |line: usize, what: &str| format!("trace: {}: line {line}: {what}", path.display());
        let trace = Trace::from_mahimahi(&text, Duration::ZERO).map_err(|fault| match fault {
            MahimahiError::NotANumber(line) => at(line, "not a whole number of milliseconds within a day"),
            MahimahiError::NotInOrder(line) => at(line, "before the time of the line above"),
            MahimahiError::Empty => format!("trace: {}: nothing leaves after time 0", path.display()),
        })?;
        let span = |time: Duration| Span(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let rate = |bits: u64| (bits > 0).then_some(Rate(bits));
        let spec = |step: &TraceStep| TraceStepSpec {
            at: span(step.at),
            rate: rate(step.rate_bits_per_sec),
            delay: None,
        };
        self.steps = trace.steps().iter().map(spec).collect();
        self.every = Some(span(trace.period()));
        Ok(())
    }
}

impl TraceStepSpec {
    fn step(&self, delay: Duration) -> TraceStep {
        TraceStep {
            at: self.at.duration(),
            rate_bits_per_sec: self.rate.map_or(0, |rate| rate.0),
            delay: self.delay.map_or(delay, Span::duration),
        }
    }
}
