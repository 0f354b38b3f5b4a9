//! `[expect]`: what has to come out of a scenario, and what did not.

use std::collections::BTreeMap;

use polytcp_proto::counters::Counters;
use serde::{Deserialize, Serialize};

use crate::quantity::{Rate, Share, Span};
use crate::report::Report;
use crate::scenario::Scenario;

/// How the connections of a scenario end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All with all their bytes, and those that asked for MPTCP have it.
    #[default]
    Complete,
    /// All with all their bytes, perhaps as plain TCP.
    CompletePerhapsTcp,
    /// Each with all its bytes or with an error that says why.
    MayFail,
}

/// What has to come out. What is not given is not judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// How connections end. Default `complete`.
    #[serde(default)]
    pub ending: Ending,
    /// At least one connection ends with this error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Some bytes arrive changed (a box rewrites payload and nobody notices); else none may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<bool>,
    /// Bytes may arrive changed at an end that fell back to TCP, or whose MP_FAIL no answer came for before all was
    /// over: there a wrong checksum is told and no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged_as_tcp: Option<bool>,
    /// All directions together, from the first connection to the end of the last, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput_min: Option<Rate>,
    /// The same at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput_max: Option<Rate>,
    /// The longest pause of delivery of a direction, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_max: Option<Span>,
    /// Of all latencies 99 % are at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_max: Option<Span>,
    /// Share of the payload that a link carries, at least.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub share_min: BTreeMap<String, Share>,
    /// Share of the payload that a link carries, at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub share_max: BTreeMap<String, Share>,
    /// Counters, summed over the hosts, under nstat's names: at least.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counter_min: BTreeMap<String, u64>,
    /// Counters, summed over the hosts: at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counter_max: BTreeMap<String, u64>,
}

impl Expect {
    pub(crate) fn check(&self, scenario: &Scenario) -> Result<(), String> {
        for name in self.share_min.keys().chain(self.share_max.keys()) {
            scenario.link(name).map_err(|fault| format!("expect: {fault}"))?;
        }
        for name in self.counter_min.keys().chain(self.counter_max.keys()) {
            if Counters::default().get(name).is_none() {
                return Err(format!("expect: there is no counter `{name}`"));
            }
        }
        Ok(())
    }

    /// What did not come out as expected, a line each.
    pub fn judge(&self, report: &Report) -> Vec<String> {
        let Self {
            ending,
            error,
            damaged,
            damaged_as_tcp,
            goodput_min,
            goodput_max,
            pause_max,
            latency_p99_max,
            share_min,
            share_max,
            counter_min,
            counter_max,
        } = self;
        if !report.violations.is_empty() {
            // The run ended there: nothing else is to be judged.
            return report.violations.clone();
        }
        let was_told = report.counter("MPTcpExtMPFailTx") > 0;
        let mut faults = Vec::new();
        for end in &report.ends {
            let as_planned = end.outcome.is_complete() || end.outcome.is_planned_abort();
            if !end.outcome.is_over() {
                faults.push(format!("{}: unfinished, {} of {} octets read", end.name, end.read, end.to_read));
            } else if *ending != Ending::MayFail && !as_planned {
                faults.push(format!("{}: {}", end.name, end.outcome));
            }
            if *ending == Ending::Complete && end.fell_back {
                faults.push(format!("{}: fell back to TCP", end.name));
            }
            if let Some(at) = end.damaged_at
                && *damaged != Some(true)
                && !(*damaged_as_tcp == Some(true) && (report.has_fallen_back(end) || was_told))
            {
                faults.push(format!("{}: octet {at} of the stream is wrong", end.name));
            }
        }
        if *damaged == Some(true) && report.ends.iter().all(|end| end.damaged_at.is_none()) {
            faults.push("no octet was damaged".to_owned());
        }
        if let Some(error) = error
            && !report.ends.iter().any(|end| end.outcome.to_string() == *error)
        {
            faults.push(format!("no connection ended with `{error}`"));
        }
        let goodput = report.goodput_bits_per_sec;
        if let Some(min) = goodput_min.filter(|min| goodput < min.0) {
            faults.push(format!("goodput {goodput} bit/s is below {min}"));
        }
        if let Some(max) = goodput_max.filter(|max| goodput > max.0) {
            faults.push(format!("goodput {goodput} bit/s is above {max}"));
        }
        let pause = report.longest_pause();
        if let Some(max) = pause_max.filter(|max| pause > *max) {
            faults.push(format!("a pause of {pause} is above {max}"));
        }
        if let Some(max) = latency_p99_max.filter(|max| report.latency.p99 > *max) {
            faults.push(format!("99th percentile of latency {} is above {max}", report.latency.p99));
        }
        for link in &report.links {
            if let Some(min) = share_min.get(&link.name).filter(|min| link.share < **min) {
                faults.push(format!("link {} carries {}, below {min}", link.name, link.share));
            }
            if let Some(max) = share_max.get(&link.name).filter(|max| link.share > **max) {
                faults.push(format!("link {} carries {}, above {max}", link.name, link.share));
            }
        }
        for (name, min) in counter_min {
            let value = report.counter(name);
            if value < *min {
                faults.push(format!("{name} is {value}, below {min}"));
            }
        }
        for (name, max) in counter_max {
            let value = report.counter(name);
            if value > *max {
                faults.push(format!("{name} is {value}, above {max}"));
            }
        }
        faults
    }
}
