//! What the grid found: a line for each cell and direction, and the whole as JSON.

use std::time::Duration;

use serde::Serialize;

use super::cells::Cell;
use crate::bench::Way;
use crate::bench::figures::{Rounds, Series, ratio};
use crate::{output, units};

/// A contestant that has less than this of the other's goodput is behind, unless their rounds overlap.
const LEVEL: f64 = 0.95;

/// The rounds of one contestant in one cell and direction.
#[derive(Debug, Default)]
pub(super) struct Score {
    goodput: Rounds,
    pause: Rounds,
}

impl Score {
    pub(super) fn add(&mut self, (goodput, pause): (f64, Duration)) {
        self.goodput.add(goodput);
        self.pause.add(units::millis(pause));
    }
}

/// The JSON object.
#[derive(Serialize)]
pub(super) struct Report {
    cc: String,
    kernel_cc: String,
    rounds: u32,
    seconds: u64,
    cells: Vec<CellReport>,
    /// Geometric mean of the ratios of all cells and directions.
    mean_ratio: f64,
}

#[derive(Serialize)]
pub(super) struct CellReport {
    name: &'static str,
    links: String,
    paths: usize,
    up: Figure,
    down: Figure,
}

#[derive(Serialize)]
struct Figure {
    link_sum_mbps: f64,
    polytcp: Contestant,
    kernel: Contestant,
    /// Of the goodputs' medians.
    ratio: f64,
    standing: Standing,
}

#[derive(Serialize)]
struct Contestant {
    goodput_mbps: Series,
    longest_pause_ms: Series,
}

/// How the stack stands to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    Ahead,
    Level,
    Behind,
}

impl Standing {
    /// Apart by more than 5 %, and no round of the slower one as good as one of the faster one.
    fn of(stack: &Rounds, kernel: &Rounds) -> Self {
        let clearly_below = |a: &Rounds, b: &Rounds| a.median() < LEVEL * b.median() && a.best() < b.worst();
        if clearly_below(stack, kernel) {
            Self::Behind
        } else if clearly_below(kernel, stack) {
            Self::Ahead
        } else {
            Self::Level
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Ahead => "ahead",
            Self::Level => "level",
            Self::Behind => "behind",
        }
    }
}

impl Report {
    pub(super) fn new(cells: Vec<CellReport>, cc: &str, kernel_cc: &str, rounds: u32, seconds: u64) -> Self {
        let ratios: Vec<_> = cells.iter().flat_map(|cell| [cell.up.ratio, cell.down.ratio]).collect();
        let mean_ratio = units::rounded(geometric_mean(&ratios));
        Self { cc: cc.to_owned(), kernel_cc: kernel_cc.to_owned(), rounds, seconds, cells, mean_ratio }
    }

    pub(super) fn tell_end(&self) {
        let Self { cc, kernel_cc, rounds, seconds, cells, mean_ratio } = self;
        let figures = || cells.iter().flat_map(|cell| [&cell.up, &cell.down]);
        let count = |standing| figures().filter(|figure| figure.standing == standing).count();
        output::line("");
        output::line(&format!(
            "geometric mean of the ratios {mean_ratio:.2}; {} ahead, {} level, {} behind",
            count(Standing::Ahead),
            count(Standing::Level),
            count(Standing::Behind),
        ));
        output::line(&format!(
            "medians [range] of {rounds} rounds of {seconds} s; polytcp with {cc}, kernel with {kernel_cc}"
        ));
    }
}

impl CellReport {
    pub(super) fn new(cell: &Cell, up: [Score; 2], down: [Score; 2]) -> Self {
        Self {
            name: cell.name,
            links: cell.told(),
            paths: cell.paths(),
            up: Figure::new(cell.sum_mbps(Way::Up), &up),
            down: Figure::new(cell.sum_mbps(Way::Down), &down),
        }
    }

    /// Prints both directions.
    pub(super) fn tell(&self) {
        for (way, figure) in [(Way::Up, &self.up), (Way::Down, &self.down)] {
            let Figure { link_sum_mbps, polytcp, kernel, ratio, standing } = figure;
            output::line(&format!(
                "{:<13} {:<5} {:>6}  {:<20} {:<20} {:<6.2} {:<7} {:<16} {}",
                self.name,
                way.to_string(),
                link_sum_mbps,
                polytcp.goodput(),
                kernel.goodput(),
                ratio,
                standing.told(),
                polytcp.pause(),
                kernel.pause(),
            ));
        }
    }
}

/// Prints what the columns are.
pub(super) fn head() {
    output::line(
        "                    links'  goodput Mbit/s                                          longest pause ms",
    );
    output::line(
        "cell          way      sum  polytcp              kernel               ratio          polytcp          kernel",
    );
}

impl Figure {
    fn new(link_sum_mbps: f64, [stack, kernel]: &[Score; 2]) -> Self {
        Self {
            link_sum_mbps: units::rounded(link_sum_mbps),
            polytcp: Contestant::new(stack),
            kernel: Contestant::new(kernel),
            ratio: units::rounded(ratio(&stack.goodput, &kernel.goodput)),
            standing: Standing::of(&stack.goodput, &kernel.goodput),
        }
    }
}

impl Contestant {
    fn new(score: &Score) -> Self {
        Self { goodput_mbps: score.goodput.series(), longest_pause_ms: score.pause.series() }
    }

    fn goodput(&self) -> String {
        let (least, most) = self.goodput_mbps.range();
        format!("{:.1} [{least:.1}..{most:.1}]", self.goodput_mbps.median())
    }

    fn pause(&self) -> String {
        let (least, most) = self.longest_pause_ms.range();
        format!("{:.0} [{least:.0}..{most:.0}]", self.longest_pause_ms.median())
    }
}

/// 0 of none.
fn geometric_mean(ratios: &[f64]) -> f64 {
    if ratios.is_empty() {
        return 0.0;
    }
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Rounds {
        let mut rounds = Rounds::default();
        values.iter().for_each(|value| rounds.add(*value));
        rounds
    }

    #[test]
    fn behind_is_five_percent_below_with_ranges_that_do_not_overlap() {
        let kernel = rounds(&[10.0, 10.2, 10.1]);
        for (stack, standing) in [
            (&[9.0, 9.1, 9.2][..], Standing::Behind),
            (&[9.0, 9.1, 10.0], Standing::Level),
            (&[9.7, 9.8, 9.9], Standing::Level),
            (&[11.0, 11.1, 10.9], Standing::Ahead),
        ] {
            assert_eq!(Standing::of(&rounds(stack), &kernel), standing, "{stack:?}");
        }
    }

    #[test]
    fn twice_and_half_are_even_in_the_mean() {
        assert!((geometric_mean(&[2.0, 0.5]) - 1.0).abs() < 1e-9);
        assert_eq!(geometric_mean(&[]), 0.0);
    }
}
