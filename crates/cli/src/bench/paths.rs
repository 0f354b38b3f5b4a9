//! Slow links: goodput against their sum, and the pause of delivery when the fastest is cut.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::arena::{Arena, Begin, KernelArena, Plan, StackArena, TwoWay, kernel_cc_like};
use super::figures::{Rounds, Series, ratio};
use super::flood::flood;
use super::{Way, parse_cc};
use crate::failure::Failure;
use crate::link_spec::RatedLink;
use crate::{Outcome, output, units};

/// How long the cut is watched: longer than the kernel's slowest return seen so far, 1.4 s.
const CUT: Duration = Duration::from_secs(3);

/// Goodput against the sum of emulated links, and the longest pause when the fastest is cut.
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
    /// Measured rounds, 1 to 100.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long goodput is measured in each transfer, 1 to 600; the cut comes after it.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// What the links' losses follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints one JSON object to stdout and nothing else.
    #[arg(long)]
    json: bool,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    links: Vec<LinkReport>,
    link_sum_mbps: f64,
    cc: String,
    kernel_cc: String,
    rounds: u32,
    seconds: u64,
    up: Figure,
    down: Figure,
}

#[derive(Serialize)]
struct LinkReport {
    rate_mbps: f64,
    delay_ms: f64,
    loss_percent: f64,
}

#[derive(Serialize)]
struct Figure {
    polytcp: Contestant,
    kernel: Contestant,
    /// Of the goodputs' medians.
    ratio: f64,
}

#[derive(Serialize)]
struct Contestant {
    goodput_mbps: Series,
    /// The median's part of the links' sum.
    share_of_sum: f64,
    /// Up to 3 s, which is how long the cut is watched.
    longest_pause_ms: Series,
}

/// The rounds of one contestant in one direction.
#[derive(Default)]
struct Score {
    goodput: Rounds,
    pause: Rounds,
}

pub(super) fn run(args: &Args) -> Outcome {
    if !(2..=8).contains(&args.links.len()) {
        return Err(Failure::setup("a comparison needs 2 to 8 links: give --link once for each"));
    }
    let links: Vec<_> = args.links.iter().map(|link| TwoWay::from(link.config)).collect();
    let reports: Vec<_> = args.links.iter().map(LinkReport::of).collect();
    let sum = reports.iter().map(|link| link.rate_mbps).sum::<f64>();
    let fastest = (0..links.len())
        .max_by_key(|index| args.links[*index].rate_bits_per_sec)
        .expect("there are two links or more");
    let cc = args.cc.as_deref().unwrap_or("cubic");
    let kernel_cc = kernel_cc_like(cc)?;
    let mut scores: [[Score; 2]; 2] = Default::default();
    for round in 1..=args.rounds {
        let seed = args.seed.wrapping_add(u64::from(round) << 8);
        let mut told = Vec::new();
        for (column, way) in Way::BOTH.into_iter().enumerate() {
            // New hosts each time: the kernel remembers what it has seen of a peer.
            let plan =
                Plan { links: &links, seed, cc: args.cc.as_deref(), kernel_cc: &kernel_cc, capture: None };
            let (stack, kernels) = (StackArena::emulated(&plan)?, KernelArena::emulated(&plan)?);
            let arenas: [&dyn Arena; 2] = [&stack, &kernels];
            for (row, arena) in arenas.into_iter().enumerate() {
                let (goodput, pause) = measure(arena, way, fastest, args.seconds)?;
                scores[row][column].goodput.add(goodput);
                scores[row][column].pause.add(units::millis(pause));
                let (name, pause) = (arena.name(), units::millis(pause));
                told.push(format!("{name} {way} {goodput:.1} Mbit/s pause {pause:.0} ms"));
            }
        }
        if !args.json {
            output::line(&format!("round {round}: {}", told.join(", ")));
        }
    }
    let [[stack_up, stack_down], [kernel_up, kernel_down]] = &scores;
    if args.json {
        return output::json(&Report {
            links: reports,
            link_sum_mbps: units::rounded(sum),
            cc: cc.to_owned(),
            kernel_cc,
            rounds: args.rounds,
            seconds: args.seconds,
            up: Figure::new(stack_up, kernel_up, sum),
            down: Figure::new(stack_down, kernel_down, sum),
        });
    }
    output::line("");
    output::line("      goodput Mbit/s (of the links' sum)            longest pause ms");
    output::line("      polytcp          kernel           ratio       polytcp  kernel");
    table_line("up", stack_up, kernel_up, sum);
    table_line("down", stack_down, kernel_down, sum);
    output::line("");
    let links: Vec<_> = reports.iter().map(LinkReport::to_string).collect();
    output::line(&format!(
        "medians of {} rounds of {} s over {}; polytcp with {cc}, kernel with {kernel_cc}",
        args.rounds,
        args.seconds,
        links.join(" and "),
    ));
    Ok(())
}

/// Goodput in Mbit/s, then the longest pause once the fastest link is cut.
fn measure(arena: &dyn Arena, way: Way, fastest: usize, seconds: u64) -> Result<(f64, Duration), Failure> {
    let control = arena.link(fastest).ok_or_else(|| Failure::run("there is no link to cut"))?;
    flood(arena, way, Begin::Joined, |watch| {
        let start = Instant::now();
        watch.wait(Duration::from_secs(seconds));
        let goodput = units::mbps(watch.flow.received(), start.elapsed());
        control.cut_both();
        watch.outage.begin();
        watch.wait(CUT);
        (goodput, watch.flow.longest_pause_so_far(watch.outage))
    })
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

impl Figure {
    fn new(stack: &Score, kernel: &Score, sum: f64) -> Self {
        Self {
            polytcp: Contestant::new(stack, sum),
            kernel: Contestant::new(kernel, sum),
            ratio: units::rounded(ratio(&stack.goodput, &kernel.goodput)),
        }
    }
}

impl Contestant {
    fn new(score: &Score, sum: f64) -> Self {
        Self {
            goodput_mbps: score.goodput.series(),
            share_of_sum: units::rounded(score.goodput.median() / sum),
            longest_pause_ms: score.pause.series(),
        }
    }
}

fn table_line(way: &str, stack: &Score, kernel: &Score, sum: f64) {
    let goodput = |score: &Score| {
        let median = score.goodput.median();
        format!("{median:.1} ({:.0} %)", median * 100.0 / sum)
    };
    output::line(&format!(
        "{way:<5} {:<16} {:<16} {:<11.2} {:<8.0} {:.0}",
        goodput(stack),
        goodput(kernel),
        ratio(&stack.goodput, &kernel.goodput),
        stack.pause.median(),
        kernel.pause.median(),
    ));
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
