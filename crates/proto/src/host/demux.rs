//! From a packet to the connection that it belongs to.
//!
//! What nobody wants is dropped and counted, or answered as RFC 9293 §3.10.7.1 says. Fragments are
//! dropped; a ping is answered.

use core::net::SocketAddr;

use bytes::Bytes;
use polytcp_wire::icmp::{self, IcmpError, IcmpFault, IcmpMessage};
use polytcp_wire::ip::{self, Addresses, IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP};
use polytcp_wire::tcp;
use polytcp_wire::virtio::{Checksum, VnetHdr};

use super::ip_counters::{Family, IcmpEvent, IpEvent, count_icmp, count_icmp_error, count_ip, count_refused};
use super::{FlowRef, FourTuple, Host, REPLIES_MAX};
use crate::packet::{HEADER_LEN_MAX, HeaderBuf, InterfaceId, Received, Transmit};
use crate::seq::SeqNum;
use crate::tcp::segment::{Outgoing, Segment};
use crate::tcp::time_wait::TimeWaitVerdict;
use crate::time::Instant;

impl Host {
    /// Takes a packet from an interface.
    pub fn handle_packet(&mut self, now: Instant, interface: InterfaceId, packet: Received) {
        let Received { vnet, bytes, buffer_bytes } = packet;
        let family = Family::of_packet(&bytes);
        count_ip(&mut self.counters, family, IpEvent::Received);
        let parsed = match ip::parse(&bytes) {
            Ok(parsed) => parsed,
            Err(error) => return count_refused(&mut self.counters, family, error),
        };
        let addresses = parsed.header.addresses;
        // RFC 1122 §3.2.1.3: nobody answers to or from an address that names no single host.
        if self.interfaces.holding(addresses.dst()).is_none() || !is_unicast(addresses.src()) {
            return count_ip(&mut self.counters, family, IpEvent::NotOurs);
        }
        let payload = bytes.slice(parsed.payload_offset..parsed.total_len);
        let is_spoken = matches!(parsed.header.protocol, PROTOCOL_TCP | PROTOCOL_ICMP | PROTOCOL_ICMPV6);
        let event = if is_spoken { IpEvent::Delivered } else { IpEvent::UnknownProtocol };
        count_ip(&mut self.counters, family, event);
        match parsed.header.protocol {
            PROTOCOL_TCP => {
                self.handle_tcp(now, interface, &parsed.header, vnet, &payload, buffer_bytes);
            }
            PROTOCOL_ICMP | PROTOCOL_ICMPV6 => self.handle_icmp(now, interface, &addresses, &payload),
            _ => {}
        }
    }

    fn handle_tcp(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        ip: &IpHeader,
        vnet: VnetHdr,
        bytes: &Bytes,
        buffer_bytes: u32,
    ) {
        self.counters.in_segs += 1;
        let addresses = &ip.addresses;
        if vnet.checksum == Checksum::Complete && !tcp::verify_checksum(addresses, bytes) {
            self.counters.in_csum_errors += 1;
            self.counters.in_errs += 1;
            return;
        }
        let Ok(parsed) = tcp::parse(bytes) else {
            self.counters.in_errs += 1;
            return;
        };
        let tuple = FourTuple::new(
            SocketAddr::new(addresses.dst(), parsed.header.dst_port),
            SocketAddr::new(addresses.src(), parsed.header.src_port),
        );
        if tuple.remote().port() == 0 {
            return;
        }
        let segment = Segment::new(&parsed, bytes.slice(parsed.payload_offset..), buffer_bytes)
            .with_traffic_class(ip.traffic_class);
        match self.flows.get(&tuple).copied() {
            Some(FlowRef::Subflow { connection, subflow }) => {
                self.handle_subflow_segment(now, connection, subflow, segment);
            }
            Some(FlowRef::Unconfirmed { connection, subflow }) => {
                self.handle_unconfirmed_segment(now, tuple, connection, subflow, segment);
            }
            Some(FlowRef::HalfOpen) => self.handle_half_open_segment(now, tuple, segment),
            None => self.handle_unknown_segment(now, interface, tuple, &segment),
        }
    }

    pub(super) fn handle_subflow_segment(
        &mut self,
        now: Instant,
        id: super::ConnectionId,
        subflow: u32,
        segment: Segment,
    ) {
        let opening = self.connection(id).and_then(|connection| {
            let found = connection.subflows.iter().find(|s| s.id == subflow)?;
            found.flow().is_none().then_some(found.interface)
        });
        let segment_bytes_max = opening.map(|interface| self.segment_bytes_max(interface));
        let Some((connection, mut ctx)) = self.split(now, id) else { return };
        match segment_bytes_max {
            Some(max) => {
                connection.handle_opening(&mut ctx, subflow, &segment, max);
                self.keep_to_mtu(now, id, subflow);
            }
            None => connection.handle_segment(&mut ctx, subflow, segment),
        }
        self.touch(now, id);
    }

    fn handle_unknown_segment(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment,
    ) {
        if let Some(entry) = self.time_wait.get(&tuple).copied() {
            match entry.handle_segment(now, segment) {
                TimeWaitVerdict::Ignore => return,
                TimeWaitVerdict::Answer(answer) => {
                    self.counters.paws_timewait += u64::from(entry.fails_paws(segment));
                    let mut entry = entry;
                    if segment.is_fin() {
                        // RFC 9293 §3.10.7.4, eighth check: the clock starts anew.
                        entry.expires_at = now + self.config.tcp.time_wait;
                    } else if segment.payload.is_empty() {
                        // Two sides that each find the other's acknowledgement wrong must not answer for ever.
                        if now < entry.answer_allowed_at {
                            self.counters.tcp_ack_skipped_time_wait += 1;
                            return;
                        }
                        entry.answer_allowed_at = now + self.config.tcp.invalid_ratelimit;
                    }
                    self.time_wait.insert(tuple, entry);
                    self.reply(interface, tuple.local(), tuple.remote(), &answer);
                    return;
                }
                TimeWaitVerdict::Reuse => {
                    // The new initial number follows from the entry; who is not taken stays in TIME-WAIT.
                    self.handle_syn(now, interface, tuple, segment);
                    if self.flows.contains_key(&tuple) {
                        self.time_wait.remove(&tuple);
                    }
                    return;
                }
            }
        }
        if segment.is_syn() && !segment.is_ack() && !segment.is_rst() {
            self.handle_syn(now, interface, tuple, segment);
        } else if !self.handle_cookie(now, interface, tuple, segment) {
            self.refuse(interface, tuple, segment);
        }
    }

    /// The reset that answers a segment for nobody (RFC 9293 §3.10.7.1).
    pub(super) fn refuse(&mut self, interface: InterfaceId, tuple: FourTuple, segment: &Segment) {
        if let Some(reset) = Outgoing::reset_for(segment) {
            self.reply(interface, tuple.local(), tuple.remote(), &reset);
        }
    }

    fn handle_icmp(&mut self, now: Instant, interface: InterfaceId, addresses: &Addresses, bytes: &[u8]) {
        let family = Family::of(addresses.src());
        count_icmp(&mut self.counters, family, IcmpEvent::Received);
        let message = match addresses {
            Addresses::V4 { .. } => icmp::parse_v4(bytes),
            Addresses::V6 { .. } => icmp::parse_v6(addresses, bytes),
        };
        match message {
            Ok(IcmpMessage::EchoRequest { ident, seq, data }) => {
                self.answer_echo(interface, addresses, ident, seq, data);
            }
            Ok(IcmpMessage::Error { kind, original }) => {
                count_icmp_error(&mut self.counters, family, kind);
                self.handle_icmp_error(now, kind, &original);
            }
            Ok(_) => {}
            Err(IcmpFault::Checksum) => count_icmp(&mut self.counters, family, IcmpEvent::WrongChecksum),
            Err(IcmpFault::Truncated) => count_icmp(&mut self.counters, family, IcmpEvent::Malformed),
        }
    }

    fn answer_echo(
        &mut self,
        interface: InterfaceId,
        addresses: &Addresses,
        ident: u16,
        seq: u16,
        data: &[u8],
    ) {
        let family = Family::of(addresses.src());
        count_icmp(&mut self.counters, family, IcmpEvent::Echo);
        if self.replies.len() >= REPLIES_MAX {
            return count_ip(&mut self.counters, family, IpEvent::NotSent);
        }
        let reply = addresses.reversed();
        let protocol = match reply {
            Addresses::V4 { .. } => PROTOCOL_ICMP,
            Addresses::V6 { .. } => PROTOCOL_ICMPV6,
        };
        let mut message = alloc::vec![0; 8 + data.len()];
        let Some(len) = icmp::emit_echo_reply(&reply, ident, seq, data, &mut message) else { return };
        let Ok(payload_len) = u16::try_from(len) else { return };
        let mtu = self.interfaces.find(interface).map_or(0, |i| usize::from(i.config.mtu));
        if len + HEADER_LEN_MAX - 60 > mtu {
            // It came in fragments or over a link of another size; nothing is fragmented here.
            return;
        }
        message.truncate(len);
        let hop_limit = self.config.ip.hop_limit.get();
        let ip_header =
            IpHeader { addresses: reply, protocol, hop_limit, traffic_class: 0, ident: 0, payload_len };
        let mut header = HeaderBuf::EMPTY;
        let ip_len = ip_header.emit(&mut header.storage()[..]);
        header.set_len(ip_len);
        let vnet = VnetHdr::default();
        count_icmp(&mut self.counters, family, IcmpEvent::EchoReplied);
        count_ip(&mut self.counters, family, IpEvent::Sent);
        self.replies.push_back(Transmit { interface, vnet, header, payload: Bytes::from(message) });
    }

    /// RFC 5927 §4: an error counts only for a segment that is on its way.
    fn handle_icmp_error(&mut self, now: Instant, kind: IcmpError, original: &icmp::Original) {
        if original.protocol != PROTOCOL_TCP {
            return;
        }
        let tuple = FourTuple::new(
            SocketAddr::new(original.addresses.src(), original.src_port),
            SocketAddr::new(original.addresses.dst(), original.dst_port),
        );
        let (Some(FlowRef::Subflow { connection: id, subflow })
        | Some(FlowRef::Unconfirmed { connection: id, subflow })) = self.flows.get(&tuple).copied()
        else {
            return;
        };
        let Some((connection, mut ctx)) = self.split(now, id) else { return };
        let learnt = connection.handle_icmp_error(&mut ctx, subflow, kind, SeqNum(original.seq));
        if let Some(mtu) = learnt {
            self.path_mtus.learn(now, tuple.remote().ip(), mtu, self.config.tcp.mtu_expires);
        }
        self.touch(now, id);
    }
}

/// Neither multicast, nor limited broadcast, nor unspecified (RFC 1122 §3.2.1.3).
pub(super) fn is_unicast(address: core::net::IpAddr) -> bool {
    match address {
        core::net::IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified(),
        core::net::IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    }
}
