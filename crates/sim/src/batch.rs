//! Many random worlds in parallel, what occurred in them, and which of them failed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::coverage::Coverage;
use crate::expect::Ending;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::watch::Watchers;
use crate::{random, run};

/// Counters that tell why MPTCP was given up.
const FALLBACKS: &[&str] = &[
    "MPTcpExtMPCapableFallbackACK",
    "MPTcpExtMPCapableFallbackSYNACK",
    "MPTcpExtMPCapableSYNTXDrop",
    "MPTcpExtMPCapableSYNTXDisabled",
    "MPTcpExtMPCapableDataFallback",
    "MPTcpExtDSSCorruptionFallback",
    "MPTcpExtDSSCorruptionReset",
    "MPTcpExtDssFallback",
    "MPTcpExtInfiniteMapTx",
    "MPTcpExtMPFailTx",
    "MPTcpExtFallbackFailed",
    "MPTcpExtBlackhole",
];

/// Counters that tell how losses were repaired.
const RECOVERIES: &[&str] = &[
    "TcpExtTCPSackRecovery",
    "TcpExtTCPRenoRecovery",
    "TcpExtTCPTimeouts",
    "TcpExtTCPLossProbes",
    "TcpExtTCPLossProbeRecovery",
    "TcpExtTCPSynRetrans",
    "TcpExtTCPFullUndo",
    "TcpExtTCPDSACKUndo",
    "TcpExtTCPSpuriousRTOs",
    "TcpExtTCPLostRetransmit",
    "TcpExtTCPWinProbe",
    "TcpExtOfoPruned",
    "MPTcpExtMPTCPRetrans",
    "MPTcpExtSubflowStale",
    "MPTcpExtSubflowRecover",
];

/// What occurred in a batch of random worlds: in how many of them, each.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// How many worlds.
    pub worlds: u64,
    /// Virtual time of their traffic, in seconds.
    pub virtual_seconds: u64,
    /// Packets that hosts sent.
    pub packets: u64,
    /// By label.
    pub labels: BTreeMap<&'static str, u64>,
    /// By kind of middlebox.
    pub boxes: BTreeMap<&'static str, u64>,
    /// By kind of traffic.
    pub loads: BTreeMap<&'static str, u64>,
    /// By reason why MPTCP was given up.
    pub fallbacks: BTreeMap<&'static str, u64>,
    /// By reason of a reset of a subflow (RFC 8684 §3.6).
    pub reset_reasons: BTreeMap<u32, u64>,
    /// By way of recovery.
    pub recoveries: BTreeMap<&'static str, u64>,
    /// By how ends of connections ended; these are ends, not worlds.
    pub endings: BTreeMap<String, u64>,
    /// What there is to occur, and how often it did.
    pub coverage: Coverage,
    /// Worlds that did not come out as they must.
    pub failures: Vec<BadWorld>,
}

/// A world that did not come out as it must.
#[derive(Clone, Debug, Serialize)]
pub struct BadWorld {
    /// Gives the world again.
    pub seed: u64,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// What is kept of a run.
struct Summary {
    scenario: Scenario,
    report: Option<Report>,
    faults: Vec<String>,
}

fn examine(seed: u64) -> Summary {
    let scenario = random::world(seed);
    let (report, faults) = judge(&scenario);
    Summary { scenario, report, faults }
}

/// Runs a scenario and says what is wrong with what comes out; a panic is a fault like others.
pub fn judge(scenario: &Scenario) -> (Option<Report>, Vec<String>) {
    match catch_unwind(AssertUnwindSafe(|| run(scenario, Watchers::default()))) {
        Ok(Ok((report, _))) => {
            let faults = scenario.expect.judge(&report);
            (Some(report), faults)
        }
        Ok(Err(fault)) => (None, vec![fault]),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a text");
            (None, vec![format!("panic: {text}")])
        }
    }
}

/// Runs the worlds of `seeds` on `jobs` threads. What comes out does not depend on how many those are.
pub fn run_random(seeds: Range<u64>, jobs: usize) -> (Tally, Vec<(u64, u64)>) {
    let next = AtomicU64::new(seeds.start);
    let done: Mutex<BTreeMap<u64, Summary>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let summary = examine(seed);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(seed, summary);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut tally = Tally::default();
    let mut hashes = Vec::new();
    for (seed, summary) in done {
        hashes.push((seed, summary.report.as_ref().map_or(0, |report| report.hash)));
        tally.add(seed, summary);
    }
    (tally, hashes)
}

impl Tally {
    fn add(&mut self, seed: u64, summary: Summary) {
        let Summary { scenario, report, faults } = summary;
        self.worlds += 1;
        let label = match scenario.expect.ending {
            Ending::Complete => "must complete",
            Ending::CompletePerhapsTcp => "must complete, perhaps as TCP",
            Ending::MayFail => "may fail",
        };
        *self.labels.entry(label).or_default() += 1;
        let boxes = scenario.links.iter().flat_map(|link| link.boxes.iter().chain(&link.far_boxes));
        count(&mut self.boxes, boxes.map(|spec| spec.kind()));
        count(&mut self.loads, scenario.traffic.iter().map(|traffic| traffic.load.kind()));
        if let Some(report) = report {
            self.virtual_seconds += report.took.0 / 1_000_000_000;
            self.packets += report.packets;
            let seen = |name: &&&'static str| report.counter(name) > 0;
            count(&mut self.fallbacks, FALLBACKS.iter().filter(seen).copied());
            count(&mut self.recoveries, RECOVERIES.iter().filter(seen).copied());
            count(&mut self.reset_reasons, report.reset_reasons.keys().copied());
            self.coverage.add(&scenario, &report);
            for end in &report.ends {
                *self.endings.entry(end.outcome.to_string()).or_default() += 1;
            }
        }
        if !faults.is_empty() {
            self.failures.push(BadWorld { seed, faults });
        }
    }

    /// How many worlds there are of each label, and the time that they lasted.
    fn write_shares(&self, out: &mut String) {
        let share = |count: u64| (count * 100 + self.worlds / 2) / self.worlds.max(1);
        let labels =
            self.labels.iter().map(|(label, count)| format!("{label} {count} ({} %)", share(*count)));
        let labels: Vec<String> = labels.collect();
        let _ = writeln!(out, "{} s of virtual time; {}", self.virtual_seconds, labels.join(", "));
    }

    /// The table for people: the failures, then what was covered.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{} worlds, {} s of virtual time, {} packets\n",
            self.worlds, self.virtual_seconds, self.packets
        );
        section(&mut out, "worlds", &self.labels);
        section(&mut out, "worlds with middlebox", &self.boxes);
        section(&mut out, "worlds with traffic", &self.loads);
        section(&mut out, "worlds with fallback", &self.fallbacks);
        section(&mut out, "worlds with reset reason", &self.reset_reasons);
        section(&mut out, "worlds with recovery", &self.recoveries);
        section(&mut out, "ends of connections", &self.endings);
        if self.failures.is_empty() {
            out.push_str("violations: none\n");
        }
        for BadWorld { seed, faults } in &self.failures {
            let _ = writeln!(out, "violation: seed {seed}");
            for fault in faults.iter().take(FAULTS_SHOWN) {
                let _ = writeln!(out, "    {fault}");
            }
        }
        self.coverage.write(&mut out);
        self.write_shares(&mut out);
        out
    }
}

/// Lines of a bad world that are printed.
const FAULTS_SHOWN: usize = 4;

/// Counts each different item once.
fn count<K: Ord>(into: &mut BTreeMap<K, u64>, items: impl Iterator<Item = K>) {
    for item in items.collect::<std::collections::BTreeSet<K>>() {
        *into.entry(item).or_default() += 1;
    }
}

fn section<K: std::fmt::Display>(out: &mut String, title: &str, counts: &BTreeMap<K, u64>) {
    let _ = writeln!(out, "{title}:");
    if counts.is_empty() {
        out.push_str("       -\n");
    }
    for (name, count) in counts {
        let _ = writeln!(out, "  {count:6}  {name}");
    }
}
