//! Joins neighbouring TCP segments into one super-packet, as a receiving kernel does (GRO).
//!
//! Only segments that [`segment::cut`](crate::segment::cut) would make again are joined: one flow, in
//! order, with identical options, acknowledgement and window, all of full size but the last. Cutting
//! the super-packet gives the segments back (with other IPv4 identifications where they had been out
//! of step, which RFC 6864 §4.1 allows for packets that must not be fragmented).

use bytes::{Bytes, BytesMut};
use polytcp_proto::packet::{HEADER_LEN_MAX, Transmit};
use polytcp_wire::tcp::TcpFlags;
use polytcp_wire::virtio::{Checksum, Segmentation, VnetHdr};

use crate::device::PACKET_BYTES_MAX;
use crate::headers::{CHECKSUM_OFFSET, FIRST_ONLY, LAST_ONLY, Layout};
use crate::segment::Piece;

/// A super-packet in the making; a single segment at first.
#[derive(Debug)]
pub struct Run {
    first: Piece,
    growth: Growth,
}

#[derive(Debug)]
enum Growth {
    /// Nothing can follow, ever.
    Closed,
    /// The next segment may follow.
    Open(Box<Kin>),
}

/// What the next segment is compared with, and what has been joined so far.
#[derive(Debug)]
struct Kin {
    layout: Layout,
    /// The headers without what differs between segments.
    common: [u8; HEADER_LEN_MAX],
    /// Octets of payload in each segment but the last.
    size: usize,
    next_seq: u32,
    count: u16,
    payload_len: usize,
    /// Flags of the last segment.
    last_flags: TcpFlags,
    /// Payloads from the second segment on; those that continue the memory of the one before are
    /// joined with it.
    tail: Vec<Bytes>,
    /// Octets of `first.whole`, from the start of the first segment's payload, that are in the run
    /// without a copy.
    contiguous: usize,
    ended: bool,
}

impl Run {
    /// A run that starts with `first`.
    pub fn new(first: Piece) -> Self {
        let growth = match Kin::of(&first) {
            Some(kin) => Growth::Open(Box::new(kin)),
            None => Growth::Closed,
        };
        Self { first, growth }
    }

    /// Appends `next`.
    ///
    /// # Errors
    /// `next` again when it does not continue the run; the run is then to be
    /// [`finish`](Self::finish)ed before it.
    #[expect(clippy::result_large_err, reason = "the packet is moved on either way")]
    pub fn join(&mut self, next: Piece) -> Result<(), Piece> {
        match &mut self.growth {
            Growth::Closed => Err(next),
            Growth::Open(kin) => kin.join(&self.first, next),
        }
    }

    /// The super-packet, its checksum partial; or the first segment as it was, when none has followed.
    pub fn finish(self) -> Transmit {
        match self.growth {
            Growth::Open(kin) if kin.count > 1 => kin.finish(self.first),
            Growth::Open(_) | Growth::Closed => self.first.packet,
        }
    }
}

impl Kin {
    fn of(first: &Piece) -> Option<Self> {
        let layout = joinable(&first.packet)?;
        let header = first.packet.header.as_slice();
        let size = first.packet.payload.len();
        let flags = layout.flags(header);
        Some(Self {
            layout,
            common: layout.kinship(header),
            size,
            next_seq: layout.seq(header).wrapping_add(size as u32),
            count: 1,
            payload_len: size,
            last_flags: flags,
            tail: Vec::new(),
            contiguous: size,
            ended: flags.intersects(LAST_ONLY),
        })
    }

    #[expect(clippy::result_large_err, reason = "the packet is moved on either way")]
    fn join(&mut self, first: &Piece, next: Piece) -> Result<(), Piece> {
        if self.ended || !self.continued_by(&first.packet, &next.packet) {
            return Err(next);
        }
        let header = next.packet.header.as_slice();
        let len = next.packet.payload.len();
        self.last_flags = self.layout.flags(header);
        self.ended = len < self.size || self.last_flags.intersects(LAST_ONLY);
        self.next_seq = self.next_seq.wrapping_add(len as u32);
        self.count += 1;
        self.payload_len += len;
        if self.tail.is_empty() && follows_in_memory(first, self.contiguous, &next) {
            self.contiguous += len;
        } else {
            self.tail.push(next.packet.payload);
        }
        Ok(())
    }

    fn continued_by(&self, first: &Transmit, next: &Transmit) -> bool {
        let header = next.header.as_slice();
        let in_bounds = next.payload.len() <= self.size
            && self.layout.header_len + self.payload_len + next.payload.len() <= PACKET_BYTES_MAX as usize;
        let fitting = in_bounds
            && joinable(next) == Some(self.layout)
            && self.layout.seq(header) == self.next_seq
            && !self.layout.flags(header).intersects(FIRST_ONLY)
            && self.layout.kinship(header) == self.common;
        fitting && (self.layout.is_atomic(header) || self.numbered_next(first, header))
    }

    fn numbered_next(&self, first: &Transmit, header: &[u8]) -> bool {
        let expected = self.layout.ident(first.header.as_slice()).map(|ident| ident.wrapping_add(self.count));
        self.layout.ident(header) == expected
    }

    fn finish(self, first: Piece) -> Transmit {
        let Self { layout, contiguous, tail, .. } = self;
        let Piece { mut packet, whole } = first;
        let from = offset_in(&whole, &packet.payload).unwrap_or(0);
        let head = whole.slice(from..from + contiguous);
        packet.payload = if tail.is_empty() {
            head
        } else {
            let mut joined = BytesMut::with_capacity(self.payload_len);
            joined.extend_from_slice(&head);
            tail.iter().for_each(|part| joined.extend_from_slice(part));
            joined.freeze()
        };
        let storage = packet.header.storage();
        let header = &mut storage[..layout.header_len];
        let flags = layout.flags(header);
        layout.set_flags(header, flags.union(self.last_flags));
        layout.set_payload_len(header, self.payload_len).expect("checked as the run grew");
        layout.set_checksum(header, layout.pseudo_header(header, self.payload_len).fold());
        packet.vnet = VnetHdr {
            checksum: Checksum::Partial { start: layout.ip_len as u16, offset: CHECKSUM_OFFSET },
            segmentation: Some(Segmentation {
                kind: layout.kind,
                size: self.size as u16,
                header_len: layout.header_len as u16,
                ecn: flags.contains(TcpFlags::CWR),
            }),
        };
        packet
    }
}

/// The layout of a packet that may be in a run: data, finished by no one but in order, with a checksum
/// that is trusted or right.
fn joinable(packet: &Transmit) -> Option<Layout> {
    let header = packet.header.as_slice();
    let layout = Layout::of(header)?;
    let flags = layout.flags(header);
    let unusual = TcpFlags::SYN.union(TcpFlags::RST).union(TcpFlags::URG);
    let plain = packet.vnet.segmentation.is_none()
        && layout.header_len == header.len()
        && layout.payload_len(header) == Some(packet.payload.len())
        && !packet.payload.is_empty()
        && flags.contains(TcpFlags::ACK)
        && !flags.intersects(unusual);
    let trusted = || match packet.vnet.checksum {
        Checksum::Verified => true,
        Checksum::Partial { start, offset } => {
            usize::from(start) == layout.ip_len && offset == CHECKSUM_OFFSET
        }
        Checksum::Complete => {
            layout.ip_checksum_is_right(header) && layout.sum(header, &packet.payload).finish() == 0
        }
    };
    (plain && trusted()).then_some(layout)
}

/// Whether `next` was cut from the same payload as `first` and begins `len` octets after it.
fn follows_in_memory(first: &Piece, len: usize, next: &Piece) -> bool {
    let same = first.whole.as_ptr() == next.whole.as_ptr() && first.whole.len() == next.whole.len();
    let at = |piece: &Piece| offset_in(&piece.whole, &piece.packet.payload);
    same && at(first).is_some_and(|from| at(next) == Some(from + len))
}

/// Where `part` begins in `whole`, when it is a slice of it.
fn offset_in(whole: &Bytes, part: &Bytes) -> Option<usize> {
    let offset = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (offset + part.len() <= whole.len()).then_some(offset)
}

#[cfg(test)]
mod tests;
