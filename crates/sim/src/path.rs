//! A link in both directions, and the boxes on either side of it.

use polytcp_netem::link::Arrival;
use polytcp_netem::middlebox::{Chain, Direction, Middlebox, Output};
use polytcp_netem::{Link, LinkConfig};
use polytcp_proto::time::Instant;

use crate::scenario::{LinkSpec, Shape};

/// One of the two ends of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    First,
    Second,
}

impl End {
    pub(crate) const BOTH: [Self; 2] = [Self::First, Self::Second];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }
}

/// Links, boxes, and what has come out of them.
pub(crate) struct Path {
    /// From the first host, and to it.
    pub(crate) links: [Link<Vec<u8>>; 2],
    near: Chain,
    far: Chain,
    arrived: Vec<(End, Vec<u8>)>,
}

/// Which of the two chains.
#[derive(Clone, Copy)]
enum Side {
    Near,
    Far,
}

impl Path {
    pub(crate) fn new(now: Instant, spec: &LinkSpec, seed: u64) -> Result<Self, String> {
        let [up, down]: [LinkConfig; 2] = spec.configs(spec.shape);
        let chain = |specs: &[crate::boxes::BoxSpec], salt: u64| {
            let mut chain = Chain::new();
            for (place, spec) in (0u64..).zip(specs) {
                chain.push(spec.build(seed ^ (salt + place))?);
            }
            Ok::<_, String>(chain)
        };
        let mut links = [Link::new(up, seed ^ 0x7570), Link::new(down, seed ^ 0x646f_776e)];
        for (link, trace) in links.iter_mut().zip(spec.traces()?) {
            link.follow(now, trace);
        }
        Ok(Self {
            links,
            near: chain(&spec.boxes, 0x6e65_6172_0000)?,
            far: chain(&spec.far_boxes, 0x0066_6172_0000)?,
            arrived: Vec::new(),
        })
    }

    /// A host sends a packet.
    pub(crate) fn send(&mut self, now: Instant, from: End, packet: Vec<u8>) {
        let (side, direction) = match from {
            End::First => (Side::Near, Direction::Outward),
            End::Second => (Side::Far, Direction::Inward),
        };
        self.enter(now, side, direction, packet);
    }

    /// Does what is due, and gives what has arrived at either end.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<(End, Vec<u8>)> {
        for side in [Side::Near, Side::Far] {
            let chain = self.chain(side);
            if chain.next_deadline().is_some_and(|due| due <= now) {
                let mut out = Output::new();
                chain.poll(now, &mut out);
                self.leave(now, side, out);
            }
        }
        while let Some(arrival) = self.links[0].pop_arrival(now) {
            self.enter(now, Side::Far, Direction::Outward, damaged(arrival));
        }
        while let Some(arrival) = self.links[1].pop_arrival(now) {
            self.enter(now, Side::Near, Direction::Inward, damaged(arrival));
        }
        std::mem::take(&mut self.arrived)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(Link::next_deadline);
        links.chain(self.near.next_deadline()).chain(self.far.next_deadline()).min()
    }

    /// Whether a packet has passed all boxes and was not taken yet.
    pub(crate) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    pub(crate) fn cut(&mut self) {
        self.links.iter_mut().for_each(Link::cut);
    }

    pub(crate) fn restore(&mut self) {
        self.links.iter_mut().for_each(Link::restore);
    }

    pub(crate) fn reshape(&mut self, now: Instant, spec: &LinkSpec, shape: Shape) {
        for (link, config) in self.links.iter_mut().zip(spec.configs(shape)) {
            link.set_config(now, config);
        }
    }

    fn chain(&mut self, side: Side) -> &mut Chain {
        match side {
            Side::Near => &mut self.near,
            Side::Far => &mut self.far,
        }
    }

    fn enter(&mut self, now: Instant, side: Side, direction: Direction, packet: Vec<u8>) {
        let mut out = Output::new();
        let chain = self.chain(side);
        if chain.is_empty() {
            out.push(direction, packet);
        } else {
            chain.handle(now, direction, packet, &mut out);
        }
        self.leave(now, side, out);
    }

    fn leave(&mut self, now: Instant, side: Side, mut out: Output) {
        while let Some((direction, packet)) = out.pop() {
            let size = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            match (side, direction) {
                (Side::Near, Direction::Inward) => self.arrived.push((End::First, packet)),
                (Side::Far, Direction::Outward) => self.arrived.push((End::Second, packet)),
                (Side::Near, Direction::Outward) => drop(self.links[0].push(now, packet, size)),
                (Side::Far, Direction::Inward) => drop(self.links[1].push(now, packet, size)),
            }
        }
    }
}

/// The packet as it arrives, with the bit flipped that the link has flipped.
fn damaged(arrival: Arrival<Vec<u8>>) -> Vec<u8> {
    let mut packet = arrival.packet;
    if let Some(bit) = arrival.flipped_bit
        && let Some(octet) = packet.get_mut((bit / 8) as usize)
    {
        *octet ^= 0x80 >> (bit % 8);
    }
    packet
}
