//! What IP and ICMP count, each family for itself.

use super::dsl::*;
use polytcp_proto::host::{ConnectError, ConnectOptions, Host, InterfaceConfig, LinkState, Protocol};
use polytcp_proto::packet::{InterfaceId, Received};
use polytcp_proto::time::Instant;
use polytcp_wire::checksum::{Sum, pseudo_header};
use polytcp_wire::ip::{Addresses, IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP};
use polytcp_wire::virtio::VnetHdr;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const NOW: Instant = Instant::from_millis(1_000);

#[derive(Clone, Copy, PartialEq)]
enum Family {
    V4,
    V6,
}

struct Node {
    host: Host,
    family: Family,
}

impl Node {
    fn new(family: Family) -> Self {
        let mut host = Host::new(config(), Box::new(ChaCha8Rng::seed_from_u64(7)), NOW);
        let addresses = vec!["10.0.0.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()];
        let name = "path0".into();
        host.add_interface(
            NOW,
            InterfaceConfig { name, mtu: 1500, segment_bytes_max: 1500, checksum_offload: false, addresses },
        );
        Self { host, family }
    }

    fn addresses(&self) -> Addresses {
        match self.family {
            Family::V4 => Addresses::V4 { src: [10, 0, 0, 2].into(), dst: [10, 0, 0, 1].into() },
            Family::V6 => Addresses::V6 { src: "fd00::2".parse().unwrap(), dst: "fd00::1".parse().unwrap() },
        }
    }

    fn takes(&mut self, packet: Vec<u8>) -> usize {
        let buffer_bytes = packet.len() as u32;
        let received = Received { vnet: VnetHdr::default(), bytes: packet.into(), buffer_bytes };
        self.host.handle_packet(NOW, InterfaceId(0), received);
        std::iter::from_fn(|| self.host.poll_transmit(NOW)).count()
    }

    fn packet(&self, addresses: Addresses, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = IpHeader {
            addresses,
            protocol,
            hop_limit: 64,
            traffic_class: 0,
            ident: 0,
            payload_len: payload.len() as u16,
        };
        let mut packet = vec![0; header.len()];
        header.emit(&mut packet);
        packet.extend_from_slice(payload);
        packet
    }

    fn icmp(&mut self, mut message: Vec<u8>) -> usize {
        let addresses = self.addresses();
        let (mut sum, protocol) = match self.family {
            Family::V4 => (Sum::ZERO, PROTOCOL_ICMP),
            Family::V6 => (pseudo_header(&addresses, PROTOCOL_ICMPV6, message.len() as u32), PROTOCOL_ICMPV6),
        };
        sum.add_bytes(&message);
        let sum = sum.finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let packet = self.packet(addresses, protocol, &message);
        self.takes(packet)
    }

    /// An error about a segment that this host never sent.
    fn icmp_error(&mut self, kind: u8, code: u8) {
        let quoted = self.packet(self.addresses().reversed(), PROTOCOL_TCP, &[0; 20]);
        let message = [&[kind, code, 0, 0, 0, 0, 5, 0][..], &quoted].concat();
        assert_eq!(self.icmp(message), 0);
    }

    fn count(&self, name: &str) -> u64 {
        self.host.counters().get(name).expect("a counter")
    }
}

#[test]
fn packets_are_counted_by_what_becomes_of_them() {
    for (family, ours) in [(Family::V4, true), (Family::V6, false)] {
        let mut node = Node::new(family);
        let ping = if ours { 8 } else { 128 };
        assert_eq!(node.icmp(vec![ping, 0, 0, 0, 0, 1, 0, 1, 9, 9]), 1, "a ping is answered");
        // Nobody speaks UDP.
        let udp = node.packet(node.addresses(), 17, &[0; 8]);
        node.takes(udp);
        let elsewhere = match node.addresses() {
            Addresses::V4 { src, .. } => Addresses::V4 { src, dst: [10, 0, 0, 99].into() },
            Addresses::V6 { src, .. } => Addresses::V6 { src, dst: "fd00::99".parse().unwrap() },
        };
        let stray = node.packet(elsewhere, PROTOCOL_TCP, &[0; 20]);
        node.takes(stray);
        let mut short = node.packet(node.addresses(), PROTOCOL_TCP, &[0; 20]);
        short.truncate(12);
        node.takes(short);
        let fragment = match family {
            Family::V4 => {
                let mut packet = node.packet(node.addresses(), PROTOCOL_TCP, &[0; 20]);
                packet[6] = 0x20;
                packet[10..12].fill(0);
                let mut sum = Sum::ZERO;
                sum.add_bytes(&packet[..20]);
                let sum = sum.finish();
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                packet
            }
            Family::V6 => {
                node.packet(node.addresses(), 44, &[6, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
            }
        };
        node.takes(fragment);
        let v4 = ["IpInReceives", "IpInDelivers", "IpOutRequests", "IpInUnknownProtos", "IpInAddrErrors"];
        let v4_bad = ["IpInHdrErrors", "IpReasmReqds", "IpReasmFails"];
        let v6 =
            ["Ip6InReceives", "Ip6InDelivers", "Ip6OutRequests", "Ip6InUnknownProtos", "Ip6InAddrErrors"];
        let v6_bad = ["Ip6InHdrErrors", "Ip6ReasmReqds", "Ip6ReasmFails"];
        let counts = |node: &Node, names: &[&str]| names.iter().map(|n| node.count(n)).collect::<Vec<_>>();
        let (own, own_bad, other) = if ours { (v4, v4_bad, v6) } else { (v6, v6_bad, v4) };
        assert_eq!(counts(&node, &own), [5, 1, 1, 1, 1]);
        assert_eq!(counts(&node, &own_bad), [1, 1, 1]);
        assert_eq!(counts(&node, &other), [0; 5]);
    }
}

#[test]
fn icmp_messages_are_counted_by_family_and_kind() {
    let mut node = Node::new(Family::V4);
    node.icmp(vec![8, 0, 0, 0, 0, 1, 0, 1]);
    node.icmp_error(3, 1);
    node.icmp_error(3, 4);
    node.icmp_error(11, 0);
    let damaged = node.packet(node.addresses(), PROTOCOL_ICMP, &[8, 0, 1, 2, 0, 1, 0, 1]);
    node.takes(damaged);
    let short = node.packet(node.addresses(), PROTOCOL_ICMP, &[8, 0]);
    node.takes(short);
    let names = ["IcmpInMsgs", "IcmpInEchos", "IcmpInDestUnreachs", "IcmpInCsumErrors", "IcmpInErrors"];
    assert_eq!(names.map(|name| node.count(name)), [6, 1, 2, 1, 2]);
    assert_eq!((node.count("IcmpOutMsgs"), node.count("IcmpOutEchoReps")), (1, 1));
    assert_eq!(node.count("Icmp6InMsgs"), 0);

    let mut node = Node::new(Family::V6);
    node.icmp(vec![128, 0, 0, 0, 0, 1, 0, 1]);
    node.icmp_error(1, 4);
    node.icmp_error(2, 0);
    node.icmp_error(3, 0);
    let damaged = node.packet(node.addresses(), PROTOCOL_ICMPV6, &[128, 0, 1, 2, 0, 1, 0, 1]);
    node.takes(damaged);
    let names = ["Icmp6InMsgs", "Icmp6InEchos", "Icmp6InDestUnreachs", "Icmp6InPktTooBigs"];
    assert_eq!(names.map(|name| node.count(name)), [5, 1, 1, 1]);
    assert_eq!((node.count("Icmp6InCsumErrors"), node.count("Icmp6InErrors")), (1, 1));
    assert_eq!((node.count("Icmp6OutMsgs"), node.count("Icmp6OutEchoReplies")), (1, 1));
    assert_eq!(node.count("IcmpInMsgs"), 0);
}

#[test]
fn what_cannot_leave_is_counted() {
    for (family, discards, no_routes) in
        [(Family::V4, "IpOutDiscards", "IpOutNoRoutes"), (Family::V6, "Ip6OutDiscards", "Ip6OutNoRoutes")]
    {
        let mut node = Node::new(family);
        let remote = if family == Family::V4 { "10.0.0.2:80" } else { "[fd00::2]:80" };
        let options =
            ConnectOptions { protocol: Protocol::Tcp, ..ConnectOptions::new(remote.parse().unwrap()) };
        node.host.connect(NOW, &options).expect("a route");
        node.host.set_link(NOW, InterfaceId(0), LinkState::Down);
        assert!(node.host.poll_transmit(NOW).is_none());
        assert_eq!((node.count(discards), node.count(no_routes)), (1, 0));
        assert_eq!(node.host.connect(NOW, &options), Err(ConnectError::NoRoute));
        assert_eq!((node.count(discards), node.count(no_routes)), (1, 1));
        // The SYN is repeated, and cannot leave either.
        let later = NOW + secs(1);
        node.host.handle_timeout(later);
        assert!(node.host.poll_transmit(later).is_none());
        assert_eq!((node.count(discards), node.count("TcpExtTCPRetransFail")), (2, 1));
        assert_eq!((node.count("TcpOutSegs"), node.count("TcpRetransSegs")), (0, 0));
    }
}
