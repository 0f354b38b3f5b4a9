//! Two whole hosts with a box between them, in virtual time: data must arrive whatever a box does, as
//! long as it only does what TCP or RFC 8684 have an answer to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16};

use bytes::BytesMut;
use polytcp_netem::middlebox::*;
use polytcp_netem::{Link, LinkConfig, Ratio};
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{
    ConnectOptions, ConnectionId, Host, InterfaceConfig, ListenOptions, Piece, ReadOutcome,
};
use polytcp_proto::packet::{InterfaceId, Received};
use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::virtio::VnetHdr;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const INTERFACE: InterfaceId = InterfaceId(0);
const PORT: u16 = 80;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    V4,
    V6,
}

fn address(family: Family, last: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into())),
    }
}

/// The client, the boxes, a link, and the server.
struct World {
    now: Instant,
    client: Host,
    server: Host,
    boxes: Chain,
    outward: Link<Vec<u8>>,
    inward: Link<Vec<u8>>,
    /// Octets of the largest packet that has left the boxes outward.
    largest: usize,
}

impl World {
    fn new(family: Family, boxes: Chain, link: LinkConfig) -> Self {
        let now = Instant::from_millis(1);
        let host = |seed, last| {
            let rng = Box::new(ChaCha8Rng::seed_from_u64(seed));
            let mut host = Host::new(HostConfig::default(), rng, now);
            let prefix = if family == Family::V4 { 24 } else { 64 };
            let interface = InterfaceConfig {
                name: "path".to_owned(),
                mtu: 1_500,
                segment_bytes_max: 1_500,
                checksum_offload: false,
                addresses: vec![format!("{}/{prefix}", address(family, last)).parse().expect("a prefix")],
            };
            host.add_interface(now, interface);
            host
        };
        let (client, server) = (host(1, 2), host(2, 1));
        let (outward, inward) = (Link::new(link, 3), Link::new(link, 4));
        Self { now, client, server, boxes, outward, inward, largest: 0 }
    }

    /// Moves on what boxes have made.
    fn place(&mut self, out: &mut Output) {
        while let Some((direction, packet)) = out.pop() {
            let size = packet.len() as u32;
            match direction {
                Direction::Outward => {
                    self.largest = self.largest.max(packet.len());
                    self.outward.push(self.now, packet, size);
                }
                Direction::Inward => self.client.handle_packet(self.now, INTERFACE, received(packet)),
            }
        }
    }

    fn flush(&mut self) {
        let mut out = Output::new();
        while let Some(packet) = self.client.poll_transmit(self.now) {
            let octets = [packet.header.as_slice(), &packet.payload].concat();
            self.boxes.handle(self.now, Direction::Outward, octets, &mut out);
            self.place(&mut out);
        }
        while let Some(packet) = self.server.poll_transmit(self.now) {
            let octets = [packet.header.as_slice(), &packet.payload].concat();
            let size = octets.len() as u32;
            self.inward.push(self.now, octets, size);
        }
    }

    /// Moves time to the next event; false when there is none before `end`.
    fn step(&mut self, end: Instant) -> bool {
        self.flush();
        let deadlines = [
            self.outward.next_deadline(),
            self.inward.next_deadline(),
            self.boxes.next_deadline(),
            self.client.poll_timeout(),
            self.server.poll_timeout(),
        ];
        let Some(next) = deadlines.into_iter().flatten().min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        let mut out = Output::new();
        self.boxes.poll(self.now, &mut out);
        while let Some(packet) = self.inward.pop(self.now) {
            self.boxes.handle(self.now, Direction::Inward, packet, &mut out);
        }
        self.place(&mut out);
        while let Some(packet) = self.outward.pop(self.now) {
            self.server.handle_packet(self.now, INTERFACE, received(packet));
        }
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        true
    }

    fn run(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(120);
        while !done(self) {
            assert!(self.step(end), "nothing more happens, at {:?}", self.now);
        }
    }

    fn connect(&mut self, family: Family) -> (ConnectionId, ConnectionId) {
        let remote = SocketAddr::new(address(family, 1), PORT);
        let listener = self.server.listen(&ListenOptions::new(remote)).expect("a free port");
        let client = self.client.connect(self.now, &ConnectOptions::new(remote)).expect("a route");
        let mut server = None;
        self.run(|world| {
            server = server.or_else(|| world.server.accept(listener));
            server.is_some() && world.client.readiness(client).connected
        });
        (client, server.expect("it was accepted"))
    }
}

fn received(packet: Vec<u8>) -> Received {
    Received { vnet: VnetHdr::default(), buffer_bytes: packet.len() as u32, bytes: packet.into() }
}

/// The octet at an offset of a stream, other in each direction.
fn octet(at: usize, salt: u8) -> u8 {
    ((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 ^ salt
}

fn write(host: &mut Host, now: Instant, id: ConnectionId, written: &mut usize, salt: u8) {
    while *written < TOTAL {
        let room = host.write_room(id).unwrap_or(0).min(TOTAL - *written).min(16_384);
        if room == 0 {
            return;
        }
        let mut piece = BytesMut::with_capacity(room + 1);
        piece.extend((*written..*written + room).map(|at| octet(at, salt)));
        host.write(now, id, Piece::Growing(piece)).expect("there is room");
        *written += room;
    }
}

fn read(host: &mut Host, now: Instant, id: ConnectionId, out: &mut Vec<u8>) {
    while let Ok(ReadOutcome::Data(data)) = host.read(now, id, usize::MAX) {
        out.extend_from_slice(&data);
    }
}

/// Octets that each side sends.
const TOTAL: usize = 300_000;

fn link() -> LinkConfig {
    LinkConfig { loss: Ratio::from_ppm(5_000), ..LinkConfig::new(50_000_000, Duration::from_millis(10)) }
}

/// Whether both ends still speak MPTCP at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Mptcp,
    PlainTcp,
}

/// Sends octets each way at once, over IPv4 and IPv6, and checks all of them and the protocol.
fn assert_data_arrives(protocol: Protocol, boxes: impl Fn() -> Chain) -> [World; 2] {
    [Family::V4, Family::V6].map(|family| {
        let mut world = World::new(family, boxes(), link());
        let (client, server) = world.connect(family);
        let (mut up, mut down) = (0, 0);
        let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
        world.run(|world| {
            let now = world.now;
            write(&mut world.client, now, client, &mut up, 0);
            write(&mut world.server, now, server, &mut down, 0xff);
            read(&mut world.server, now, server, &mut at_server);
            read(&mut world.client, now, client, &mut at_client);
            at_server.len() >= TOTAL && at_client.len() >= TOTAL
        });
        assert!(at_server.iter().copied().eq((0..TOTAL).map(|at| octet(at, 0))), "{family:?} outward");
        assert!(at_client.iter().copied().eq((0..TOTAL).map(|at| octet(at, 0xff))), "{family:?} inward");
        for (host, id) in [(&world.client, client), (&world.server, server)] {
            let is_mptcp = host.info(id).expect("it is there").is_mptcp;
            assert_eq!(is_mptcp, protocol == Protocol::Mptcp, "{family:?}");
        }
        world
    })
}

#[test]
fn without_a_box() {
    assert_data_arrives(Protocol::Mptcp, Chain::new);
}

#[test]
fn stripped_options_lead_to_plain_tcp() {
    let syn = MptcpPackets { syn: true, ..MptcpPackets::default() };
    let syn_ack = MptcpPackets { syn_ack: true, ..MptcpPackets::default() };
    for packets in [syn, syn_ack, MptcpPackets::ESTABLISHED, MptcpPackets::ALL] {
        assert_data_arrives(Protocol::PlainTcp, || Chain::new().with(StripMptcp::new(packets)));
    }
    assert_data_arrives(Protocol::PlainTcp, || Chain::new().with(StripUnknown));
}

#[test]
fn dropped_syns_lead_to_plain_tcp() {
    assert_data_arrives(Protocol::PlainTcp, || Chain::new().with(DropMptcpSyn));
}

#[test]
fn other_sequence_numbers_do_not_matter() {
    assert_data_arrives(Protocol::Mptcp, || Chain::new().with(RewriteIsn::new(7)));
}

#[test]
fn other_addresses_and_ports_do_not_matter() {
    let config = NatConfig {
        v4: Some(Ipv4Addr::new(10, 0, 0, 9)),
        v6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9)),
        ports: 2_000..=2_001,
        ..NatConfig::default()
    };
    assert_data_arrives(Protocol::Mptcp, || Chain::new().with(Nat::new(config.clone())));
}

#[test]
fn a_small_mtu_behind_a_nat_is_found() {
    let nat = NatConfig {
        v4: Some(Ipv4Addr::new(10, 0, 0, 9)),
        v6: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9)),
        ..NatConfig::default()
    };
    let router = TooBigConfig { mtu: 1_300, ..TooBigConfig::default() };
    let boxes = || Chain::new().with(Nat::new(nat.clone())).with(TooBig::new(router));
    assert_data_arrives(Protocol::Mptcp, boxes);
}

#[test]
fn split_segments_are_understood() {
    for options in [SplitOptions::All, SplitOptions::FirstOnly] {
        let size = NonZeroU16::new(400).expect("not zero");
        let worlds = assert_data_arrives(Protocol::Mptcp, || Chain::new().with(Split::new(size, options)));
        assert!(worlds.iter().all(|world| world.largest < 520));
    }
}

#[test]
fn joined_segments_are_understood() {
    let config = CoalesceConfig { options: JoinedOptions::Same, ..CoalesceConfig::default() };
    assert_data_arrives(Protocol::Mptcp, || Chain::new().with(Coalesce::new(config)));
}

#[test]
fn a_pep_that_acknowledges_without_data_ack_leads_to_plain_tcp() {
    // RFC 8684 §3.7: the first data is acknowledged and DATA_ACK is missing.
    let pep = || Chain::new().with(Pep::new(PepConfig::default()));
    assert_data_arrives(Protocol::PlainTcp, pep);
}

#[test]
fn old_segments_are_known_as_old() {
    for mode in [ReplayMode::Copy, ReplayMode::Hold] {
        let (share, delay) = (Ratio::from_percent(2), Duration::from_millis(700));
        let config = ReplayConfig { share, delay, mode, ..ReplayConfig::default() };
        assert_data_arrives(Protocol::Mptcp, || Chain::new().with(Replay::new(config, 5)));
    }
}

#[test]
fn written_ecn_bits_do_no_harm() {
    for change in [EcnChange::Bleach, EcnChange::Mangle, EcnChange::MarkAll, EcnChange::ClearOnSyn] {
        assert_data_arrives(Protocol::Mptcp, || Chain::new().with(EcnRewriter::new(change)));
    }
}

#[test]
fn a_small_mtu_in_the_middle_is_found() {
    let config = TooBigConfig { mtu: 1_300, ..TooBigConfig::default() };
    let worlds = assert_data_arrives(Protocol::Mptcp, || Chain::new().with(TooBig::new(config)));
    assert!(worlds.iter().all(|world| world.largest <= 1_300 && world.largest > 1_200));
}

#[test]
fn a_blind_attacker_does_no_harm() {
    let config = InjectConfig { interval: Duration::from_millis(1), ..InjectConfig::default() };
    assert_data_arrives(Protocol::Mptcp, || Chain::new().with(BlindInjector::new(config, 6)));
}

#[test]
fn plain_tcp_does_not_notice_a_gateway() {
    // What the first one replaces, the second one puts back: the streams are equal, the numbers between
    // are not, and the acknowledgements find their way through both.
    let (short, long) = (b"\x00\x9e", b"\x00longer\x00");
    let boxes = || {
        // Room enough that no word is split before the second one sees it.
        let gateway = |find: &[u8], replacement: &[u8]| {
            ApplicationGateway::new(Direction::Outward, find, replacement, 9_000).expect("a gateway")
        };
        let strip = StripMptcp::new(MptcpPackets::ALL);
        Chain::new().with(strip).with(gateway(short, long)).with(gateway(long, short))
    };
    assert_data_arrives(Protocol::PlainTcp, boxes);
}

#[test]
fn a_changed_octet_reaches_plain_tcp_and_no_other_is_changed() {
    let flipped = NonZeroU8::new(0x40).expect("not zero");
    let chain = Chain::new().with(StripMptcp::new(MptcpPackets::ALL)).with(ChangePayload::octet(
        Direction::Outward,
        70_000,
        flipped,
    ));
    let mut world = World::new(Family::V4, chain, link());
    let (client, server) = world.connect(Family::V4);
    let (mut written, mut arrived) = (0, Vec::new());
    world.run(|world| {
        write(&mut world.client, world.now, client, &mut written, 0);
        read(&mut world.server, world.now, server, &mut arrived);
        arrived.len() >= TOTAL
    });
    let different: Vec<usize> = (0..TOTAL).filter(|at| arrived[*at] != octet(*at, 0)).collect();
    assert_eq!(different, [70_000]);
}
