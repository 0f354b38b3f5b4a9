//! Routers and firewalls that write into the ECN bits what they should not.

use alloc::vec::Vec;

use polytcp_proto::time::Instant;
use polytcp_wire::ip::{self, rewrite};
use polytcp_wire::tcp::TcpFlags;

use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};

/// What is done to the ECN bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EcnChange {
    /// The IP header says that its packets are not ECN-capable (bleaching, often by who rewrites all of
    /// the former type-of-service octet).
    Bleach,
    /// ECN-capable packets are all marked as having met congestion.
    MarkAll,
    /// ECT(1) becomes ECT(0) (by who knows RFC 3168 only as first read).
    Ect1ToEct0,
    /// The IP header says CE or ECT(1) also where the sender is not ECN-capable: its bits are inverted.
    Mangle,
    /// ECE and CWR are cleared on SYN and SYN/ACK, so that ECN is never agreed on.
    ClearOnSyn,
}

/// Rewrites ECN bits in both directions, of TCP and of any other protocol.
#[derive(Clone, Copy, Debug)]
pub struct EcnRewriter {
    change: EcnChange,
}

const ECN: u8 = 0b11;
const ECT1: u8 = 0b01;
const ECT0: u8 = 0b10;

impl EcnRewriter {
    /// A box that does `change`.
    pub fn new(change: EcnChange) -> Self {
        Self { change }
    }

    fn rewrite(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let Ok(parsed) = ip::parse(&packet) else { return packet };
        let class = parsed.header.traffic_class;
        let ecn = class & ECN;
        let changed = match self.change {
            EcnChange::Bleach => 0,
            EcnChange::MarkAll => {
                if ecn == 0 {
                    0
                } else {
                    ECN
                }
            }
            EcnChange::Ect1ToEct0 => {
                if ecn == ECT1 {
                    ECT0
                } else {
                    ecn
                }
            }
            EcnChange::Mangle => ecn ^ ECN,
            EcnChange::ClearOnSyn => return clear_on_syn(packet),
        };
        if changed != ecn {
            rewrite::set_traffic_class(&mut packet, class & !ECN | changed).expect("it was parsed");
        }
        packet
    }
}

fn clear_on_syn(packet: Vec<u8>) -> Vec<u8> {
    let both = TcpFlags::ECE | TcpFlags::CWR;
    match Segment::parse(&packet) {
        Some(mut segment) if segment.has(TcpFlags::SYN) && segment.header.flags.intersects(both) => {
            segment.header.flags = segment.header.flags.without(both);
            segment.emit()
        }
        _ => packet,
    }
}

impl Middlebox for EcnRewriter {
    fn name(&self) -> &'static str {
        "rewrites ECN"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        out.push(direction, self.rewrite(packet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;

    /// The traffic classes that come out for the four codes of ECN under DSCP 0xb8.
    fn classes(change: EcnChange, family: Family) -> [u8; 4] {
        [0, 1, 2, 3].map(|ecn| {
            let mut segment = Tcp::new(family, Direction::Inward, ACK, 1, 2).data(b"abc");
            segment.traffic_class = 0xb8 | ecn;
            let before = read(&segment.packet());
            let after = one(&mut EcnRewriter::new(change), &segment);
            let traffic_class = after.ip.traffic_class;
            assert_eq!(after, Read { ip: ip::IpHeader { traffic_class, ..before.ip }, ..before });
            assert_eq!(traffic_class & !ECN, 0xb8);
            traffic_class & ECN
        })
    }

    #[test]
    fn each_change_does_what_it_says_and_leaves_dscp_alone() {
        for family in FAMILIES {
            assert_eq!(classes(EcnChange::Bleach, family), [0, 0, 0, 0]);
            assert_eq!(classes(EcnChange::MarkAll, family), [0, 3, 3, 3]);
            assert_eq!(classes(EcnChange::Ect1ToEct0, family), [0, 2, 2, 3]);
            assert_eq!(classes(EcnChange::Mangle, family), [3, 2, 1, 0]);
            assert_eq!(classes(EcnChange::ClearOnSyn, family), [0, 1, 2, 3]);
        }
    }

    #[test]
    fn ecn_is_cleared_on_syns_only() {
        let both = TcpFlags::ECE | TcpFlags::CWR;
        let mut firewall = EcnRewriter::new(EcnChange::ClearOnSyn);
        for family in FAMILIES {
            let syn = Tcp::new(family, Direction::Outward, SYN | both, 1, 0);
            assert_eq!(one(&mut firewall, &syn).tcp.flags, SYN);
            assert_untouched(&mut firewall, &Tcp::new(family, Direction::Outward, ACK | both, 1, 2));
            assert_untouched(&mut firewall, &Tcp::new(family, Direction::Outward, SYN, 1, 2));
        }
    }
}
