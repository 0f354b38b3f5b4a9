//! From a segment to a packet: addresses, ports, checksum, segmentation.

use core::net::SocketAddr;

use polytcp_wire::ip::{Addresses, IpHeader, PROTOCOL_TCP};
use polytcp_wire::tcp::{self, CHECKSUM_OFFSET, TcpFlags, TcpHeader};
use polytcp_wire::virtio::{Checksum, Segmentation, SegmentationKind, VnetHdr};

use super::ip_counters::{Family, IpEvent, count_ip};
use super::{Host, REPLIES_MAX};
use crate::config::IpFields;
use crate::mptcp::connection::Emission;
use crate::packet::{HeaderBuf, InterfaceId, Transmit};
use crate::tcp::segment::Outgoing;

/// The part of the traffic class that is not ECN's (RFC 3168 §5).
const DSCP: u8 = 0b1111_1100;
const IPV4_HEADER: u16 = 20;
const IPV6_HEADER: u16 = 40;
const TCP_HEADER: u16 = 20;

/// The MSS option for an interface (RFC 9293 §3.7.1, MUST-67): the MTU without the smallest headers.
pub(super) fn mss_for(mtu: u16, ipv6: bool) -> u16 {
    mtu.saturating_sub(if ipv6 { IPV6_HEADER } else { IPV4_HEADER } + TCP_HEADER).max(88)
}

impl Host {
    /// The largest payload of one segment on an interface: more than an MSS only where the device cuts.
    pub(super) fn segment_bytes_max(&self, interface: InterfaceId) -> u32 {
        let Some(interface) = self.interfaces.find(interface) else { return 0 };
        let headers = (crate::packet::HEADER_LEN_MAX) as u32;
        if interface.config.segment_bytes_max > u32::from(interface.config.mtu) {
            interface.config.segment_bytes_max.min(65_535).saturating_sub(headers)
        } else {
            0
        }
    }

    /// The packet of a segment; `None` when its interface is gone or down.
    pub(super) fn packet(&mut self, emission: &Emission) -> Option<Transmit> {
        let Emission { interface, local, remote, ip, segment } = emission;
        let Some(packet) = self.build(*interface, *local, *remote, *ip, segment) else {
            count_ip(&mut self.counters, Family::of(remote.ip()), IpEvent::NotSent);
            self.counters.tcp_retrans_fail += u64::from(segment.repeats);
            return None;
        };
        self.count_sent(Family::of(remote.ip()), segment);
        Some(packet)
    }

    /// Queues a segment that belongs to no connection.
    pub(super) fn reply(
        &mut self,
        interface: InterfaceId,
        local: SocketAddr,
        remote: SocketAddr,
        segment: &Outgoing,
    ) {
        let family = Family::of(remote.ip());
        let has_room = self.replies.len() < REPLIES_MAX;
        let Some(packet) =
            has_room.then(|| self.build(interface, local, remote, self.config.ip, segment)).flatten()
        else {
            return count_ip(&mut self.counters, family, IpEvent::NotSent);
        };
        self.count_sent(family, segment);
        self.replies.push_back(packet);
    }

    /// A segment is a new one or a repeated one, never both (RFC 4022, tcpOutSegs).
    fn count_sent(&mut self, family: Family, segment: &Outgoing) {
        let counters = &mut self.counters;
        count_ip(counters, family, IpEvent::Sent);
        let segments = segment.wire_segments();
        if segment.repeats {
            counters.retrans_segs += segments;
            counters.tcp_syn_retrans += u64::from(segment.flags.contains(TcpFlags::SYN));
        } else {
            counters.out_segs += segments;
            let has_data = !segment.payload.is_empty() || segment.flags.contains(TcpFlags::FIN);
            counters.tcp_orig_data_sent += if has_data { segments } else { 0 };
        }
        counters.out_rsts += u64::from(segment.flags.contains(TcpFlags::RST));
    }

    fn build(
        &self,
        interface: InterfaceId,
        local: SocketAddr,
        remote: SocketAddr,
        ip: IpFields,
        segment: &Outgoing,
    ) -> Option<Transmit> {
        let found = self.interfaces.find(interface)?;
        if found.link == super::LinkState::Down {
            return None;
        }
        let addresses = Addresses::new(local.ip(), remote.ip())?;
        let tcp_header = TcpHeader {
            src_port: local.port(),
            dst_port: remote.port(),
            seq: segment.seq.0,
            ack: segment.ack.0,
            flags: segment.flags,
            window: segment.window,
            urgent: 0,
        };
        let tcp_header_len = TCP_HEADER as usize + segment.options.len();
        let tcp_len = u16::try_from(tcp_header_len + segment.payload.len()).ok()?;
        let ip_header = IpHeader {
            addresses,
            protocol: PROTOCOL_TCP,
            hop_limit: ip.hop_limit.get(),
            traffic_class: ip.traffic_class & DSCP | segment.ecn,
            ident: 0,
            payload_len: tcp_len,
        };
        let mut header = HeaderBuf::EMPTY;
        let out = header.storage();
        let ip_len = ip_header.emit(&mut out[..]);
        let end = ip_len + tcp_header.emit(&segment.options, &mut out[ip_len..]);
        let oversized = segment.payload.len() > usize::from(segment.mss);
        let at = ip_len + CHECKSUM_OFFSET;
        let (checksum, field) = if found.config.checksum_offload {
            let partial = Checksum::Partial { start: ip_len as u16, offset: CHECKSUM_OFFSET as u16 };
            (partial, tcp::checksum_partial(&addresses, tcp_len))
        } else {
            let sum = tcp::checksum_full(&addresses, &out[ip_len..end], &segment.payload);
            (Checksum::Complete, sum)
        };
        out[at..at + 2].copy_from_slice(&field.to_be_bytes());
        header.set_len(end);
        let kind = match addresses {
            Addresses::V4 { .. } => SegmentationKind::Tcp4,
            Addresses::V6 { .. } => SegmentationKind::Tcp6,
        };
        let segmentation =
            oversized.then_some(Segmentation { kind, size: segment.mss, header_len: end as u16, ecn: false });
        Some(Transmit {
            interface,
            vnet: VnetHdr { checksum, segmentation },
            header,
            payload: segment.payload.clone(),
        })
    }
}
