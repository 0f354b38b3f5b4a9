//! What a NIC does with a packet that is given to it unfinished: complete its checksum, and cut it into
//! packets that fit the link (TCP segmentation offload, for IPv4 and IPv6).

use bytes::Bytes;
use polytcp_proto::packet::{HEADER_LEN_MAX, HeaderBuf, InterfaceId, Received, Transmit};
use polytcp_wire::checksum::Sum;
use polytcp_wire::virtio::{Checksum, VnetHdr};

use crate::headers::{CHECKSUM_OFFSET, FIRST_ONLY, LAST_ONLY, Layout};

/// A packet that contradicts its virtio header: it is not TCP of the stated kind, or shorter than the
/// offsets in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Why a packet cannot be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutError {
    /// It contradicts its virtio header.
    Malformed,
    /// It exceeds the MTU and does not ask for segmentation.
    Oversized,
}

/// How the checksums of cut packets are left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksums {
    /// Computed, ready for a wire.
    Complete,
    /// Left to whoever puts them on a wire, wherever the uncut packet left it too or was trusted.
    Partial,
}

/// One packet that fits the link. Remembers the payload that it was cut from, so that neighbours can be
/// joined again without a copy.
#[derive(Clone, Debug)]
pub struct Piece {
    pub(crate) packet: Transmit,
    /// The payload of the uncut packet; the packet's payload is a slice of it.
    pub(crate) whole: Bytes,
}

impl Piece {
    /// The packet by itself.
    pub fn into_packet(self) -> Transmit {
        self.packet
    }

    /// The packet.
    pub fn packet(&self) -> &Transmit {
        &self.packet
    }
}

impl From<Transmit> for Piece {
    fn from(packet: Transmit) -> Self {
        Self { whole: packet.payload.clone(), packet }
    }
}

/// Writes the checksum that a [`Checksum::Partial`] asks for into `packet`, where `start` and `offset`
/// are as the virtio header has them.
///
/// # Errors
/// [`Malformed`] when the field is outside of the packet.
pub fn fill_checksum(packet: &mut [u8], start: u16, offset: u16) -> Result<(), Malformed> {
    let (header, payload) = packet.split_at_mut(packet.len().min(HEADER_LEN_MAX));
    fill_split(header, payload, start, offset)
}

/// Completes the checksum of `packet` if it is partial.
///
/// # Errors
/// [`Malformed`] when the field is outside of the packet's headers.
pub fn complete(packet: &mut Transmit) -> Result<(), Malformed> {
    if let Checksum::Partial { start, offset } = packet.vnet.checksum {
        let len = packet.header.as_slice().len();
        fill_split(&mut packet.header.storage()[..len], &packet.payload, start, offset)?;
        packet.vnet.checksum = Checksum::Complete;
    }
    Ok(())
}

/// Flips one bit of a packet, counted from the highest of the first octet, as a wire does that damages
/// it: after its checksum has been completed. A bit beyond the end changes nothing.
pub fn flip_bit(mut packet: Transmit, bit: u32) -> Transmit {
    // One that cannot be completed is as good as damaged.
    let _ = complete(&mut packet);
    packet.vnet.checksum = Checksum::Complete;
    let (octet, mask) = ((bit / 8) as usize, 0x80 >> (bit % 8));
    let header_len = packet.header.as_slice().len();
    if octet < header_len {
        packet.header.storage()[octet] ^= mask;
    } else if octet - header_len < packet.payload.len() {
        let mut payload = packet.payload.to_vec();
        payload[octet - header_len] ^= mask;
        packet.payload = payload.into();
    }
    packet
}

/// Where a UDP header has its checksum; no other protocol has it there.
const UDP_CHECKSUM_OFFSET: u16 = 6;

fn fill_split(header: &mut [u8], payload: &[u8], start: u16, offset: u16) -> Result<(), Malformed> {
    let start = usize::from(start);
    let field = start + usize::from(offset);
    let mut sum = Sum::ZERO;
    sum.add_bytes(header.get(start..).ok_or(Malformed)?);
    sum.add_bytes(payload);
    let checksum = match sum.finish() {
        // Zero means "no checksum" there (RFC 768). Elsewhere the other zero verifies as well, but no sender
        // that sums the octets comes to it (RFC 1624 §3).
        0 if offset == UDP_CHECKSUM_OFFSET => u16::MAX,
        checksum => checksum,
    };
    header.get_mut(field..field + 2).ok_or(Malformed)?.copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}

/// A received packet as one to be sent on: headers apart from payload, which stays a slice.
pub fn forward(received: &Received) -> Transmit {
    let header_len = match Layout::of(&received.bytes) {
        Some(layout) => layout.header_len,
        None => received.bytes.len().min(HEADER_LEN_MAX),
    };
    Transmit {
        interface: InterfaceId(0),
        vnet: received.vnet,
        header: HeaderBuf::copy_from(&received.bytes[..header_len]).expect("at most HEADER_LEN_MAX"),
        payload: received.bytes.slice(header_len..),
    }
}

/// Cuts `packet` into packets of at most `mtu` octets; one that asks for no segmentation is yielded as
/// it is, but for its checksum.
///
/// Every cut packet repeats all options; the IPv4 identification counts up, CWR is on the first only,
/// PSH and FIN on the last only (as Linux segments). No payload is copied.
///
/// # Errors
/// [`CutError`], and the packet can only be dropped.
pub fn cut(mut packet: Transmit, mtu: u16, checksums: Checksums) -> Result<Pieces, CutError> {
    if packet.vnet.segmentation.is_none() {
        if packet.len() > usize::from(mtu) {
            return Err(CutError::Oversized);
        }
        if checksums == Checksums::Complete {
            complete(&mut packet).map_err(|Malformed| CutError::Malformed)?;
        }
        return Ok(Pieces(Cutting::Uncut(Some(packet))));
    }
    Ok(Pieces(Cutting::Segments(Segments::new(packet, mtu, checksums)?)))
}

/// The packets that [`cut`] makes.
#[derive(Debug)]
pub struct Pieces(Cutting);

#[derive(Debug)]
enum Cutting {
    Uncut(Option<Transmit>),
    Segments(Segments),
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        match &mut self.0 {
            Cutting::Uncut(packet) => packet.take().map(Piece::from),
            Cutting::Segments(segments) => segments.next(),
        }
    }
}

#[derive(Debug)]
struct Segments {
    layout: Layout,
    packet: Transmit,
    checksums: Checksums,
    /// Octets of payload in each segment but the last.
    size: usize,
    /// The next segment; past the last one when all are cut.
    index: usize,
    count: usize,
}

impl Segments {
    fn new(mut packet: Transmit, mtu: u16, checksums: Checksums) -> Result<Self, CutError> {
        let segmentation = packet.vnet.segmentation.ok_or(CutError::Malformed)?;
        let header = packet.header.as_slice();
        let layout = Layout::of(header).ok_or(CutError::Malformed)?;
        if layout.kind != segmentation.kind {
            return Err(CutError::Malformed);
        }
        if layout.header_len < header.len() {
            // Payload that was held inline: bring the cut to where the headers end.
            packet = split_headers(&packet, layout);
        }
        let room = usize::from(mtu).saturating_sub(layout.header_len);
        let size = usize::from(segmentation.size).min(room);
        if size == 0 {
            return Err(CutError::Malformed);
        }
        let count = packet.payload.len().div_ceil(size).max(1);
        packet.vnet = VnetHdr {
            checksum: Checksum::Partial { start: layout.ip_len as u16, offset: CHECKSUM_OFFSET },
            segmentation: None,
        };
        Ok(Self { layout, packet, checksums, size, index: 0, count })
    }

    fn next(&mut self) -> Option<Piece> {
        if self.index >= self.count {
            return None;
        }
        let Self { layout, ref packet, size, index, count, .. } = *self;
        let from = index * size;
        let payload = packet.payload.slice(from..(from + size).min(packet.payload.len()));
        let mut segment = Transmit { payload, ..packet.clone() };
        let storage = segment.header.storage();
        let header = &mut storage[..layout.header_len];
        let mut flags = layout.flags(header);
        if index > 0 {
            flags = flags.without(FIRST_ONLY);
        }
        if index + 1 < count {
            flags = flags.without(LAST_ONLY);
        }
        layout.set_flags(header, flags);
        layout.set_seq(header, layout.seq(header).wrapping_add(from as u32));
        if let Some(ident) = layout.ident(header) {
            layout.set_ident(header, ident.wrapping_add(index as u16));
        }
        layout.set_payload_len(header, segment.payload.len()).expect("shorter than the MTU");
        layout.set_checksum(header, layout.pseudo_header(header, segment.payload.len()).fold());
        if self.checksums == Checksums::Complete {
            complete(&mut segment).expect("the layout holds the field");
        }
        self.index += 1;
        Some(Piece { packet: segment, whole: packet.payload.clone() })
    }
}

/// `packet` with everything past its headers in the payload, which is copied.
fn split_headers(packet: &Transmit, layout: Layout) -> Transmit {
    let (header, inline) = packet.header.as_slice().split_at(layout.header_len);
    Transmit {
        header: HeaderBuf::copy_from(header).expect("at most HEADER_LEN_MAX"),
        payload: [inline, &packet.payload].concat().into(),
        ..packet.clone()
    }
}

#[cfg(test)]
mod tests;
