//! What the rounds came to, for people and as JSON.

use serde::Serialize;

use super::super::Way;
use super::super::arena::KERNEL_CC;
use super::super::cores::Cores;
use super::super::figures::{Series, ratio};
use super::contest::{Contestant, Score};
use super::{Plan, Rival};
use crate::{output, units};

/// The JSON object.
#[derive(Serialize)]
pub(super) struct Report {
    peer: Rival,
    mtu: u16,
    size: u64,
    write: usize,
    /// The stack's.
    cc: String,
    kernel_cc: &'static str,
    rounds: u32,
    /// Each side on a core of its own.
    pinned: bool,
    /// One round of each figure compared every octet.
    compared: bool,
    contestants: Vec<Row>,
}

/// A contestant.
#[derive(Serialize)]
struct Row {
    name: String,
    protocol: &'static str,
    paths: u8,
    up: Figure,
    down: Figure,
}

/// One direction.
#[derive(Serialize)]
struct Figure {
    gbps: Series,
    /// Of the client's side.
    cpu_seconds_per_gib: Series,
    /// The medians by the rival's one; 0 where it has none.
    ratio: f64,
    /// Why there are fewer rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl Report {
    pub(super) fn new(plan: &Plan, contestants: &[Contestant<'_>], cores: Option<Cores>) -> Self {
        let rival = contestants.last();
        let figure = |contestant: &Contestant<'_>, way| {
            let score = contestant.score(way);
            Figure {
                gbps: score.gbps.series(),
                cpu_seconds_per_gib: score.cpu.series(),
                ratio: units::rounded(ratio_to(rival, score, way)),
                failure: score.failure.clone(),
            }
        };
        let row = |contestant: &Contestant<'_>| Row {
            name: contestant.name.clone(),
            protocol: contestant.protocol,
            paths: contestant.paths,
            up: figure(contestant, Way::Up),
            down: figure(contestant, Way::Down),
        };
        Self {
            peer: plan.rival,
            mtu: plan.mtu,
            size: plan.load.size,
            write: plan.load.write_bytes,
            cc: cc(plan),
            kernel_cc: KERNEL_CC,
            rounds: plan.rounds,
            pinned: cores.is_some(),
            compared: true,
            contestants: contestants.iter().map(row).collect(),
        }
    }
}

/// Prints a line for each contestant and direction.
pub(super) fn table(plan: &Plan, contestants: &[Contestant<'_>]) {
    let rival = contestants.last();
    output::line("");
    output::line("                   paths  way    Gbit/s (least..most)      ratio  CPU s/GiB");
    for way in Way::BOTH {
        for contestant in contestants {
            let Contestant { name, paths, .. } = contestant;
            let score = contestant.score(way);
            let way_text = way.to_string();
            output::line(&match &score.failure {
                Some(why) => format!("{name:<18} {paths:>5}  {way_text:<5}  none: {why}"),
                None => format!(
                    "{name:<18} {paths:>5}  {way_text:<5}  {:<24} {:>6.2} {:>10.2}",
                    range(score),
                    ratio_to(rival, score, way),
                    score.cpu.median(),
                ),
            });
        }
    }
    output::line("");
    output::line(&format!(
        "medians of {} rounds of {} in writes of {}, MTU {}, with a kernel over TUN devices; ratio to {}; polytcp with \
         {}, kernel with {KERNEL_CC}; CPU time of the client's side",
        plan.rounds,
        units::bytes(plan.load.size),
        units::bytes(plan.load.write_bytes as u64),
        plan.mtu,
        plan.rival.name(),
        cc(plan),
    ));
}

fn range(Score { gbps, .. }: &Score) -> String {
    format!("{:.2} ({:.2}..{:.2})", gbps.median(), gbps.worst(), gbps.best())
}

/// Of the medians; 0 where the rival has none.
fn ratio_to(rival: Option<&Contestant<'_>>, score: &Score, way: Way) -> f64 {
    rival.map_or(0.0, |rival| ratio(&score.gbps, &rival.score(way).gbps))
}

fn cc(plan: &Plan) -> String {
    plan.cc.clone().unwrap_or_else(|| KERNEL_CC.to_owned())
}
