//! Two hosts on one thread, and the device between them: bounded rings, whole packets, virtual time.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use polytcp::io::RxPool;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::drive::{self, Outputs, Settled};
use polytcp_proto::host::{
    CallError, ConnectOptions, ConnectionId, Event, Host, InterfaceConfig, ListenOptions, ListenerId, Piece,
    Protocol, ReadOutcome,
};
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand, PmEvent};
use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::virtio::Checksum;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::failure::Failure;
use crate::pattern::Pattern;

/// Packets that wait in a ring, as in a device's.
const RING_PACKETS: usize = 64;
/// Virtual time that a round of both hosts takes.
const ROUND_TIME: Duration = Duration::from_micros(20);
/// Octets of a write, and what is allocated for several.
const WRITE_BYTES: usize = 64 << 10;
const BLOCK_BYTES: usize = 1 << 20;
const PORT: u16 = 80;
/// Rounds in which nothing may move, each until the next deadline.
const SILENT_ROUNDS_MAX: u32 = 1_000;

/// What both hosts and the device are made with.
pub(super) struct Setup {
    pub(super) config: HostConfig,
    pub(super) paths: u8,
    pub(super) segment_bytes_max: u32,
    /// Of each million packets with payload so many are lost.
    pub(super) lost_per_million: u32,
}

/// One direction.
struct Ring {
    packets: VecDeque<(InterfaceId, Received)>,
    chances: ChaCha8Rng,
    lost_per_million: u32,
    /// Segments with payload that went in, lost ones included.
    segments: u64,
    pool: RxPool,
}

impl Outputs for Ring {
    fn has_room(&self) -> bool {
        self.packets.len() < RING_PACKETS
    }

    fn transmit(&mut self, packet: Transmit) {
        if !packet.payload.is_empty() {
            self.segments += 1;
            if self.lost_per_million > 0 && self.chances.next_u32() % 1_000_000 < self.lost_per_million {
                return;
            }
        }
        let mut vnet = packet.vnet;
        if matches!(vnet.checksum, Checksum::Partial { .. }) {
            vnet.checksum = Checksum::Verified;
        }
        // As the devices of a running stack keep what they read.
        let received = self.pool.concat(vnet, [packet.header.as_slice(), &packet.payload[..]]);
        debug_assert!(received.is_some(), "a packet of {} octets", packet.len());
        self.packets.extend(received.map(|received| (packet.interface, received)));
    }

    fn event(&mut self, _: &Host, _: Event) {}

    fn pm_event(&mut self, _: &PmEvent) {}
}

/// What is written is copied into blocks that are used again, as by the sockets of a running stack.
#[derive(Default)]
struct Blocks {
    block: BytesMut,
    spent: VecDeque<BytesMut>,
}

impl Blocks {
    fn fill(&mut self, octets: &[u8]) -> BytesMut {
        // The last octet stays unused, see `Piece`.
        if self.block.capacity() <= octets.len() {
            let free = self.spent.iter_mut().position(|block| block.try_reclaim(BLOCK_BYTES));
            let next = free.and_then(|at| self.spent.remove(at));
            let next = next.unwrap_or_else(|| BytesMut::with_capacity(BLOCK_BYTES));
            self.spent.push_back(std::mem::replace(&mut self.block, next));
        }
        self.block.extend_from_slice(octets);
        self.block.split()
    }
}

/// The hosts: 0 is the client, 1 the server.
pub(super) struct Pair {
    hosts: [Host; 2],
    /// Towards the host of the same number.
    rings: [Ring; 2],
    now: Instant,
    listener: Option<ListenerId>,
}

impl Pair {
    pub(super) fn new(setup: &Setup) -> Result<Self, Failure> {
        let now = Instant::from_millis(1);
        let mut hosts = [0, 1].map(|side| {
            let secrets = Box::new(ChaCha8Rng::seed_from_u64(side));
            Host::new(setup.config.clone(), secrets, now)
        });
        for (side, host) in hosts.iter_mut().enumerate() {
            for path in 0..setup.paths {
                let address = format!("{}/24", address(path, side));
                host.add_interface(
                    now,
                    InterfaceConfig {
                        name: format!("path{path}"),
                        mtu: 1500,
                        segment_bytes_max: setup.segment_bytes_max,
                        checksum_offload: true,
                        addresses: vec![address.parse().map_err(|_| Failure::Run(address))?],
                    },
                );
            }
        }
        for path in 1..setup.paths {
            let endpoint = Endpoint::new(address(path, 0), EndpointFlags::SUBFLOW);
            let added = hosts[0].command(now, &PmCommand::AddAddr(endpoint));
            added.map_err(|error| Failure::Run(error.to_string()))?;
        }
        let rings = [1, 2].map(|seed| Ring {
            packets: VecDeque::new(),
            chances: ChaCha8Rng::seed_from_u64(seed),
            lost_per_million: setup.lost_per_million,
            segments: 0,
            pool: RxPool::new(),
        });
        Ok(Self { hosts, rings, now, listener: None })
    }

    /// One more connection, with all its subflows: the client's and the server's number of it.
    pub(super) fn connect(&mut self, subflows: usize) -> Result<[ConnectionId; 2], Failure> {
        let failed = |what: &dyn std::fmt::Display| Failure::Run(format!("connecting: {what}"));
        let listener = match self.listener {
            Some(listener) => listener,
            None => {
                let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
                let made = self.hosts[1].listen(&ListenOptions::new(any)).map_err(|error| failed(&error))?;
                *self.listener.insert(made)
            }
        };
        let remote = SocketAddr::new(address(0, 1), PORT);
        let protocol = if subflows == 0 { Protocol::Tcp } else { Protocol::Mptcp };
        let options = ConnectOptions { protocol, ..ConnectOptions::new(remote) };
        let client = self.hosts[0].connect(self.now, &options).map_err(|error| failed(&error))?;
        const HELLO: &[u8] = b"hello";
        let (mut server, mut greeted, mut heard) = (None, false, 0);
        for _ in 0..SILENT_ROUNDS_MAX {
            self.round();
            server = server.or_else(|| self.hosts[1].accept(listener));
            let Some(server) = server else { continue };
            if !greeted {
                // The first data confirms the connection; joins follow it.
                let hello = Piece::Fixed(Bytes::from_static(HELLO));
                self.hosts[0].write(self.now, client, hello).map_err(|error| failed(&error))?;
                greeted = true;
            }
            self.read(1, server, |data| heard += data.len()).map_err(|error| failed(&error))?;
            let joined = self.hosts[1].subflows(server).map_or(0, |list| list.len());
            if joined >= subflows.max(1) && heard == HELLO.len() {
                return Ok([client, server]);
            }
        }
        Err(failed(&"not all subflows came"))
    }

    /// Sends `size` octets from the client to the server and returns how many segments it took. `compare`: all that
    /// arrives is compared.
    pub(super) fn transfer(
        &mut self,
        [client, server]: [ConnectionId; 2],
        size: u64,
        pattern: &Pattern,
        compare: bool,
    ) -> Result<u64, Failure> {
        let failed = |error: CallError| Failure::Run(format!("the transfer: {error}"));
        let before = self.rings[1].segments;
        let (mut written, mut read, mut silent) = (0, 0, 0);
        let mut blocks = Blocks::default();
        while read < size {
            while written < size {
                let room = self.hosts[0].write_room(client).map_err(failed)? as u64;
                let len = room.min(size - written).min(WRITE_BYTES as u64) as usize;
                if len == 0 {
                    break;
                }
                let piece = Piece::Growing(blocks.fill(pattern.at(written, len)));
                self.hosts[0].write(self.now, client, piece).map_err(failed)?;
                written += len as u64;
            }
            let (had, mut is_wrong) = (read, false);
            self.round();
            self.read(1, server, |data| {
                is_wrong |= compare && *data != *pattern.at(read, data.len());
                read += data.len() as u64;
            })
            .map_err(failed)?;
            if is_wrong {
                return Err(Failure::Run(format!("octets from {had} on are wrong")));
            }
            silent = if read == had { silent + 1 } else { 0 };
            if silent > SILENT_ROUNDS_MAX {
                return Err(Failure::Run(format!("the transfer stands still at {read} of {size} octets")));
            }
        }
        Ok(self.rings[1].segments - before)
    }

    /// Both hosts send, take in what came, and time goes on: until something is due if nothing is under way.
    fn round(&mut self) {
        let mut next: Option<Instant> = None;
        for side in [0, 1] {
            let [first, second] = &mut self.rings;
            let (own, others) = if side == 0 { (first, second) } else { (second, first) };
            let arrived = own.packets.drain(..);
            let Settled { deadline, .. } = drive::round(&mut self.hosts[side], self.now, arrived, others);
            next = next.into_iter().chain(deadline).min();
        }
        self.now += ROUND_TIME;
        if self.rings.iter().all(|ring| ring.packets.is_empty()) {
            self.now = self.now.max(next.unwrap_or(self.now));
        }
    }

    fn read(&mut self, side: usize, id: ConnectionId, mut take: impl FnMut(&Bytes)) -> Result<(), CallError> {
        while let ReadOutcome::Data(data) = self.hosts[side].read(self.now, id, usize::MAX)? {
            take(&data);
        }
        Ok(())
    }
}

fn address(path: u8, side: usize) -> IpAddr {
    IpAddr::from([10, 0, path, 2 - side as u8])
}
