//! Firewalls that drop a SYN with an option that they do not know. The connection is possible only
//! without MPTCP, which a client finds out by a SYN without the option (RFC 8684 §3.1).

use alloc::vec::Vec;

use polytcp_proto::time::Instant;
use polytcp_wire::mptcp::OPTION_KIND;
use polytcp_wire::raw_options::raw_options;
use polytcp_wire::tcp::TcpFlags;

use crate::middlebox::segment::Segment;
use crate::middlebox::{Direction, Middlebox, Output};

/// Drops SYNs and SYN/ACKs with an MPTCP option.
#[derive(Clone, Copy, Debug, Default)]
pub struct DropMptcpSyn;

impl Middlebox for DropMptcpSyn {
    fn name(&self) -> &'static str {
        "drops SYNs with MPTCP"
    }

    fn handle(&mut self, _now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output) {
        let dropped = Segment::parse(&packet).is_some_and(|segment| {
            segment.has(TcpFlags::SYN)
                && raw_options(&segment.options).any(|option| option.kind == OPTION_KIND)
        });
        if !dropped {
            out.push(direction, packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use polytcp_proto::time::Instant;
    use polytcp_wire::mptcp::CapableForm;

    use super::*;
    use crate::middlebox::testing::*;

    #[test]
    fn a_syn_passes_only_without_mptcp() {
        for family in FAMILIES {
            for (direction, flags) in [(Direction::Outward, SYN), (Direction::Inward, SYN_ACK)] {
                let plain = Tcp::new(family, direction, flags, 1, 0).times(1, 0);
                assert_untouched(&mut DropMptcpSyn, &plain);
                let packet = plain.mptcp(capable(CapableForm::Syn)).packet();
                assert_eq!(through(&mut DropMptcpSyn, Instant::ZERO, direction, packet), []);
            }
            let data = Tcp::new(family, Direction::Outward, ACK, 1, 0).mptcp(mapping(1, 1)).data(b"a");
            assert_untouched(&mut DropMptcpSyn, &data);
        }
    }
}
