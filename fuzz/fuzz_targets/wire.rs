//! Every parser of `polytcp-wire` on the same octets. Nothing may panic, offsets stay in bounds, and what was
//! understood is understood again after it is written back.
//!
//! Runs on the stable toolchain: `cargo fuzz run wire --sanitizer none -- -max_total_time=60`. There is no
//! `unsafe` code for a sanitizer to watch.
#![no_main]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use polytcp_wire::checksum::Sum;
use polytcp_wire::icmp::{self, IcmpMessage};
use polytcp_wire::ip::{self, Addresses, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP};
use polytcp_wire::mptcp::MptcpOption;
use polytcp_wire::tcp;
use polytcp_wire::tcp_options::TcpOptions;
use polytcp_wire::virtio::{VNET_HDR_LEN, VnetHdr};

fuzz_target!(|octets: &[u8]| {
    check_virtio(octets);
    check_ip(octets);
    // The layers above directly too, so that a mutation need not get an IP header right first.
    check_tcp(octets);
    check_options(octets);
    let addresses = [
        Addresses::new(IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Addresses::new(IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    for addresses in addresses.into_iter().flatten() {
        check_icmp(&addresses, octets);
        tcp::verify_checksum(&addresses, octets);
    }
    check_sum(octets);
});

fn check_virtio(octets: &[u8]) {
    if let Ok(hdr) = VnetHdr::parse(octets) {
        assert!(octets.len() >= VNET_HDR_LEN);
        assert_eq!(VnetHdr::parse(&hdr.emit()), Ok(hdr));
        check_ip(&octets[VNET_HDR_LEN..]);
    }
}

fn check_ip(octets: &[u8]) {
    // Mutations seldom repair the checksum of an IPv4 header.
    let mut repaired = octets.to_vec();
    if let [0x45..=0x4f, ..] = octets
        && octets.len() >= usize::from(octets[0] & 0x0f) * 4
    {
        repaired[10..12].fill(0);
        let mut sum = Sum::ZERO;
        sum.add_bytes(&repaired[..usize::from(octets[0] & 0x0f) * 4]);
        repaired[10..12].copy_from_slice(&sum.finish().to_be_bytes());
    }
    let _ = ip::parse(octets);
    let Ok(parsed) = ip::parse(&repaired) else { return };
    let payload = &repaired[parsed.payload_offset..parsed.total_len];
    assert_eq!(payload.len(), usize::from(parsed.header.payload_len));
    match parsed.header.protocol {
        PROTOCOL_TCP => check_tcp(payload),
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => check_icmp(&parsed.header.addresses, payload),
        _ => {}
    }

    // An IPv6 packet of extension headers only has no form without them.
    if payload.is_empty() {
        return;
    }
    let mut plain = vec![0; parsed.header.len()];
    parsed.header.emit(&mut plain);
    plain.extend_from_slice(payload);
    let again = ip::parse(&plain).expect("what is emitted is well formed");
    assert_eq!(again.header, parsed.header);
    assert_eq!(again.payload_offset, parsed.header.len());
    assert_eq!(again.total_len, plain.len());
}

fn check_icmp(addresses: &Addresses, octets: &[u8]) {
    // With the right checksum: the pseudo-header enters as in the answer to a ping.
    let mut message = octets.to_vec();
    let version_6 = matches!(addresses, Addresses::V6 { .. });
    if message.len() >= 4 {
        message[2..4].fill(0);
        let mut sum = Sum::ZERO;
        if version_6 {
            let len = message.len() as u32;
            sum = polytcp_wire::checksum::pseudo_header(addresses, PROTOCOL_ICMPV6, len);
        }
        sum.add_bytes(&message);
        message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
    }
    let parse = |message| {
        if version_6 { icmp::parse_v6(addresses, message) } else { icmp::parse_v4(message) }
    };
    let Ok(parsed) = parse(&message) else {
        assert!(message.len() < 8, "the checksum is right");
        return;
    };
    if let IcmpMessage::EchoRequest { ident, seq, data } | IcmpMessage::EchoReply { ident, seq, data } =
        parsed
    {
        let mut reply = vec![0; 8 + data.len()];
        let len = icmp::emit_echo_reply(addresses, ident, seq, data, &mut reply);
        assert_eq!(len, Some(reply.len()));
        assert_eq!(icmp::emit_echo_reply(addresses, ident, seq, data, &mut vec![0; 7 + data.len()]), None);
        assert!(matches!(parse(&reply), Ok(IcmpMessage::EchoReply { data: echoed, .. }) if echoed == data));
    }
}

fn check_tcp(octets: &[u8]) {
    let Ok(parsed) = tcp::parse(octets) else { return };
    assert!((tcp::HEADER_LEN..=tcp::HEADER_LEN_MAX).contains(&parsed.payload_offset));
    assert!(parsed.payload_offset <= octets.len());
    if let Some(options) = check_options(&octets[tcp::HEADER_LEN..parsed.payload_offset]) {
        let mut header = [0; tcp::HEADER_LEN_MAX];
        let len = parsed.header.emit(&options, &mut header);
        let again = tcp::parse(&header[..len]).expect("what is emitted is well formed");
        assert_eq!(again.header, parsed.header);
        assert_eq!(again.payload_offset, len);
    }
}

/// The options written back, if they fit: padding can make them longer than they were.
fn check_options(octets: &[u8]) -> Option<tcp::OptionBuf> {
    let options = TcpOptions::parse(octets);
    for option in &options.mptcp {
        assert!(option.wire_len() <= 40);
    }
    let buf = options.encode().ok()?;
    assert_eq!(buf.len() % 4, 0);
    let mut expected = options;
    let malformed = |option: &MptcpOption| matches!(option, MptcpOption::Malformed { .. });
    expected.mptcp = options.mptcp.iter().filter(|option| !malformed(option)).copied().collect();
    assert_eq!(TcpOptions::parse(buf.as_slice()), expected);
    Some(buf)
}

fn check_sum(octets: &[u8]) {
    let mut whole = Sum::ZERO;
    whole.add_bytes(octets);
    let (head, tail) =
        octets.split_at(octets.first().map_or(0, |first| usize::from(*first).min(octets.len())));
    let (mut first, mut second) = (Sum::ZERO, Sum::ZERO);
    first.add_bytes(head);
    second.add_bytes(tail);
    first.combine(second);
    assert_eq!(first, whole);
}
