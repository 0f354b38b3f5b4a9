//! One direction of an emulated link: packets are cut to the MTU on the way in, held by the link, and
//! joined again on the way out.

use polytcp_netem::{Link, LinkConfig, LinkStats};
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
    /// Packets that were not offered to the link: larger than the MTU and not to be segmented.
    pub oversized: u64,
    /// Packets that were not offered to the link: not what their virtio header says.
    pub malformed: u64,
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

#[derive(Debug)]
pub(crate) struct Passage {
    link: Link<Piece>,
    /// Came off the link, and did not continue the packets before it.
    ahead: Option<Piece>,
    oversized: u64,
    malformed: u64,
    refused: u64,
}

impl Passage {
    pub(crate) fn new(config: LinkConfig, seed: u64) -> Self {
        Self { link: Link::new(config, seed), ahead: None, oversized: 0, malformed: 0, refused: 0 }
    }

    /// Puts `packet` on the link, in pieces of at most `mtu` octets.
    ///
    /// A partial checksum stays partial, as between the hosts of one machine: the links here damage
    /// nothing, so that computing it only to verify it again would show nothing.
    pub(crate) fn offer(&mut self, now: Instant, packet: Transmit, mtu: u16) {
        match segment::cut(packet, mtu, Checksums::Partial) {
            Ok(pieces) => {
                for piece in pieces {
                    let size_bytes = piece.packet.len() as u32;
                    // The link counts what it drops.
                    let _ = self.link.push(now, piece, size_bytes);
                }
            }
            Err(CutError::Oversized) => self.oversized += 1,
            Err(CutError::Malformed) => self.malformed += 1,
        }
    }

    /// The next packet that is due by `now`.
    pub(crate) fn take(&mut self, now: Instant, joining: Joining) -> Option<Transmit> {
        let first = self.ahead.take().or_else(|| self.link.pop(now))?;
        if joining == Joining::Never {
            return Some(first.packet);
        }
        let mut run = Run::new(first);
        while let Some(next) = self.link.pop(now) {
            if let Err(next) = run.join(next) {
                self.ahead = Some(next);
                break;
            }
        }
        Some(run.finish())
    }

    /// When [`take`](Self::take) has something next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.ahead {
            Some(_) => Some(Instant::ZERO),
            None => self.link.next_deadline(),
        }
    }

    pub(crate) fn config(&self) -> LinkConfig {
        *self.link.config()
    }

    pub(crate) fn set_config(&mut self, now: Instant, config: LinkConfig) {
        self.link.set_config(now, config);
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
        let Self { link, ahead: _, oversized, malformed, refused } = self;
        EmulatedStats { link: link.stats(), oversized: *oversized, malformed: *malformed, refused: *refused }
    }
}
