//! Slow links: goodput against their sum, the pause of delivery when the fastest is cut, and short flows.
//!
//! - [`flows`]: one short flow. [`report`]: what was found, for people and as JSON.

mod flows;
mod report;

use std::time::{Duration, Instant};

use self::flows::{FlowScore, flow};
use self::report::{FlowReport, Report, Score, WayReport};
use super::arena::{Arena, Begin, KernelArena, Plan, StackArena, TwoWay, kernel_cc_like};
use super::flood::flood;
use super::{Way, parse_cc, parse_sched};
use crate::failure::Failure;
use crate::link_spec::RatedLink;
use crate::pattern::Pattern;
use crate::{Outcome, output, units};

/// How long the cut is watched: longer than the kernel's slowest return seen so far, 1.4 s.
const CUT: Duration = Duration::from_secs(3);

/// Goodput against the sum of emulated links, the longest pause when the fastest is cut, and how long short flows take.
///
/// The stack with the kernel, and the kernel with the kernel over the same links, in alternating rounds.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// A link, the same in both directions: rate=RATE[,delay=ONE-WAY][,jitter=TIME][,loss=PERCENT][,queue=BYTES]; no
    /// delay, jitter and loss where none is named, and a queue of one round trip. Twice or more, up to 8 times. The connection begins on the first.
    #[arg(long = "link", value_name = "LINK",
          default_values = ["rate=20mbit,delay=20ms", "rate=10mbit,delay=50ms"])]
    links: Vec<RatedLink>,
    /// The stack's congestion control, and the kernel's if it has one of that name [default: cubic].
    #[arg(long, value_name = "NAME", value_parser = parse_cc)]
    cc: Option<String>,
    /// The stack's packet schedulers, each measured beside the kernel's, which is its default one.
    #[arg(long = "sched", value_name = "NAME", value_delimiter = ',', default_values = ["default"], value_parser = parse_sched)]
    scheds: Vec<String>,
    /// Measured rounds, 1 to 100.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long goodput is measured in each transfer, up to 600; the cut comes after it. 0 leaves both out.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=600))]
    seconds: u64,
    /// Short flows of each size and direction in a round, each a connection of its own, 0 to 1000.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=1_000))]
    flows: u32,
    /// Bytes of the short flows, with a suffix k or M of 1024; from 1 to 16M.
    #[arg(long = "flow", value_name = "BYTES", value_delimiter = ',', default_values = ["64k", "1M"], value_parser = parse_flow)]
    flow_bytes: Vec<usize>,
    /// What the links' losses follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints one JSON object to stdout and nothing else.
    #[arg(long)]
    json: bool,
}

fn parse_flow(text: &str) -> Result<usize, String> {
    let size = units::parse_size(text)?;
    if (1..=16 << 20).contains(&size) {
        Ok(size as usize)
    } else {
        Err("a short flow has 1 to 16M".to_owned())
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    if !(2..=8).contains(&args.links.len()) {
        return Err(Failure::setup("a comparison needs 2 to 8 links: give --link once for each"));
    }
    let links: Vec<_> = args.links.iter().map(|link| TwoWay::from(link.config)).collect();
    let kernel_cc = kernel_cc_like(args.cc.as_deref().unwrap_or("cubic"))?;
    let bench = Bench { args, links, kernel_cc };
    let sum = args.links.iter().map(|link| link.rate_bits_per_sec.get() as f64 / 1e6).sum::<f64>();
    let contestants = args.scheds.len() + 1;
    let mut floods = Way::BOTH.map(|_| Score::of(contestants));
    let mut flows: Vec<_> = Way::BOTH
        .into_iter()
        .flat_map(|way| args.flow_bytes.iter().map(move |bytes| (way, *bytes)))
        .map(|(way, bytes)| (way, bytes, (0..contestants).map(|_| FlowScore::default()).collect::<Vec<_>>()))
        .collect();
    for round in 1..=args.rounds {
        for (way, scores) in Way::BOTH.into_iter().zip(&mut floods) {
            bench.flood_round(round, way, scores)?;
        }
        bench.flow_round(round, &mut flows)?;
    }
    let ways = floods.map(|scores| (args.seconds > 0).then(|| WayReport::new(&args.scheds, &scores, sum)));
    let flows = if args.flows == 0 { Vec::new() } else { flows };
    let flows = flows.iter().map(|(way, bytes, scores)| FlowReport::new(*way, *bytes, &args.scheds, scores));
    let report = Report::new(args, &bench.kernel_cc, sum, ways, flows.collect());
    if args.json {
        return output::json(&report);
    }
    report.tell();
    Ok(())
}

/// What all rounds share.
struct Bench<'a> {
    args: &'a Args,
    links: Vec<TwoWay>,
    kernel_cc: String,
}

impl Bench<'_> {
    /// New hosts of every contestant, the kernel's last. New each time: links are cut, and losses follow from the round.
    fn arenas(&self, round: u32) -> Result<Vec<Box<dyn Arena>>, Failure> {
        let plan = Plan {
            links: &self.links,
            seed: self.args.seed.wrapping_add(u64::from(round) << 8),
            cc: self.args.cc.as_deref(),
            sched: None,
            kernel_cc: &self.kernel_cc,
            capture: None,
        };
        let mut arenas: Vec<Box<dyn Arena>> = Vec::new();
        for sched in &self.args.scheds {
            arenas.push(Box::new(StackArena::emulated(&Plan { sched: Some(sched), ..plan })?));
        }
        arenas.push(Box::new(KernelArena::emulated(&plan)?));
        Ok(arenas)
    }

    fn flood_round(&self, round: u32, way: Way, scores: &mut [Score]) -> Result<(), Failure> {
        if self.args.seconds == 0 {
            return Ok(());
        }
        let fastest = (0..self.links.len())
            .max_by_key(|index| self.args.links[*index].rate_bits_per_sec)
            .expect("there are two links or more");
        let mut told = Vec::new();
        for ((arena, score), name) in self.arenas(round)?.iter().zip(scores).zip(self.names()) {
            let (goodput, pause) = measure(&**arena, way, fastest, self.args.seconds)?;
            score.add(goodput, pause);
            told.push(format!("{name} {goodput:.1} Mbit/s pause {:.0} ms", units::millis(pause)));
        }
        self.say(&format!("round {round} {way}: {}", told.join(", ")));
        Ok(())
    }

    /// The contestants' flows alternate, so that what else the machine does meets them all.
    fn flow_round(&self, round: u32, flows: &mut [(Way, usize, Vec<FlowScore>)]) -> Result<(), Failure> {
        if self.args.flows == 0 {
            return Ok(());
        }
        let (arenas, pattern) = (self.arenas(round)?, Pattern::new(1));
        for (way, bytes, scores) in flows {
            let mut took = vec![Vec::new(); arenas.len()];
            for _ in 0..self.args.flows {
                for (arena, took) in arenas.iter().zip(&mut took) {
                    took.push(flow(&**arena, *way, *bytes, &pattern)?);
                }
            }
            scores.iter_mut().zip(&took).for_each(|(score, took)| score.add(took));
        }
        self.say(&format!("round {round}: short flows done"));
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let stack = self.args.scheds.iter().map(|sched| format!("polytcp {sched}"));
        stack.chain(["kernel".to_owned()])
    }

    fn say(&self, text: &str) {
        if !self.args.json {
            output::line(text);
        }
    }
}

/// Goodput in Mbit/s, then the longest pause once the fastest link is cut.
fn measure(arena: &dyn Arena, way: Way, fastest: usize, seconds: u64) -> Result<(f64, Duration), Failure> {
    let control = arena.link(fastest).ok_or_else(|| Failure::run("there is no link to cut"))?;
    flood(arena, way, Begin::Joined, None, |watch| {
        let start = Instant::now();
        watch.wait(Duration::from_secs(seconds));
        let goodput = units::mbps(watch.flow.received(), start.elapsed());
        control.cut_both();
        watch.outage.begin();
        watch.wait(CUT);
        (goodput, watch.flow.longest_pause_so_far(watch.outage))
    })
}
