//! One direction of an emulated link: packets are cut to the MTU on the way in, held by the link, and
//! joined again on the way out.

use std::collections::VecDeque;

use polytcp_netem::{Arrival, Link, LinkConfig, LinkStats, Trace};
use polytcp_proto::packet::Transmit;
use polytcp_proto::time::Instant;

use crate::coalesce::Run;
use crate::device::Capabilities;
use crate::segment::{self, Checksums, CutError, Piece};

/// Totals of one direction of an emulated link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EmulatedStats {
    /// The link's own totals, in packets of at most the MTU.
    pub link: LinkStats,
    /// Packets that were not offered to the link: larger than the MTU and not to be segmented. Those that
    /// a box made too large count too.
    pub oversized: u64,
    /// Packets that were not offered to the link: not what their virtio header says.
    pub malformed: u64,
    /// Packets from boxes that were dropped since too many waited for the end of the path to take them.
    pub unread: u64,
    /// Packets that the link delivered and the device behind it refused for good.
    pub refused: u64,
}

/// Whether packets that are due together are joined before they go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Joining {
    /// As far as they continue each other.
    Neighbours,
    /// Never: who takes them has no segmentation offload.
    Never,
}

impl Joining {
    /// What a device behind the link can take.
    pub(crate) fn for_device(capabilities: Capabilities) -> Self {
        if capabilities.segmentation_offload() { Self::Neighbours } else { Self::Never }
    }
}

/// Packets that boxes have passed and nobody has taken. Beyond, those on the link stay there, and what
/// boxes send besides is dropped.
const ARRIVED_MAX: usize = 1_024;

/// What stands at the end of the link.
#[derive(Debug)]
enum LinkEnd {
    /// Who takes the packets.
    Open,
    /// Boxes, and what they have passed on.
    Boxes(VecDeque<Piece>),
}

/// Whether there are boxes on the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Boxed {
    No,
    Yes,
}

#[derive(Debug)]
pub(crate) struct Passage {
    link: Link<Piece>,
    end: LinkEnd,
    /// Came off the link, and did not continue the packets before it.
    ahead: Option<Piece>,
    oversized: u64,
    malformed: u64,
    unread: u64,
    refused: u64,
}

impl Passage {
    pub(crate) fn new(config: LinkConfig, seed: u64, boxed: Boxed) -> Self {
        let end = match boxed {
            Boxed::No => LinkEnd::Open,
            Boxed::Yes => LinkEnd::Boxes(VecDeque::new()),
        };
        let link = Link::new(config, seed);
        Self { link, end, ahead: None, oversized: 0, malformed: 0, unread: 0, refused: 0 }
    }

    /// Puts `packet` on the link, in pieces of at most `mtu` octets.
    ///
    /// A partial checksum stays partial, as between the hosts of one machine: computing it only to verify
    /// it again would show nothing. A packet that the link damages gets its checksum before.
    pub(crate) fn offer(&mut self, now: Instant, packet: Transmit, mtu: u16) {
        match segment::cut(packet, mtu, Checksums::Partial) {
            Ok(pieces) => pieces.for_each(|piece| self.push(now, piece)),
            Err(error) => self.count_uncut(error),
        }
    }

    /// Puts a piece on the link, which counts what it drops.
    pub(crate) fn push(&mut self, now: Instant, piece: Piece) {
        let size_bytes = piece.packet().len() as u32;
        let _ = self.link.push(now, piece, size_bytes);
    }

    /// Counts a packet that cannot go on the link.
    pub(crate) fn count_uncut(&mut self, error: CutError) {
        match error {
            CutError::Oversized => self.oversized += 1,
            CutError::Malformed => self.malformed += 1,
        }
    }

    /// The next piece that comes off the link by `now`, for the boxes behind it.
    pub(crate) fn pop_for_boxes(&mut self, now: Instant) -> Option<Piece> {
        match &self.end {
            LinkEnd::Boxes(arrived) if arrived.len() < ARRIVED_MAX => self.pop_link(now),
            LinkEnd::Boxes(_) | LinkEnd::Open => None,
        }
    }

    /// Takes a piece that a box has passed to the end of the path.
    pub(crate) fn arrive(&mut self, piece: Piece) {
        match &mut self.end {
            LinkEnd::Boxes(arrived) if arrived.len() < 2 * ARRIVED_MAX => arrived.push_back(piece),
            LinkEnd::Boxes(_) | LinkEnd::Open => self.unread += 1,
        }
    }

    /// The next piece off the link, damaged if so it arrived.
    fn pop_link(&mut self, now: Instant) -> Option<Piece> {
        let Arrival { packet: piece, flipped_bit } = self.link.pop_arrival(now)?;
        Some(match flipped_bit {
            None => piece,
            Some(bit) => Piece::from(segment::flip_bit(piece.into_packet(), bit)),
        })
    }

    fn next(&mut self, now: Instant) -> Option<Piece> {
        match &mut self.end {
            LinkEnd::Open => self.pop_link(now),
            LinkEnd::Boxes(arrived) => arrived.pop_front(),
        }
    }

    /// The next packet that is due by `now`.
    pub(crate) fn take(&mut self, now: Instant, joining: Joining) -> Option<Transmit> {
        let first = self.ahead.take().or_else(|| self.next(now))?;
        if joining == Joining::Never {
            return Some(first.packet);
        }
        let mut run = Run::new(first);
        while let Some(next) = self.next(now) {
            if let Err(next) = run.join(next) {
                self.ahead = Some(next);
                break;
            }
        }
        Some(run.finish())
    }

    /// When [`take`](Self::take) has something next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match (&self.ahead, &self.end) {
            (Some(_), _) => Some(Instant::ZERO),
            (None, LinkEnd::Boxes(arrived)) if !arrived.is_empty() => Some(Instant::ZERO),
            (None, LinkEnd::Open | LinkEnd::Boxes(_)) => self.link.next_deadline(),
        }
    }

    pub(crate) fn config(&self) -> LinkConfig {
        *self.link.config()
    }

    pub(crate) fn set_config(&mut self, now: Instant, config: LinkConfig) {
        self.link.set_config(now, config);
    }

    pub(crate) fn follow(&mut self, now: Instant, trace: Option<Trace>) {
        self.link.follow(now, trace);
    }

    /// Drops what is on the link; what came off it has arrived.
    pub(crate) fn cut(&mut self) {
        self.link.cut();
    }

    pub(crate) fn restore(&mut self) {
        self.link.restore();
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(crate) fn count_refused(&mut self) {
        self.refused += 1;
    }

    pub(crate) fn stats(&self) -> EmulatedStats {
        let Self { link, end: _, ahead: _, oversized, malformed, unread, refused } = self;
        EmulatedStats {
            link: link.stats(),
            oversized: *oversized,
            malformed: *malformed,
            unread: *unread,
            refused: *refused,
        }
    }
}
