//! Firewalls that take MPTCP options out of some packets or all, and let the packets pass. A sender has
//! to find out from the first packets, or at the first data (RFC 8684 §3.7).

use alloc::vec::Vec;

use polytcp_proto::time::Instant;
use polytcp_wire::mptcp::{CapableForm, Join, MptcpOption, OPTION_KIND};
use polytcp_wire::tcp::TcpFlags;

use crate::middlebox::options::{Changed, blank};
use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};

/// Kinds of packets, each chosen or not. A packet is of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MptcpPackets {
    /// SYN without ACK.
    pub syn: bool,
    /// SYN/ACK.
    pub syn_ack: bool,
    /// The client's third packet: MP_CAPABLE with both keys or MP_JOIN with an HMAC, without data.
    pub third_ack: bool,
    /// Packets with payload.
    pub data: bool,
    /// All others: acknowledgements, FIN, RST.
    pub rest: bool,
}

impl MptcpPackets {
    /// All packets.
    pub const ALL: Self = Self { syn: true, syn_ack: true, third_ack: true, data: true, rest: true };
    /// All packets after the handshake.
    pub const ESTABLISHED: Self =
        Self { syn: false, syn_ack: false, third_ack: false, data: true, rest: true };

    fn include(self, segment: &Segment) -> bool {
        if segment.has(TcpFlags::SYN) {
            return if segment.has(TcpFlags::ACK) { self.syn_ack } else { self.syn };
        }
        if !segment.payload.is_empty() {
            return self.data;
        }
        if is_third_ack(segment) { self.third_ack } else { self.rest }
    }
}

fn is_third_ack(segment: &Segment) -> bool {
    segment.typed_options().mptcp.iter().any(|option| match option {
        MptcpOption::Capable(capable) => matches!(capable.form, CapableForm::Ack { .. }),
        MptcpOption::Join(join) => matches!(join, Join::Ack { .. }),
        _ => false,
    })
}

/// Overwrites MPTCP options with NOPs.
#[derive(Clone, Debug)]
pub struct StripMptcp {
    packets: MptcpPackets,
}

impl StripMptcp {
    /// Strips the options from `packets`, in both directions.
    pub fn new(packets: MptcpPackets) -> Self {
        Self { packets }
    }
}

impl Middlebox for StripMptcp {
    fn name(&self) -> &'static str {
        "strips MPTCP options"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let changed = Segment::parse(&packet).filter(|segment| self.packets.include(segment)).and_then(
            |mut segment| {
                let changed = blank(&mut segment.options, |kind| kind == OPTION_KIND);
                (changed == Changed::Yes).then(|| segment.emit())
            },
        );
        out.push(direction, changed.unwrap_or(packet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::*;

    /// A packet of each kind, in the order of the fields of [`MptcpPackets`].
    fn packets(family: Family) -> [Vec<Tcp>; 5] {
        use Direction::{Inward, Outward};
        let tcp = |direction, flags| Tcp::new(family, direction, flags, 1, 2).times(1, 2);
        [
            alloc::vec![tcp(Outward, SYN).mptcp(capable(CapableForm::Syn))],
            alloc::vec![tcp(Inward, SYN_ACK).mptcp(capable(CapableForm::SynAck { sender_key: 1 }))],
            alloc::vec![tcp(Outward, ACK).mptcp(capable_ack()), tcp(Outward, ACK).mptcp(join_ack())],
            alloc::vec![tcp(Inward, ACK).mptcp(mapping(1, 3)).data(b"abc")],
            alloc::vec![
                tcp(Outward, ACK).mptcp(data_ack()),
                tcp(Inward, ACK | TcpFlags::FIN).mptcp(data_ack())
            ],
        ]
    }

    #[test]
    fn only_the_chosen_packets_lose_their_options() {
        for chosen in 0..5 {
            let choice = MptcpPackets {
                syn: chosen == 0,
                syn_ack: chosen == 1,
                third_ack: chosen == 2,
                data: chosen == 3,
                rest: chosen == 4,
            };
            let mut firewall = StripMptcp::new(choice);
            for family in FAMILIES {
                for (kind, segments) in packets(family).iter().enumerate() {
                    for segment in segments {
                        if kind != chosen {
                            assert_untouched(&mut firewall, segment);
                            continue;
                        }
                        let before = read(&segment.packet());
                        let after = one(&mut firewall, segment);
                        assert!(after.options.mptcp.is_empty());
                        let options = TcpOptions { mptcp: after.options.mptcp, ..before.options };
                        assert_eq!(after, Read { options, ..before }, "nothing else changes");
                    }
                }
            }
        }
    }

    #[test]
    fn everything_is_stripped_when_everything_is_chosen() {
        let mut firewall = StripMptcp::new(MptcpPackets::ALL);
        for segment in packets(Family::V6).iter().flatten() {
            assert!(one(&mut firewall, segment).options.mptcp.is_empty());
        }
        assert_untouched(&mut firewall, &Tcp::new(Family::V4, Direction::Outward, ACK, 1, 2).times(1, 2));
    }

    use polytcp_wire::tcp::TcpOptions;
}
