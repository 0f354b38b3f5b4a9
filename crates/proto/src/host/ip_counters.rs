//! Counting at the IP and ICMP layers: one event, the counter of its family.

use polytcp_wire::icmp::IcmpError;
use polytcp_wire::ip::IpError;

use crate::counters::Counters;

/// Whose counters an event belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// The family that the first octet of a packet claims.
    pub(super) fn of_packet(packet: &[u8]) -> Self {
        if packet.first().is_some_and(|first| first >> 4 == 6) { Self::V6 } else { Self::V4 }
    }

    /// The family of an address.
    pub(super) fn of(address: core::net::IpAddr) -> Self {
        if address.is_ipv6() { Self::V6 } else { Self::V4 }
    }
}

/// What happens to packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IpEvent {
    Received,
    NotOurs,
    UnknownProtocol,
    Delivered,
    Sent,
    /// Nothing takes it: the device is down or gone, or too many replies wait.
    NotSent,
    NoRoute,
}

/// What happens to ICMP messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IcmpEvent {
    Received,
    Malformed,
    WrongChecksum,
    Echo,
    EchoReplied,
}

pub(super) fn count_ip(counters: &mut Counters, family: Family, event: IpEvent) {
    *match (family, event) {
        (Family::V4, IpEvent::Received) => &mut counters.ip_in_receives,
        (Family::V4, IpEvent::NotOurs) => &mut counters.ip_in_addr_errors,
        (Family::V4, IpEvent::UnknownProtocol) => &mut counters.ip_in_unknown_protos,
        (Family::V4, IpEvent::Delivered) => &mut counters.ip_in_delivers,
        (Family::V4, IpEvent::Sent) => &mut counters.ip_out_requests,
        (Family::V4, IpEvent::NotSent) => &mut counters.ip_out_discards,
        (Family::V4, IpEvent::NoRoute) => &mut counters.ip_out_no_routes,
        (Family::V6, IpEvent::Received) => &mut counters.ip6_in_receives,
        (Family::V6, IpEvent::NotOurs) => &mut counters.ip6_in_addr_errors,
        (Family::V6, IpEvent::UnknownProtocol) => &mut counters.ip6_in_unknown_protos,
        (Family::V6, IpEvent::Delivered) => &mut counters.ip6_in_delivers,
        (Family::V6, IpEvent::Sent) => &mut counters.ip6_out_requests,
        (Family::V6, IpEvent::NotSent) => &mut counters.ip6_out_discards,
        (Family::V6, IpEvent::NoRoute) => &mut counters.ip6_out_no_routes,
    } += 1;
}

/// A packet whose header is not taken.
pub(super) fn count_refused(counters: &mut Counters, family: Family, error: IpError) {
    match (family, error) {
        (Family::V4, IpError::Fragment) => {
            counters.ip_reasm_reqds += 1;
            counters.ip_reasm_fails += 1;
        }
        (Family::V6, IpError::Fragment) => {
            counters.ip6_reasm_reqds += 1;
            counters.ip6_reasm_fails += 1;
        }
        (Family::V4, _) => counters.ip_in_hdr_errors += 1,
        (Family::V6, _) => counters.ip6_in_hdr_errors += 1,
    }
}

pub(super) fn count_icmp(counters: &mut Counters, family: Family, event: IcmpEvent) {
    match (family, event) {
        (Family::V4, IcmpEvent::Received) => counters.icmp_in_msgs += 1,
        (Family::V4, IcmpEvent::Malformed) => counters.icmp_in_errors += 1,
        (Family::V4, IcmpEvent::WrongChecksum) => {
            counters.icmp_in_csum_errors += 1;
            counters.icmp_in_errors += 1;
        }
        (Family::V4, IcmpEvent::Echo) => counters.icmp_in_echos += 1,
        (Family::V4, IcmpEvent::EchoReplied) => {
            counters.icmp_out_msgs += 1;
            counters.icmp_out_echo_reps += 1;
        }
        (Family::V6, IcmpEvent::Received) => counters.icmp6_in_msgs += 1,
        (Family::V6, IcmpEvent::Malformed) => counters.icmp6_in_errors += 1,
        (Family::V6, IcmpEvent::WrongChecksum) => {
            counters.icmp6_in_csum_errors += 1;
            counters.icmp6_in_errors += 1;
        }
        (Family::V6, IcmpEvent::Echo) => counters.icmp6_in_echos += 1,
        (Family::V6, IcmpEvent::EchoReplied) => {
            counters.icmp6_out_msgs += 1;
            counters.icmp6_out_echo_replies += 1;
        }
    }
}

/// An error message, by its type and not its code: a packet that is too big is unreachable in IPv4 (RFC 792).
pub(super) fn count_icmp_error(counters: &mut Counters, family: Family, kind: IcmpError) {
    match (family, kind) {
        (_, IcmpError::TimeExceeded | IcmpError::ParameterProblem) => {}
        (Family::V6, IcmpError::PacketTooBig { .. }) => counters.icmp6_in_pkt_too_bigs += 1,
        (Family::V6, _) => counters.icmp6_in_dest_unreachs += 1,
        (Family::V4, _) => counters.icmp_in_dest_unreachs += 1,
    }
}
