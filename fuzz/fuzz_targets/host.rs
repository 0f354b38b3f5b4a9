//! Two hosts with live MPTCP connections, and a network that the input writes: it loses, delays, repeats and rewrites
//! packets, lets time pass, and writes, reads and closes. Nothing may panic or send without end, and neither host
//! may hold more than it was configured for.
//!
//! Runs on the stable toolchain: `cargo fuzz run host --sanitizer none -- -max_total_time=180`. There is no
//! `unsafe` code for a sanitizer to watch.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{
    ConnectOptions, ConnectionId, Event, Host, InterfaceConfig, ListenOptions, ListenerId, Piece, Protocol,
    ReadOutcome,
};
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
use polytcp_proto::pm::command::{AddressId, Endpoint, EndpointFlags, PmCommand};
use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::checksum::Sum;
use polytcp_wire::ip;
use polytcp_wire::tcp::{self, CHECKSUM_OFFSET};
use polytcp_wire::virtio::{Checksum, VnetHdr};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const BUFFER: u32 = 64 << 10;
const OUT_MAX: usize = 2_000;
/// Packets that wait to be delivered; beyond it the oldest is lost.
const WIRE_MAX: usize = 64;
const CONNECTIONS_MAX: usize = 48;

fuzz_target!(|octets: &[u8]| {
    let mut input = Input { octets };
    let mut net = Net::new(input.next());
    while let Some(op) = input.more() {
        net.carry_out(op, &mut input);
    }
    net.end();
});

/// The octets that decide what happens; zeros when they are used up.
struct Input<'a> {
    octets: &'a [u8],
}

impl Input<'_> {
    fn more(&mut self) -> Option<u8> {
        let (first, rest) = self.octets.split_first()?;
        self.octets = rest;
        Some(*first)
    }

    fn next(&mut self) -> u8 {
        self.more().unwrap_or(0)
    }

    fn word(&mut self) -> u32 {
        u32::from_be_bytes([self.next(), self.next(), self.next(), self.next()])
    }
}

/// A packet on its way to host `to`.
#[derive(Clone)]
struct OnWire {
    to: usize,
    path: u32,
    bytes: Bytes,
}

struct Net {
    now: Instant,
    hosts: [Host; 2],
    wire: Vec<OnWire>,
    /// The latest packets delivered, to be repeated.
    past: Vec<OnWire>,
    listener: ListenerId,
    open: [Vec<ConnectionId>; 2],
    /// Of the first path, at either host; the other's never changes.
    mtu: [usize; 2],
}

impl Net {
    fn new(kind: u8) -> Self {
        let now = Instant::from_millis(1_000);
        let mut config = HostConfig::default();
        config.tcp.recv_buffer_bytes = Some(BUFFER.try_into().expect("not zero"));
        config.tcp.send_buffer_bytes = Some(BUFFER.try_into().expect("not zero"));
        config.tcp.time_wait_max = 16;
        // Data on a SYN both ways, with and without a cookie.
        config.tcp.fastopen = if kind & 128 != 0 { 0x207 } else { 0x3 };
        config.mptcp.add_addr_accepted = 4;
        config.mptcp.subflows = 4;
        if kind & 1 != 0 {
            config.tcp.keepalive_idle = Some(Duration::from_secs(5));
        }
        if kind & 2 != 0 {
            // So near that the first octets wrap; farther would cost a million draws.
            config.mptcp.idsn_near_wrap_bytes = Some(1 << 28);
        }
        let hosts = [2, 1].map(|last: u8| {
            let mut host = Host::new(config.clone(), Box::new(ChaCha8Rng::seed_from_u64(last.into())), now);
            for path in 0..2u8 {
                host.add_interface(
                    now,
                    InterfaceConfig {
                        name: format!("path{path}"),
                        mtu: 1500,
                        segment_bytes_max: if kind & 4 != 0 { 65_535 } else { 1500 },
                        checksum_offload: path == 0,
                        addresses: vec![format!("10.0.{path}.{last}/24").parse().expect("an address")],
                    },
                );
            }
            host
        });
        let [client, mut server] = hosts;
        let mut options = ListenOptions::new("0.0.0.0:80".parse().expect("an address"));
        options.backlog = 8;
        options.fast_open = 4;
        let listener = server.listen(&options).expect("a fresh host");
        let mut net = Self {
            now,
            hosts: [client, server],
            wire: Vec::new(),
            past: Vec::new(),
            listener,
            open: [Vec::new(), Vec::new()],
            mtu: [1500; 2],
        };
        if kind & 8 != 0 {
            let endpoint = Endpoint::new("10.0.1.2".parse().expect("an address"), EndpointFlags::SUBFLOW);
            let _ = net.hosts[0].command(now, &PmCommand::AddAddr(endpoint));
        }
        if kind & 16 != 0 {
            let endpoint = Endpoint::new("10.0.1.1".parse().expect("an address"), EndpointFlags::SIGNAL);
            let _ = net.hosts[1].command(now, &PmCommand::AddAddr(endpoint));
        }
        net.connect(if kind & 32 != 0 { Protocol::Tcp } else { Protocol::Mptcp });
        if kind & 64 == 0 {
            // Most inputs begin with what is open already.
            net.settle(40);
            net.accept();
            net.settle(40);
        }
        net
    }

    fn connect(&mut self, protocol: Protocol) {
        // A closed one goes on for up to a minute, which here may be no time at all.
        let goes_on = self.hosts.iter().map(|host| host.accounting().connections).max();
        if self.open[0].len() >= 4 || goes_on >= Some(CONNECTIONS_MAX / 2) {
            return;
        }
        let remote = "10.0.0.1:80".parse().expect("an address");
        // Every second one has something to say at once.
        let data: &'static [u8] = if self.open[0].len() % 2 == 1 { b"request" } else { b"" };
        let options = ConnectOptions { protocol, data: data.into(), ..ConnectOptions::new(remote) };
        if let Ok(id) = self.hosts[0].connect(self.now, &options) {
            self.open[0].push(id);
        }
        self.collect();
    }

    fn accept(&mut self) {
        while let Some(id) = self.hosts[1].accept(self.listener) {
            self.open[1].push(id);
            if self.open[1].len() > 8 {
                let oldest = self.open[1].remove(0);
                self.hosts[1].abort(self.now, oldest);
            }
        }
        self.collect();
    }

    fn carry_out(&mut self, op: u8, input: &mut Input<'_>) {
        let side = usize::from(op >> 7);
        match op & 15 {
            // The network as it should be.
            0..=2 => self.deliver_at(0),
            3 => self.settle(usize::from(input.next() & 31)),
            // Reordered, lost, repeated.
            4 => self.deliver_at(usize::from(input.next())),
            5 => {
                let at = usize::from(input.next());
                if !self.wire.is_empty() {
                    self.wire.remove(at % self.wire.len());
                }
            }
            6 => {
                let at = usize::from(input.next());
                if let Some(packet) = self.past.get(at % self.past.len().max(1)).cloned() {
                    self.deliver(packet);
                }
            }
            // Rewritten: one on its way, or one of the past.
            7..=9 => {
                let at = usize::from(input.next());
                let from = if op & 64 == 0 { &mut self.wire } else { &mut self.past };
                if from.is_empty() {
                    return;
                }
                let at = at % from.len();
                let mut packet = if op & 96 == 0 { from.remove(at) } else { from[at].clone() };
                packet.bytes = rewrite(&packet.bytes, input);
                self.deliver(packet);
            }
            10 => {
                let wait = match input.next() {
                    n @ 0..128 => Duration::from_micros(u64::from(n) * 200),
                    n @ 128..224 => Duration::from_millis(u64::from(n - 127) * 20),
                    n => Duration::from_secs(u64::from(n - 223) * 3),
                };
                self.pass(wait);
            }
            11 => {
                let len = usize::from(input.next()) * 40 + 1;
                if let Some(id) = self.pick(side, input)
                    && self.hosts[side].write_room(id).unwrap_or(0) > 0
                {
                    let piece = if op & 16 == 0 {
                        Piece::Fixed(Bytes::from(vec![7; len]))
                    } else {
                        Piece::Growing(BytesMut::zeroed(len))
                    };
                    let _ = self.hosts[side].write(self.now, id, piece);
                }
            }
            12 => {
                let max = usize::from(input.next()) * 100 + 1;
                if let Some(id) = self.pick(side, input) {
                    while let Ok(ReadOutcome::Data(_)) = self.hosts[side].read(self.now, id, max) {
                        if op & 16 != 0 {
                            break;
                        }
                    }
                }
            }
            13 => {
                if let Some(id) = self.pick(side, input) {
                    match op >> 4 & 3 {
                        0 => {
                            let _ = self.hosts[side].shutdown(self.now, id);
                        }
                        1 => self.forget(side, id, Host::close),
                        2 => self.forget(side, id, Host::abort),
                        _ => {
                            let _ = self.hosts[side].set_nodelay(self.now, id, input.next() & 1 != 0);
                        }
                    }
                }
            }
            14 => {
                self.accept();
                self.connect(if op & 16 == 0 { Protocol::Mptcp } else { Protocol::Tcp });
            }
            _ => self.command(side, input),
        }
        self.collect();
        self.check();
    }

    fn forget(&mut self, side: usize, id: ConnectionId, how: fn(&mut Host, Instant, ConnectionId)) {
        self.open[side].retain(|other| *other != id);
        how(&mut self.hosts[side], self.now, id);
    }

    fn command(&mut self, side: usize, input: &mut Input<'_>) {
        let what = input.next();
        let address = format!("10.0.{}.{}", what >> 6 & 1, 2 - side).parse().expect("an address");
        let flags = EndpointFlags::from_bits_truncate(u32::from(input.next()));
        let command = match what & 7 {
            0..=2 => PmCommand::AddAddr(Endpoint::new(address, flags)),
            3 => PmCommand::DelAddr { id: AddressId(what >> 3 & 7), address: Some(address) },
            4 => PmCommand::FlushAddrs,
            5 => PmCommand::SetLimits { subflows: Some(u32::from(what >> 4)), add_addr_accepted: None },
            6 => PmCommand::SetFlags {
                target: polytcp_proto::pm::command::FlagsTarget::Id(AddressId(what >> 3 & 7)),
                flags,
            },
            _ => {
                let mtu = 1280 + u16::from(input.next()) % 221;
                self.mtu[side] = mtu.into();
                self.hosts[side].set_mtu(self.now, InterfaceId(0), mtu);
                return;
            }
        };
        let _ = self.hosts[side].command(self.now, &command);
    }

    fn pick(&self, side: usize, input: &mut Input<'_>) -> Option<ConnectionId> {
        let at = usize::from(input.next());
        self.open[side].get(at % self.open[side].len().max(1)).copied()
    }

    fn deliver_at(&mut self, at: usize) {
        if !self.wire.is_empty() {
            let packet = self.wire.remove(at % self.wire.len());
            self.deliver(packet);
        }
    }

    fn deliver(&mut self, packet: OnWire) {
        let OnWire { to, path, bytes } = packet.clone();
        if self.past.len() >= 32 {
            self.past.remove(0);
        }
        self.past.push(packet);
        let buffer_bytes = (bytes.len() as u32).max(256);
        let received = Received { vnet: VnetHdr::default(), bytes, buffer_bytes };
        self.hosts[to].handle_packet(self.now, InterfaceId(path), received);
        self.collect();
    }

    /// Delivers what is on its way, in order.
    fn settle(&mut self, packets: usize) {
        for _ in 0..packets {
            if self.wire.is_empty() {
                break;
            }
            self.deliver_at(0);
        }
    }

    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        let mut still = 0;
        loop {
            let next = self.hosts.iter().filter_map(Host::poll_timeout).min().filter(|at| *at <= end);
            let Some(at) = next else { break };
            still = if at > self.now { 0 } else { still + 1 };
            assert!(still < 1_000, "time stands still at {:?}", self.now);
            self.now = self.now.max(at);
            for host in &mut self.hosts {
                host.handle_timeout(self.now);
            }
            self.collect();
        }
        self.now = self.now.max(end);
        for host in &mut self.hosts {
            host.handle_timeout(self.now);
        }
    }

    fn collect(&mut self) {
        for side in 0..2 {
            let mut count = 0;
            while let Some(packet) = self.hosts[side].poll_transmit(self.now) {
                count += 1;
                assert!(count < OUT_MAX, "poll_transmit does not end");
                let path = packet.interface.0;
                let mtu = if path == 0 { self.mtu[side] } else { 1500 };
                let on_wire = match packet.vnet.segmentation {
                    Some(cut) => usize::from(cut.header_len) + usize::from(cut.size),
                    None => packet.len(),
                };
                assert!(on_wire <= mtu, "{on_wire} octets at an MTU of {mtu}");
                if self.wire.len() >= WIRE_MAX {
                    self.wire.remove(0);
                }
                self.wire.push(OnWire { to: 1 - side, path, bytes: whole(&packet) });
            }
            let mut events = 0;
            while let Some(event) = self.hosts[side].poll_event() {
                events += 1;
                assert!(events < 1_000, "{event:?}");
                let _ = matches!(event, Event::Incoming(_));
            }
            while self.hosts[side].poll_pm_event().is_some() {}
        }
    }

    fn check(&self) {
        for host in &self.hosts {
            let held = host.accounting();
            let connections = held.connections;
            let bounded = connections <= CONNECTIONS_MAX
                && held.half_open <= 8
                && held.time_wait <= 16
                && held.flows <= 8 + connections * 9
                && held.tokens <= connections
                && held.timers <= 64 + connections * 16
                && held.buffered_bytes <= connections.max(1) * 3 * BUFFER as usize;
            assert!(bounded, "{held:?}");
        }
    }

    /// Whatever happened, closed hosts become empty.
    fn end(&mut self) {
        self.accept();
        for side in 0..2 {
            for id in core::mem::take(&mut self.open[side]) {
                self.hosts[side].abort(self.now, id);
            }
        }
        self.hosts[1].close_listener(self.now, self.listener);
        self.collect();
        self.pass(Duration::from_secs(3 * 3600));
        self.collect();
        for host in &self.hosts {
            let held = host.accounting();
            assert_eq!(
                (
                    held.connections,
                    held.half_open,
                    held.flows,
                    held.tokens,
                    held.time_wait,
                    held.buffered_bytes
                ),
                (0, 0, 0, 0, 0, 0),
                "{held:?}"
            );
        }
    }
}

fn whole(packet: &Transmit) -> Bytes {
    let mut bytes = BytesMut::from(packet.header.as_slice());
    bytes.extend_from_slice(&packet.payload);
    if matches!(packet.vnet.checksum, Checksum::Partial { .. }) {
        fix_checksums(&mut bytes);
    }
    bytes.freeze()
}

/// Changes a field, octets or the length, and makes the checksums right again.
fn rewrite(original: &Bytes, input: &mut Input<'_>) -> Bytes {
    const TCP: usize = 20;
    let mut bytes = BytesMut::from(&original[..]);
    for _ in 0..1 + input.next() % 3 {
        let len = bytes.len();
        if len < TCP + 20 {
            break;
        }
        match input.next() % 10 {
            0 => shift(&mut bytes[TCP + 4..TCP + 8], input),
            1 => shift(&mut bytes[TCP + 8..TCP + 12], input),
            2 => bytes[TCP + 13] = input.next(),
            3 => bytes[TCP + 14..TCP + 16].copy_from_slice(&(input.word() as u16).to_be_bytes()),
            4 => bytes[TCP + 12] = input.next() & 0xf0,
            5 => {
                let at = TCP + 20 + usize::from(input.next()) % (len - TCP - 20).max(1);
                if let Some(octet) = bytes.get_mut(at) {
                    *octet = input.next();
                }
            }
            // An option over what stands there.
            6 => {
                let end = (TCP + usize::from(bytes[TCP + 12] >> 4) * 4).min(len);
                let from = TCP + 20 + usize::from(input.next()) % 40;
                let count = usize::from(input.next()) % 30;
                if from < end {
                    let end = end.min(from + count);
                    for octet in &mut bytes[from..end] {
                        *octet = input.next();
                    }
                }
            }
            7 => {
                let keep = TCP + 20 + usize::from(input.next());
                bytes.truncate(keep.min(len));
                let total = (bytes.len() as u16).to_be_bytes();
                bytes[2..4].copy_from_slice(&total);
            }
            8 => {
                let at = TCP + 20 + usize::from(input.next()) % (len - TCP - 20).max(1);
                if at + 4 <= len {
                    shift(&mut bytes[at..at + 4], input);
                }
            }
            _ => bytes[12 + usize::from(input.next()) % 12] = input.next(),
        }
    }
    fix_checksums(&mut bytes);
    bytes.freeze()
}

fn shift(number: &mut [u8], input: &mut Input<'_>) {
    let old = u32::from_be_bytes([number[0], number[1], number[2], number[3]]);
    let by = input.next();
    let new = match by >> 5 {
        0..=1 => old.wrapping_add(u32::from(by & 31)),
        2..=3 => old.wrapping_sub(u32::from(by & 31)),
        4 => old.wrapping_add(1 << (by & 31)),
        5 => old.wrapping_sub(1 << (by & 31)),
        6 => old.wrapping_add(u32::from(by & 31) * 1_400),
        _ => input.word(),
    };
    number.copy_from_slice(&new.to_be_bytes());
}

fn fix_checksums(bytes: &mut [u8]) {
    if bytes.len() < 20 || bytes[0] != 0x45 {
        return;
    }
    bytes[10..12].fill(0);
    let mut sum = Sum::ZERO;
    sum.add_bytes(&bytes[..20]);
    let sum = sum.finish();
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    let Ok(parsed) = ip::parse(bytes) else { return };
    let segment = &mut bytes[parsed.payload_offset..parsed.total_len];
    if parsed.header.protocol == ip::PROTOCOL_TCP && segment.len() >= 20 {
        segment[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].fill(0);
        let sum = tcp::checksum_full(&parsed.header.addresses, segment, &[]);
        segment[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&sum.to_be_bytes());
    }
}
