//! Random worlds: topology, boxes, options, traffic and events from a seed, and how each has to end.
//!
//! A world's label is decided while it is drawn: what may rightly end a connection makes it *may fail*, what
//! may rightly take MPTCP from it makes it *must complete, perhaps as TCP*, and every other one must complete. More than
//! half of the worlds are calm: a piece that would lower the label is drawn again there.

use std::num::NonZeroU16;

use polytcp_proto::rng::Prng;
use polytcp_proto::{sched, tcp};

use crate::boxes::{BoxSpec, Ecn, StripFrom};
use crate::expect::{Ending, Expect};
use crate::filled;
use crate::quantity::{Rate, Share, Size, Span};
use crate::scenario::{
    Action, EventSpec, HostSpec, LinkSpec, Load, Scenario, Shape, TraceSpec, TraceStepSpec, TrafficSpec,
};
use crate::special;

/// How long a lossy link may be cut in all, in a world that has to complete.
const OUTAGE_MAX: Span = Span::millis(5_000);
/// The same where more connections share a link than it is for.
const CROWD_OUTAGE_MAX: Span = Span::millis(1_000);
/// Ten segments (RFC 6928).
const FIRST_WINDOW_BITS: u64 = 120_000;
/// Seconds that a traced link may need for the first windows of all connections.
const STARVED: u64 = 8;
/// Share of calm worlds among the general ones, in percent.
const CALM_PERCENT: u64 = 57;
/// Share of calm worlds that are made such that they have to fill their links, in percent.
const FILLED_PERCENT: u64 = 4;

/// The world of a seed.
pub fn world(seed: u64) -> Scenario {
    if let Some(world) = special::world(seed) {
        return world;
    }
    // Not the seed itself, from which the world's own chances follow.
    let mut draw = Draw::new(seed ^ 0x776f_726c_6400_0000);
    draw.is_calm = draw.chance(CALM_PERCENT);
    let mut world = draw.world(seed, Draw::new(seed ^ 0x6c61_7465_0000_0000));
    if draw.is_calm && draw.chance(FILLED_PERCENT) {
        filled::make(&mut draw, &mut world);
    }
    world.expect.goodput_min = filled::goodput_min(&world);
    world
}

pub(crate) struct Draw {
    pub(crate) rng: Prng,
    ending: Ending,
    is_calm: bool,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Prng::new(seed), ending: Ending::Complete, is_calm: false }
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.rng.ratio(percent, 100)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.rng.below(high - low + 1)
    }

    pub(crate) fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.rng.below(list.len() as u64) as usize]
    }

    /// The world is no better than this.
    fn at_best(&mut self, ending: Ending) {
        self.ending = match (self.ending, ending) {
            (Ending::MayFail, _) | (_, Ending::MayFail) => Ending::MayFail,
            (Ending::CompletePerhapsTcp, _) | (_, Ending::CompletePerhapsTcp) => Ending::CompletePerhapsTcp,
            (Ending::Complete, Ending::Complete) => Ending::Complete,
        };
    }

    /// A piece of a world: in a calm one, such that the label stays.
    fn piece<T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> T {
        loop {
            let before = self.ending;
            let piece = draw(self);
            if !self.is_calm || self.ending == before {
                return piece;
            }
            self.ending = before;
        }
    }

    fn world(&mut self, seed: u64, mut late: Self) -> Scenario {
        let count = self.one_of(&[1, 1, 1, 2, 2, 2, 2, 3, 3]);
        let is_v6 = self.chance(12);
        let mut links: Vec<LinkSpec> = (1..=count).map(|number| self.link(number, is_v6)).collect();
        // By chances of its own: it is about the hosts' devices, not about the network.
        let mut devices = Prng::new(seed ^ 0x6465_7669_6365);
        links.iter_mut().for_each(|link| link.offload = devices.ratio(1, 3).then_some(true));
        let mut radio = Prng::new(seed ^ 0x72_6164_696f);
        links.iter_mut().for_each(|link| link.trace = radio.ratio(1, 10).then(|| fading(&mut radio)));
        for link in &mut links {
            if !self.is_calm {
                link.boxes.extend(late.chance(8).then(|| late.one_sided(count)));
                drop_forgers_before_proxies(link);
                self.at_best(together(link.boxes.iter().chain(&link.far_boxes)));
            }
        }
        self.at_best(late.ending);
        let mut hosts = [self.host("client"), self.host("server")];
        // By chances of their own: hosts of which one does not have what nearly all have.
        let mut spare = Prng::new(seed ^ 0x73_7061_7265);
        for host in &mut hosts {
            host.sysctl.tcp_sack = spare.ratio(1, 25).then_some(false);
            host.sysctl.tcp_timestamps = spare.ratio(1, 25).then_some(false);
        }
        for number in 2..=count {
            if self.chance(90) {
                let backup = if self.chance(20) { " backup" } else { "" };
                hosts[0].endpoints.push(format!("{} subflow{backup}", address(number, is_v6, 2)));
            }
            if self.chance(20) {
                hosts[1].endpoints.push(format!("{} signal", address(number, is_v6, 1)));
            }
        }
        let traffic: Vec<TrafficSpec> = (1..=self.between(1, 3)).map(|number| self.traffic(number)).collect();
        let mut boxes = links.iter().flat_map(|link| link.boxes.iter().chain(&link.far_boxes));
        if boxes.any(|spec| *spec == BoxSpec::DropMptcpSyn {}) {
            // There a plain SYN has to be tried.
            hosts[0].syn_retrans_before_tcp_fallback = None;
        }
        let mut events = Vec::new();
        if self.chance(50) {
            for _ in 0..self.between(1, 3) {
                let link = self.rng.below(count) as usize;
                events.extend(self.piece(|draw| draw.event(&links, link, is_v6)));
            }
        }
        events.sort_by_key(|event| event.at);
        let adds = |event: &EventSpec| matches!(event.action, Action::AddAddress(_) | Action::Roam(_));
        let mut boxes = links.iter().flat_map(|link| link.boxes.iter().chain(&link.far_boxes));
        if events.iter().any(adds) && boxes.any(takes_mappings) {
            // As with several links: see `one_sided`.
            self.at_best(Ending::MayFail);
        }
        if links.iter().any(|link| is_lossy(&link.shape) && silence(&events, &link.name) > OUTAGE_MAX) {
            // Timeouts are 20 s apart after it. If the next retransmission is lost as well, the one after that comes when
            // who has closed has given up after 60 s, as Linux does.
            self.at_best(Ending::MayFail);
        }
        let connections = traffic.iter().map(|traffic| traffic.connections).sum::<u64>();
        if links
            .iter()
            .any(|link| is_crowded(link, connections) && silence(&events, &link.name) > CROWD_OUTAGE_MAX)
        {
            // A queue that overflows is a lossy link, and its round trips of seconds are timeouts of many seconds.
            self.at_best(Ending::MayFail);
        }
        if links
            .iter()
            .any(|link| mean_rate(link).is_some_and(|rate| rate < connections * FIRST_WINDOW_BITS / STARVED))
        {
            // As above, for as long as the silences of the trace leave no time to catch up.
            self.at_best(Ending::MayFail);
        }
        let count = |action| events.iter().filter(|event| event.action == action).count();
        let aborts = |traffic: &TrafficSpec| matches!(traffic.load, Load::Abort { .. });
        if count(Action::Cut) > count(Action::Restore) && traffic.iter().any(aborts) {
            // Who is aborted during a cut learns it on the other paths by resets, and on a dead one after a quarter of an
            // hour.
            self.at_best(Ending::MayFail);
        }
        let limit =
            if self.ending == Ending::MayFail { Span::millis(3_600_000) } else { Span::millis(600_000) };
        if self.ending == Ending::MayFail {
            // Who only reads learns of a dead path by asking.
            hosts.iter_mut().for_each(|host| host.keepalive = Some(Span::millis(20_000)));
        }
        let about = match self.ending {
            Ending::Complete => "random world: must complete",
            Ending::CompletePerhapsTcp => "random world: must complete, perhaps as TCP",
            Ending::MayFail => "random world: may fail",
        };
        Scenario {
            about: about.to_owned(),
            seed,
            limit,
            hosts: hosts.into(),
            links,
            traffic,
            events,
            expect: Expect { ending: self.ending, ..Expect::default() },
        }
    }

    fn host(&mut self, name: &str) -> HostSpec {
        let mut host = HostSpec { name: name.to_owned(), ..HostSpec::default() };
        if self.chance(40) {
            host.congestion_control = Some(self.one_of(tcp::cc::AVAILABLE).to_owned());
        }
        if self.chance(40) {
            host.scheduler = Some(self.one_of(sched::AVAILABLE).to_owned());
        }
        if self.chance(60) {
            host.send_buffer = Some(Size(self.between(32 << 10, 2 << 20)));
            host.recv_buffer = Some(Size(self.between(32 << 10, 2 << 20)));
        }
        if self.chance(25) {
            host.pacing = Some(false);
        }
        if self.chance(40) {
            host.wrap_within = Some(Size(256 << 10));
        }
        if self.chance(25) {
            host.checksum = Some(true);
        }
        // Lost SYNs alone must not take MPTCP from a world.
        host.syn_retrans_before_tcp_fallback = Some(128);
        host
    }

    fn link(&mut self, number: u64, is_v6: bool) -> LinkSpec {
        let mut shape = Shape {
            rate: Some(Rate(self.one_of(&[1, 2, 5, 10, 20, 50, 100]) * 1_000_000)),
            delay: Some(Span::millis(self.between(0, 100))),
            ..Shape::default()
        };
        if self.chance(50) {
            shape.jitter = Some(Span::millis(self.between(1, 10)));
            if self.chance(25) {
                shape.reorder = Some(true);
            }
        }
        if self.chance(50) {
            shape.loss = Some(Share(self.between(0, 20_000) as u32));
        }
        if self.chance(10) {
            shape.bursts = Some(self.piece(Self::bursts));
        }
        if self.chance(10) {
            shape.duplicate = Some(Share(self.between(0, 20_000) as u32));
        }
        if self.chance(10) {
            shape.corrupt = Some(Share(self.between(0, 5_000) as u32));
        }
        if self.chance(33) {
            shape.queue = Some(Size(self.between(15_000, 200_000)));
        }
        if self.chance(15) {
            shape.codel = Some(true);
        }
        let up = self.chance(20).then(|| Shape {
            rate: Some(Rate(self.one_of(&[500, 1_000, 5_000]) * 1_000)),
            ..Shape::default()
        });
        let mut boxes = Vec::new();
        if self.chance(45) {
            for _ in 0..self.between(1, 2) {
                boxes.push(self.piece(|draw| {
                    let drawn = draw.middlebox(number, is_v6);
                    draw.at_best(together(boxes.iter().chain([&drawn])));
                    drawn
                }));
            }
        }
        let mut link = LinkSpec {
            name: format!("path{number}"),
            between: ["client".to_owned(), "server".to_owned()],
            addresses: is_v6.then(|| [2, 1].map(|host| format!("{}/64", address(number, is_v6, host)))),
            mtu: self.chance(20).then(|| self.between(1_280, 1_499) as u16),
            offload: None,
            shape,
            up,
            down: None,
            trace: None,
            up_trace: None,
            down_trace: None,
            boxes,
            far_boxes: Vec::new(),
        };
        if self.chance(30) {
            std::mem::swap(&mut link.boxes, &mut link.far_boxes);
        }
        link
    }

    fn bursts(&mut self) -> [Share; 2] {
        let leaving = self.between(200_000, 800_000) as u32;
        if leaving < 500_000 {
            // A burst ends with this chance for each packet: lone ones, an RTO apart, may all meet the same one,
            // and who has closed gives up after 60 s, as Linux does.
            self.at_best(Ending::MayFail);
        }
        [Share(1_000), Share(leaving)]
    }

    /// One that leads one host to think that the other does not speak MPTCP (any more): acknowledgements without
    /// DATA_ACK, data without mapping.
    fn one_sided(&mut self, links: u64) -> BoxSpec {
        self.at_best(Ending::CompletePerhapsTcp);
        if self.chance(50) {
            // What it has acknowledged may come too late, when the sender has long closed. And where it hides from one
            // host that the other has fallen back, what that one sends again is no part of the stream.
            self.at_best(Ending::MayFail);
            BoxSpec::Pep { store: Size(self.between(10_000, 300_000)) }
        } else {
            if links > 1 {
                // With several subflows there is no way back to TCP: each one that loses a mapping is reset.
                self.at_best(Ending::MayFail);
            }
            let packet = self.between(600, 1_500) as u16;
            BoxSpec::Coalesce { packet, hold: Span::millis(self.between(1, 5)), same_options: false }
        }
    }

    /// One that the stack lives with. Left out are those that change payload, which plain TCP does not notice
    /// either.
    fn middlebox(&mut self, number: u64, is_v6: bool) -> BoxSpec {
        match self.rng.below(28) {
            0..=3 if !is_v6 => BoxSpec::Nat {
                address: [192, 0, 2, 100 + number as u8].into(),
                idle: None,
                reset: self.chance(50),
            },
            0..=5 => BoxSpec::RewriteIsn {},
            6..=8 => {
                let change = self.one_of(&[
                    Ecn::Bleach,
                    Ecn::MarkAll,
                    Ecn::Ect1ToEct0,
                    Ecn::Mangle,
                    Ecn::ClearHandshake,
                ]);
                BoxSpec::Ecn { change }
            }
            9..=11 => {
                let payload = NonZeroU16::new(self.between(100, 1_000) as u16).unwrap_or(NonZeroU16::MAX);
                let copy_options = self.chance(50);
                if !copy_options {
                    // Where the first part is lost or late, the second acknowledges first data without a DSS: the
                    // path does not take MPTCP then (RFC 8684 §3.7).
                    self.at_best(Ending::CompletePerhapsTcp);
                }
                BoxSpec::Split { payload, copy_options }
            }
            12..=14 => BoxSpec::Coalesce { packet: 1_500, hold: Span::millis(1), same_options: true },
            15..=16 => BoxSpec::TooBig { mtu: self.between(1_280, 1_480) as u16 },
            17..=20 => BoxSpec::Replay {
                share: Share(self.between(0, 20_000) as u32),
                delay: Span::millis(self.between(100, 8_000)),
                late_only: self.chance(50),
            },
            21..=22 => BoxSpec::Inject { interval: Span::millis(self.between(20, 500)), packets: 300 },
            23 => {
                self.at_best(Ending::MayFail);
                BoxSpec::BlackHole { mtu: self.between(1_280, 1_480) as u16 }
            }
            24 => {
                self.at_best(Ending::CompletePerhapsTcp);
                BoxSpec::StripUnknown {}
            }
            25 => {
                self.at_best(Ending::CompletePerhapsTcp);
                BoxSpec::DropMptcpSyn {}
            }
            _ => {
                self.at_best(Ending::CompletePerhapsTcp);
                use StripFrom::{Data, Rest, Syn, SynAck, ThirdAck};
                let from: &[StripFrom] = match self.rng.below(5) {
                    0 => &[Syn, SynAck, ThirdAck, Data, Rest],
                    1 => &[Syn],
                    2 => &[SynAck],
                    3 => &[ThirdAck],
                    _ => &[ThirdAck, Data, Rest],
                };
                BoxSpec::StripMptcp { from: from.to_vec() }
            }
        }
    }

    fn traffic(&mut self, number: u64) -> TrafficSpec {
        let size = |draw: &mut Self, most: u64| Size(draw.between(0, most));
        let mut connections = 1;
        let mut every = Span::default();
        let load = match self.rng.below(12) {
            0..=4 => Load::Bulk { up: size(self, 800_000), down: size(self, 800_000) },
            5 => Load::HalfClose { up: size(self, 200_000), down: size(self, 200_000) },
            6 => Load::Abort { after: size(self, 100_000), down: Size(8 << 20) },
            7..=8 => Load::Request {
                request: Size(self.between(1, 2_000)),
                response: Size(self.between(1, 60_000)),
                count: self.between(1, 20),
                think: Span::millis(self.between(0, 200)),
            },
            9 => Load::Stream {
                rate: Rate(self.between(50, 500) * 1_000),
                chunk: Size(self.between(100, 5_000)),
                lasts: Span::millis(self.between(500, 8_000)),
            },
            _ => {
                connections = self.between(2, 40);
                every = Span::millis(self.between(0, 100));
                Load::Bulk { up: size(self, 10_000), down: size(self, 20_000) }
            }
        };
        let slow = matches!(load, Load::Bulk { .. } | Load::HalfClose { .. }) && connections == 1;
        TrafficSpec {
            name: format!("{} {number}", load.kind()),
            from: "client".to_owned(),
            to: "server".to_owned(),
            address: None,
            port: None,
            start: Span::millis(self.between(0, 3_000)),
            connections,
            every,
            tcp: self.chance(10),
            fast_open: false,
            read_rate: (slow && self.chance(20)).then(|| Rate(self.between(500, 5_000) * 1_000)),
            load,
        }
    }

    fn event(&mut self, links: &[LinkSpec], link: usize, is_v6: bool) -> Vec<EventSpec> {
        let mut events = Vec::new();
        let at = Span::millis(self.between(100, 8_000));
        let back = Span(at.0 + Span::millis(self.between(50, 5_000)).0);
        let mut push = |at: Span, action: Action| {
            events.push(EventSpec { at, link: links[link].name.clone(), action });
        };
        let is_first = link == 0;
        let new_address = |host: u64| {
            let bits = if is_v6 { 64 } else { 24 };
            format!("{}/{bits} subflow", address(link as u64 + 1, is_v6, host))
        };
        match self.rng.below(10) {
            0..=3 => {
                push(at, Action::Cut);
                push(back, Action::Restore);
            }
            4 => {
                push(at, Action::Cut);
                if is_first {
                    self.at_best(Ending::MayFail);
                }
            }
            5 => {
                push(at, Action::Down);
                push(back, Action::Up);
                // Connections that begin meanwhile leave through another interface, if there is one.
                self.at_best(Ending::MayFail);
            }
            6 => push(at, Action::AddAddress(new_address(self.between(3, 9)))),
            7 => {
                push(at, Action::Roam(new_address(self.between(10, 19))));
                if is_first {
                    self.at_best(Ending::MayFail);
                }
            }
            8 => {
                let rate = self.one_of(&[1, 5, 30]) * 1_000_000;
                let shape = Shape { rate: Some(Rate(rate)), ..links[link].shape };
                push(at, Action::Shape(shape));
            }
            _ => push(at, Action::Mtu(self.between(1_280, 1_500) as u16)),
        }
        events
    }
}

/// A link whose rate and delay come and go, as a radio's do. It is never silent for long.
fn fading(radio: &mut Prng) -> TraceSpec {
    let mut at = 0;
    let mut steps = Vec::new();
    for step in 0..2 + radio.below(5) {
        let is_silent = step > 0 && radio.ratio(1, 4);
        let mbit = [1, 2, 5, 10, 20, 50][radio.below(6) as usize];
        steps.push(TraceStepSpec {
            at: Span::millis(at),
            rate: (!is_silent).then_some(Rate(mbit * 1_000_000)),
            delay: radio.ratio(1, 2).then(|| Span::millis(radio.below(100))),
        });
        at += 20 + if is_silent { radio.below(400) } else { radio.below(3_000) };
    }
    TraceSpec { file: None, steps, every: Some(Span::millis(at)) }
}

fn is_lossy(shape: &Shape) -> bool {
    shape.loss.is_some() || shape.bursts.is_some() || shape.corrupt.is_some()
}

/// For how long a link is cut in all, where it is mended.
fn silence(events: &[EventSpec], link: &str) -> Span {
    let times = |action: Action| {
        events
            .iter()
            .filter(move |event| event.link == link && event.action == action)
            .map(|event| event.at.0)
    };
    Span(times(Action::Restore).zip(times(Action::Cut)).map(|(back, cut)| back.saturating_sub(cut)).sum())
}

/// The first windows of all connections are more than a second's work.
fn is_crowded(link: &LinkSpec, connections: u64) -> bool {
    let steps = link.trace.iter().flat_map(|trace| trace.steps.iter().filter_map(|step| step.rate));
    let rates = steps.chain(link.shape.rate).chain(link.up.and_then(|up| up.rate));
    rates.min().is_some_and(|rate| rate.0 < connections * FIRST_WINDOW_BITS)
}

/// What a trace lets through in the mean, in bits per second.
fn mean_rate(link: &LinkSpec) -> Option<u64> {
    let trace = link.trace.as_ref()?;
    let period = trace.every?;
    let ends = trace.steps.iter().skip(1).map(|step| step.at).chain([period]);
    let carried = trace.steps.iter().zip(ends).map(|(step, end)| {
        let millis = end.0.saturating_sub(step.at.0) / 1_000_000;
        step.rate.map_or(0, |rate| rate.0) / 1_000 * millis
    });
    Some(carried.sum::<u64>() * 1_000 / (period.0 / 1_000_000).max(1))
}

/// Data can arrive without its mapping.
fn takes_mappings(spec: &BoxSpec) -> bool {
    matches!(spec, BoxSpec::Coalesce { same_options: false, .. })
}

/// A proxy believes forged segments, and acknowledges to either end what the other never gets: neither can find out.
fn drop_forgers_before_proxies(link: &mut LinkSpec) {
    let mut boxes = link.boxes.iter().chain(&link.far_boxes);
    if boxes.any(|spec| matches!(spec, BoxSpec::Pep { .. })) {
        for boxes in [&mut link.boxes, &mut link.far_boxes] {
            boxes.retain(|spec| !matches!(spec, BoxSpec::Inject { .. }));
        }
    }
}

/// How a world can end, at best, for these boxes on one link.
fn together<'a>(boxes: impl Iterator<Item = &'a BoxSpec>) -> Ending {
    let kinds: Vec<&str> = boxes.map(BoxSpec::kind).collect();
    // What is joined may be too large for the router, and no sender can mend that.
    let is_refused = kinds.contains(&"coalesce") && kinds.contains(&"too-big");
    // The one takes mappings away, and the other the signs of it.
    let is_hidden = kinds.iter().filter(|kind| ["split", "coalesce"].contains(kind)).count() > 1;
    if is_refused || is_hidden { Ending::MayFail } else { Ending::Complete }
}

pub(crate) fn address(link: u64, is_v6: bool, host: u64) -> String {
    if is_v6 { format!("fd00:0:0:{link}::{host}") } else { format!("10.0.{link}.{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worlds_are_sound_and_most_of_them_must_complete() {
        let mut must = 0;
        for seed in 0..1_000 {
            let world = world(seed);
            assert_eq!(world.check(), Ok(()), "seed {seed}");
            assert_eq!(world, super::world(seed));
            must += u32::from(world.expect.ending == Ending::Complete);
        }
        assert!(must >= 700, "{must}");
    }
}
