//! Two hosts on emulated links in virtual time: the simulated pair.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;

use bytes::{Bytes, BytesMut};
use polytcp_netem::{Link, LinkConfig, Ratio};
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

/// Which of the two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Client,
    Server,
}

pub struct Path {
    pub up: Link<Parcel>,
    pub down: Link<Parcel>,
}

/// A packet, and the interface that it leaves and enters by.
pub type Parcel = (InterfaceId, Received);

/// Looks at each packet before it enters a link: false drops it.
pub type Filter = Box<dyn FnMut(Instant, Side, usize, &mut Transmit) -> bool>;

pub struct World {
    pub now: Instant,
    pub client: Host,
    pub server: Host,
    pub paths: Vec<Path>,
    /// All packets go over the links of path 0.
    pub is_shared: bool,
    pub filter: Filter,
    pub packets: u64,
    segment_bytes_max: u32,
    stuck: u32,
}

pub fn mbit(rate: u64, delay_ms: u64) -> LinkConfig {
    LinkConfig {
        rate_bits_per_sec: NonZeroU64::new(rate * 1_000_000),
        delay: Duration::from_millis(delay_ms),
        ..LinkConfig::default()
    }
}

pub fn with_loss(config: LinkConfig, percent: f64) -> LinkConfig {
    LinkConfig { loss: Ratio::from_ppm((percent * 10_000.0) as u32), ..config }
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn client_ip(path: usize) -> IpAddr {
    IpAddr::from([10, 0, path as u8, 2])
}

pub fn server_ip(path: usize) -> IpAddr {
    IpAddr::from([10, 0, path as u8, 1])
}

impl World {
    pub fn new(seed: u64, links: &[LinkConfig], client: HostConfig, server: HostConfig) -> Self {
        Self::with_segments(1500, seed, links, client, server)
    }

    /// With devices that take packets of up to `segment_bytes_max` and cut them (TSO), and links that carry them whole.
    pub fn with_segments(
        segment_bytes_max: u32,
        seed: u64,
        links: &[LinkConfig],
        client: HostConfig,
        server: HostConfig,
    ) -> Self {
        let now = Instant::from_millis(1);
        let host = |config: HostConfig, salt: u64, ip: fn(usize) -> IpAddr| {
            let mut host = Host::new(config, Box::new(ChaCha8Rng::seed_from_u64(seed ^ salt)), now);
            for path in 0..links.len() {
                host.add_interface(
                    now,
                    InterfaceConfig {
                        name: format!("path{path}"),
                        mtu: 1500,
                        segment_bytes_max,
                        checksum_offload: true,
                        addresses: vec![format!("{}/24", ip(path)).parse().unwrap()],
                    },
                );
            }
            host
        };
        let paths = links
            .iter()
            .enumerate()
            .map(|(i, config)| Path {
                up: Link::new(*config, seed.wrapping_mul(31) + i as u64),
                down: Link::new(*config, seed.wrapping_mul(37) + 100 + i as u64),
            })
            .collect();
        Self {
            now,
            client: host(client, 1, client_ip),
            server: host(server, 2, server_ip),
            paths,
            is_shared: false,
            filter: Box::new(|_, _, _, _| true),
            packets: 0,
            segment_bytes_max,
            stuck: 0,
        }
    }

    /// The client opens a subflow from each of its paths.
    pub fn endpoints(&mut self, flags: EndpointFlags) {
        for path in 1..self.paths.len() {
            let endpoint = Endpoint::new(client_ip(path), flags);
            self.client.command(self.now, &PmCommand::AddAddr(endpoint)).unwrap();
        }
        let limits = PmCommand::SetLimits { subflows: Some(8), add_addr_accepted: Some(8) };
        self.client.command(self.now, &limits).unwrap();
        self.server.command(self.now, &limits).unwrap();
    }

    pub fn host(&mut self, side: Side) -> &mut Host {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Sends what both hosts have.
    pub fn flush(&mut self) {
        for side in [Side::Client, Side::Server] {
            let now = self.now;
            let (host, mut wire) = self.ends(side);
            let _ = drive::settle(host, now, &mut wire);
        }
    }

    /// A host, and where its packets go.
    fn ends(&mut self, side: Side) -> (&mut Host, Wire<'_>) {
        let Self { now, client, server, paths, is_shared, filter, packets, segment_bytes_max, .. } = self;
        let host = match side {
            Side::Client => client,
            Side::Server => server,
        };
        let (is_shared, segment_bytes_max) = (*is_shared, *segment_bytes_max);
        (host, Wire { now: *now, side, paths, is_shared, filter, packets, segment_bytes_max })
    }

    pub fn next_deadline(&mut self) -> Option<Instant> {
        let links = self.paths.iter().flat_map(|p| [p.up.next_deadline(), p.down.next_deadline()]);
        links.chain([self.client.poll_timeout(), self.server.poll_timeout()]).flatten().min()
    }

    /// One event: moves time to it. False when nothing will ever happen, or not before `limit`.
    pub fn step(&mut self, limit: Instant) -> bool {
        self.flush();
        let Some(next) = self.next_deadline().filter(|at| *at <= limit) else {
            self.now = self.now.max(limit);
            return false;
        };
        self.stuck = if next <= self.now { self.stuck + 1 } else { 0 };
        assert!(self.stuck < 1000, "time stands still at {:?}", self.now);
        self.now = self.now.max(next);
        let now = self.now;
        for side in [Side::Server, Side::Client] {
            let mut arrived = Vec::new();
            for links in &mut self.paths {
                let link = match side {
                    Side::Client => &mut links.down,
                    Side::Server => &mut links.up,
                };
                while let Some(parcel) = link.pop(now) {
                    arrived.push(parcel);
                }
            }
            let (host, mut wire) = self.ends(side);
            let _ = drive::round(host, now, arrived, &mut wire);
        }
        true
    }

    pub fn run_for(&mut self, duration: Duration) {
        let limit = self.now + duration;
        while self.step(limit) {}
        self.flush();
    }

    /// Runs until `done` holds, at most for `limit`. Returns whether it does.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    pub fn listen(&mut self) -> ListenerId {
        self.listen_at(80)
    }

    pub fn listen_at(&mut self, port: u16) -> ListenerId {
        let address = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port);
        self.server.listen(&ListenOptions { fast_open: 16, ..ListenOptions::new(address) }).unwrap()
    }

    pub fn connect(&mut self) -> ConnectionId {
        let remote = SocketAddr::new(server_ip(0), 80);
        self.client.connect(self.now, &ConnectOptions::new(remote)).unwrap()
    }

    /// A connection, established at both ends.
    pub fn establish(&mut self) -> (ConnectionId, ConnectionId) {
        let listener = self.listen();
        self.establish_with(listener, &ConnectOptions::new(SocketAddr::new(server_ip(0), 80)))
    }

    /// The same, to `listener` and as `options` ask for it.
    pub fn establish_with(
        &mut self,
        listener: ListenerId,
        options: &ConnectOptions,
    ) -> (ConnectionId, ConnectionId) {
        let client = self.client.connect(self.now, options).unwrap();
        let mut server = None;
        assert!(self.run_until(secs(20), |w| {
            server = server.or_else(|| w.server.accept(listener));
            server.is_some() && w.client.readiness(client).connected
        }));
        (client, server.unwrap())
    }

    /// Sends `bytes` from `side` and reads them at the other; returns what arrived, and the time it took.
    pub fn transfer(
        &mut self,
        from: Side,
        ids: (ConnectionId, ConnectionId),
        bytes: u64,
        limit: Duration,
    ) -> Transfer {
        let start = self.now;
        let (sender, receiver) = match from {
            Side::Client => (ids.0, ids.1),
            Side::Server => (ids.1, ids.0),
        };
        let to = match from {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        let mut report = Transfer::default();
        let mut written = 0;
        let mut last_read = start;
        self.run_until(limit, |w| {
            let now = w.now;
            while written < bytes {
                let room = w.host(from).write_room(sender).unwrap_or(0) as u64;
                let n = room.min(bytes - written).min(65_536);
                if n == 0 {
                    break;
                }
                let piece = Piece::Growing(pattern(written, n as usize));
                w.host(from).write(now, sender, piece).unwrap();
                written += n;
            }
            while let Ok(ReadOutcome::Data(data)) = w.host(to).read(now, receiver, usize::MAX) {
                check_pattern(report.received, &data);
                report.received += data.len() as u64;
                report.longest_pause = report.longest_pause.max(now.since(last_read));
                last_read = now;
            }
            report.received == bytes
        });
        report.took = self.now.since(start);
        report
    }
}

/// The links as one side sends into them.
struct Wire<'a> {
    now: Instant,
    side: Side,
    paths: &'a mut [Path],
    is_shared: bool,
    filter: &'a mut Filter,
    packets: &'a mut u64,
    segment_bytes_max: u32,
}

impl Outputs for Wire<'_> {
    fn has_room(&self) -> bool {
        true
    }

    fn transmit(&mut self, mut packet: Transmit) {
        *self.packets += 1;
        let path = packet.interface.0 as usize;
        assert!(packet.len() <= self.segment_bytes_max as usize, "a packet of {} bytes", packet.len());
        if !(self.filter)(self.now, self.side, path, &mut packet) {
            return;
        }
        let path = if self.is_shared { 0 } else { path };
        let link = match self.side {
            Side::Client => &mut self.paths[path].up,
            Side::Server => &mut self.paths[path].down,
        };
        let _ = link.push(self.now, (packet.interface, received(&packet)), packet.len() as u32);
    }

    fn event(&mut self, _: &Host, _: Event) {}

    fn pm_event(&mut self, _: &PmEvent) {}
}

#[derive(Debug, Default)]
pub struct Transfer {
    pub received: u64,
    pub took: Duration,
    pub longest_pause: Duration,
}

impl Transfer {
    pub fn mbit_per_sec(&self) -> f64 {
        self.received as f64 * 8.0 / self.took.as_secs_f64() / 1e6
    }
}

/// The octet at an offset of the test stream: not periodic in any power of two.
fn octet(at: u64) -> u8 {
    let x = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x >> 56) as u8 ^ (x >> 24) as u8
}

pub fn pattern(start: u64, len: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(len + 1);
    out.extend((start..start + len as u64).map(octet));
    out
}

pub fn check_pattern(start: u64, data: &[u8]) {
    for (i, byte) in data.iter().enumerate() {
        assert_eq!(*byte, octet(start + i as u64), "at offset {}", start + i as u64);
    }
}

pub fn received(packet: &Transmit) -> Received {
    let mut bytes = BytesMut::with_capacity(packet.len());
    bytes.extend_from_slice(packet.header.as_slice());
    bytes.extend_from_slice(&packet.payload);
    let mut vnet = packet.vnet;
    if matches!(vnet.checksum, Checksum::Partial { .. }) {
        vnet.checksum = Checksum::Verified;
    }
    let bytes: Bytes = bytes.freeze();
    Received { vnet, buffer_bytes: bytes.len() as u32, bytes }
}
