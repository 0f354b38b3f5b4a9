//! Peers without MPTCP: plain TCP, with nothing of MPTCP after the handshake (RFC 8684 §3.7).

use polytcp_lab::{Protocol, require_or_skip};

use crate::bounded::bounded;
use crate::transfer::{Manner, Way};
use crate::world::{Client, Family, Plan, World};

const BYTES: u64 = 8 << 20;

/// Which of the handshake's SYNs may offer MPTCP.
#[derive(Clone, Copy, Debug)]
struct Offers {
    stack: u64,
}

fn plain(
    name: &'static str,
    client: Client,
    sysctls: &'static [(&'static str, &'static str)],
    offers: Offers,
) {
    if !require_or_skip() {
        return;
    }
    for family in [Family::V4, Family::V6] {
        let name = format!("{name}, {family:?}");
        bounded(&name, move || {
            // A second path, on which nothing must happen.
            let mut plan = Plan::bare(client, family, 2);
            plan.sysctls = sysctls.to_vec();
            let world = World::new(plan);
            let ends = world.connect_as(Protocol::Tcp);
            for way in [Way::Upload, Way::Download] {
                world.transfer(&ends, way, Manner::new(5, BYTES));
            }
            let describe = || world.describe(Some(&ends));
            assert!(!ends.stack.is_mptcp().expect("info"), "{}", describe());
            assert_eq!(ends.stack.subflows().expect("subflows").len(), 1, "{}", describe());
            assert!(!ends.kernel.tcp_is_mptcp().expect("TCP_IS_MPTCP"));
            world.close(&ends, Way::Upload);
            let log = &world.logs[0];
            assert_eq!(log.sent.mptcp_packets(), 0, "the stack sent MPTCP options\n{}", world.describe(None));
            assert_eq!(log.received.mptcp_packets(), 0, "{}", world.describe(None));
            assert_eq!(log.sent.mptcp_syns(), offers.stack, "{}", world.describe(None));
            assert_eq!(log.received.mptcp_syns(), 0, "{}", world.describe(None));
            assert_eq!(world.logs[1].sent.packets(), 0, "{}", world.describe(None));
        });
    }
}

#[test]
fn a_kernel_with_mptcp_off_is_served_with_plain_tcp() {
    plain("MPTCP is off", Client::Stack, &[("net.mptcp.enabled", "0")], Offers { stack: 1 });
}

#[test]
fn an_mptcp_client_falls_back_at_a_plain_server() {
    plain("plain server", Client::Stack, &[], Offers { stack: 1 });
}

#[test]
fn a_plain_client_is_taken_by_an_mptcp_listener() {
    plain("plain client", Client::Kernel, &[], Offers { stack: 0 });
}
