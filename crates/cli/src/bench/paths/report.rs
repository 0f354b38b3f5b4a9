//! What slow links showed, for people and as JSON.

use std::time::Duration;

use serde::Serialize;

use super::Args;
use super::flows::FlowScore;
use crate::bench::Way;
use crate::bench::figures::{Rounds, Series, ratio};
use crate::link_spec::RatedLink;
use crate::{output, units};

/// The rounds of one contestant in one direction.
#[derive(Debug, Default)]
pub(super) struct Score {
    goodput: Rounds,
    pause: Rounds,
}

/// The JSON object.
#[derive(Serialize)]
pub(super) struct Report {
    links: Vec<LinkReport>,
    link_sum_mbps: f64,
    cc: String,
    kernel_cc: String,
    rounds: u32,
    seconds: u64,
    /// Absent where no goodput was measured.
    up: Option<WayReport>,
    down: Option<WayReport>,
    flows_per_round: u32,
    flows: Vec<FlowReport>,
}

#[derive(Serialize)]
struct LinkReport {
    rate_mbps: f64,
    delay_ms: f64,
    loss_percent: f64,
}

/// One direction.
#[derive(Serialize)]
pub(super) struct WayReport {
    /// With the scheduler that was asked for first.
    polytcp: Contestant,
    /// With each further one.
    further: Vec<Contestant>,
    kernel: Contestant,
    /// Of the goodputs' medians, with the first scheduler.
    ratio: f64,
}

#[derive(Serialize)]
struct Contestant {
    sched: String,
    goodput_mbps: Series,
    /// The median's part of the links' sum.
    share_of_sum: f64,
    /// Up to 3 s, which is how long the cut is watched.
    longest_pause_ms: Series,
    /// To the kernel's, of the goodputs' medians.
    ratio: f64,
}

/// Flows of one size and direction, from the client's first packet to the last octet.
#[derive(Serialize)]
pub(super) struct FlowReport {
    way: String,
    bytes: usize,
    polytcp: Vec<FlowContestant>,
    kernel: FlowContestant,
}

#[derive(Serialize)]
struct FlowContestant {
    sched: String,
    /// Of each round.
    median_ms: Series,
    /// Of all rounds.
    p95_ms: f64,
    /// To the kernel's, of the medians.
    ratio: f64,
    p95_ratio: f64,
}

/// The scheduler of the kernels here.
const KERNEL_SCHED: &str = "default";

impl Score {
    pub(super) fn of(contestants: usize) -> Vec<Self> {
        (0..contestants).map(|_| Self::default()).collect()
    }

    pub(super) fn add(&mut self, goodput: f64, pause: Duration) {
        self.goodput.add(goodput);
        self.pause.add(units::millis(pause));
    }
}

impl Report {
    pub(super) fn new(
        args: &Args,
        kernel_cc: &str,
        sum: f64,
        [up, down]: [Option<WayReport>; 2],
        flows: Vec<FlowReport>,
    ) -> Self {
        Self {
            links: args.links.iter().map(LinkReport::of).collect(),
            link_sum_mbps: units::rounded(sum),
            cc: args.cc.as_deref().unwrap_or("cubic").to_owned(),
            kernel_cc: kernel_cc.to_owned(),
            rounds: args.rounds,
            seconds: args.seconds,
            up,
            down,
            flows_per_round: args.flows,
            flows,
        }
    }

    pub(super) fn tell(&self) {
        let ways = [("up", &self.up), ("down", &self.down)];
        if self.up.is_some() {
            output::line("");
            output::line(
                "                            goodput Mbit/s             of sum  ratio  longest pause ms",
            );
        }
        ways.into_iter().filter_map(|(name, way)| Some((name, way.as_ref()?))).for_each(tell_way);
        if !self.flows.is_empty() {
            output::line("");
            output::line(
                "short flows                              median ms [rounds]        ratio  p95 ms    ratio",
            );
        }
        self.flows.iter().for_each(tell_flow);
        output::line("");
        let links: Vec<_> = self.links.iter().map(LinkReport::to_string).collect();
        output::line(&format!(
            "medians [range] of {} rounds of {} s over {}; polytcp with {}, kernel with {}",
            self.rounds,
            self.seconds,
            links.join(" and "),
            self.cc,
            self.kernel_cc,
        ));
    }
}

fn tell_way((name, way): (&str, &WayReport)) {
    let stack = std::iter::once(&way.polytcp).chain(&way.further).map(|row| ("polytcp", row));
    for (whose, row) in stack.chain([("kernel", &way.kernel)]) {
        output::line(&format!(
            "{name:<5} {whose:<8} {:<12} {:<26} {:>4.0} %  {:<6.2} {}",
            row.sched,
            ranged(&row.goodput_mbps, 1),
            row.share_of_sum * 100.0,
            row.ratio,
            ranged(&row.longest_pause_ms, 0),
        ));
    }
}

fn tell_flow(flow: &FlowReport) {
    let stack = flow.polytcp.iter().map(|row| ("polytcp", row));
    for (whose, row) in stack.chain([("kernel", &flow.kernel)]) {
        output::line(&format!(
            "{:<5} {:<12} {whose:<8} {:<12} {:<25} {:<6.2} {:<9.1} {:.2}",
            flow.way,
            units::bytes(flow.bytes as u64),
            row.sched,
            ranged(&row.median_ms, 1),
            row.ratio,
            row.p95_ms,
            row.p95_ratio,
        ));
    }
}

fn ranged(series: &Series, digits: usize) -> String {
    let (least, most) = series.range();
    format!("{:.digits$} [{least:.digits$}..{most:.digits$}]", series.median())
}

impl WayReport {
    /// Of scores of which the last one is the kernel's.
    pub(super) fn new(scheds: &[String], scores: &[Score], sum: f64) -> Self {
        let (kernel, stack) = scores.split_last().expect("the kernel takes part");
        let contestant = |sched: &str, score: &Score| Contestant {
            sched: sched.to_owned(),
            goodput_mbps: score.goodput.series(),
            share_of_sum: units::rounded(score.goodput.median() / sum),
            longest_pause_ms: score.pause.series(),
            ratio: units::rounded(ratio(&score.goodput, &kernel.goodput)),
        };
        let mut rows = scheds.iter().zip(stack).map(|(sched, score)| contestant(sched, score));
        let polytcp = rows.next().expect("one scheduler takes part");
        let further = rows.collect();
        Self { ratio: polytcp.ratio, polytcp, further, kernel: contestant(KERNEL_SCHED, kernel) }
    }
}

impl FlowReport {
    /// Of scores of which the last one is the kernel's.
    pub(super) fn new(way: Way, bytes: usize, scheds: &[String], scores: &[FlowScore]) -> Self {
        let (kernel, stack) = scores.split_last().expect("the kernel takes part");
        let contestant = |sched: &str, score: &FlowScore| FlowContestant {
            sched: sched.to_owned(),
            median_ms: score.medians.series(),
            p95_ms: units::rounded(score.p95()),
            ratio: units::rounded(ratio(&score.medians, &kernel.medians)),
            p95_ratio: units::rounded(score.p95() / kernel.p95().max(f64::MIN_POSITIVE)),
        };
        Self {
            way: way.to_string(),
            bytes,
            polytcp: scheds.iter().zip(stack).map(|(sched, score)| contestant(sched, score)).collect(),
            kernel: contestant(KERNEL_SCHED, kernel),
        }
    }
}

impl LinkReport {
    fn of(link: &RatedLink) -> Self {
        Self {
            rate_mbps: link.rate_bits_per_sec.get() as f64 / 1e6,
            delay_ms: units::millis(link.config.delay),
            loss_percent: f64::from(link.config.loss.parts_per_million()) / 1e4,
        }
    }
}

impl std::fmt::Display for LinkReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} Mbit/s {} ms", self.rate_mbps, self.delay_ms)?;
        if self.loss_percent > 0.0 {
            write!(f, " {} % lost", self.loss_percent)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_is_told_with_its_own_loss() {
        let told = |text: &str| LinkReport::of(&text.parse().expect("well-formed"));
        let lossy = told("rate=20mbit,delay=20ms,loss=0.5%");
        assert_eq!(lossy.to_string(), "20 Mbit/s 20 ms 0.5 % lost");
        assert_eq!((lossy.rate_mbps, lossy.delay_ms, lossy.loss_percent), (20.0, 20.0, 0.5));
        assert_eq!(told("rate=10mbit,delay=50ms").to_string(), "10 Mbit/s 50 ms");
    }
}
