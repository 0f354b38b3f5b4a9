//! The rounds: every contestant in turn, first one that compares every octet.

use std::path::Path;
use std::sync::Arc;

use polytcp_lab::Protocol;

use super::super::Way;
use super::super::arena::{Arena, Begin, Direct, StackArena};
use super::super::cores::{Cores, Pinning};
use super::super::figures::Rounds;
use super::super::pump::{Check, Course, Load, Measured, transfer};
use super::client::RivalArena;
use super::report::{self, Report};
use super::{Output, Plan, Rival};
use crate::failure::Failure;
use crate::pattern::Pattern;
use crate::{Outcome, output, units};

/// Who competes.
enum Host<'a> {
    Own(StackArena, Begin),
    Other(RivalArena<'a>),
}

/// A contestant and what it has done.
pub(super) struct Contestant<'a> {
    pub(super) name: String,
    pub(super) protocol: &'static str,
    pub(super) paths: u8,
    host: Host<'a>,
    pub(super) up: Score,
    pub(super) down: Score,
}

/// The rounds of one contestant in one direction.
#[derive(Default)]
pub(super) struct Score {
    pub(super) gbps: Rounds,
    pub(super) cpu: Rounds,
    /// Why a rival is measured no longer.
    pub(super) failure: Option<String>,
}

pub(super) fn run(program: impl AsRef<Path>, plan: &Plan) -> Outcome {
    let cores = Pinning::choose(false)?.cores();
    let mut contestants = contestants(program.as_ref(), plan)?;
    let pattern = Pattern::shared(1);
    let mut number = 0;
    let mut measure =
        |contestant: &mut Contestant<'_>, way: Way, check: Check| -> Result<Option<f64>, Failure> {
            number += 1;
            let measured = contestant.host.transfer(number, way, plan, &pattern, check, cores);
            contestant.note(way, plan.load.size, check, measured)
        };
    for (way, index) in turns(contestants.len()) {
        measure(&mut contestants[index], way, Check::EveryOctet)?;
    }
    say(plan, "every octet compared once in each direction");
    for round in 1..=plan.rounds {
        let mut told = Vec::new();
        for (way, index) in turns(contestants.len()) {
            let contestant = &mut contestants[index];
            if contestant.score(way).failure.is_some() {
                continue;
            }
            if let Some(gbps) = measure(contestant, way, Check::LengthOnly)? {
                told.push(format!("{} {way} {gbps:.2}", contestant.name));
            }
        }
        say(plan, &format!("round {round}: {} Gbit/s", told.join(", ")));
    }
    let report = Report::new(plan, &contestants, cores);
    match plan.output {
        Output::Json => output::json(&report),
        Output::Table => {
            report::table(plan, &contestants);
            Ok(())
        }
    }
}

/// The rival is the last one.
fn contestants<'a>(program: &'a Path, plan: &Plan) -> Result<Vec<Contestant<'a>>, Failure> {
    let own = |protocol, paths, host| Contestant::new("polytcp", protocol, paths, host);
    let cc = plan.cc.as_deref();
    let mut all = Vec::new();
    if plan.rival == Rival::Smoltcp {
        let tcp = Direct { protocol: Protocol::Tcp, cc, ..Direct::new(1, plan.mtu) };
        all.push(own("TCP", 1, Host::Own(StackArena::direct(&tcp)?, Begin::AtOnce)));
    }
    let mptcp = StackArena::direct(&Direct { cc, ..Direct::new(plan.paths, plan.mtu) })?;
    all.push(own("MPTCP", plan.paths, Host::Own(mptcp, Begin::Joined)));
    let (protocol, paths) = match plan.rival {
        Rival::Smoltcp => ("TCP", 1),
        Rival::MptcpRs => ("MPTCP", plan.paths),
    };
    let host = Host::Other(RivalArena::new(plan.rival, program, paths, plan.mtu)?);
    all.push(Contestant::new(plan.rival.name(), protocol, paths, host));
    Ok(all)
}

fn turns(contestants: usize) -> impl Iterator<Item = (Way, usize)> {
    Way::BOTH.into_iter().flat_map(move |way| (0..contestants).map(move |index| (way, index)))
}

impl Host<'_> {
    fn transfer(
        &self,
        number: u16,
        way: Way,
        plan: &Plan,
        pattern: &Arc<Pattern>,
        check: Check,
        cores: Option<Cores>,
    ) -> Result<Measured, Failure> {
        let load = Load { check, ..plan.load };
        let course = match way {
            Way::Up => Course::Up,
            Way::Down => Course::Down,
        };
        match self {
            Self::Own(arena, begin) => transfer(&arena.connect_all(*begin, 1)?, course, load, pattern, cores),
            Self::Other(arena) => arena.transfer(number, way, load, pattern, cores),
        }
    }
}

impl<'a> Contestant<'a> {
    fn new(stack: &str, protocol: &'static str, paths: u8, host: Host<'a>) -> Self {
        let name = format!("{stack} {protocol}");
        Self { name, protocol, paths, host, up: Score::default(), down: Score::default() }
    }

    pub(super) fn score(&self, way: Way) -> &Score {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    /// Notes what came of a transfer: Gbit/s, or why there is none. A rival that fails is measured no longer in
    /// that direction; what fails with the stack ends the run.
    fn note(
        &mut self,
        way: Way,
        size: u64,
        check: Check,
        measured: Result<Measured, Failure>,
    ) -> Result<Option<f64>, Failure> {
        let is_rival = matches!(self.host, Host::Other(_));
        let score = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        let measured = match measured {
            Ok(measured) => measured,
            Err(Failure::Run(why)) if is_rival => {
                score.failure = Some(why);
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let gbps = units::mbps(size, measured.elapsed) / 1e3;
        if check == Check::LengthOnly {
            let gib = size as f64 / (1u64 << 30) as f64;
            score.gbps.add(gbps);
            score.cpu.add(measured.client_cpu.as_secs_f64() / gib);
        }
        Ok(Some(gbps))
    }
}

fn say(plan: &Plan, text: &str) {
    if plan.output == Output::Table {
        output::line(text);
    }
}
