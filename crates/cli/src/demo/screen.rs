//! The live table with a progress bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, stderr, stdout};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{output, units};

/// What is seen at one moment.
pub(super) struct Snapshot {
    pub(super) elapsed: Duration,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) rows: Vec<Row>,
}

/// One path.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) rtt: Option<Duration>,
    pub(super) up_mbps: f64,
    pub(super) down_mbps: f64,
    pub(super) bytes: u64,
    pub(super) share: f64,
}

/// Where snapshots go.
pub(super) struct Screen {
    face: Face,
    due: Instant,
}

enum Face {
    /// On stderr, so that stdout holds the summary alone.
    Terminal(Live),
    /// On stdout.
    Lines,
    Silent,
}

struct Live {
    multi: MultiProgress,
    bar: ProgressBar,
    rows: Vec<ProgressBar>,
}

const TERMINAL_EVERY: Duration = Duration::from_millis(200);
const LINES_EVERY: Duration = Duration::from_secs(1);

impl Screen {
    /// `json` keeps stdout free.
    pub(super) fn new(json: bool) -> Self {
        let face = match (json, stderr().is_terminal() && stdout().is_terminal()) {
            (_, true) => Face::Terminal(Live::new()),
            (false, false) => Face::Lines,
            (true, false) => Face::Silent,
        };
        Self { face, due: Instant::now() }
    }

    fn every(&self) -> Duration {
        match self.face {
            Face::Terminal(_) => TERMINAL_EVERY,
            Face::Lines | Face::Silent => LINES_EVERY,
        }
    }

    /// Whether it is time for the next snapshot.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    pub(super) fn show(&mut self, snapshot: &Snapshot) {
        self.due = Instant::now() + self.every();
        match &mut self.face {
            Face::Terminal(live) => live.show(snapshot),
            Face::Lines => output::line(&plain(snapshot)),
            Face::Silent => {}
        }
    }

    /// Something happened.
    pub(super) fn tell(&self, text: &str) {
        match &self.face {
            // A table that cannot be drawn is no reason to stop.
            Face::Terminal(live) => drop(live.multi.println(text)),
            Face::Lines => output::line(text),
            Face::Silent => {}
        }
    }

    /// The last snapshot, which stays.
    pub(super) fn finish(&mut self, snapshot: &Snapshot) {
        self.show(snapshot);
        if let Face::Terminal(live) = &self.face {
            live.rows.iter().chain([&live.bar]).for_each(ProgressBar::abandon);
        }
    }
}

impl Live {
    fn new() -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bar = multi.add(ProgressBar::new(1));
        let template = "{elapsed_precise} [{bar:40}] {percent:>3} %  {msg}";
        bar.set_style(style(template).progress_chars("=> "));
        let header = multi.add(ProgressBar::new_spinner());
        header.set_style(style("{msg}"));
        header.set_message(HEADER);
        Self { multi, bar, rows: vec![header] }
    }

    fn show(&mut self, snapshot: &Snapshot) {
        self.bar.set_length(snapshot.total);
        self.bar.set_position(snapshot.done);
        self.bar.set_message(units::bytes(snapshot.done));
        while self.rows.len() < snapshot.rows.len() + 1 {
            let row = self.multi.add(ProgressBar::new_spinner());
            row.set_style(style("{msg}"));
            self.rows.push(row);
        }
        for (line, row) in self.rows[1..].iter().zip(&snapshot.rows) {
            line.set_message(table_line(row));
        }
        self.rows[0].tick();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

const HEADER: &str = "path     state          rtt   rate Mbit/s up/down      bytes share";

fn table_line(row: &Row) -> String {
    let Row { name, state, rtt: _, up_mbps, down_mbps, bytes, share } = row;
    let (rtt, bytes, share) = (rtt(row), units::bytes(*bytes), share * 100.0);
    let rate = format!("{up_mbps:.1} / {down_mbps:.1}");
    format!("{name:<8} {state:<8} {rtt:>9} {rate:>21} {bytes:>10} {share:>5.1} %")
}

fn plain(snapshot: &Snapshot) -> String {
    let path = |row: &Row| {
        let Row { name, state, rtt: _, up_mbps, down_mbps, bytes, share } = row;
        let (rtt, bytes, share) = (rtt(row), units::bytes(*bytes), share * 100.0);
        format!("{name} {state} rtt {rtt}, {up_mbps:.1}/{down_mbps:.1} Mbit/s up/down, {bytes}, {share:.1} %")
    };
    let paths: Vec<_> = snapshot.rows.iter().map(path).collect();
    let percent = snapshot.done as f64 * 100.0 / snapshot.total.max(1) as f64;
    format!("{:5.1} s {percent:5.1} %  {}", snapshot.elapsed.as_secs_f64(), paths.join("  |  "))
}

fn rtt(row: &Row) -> String {
    row.rtt.map_or("-".to_owned(), |rtt| format!("{:.1} ms", units::millis(rtt)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_stand_below_their_heads() {
        let row = Row {
            name: "wifi".to_owned(),
            state: "open",
            rtt: Some(Duration::from_micros(21_400)),
            up_mbps: 37.3,
            down_mbps: 36.0,
            bytes: 30 << 20,
            share: 0.64,
        };
        let line = table_line(&row);
        assert_eq!(line, "wifi     open       21.4 ms           37.3 / 36.0   30.0 MiB  64.0 %");
        assert_eq!(line.len(), HEADER.len() + " %".len());
    }
}
