//! A link in the middle of the path that takes less than the ends think: with the ICMP message that tells
//! them (RFC 1191, RFC 8201), or without it, a black hole (RFC 2923 §2.1).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use polytcp_proto::time::Instant;
use polytcp_wire::addresses::Addresses;
use polytcp_wire::icmp;
use polytcp_wire::ip::{self, IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6, rewrite};

use crate::middlebox::{Direction, Middlebox, Output};

/// Drops packets that are too large, and tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct MtuBlackHole {
    mtu: u16,
}

impl MtuBlackHole {
    /// A box that passes packets of up to `mtu` octets.
    pub fn new(mtu: u16) -> Self {
        Self { mtu }
    }
}

impl Middlebox for MtuBlackHole {
    fn name(&self) -> &'static str {
        "drops large packets"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        if packet.len() <= usize::from(self.mtu) {
            out.push(direction, packet);
        }
    }
}

/// A router before a link with a small MTU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooBigConfig {
    /// Octets of the largest packet that the link takes. Default 1,280.
    pub mtu: u16,
    /// Source of its messages to IPv4 hosts. Default 192.0.2.1.
    pub v4: Ipv4Addr,
    /// Source of its messages to IPv6 hosts. Default 2001:db8::1.
    pub v6: Ipv6Addr,
    /// Shortest time between two messages (RFC 1812 §4.3.2.8). Default zero: one for each packet.
    pub interval: Duration,
}

impl Default for TooBigConfig {
    fn default() -> Self {
        Self {
            mtu: 1_280,
            v4: Ipv4Addr::new(192, 0, 2, 1),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            interval: Duration::ZERO,
        }
    }
}

/// Drops packets that are too large and must not be fragmented, and answers with an ICMP message. It does
/// not fragment: a large IPv4 packet without DF passes.
#[derive(Clone, Copy, Debug)]
pub struct TooBig {
    config: TooBigConfig,
    /// When a message may be sent again.
    next_at: Instant,
}

impl TooBig {
    /// A router of `config`.
    pub fn new(config: TooBigConfig) -> Self {
        Self { config, next_at: Instant::ZERO }
    }

    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let header = ip::parse(packet).ok()?.header;
        // No error about an error, lest they go on for ever (RFC 1122 §3.2.2, RFC 4443 §2.4).
        if matches!(header.protocol, PROTOCOL_ICMP | PROTOCOL_ICMPV6) {
            return None;
        }
        let to = header.addresses.src();
        let (from, protocol, quoted_len) = match to {
            IpAddr::V4(_) => (IpAddr::V4(self.config.v4), PROTOCOL_ICMP, V4_MESSAGE_MAX - ip::V4_HEADER_LEN),
            IpAddr::V6(_) => {
                (IpAddr::V6(self.config.v6), PROTOCOL_ICMPV6, V6_MESSAGE_MAX - ip::V6_HEADER_LEN)
            }
        };
        let addresses = Addresses::new(from, to)?;
        let mut message = alloc::vec![0; quoted_len];
        let len = icmp::emit_too_big(&addresses, self.config.mtu, packet, &mut message)?;
        let header = IpHeader {
            addresses,
            protocol,
            hop_limit: 64,
            traffic_class: 0,
            ident: 0,
            payload_len: len as u16,
        };
        let mut answer = alloc::vec![0; header.len()];
        header.emit(&mut answer);
        answer.extend_from_slice(&message[..len]);
        Some(answer)
    }
}

/// Octets of a message: RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c).
const V4_MESSAGE_MAX: usize = 576;
const V6_MESSAGE_MAX: usize = 1_280;

impl Middlebox for TooBig {
    fn name(&self) -> &'static str {
        "says that packets are too big"
    }

    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        if packet.len() <= usize::from(self.config.mtu) || !rewrite::must_not_fragment(&packet) {
            out.push(direction, packet);
            return;
        }
        if now >= self.next_at
            && let Some(answer) = self.answer(&packet)
        {
            self.next_at = now + self.config.interval;
            out.push(direction.reversed(), answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use polytcp_wire::icmp::{IcmpError, IcmpMessage};

    use super::*;
    use crate::middlebox::testing::*;

    fn sized(family: Family, len: usize) -> Tcp {
        let bare = Tcp::new(family, Direction::Outward, ACK, 0x0102_0304, 2);
        let headers = bare.packet().len();
        bare.data(&alloc::vec![7; len - headers])
    }

    #[test]
    fn a_black_hole_takes_only_what_exceeds_its_mtu_and_says_nothing() {
        for family in FAMILIES {
            let mut hole = MtuBlackHole::new(1_300);
            assert_untouched(&mut hole, &sized(family, 1_300));
            let large = sized(family, 1_301).packet();
            assert_eq!(through(&mut hole, Instant::ZERO, Direction::Outward, large), []);
        }
    }

    #[test]
    fn a_router_names_its_mtu_to_the_sender() {
        for family in FAMILIES {
            let mut router = TooBig::new(TooBigConfig::default());
            assert_untouched(&mut router, &sized(family, 1_280));
            let out = through(&mut router, Instant::ZERO, Direction::Outward, sized(family, 1_400).packet());
            let [(Direction::Inward, answer)] = &out[..] else { panic!("one answer: {out:?}") };
            let ip = ip::parse(answer).expect("an IP packet");
            assert_eq!(ip.header.addresses.dst(), address(family, Direction::Outward));
            assert!(answer.len() <= if family == Family::V4 { 576 } else { 1_280 });
            let message = &answer[ip.payload_offset..];
            let (message, kind) = match family {
                Family::V4 => (icmp::parse_v4(message), IcmpError::FragmentationNeeded { mtu: 1_280 }),
                Family::V6 => {
                    (icmp::parse_v6(&ip.header.addresses, message), IcmpError::PacketTooBig { mtu: 1_280 })
                }
            };
            let Ok(IcmpMessage::Error { kind: told, original }) = message else { panic!("{message:?}") };
            assert_eq!(told, kind);
            assert_eq!((original.src_port, original.dst_port, original.seq), (40_000, 80, 0x0102_0304));
        }
    }

    #[test]
    fn messages_keep_their_distance_and_never_answer_messages() {
        let interval = Duration::from_millis(10);
        let mut router = TooBig::new(TooBigConfig { interval, ..TooBigConfig::default() });
        let large = sized(Family::V4, 1_400).packet();
        let mut answers = |millis| {
            through(&mut router, Instant::from_millis(millis), Direction::Outward, large.clone()).len()
        };
        assert_eq!([0, 5, 9, 10, 11, 20].map(&mut answers), [1, 0, 0, 1, 0, 1]);

        let mut router = TooBig::new(TooBigConfig::default());
        let (src, dst) = (address(Family::V4, Direction::Outward), address(Family::V4, Direction::Inward));
        let addresses = Addresses::new(src, dst).expect("one family");
        let message = ip_packet(addresses, PROTOCOL_ICMP, 0, &[3; 1_400]);
        assert_eq!(through(&mut router, Instant::ZERO, Direction::Outward, message), []);

        let mut fragmentable = large.clone();
        fragmentable[6] = 0;
        let out = through(&mut router, Instant::ZERO, Direction::Outward, fragmentable.clone());
        assert_eq!(out, [(Direction::Outward, fragmentable)], "it does not fragment");
    }
}
