//! What happens to the host: packets come, time passes; and what it sends is collected.

use std::net::SocketAddr;

use bytes::Bytes;
use polytcp_proto::host::drive::{self, Outputs};
use polytcp_proto::host::{Event, Host};
use polytcp_proto::mptcp::key::Key;
use polytcp_proto::packet::{InterfaceId, Received, Transmit};
use polytcp_proto::pm::command::PmEvent;
use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::ip::{self, PROTOCOL_TCP};
use polytcp_wire::mptcp::{Capable, CapableForm, Join, MptcpOption};
use polytcp_wire::tcp::{self, TcpFlags};
use polytcp_wire::virtio::Checksum;

use super::host_ip;
use super::script::{Script, Seen};
use super::segment::Seg;

impl Script {
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

    /// Two segments wait for the host together, as at a driver that comes late ([`drive::round`]).
    #[track_caller]
    pub fn receives_both(&mut self, first: Seg, second: Seg) -> &mut Self {
        self.sends_nothing();
        let packets = [first, second].map(|seg| {
            let (sf, packet) = self.build(&seg);
            self.note(format_args!("< sf{sf} {seg:?}"));
            (InterfaceId(self.lines[sf].path as u32), packet)
        });
        let mut sent = Collected::default();
        let settled = drive::round(&mut self.host, self.now, packets, &mut sent);
        assert!(!settled.held_back, "there was room");
        self.pm_events.append(&mut sent.pm_events);
        sent.packets.into_iter().for_each(|packet| self.see(packet));
        self
    }

    /// The host takes these octets as a packet of path `path`.
    #[track_caller]
    pub fn deliver(&mut self, path: usize, packet: Received) {
        let now = self.now;
        self.host.handle_packet(now, InterfaceId(path as u32), packet);
        self.collect();
    }

    /// The timestamp of the host that the peer would echo now, on the first subflow.
    pub fn echo(&self) -> u32 {
        self.lines[0].ts_recent
    }

    /// The peer echoes this timestamp until the host sends another.
    pub fn echoes(&mut self, ts: u32) -> &mut Self {
        self.lines[0].ts_recent = ts;
        self
    }

    /// That many SYNs, each of another peer; the host's answers are thrown away. `sf` ends as the last of them.
    #[track_caller]
    pub fn floods(&mut self, sf: usize, count: u32) -> &mut Self {
        for n in 0..count {
            let [_, a, b, c] = n.to_be_bytes();
            self.lines[sf].peer = SocketAddr::from(([172, 16 + a, b, c], 4_000));
            let (_, packet) = self.build(&super::syn().on(sf).mss(1460).sack_ok().wscale(7).ts());
            let path = self.lines[sf].path;
            self.deliver(path, packet);
            self.out.clear();
            self.trace.clear();
        }
        self
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

    /// Time passes and the host does what is due, but is not asked what it has to send: its driver has no room.
    pub fn waits_without_room(&mut self, wait: Duration) -> &mut Self {
        self.now += wait;
        let now = self.now;
        self.host.handle_timeout(now);
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
    pub(super) fn collect(&mut self) {
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
        self.pm_events.extend(std::iter::from_fn(|| self.host.poll_pm_event()));
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
        self.judge_checksum(&tcp.options, &segment[tcp.payload_offset..]);
        let seen = Seen {
            line,
            ip_header: bytes[..parsed.payload_offset].to_vec(),
            ecn: parsed.header.traffic_class,
            hop_limit: parsed.header.hop_limit,
            header: tcp.header,
            options: tcp.options,
            payload: Bytes::copy_from_slice(&segment[tcp.payload_offset..]),
        };
        let text = self.describe(&seen);
        self.note(format_args!("> {text}"));
        self.out.push_back(seen);
    }
}

/// What a round of the driver's loop brought.
#[derive(Default)]
struct Collected {
    packets: Vec<Transmit>,
    pm_events: Vec<PmEvent>,
}

impl Outputs for Collected {
    fn has_room(&self) -> bool {
        true
    }

    fn transmit(&mut self, packet: Transmit) {
        self.packets.push(packet);
    }

    fn event(&mut self, _: &Host, _: Event) {}

    fn pm_event(&mut self, event: &PmEvent) {
        self.pm_events.push(event.clone());
    }
}

trait MaxOf {
    fn max_of(self, other: Self) -> Self;
}

impl MaxOf for Instant {
    fn max_of(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
}
