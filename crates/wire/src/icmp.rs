//! ICMP for IPv4 (RFC 792, RFC 1191) and IPv6 (RFC 4443): echo, and the errors that concern transport.

use crate::addresses::Addresses;
use crate::checksum::{self, Sum};
use crate::cursor::Reader;
use crate::ip::{self, PROTOCOL_ICMPV6, PROTOCOL_TCP};

/// Octets before the data of an echo message, or before the packet that an error quotes.
const HEADER_LEN: usize = 8;

const V4_ECHO_REPLY: u8 = 0;
const V4_UNREACHABLE: u8 = 3;
const V4_ECHO_REQUEST: u8 = 8;
const V4_TIME_EXCEEDED: u8 = 11;
const V4_PARAMETER_PROBLEM: u8 = 12;

const V6_UNREACHABLE: u8 = 1;
const V6_PACKET_TOO_BIG: u8 = 2;
const V6_TIME_EXCEEDED: u8 = 3;
const V6_PARAMETER_PROBLEM: u8 = 4;
const V6_ECHO_REQUEST: u8 = 128;
const V6_ECHO_REPLY: u8 = 129;

/// A message that this host understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpMessage<'a> {
    /// A ping.
    EchoRequest {
        /// Tells the processes that ping apart.
        ident: u16,
        /// Counts up with each request.
        seq: u16,
        /// To be returned as it is.
        data: &'a [u8],
    },
    /// The answer to a ping.
    EchoReply {
        /// As in the request.
        ident: u16,
        /// As in the request.
        seq: u16,
        /// As in the request.
        data: &'a [u8],
    },
    /// A packet of this host did not arrive.
    Error {
        /// Why.
        kind: IcmpError,
        /// Which one.
        original: Original,
    },
    /// Something else: another type, or an error that quotes too little to know which packet it means.
    Other,
}

/// Why a packet did not arrive. Whether that is a hard or a soft error is up to the transport
/// (RFC 9293 §3.9.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpError {
    /// No route to the network (IPv4 codes 0, 6, 11; IPv6 code 0).
    NetUnreachable,
    /// The host does not answer (IPv4 codes 1, 5, 7, 8, 12; IPv6 codes 2, 3).
    HostUnreachable,
    /// The host does not have the protocol (IPv4 code 2).
    ProtocolUnreachable,
    /// Nothing listens on the port (IPv4 code 3; IPv6 code 4).
    PortUnreachable,
    /// A filter or policy refused it (IPv4 codes 9, 10, 13, 14, 15; IPv6 codes 1, 5, 6).
    AdminProhibited,
    /// Too large for a link of an IPv4 path, and DF is set (code 4).
    FragmentationNeeded {
        /// Octets that the link takes, IP header included; 0 from routers older than RFC 1191.
        mtu: u16,
    },
    /// Too large for a link of an IPv6 path.
    PacketTooBig {
        /// Octets that the link takes, IP header included.
        mtu: u32,
    },
    /// TTL or hop limit ran out, or reassembly took too long.
    TimeExceeded,
    /// Something in the header could not be processed.
    ParameterProblem,
}

/// What an error tells about the packet that it quotes. Anyone can make this up: it has to be compared
/// with what is in flight (RFC 5927 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Original {
    /// Addresses of the quoted packet: its source is this host.
    pub addresses: Addresses,
    /// Protocol of the quoted packet; the other fields are meaningful if it is TCP.
    pub protocol: u8,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
}

/// Why a message is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpFault {
    /// Shorter than an ICMP header.
    Truncated,
    /// The checksum is wrong.
    Checksum,
}

/// Reads an ICMP message, which is the payload of an IPv4 packet.
///
/// # Errors
/// [`IcmpFault`] when it is too short or damaged.
pub fn parse_v4(message: &[u8]) -> Result<IcmpMessage<'_>, IcmpFault> {
    let Header { kind, code, words, body } = header(message, Sum::ZERO)?;
    let [ident, seq] = words;
    Ok(match kind {
        V4_ECHO_REQUEST if code == 0 => IcmpMessage::EchoRequest { ident, seq, data: body },
        V4_ECHO_REPLY if code == 0 => IcmpMessage::EchoReply { ident, seq, data: body },
        V4_UNREACHABLE => match code {
            0 | 6 | 11 => error(IcmpError::NetUnreachable, body),
            1 | 5 | 7 | 8 | 12 => error(IcmpError::HostUnreachable, body),
            2 => error(IcmpError::ProtocolUnreachable, body),
            3 => error(IcmpError::PortUnreachable, body),
            4 => error(IcmpError::FragmentationNeeded { mtu: words[1] }, body),
            9 | 10 | 13..=15 => error(IcmpError::AdminProhibited, body),
            _ => IcmpMessage::Other,
        },
        V4_TIME_EXCEEDED => error(IcmpError::TimeExceeded, body),
        V4_PARAMETER_PROBLEM => error(IcmpError::ParameterProblem, body),
        _ => IcmpMessage::Other,
    })
}

/// Reads an ICMPv6 message, which is the payload of an IPv6 packet with these `addresses`.
///
/// # Errors
/// [`IcmpFault`] when it is too short or damaged.
pub fn parse_v6<'a>(addresses: &Addresses, message: &'a [u8]) -> Result<IcmpMessage<'a>, IcmpFault> {
    let pseudo_header = checksum::pseudo_header(addresses, PROTOCOL_ICMPV6, message.len() as u32);
    let Header { kind, code, words, body } = header(message, pseudo_header)?;
    let [ident, seq] = words;
    Ok(match kind {
        V6_ECHO_REQUEST if code == 0 => IcmpMessage::EchoRequest { ident, seq, data: body },
        V6_ECHO_REPLY if code == 0 => IcmpMessage::EchoReply { ident, seq, data: body },
        V6_UNREACHABLE => match code {
            0 => error(IcmpError::NetUnreachable, body),
            2 | 3 => error(IcmpError::HostUnreachable, body),
            4 => error(IcmpError::PortUnreachable, body),
            1 | 5 | 6 => error(IcmpError::AdminProhibited, body),
            _ => IcmpMessage::Other,
        },
        V6_PACKET_TOO_BIG => {
            let mtu = u32::from(words[0]) << 16 | u32::from(words[1]);
            error(IcmpError::PacketTooBig { mtu }, body)
        }
        V6_TIME_EXCEEDED => error(IcmpError::TimeExceeded, body),
        V6_PARAMETER_PROBLEM => error(IcmpError::ParameterProblem, body),
        _ => IcmpMessage::Other,
    })
}

/// Writes the answer to a ping (the ICMP part only) to the front of `out` and returns its length.
/// `addresses` are those of the answer; their family chooses the format.
///
/// Returns `None` when `out` is too small.
pub fn emit_echo_reply(
    addresses: &Addresses,
    ident: u16,
    seq: u16,
    data: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let len = HEADER_LEN.checked_add(data.len())?;
    let out = out.get_mut(..len)?;
    let (kind, mut sum) = match addresses {
        Addresses::V4 { .. } => (V4_ECHO_REPLY, Sum::ZERO),
        Addresses::V6 { .. } => {
            let len = u32::try_from(len).ok()?;
            (V6_ECHO_REPLY, checksum::pseudo_header(addresses, PROTOCOL_ICMPV6, len))
        }
    };
    out[..4].copy_from_slice(&[kind, 0, 0, 0]);
    out[4..6].copy_from_slice(&ident.to_be_bytes());
    out[6..8].copy_from_slice(&seq.to_be_bytes());
    out[HEADER_LEN..].copy_from_slice(data);
    sum.add_bytes(out);
    out[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    Some(len)
}

/// Writes the message that `original` is too big for a link of `mtu` octets (RFC 1191 §4, RFC 4443 §3.2;
/// the ICMP part only) to the front of `out` and returns its length. `addresses` are those of the
/// message; their family chooses the format. As much of `original` is quoted as `out` has room for.
///
/// Returns `None` when `out` has no room for the message's own header.
pub fn emit_too_big(addresses: &Addresses, mtu: u16, original: &[u8], out: &mut [u8]) -> Option<usize> {
    let quoted_len = original.len().min(out.len().checked_sub(HEADER_LEN)?);
    let len = HEADER_LEN + quoted_len;
    let out = out.get_mut(..len)?;
    let (kind, code, mut sum) = match addresses {
        Addresses::V4 { .. } => (V4_UNREACHABLE, 4, Sum::ZERO),
        Addresses::V6 { .. } => {
            let len = u32::try_from(len).ok()?;
            (V6_PACKET_TOO_BIG, 0, checksum::pseudo_header(addresses, PROTOCOL_ICMPV6, len))
        }
    };
    out[..6].copy_from_slice(&[kind, code, 0, 0, 0, 0]);
    out[6..8].copy_from_slice(&mtu.to_be_bytes());
    out[HEADER_LEN..].copy_from_slice(&original[..quoted_len]);
    sum.add_bytes(out);
    out[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    Some(len)
}

/// Replaces addresses, ports and sequence number of the TCP packet that the error `message` quotes by those of
/// `original`, as a box that translates does on the way back to the host that sent it (RFC 5508 §4). `addresses`
/// are those that the message itself will have. The quoted TCP checksum stays: it is seldom quoted, and nobody
/// verifies it.
///
/// Returns `None`, and changes nothing, when `message` is no error that quotes TCP of the same family.
pub fn replace_quoted(addresses: &Addresses, message: &mut [u8], original: &Original) -> Option<()> {
    let body = message.get_mut(HEADER_LEN..)?;
    let quoted = ip::parse_quoted(body)?;
    if quoted.protocol != PROTOCOL_TCP || quoted.payload.len() < 8 {
        return None;
    }
    let transport_at = body.len() - quoted.payload.len();
    ip::rewrite::set_addresses(body, &original.addresses).ok()?;
    let transport = &mut body[transport_at..];
    transport[..2].copy_from_slice(&original.src_port.to_be_bytes());
    transport[2..4].copy_from_slice(&original.dst_port.to_be_bytes());
    transport[4..8].copy_from_slice(&original.seq.to_be_bytes());
    message[2..4].fill(0);
    let mut sum = match addresses {
        Addresses::V4 { .. } => Sum::ZERO,
        Addresses::V6 { .. } => {
            checksum::pseudo_header(addresses, PROTOCOL_ICMPV6, u32::try_from(message.len()).ok()?)
        }
    };
    sum.add_bytes(message);
    message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    Some(())
}

struct Header<'a> {
    kind: u8,
    code: u8,
    /// The four octets whose meaning depends on the type.
    words: [u16; 2],
    body: &'a [u8],
}

fn header(message: &[u8], mut sum: Sum) -> Result<Header<'_>, IcmpFault> {
    let (head, body) = message.split_first_chunk::<HEADER_LEN>().ok_or(IcmpFault::Truncated)?;
    sum.add_bytes(message);
    if sum.finish() != 0 {
        return Err(IcmpFault::Checksum);
    }
    let words = [u16::from_be_bytes([head[4], head[5]]), u16::from_be_bytes([head[6], head[7]])];
    Ok(Header { kind: head[0], code: head[1], words, body })
}

fn error(kind: IcmpError, body: &[u8]) -> IcmpMessage<'_> {
    match original(body) {
        Some(original) => IcmpMessage::Error { kind, original },
        None => IcmpMessage::Other,
    }
}

fn original(body: &[u8]) -> Option<Original> {
    let quoted = ip::parse_quoted(body)?;
    let mut transport = Reader::new(quoted.payload);
    Some(Original {
        addresses: quoted.addresses,
        protocol: quoted.protocol,
        src_port: transport.u16()?,
        dst_port: transport.u16()?,
        seq: transport.u32()?,
    })
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::vec::Vec;

    use super::*;
    use crate::ip::IpHeader;

    const V4: Addresses =
        Addresses::V4 { src: Ipv4Addr::new(192, 0, 2, 1), dst: Ipv4Addr::new(198, 51, 100, 2) };
    const V6: Addresses = Addresses::V6 { src: Ipv6Addr::LOCALHOST, dst: Ipv6Addr::LOCALHOST };

    fn parse<'a>(addresses: &Addresses, message: &'a [u8]) -> Result<IcmpMessage<'a>, IcmpFault> {
        match addresses {
            Addresses::V4 { .. } => parse_v4(message),
            Addresses::V6 { .. } => parse_v6(addresses, message),
        }
    }

    fn with_checksum(addresses: &Addresses, mut message: Vec<u8>) -> Vec<u8> {
        let mut sum = match addresses {
            Addresses::V4 { .. } => Sum::ZERO,
            Addresses::V6 { .. } => checksum::pseudo_header(addresses, PROTOCOL_ICMPV6, message.len() as u32),
        };
        sum.add_bytes(&message);
        message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
        message
    }

    /// An error about a TCP segment of which `transport_len` octets are quoted.
    fn error_message(addresses: &Addresses, kind: u8, code: u8, transport_len: usize) -> Vec<u8> {
        let header = IpHeader {
            addresses: *addresses,
            protocol: PROTOCOL_TCP,
            hop_limit: 1,
            traffic_class: 0,
            ident: 0,
            payload_len: 1000,
        };
        let mut message = std::vec![0; HEADER_LEN + header.len()];
        message[..8].copy_from_slice(&[kind, code, 0, 0, 0, 1, 0x05, 0x14]);
        header.emit(&mut message[HEADER_LEN..]);
        message.extend_from_slice(&[0x12, 0x34, 0x01, 0xbb, 1, 2, 3, 4][..transport_len]);
        with_checksum(addresses, message)
    }

    #[test]
    fn a_ping_is_understood_and_answered() {
        let requests: [(Addresses, u8); 2] = [(V4, 8), (V6, 128)];
        for (addresses, kind) in requests {
            let request = with_checksum(&addresses, [&[kind, 0, 0, 0, 1, 2, 3, 4][..], b"hello"].concat());
            let expected = IcmpMessage::EchoRequest { ident: 0x0102, seq: 0x0304, data: b"hello" };
            assert_eq!(parse(&addresses, &request), Ok(expected));

            let mut out = [0xaa; 20];
            let len = emit_echo_reply(&addresses, 0x0102, 0x0304, b"hello", &mut out);
            assert_eq!(len, Some(13));
            let expected = IcmpMessage::EchoReply { ident: 0x0102, seq: 0x0304, data: b"hello" };
            assert_eq!(parse(&addresses, &out[..13]), Ok(expected));
            assert_eq!(out[13..], [0xaa; 7]);
            assert_eq!(emit_echo_reply(&addresses, 1, 2, b"hello", &mut out[..12]), None);
        }
    }

    #[test]
    fn a_damaged_message_is_refused() {
        for (addresses, kind) in [(V4, 8), (V6, 128)] {
            let good = with_checksum(&addresses, [&[kind, 0, 0, 0, 1, 2, 3, 4][..], b"hello"].concat());
            for at in 0..good.len() {
                let mut damaged = good.clone();
                damaged[at] ^= 0x10;
                assert_eq!(parse(&addresses, &damaged), Err(IcmpFault::Checksum), "octet {at}");
            }
            for len in 0..HEADER_LEN {
                assert_eq!(parse(&addresses, &good[..len]), Err(IcmpFault::Truncated));
            }
        }
    }

    #[test]
    fn each_error_names_its_kind_and_the_segment() {
        use IcmpError::*;
        let too_big = FragmentationNeeded { mtu: 1300 };
        let v4: [(u8, u8, Option<IcmpError>); 12] = [
            (3, 0, Some(NetUnreachable)),
            (3, 1, Some(HostUnreachable)),
            (3, 2, Some(ProtocolUnreachable)),
            (3, 3, Some(PortUnreachable)),
            (3, 4, Some(too_big)),
            (3, 13, Some(AdminProhibited)),
            (3, 16, None),
            (11, 0, Some(TimeExceeded)),
            (12, 0, Some(ParameterProblem)),
            (4, 0, None),
            (5, 0, None),
            (13, 0, None),
        ];
        let v6: [(u8, u8, Option<IcmpError>); 9] = [
            (1, 0, Some(NetUnreachable)),
            (1, 1, Some(AdminProhibited)),
            (1, 3, Some(HostUnreachable)),
            (1, 4, Some(PortUnreachable)),
            (1, 7, None),
            (2, 0, Some(PacketTooBig { mtu: 0x1_0514 })),
            (3, 0, Some(TimeExceeded)),
            (4, 1, Some(ParameterProblem)),
            (135, 0, None),
        ];
        for (addresses, table) in [(V4, &v4[..]), (V6, &v6)] {
            for (kind, code, expected) in table {
                let original = Original {
                    addresses,
                    protocol: PROTOCOL_TCP,
                    src_port: 0x1234,
                    dst_port: 443,
                    seq: 0x0102_0304,
                };
                let expected =
                    expected.map_or(IcmpMessage::Other, |kind| IcmpMessage::Error { kind, original });
                let message = error_message(&addresses, *kind, *code, 8);
                assert_eq!(parse(&addresses, &message), Ok(expected), "type {kind}, code {code}");
            }
        }
    }

    #[test]
    fn a_packet_that_is_too_big_is_reported_with_the_mtu() {
        for addresses in [V4, V6] {
            let quoted = error_message(&addresses, 0, 0, 8).split_off(HEADER_LEN);
            let mut out = [0; 100];
            let len = emit_too_big(&addresses, 1_280, &quoted, &mut out).expect("room");
            assert_eq!(len, HEADER_LEN + quoted.len());
            let Ok(IcmpMessage::Error { kind, original }) = parse(&addresses, &out[..len]) else {
                panic!("an error")
            };
            let expected = match addresses {
                Addresses::V4 { .. } => IcmpError::FragmentationNeeded { mtu: 1_280 },
                Addresses::V6 { .. } => IcmpError::PacketTooBig { mtu: 1_280 },
            };
            assert_eq!((kind, original.src_port, original.seq), (expected, 0x1234, 0x0102_0304));
            assert_eq!(emit_too_big(&addresses, 1, &quoted, &mut out[..20]), Some(20), "a part is quoted");
            assert_eq!(emit_too_big(&addresses, 1, &quoted, &mut out[..7]), None);
        }
    }

    #[test]
    fn what_is_quoted_is_replaced_and_nothing_else() {
        for (addresses, kind) in [(V4, 3), (V6, 1)] {
            let mut message = error_message(&addresses, kind, 1, 8);
            let Ok(IcmpMessage::Error { kind, original }) = parse(&addresses, &message) else {
                panic!("an error")
            };
            let quoted = Addresses::new(addresses.dst(), addresses.src()).expect("one family");
            let original =
                Original { addresses: quoted, src_port: 0x5678, dst_port: 9, seq: 0xfedc_ba98, ..original };
            assert_eq!(replace_quoted(&addresses, &mut message, &original), Some(()));
            assert_eq!(parse(&addresses, &message), Ok(IcmpMessage::Error { kind, original }));

            let before = message.clone();
            let other = if addresses == V4 { V6 } else { V4 };
            let other = Original { addresses: other, ..original };
            assert_eq!(replace_quoted(&addresses, &mut message, &other), None);
            assert_eq!(message, before);
            assert_eq!(replace_quoted(&addresses, &mut message[..35], &original), None);
        }
    }

    #[test]
    fn an_error_that_quotes_too_little_means_nothing() {
        for (addresses, kind) in [(V4, 3), (V6, 1)] {
            for transport_len in 0..8 {
                let message = error_message(&addresses, kind, 1, transport_len);
                assert_eq!(parse(&addresses, &message), Ok(IcmpMessage::Other));
            }
        }
    }
}
