//! What a matrix found, as a table and as JSON.

use serde::Serialize;

use super::super::Peer;
use super::super::arena::KERNEL_CC;
use super::super::cores::Pinning;
use super::super::figures::{Rounds, Series, ratio};
use super::super::pump::{Course, Measured};
use super::Args;
use super::cell::Cell;
use crate::{Outcome, output, units};

/// The rounds of one contestant in one lane.
#[derive(Default)]
pub(super) struct Score {
    gbps: Rounds,
    cpu: Rounds,
    pause: Rounds,
}

/// Both contestants in one lane.
#[derive(Default)]
pub(super) struct Duel {
    pub(super) polytcp: Score,
    pub(super) kernel: Score,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    peer: Peer,
    size: u64,
    write: usize,
    cc: String,
    kernel_cc: &'static str,
    rounds: u32,
    #[serde(rename = "pinned")]
    pinning: Pinning,
    /// One round of each figure compared every octet.
    compared: bool,
    figures: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    #[serde(flatten)]
    cell: Cell,
    way: Course,
    polytcp_gbps: Series,
    kernel_gbps: Series,
    /// polytcp's median to the kernel's.
    ratio: f64,
    polytcp_cpu_seconds_per_gib: Series,
    kernel_cpu_seconds_per_gib: Series,
    polytcp_longest_pause_ms: Series,
    kernel_longest_pause_ms: Series,
}

impl Score {
    pub(super) fn add(&mut self, measured: &Measured) {
        self.gbps.add(measured.gbps());
        self.cpu.add(measured.client_cpu.as_secs_f64() / (measured.octets as f64 / (1_u64 << 30) as f64));
        self.pause.add(measured.longest_pause.as_secs_f64() * 1e3);
    }
}

/// Tells the whole of it.
pub(super) fn tell(
    args: &Args,
    pinning: Pinning,
    figures: impl IntoIterator<Item = (Cell, Course, Duel)>,
) -> Outcome {
    let figures = figures.into_iter().map(|(cell, way, duel)| Figure::new(cell, way, &duel)).collect();
    let report = Report {
        peer: args.peer,
        size: args.size,
        write: args.write,
        cc: args.cc.clone().unwrap_or_else(|| KERNEL_CC.to_owned()),
        kernel_cc: KERNEL_CC,
        rounds: args.rounds,
        pinning,
        compared: true,
        figures,
    };
    if args.json {
        return output::json(&report);
    }
    report.print();
    Ok(())
}

impl Figure {
    fn new(cell: Cell, way: Course, Duel { polytcp, kernel }: &Duel) -> Self {
        Self {
            cell,
            way,
            polytcp_gbps: polytcp.gbps.series(),
            kernel_gbps: kernel.gbps.series(),
            ratio: units::rounded(ratio(&polytcp.gbps, &kernel.gbps)),
            polytcp_cpu_seconds_per_gib: polytcp.cpu.series(),
            kernel_cpu_seconds_per_gib: kernel.cpu.series(),
            polytcp_longest_pause_ms: polytcp.pause.series(),
            kernel_longest_pause_ms: kernel.pause.series(),
        }
    }
}

impl Report {
    fn print(&self) {
        let mut above = None;
        for figure in &self.figures {
            if above != Some(figure.cell) {
                output::line("");
                output::line(&figure.cell.to_string());
                output::line(
                    "       polytcp Gbit/s           kernel Gbit/s            ratio   CPU s/GiB       longest pause ms",
                );
                above = Some(figure.cell);
            }
            output::line(&format!(
                "  {:<4} {:<24} {:<24} {:<7.2} {:<5.2} {:<9.2} {:<5.1} {:.1}",
                figure.way.to_string(),
                with_range(&figure.polytcp_gbps),
                with_range(&figure.kernel_gbps),
                figure.ratio,
                figure.polytcp_cpu_seconds_per_gib.median(),
                figure.kernel_cpu_seconds_per_gib.median(),
                figure.polytcp_longest_pause_ms.range().1,
                figure.kernel_longest_pause_ms.range().1,
            ));
        }
        output::line("");
        output::line(&format!(
            "medians (and ranges) of {} rounds of {} in writes of {}, {}; polytcp with {}, kernel with {KERNEL_CC}; polytcp first in each \
             pair; CPU time without the server's threads; the longest pause of all rounds",
            self.rounds,
            units::bytes(self.size),
            units::bytes(self.write as u64),
            self.pinning,
            self.cc,
        ));
    }
}

fn with_range(series: &Series) -> String {
    let (least, most) = series.range();
    format!("{:.2} ({least:.2} to {most:.2})", series.median())
}
