//! What an idle connection costs: heap octets of each host for an MPTCP connection with two subflows that has carried a
//! small exchange both ways and then went quiet.
//!
//! A binary of its own, since its allocator counts for the whole process. Each allocation is charged to the host that
//! was at work when it was made; a packet to the one that it goes to. So whatever stays is somebody's.

#[path = "support/heap.rs"]
mod heap;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use heap::{NOBODY, charged, held_bytes, taken_bytes};
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::drive::{self, Outputs};
use polytcp_proto::host::{
    ConnectOptions, ConnectionId, Event, Host, InterfaceConfig, ListenOptions, ListenerId, Piece, ReadOutcome,
};
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand, PmEvent};
use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::virtio::Checksum;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What one connection may cost on one host.
const HEAP_BYTES_MAX: isize = 4096;
/// Just after the tables of two flows for each have doubled: the dearest number.
const CONNECTIONS: usize = 1_000;
const SUBFLOWS: usize = 2;
/// Octets of the exchange, each way.
const EXCHANGE_BYTES: usize = 3_000;
/// No timer of a connection that is idle is as near as that.
const QUIET: Duration = Duration::from_secs(10);
/// Time that a packet takes.
const DELAY: Duration = Duration::from_millis(5);

/// Packets on their way, as owners of hosts are numbered.
struct Wire {
    now: Instant,
    to: usize,
    packets: VecDeque<(Instant, InterfaceId, Received)>,
}

impl Outputs for Wire {
    fn has_room(&self) -> bool {
        true
    }

    fn transmit(&mut self, packet: Transmit) {
        charged(self.to, || {
            let mut bytes = BytesMut::with_capacity(packet.len());
            bytes.extend_from_slice(packet.header.as_slice());
            bytes.extend_from_slice(&packet.payload);
            let mut vnet = packet.vnet;
            if matches!(vnet.checksum, Checksum::Partial { .. }) {
                vnet.checksum = Checksum::Verified;
            }
            let received = Received { vnet, buffer_bytes: bytes.len() as u32, bytes: bytes.freeze() };
            charged(NOBODY, || self.packets.push_back((self.now + DELAY, packet.interface, received)));
        });
    }

    fn event(&mut self, _: &Host, _: Event) {}

    fn pm_event(&mut self, _: &PmEvent) {}
}

const CLIENT: usize = 1;
const SERVER: usize = 2;

struct World {
    now: Instant,
    hosts: [Host; 2],
    /// Towards the host of the same place.
    wires: [Wire; 2],
    listeners: Vec<ListenerId>,
}

fn address(path: usize, owner: usize) -> IpAddr {
    IpAddr::from([10, 0, path as u8, owner as u8])
}

/// A client has 28,000 ports towards each port of a server.
const CONNECTIONS_PER_PORT: usize = 20_000;

fn server_at(listener: usize) -> SocketAddr {
    SocketAddr::new(address(0, SERVER), 80 + listener as u16)
}

impl World {
    fn new() -> Self {
        let now = Instant::from_millis(1);
        let mut config = HostConfig::default();
        config.mptcp.subflows = SUBFLOWS as u32;
        let mut hosts = [CLIENT, SERVER].map(|owner| {
            charged(owner, || {
                let mut host =
                    Host::new(config.clone(), Box::new(ChaCha8Rng::seed_from_u64(owner as u64)), now);
                for path in 0..SUBFLOWS {
                    let interface = InterfaceConfig {
                        name: format!("path{path}"),
                        mtu: 1500,
                        segment_bytes_max: 65_535,
                        checksum_offload: true,
                        addresses: vec![format!("{}/24", address(path, owner)).parse().unwrap()],
                    };
                    host.add_interface(now, interface);
                }
                host
            })
        });
        let endpoint = Endpoint::new(address(1, CLIENT), EndpointFlags::SUBFLOW);
        charged(CLIENT, || hosts[0].command(now, &PmCommand::AddAddr(endpoint)).unwrap());
        let listen = |at: usize| hosts[1].listen(&ListenOptions::new(server_at(at))).unwrap();
        let listeners = charged(SERVER, || (0..5).map(listen).collect());
        let wires = [CLIENT, SERVER].map(|to| Wire { now, to, packets: VecDeque::new() });
        Self { now, hosts, wires, listeners }
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let mut next: Option<Instant> = None;
            for side in [0, 1] {
                let [first, second] = &mut self.wires;
                let (own, others) = if side == 0 { (first, second) } else { (second, first) };
                let mut arrived = Vec::new();
                while own.packets.front().is_some_and(|(at, ..)| *at <= self.now) {
                    let (_, interface, packet) = own.packets.pop_front().unwrap();
                    arrived.push((interface, packet));
                }
                others.now = self.now;
                let host = &mut self.hosts[side];
                let settled = charged(side + 1, || drive::round(host, self.now, arrived.drain(..), others));
                next = next.into_iter().chain(settled.deadline).min();
            }
            let under_way = self.wires.iter().filter_map(|wire| wire.packets.front().map(|(at, ..)| *at));
            match next.into_iter().chain(under_way).min() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
        }
        self.now = end;
    }

    fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    fn host<R>(&mut self, owner: usize, f: impl FnOnce(&mut Host, Instant) -> R) -> R {
        let (host, now) = (&mut self.hosts[owner - 1], self.now);
        charged(owner, || f(host, now))
    }

    /// Writes at one end and reads at the other.
    fn say(&mut self, from: usize, sender: ConnectionId, receiver: ConnectionId) {
        self.host(from, |host, now| {
            let mut block = BytesMut::with_capacity(EXCHANGE_BYTES + 1);
            block.resize(EXCHANGE_BYTES, 7);
            host.write(now, sender, Piece::Growing(block)).unwrap();
        });
        let mut heard = 0;
        while heard < EXCHANGE_BYTES {
            self.run_for(DELAY);
            self.host(3 - from, |host, now| {
                while let ReadOutcome::Data(data) = host.read(now, receiver, usize::MAX).unwrap() {
                    heard += Bytes::len(&data);
                }
            });
        }
    }

    /// One more connection with its subflows, which has carried something both ways.
    fn connect(&mut self) -> [ConnectionId; 2] {
        let at = self.hosts[0].connection_count() / CONNECTIONS_PER_PORT;
        let listener = self.listeners[at];
        let client =
            self.host(CLIENT, |host, now| host.connect(now, &ConnectOptions::new(server_at(at))).unwrap());
        let server = loop {
            self.run_for(DELAY);
            if let Some(server) = self.host(SERVER, |host, _| host.accept(listener)) {
                break server;
            }
        };
        self.say(CLIENT, client, server);
        self.run_for(DELAY * 4);
        assert_eq!(self.hosts[1].subflows(server).unwrap().len(), SUBFLOWS, "the join has come");
        self.say(SERVER, server, client);
        self.say(CLIENT, client, server);
        [client, server]
    }
}

#[test]
fn an_idle_connection_with_two_subflows_costs_at_most_four_kibibytes_of_heap() {
    let mut world = World::new();
    let before = [CLIENT, SERVER].map(|owner| (held_bytes(owner), taken_bytes(owner)));
    for _ in 0..CONNECTIONS {
        world.connect();
    }
    world.run_for(QUIET);
    assert!(world.wires.iter().all(|wire| wire.packets.is_empty()));
    for (owner, name) in [(CLIENT, "client"), (SERVER, "server")] {
        let accounting = world.hosts[owner - 1].accounting();
        assert_eq!(accounting.flows, CONNECTIONS * SUBFLOWS, "{name}");
        assert_eq!(accounting.buffered_bytes, 0, "{name}: all is read and acknowledged");
    }
    for ((owner, name), before) in [(CLIENT, "client"), (SERVER, "server")].into_iter().zip(before) {
        let held = (held_bytes(owner) - before.0) / CONNECTIONS as isize;
        let taken = (taken_bytes(owner) - before.1) / CONNECTIONS as isize;
        println!("{name}: {held} octets of heap per connection, {taken} as an allocator rounds them");
        assert!(held <= HEAP_BYTES_MAX, "{name}: {held} octets");
    }
}

/// What an exchange takes beside so many idle connections; the least of many, since others use the machine too.
#[test]
#[ignore = "a measurement, of a minute: what it prints is for docs/performance.md"]
#[allow(clippy::disallowed_methods, reason = "it measures real time")]
fn an_exchange_beside_a_hundred_thousand_idle_connections() {
    let mut world = World::new();
    let mut connected = 0;
    for connections in [1, 10_000, 100_000] {
        let mut dearest = std::time::Duration::ZERO;
        let mut last = None;
        while connected < connections {
            let begun = std::time::Instant::now();
            last = Some(world.connect());
            dearest = dearest.max(begun.elapsed());
            connected += 1;
        }
        let [client, server] = last.unwrap();
        world.run_for(QUIET);
        let least = (0..2_000).map(|_| {
            let begun = std::time::Instant::now();
            world.say(CLIENT, client, server);
            world.say(SERVER, server, client);
            begun.elapsed()
        });
        let least = least.min().unwrap();
        let held = [CLIENT, SERVER].map(|owner| held_bytes(owner) / connections as isize);
        println!(
            "{connections} connections: {least:?} for an exchange, at most {dearest:?} to connect, {held:?} octets"
        );
    }
}
