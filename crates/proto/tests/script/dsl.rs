//! Packet scripts: one host against segments made by hand, in virtual time.
//!
//! A script reads as the trace that a colleague would draw: what the peer sends (`receives`), what the host has
//! to send (`sends`), and how much time goes by between (`after`). Sequence numbers are relative: a SYN is 0, the
//! first octet is 1, the same for data sequence numbers from the IDSN of their sender. Whatever the host sends has
//! to be named, at its time: a segment that no line expects fails the script.
#![allow(dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{
    ConnectOptions, ConnectionId, Host, InterfaceConfig, ListenOptions, ListenerId, Piece, Protocol,
    ReadOutcome,
};
use polytcp_proto::mptcp::key::{Key, Nonce, add_addr_hmac, join_hmac};
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
pub use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::ip::{self, Addresses, IpHeader, PROTOCOL_ICMP, PROTOCOL_TCP};
use polytcp_wire::mptcp::{
    AddAddr, AddAddrAuth, AddressIds, Capable, CapableFlags, CapableForm, DataAck, Dss, DssDsn, DssMapping,
    Join, MptcpOption, Prio, Reset, VERSION,
};
use polytcp_wire::tcp::{self, CHECKSUM_OFFSET, TcpFlags, TcpHeader};
use polytcp_wire::tcp_options::{SackBlock, TcpOptions, Timestamps};
use polytcp_wire::virtio::{Checksum, VnetHdr};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The peer's key.
pub const PEER_KEY: u64 = 0x0123_4567_89ab_cdef;
/// The peer's random number in MP_JOIN.
pub const PEER_NONCE: u32 = 0x5eed_cafe;
/// Distance between the peer's initial sequence numbers of its subflows; the first lies near the wrap.
const PEER_ISS: u32 = u32::MAX - 1_000;
const PEER_CLOCK: u32 = u32::MAX - 5_000;

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The host's address on path `n`.
pub fn host_ip(path: usize) -> IpAddr {
    IpAddr::from([10, 0, path as u8, 1])
}

/// The peer's address on path `n`.
pub fn peer_ip(path: usize) -> IpAddr {
    IpAddr::from([10, 0, path as u8, 2])
}

/// An MPTCP option in relative terms.
#[derive(Clone, Debug, PartialEq)]
enum Mp {
    CapableSyn {
        flags: CapableFlags,
    },
    CapableSynAck,
    CapableAck,
    CapableData {
        len: u16,
    },
    Dss {
        ack: Option<(u64, Width)>,
        map: Option<(u64, Width, u32, u16)>,
        fin: bool,
    },
    JoinSyn {
        right_token: bool,
        id: u8,
        backup: bool,
    },
    JoinSynAck {
        right: bool,
    },
    JoinAck {
        right: bool,
    },
    AddAddr {
        id: u8,
        address: IpAddr,
        right: bool,
    },
    Echo {
        id: u8,
        address: IpAddr,
    },
    Remove(Vec<u8>),
    Prio {
        backup: bool,
    },
    FastClose {
        right: bool,
    },
    TcpRst {
        reason: u8,
    },
    /// Any MP_TCPRST, whatever the reason.
    AnyTcpRst,
    /// Any MP_JOIN SYN; its number and token are taken from it.
    AnyJoinSyn,
    /// A MP_JOIN SYN/ACK whose HMAC is checked.
    Raw(MptcpOption),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Width {
    Four,
    Eight,
    /// Either, in an expectation.
    Any,
}

/// A segment: of the peer to be delivered, or of the host as expected. What is not named is not checked, but for
/// flags and payload.
#[derive(Clone, Default)]
pub struct Seg {
    subflow: usize,
    flags: u8,
    seq: Option<u32>,
    ack: Option<u32>,
    window: Option<u16>,
    mss: Option<u16>,
    wscale: Option<u8>,
    sack_ok: Option<bool>,
    ts: Option<bool>,
    ts_val: Option<u32>,
    ts_ecr: Option<u32>,
    sack: Option<Vec<(u32, u32)>>,
    mptcp: Vec<Mp>,
    plain: bool,
    payload: Vec<u8>,
    payload_len: Option<usize>,
    buffer_bytes: Option<u32>,
}

impl fmt::Debug for Seg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or("any".into(), |n| n.to_string());
        let len = self.payload_len.unwrap_or(self.payload.len());
        write!(f, "{} seq {} len {len} ack {}", flag_names(self.flags), number(self.seq), number(self.ack))?;
        if let Some(window) = self.window {
            write!(f, " win {window}")?;
        }
        if let Some(sack) = &self.sack {
            write!(f, " sack {sack:?}")?;
        }
        if self.ts.is_some() || self.ts_val.is_some() {
            write!(f, " ts {:?} {:?}", self.ts, self.ts_val)?;
        }
        write!(f, " {:?}", self.mptcp)
    }
}

fn flag_names(flags: u8) -> String {
    let names = [(1, "F"), (2, "S"), (4, "R"), (8, "P"), (16, "."), (32, "U"), (64, "E"), (128, "W")];
    names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| *n).collect()
}

fn seg(flags: TcpFlags, seq: u32) -> Seg {
    Seg { flags: flags.0, seq: Some(seq), ..Seg::default() }
}

/// A SYN.
pub fn syn() -> Seg {
    seg(TcpFlags::SYN, 0)
}

/// A SYN/ACK.
pub fn syn_ack() -> Seg {
    Seg { ack: Some(1), ..seg(TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0), 0) }
}

/// A segment without payload.
pub fn ack(seq: u32, ack: u32) -> Seg {
    Seg { ack: Some(ack), ..seg(TcpFlags::ACK, seq) }
}

/// A segment with payload.
pub fn data(seq: u32, ack_to: u32, payload: &[u8]) -> Seg {
    Seg { payload: payload.to_vec(), ..ack(seq, ack_to) }
}

/// A segment with this many octets of payload: the stream's own pattern.
pub fn bulk(seq: u32, ack_to: u32, len: usize) -> Seg {
    Seg { payload: octets(seq - 1, len), payload_len: Some(len), ..ack(seq, ack_to) }
}

/// A FIN without payload.
pub fn fin(seq: u32, ack: u32) -> Seg {
    Seg { ack: Some(ack), ..seg(TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0), seq) }
}

/// A reset without ACK.
pub fn rst(seq: u32) -> Seg {
    seg(TcpFlags::RST, seq)
}

/// A reset with ACK.
pub fn rst_ack(seq: u32, ack: u32) -> Seg {
    Seg { ack: Some(ack), ..seg(TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0), seq) }
}

/// The octets that stand at `offset` of any test stream.
pub fn octets(offset: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| ((offset + i).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

impl Seg {
    /// On the subflow with that number, from 0.
    pub fn on(mut self, subflow: usize) -> Self {
        self.subflow = subflow;
        self
    }
    pub fn flags(mut self, more: TcpFlags) -> Self {
        self.flags |= more.0;
        self
    }
    pub fn no_ack_flag(mut self) -> Self {
        self.flags &= !TcpFlags::ACK.0;
        self
    }
    pub fn window(mut self, field: u16) -> Self {
        self.window = Some(field);
        self
    }
    pub fn mss(mut self, mss: u16) -> Self {
        self.mss = Some(mss);
        self
    }
    pub fn wscale(mut self, shift: u8) -> Self {
        self.wscale = Some(shift);
        self
    }
    pub fn sack_ok(mut self) -> Self {
        self.sack_ok = Some(true);
        self
    }
    /// Timestamps: the peer's clock is its own, all later segments of the subflow carry it.
    pub fn ts(mut self) -> Self {
        self.ts = Some(true);
        self
    }
    pub fn without_ts(mut self) -> Self {
        self.ts = Some(false);
        self
    }
    /// Timestamps with this value instead of the clock's, relative to it.
    pub fn ts_val(mut self, ahead_ms: i64) -> Self {
        self.ts_val = Some(ahead_ms as u32);
        self
    }
    /// Reports these ranges; in an expectation exactly these, in this order.
    pub fn sack(mut self, blocks: &[(u32, u32)]) -> Self {
        self.sack = Some(blocks.to_vec());
        self
    }
    fn with(mut self, option: Mp) -> Self {
        self.mptcp.push(option);
        self
    }
    /// MP_CAPABLE as this kind of segment has it.
    pub fn mpc(self) -> Self {
        let flags = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
        let form = match (
            TcpFlags(self.flags).contains(TcpFlags::SYN),
            TcpFlags(self.flags).contains(TcpFlags::ACK),
        ) {
            (true, false) => Mp::CapableSyn { flags },
            (true, true) => Mp::CapableSynAck,
            (false, _) if self.payload.is_empty() => Mp::CapableAck,
            (false, _) => Mp::CapableData { len: self.payload.len() as u16 },
        };
        self.with(form)
    }
    /// MP_CAPABLE of a SYN with other flags.
    pub fn mpc_with(self, flags: CapableFlags) -> Self {
        self.with(Mp::CapableSyn { flags })
    }
    fn dss(&mut self) -> &mut Mp {
        if !matches!(self.mptcp.last(), Some(Mp::Dss { .. })) {
            self.mptcp.push(Mp::Dss { ack: None, map: None, fin: false });
        }
        self.mptcp.last_mut().expect("pushed just now")
    }
    /// DATA_ACK.
    pub fn dack(mut self, to: u64) -> Self {
        let Mp::Dss { ack, .. } = self.dss() else { unreachable!() };
        *ack = Some((to, Width::Any));
        self
    }
    /// DATA_ACK of four octets.
    pub fn dack4(mut self, to: u64) -> Self {
        let Mp::Dss { ack, .. } = self.dss() else { unreachable!() };
        *ack = Some((to, Width::Four));
        self
    }
    /// A mapping of the whole payload, from `dsn`.
    pub fn map(self, dsn: u64) -> Self {
        let (ssn, len) = (self.seq.expect("a mapping has a number"), self.payload.len() as u16);
        self.map_of(dsn, ssn, len)
    }
    /// A mapping.
    pub fn map_of(mut self, dsn: u64, ssn: u32, len: u16) -> Self {
        let Mp::Dss { map, .. } = self.dss() else { unreachable!() };
        *map = Some((dsn, Width::Any, ssn, len));
        self
    }
    /// A mapping of the whole payload with a four-octet number.
    pub fn map4(self, dsn: u64) -> Self {
        let (ssn, len) = (self.seq.expect("a mapping has a number"), self.payload.len() as u16);
        let mut seg = self.map_of(dsn, ssn, len);
        let Mp::Dss { map: Some((_, width, _, _)), .. } = seg.dss() else { unreachable!() };
        *width = Width::Four;
        seg
    }
    /// DATA_FIN: with the mapping if there is one, which it lengthens, else alone at `dsn`.
    pub fn data_fin(mut self, dsn: u64) -> Self {
        let Mp::Dss { map, fin, .. } = self.dss() else { unreachable!() };
        *fin = true;
        *map = Some(match *map {
            Some((dsn, width, ssn, len)) => (dsn, width, ssn, len + 1),
            None => (dsn, Width::Any, 0, 1),
        });
        self
    }
    pub fn join_syn(self, id: u8) -> Self {
        self.with(Mp::JoinSyn { right_token: true, id, backup: false })
    }
    pub fn join_syn_unknown_token(self, id: u8) -> Self {
        self.with(Mp::JoinSyn { right_token: false, id, backup: false })
    }
    pub fn any_join_syn(self) -> Self {
        self.with(Mp::AnyJoinSyn)
    }
    pub fn join_syn_ack(self) -> Self {
        self.with(Mp::JoinSynAck { right: true })
    }
    pub fn join_syn_ack_wrong(self) -> Self {
        self.with(Mp::JoinSynAck { right: false })
    }
    pub fn join_ack(self) -> Self {
        self.with(Mp::JoinAck { right: true })
    }
    pub fn join_ack_wrong(self) -> Self {
        self.with(Mp::JoinAck { right: false })
    }
    pub fn add_addr(self, id: u8, address: IpAddr) -> Self {
        self.with(Mp::AddAddr { id, address, right: true })
    }
    pub fn add_addr_wrong(self, id: u8, address: IpAddr) -> Self {
        self.with(Mp::AddAddr { id, address, right: false })
    }
    pub fn echo(self, id: u8, address: IpAddr) -> Self {
        self.with(Mp::Echo { id, address })
    }
    pub fn remove_addr(self, ids: &[u8]) -> Self {
        self.with(Mp::Remove(ids.to_vec()))
    }
    pub fn prio(self, backup: bool) -> Self {
        self.with(Mp::Prio { backup })
    }
    pub fn fastclose(self) -> Self {
        self.with(Mp::FastClose { right: true })
    }
    pub fn fastclose_wrong(self) -> Self {
        self.with(Mp::FastClose { right: false })
    }
    pub fn tcprst(self, reason: u8) -> Self {
        self.with(Mp::TcpRst { reason })
    }
    pub fn any_tcprst(self) -> Self {
        self.with(Mp::AnyTcpRst)
    }
    pub fn option(self, option: MptcpOption) -> Self {
        self.with(Mp::Raw(option))
    }
    /// Expects no MPTCP option.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }
    /// Octets of memory that the delivered packet pins.
    pub fn pinning(mut self, buffer_bytes: u32) -> Self {
        self.buffer_bytes = Some(buffer_bytes);
        self
    }
    /// Acknowledges that number instead.
    pub fn acking(mut self, ack: u32) -> Self {
        self.ack = Some(ack);
        self
    }
    /// At that number instead.
    pub fn any_seq_at(mut self, seq: u32) -> Self {
        self.seq = Some(seq);
        self
    }
    /// Any number.
    pub fn any_seq(mut self) -> Self {
        self.seq = None;
        self
    }
}

/// One subflow of the script: a four-tuple.
struct Line {
    path: usize,
    host: SocketAddr,
    peer: SocketAddr,
    peer_iss: u32,
    host_iss: Option<u32>,
    ts: bool,
    ts_recent: u32,
    host_nonce: u32,
    host_id: u8,
}

/// A segment that the host sent.
struct Seen {
    line: Option<usize>,
    header: TcpHeader,
    options: TcpOptions,
    payload: Bytes,
}

/// The script.
pub struct Script {
    pub host: Host,
    pub now: Instant,
    pub conn: Option<ConnectionId>,
    pub listener: Option<ListenerId>,
    lines: Vec<Line>,
    out: VecDeque<Seen>,
    pub host_key: Option<Key>,
    trace: Vec<String>,
    /// Packets out for one call that are too many.
    pub burst_max: usize,
    /// ICMP and other packets that are no TCP.
    pub others: Vec<Transmit>,
}

pub fn config() -> HostConfig {
    HostConfig::default()
}

impl Script {
    #[track_caller]
    pub fn new(config: HostConfig) -> Self {
        let now = Instant::from_millis(1_000);
        let mut host = Host::new(config, Box::new(ChaCha8Rng::seed_from_u64(7)), now);
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
        }
    }

    /// A host that listens for MPTCP on port 80; the peer is about to connect from port 1000.
    #[track_caller]
    pub fn listening() -> Self {
        Self::listening_with(config())
    }

    #[track_caller]
    pub fn listening_with(config: HostConfig) -> Self {
        let mut script = Self::new(config);
        let listener = script.host.listen(&ListenOptions::new("0.0.0.0:80".parse().unwrap())).unwrap();
        script.listener = Some(listener);
        script.line(0, 80, 1000);
        script
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
        s.receives(ack(1, 1).mpc()).sends(ack(1, 1).dack(1)).accepts().sends_nothing();
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

    #[track_caller]
    fn line(&mut self, path: usize, host_port: u16, peer_port: u16) -> usize {
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

    // What happens.

    /// The host takes a segment.
    #[track_caller]
    pub fn receives(&mut self, seg: Seg) -> &mut Self {
        self.sends_nothing();
        let (sf, packet) = self.build(&seg);
        self.note(format_args!("< sf{sf} {seg:?}"));
        let path = self.lines[sf].path;
        self.deliver(path, packet);
        self
    }

    /// The host takes these octets as a packet of path `path`.
    #[track_caller]
    pub fn deliver(&mut self, path: usize, packet: Received) {
        let now = self.now;
        self.host.handle_packet(now, InterfaceId(path as u32), packet);
        self.collect();
    }

    /// Time passes in which the host sends nothing; what it sends at the end of it is what comes next.
    #[track_caller]
    pub fn after(&mut self, wait: Duration) -> &mut Self {
        self.sends_nothing();
        let end = self.now + wait;
        while let Some(at) = self.host.poll_timeout().filter(|at| *at <= end) {
            self.step_to(at);
            if !self.out.is_empty() && self.now < end {
                let at = self.now;
                self.fail(format_args!("sent at {at:?}, before {end:?}"));
            }
            if self.now >= end && !self.out.is_empty() {
                break;
            }
        }
        self.now = self.now.max_of(end);
        let now = self.now;
        self.host.handle_timeout(now);
        self.collect();
        self
    }

    /// Time passes, and whatever the host sends is thrown away; returns how many segments that were.
    #[track_caller]
    pub fn idles(&mut self, wait: Duration) -> usize {
        let end = self.now + wait;
        let mut count = self.out.len();
        self.out.clear();
        while let Some(at) = self.host.poll_timeout().filter(|at| *at <= end) {
            self.step_to(at);
            count += self.out.len();
            self.out.clear();
        }
        self.now = self.now.max_of(end);
        self.note(format_args!("  idled, {count} segments thrown away"));
        count
    }

    /// Time passes; `end` becomes the highest number that was sent.
    pub fn idles_into(&mut self, end: &mut u32, wait: Duration) {
        let until = self.now + wait;
        loop {
            *end = (*end).max(self.sent_to());
            self.out.clear();
            let Some(at) = self.host.poll_timeout().filter(|at| *at <= until) else { break };
            self.step_to(at);
        }
        self.now = self.now.max_of(until);
    }

    /// Runs until the host sends something, at most for `limit`; returns how long that took.
    #[track_caller]
    pub fn until_sent(&mut self, limit: Duration) -> Option<Duration> {
        let start = self.now;
        let end = self.now + limit;
        while self.out.is_empty() {
            let at = self.host.poll_timeout().filter(|at| *at <= end)?;
            self.step_to(at);
        }
        Some(self.now.since(start))
    }

    #[track_caller]
    fn step_to(&mut self, at: Instant) {
        let stuck = at <= self.now;
        self.now = self.now.max_of(at);
        let now = self.now;
        self.host.handle_timeout(now);
        self.collect();
        if stuck && self.host.poll_timeout().is_some_and(|next| next <= now) && self.out.is_empty() {
            self.fail(format_args!("time stands still"));
        }
    }

    #[track_caller]
    fn collect(&mut self) {
        let now = self.now;
        let mut count = 0;
        while let Some(packet) = self.host.poll_transmit(now) {
            count += 1;
            if count > self.burst_max {
                self.fail(format_args!("poll_transmit does not end"));
            }
            self.see(packet);
        }
        while self.host.poll_event().is_some() {}
        while self.host.poll_pm_event().is_some() {}
    }

    #[track_caller]
    fn see(&mut self, packet: Transmit) {
        let mut bytes = packet.header.as_slice().to_vec();
        bytes.extend_from_slice(&packet.payload);
        let parsed = ip::parse(&bytes).expect("the host sends IP");
        if parsed.header.protocol != PROTOCOL_TCP {
            self.others.push(packet);
            return;
        }
        let segment = &bytes[parsed.payload_offset..];
        if packet.vnet.checksum == Checksum::Complete {
            assert!(tcp::verify_checksum(&parsed.header.addresses, segment), "checksum");
        }
        let tcp = tcp::parse(segment).expect("the host sends TCP");
        let host = SocketAddr::new(parsed.header.addresses.src(), tcp.header.src_port);
        let peer = SocketAddr::new(parsed.header.addresses.dst(), tcp.header.dst_port);
        let mut line = self.lines.iter().position(|l| l.host == host && l.peer == peer);
        if line.is_none() && tcp.header.flags.contains(TcpFlags::SYN) {
            let path = (0..3).find(|p| host_ip(*p) == host.ip()).unwrap_or(0);
            let sf = self.line(path, host.port(), peer.port());
            self.lines[sf].peer = peer;
            line = Some(sf);
        }
        if let Some(line) = line {
            let line = &mut self.lines[line];
            if tcp.header.flags.contains(TcpFlags::SYN) {
                line.host_iss = Some(tcp.header.seq);
            }
            if let Some(ts) = tcp.options.timestamps {
                line.ts_recent = ts.val;
            }
        }
        for option in tcp.options.mptcp.iter() {
            match option {
                MptcpOption::Capable(Capable { form: CapableForm::SynAck { sender_key }, .. })
                | MptcpOption::Capable(Capable { form: CapableForm::Ack { sender_key, .. }, .. })
                | MptcpOption::Capable(Capable { form: CapableForm::Data { sender_key, .. }, .. }) => {
                    self.host_key = Some(Key::from_wire(*sender_key));
                }
                MptcpOption::Join(
                    Join::Syn { nonce, address_id, .. } | Join::SynAck { nonce, address_id, .. },
                ) => {
                    if let Some(line) = line {
                        self.lines[line].host_nonce = *nonce;
                        self.lines[line].host_id = *address_id;
                    }
                }
                _ => {}
            }
        }
        let seen = Seen {
            line,
            header: tcp.header,
            options: tcp.options,
            payload: Bytes::copy_from_slice(&segment[tcp.payload_offset..]),
        };
        let text = self.describe(&seen);
        self.note(format_args!("> {text}"));
        self.out.push_back(seen);
    }

    // What the application does.

    #[track_caller]
    pub fn id(&self) -> ConnectionId {
        self.conn.expect("the script has a connection")
    }

    #[track_caller]
    pub fn accepts(&mut self) -> &mut Self {
        let listener = self.listener.expect("the script listens");
        match self.host.accept(listener) {
            Some(id) => self.conn = Some(id),
            None => self.fail(format_args!("nothing to accept")),
        }
        self
    }

    #[track_caller]
    pub fn accepts_nothing(&mut self) -> &mut Self {
        let listener = self.listener.expect("the script listens");
        if self.host.accept(listener).is_some() {
            self.fail(format_args!("there was something to accept"));
        }
        self
    }

    #[track_caller]
    pub fn writes(&mut self, octets: &[u8]) -> &mut Self {
        self.note(format_args!("  write {} octets", octets.len()));
        let (now, id) = (self.now, self.id());
        self.host.write(now, id, Piece::Fixed(Bytes::copy_from_slice(octets))).unwrap();
        self.collect();
        self
    }

    /// Writes that many octets of the stream's pattern, from `offset`.
    #[track_caller]
    pub fn writes_bulk(&mut self, offset: u32, len: usize) -> &mut Self {
        self.writes(&octets(offset, len))
    }

    #[track_caller]
    pub fn nodelay(&mut self) -> &mut Self {
        let (now, id) = (self.now, self.id());
        self.host.set_nodelay(now, id, true).unwrap();
        self.collect();
        self
    }

    /// All that can be read.
    #[track_caller]
    pub fn read(&mut self) -> Vec<u8> {
        let (now, id) = (self.now, self.id());
        let mut all = Vec::new();
        while let Ok(ReadOutcome::Data(data)) = self.host.read(now, id, usize::MAX) {
            all.extend_from_slice(&data);
        }
        self.collect();
        all
    }

    #[track_caller]
    pub fn reads(&mut self, expected: &[u8]) -> &mut Self {
        let all = self.read();
        if all != expected {
            self.fail(format_args!(
                "read {} octets {:02x?}, not {:02x?}",
                all.len(),
                head(&all),
                head(expected)
            ));
        }
        self
    }

    #[track_caller]
    pub fn reads_end(&mut self) -> &mut Self {
        let (now, id) = (self.now, self.id());
        let outcome = self.host.read(now, id, usize::MAX);
        if outcome != Ok(ReadOutcome::Finished) {
            self.fail(format_args!("read {outcome:?}, not the end"));
        }
        self
    }

    #[track_caller]
    pub fn reads_error(&mut self, error: polytcp_proto::host::CallError) -> &mut Self {
        let (now, id) = (self.now, self.id());
        let outcome = self.host.read(now, id, usize::MAX);
        if outcome != Err(error) {
            self.fail(format_args!("read {outcome:?}, not {error:?}"));
        }
        self
    }

    #[track_caller]
    pub fn shuts_down(&mut self) -> &mut Self {
        self.note(format_args!("  shutdown"));
        let (now, id) = (self.now, self.id());
        self.host.shutdown(now, id).unwrap();
        self.collect();
        self
    }

    #[track_caller]
    pub fn closes(&mut self) -> &mut Self {
        self.note(format_args!("  close"));
        let (now, id) = (self.now, self.id());
        self.host.close(now, id);
        self.collect();
        self
    }

    #[track_caller]
    pub fn aborts(&mut self) -> &mut Self {
        self.note(format_args!("  abort"));
        let (now, id) = (self.now, self.id());
        self.host.abort(now, id);
        self.collect();
        self
    }

    #[track_caller]
    pub fn command(&mut self, command: &polytcp_proto::pm::command::PmCommand) -> &mut Self {
        let now = self.now;
        self.host.command(now, command).unwrap();
        self.collect();
        self
    }

    #[track_caller]
    pub fn is_mptcp(&self) -> bool {
        self.host.info(self.id()).unwrap().is_mptcp
    }

    // What is expected.

    /// The next segment that the host sent is this one.
    #[track_caller]
    pub fn sends(&mut self, expected: Seg) -> &mut Self {
        let Some(seen) = self.out.pop_front() else {
            self.fail(format_args!("nothing was sent; expected {expected:?}"))
        };
        if let Err(what) = self.compare(&seen, &expected) {
            let text = self.describe(&seen);
            self.fail(format_args!("{what}\n sent     {text}\n expected {expected:?}"));
        }
        self
    }

    /// One past the last octet of what was sent and not named yet, on the first subflow; 0 without any.
    pub fn sent_to(&self) -> u32 {
        let end = |s: &Seen| s.header.seq.wrapping_sub(self.host_iss(0)) + s.payload.len() as u32;
        self.out.iter().map(end).max().unwrap_or(0)
    }

    /// The subflow of the next segment.
    pub fn sent_on(&self) -> usize {
        self.out.front().and_then(|seen| seen.line).expect("something was sent")
    }

    /// The next segment, whatever it is.
    #[track_caller]
    pub fn sends_any(&mut self) -> &mut Self {
        if self.out.pop_front().is_none() {
            self.fail(format_args!("nothing was sent"));
        }
        self
    }

    #[track_caller]
    pub fn sends_nothing(&mut self) -> &mut Self {
        if let Some(seen) = self.out.pop_front() {
            let text = self.describe(&seen);
            self.fail(format_args!("not expected: {text}"));
        }
        self
    }

    /// Forgets what was sent; returns how many segments that were.
    #[track_caller]
    pub fn ignores(&mut self) -> usize {
        let count = self.out.len();
        self.out.clear();
        count
    }

    /// The announced windows of what was sent and not named yet, with the acknowledgements before them, relative.
    #[track_caller]
    pub fn drain_edges(&mut self) -> Vec<(u32, u16)> {
        let iss: Vec<u32> = self.lines.iter().map(|l| l.peer_iss).collect();
        self.out
            .drain(..)
            .map(|s| (s.header.ack.wrapping_sub(iss[s.line.unwrap_or(0)]), s.header.window))
            .collect()
    }

    /// Payload lengths of what was sent and not named yet.
    pub fn drain_lens(&mut self) -> Vec<usize> {
        self.out.drain(..).map(|s| s.payload.len()).collect()
    }

    #[track_caller]
    fn compare(&self, seen: &Seen, want: &Seg) -> Result<(), String> {
        let Some(index) = seen.line else { return Err("a four-tuple that the script does not know".into()) };
        if index != want.subflow {
            return Err(format!("on subflow {index}, not {}", want.subflow));
        }
        let line = &self.lines[index];
        let ignored = TcpFlags::PSH.0;
        if seen.header.flags.0 & !ignored != want.flags & !ignored {
            return Err("flags".into());
        }
        let host_iss = line.host_iss.unwrap_or(0);
        let is = |what: &str, seen: u32, want: Option<u32>| match want {
            Some(want) if want != seen => Err(format!("{what} {seen}, not {want}")),
            _ => Ok(()),
        };
        is("seq", seen.header.seq.wrapping_sub(host_iss), want.seq)?;
        is("ack", seen.header.ack.wrapping_sub(line.peer_iss), want.ack)?;
        is("window", seen.header.window.into(), want.window.map(u32::from))?;
        is("mss", seen.options.mss.unwrap_or(0).into(), want.mss.map(u32::from))?;
        is("wscale", seen.options.window_scale.map_or(99, u32::from), want.wscale.map(u32::from))?;
        match want.payload_len {
            Some(len) if seen.payload.len() != len => return Err(format!("{} octets", seen.payload.len())),
            _ if seen.payload != want.payload => {
                return Err(format!("payload of {} octets", seen.payload.len()));
            }
            _ => {}
        }
        if want.ts.is_some_and(|ts| ts != seen.options.timestamps.is_some()) {
            return Err("timestamps".into());
        }
        if let Some(blocks) = &want.sack {
            let found: Vec<_> = seen
                .options
                .sack
                .iter()
                .map(|b| (b.left.wrapping_sub(line.peer_iss), b.right.wrapping_sub(line.peer_iss)))
                .collect();
            if found != *blocks {
                return Err(format!("SACK {found:?}, not {blocks:?}"));
            }
        }
        if want.plain && !seen.options.mptcp.is_empty() {
            return Err("an MPTCP option".into());
        }
        for option in &want.mptcp {
            if !seen.options.mptcp.iter().any(|found| self.option_is(line, found, option)) {
                return Err(format!("no {option:?}"));
            }
        }
        Ok(())
    }

    #[track_caller]
    fn option_is(&self, line: &Line, found: &MptcpOption, want: &Mp) -> bool {
        let peer = Key::from_wire(PEER_KEY);
        let host = self.host_key;
        match (found, want) {
            (MptcpOption::Capable(c), Mp::CapableSyn { .. }) => matches!(c.form, CapableForm::Syn),
            (MptcpOption::Capable(c), Mp::CapableSynAck) => matches!(c.form, CapableForm::SynAck { .. }),
            (MptcpOption::Capable(c), Mp::CapableAck) => {
                matches!(c.form, CapableForm::Ack { receiver_key: PEER_KEY, .. })
            }
            (MptcpOption::Capable(c), Mp::CapableData { len }) => {
                matches!(c.form, CapableForm::Data { receiver_key: PEER_KEY, data_len, .. } if data_len == *len)
            }
            (MptcpOption::Dss(dss), Mp::Dss { ack, map, fin }) => {
                let Some(host) = host else { return false };
                let ack_is = ack.is_none_or(|(to, width)| {
                    let to = (peer.idsn() + to).0;
                    match dss.data_ack {
                        Some(DataAck::Four(low)) => low == to as u32 && width != Width::Eight,
                        Some(DataAck::Eight(full)) => full == to && width != Width::Four,
                        None => false,
                    }
                });
                let map_is = match (map, dss.mapping) {
                    (None, None) => true,
                    (Some((dsn, _, ssn, len)), Some(m)) => {
                        let dsn = (host.idsn() + *dsn).0;
                        let dsn_is = match m.dsn {
                            DssDsn::Four(low) => low == dsn as u32,
                            DssDsn::Eight(full) => full == dsn,
                        };
                        dsn_is && m.ssn == *ssn && m.len == *len
                    }
                    _ => false,
                };
                ack_is && map_is && dss.data_fin == *fin
            }
            (MptcpOption::Join(Join::Syn { token, .. }), Mp::AnyJoinSyn) => *token == peer.token().0,
            (MptcpOption::Join(Join::SynAck { hmac, nonce, .. }), Mp::JoinSynAck { right: true }) => host
                .is_some_and(|host| {
                    join_hmac(host, peer, Nonce(*nonce), Nonce(PEER_NONCE)).leftmost_64() == *hmac
                }),
            (MptcpOption::Join(Join::Ack { hmac }), Mp::JoinAck { right: true }) => {
                host.is_some_and(|host| {
                    join_hmac(host, peer, Nonce(line.host_nonce), Nonce(PEER_NONCE)).leftmost_160() == *hmac
                })
            }
            (MptcpOption::AddAddr(add), Mp::AddAddr { id, address, .. }) => {
                let right = host.map(|host| add_addr_hmac(host, peer, *id, *address, None));
                add.address_id == *id
                    && add.address == *address
                    && matches!(add.auth, AddAddrAuth::Hmac(hmac) if Some(hmac) == right)
            }
            (MptcpOption::AddAddr(add), Mp::Echo { id, address }) => {
                add.address_id == *id && add.address == *address && add.auth == AddAddrAuth::Echo
            }
            (MptcpOption::RemoveAddr(ids), Mp::Remove(want)) => ids.as_slice() == want,
            (MptcpOption::Prio(prio), Mp::Prio { backup }) => prio.backup == *backup,
            (MptcpOption::FastClose { receiver_key }, Mp::FastClose { .. }) => *receiver_key == PEER_KEY,
            (MptcpOption::Reset(reset), Mp::TcpRst { reason }) => reset.reason == *reason,
            (MptcpOption::Reset(_), Mp::AnyTcpRst) => true,
            (found, Mp::Raw(want)) => found == want,
            _ => false,
        }
    }

    /// Builds a packet of the peer.
    #[track_caller]
    pub fn build(&mut self, seg: &Seg) -> (usize, Received) {
        let options = self.options_of(seg);
        let line = &mut self.lines[seg.subflow];
        if TcpFlags(seg.flags).contains(TcpFlags::SYN) {
            line.ts = seg.ts == Some(true);
        }
        let line = &self.lines[seg.subflow];
        let header = TcpHeader {
            src_port: line.peer.port(),
            dst_port: line.host.port(),
            seq: line.peer_iss.wrapping_add(seg.seq.unwrap_or(0)),
            ack: seg.ack.map_or(0, |a| line.host_iss.unwrap_or(0).wrapping_add(a)),
            flags: TcpFlags(seg.flags),
            window: seg.window.unwrap_or(65_535),
            urgent: 0,
        };
        let addresses = Addresses::new(line.peer.ip(), line.host.ip()).unwrap();
        let packet = packet(&addresses, &header, &options, &seg.payload);
        let buffer_bytes = seg.buffer_bytes.unwrap_or(packet.len() as u32).max(packet.len() as u32);
        (seg.subflow, Received { vnet: VnetHdr::default(), bytes: packet, buffer_bytes })
    }

    #[track_caller]
    fn options_of(&self, seg: &Seg) -> TcpOptions {
        let line = &self.lines[seg.subflow];
        let is_syn = TcpFlags(seg.flags).contains(TcpFlags::SYN);
        let mut options = TcpOptions {
            mss: seg.mss,
            window_scale: seg.wscale,
            sack_permitted: seg.sack_ok == Some(true),
            ..TcpOptions::default()
        };
        if seg.ts.unwrap_or(line.ts && !is_syn) {
            let clock = PEER_CLOCK.wrapping_add(self.now.as_millis() as u32);
            let ecr = if TcpFlags(seg.flags).contains(TcpFlags::ACK) { line.ts_recent } else { 0 };
            options.timestamps = Some(Timestamps { val: clock.wrapping_add(seg.ts_val.unwrap_or(0)), ecr });
        }
        for (left, right) in seg.sack.iter().flatten() {
            let iss = line.host_iss.unwrap_or(0);
            options.sack.push(SackBlock { left: iss.wrapping_add(*left), right: iss.wrapping_add(*right) });
        }
        for option in &seg.mptcp {
            options.mptcp.push(self.resolve(line, option));
        }
        options
    }

    #[track_caller]
    fn resolve(&self, line: &Line, option: &Mp) -> MptcpOption {
        let peer = Key::from_wire(PEER_KEY);
        let host = || self.host_key.expect("the host's key was seen");
        let capable = |flags, form| MptcpOption::Capable(Capable { version: VERSION, flags, form });
        let sha = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
        match option {
            Mp::CapableSyn { flags } => capable(*flags, CapableForm::Syn),
            Mp::CapableSynAck => capable(sha, CapableForm::SynAck { sender_key: PEER_KEY }),
            Mp::CapableAck => {
                capable(sha, CapableForm::Ack { sender_key: PEER_KEY, receiver_key: host().to_wire() })
            }
            Mp::CapableData { len } => capable(
                sha,
                CapableForm::Data {
                    sender_key: PEER_KEY,
                    receiver_key: host().to_wire(),
                    data_len: *len,
                    checksum: None,
                },
            ),
            Mp::Dss { ack, map, fin } => MptcpOption::Dss(Dss {
                data_fin: *fin,
                data_ack: ack.map(|(to, width)| match width {
                    Width::Four => DataAck::Four((host().idsn() + to).low()),
                    Width::Eight | Width::Any => DataAck::Eight((host().idsn() + to).0),
                }),
                mapping: map.map(|(dsn, width, ssn, len)| DssMapping {
                    dsn: match width {
                        Width::Four => DssDsn::Four((peer.idsn() + dsn).low()),
                        Width::Eight | Width::Any => DssDsn::Eight((peer.idsn() + dsn).0),
                    },
                    ssn,
                    len,
                    checksum: None,
                }),
            }),
            Mp::JoinSyn { right_token, id, backup } => MptcpOption::Join(Join::Syn {
                backup: *backup,
                address_id: *id,
                token: host().token().0 ^ u32::from(!right_token),
                nonce: PEER_NONCE,
            }),
            Mp::JoinSynAck { right } => MptcpOption::Join(Join::SynAck {
                backup: false,
                address_id: 0,
                hmac: join_hmac(peer, host(), Nonce(PEER_NONCE), Nonce(line.host_nonce)).leftmost_64()
                    ^ u64::from(!right),
                nonce: PEER_NONCE,
            }),
            Mp::JoinAck { right } => {
                let mut hmac =
                    join_hmac(peer, host(), Nonce(PEER_NONCE), Nonce(line.host_nonce)).leftmost_160();
                hmac[19] ^= u8::from(!right);
                MptcpOption::Join(Join::Ack { hmac })
            }
            Mp::AddAddr { id, address, right } => MptcpOption::AddAddr(AddAddr {
                address_id: *id,
                address: *address,
                port: None,
                auth: AddAddrAuth::Hmac(add_addr_hmac(peer, host(), *id, *address, None) ^ u64::from(!right)),
            }),
            Mp::Echo { id, address } => MptcpOption::AddAddr(AddAddr {
                address_id: *id,
                address: *address,
                port: None,
                auth: AddAddrAuth::Echo,
            }),
            Mp::Remove(ids) => MptcpOption::RemoveAddr(AddressIds::new(ids).unwrap()),
            Mp::Prio { backup } => MptcpOption::Prio(Prio { backup: *backup, address_id: None }),
            Mp::FastClose { right } => {
                MptcpOption::FastClose { receiver_key: host().to_wire() ^ u64::from(!right) }
            }
            Mp::TcpRst { reason } => MptcpOption::Reset(Reset { transient: false, reason: *reason }),
            Mp::Raw(option) => *option,
            Mp::AnyTcpRst | Mp::AnyJoinSyn => panic!("only for expectations: {option:?}"),
        }
    }

    /// The host takes an ICMP error about a segment of its own on a subflow: `kind` and `code` of ICMP, the
    /// quoted sequence number relative.
    #[track_caller]
    pub fn receives_icmp(&mut self, subflow: usize, kind: u8, code: u8, mtu: u16, seq: u32) -> &mut Self {
        self.sends_nothing();
        let line = &self.lines[subflow];
        let (std::net::IpAddr::V4(router), std::net::IpAddr::V4(host)) = (peer_ip(9), line.host.ip()) else {
            unreachable!()
        };
        let quoted = Addresses::new(line.host.ip(), line.peer.ip()).unwrap();
        let mut message = vec![kind, code, 0, 0, 0, 0];
        message.extend_from_slice(&mtu.to_be_bytes());
        let mut inner = [0; 20];
        IpHeader {
            addresses: quoted,
            protocol: PROTOCOL_TCP,
            hop_limit: 60,
            traffic_class: 0,
            ident: 0,
            payload_len: 20,
        }
        .emit(&mut inner);
        message.extend_from_slice(&inner);
        message.extend_from_slice(&line.host.port().to_be_bytes());
        message.extend_from_slice(&line.peer.port().to_be_bytes());
        message.extend_from_slice(&line.host_iss.unwrap().wrapping_add(seq).to_be_bytes());
        let mut sum = polytcp_wire::checksum::Sum::ZERO;
        sum.add_bytes(&message);
        let sum = sum.finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = vec![0; 20];
        IpHeader {
            addresses: Addresses::V4 { src: router, dst: host },
            protocol: PROTOCOL_ICMP,
            hop_limit: 60,
            traffic_class: 0,
            ident: 0,
            payload_len: message.len() as u16,
        }
        .emit(&mut packet);
        packet.extend_from_slice(&message);
        let path = self.lines[subflow].path;
        self.note(format_args!("< ICMP {kind}/{code} mtu {mtu} about seq {seq} of sf{subflow}"));
        let buffer_bytes = packet.len() as u32;
        self.deliver(path, Received { vnet: VnetHdr::default(), bytes: packet.into(), buffer_bytes });
        self
    }

    /// The host takes a ping with that many octets of data.
    #[track_caller]
    pub fn pinged(&mut self, len: usize) -> &mut Self {
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (peer_ip(0), host_ip(0)) else { unreachable!() };
        let mut message = vec![8, 0, 0, 0, 0, 1, 0, 1];
        message.resize(8 + len, 0x55);
        let mut sum = polytcp_wire::checksum::Sum::ZERO;
        sum.add_bytes(&message);
        let sum = sum.finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = vec![0; 20];
        IpHeader {
            addresses: Addresses::V4 { src, dst },
            protocol: PROTOCOL_ICMP,
            hop_limit: 60,
            traffic_class: 0,
            ident: 0,
            payload_len: message.len() as u16,
        }
        .emit(&mut packet);
        packet.extend_from_slice(&message);
        let buffer_bytes = packet.len() as u32;
        self.deliver(0, Received { vnet: VnetHdr::default(), bytes: packet.into(), buffer_bytes });
        self
    }

    // Telling.

    #[track_caller]
    fn note(&mut self, line: fmt::Arguments<'_>) {
        if self.trace.len() < 2_000 {
            self.trace.push(format!("{:>12} {line}", format!("{:?}", self.now)));
        }
    }

    #[track_caller]
    fn describe(&self, seen: &Seen) -> String {
        let (host_iss, peer_iss) =
            seen.line.map_or((0, 0), |l| (self.lines[l].host_iss.unwrap_or(0), self.lines[l].peer_iss));
        let flags = flag_names(seen.header.flags.0);
        let line = seen.line.map_or("?".into(), |l| l.to_string());
        format!(
            "sf{line} {flags} seq {} len {} ack {} win {} sack {:?} {:?}",
            seen.header.seq.wrapping_sub(host_iss),
            seen.payload.len(),
            seen.header.ack.wrapping_sub(peer_iss),
            seen.header.window,
            seen.options
                .sack
                .iter()
                .map(|b| (b.left.wrapping_sub(peer_iss), b.right.wrapping_sub(peer_iss)))
                .collect::<Vec<_>>(),
            seen.options.mptcp,
        )
    }

    #[track_caller]
    fn fail(&self, what: fmt::Arguments<'_>) -> ! {
        let from = self.trace.len().saturating_sub(40);
        panic!("{what}\nthe trace so far:\n{}", self.trace[from..].join("\n"));
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(32)]
}

trait MaxOf {
    fn max_of(self, other: Self) -> Self;
}

impl MaxOf for Instant {
    fn max_of(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
}

/// A whole TCP packet with right checksums.
pub fn packet(addresses: &Addresses, header: &TcpHeader, options: &TcpOptions, payload: &[u8]) -> Bytes {
    let options = options.encode().expect("the options fit");
    let tcp_len = 20 + options.len() + payload.len();
    let ip_len = if matches!(addresses, Addresses::V4 { .. }) { 20 } else { 40 };
    let mut bytes = BytesMut::zeroed(ip_len + 20 + options.len());
    IpHeader {
        addresses: *addresses,
        protocol: PROTOCOL_TCP,
        hop_limit: 64,
        traffic_class: 0,
        ident: 0,
        payload_len: tcp_len as u16,
    }
    .emit(&mut bytes[..]);
    let end = ip_len + header.emit(&options, &mut bytes[ip_len..]);
    let sum = tcp::checksum_full(addresses, &bytes[ip_len..end], payload);
    bytes[ip_len + CHECKSUM_OFFSET..ip_len + CHECKSUM_OFFSET + 2].copy_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.freeze()
}
