//! Middleboxes of `polytcp-netem` on both sides of an emulated link.
//!
//! Boxes work on finished packets: each piece has its checksum completed and is copied into one run of
//! octets before a box, and is a packet of its own after it.

use std::sync::Mutex;

use polytcp_netem::middlebox::{Chain, Direction as Way, Middlebox, Output};
use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::Instant;
use polytcp_wire::virtio::VnetHdr;

use crate::links::{Direction, lock};
use crate::passage::Passage;
use crate::segment::{self, Checksums, CutError, Piece};

/// The boxes of a path, none by default. What the stack sends (or the first device of a bridge) goes
/// outward through them.
#[derive(Debug, Default)]
pub struct Boxes {
    /// Between the stack and the link.
    pub near: Chain,
    /// Between the link and the device.
    pub far: Chain,
}

/// Packets that come off the links in one go. Boxes at both ends that answer each other over links
/// without delay would never end.
const SETTLED_MAX: usize = 1_024;

/// Boxes at work.
#[derive(Debug)]
pub(crate) struct Crossing {
    boxes: Boxes,
    out: Output,
    /// Octets of the largest packet on the path, as of the last packet.
    mtu: u16,
}

/// The two directions between the boxes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passages<'a> {
    pub(crate) egress: &'a Mutex<Passage>,
    pub(crate) ingress: &'a Mutex<Passage>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Near,
    Far,
}

impl Crossing {
    /// `None` where there is no box.
    pub(crate) fn new(boxes: Boxes) -> Option<Self> {
        let some = !boxes.near.is_empty() || !boxes.far.is_empty();
        some.then_some(Self { boxes, out: Output::new(), mtu: u16::MAX })
    }

    /// When the boxes act on their own account.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.boxes.near.next_deadline(), self.boxes.far.next_deadline()].into_iter().flatten().min()
    }

    /// Takes a packet that enters the path in `direction`.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        direction: Direction,
        packet: Transmit,
        mtu: u16,
        passages: Passages<'_>,
    ) {
        self.mtu = mtu;
        let side = match direction {
            Direction::Egress => Side::Near,
            Direction::Ingress => Side::Far,
        };
        match segment::cut(packet, mtu, Checksums::Complete) {
            Ok(pieces) => pieces.for_each(|piece| self.handle(now, side, direction, piece, passages)),
            Err(error) => lock(passages.of(direction)).count_uncut(error),
        }
    }

    /// Does all that is due by `now`: what boxes send themselves, and what has come off the links.
    pub(crate) fn settle(&mut self, now: Instant, passages: Passages<'_>) {
        let due = |chain: &Chain| chain.next_deadline().is_some_and(|due| due <= now);
        if due(&self.boxes.near) {
            self.boxes.near.poll(now, &mut self.out);
            self.place(now, Side::Near, passages);
        }
        if due(&self.boxes.far) {
            self.boxes.far.poll(now, &mut self.out);
            self.place(now, Side::Far, passages);
        }
        for _ in 0..SETTLED_MAX {
            let arrived = [Direction::Egress, Direction::Ingress]
                .map(|direction| lock(passages.of(direction)).pop_for_boxes(now));
            let [egress, ingress] = arrived;
            if egress.is_none() && ingress.is_none() {
                break;
            }
            if let Some(piece) = egress {
                self.handle(now, Side::Far, Direction::Egress, piece, passages);
            }
            if let Some(piece) = ingress {
                self.handle(now, Side::Near, Direction::Ingress, piece, passages);
            }
        }
    }

    fn handle(
        &mut self,
        now: Instant,
        side: Side,
        direction: Direction,
        piece: Piece,
        passages: Passages<'_>,
    ) {
        let mut packet = piece.into_packet();
        if segment::complete(&mut packet).is_err() {
            lock(passages.of(direction)).count_uncut(CutError::Malformed);
            return;
        }
        let octets = [packet.header.as_slice(), &packet.payload].concat();
        let way = match direction {
            Direction::Egress => Way::Outward,
            Direction::Ingress => Way::Inward,
        };
        let chain = match side {
            Side::Near => &mut self.boxes.near,
            Side::Far => &mut self.boxes.far,
        };
        chain.handle(now, way, octets, &mut self.out);
        self.place(now, side, passages);
    }

    /// Moves on what the boxes of one side have sent: onto a link, or to who is at the end of the path.
    fn place(&mut self, now: Instant, side: Side, passages: Passages<'_>) {
        while let Some((way, octets)) = self.out.pop() {
            let direction = match way {
                Way::Outward => Direction::Egress,
                Way::Inward => Direction::Ingress,
            };
            let mut passage = lock(passages.of(direction));
            if octets.len() > usize::from(self.mtu) {
                passage.count_uncut(CutError::Oversized);
                continue;
            }
            let buffer_bytes = octets.len() as u32;
            let received = Received { vnet: VnetHdr::default(), bytes: octets.into(), buffer_bytes };
            let piece = Piece::from(segment::forward(&received));
            match (side, direction) {
                (Side::Near, Direction::Egress) | (Side::Far, Direction::Ingress) => passage.push(now, piece),
                (Side::Near, Direction::Ingress) | (Side::Far, Direction::Egress) => passage.arrive(piece),
            }
        }
    }
}

impl<'a> Passages<'a> {
    fn of(self, direction: Direction) -> &'a Mutex<Passage> {
        match direction {
            Direction::Egress => self.egress,
            Direction::Ingress => self.ingress,
        }
    }
}

#[cfg(test)]
mod tests;
