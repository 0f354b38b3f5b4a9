//! The TCP header (RFC 9293 §3.1) and its checksum.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use crate::addresses::Addresses;
use crate::checksum::pseudo_header;
use crate::ip::PROTOCOL_TCP;
pub use crate::option_space::OptionBuf;
pub use crate::tcp_options::TcpOptions;

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// Octets of the longest header.
pub const HEADER_LEN_MAX: usize = 60;
/// Offset of the checksum field.
pub const CHECKSUM_OFFSET: usize = 16;

/// The control bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronizes sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Resets the connection.
    pub const RST: Self = Self(0x04);
    /// Asks for prompt delivery.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement field counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// Echoes congestion (RFC 3168 §6.1).
    pub const ECE: Self = Self(0x40);
    /// The congestion window was reduced (RFC 3168 §6.1).
    pub const CWR: Self = Self(0x80);

    /// Whether all of `flags` are set.
    #[inline]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// These flags and `flags`.
    #[inline]
    #[must_use]
    pub const fn union(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// These flags without `flags`.
    #[inline]
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, flags: Self) -> Self {
        self.union(flags)
    }
}

impl BitOrAssign for TcpFlags {
    fn bitor_assign(&mut self, flags: Self) {
        *self = self.union(flags);
    }
}

/// The initials of the flags that are set: `SA` for SYN and ACK, `-` for none.
impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("-");
        }
        for (bit, letter) in "FSRPAUEC".chars().enumerate() {
            if self.0 & 1 << bit != 0 {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// A TCP header without its options, checksum and lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpHeader {
    /// Port of the sender.
    pub src_port: u16,
    /// Port of the receiver.
    pub dst_port: u16,
    /// Sequence number of the first octet, or of the SYN.
    pub seq: u32,
    /// The next sequence number that the sender expects, if ACK is set.
    pub ack: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// The window, not scaled: octets only on a SYN or without window scaling (RFC 7323 §2).
    pub window: u16,
    /// The urgent pointer, relative to `seq`, if URG is set.
    pub urgent: u16,
}

/// A TCP header, its options, and where the payload starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParsedTcp {
    /// The fixed part.
    pub header: TcpHeader,
    /// The options.
    pub options: TcpOptions,
    /// Octets of header and options.
    pub payload_offset: usize,
}

/// Why a segment is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpFault {
    /// Shorter than a header.
    Truncated,
    /// The data offset is less than the fixed header, or beyond the end.
    DataOffset,
}

/// Reads the header and options of a segment, which is the payload of an IP packet. The checksum is not
/// verified: a device may have done that, and [`verify_checksum`] does it otherwise.
///
/// # Errors
/// [`TcpFault`] when there is no whole header. Options cannot fail: see [`TcpOptions::parse`].
#[inline]
pub fn parse(segment: &[u8]) -> Result<ParsedTcp, TcpFault> {
    let (fixed, _) = segment.split_first_chunk::<HEADER_LEN>().ok_or(TcpFault::Truncated)?;
    let payload_offset = usize::from(fixed[12] >> 4) * 4;
    let options = segment.get(HEADER_LEN..payload_offset).ok_or(TcpFault::DataOffset)?;
    let u16_at = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let u32_at = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let header = TcpHeader {
        src_port: u16_at(0),
        dst_port: u16_at(2),
        seq: u32_at(4),
        ack: u32_at(8),
        flags: TcpFlags(fixed[13]),
        window: u16_at(14),
        urgent: u16_at(18),
    };
    Ok(ParsedTcp { header, options: TcpOptions::parse(options), payload_offset })
}

impl TcpHeader {
    /// Writes header and options to the front of `out` and returns their length. The checksum field is
    /// left zero, for [`checksum_full`] or [`checksum_partial`] to be stored there.
    ///
    /// # Panics
    /// If `out` is too small; [`HEADER_LEN_MAX`] octets always suffice.
    #[inline]
    pub fn emit(&self, options: &OptionBuf, out: &mut [u8]) -> usize {
        let (fixed, rest) =
            out.split_first_chunk_mut::<HEADER_LEN>().expect("the caller's buffer holds a header");
        let len = HEADER_LEN + options.len();
        fixed[0..2].copy_from_slice(&self.src_port.to_be_bytes());
        fixed[2..4].copy_from_slice(&self.dst_port.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.seq.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ack.to_be_bytes());
        fixed[12] = (len as u8 / 4) << 4;
        fixed[13] = self.flags.0;
        fixed[14..16].copy_from_slice(&self.window.to_be_bytes());
        fixed[16..18].fill(0);
        fixed[18..20].copy_from_slice(&self.urgent.to_be_bytes());
        rest[..options.len()].copy_from_slice(options.as_slice());
        len
    }
}

/// The four bits between data offset and control bits, one of which is AE (RFC 9768); 0 without a header.
/// [`TcpHeader::emit`] leaves them zero.
pub fn reserved_bits(segment: &[u8]) -> u8 {
    segment.get(12).map_or(0, |octet| octet & 0x0f)
}

/// Writes the four bits between data offset and control bits.
///
/// # Panics
/// If `segment` is shorter than a header.
pub fn set_reserved_bits(segment: &mut [u8], bits: u8) {
    segment[12] = segment[12] & 0xf0 | bits & 0x0f;
}

/// Whether the checksum of a whole segment is right.
pub fn verify_checksum(addresses: &Addresses, segment: &[u8]) -> bool {
    let Ok(len) = u32::try_from(segment.len()) else { return false };
    let mut sum = pseudo_header(addresses, PROTOCOL_TCP, len);
    sum.add_bytes(segment);
    sum.finish() == 0
}

/// What the checksum field holds when a device is to finish it: the sum of the pseudo-header, folded
/// and not inverted. `tcp_len` counts header, options and payload.
pub fn checksum_partial(addresses: &Addresses, tcp_len: u16) -> u16 {
    pseudo_header(addresses, PROTOCOL_TCP, u32::from(tcp_len)).fold()
}

/// The checksum of a segment in two parts: `header` with options, whose checksum field is zero, and
/// `payload`.
pub fn checksum_full(addresses: &Addresses, header: &[u8], payload: &[u8]) -> u16 {
    // A longer segment than 4 GiB does not fit an IP packet.
    let mut sum = pseudo_header(addresses, PROTOCOL_TCP, (header.len() + payload.len()) as u32);
    sum.add_bytes(header);
    sum.add_bytes(payload);
    sum.finish()
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::format;

    use super::*;
    use crate::tcp_option::TcpOption;

    const HEADER: TcpHeader = TcpHeader {
        src_port: 0x1234,
        dst_port: 443,
        seq: 0x0102_0304,
        ack: 0x0506_0708,
        flags: TcpFlags(0x12),
        window: 0xfedc,
        urgent: 0x0a0b,
    };
    const OCTETS: [u8; 24] = [
        0x12, 0x34, 0x01, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8, 0x60, 0x12, 0xfe, 0xdc, 0, 0, 0x0a, 0x0b, 2, 4, 0x05,
        0xb4,
    ];

    fn families() -> [Addresses; 2] {
        let v4 = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        [Addresses::new(v4(1), v4(2)), Addresses::new(v6(1), v6(2))].map(|pair| pair.expect("one family"))
    }

    #[test]
    fn a_header_is_as_drawn() {
        let mut options = OptionBuf::new();
        options.push(TcpOption::Mss(1460)).expect("fits");
        let mut out = [0xaa; HEADER_LEN_MAX];
        assert_eq!(HEADER.emit(&options, &mut out), OCTETS.len());
        assert_eq!(out[..OCTETS.len()], OCTETS);
        let parsed = parse(&OCTETS).expect("well formed");
        assert_eq!(parsed.header, HEADER);
        assert_eq!(parsed.options, TcpOptions { mss: Some(1460), ..TcpOptions::default() });
        assert_eq!(parsed.payload_offset, OCTETS.len());

        assert_eq!(reserved_bits(&out), 0);
        set_reserved_bits(&mut out, 0xf5);
        assert_eq!((reserved_bits(&out), out[12]), (5, 0x65));
        assert_eq!(parse(&out).expect("well formed").payload_offset, OCTETS.len());
    }

    #[test]
    fn a_data_offset_outside_the_segment_is_refused() {
        for len in 0..HEADER_LEN {
            assert_eq!(parse(&OCTETS[..len]), Err(TcpFault::Truncated));
        }
        for words in 0..16_u8 {
            let mut octets = OCTETS;
            octets[12] = words << 4;
            assert_eq!(parse(&octets).is_ok(), matches!(words, 5 | 6), "{words}");
        }
    }

    #[test]
    fn a_checksum_covers_every_octet() {
        for addresses in families() {
            let mut segment = [0; 37];
            segment[..24].copy_from_slice(&OCTETS);
            segment[24..].copy_from_slice(b"thirteen here");
            let (header, payload) = segment.split_at(24);
            let checksum = checksum_full(&addresses, header, payload);

            // A device that was left the rest starts from the partial sum.
            let mut offloaded = segment;
            offloaded[16..18].copy_from_slice(&checksum_partial(&addresses, 37).to_be_bytes());
            let mut sum = crate::checksum::Sum::ZERO;
            sum.add_bytes(&offloaded);
            assert_eq!(sum.finish(), checksum);

            segment[CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
            assert!(verify_checksum(&addresses, &segment));
            assert!(verify_checksum(&addresses.reversed(), &segment), "the sum does not know direction");
            for at in 0..segment.len() {
                let mut damaged = segment;
                damaged[at] ^= 0x04;
                assert!(!verify_checksum(&addresses, &damaged), "octet {at}");
            }
            assert!(!verify_checksum(&addresses, &segment[..36]));
        }
    }

    #[test]
    fn flags_print_their_initials() {
        assert_eq!(format!("{:?}", TcpFlags::SYN | TcpFlags::ACK), "SA");
        assert_eq!(format!("{:?}", TcpFlags(0xff)), "FSRPAUEC");
        assert_eq!(format!("{:?}", TcpFlags::NONE), "-");
        assert!((TcpFlags::SYN | TcpFlags::ACK).contains(TcpFlags::ACK));
        assert!(!TcpFlags::SYN.contains(TcpFlags::SYN | TcpFlags::ACK));
    }
}
