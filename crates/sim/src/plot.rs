//! A picture of a run: data sequence over time with a colour for each path; below it rate and queue of each.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use plotters::coord::Shift;
use plotters::prelude::*;
use polytcp_proto::time::Instant;

use crate::path::Path;
use crate::scenario::{EventSpec, Scenario};
use crate::tap::Sighting;
use crate::window::{DataPlace, Stream};
use crate::world::World;

/// Points of one stream that are kept; beyond, every other one is dropped.
const POINTS_MAX: usize = 20_000;
/// Time between two samples of rate and queue.
const TICK_NANOS: u64 = 100_000_000;
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 84, 18),
    RGBColor(44, 140, 60),
    RGBColor(148, 80, 180),
    RGBColor(140, 86, 75),
    RGBColor(90, 90, 90),
];

/// A segment with data: seconds, data sequence, link.
type Point = (f64, u64, usize);
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What is drawn, gathered while a run goes on.
#[derive(Default)]
pub(crate) struct Plot {
    streams: BTreeMap<(usize, Stream), Points>,
    /// For each tick and link: octets that have arrived at either end, and octets that wait.
    ticks: Vec<Vec<(u64, u64)>>,
    arrived: Vec<u64>,
    events: Vec<(f64, String)>,
}

/// Points of one stream of data.
#[derive(Default)]
struct Points {
    list: Vec<Point>,
    octets: u64,
    stride: u64,
    seen: u64,
}

impl Plot {
    pub(crate) fn see(&mut self, sighting: &Sighting<'_>, place: Option<&DataPlace>) {
        if !sighting.is_sent {
            let arrived = &mut self.arrived;
            arrived.resize(arrived.len().max(sighting.link + 1), 0);
            arrived[sighting.link] += sighting.packet.len() as u64;
            return;
        }
        let Some(place) = place else { return };
        let points = self.streams.entry((sighting.host, place.stream)).or_default();
        points.octets += place.len;
        points.seen += 1;
        points.stride = points.stride.max(1);
        if points.seen.is_multiple_of(points.stride) {
            points.list.push((seconds(sighting.at), place.start, sighting.link));
        }
        if points.list.len() > POINTS_MAX {
            let mut keep = false;
            points.list.retain(|_| {
                keep = !keep;
                keep
            });
            points.stride *= 2;
        }
    }

    /// Time has come to `now`.
    pub(crate) fn tick(&mut self, now: Instant, paths: &[Path]) {
        let due = World::since_start(now).0 / TICK_NANOS;
        while (self.ticks.len() as u64) < due {
            self.arrived.resize(paths.len(), 0);
            let waiting = |path: &Path| path.links.iter().map(|link| link.stats().queue_bytes).max();
            let row = paths.iter().zip(&mut self.arrived);
            self.ticks.push(
                row.map(|(path, arrived)| (std::mem::take(arrived), waiting(path).unwrap_or_default()))
                    .collect(),
            );
        }
    }

    pub(crate) fn happened(&mut self, event: &EventSpec) {
        let words = format!("{:?}", event.action);
        let word = words.split(['(', ' ']).next().unwrap_or_default().to_lowercase();
        self.events.push((event.at.0 as f64 / 1e9, format!("{} {word}", event.link)));
    }

    /// Draws into `file`.
    pub(crate) fn draw(&self, file: &FilePath, scenario: &Scenario) -> Result<(), String> {
        let root = SVGBackend::new(file, (1_000, 900)).into_drawing_area();
        self.draw_on(&root, scenario).map_err(|fault| format!("{}: {fault}", file.display()))?;
        root.present().map_err(|fault| format!("{}: {fault}", file.display()))
    }

    fn draw_on(&self, root: &Area<'_>, scenario: &Scenario) -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let root = root.titled(&scenario.about.chars().take(110).collect::<String>(), ("sans-serif", 18))?;
        let parts = root.split_evenly((3, 1));
        let empty = Points::default();
        let points = self.streams.values().max_by_key(|points| points.octets).unwrap_or(&empty);
        let first = points.list.iter().map(|point| point.1).min().unwrap_or_default();
        let end = points
            .list
            .last()
            .map_or(0.0, |point| point.0)
            .max(self.ticks.len() as f64 * TICK_NANOS as f64 / 1e9)
            .max(0.001);
        let names: Vec<&str> = scenario.links.iter().map(|link| link.name.as_str()).collect();

        let mib = |dsn: u64| (dsn - first) as f64 / f64::from(1 << 20);
        let top = points.list.iter().map(|point| mib(point.1)).fold(0.001, f64::max);
        let mut chart = panel(&parts[0], "data sequence in MiB, as sent", end, top)?;
        for (link, name) in names.iter().enumerate() {
            let colour = COLOURS[link % COLOURS.len()];
            chart
                .draw_series(std::iter::empty::<Rectangle<(f64, f64)>>())?
                .label(*name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour.filled()));
        }
        // In order of time, so that no path covers another one.
        chart.draw_series(points.list.iter().map(|(at, dsn, link)| {
            let colour = COLOURS[link % COLOURS.len()];
            Rectangle::new(square(*at, mib(*dsn), end, top), colour.filled())
        }))?;
        for (at, text) in &self.events {
            chart.draw_series([PathElement::new([(*at, 0.0), (*at, top)], BLACK.mix(0.4))])?;
            let style = ("sans-serif", 12).into_font().color(&BLACK.mix(0.7));
            chart.draw_series([Text::new(text.clone(), (*at + end * 0.003, top * 0.97), style)])?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;

        let rate = |row: &(u64, u64)| row.0 as f64 * 8e3 / TICK_NANOS as f64;
        let queue = |row: &(u64, u64)| row.1 as f64 / 1024.0;
        self.lines(&parts[1], "rate of arrival in Mbit/s", end, names.len(), rate)?;
        self.lines(&parts[2], "longer queue in KiB", end, names.len(), queue)?;
        Ok(())
    }

    fn lines(
        &self,
        area: &Area<'_>,
        title: &str,
        end: f64,
        links: usize,
        value: impl Fn(&(u64, u64)) -> f64,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let top = self.ticks.iter().flatten().map(&value).fold(0.001, f64::max);
        let mut chart = panel(area, title, end, top)?;
        for link in 0..links {
            let at = |tick: usize| (tick + 1) as f64 * TICK_NANOS as f64 / 1e9;
            let series = self
                .ticks
                .iter()
                .enumerate()
                .filter_map(|(tick, row)| Some((at(tick), value(row.get(link)?))));
            chart.draw_series(LineSeries::new(series, COLOURS[link % COLOURS.len()].stroke_width(2)))?;
        }
        Ok(())
    }
}

/// Two corners of a small mark.
fn square(x: f64, y: f64, width: f64, height: f64) -> [(f64, f64); 2] {
    let (dx, dy) = (width / 900.0, height / 180.0);
    [(x - dx, y - dy), (x + dx, y + dy)]
}

type Panel<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn panel<'a, 'b>(
    area: &'a Area<'b>,
    title: &str,
    end: f64,
    top: f64,
) -> Result<Panel<'a, 'b>, Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..end, 0.0..top * 1.05)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("s").draw()?;
    Ok(chart)
}

fn seconds(at: Instant) -> f64 {
    World::since_start(at).0 as f64 / 1e9
}
