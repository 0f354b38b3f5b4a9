//! A host, the subflows that its script has named, and how a story begins.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{
    ConnectOptions, ConnectionId, Host, InterfaceConfig, ListenOptions, ListenerId, Protocol,
};
use polytcp_proto::mptcp::key::Key;
use polytcp_proto::packet::Transmit;
use polytcp_proto::pm::command::PmEvent;
use polytcp_proto::rng::SecretSource;
use polytcp_proto::time::Instant;
use polytcp_wire::tcp::TcpHeader;
use polytcp_wire::tcp_options::TcpOptions;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::segment::{ack, syn, syn_ack};
use super::{PEER_ISS, PEER_KEY, config, host_ip, peer_ip};

/// One subflow of the script: a four-tuple.
pub(super) struct Line {
    pub(super) path: usize,
    pub(super) host: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) peer_iss: u32,
    pub(super) host_iss: Option<u32>,
    pub(super) ts: bool,
    pub(super) ts_recent: u32,
    pub(super) host_nonce: u32,
    pub(super) host_id: u8,
}

/// A segment that the host sent.
pub(super) struct Seen {
    pub(super) line: Option<usize>,
    pub(super) ip_header: Vec<u8>,
    pub(super) ecn: u8,
    pub(super) hop_limit: u8,
    pub(super) header: TcpHeader,
    pub(super) options: TcpOptions,
    pub(super) payload: Bytes,
}

/// The script.
pub struct Script {
    pub host: Host,
    pub now: Instant,
    pub conn: Option<ConnectionId>,
    pub listener: Option<ListenerId>,
    pub(super) lines: Vec<Line>,
    pub(super) out: VecDeque<Seen>,
    pub host_key: Option<Key>,
    pub(super) trace: Vec<String>,
    /// Packets out for one call that are too many.
    pub burst_max: usize,
    /// ICMP and other packets that are no TCP.
    pub others: Vec<Transmit>,
    /// The checksums of all mappings that the host sent.
    pub checksums: Vec<u16>,
    /// What the host told the path manager's clients.
    pub pm_events: Vec<PmEvent>,
}

impl Script {
    #[track_caller]
    pub fn new(config: HostConfig) -> Self {
        Self::drawing(config, Box::new(ChaCha8Rng::seed_from_u64(7)))
    }

    /// A host with these secrets.
    #[track_caller]
    pub fn drawing(config: HostConfig, secrets: Box<SecretSource>) -> Self {
        let now = Instant::from_millis(1_000);
        let mut host = Host::new(config, secrets, now);
        for path in 0..3 {
            host.add_interface(
                now,
                InterfaceConfig {
                    name: format!("path{path}"),
                    mtu: 1500,
                    segment_bytes_max: 1500,
                    checksum_offload: path == 1,
                    addresses: vec![format!("{}/24", host_ip(path)).parse().unwrap()],
                },
            );
        }
        Self {
            host,
            now,
            conn: None,
            listener: None,
            lines: Vec::new(),
            out: VecDeque::new(),
            host_key: None,
            trace: Vec::new(),
            burst_max: 5_000,
            others: Vec::new(),
            checksums: Vec::new(),
            pm_events: Vec::new(),
        }
    }

    /// A host that listens for MPTCP on port 80; the peer is about to connect from port 1000.
    #[track_caller]
    pub fn listening() -> Self {
        Self::listening_with(config())
    }

    #[track_caller]
    pub fn listening_with(config: HostConfig) -> Self {
        Self::listening_by(config, &ListenOptions::new("0.0.0.0:80".parse().unwrap()), 1)
    }

    /// The same with a backlog of `backlog`, and `peers` lines from port 1000 on.
    #[track_caller]
    pub fn listening_for(config: HostConfig, backlog: usize, peers: u16) -> Self {
        let options = ListenOptions { backlog, ..ListenOptions::new("0.0.0.0:80".parse().unwrap()) };
        Self::listening_by(config, &options, peers)
    }

    #[track_caller]
    pub fn listening_by(config: HostConfig, options: &ListenOptions, peers: u16) -> Self {
        Self::new(config).listens_by(options, peers)
    }

    #[track_caller]
    pub fn listens_by(mut self, options: &ListenOptions, peers: u16) -> Self {
        self.listener = Some(self.host.listen(options).unwrap());
        for port in 0..peers {
            self.line(0, 80, 1000 + port);
        }
        self
    }

    /// A host that calls connect to port 80 of the peer; its SYN is next.
    #[track_caller]
    pub fn connecting() -> Self {
        Self::connecting_with(config(), Protocol::Mptcp)
    }

    #[track_caller]
    pub fn connecting_with(config: HostConfig, protocol: Protocol) -> Self {
        let mut script = Self::new(config);
        script.connect(protocol, 5000);
        script
    }

    #[track_caller]
    pub fn connect(&mut self, protocol: Protocol, port: u16) -> &mut Self {
        let local = SocketAddr::new(host_ip(0), port);
        let options = ConnectOptions {
            protocol,
            local: Some(local),
            ..ConnectOptions::new(SocketAddr::new(peer_ip(0), 80))
        };
        let now = self.now;
        self.conn = Some(self.host.connect(now, &options).unwrap());
        self.line(0, port, 80);
        self.collect();
        self
    }

    /// Calls connect with data, from another port each time; returns the number of that subflow.
    #[track_caller]
    pub fn connect_with_data(&mut self, protocol: Protocol, data: &[u8]) -> usize {
        let port = 5000 + self.lines.len() as u16;
        let options = ConnectOptions {
            protocol,
            local: Some(SocketAddr::new(host_ip(0), port)),
            data: Bytes::copy_from_slice(data),
            ..ConnectOptions::new(SocketAddr::new(peer_ip(0), 80))
        };
        let now = self.now;
        self.conn = Some(self.host.connect(now, &options).unwrap());
        let sf = self.line(0, port, 80);
        self.collect();
        sf
    }

    /// Accepted by a listener, plain TCP, no timestamps: SACK, MSS 1460, window scale 0.
    #[track_caller]
    pub fn accepted_plain() -> Self {
        Self::accepted_plain_with(config())
    }

    #[track_caller]
    pub fn accepted_plain_with(config: HostConfig) -> Self {
        let mut s = Self::listening_with(config);
        s.receives(syn().mss(1460).sack_ok().wscale(0)).sends(syn_ack().plain());
        s.receives(ack(1, 1)).accepts().sends_nothing();
        s
    }

    /// Accepted by a listener, MPTCP, no timestamps, window scale 7.
    #[track_caller]
    pub fn accepted() -> Self {
        Self::accepted_with(config())
    }

    #[track_caller]
    pub fn accepted_with(config: HostConfig) -> Self {
        let mut s = Self::listening_with(config);
        s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc());
        s.receives(ack(1, 1).mpc()).accepts().sends_nothing();
        s
    }

    /// Accepted as above from a peer that asks for checksums.
    #[track_caller]
    pub fn accepted_csum() -> Self {
        Self::accepted_csum_with(config())
    }

    #[track_caller]
    pub fn accepted_csum_with(config: HostConfig) -> Self {
        let mut s = Self::listening_with(config);
        s.receives(syn().mss(1460).sack_ok().wscale(7).mpc_a()).sends(syn_ack().mpc());
        s.receives(ack(1, 1).mpc_a()).accepts().sends_nothing();
        s
    }

    /// Connected to a peer that asks for checksums.
    #[track_caller]
    pub fn connected_csum() -> Self {
        let mut s = Self::connecting_with(config(), Protocol::Mptcp);
        s.sends(syn().mpc());
        s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc_a()).sends(ack(1, 1).mpc_a());
        s.receives(ack(1, 1).dack(1)).sends_nothing();
        s
    }

    /// Connected to the peer, MPTCP, confirmed by the peer's first DSS.
    #[track_caller]
    pub fn connected() -> Self {
        Self::connected_with(config())
    }

    #[track_caller]
    pub fn connected_with(config: HostConfig) -> Self {
        let mut s = Self::connecting_with(config, Protocol::Mptcp);
        s.sends(syn().mpc());
        s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).mpc());
        s.receives(ack(1, 1).dack(1)).sends_nothing();
        s
    }

    /// Connected to the peer, plain TCP by choice, no timestamps.
    #[track_caller]
    pub fn connected_plain() -> Self {
        Self::connected_plain_with(config())
    }

    #[track_caller]
    pub fn connected_plain_with(config: HostConfig) -> Self {
        let mut s = Self::connecting_with(config, Protocol::Tcp);
        s.sends(syn().plain());
        s.receives(syn_ack().mss(1460).sack_ok().wscale(0)).sends(ack(1, 1).plain());
        s
    }

    /// A further subflow, joined by the peer.
    #[track_caller]
    pub fn joined_by_peer(&mut self, path: usize) -> &mut Self {
        self.joined_by_peer_with(path, 65_535)
    }

    /// The same with another window.
    #[track_caller]
    pub fn joined_by_peer_with(&mut self, path: usize, window: u16) -> &mut Self {
        let sf = self.add_line(path, 2000 + path as u16);
        let scale = if window == 65_535 { 7 } else { 0 };
        self.receives(syn().on(sf).mss(1460).sack_ok().wscale(scale).window(window).join_syn(path as u8));
        self.sends(syn_ack().on(sf).join_syn_ack());
        self.receives(ack(1, 1).on(sf).window(window).join_ack())
            .sends(ack(1, 1).on(sf).dack(1))
            .sends_nothing()
    }

    /// The peer is about to connect from another port; returns the number of that subflow.
    #[track_caller]
    pub fn add_line(&mut self, path: usize, peer_port: u16) -> usize {
        self.line(path, 80, peer_port)
    }

    /// The same, to another port of the host.
    #[track_caller]
    pub fn add_line_at(&mut self, path: usize, host_port: u16, peer_port: u16) -> usize {
        self.line(path, host_port, peer_port)
    }

    /// The peer's end of a subflow.
    pub fn peer_of(&self, subflow: usize) -> SocketAddr {
        self.lines[subflow].peer
    }

    /// The host's end of a subflow.
    pub fn host_of(&self, subflow: usize) -> SocketAddr {
        self.lines[subflow].host
    }

    /// Subflows that the script knows, closed ones too.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// A counter of the host, by nstat's name without its group.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        self.host.counters().get(&format!("MPTcpExt{name}")).expect("a counter")
    }

    #[track_caller]
    pub(super) fn line(&mut self, path: usize, host_port: u16, peer_port: u16) -> usize {
        let sf = self.lines.len();
        self.lines.push(Line {
            path,
            host: SocketAddr::new(host_ip(path), host_port),
            peer: SocketAddr::new(peer_ip(path), peer_port),
            peer_iss: PEER_ISS.wrapping_add(0x1000_0000u32.wrapping_mul(sf as u32)),
            host_iss: None,
            ts: false,
            ts_recent: 0,
            host_nonce: 0,
            host_id: 0,
        });
        sf
    }

    /// The host's initial sequence number of a subflow.
    #[track_caller]
    pub fn host_iss(&self, subflow: usize) -> u32 {
        self.lines[subflow].host_iss.expect("the host has sent its SYN")
    }

    #[track_caller]
    pub fn peer_iss(&self, subflow: usize) -> u32 {
        self.lines[subflow].peer_iss
    }

    #[track_caller]
    pub fn keys(&self) -> (Key, Key) {
        (self.host_key.expect("the host's key was seen"), Key::from_wire(PEER_KEY))
    }
}
