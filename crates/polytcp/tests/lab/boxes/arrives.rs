//! Boxes that MPTCP copes with, or TCP after a fallback (RFC 8684 §3.7): every octet arrives, both ways.

use std::num::NonZeroU16;
use std::time::Duration;

use polytcp::io::Ratio;
use polytcp::io::middlebox::*;
use polytcp_proto::config::Ecn;

use super::scene::{BOTH, Between, Peer, Role, Scene, bytes, in_roles, one};
use crate::transfer::Manner;

/// What both ends speak in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Mptcp,
    Tcp,
    /// The same at both ends.
    Either,
}

/// Roles in which the box must have done something.
const ALL: &[Role] = &Role::ALL;

fn arrives(protocol: Protocol, acts: &'static [Role], between: Between) {
    in_roles(move |role, family| {
        let scene = Scene::new(between, role, family);
        let took = BOTH.map(|direction| scene.transfer(direction, Manner::new(3, bytes())));
        let spoken = scene.peers().map(Peer::is_mptcp);
        let expected = match protocol {
            Protocol::Mptcp => true,
            Protocol::Tcp => false,
            Protocol::Either => spoken[0],
        };
        assert_eq!(spoken, [expected; 2], "{}", scene.describe());
        if protocol == Protocol::Mptcp {
            scene.assert_no_faults();
        }
        assert!(scene.boxes_acted() || !acts.contains(&role), "{role:?}: the boxes did nothing");
        println!("{role:?}, {family:?}, {protocol:?}: {took:?} outward and inward");
    });
}

fn over_mptcp(boxes: fn(usize) -> Chain) {
    arrives(Protocol::Mptcp, ALL, Between::one_path(boxes));
}

fn over_tcp(boxes: fn(usize) -> Chain) {
    arrives(Protocol::Tcp, ALL, Between::one_path(boxes));
}

#[test]
fn no_box_leaves_mptcp_alone() {
    arrives(Protocol::Mptcp, &[], Between::one_path(|_| Chain::new()));
}

const NO_PACKETS: MptcpPackets =
    MptcpPackets { syn: false, syn_ack: false, third_ack: false, data: false, rest: false };

#[test]
fn options_stripped_from_the_handshake_lead_to_tcp() {
    over_tcp(|_| one(StripMptcp::new(MptcpPackets { syn: true, ..NO_PACKETS })));
    over_tcp(|_| one(StripMptcp::new(MptcpPackets { syn_ack: true, ..NO_PACKETS })));
    // The server sees the first established packet without MP_CAPABLE, as a kernel's does.
    over_tcp(|_| one(StripMptcp::new(MptcpPackets { third_ack: true, ..NO_PACKETS })));
}

#[test]
fn options_stripped_after_the_handshake_lead_to_tcp() {
    over_tcp(|_| one(StripMptcp::new(MptcpPackets { rest: true, ..NO_PACKETS })));
    over_tcp(|_| one(StripMptcp::new(MptcpPackets::ESTABLISHED)));
}

#[test]
fn options_stripped_everywhere_lead_to_tcp() {
    over_tcp(|_| one(StripMptcp::new(MptcpPackets::ALL)));
    over_tcp(|_| one(StripUnknown));
}

#[test]
fn dropped_mptcp_syns_lead_to_tcp() {
    over_tcp(|_| one(DropMptcpSyn));
}

#[test]
fn a_proxy_that_acknowledges_loses_nothing() {
    // Whether its acknowledgement of the first data, which has no DATA_ACK, overtakes the peer's decides.
    let between = Between::one_path(|_| one(Pep::new(PepConfig::default())));
    arrives(Protocol::Either, ALL, between);
}

#[test]
fn other_sequence_numbers_do_not_matter() {
    over_mptcp(|_| one(RewriteIsn::new(7)));
}

fn nat() -> Nat {
    Nat::new(NatConfig {
        v4: Some([10, 0, 0, 9].into()),
        v6: Some([0xfd00, 0, 0, 0, 0, 0, 0, 9].into()),
        ports: 2_000..=2_100,
        ..NatConfig::default()
    })
}

#[test]
fn other_addresses_and_ports_do_not_matter() {
    over_mptcp(|_| one(nat()));
}

fn split(options: SplitOptions) -> Split {
    Split::new(NonZeroU16::new(400).expect("not zero"), options)
}

#[test]
fn split_segments_are_understood() {
    over_mptcp(|_| one(split(SplitOptions::All)));
    over_mptcp(|_| one(split(SplitOptions::FirstOnly)));
}

#[test]
fn joined_segments_of_equal_options_are_understood() {
    // What the first box cuts has the same options.
    over_mptcp(|_| one(split(SplitOptions::All)).with(coalesce(JoinedOptions::Same)));
}

fn coalesce(options: JoinedOptions) -> Coalesce {
    Coalesce::new(CoalesceConfig { options, ..CoalesceConfig::default() })
}

#[test]
fn old_segments_are_known_as_old() {
    over_mptcp(|_| one(late(ReplayMode::Copy)));
    over_mptcp(|_| one(late(ReplayMode::Hold)));
}

fn late(mode: ReplayMode) -> Replay {
    let (share, delay) = (Ratio::from_percent(2), Duration::from_millis(10));
    Replay::new(ReplayConfig { share, delay, mode, ..ReplayConfig::default() }, 5)
}

#[test]
fn a_small_mtu_in_the_middle_is_found_by_icmp() {
    over_mptcp(|_| one(TooBig::new(TooBigConfig { mtu: 1_300, ..TooBigConfig::default() })));
}

#[test]
fn a_blind_attacker_does_no_harm() {
    over_mptcp(|_| {
        let config = InjectConfig { interval: Duration::from_millis(1), ..InjectConfig::default() };
        one(BlindInjector::new(config, 6))
    });
}

#[test]
fn written_ecn_bits_do_no_harm() {
    let ecn = |acts, boxes| {
        let between = Between {
            sysctls: &[("net.ipv4.tcp_ecn", "1")],
            configure: |config| config.tcp.ecn = Ecn::Request,
            ..Between::one_path(boxes)
        };
        arrives(Protocol::Mptcp, acts, between);
    };
    ecn(ALL, |_| one(EcnRewriter::new(EcnChange::Bleach)));
    ecn(ALL, |_| one(EcnRewriter::new(EcnChange::MarkAll)));
    // Nobody here sends ECT(1).
    ecn(&[], |_| one(EcnRewriter::new(EcnChange::Ect1ToEct0)));
    ecn(ALL, |_| one(EcnRewriter::new(EcnChange::Mangle)));
    ecn(ALL, |_| one(EcnRewriter::new(EcnChange::ClearOnSyn)));
}

#[test]
fn several_boxes_in_a_row_are_passed() {
    over_mptcp(|_| {
        let router = TooBig::new(TooBigConfig { mtu: 1_300, ..TooBigConfig::default() });
        one(RewriteIsn::new(8)).with(nat()).with(split(SplitOptions::FirstOnly)).with(router)
    });
}
