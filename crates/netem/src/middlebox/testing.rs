//! Packets for the tests of boxes, built and read by `polytcp-wire` and not by what the boxes use.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use polytcp_proto::time::Instant;
use polytcp_wire::addresses::Addresses;
use polytcp_wire::ip::{self, IpHeader, PROTOCOL_TCP};
use polytcp_wire::mptcp::{
    Capable, CapableFlags, CapableForm, DataAck, Dss, DssDsn, DssMapping, Join, MptcpOption, VERSION,
};
use polytcp_wire::tcp::{self, TcpFlags, TcpHeader, TcpOptions};
use polytcp_wire::tcp_options::{MptcpOptions, SackBlock, Timestamps};

use crate::middlebox::{Direction, Middlebox, Output};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
pub(crate) const SYN: TcpFlags = TcpFlags::SYN;
pub(crate) const SYN_ACK: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
pub(crate) const ACK: TcpFlags = TcpFlags::ACK;

/// The address of the inside host, or of the outside one.
pub(crate) fn address(family: Family, direction_from: Direction) -> IpAddr {
    let last = match direction_from {
        Direction::Outward => 2,
        Direction::Inward => 1,
    };
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last))),
    }
}

/// A TCP packet to be built; the inside host's port is 40,000, and the outside one's 80.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) family: Family,
    pub(crate) direction: Direction,
    pub(crate) inside_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: TcpFlags,
    pub(crate) window: u16,
    pub(crate) traffic_class: u8,
    pub(crate) options: TcpOptions,
    pub(crate) payload: Vec<u8>,
}

impl Tcp {
    /// A segment without payload.
    pub(crate) fn new(family: Family, direction: Direction, flags: TcpFlags, seq: u32, ack: u32) -> Self {
        Self {
            family,
            direction,
            inside_port: 40_000,
            seq,
            ack,
            flags,
            window: 1_000,
            traffic_class: 0,
            options: TcpOptions::default(),
            payload: Vec::new(),
        }
    }

    pub(crate) fn data(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(crate) fn times(mut self, val: u32, ecr: u32) -> Self {
        self.options.timestamps = Some(Timestamps { val, ecr });
        self
    }

    pub(crate) fn sack(mut self, left: u32, right: u32) -> Self {
        assert!(self.options.sack.push(SackBlock { left, right }));
        self
    }

    pub(crate) fn mptcp(mut self, option: MptcpOption) -> Self {
        self.options.mptcp = MptcpOptions::from_iter([option]);
        self
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let (inside, outside) =
            (address(self.family, Direction::Outward), address(self.family, Direction::Inward));
        let (src, dst, src_port, dst_port) = match self.direction {
            Direction::Outward => (inside, outside, self.inside_port, 80),
            Direction::Inward => (outside, inside, 80, self.inside_port),
        };
        let addresses = Addresses::new(src, dst).expect("one family");
        let Self { seq, ack, flags, window, .. } = *self;
        let header = TcpHeader { src_port, dst_port, seq, ack, flags, window, urgent: 0 };
        let options = self.options.encode().expect("fits");
        let mut head = [0; tcp::HEADER_LEN_MAX];
        let len = header.emit(&options, &mut head);
        let checksum = tcp::checksum_full(&addresses, &head[..len], &self.payload);
        head[tcp::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
        ip_packet(addresses, PROTOCOL_TCP, self.traffic_class, &[&head[..len], &self.payload].concat())
    }
}

pub(crate) fn ip_packet(addresses: Addresses, protocol: u8, traffic_class: u8, payload: &[u8]) -> Vec<u8> {
    let header = IpHeader {
        addresses,
        protocol,
        hop_limit: 61,
        traffic_class,
        ident: 0x4321,
        payload_len: payload.len() as u16,
    };
    let mut packet = vec![0; header.len()];
    header.emit(&mut packet);
    packet.extend_from_slice(payload);
    packet
}

/// What a packet says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Read {
    pub(crate) ip: IpHeader,
    pub(crate) tcp: TcpHeader,
    pub(crate) options: TcpOptions,
    pub(crate) payload: Vec<u8>,
}

/// Reads a packet as a host does, and fails if the host would not take it.
pub(crate) fn read(packet: &[u8]) -> Read {
    let parsed = ip::parse(packet).expect("an IP packet with a right header checksum");
    assert_eq!(parsed.total_len, packet.len(), "the length is right");
    let segment = &packet[parsed.payload_offset..];
    assert!(tcp::verify_checksum(&parsed.header.addresses, segment), "the TCP checksum is right");
    let tcp = tcp::parse(segment).expect("a TCP header");
    Read {
        ip: parsed.header,
        tcp: tcp.header,
        options: tcp.options,
        payload: segment[tcp.payload_offset..].to_vec(),
    }
}

/// All that a box sends for a packet.
pub(crate) fn through(
    middlebox: &mut dyn Middlebox,
    now: Instant,
    direction: Direction,
    packet: Vec<u8>,
) -> Vec<(Direction, Vec<u8>)> {
    let mut out = Output::new();
    middlebox.handle(now, direction, packet, &mut out);
    core::iter::from_fn(|| out.pop()).collect()
}

/// What a box makes of a segment that goes on in its direction, alone.
pub(crate) fn one(middlebox: &mut dyn Middlebox, segment: &Tcp) -> Read {
    let out = through(middlebox, Instant::ZERO, segment.direction, segment.packet());
    assert_eq!(out.len(), 1, "one packet goes on");
    assert_eq!(out[0].0, segment.direction);
    read(&out[0].1)
}

/// That a box passes a segment octet for octet.
#[track_caller]
pub(crate) fn assert_untouched(middlebox: &mut dyn Middlebox, segment: &Tcp) {
    let packet = segment.packet();
    let out = through(middlebox, Instant::ZERO, segment.direction, packet.clone());
    assert_eq!(out, [(segment.direction, packet)]);
}

/// All that a box sends by itself at `now`.
pub(crate) fn polled(middlebox: &mut dyn Middlebox, now: Instant) -> Vec<(Direction, Vec<u8>)> {
    let mut out = Output::new();
    middlebox.poll(now, &mut out);
    core::iter::from_fn(|| out.pop()).collect()
}

pub(crate) fn capable(form: CapableForm) -> MptcpOption {
    let flags = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
    MptcpOption::Capable(Capable { version: VERSION, flags, form })
}

pub(crate) fn capable_ack() -> MptcpOption {
    capable(CapableForm::Ack { sender_key: 1, receiver_key: 2 })
}

pub(crate) fn join_ack() -> MptcpOption {
    MptcpOption::Join(Join::Ack { hmac: [7; 20] })
}

pub(crate) fn mapping(ssn: u32, len: u16) -> MptcpOption {
    let mapping = DssMapping { dsn: DssDsn::Eight(77), ssn, len, checksum: None };
    MptcpOption::Dss(Dss { data_fin: false, data_ack: Some(DataAck::Eight(5)), mapping: Some(mapping) })
}

pub(crate) fn data_ack() -> MptcpOption {
    MptcpOption::Dss(Dss { data_fin: false, data_ack: Some(DataAck::Eight(5)), mapping: None })
}
