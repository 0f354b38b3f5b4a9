//! What came out of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use crate::program::Outcome;
use crate::quantity::{Share, Span};
use crate::world::World;

/// What came out of a run, in exact numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's own line.
    pub about: String,
    /// The seed that it ran with.
    pub seed: u64,
    /// Virtual time until the traffic was over.
    pub took: Span,
    /// Octets that programs read.
    pub read_bytes: u64,
    /// The same per second until the traffic was over.
    pub goodput_bits_per_sec: u64,
    /// Of each link.
    pub links: Vec<LinkReport>,
    /// Of each end of each connection.
    pub ends: Vec<EndReport>,
    /// Requests, chunks, and whole transfers: how long they took.
    pub latency: Percentiles,
    /// Segments sent again by TCP.
    pub retransmissions: u64,
    /// Chunks sent again at data level.
    pub reinjections: u64,
    /// Most octets that a host held at a time, by host.
    pub memory_peak_bytes: BTreeMap<String, usize>,
    /// Counters that are not zero, summed over the hosts, under nstat's names.
    pub counters: BTreeMap<&'static str, u64>,
    /// Reasons of MP_TCPRST that peers gave.
    pub reset_reasons: BTreeMap<u32, u64>,
    /// Resets that hosts sent, by kind.
    pub resets_sent: BTreeMap<String, u64>,
    /// Packets that hosts sent.
    pub packets: u64,
    /// A number that follows from every octet of them and from their times.
    #[serde(serialize_with = "hex")]
    pub hash: u64,
    /// What must not be and was.
    pub violations: Vec<String>,
}

/// What a link carried.
#[derive(Clone, Debug, Serialize)]
pub struct LinkReport {
    /// Its name.
    pub name: String,
    /// Payload that arrived at the first host and at the second, retransmissions included.
    pub payload_bytes: [u64; 2],
    /// That of both per second until the traffic was over.
    pub bits_per_sec: u64,
    /// Its share of the payload on all links.
    pub share: Share,
    /// Packets dropped by chance, by a full queue (or CoDel), by a cut.
    pub dropped: [u64; 3],
    /// Most octets that waited, towards the first host and towards the second.
    pub queue_peak_bytes: [u64; 2],
}

/// One end of one connection.
#[derive(Clone, Debug, Serialize)]
pub struct EndReport {
    /// Traffic, number of the connection, and the host.
    pub name: String,
    /// How it ended.
    #[serde(serialize_with = "text")]
    pub outcome: Outcome,
    /// Octets written.
    pub written: u64,
    /// Octets read.
    pub read: u64,
    /// Octets that the other end was to send.
    pub to_read: u64,
    /// It asked for MPTCP and has TCP.
    pub fell_back: bool,
    /// The first octet that was not what was sent.
    pub damaged_at: Option<u64>,
    /// Longest time from one read to the next.
    pub longest_pause: Span,
}

/// Half, 90 %, 99 % and all of the samples are at most so long.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// How many samples.
    pub samples: usize,
    /// Median.
    pub p50: Span,
    /// 90th percentile.
    pub p90: Span,
    /// 99th percentile.
    pub p99: Span,
    /// The longest.
    pub max: Span,
}

fn hex<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{value:016x}"))
}

fn text<S: Serializer>(value: &Outcome, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.to_string())
}

impl Percentiles {
    fn of(mut samples: Vec<Span>) -> Self {
        samples.sort_unstable();
        // The nearest rank.
        let rank = |percent: usize| {
            let rank = (samples.len() * percent).div_ceil(100).saturating_sub(1);
            samples.get(rank).copied().unwrap_or_default()
        };
        Self { samples: samples.len(), p50: rank(50), p90: rank(90), p99: rank(99), max: rank(100) }
    }
}

fn per_second(octets: u64, over: Span) -> u64 {
    let bits = u128::from(octets) * 8 * 1_000_000_000 / u128::from(over.0.max(1));
    u64::try_from(bits).unwrap_or(u64::MAX)
}

impl Report {
    /// Of a world whose traffic is over or whose limit has come.
    pub(crate) fn of(world: &World) -> Self {
        let took = World::since_start(world.finished_at.unwrap_or(world.now));
        let mut ends = Vec::new();
        let mut latencies = Vec::new();
        for connection in &world.connections {
            let spec = &world.scenario.traffic[connection.traffic];
            for (program, host) in connection.programs.iter().zip([&spec.from, &spec.to]) {
                latencies.extend_from_slice(&program.latencies);
                ends.push(EndReport {
                    name: format!("{} {} at {host}", spec.name, connection.number + 1),
                    outcome: program.outcome,
                    written: program.written,
                    read: program.read,
                    to_read: program.to_read,
                    fell_back: program.fell_back && !spec.tcp,
                    damaged_at: program.damaged_at,
                    longest_pause: Span(u64::try_from(program.longest_pause.as_nanos()).unwrap_or(u64::MAX)),
                });
            }
        }
        let read_bytes = ends.iter().map(|end| end.read).sum();
        let payload: Vec<[u64; 2]> = world.tap.carried.iter().map(|ends| ends.map(|c| c.payload)).collect();
        let all: u64 = payload.iter().flatten().sum();
        let links =
            world.scenario.links.iter().zip(&world.paths).zip(payload).map(|((spec, path), payload)| {
                let stats = [path.links[0].stats(), path.links[1].stats()];
                let sum: u64 = payload.iter().sum();
                let share = u128::from(sum) * 1_000_000 / u128::from(all.max(1));
                LinkReport {
                    name: spec.name.clone(),
                    payload_bytes: payload,
                    bits_per_sec: per_second(sum, took),
                    share: Share(share as u32),
                    dropped: [
                        stats.iter().map(|s| s.lost).sum(),
                        stats.iter().map(|s| s.queue_full + s.codel_drops).sum(),
                        stats.iter().map(|s| s.cut_drops).sum(),
                    ],
                    queue_peak_bytes: [stats[1].queue_bytes_peak, stats[0].queue_bytes_peak],
                }
            });
        let mut counters = BTreeMap::new();
        for node in &world.nodes {
            for (name, value) in node.host.counters().iter().filter(|(_, value)| *value > 0) {
                *counters.entry(name).or_default() += value;
            }
        }
        let names = world.scenario.hosts.iter().map(|host| host.name.clone());
        Self {
            about: world.scenario.about.clone(),
            seed: world.scenario.seed,
            took,
            read_bytes,
            goodput_bits_per_sec: per_second(read_bytes, took),
            links: links.collect(),
            ends,
            latency: Percentiles::of(latencies),
            retransmissions: counters.get("TcpRetransSegs").copied().unwrap_or_default(),
            reinjections: counters.get("MPTcpExtMPTCPRetrans").copied().unwrap_or_default(),
            memory_peak_bytes: names.zip(world.memory_peak.iter().copied()).collect(),
            counters,
            reset_reasons: world.reset_reasons.clone(),
            resets_sent: world.tap.reset_kinds.clone(),
            packets: world.tap.packets,
            hash: world.tap.hash(),
            violations: world.violations.clone(),
        }
    }

    /// A counter, summed over the hosts.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }

    /// Whether either end of the connection of `end` has fallen back to TCP: the other may not have learned it.
    pub(crate) fn has_fallen_back(&self, end: &EndReport) -> bool {
        let connection = |end: &EndReport| end.name.split(" at ").next().map(str::to_owned);
        self.ends.iter().any(|other| other.fell_back && connection(other) == connection(end))
    }

    /// The longest pause of all ends.
    pub fn longest_pause(&self) -> Span {
        self.ends.iter().map(|end| end.longest_pause).max().unwrap_or_default()
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let mut line = |what: &str, text: String| {
            let _ = writeln!(out, "{what:<15}{text}");
        };
        line("shows", self.about.clone());
        let over = self.ends.iter().filter(|end| end.outcome.is_over()).count();
        let complete = self.ends.iter().filter(|end| end.outcome.is_complete()).count();
        line(
            "ends",
            format!("{complete} of {} complete, {} unfinished", self.ends.len(), self.ends.len() - over),
        );
        let mut failed: BTreeMap<String, u64> = BTreeMap::new();
        for end in self.ends.iter().filter(|end| !end.outcome.is_complete()) {
            *failed.entry(end.outcome.to_string()).or_default() += 1;
        }
        for (outcome, count) in failed {
            line("", format!("{count} {outcome}"));
        }
        if let Some(end) = self.ends.iter().find(|end| end.damaged_at.is_some()) {
            line("damage", format!("{}: from octet {} on", end.name, end.damaged_at.unwrap_or_default()));
        }
        let fell_back = self.ends.iter().filter(|end| end.fell_back).count();
        if fell_back > 0 {
            line("fallback", format!("{fell_back} ends to plain TCP"));
        }
        line("data", format!("{} octets in {}", self.read_bytes, seconds(self.took)));
        line("goodput", format!("{} Mbit/s in all", mbit(self.goodput_bits_per_sec)));
        for link in &self.links {
            let [lost, full, cut] = link.dropped;
            line(
                "",
                format!(
                    "{} {} Mbit/s ({} %), dropped {lost} by chance, {full} at the queue, {cut} by a cut",
                    link.name,
                    mbit(link.bits_per_sec),
                    (link.share.0 + 5_000) / 10_000
                ),
            );
        }
        line("longest pause", seconds(self.longest_pause()));
        if self.latency.samples > 0 {
            let Percentiles { samples, p50, p90, p99, max } = self.latency;
            let [p50, p90, p99, max] = [p50, p90, p99, max].map(seconds);
            line("latency", format!("50 % {p50}, 90 % {p90}, 99 % {p99}, all {max} ({samples} samples)"));
        }
        line("sent again", format!("{} segments, {} reinjections", self.retransmissions, self.reinjections));
        let peaks: Vec<String> = self
            .memory_peak_bytes
            .iter()
            .map(|(host, bytes)| format!("{host} {} KiB", bytes >> 10))
            .collect();
        line("memory peak", peaks.join(", "));
        line("run", format!("seed {}, {} packets, hash {:016x}", self.seed, self.packets, self.hash));
        out
    }
}

fn mbit(bits_per_sec: u64) -> String {
    format!("{}.{:02}", bits_per_sec / 1_000_000, bits_per_sec % 1_000_000 / 10_000)
}

fn seconds(span: Span) -> String {
    if span.0 < 1_000_000_000 {
        format!("{}.{} ms", span.0 / 1_000_000, span.0 % 1_000_000 / 100_000)
    } else {
        format!("{}.{:02} s", span.0 / 1_000_000_000, span.0 % 1_000_000_000 / 10_000_000)
    }
}
