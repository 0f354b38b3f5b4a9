//! The virtio-net header: what a device still has to finish on a packet, or did not finish.
//!
//! Ten octets before each packet of a TUN device with `IFF_VNET_HDR` (virtio 1.2 §5.1.6, without
//! `num_buffers`, in the byte order of the machine, as Linux keeps it for TUN).

/// Octets of the header on a TUN device (`TUNGETVNETHDRSZ` gives 10 by default).
pub const VNET_HDR_LEN: usize = 10;

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_ECN: u8 = 0x80;

/// State of a packet's transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// The field holds the complete checksum, which the receiver has to verify.
    #[default]
    Complete,
    /// The device verified it.
    Verified,
    /// The field holds only the pseudo-header's sum: whoever puts the packet on a real wire adds the
    /// octets from `start` on and stores the result at `start + offset`. Its sender is this machine.
    Partial {
        /// Offset of the first octet covered, from the start of the IP header.
        start: u16,
        /// Offset of the checksum field from `start`.
        offset: u16,
    },
}

/// How a packet is cut into segments that fit a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segmentation {
    /// Which protocol's headers are repeated on each segment.
    pub kind: SegmentationKind,
    /// Payload octets of each segment but the last (the MSS).
    pub size: u16,
    /// Octets of IP and TCP header.
    pub header_len: u16,
    /// The first segment carries CWR.
    pub ecn: bool,
}

/// Protocols that a device can segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentationKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
}

/// What is left to do on a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VnetHdr {
    /// The transport checksum.
    pub checksum: Checksum,
    /// Present when the packet stands for several segments.
    pub segmentation: Option<Segmentation>,
}

/// A virtio-net header that is too short or names a segmentation that TCP does not use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadVnetHdr;

impl VnetHdr {
    /// Reads the header at the front of `bytes`.
    ///
    /// # Errors
    /// [`BadVnetHdr`] when `bytes` is shorter than [`VNET_HDR_LEN`] or the segmentation is not TCP's.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadVnetHdr> {
        let Some((hdr, _)) = bytes.split_first_chunk::<VNET_HDR_LEN>() else { return Err(BadVnetHdr) };
        let field = |at: usize| u16::from_ne_bytes([hdr[at], hdr[at + 1]]);
        let checksum = if hdr[0] & F_NEEDS_CSUM != 0 {
            Checksum::Partial { start: field(6), offset: field(8) }
        } else if hdr[0] & F_DATA_VALID != 0 {
            Checksum::Verified
        } else {
            Checksum::Complete
        };
        let kind = match hdr[1] & !GSO_ECN {
            0 => None,
            GSO_TCPV4 => Some(SegmentationKind::Tcp4),
            GSO_TCPV6 => Some(SegmentationKind::Tcp6),
            _ => return Err(BadVnetHdr),
        };
        let segmentation = kind.map(|kind| Segmentation {
            kind,
            size: field(4),
            header_len: field(2),
            ecn: hdr[1] & GSO_ECN != 0,
        });
        Ok(Self { checksum, segmentation })
    }

    /// The header's octets.
    pub fn emit(&self) -> [u8; VNET_HDR_LEN] {
        let mut hdr = [0; VNET_HDR_LEN];
        match self.checksum {
            Checksum::Complete => {}
            Checksum::Verified => hdr[0] = F_DATA_VALID,
            Checksum::Partial { start, offset } => {
                hdr[0] = F_NEEDS_CSUM;
                hdr[6..8].copy_from_slice(&start.to_ne_bytes());
                hdr[8..10].copy_from_slice(&offset.to_ne_bytes());
            }
        }
        if let Some(Segmentation { kind, size, header_len, ecn }) = self.segmentation {
            hdr[1] = match kind {
                SegmentationKind::Tcp4 => GSO_TCPV4,
                SegmentationKind::Tcp6 => GSO_TCPV6,
            } | if ecn { GSO_ECN } else { 0 };
            hdr[2..4].copy_from_slice(&header_len.to_ne_bytes());
            hdr[4..6].copy_from_slice(&size.to_ne_bytes());
        }
        hdr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_is_parsed_back() {
        let checksums = [Checksum::Complete, Checksum::Verified, Checksum::Partial { start: 40, offset: 16 }];
        let kinds = [SegmentationKind::Tcp4, SegmentationKind::Tcp6];
        for checksum in checksums {
            for kind in kinds {
                for ecn in [false, true] {
                    let segmentation = Some(Segmentation { kind, size: 1448, header_len: 52, ecn });
                    let hdr = VnetHdr { checksum, segmentation };
                    assert_eq!(VnetHdr::parse(&hdr.emit()), Ok(hdr));
                }
            }
            let hdr = VnetHdr { checksum, segmentation: None };
            assert_eq!(VnetHdr::parse(&hdr.emit()), Ok(hdr));
        }
    }

    #[test]
    fn short_and_foreign_headers_are_refused() {
        assert_eq!(VnetHdr::parse(&[0; 9]), Err(BadVnetHdr));
        let mut udp = [0; VNET_HDR_LEN];
        udp[1] = 3;
        assert_eq!(VnetHdr::parse(&udp), Err(BadVnetHdr));
    }
}
