//! The octets of the peer's segments and of ICMP messages.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use polytcp_proto::mptcp::key::{Key, Nonce, add_addr_hmac, join_hmac};
use polytcp_proto::packet::Received;
use polytcp_wire::addresses::Addresses;
use polytcp_wire::ip::{IpHeader, PROTOCOL_ICMP, PROTOCOL_TCP};
use polytcp_wire::mptcp::{
    AddAddr, AddAddrAuth, AddressIds, Capable, CapableFlags, CapableForm, DataAck, Dss, DssDsn, DssMapping,
    Join, MptcpOption, OPTION_KIND, Prio, Reset, VERSION,
};
use polytcp_wire::tcp::{self, CHECKSUM_OFFSET, TcpFlags, TcpHeader};
use polytcp_wire::tcp_options::{FastOpenCookie, SackBlock, TcpOptions, Timestamps};
use polytcp_wire::virtio::VnetHdr;

use super::script::{Line, Script};
use super::segment::{Csum, Mp, Seg, Width};
use super::{PEER_CLOCK, PEER_KEY, PEER_NONCE, host_ip, peer_ip};

impl Script {
    /// Builds a packet of the peer.
    #[track_caller]
    pub fn build(&mut self, seg: &Seg) -> (usize, Received) {
        let options = self.options_of(seg);
        let line = &mut self.lines[seg.subflow];
        if TcpFlags(seg.flags).contains(TcpFlags::SYN) {
            line.ts = seg.ts == Some(true);
        }
        let line = &self.lines[seg.subflow];
        let push = if seg.push == Some(true) { TcpFlags::PSH } else { TcpFlags(0) };
        let header = TcpHeader {
            src_port: line.peer.port(),
            dst_port: line.host.port(),
            seq: line.peer_iss.wrapping_add(seg.seq.unwrap_or(0)),
            ack: seg.ack.map_or(0, |a| line.host_iss.unwrap_or(0).wrapping_add(a)),
            flags: TcpFlags(seg.flags) | push,
            window: seg.window.unwrap_or(65_535),
            urgent: 0,
        };
        let addresses = Addresses::new(line.peer.ip(), line.host.ip()).unwrap();
        let packet = packet(&addresses, &header, &options, &seg.payload, seg.ecn.unwrap_or(0));
        let buffer_bytes = seg.buffer_bytes.unwrap_or(packet.len() as u32).max(packet.len() as u32);
        (seg.subflow, Received { vnet: VnetHdr::default(), bytes: packet, buffer_bytes })
    }

    /// The peer's timestamp at this moment.
    pub fn peer_clock(&self) -> u32 {
        PEER_CLOCK.wrapping_add(self.now.as_millis() as u32)
    }

    #[track_caller]
    fn options_of(&self, seg: &Seg) -> TcpOptions {
        let line = &self.lines[seg.subflow];
        let is_syn = TcpFlags(seg.flags).contains(TcpFlags::SYN);
        let mut options = TcpOptions {
            mss: seg.mss,
            window_scale: seg.wscale,
            sack_permitted: seg.sack_ok == Some(true),
            fast_open: seg.fast_open.as_deref().map(|cookie| FastOpenCookie::new(cookie).unwrap()),
            ..TcpOptions::default()
        };
        if seg.ts.unwrap_or(line.ts && !is_syn) {
            let clock = self.peer_clock();
            let ecr = if TcpFlags(seg.flags).contains(TcpFlags::ACK) { line.ts_recent } else { 0 };
            options.timestamps = Some(Timestamps { val: clock.wrapping_add(seg.ts_val.unwrap_or(0)), ecr });
        }
        for (left, right) in seg.sack.iter().flatten() {
            let iss = line.host_iss.unwrap_or(0);
            options.sack.push(SackBlock { left: iss.wrapping_add(*left), right: iss.wrapping_add(*right) });
        }
        for option in &seg.mptcp {
            options.mptcp.push(self.resolve(line, option, &seg.payload));
        }
        for octets in &seg.raw_mptcp {
            assert!(options.unknown.push(OPTION_KIND, octets), "no room");
        }
        options
    }

    #[track_caller]
    fn resolve(&self, line: &Line, option: &Mp, payload: &[u8]) -> MptcpOption {
        let peer = Key::from_wire(PEER_KEY);
        let host = || self.host_key.expect("the host's key was seen");
        let capable = |flags, form| MptcpOption::Capable(Capable { version: VERSION, flags, form });
        let sha = |a, c| CapableFlags {
            checksum_required: a,
            deny_join_initial: c,
            crypto: CapableFlags::HMAC_SHA256,
            ..CapableFlags::default()
        };
        let checksum = |csum: &Option<Csum>, dsn: u64, ssn: u32, len: u16| {
            let right = |octets: &[u8]| if len == 0 { 0 } else { dss_checksum(dsn, ssn, len, octets) };
            csum.as_ref().map(|csum| match csum {
                Csum::Right => right(payload),
                Csum::Of(octets) => right(octets),
                Csum::Wrong => right(payload) ^ 0x0100,
            })
        };
        match option {
            Mp::CapableSyn { flags } => capable(*flags, CapableForm::Syn),
            Mp::CapableSynAck { a, c } => capable(sha(*a, *c), CapableForm::SynAck { sender_key: PEER_KEY }),
            Mp::CapableAck { a, c } => capable(
                sha(*a, *c),
                CapableForm::Ack { sender_key: PEER_KEY, receiver_key: host().to_wire() },
            ),
            Mp::CapableData { len, a, c, csum } => capable(
                sha(*a, *c),
                CapableForm::Data {
                    sender_key: PEER_KEY,
                    receiver_key: host().to_wire(),
                    data_len: *len,
                    checksum: checksum(csum, (peer.idsn() + 1).0, 1, *len),
                },
            ),
            Mp::Fail { dsn } => MptcpOption::Fail { dsn: (host().idsn() + *dsn).0 },
            Mp::Dss { ack, map, fin, csum } => MptcpOption::Dss(Dss {
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
                    checksum: checksum(csum, (peer.idsn() + dsn).0, ssn, len),
                }),
            }),
            Mp::JoinSyn { right_token, id, backup } => MptcpOption::Join(Join::Syn {
                backup: *backup,
                address_id: *id,
                token: host().token().0 ^ u32::from(!right_token),
                nonce: PEER_NONCE,
            }),
            Mp::JoinSynAck { id, right, backup } => MptcpOption::Join(Join::SynAck {
                backup: *backup,
                address_id: *id,
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
            Mp::AddAddr { id, address, port, right } => MptcpOption::AddAddr(AddAddr {
                address_id: *id,
                address: *address,
                port: *port,
                auth: AddAddrAuth::Hmac(
                    add_addr_hmac(peer, host(), *id, *address, *port) ^ u64::from(!right),
                ),
            }),
            Mp::Echo { id, address, port } => MptcpOption::AddAddr(AddAddr {
                address_id: *id,
                address: *address,
                port: *port,
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
}

/// A whole TCP packet with right checksums.
fn packet(addresses: &Addresses, header: &TcpHeader, options: &TcpOptions, payload: &[u8], ecn: u8) -> Bytes {
    let options = options.encode().expect("the options fit");
    let tcp_len = 20 + options.len() + payload.len();
    let ip_len = if matches!(addresses, Addresses::V4 { .. }) { 20 } else { 40 };
    let mut bytes = BytesMut::zeroed(ip_len + 20 + options.len());
    IpHeader {
        addresses: *addresses,
        protocol: PROTOCOL_TCP,
        hop_limit: 64,
        traffic_class: ecn,
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

/// RFC 8684 §3.3: over pseudo-header and data.
pub fn dss_checksum(dsn: u64, ssn: u32, len: u16, octets: &[u8]) -> u16 {
    let mut message = dsn.to_be_bytes().to_vec();
    message.extend_from_slice(&ssn.to_be_bytes());
    message.extend_from_slice(&len.to_be_bytes());
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(octets);
    let mut sum = polytcp_wire::checksum::Sum::ZERO;
    sum.add_bytes(&message);
    sum.finish()
}
