//! The octets of each option, written by hand from the drawings of RFC 8684 §3.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::format;

use super::*;

const SENDER_KEY: u64 = 0x0102_0304_0506_0708;
const RECEIVER_KEY: u64 = 0x1112_1314_1516_1718;

/// `octets` are a whole option with kind and length, and `padded_len` is what it takes in a header.
#[track_caller]
fn assert_same(option: MptcpOption, octets: &[u8], padded_len: usize) {
    assert_eq!(usize::from(octets[1]), octets.len(), "the test's length octet");
    assert_eq!(MptcpOption::parse(&octets[2..]), Some(option));
    let mut out = [0xaa; 40];
    option.emit(&mut out);
    assert_eq!(&out[..octets.len()], octets);
    assert!(out[octets.len()..].iter().all(|octet| *octet == 0xaa), "wrote past its end");
    assert_eq!(option.wire_len(), padded_len);
}

fn capable(form: CapableForm) -> MptcpOption {
    let flags = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
    MptcpOption::Capable(Capable { version: VERSION, flags, form })
}

#[test]
fn capable_grows_from_packet_to_packet() {
    assert_same(capable(CapableForm::Syn), &[30, 4, 0x01, 0x01], 4);
    let syn_ack = CapableForm::SynAck { sender_key: SENDER_KEY };
    assert_same(capable(syn_ack), &[30, 12, 0x01, 0x01, 1, 2, 3, 4, 5, 6, 7, 8], 12);
    let ack = CapableForm::Ack { sender_key: SENDER_KEY, receiver_key: RECEIVER_KEY };
    let keys = [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
    assert_same(capable(ack), &[&[30, 20, 0x01, 0x01][..], &keys].concat(), 20);
    let data = |checksum| CapableForm::Data {
        sender_key: SENDER_KEY,
        receiver_key: RECEIVER_KEY,
        data_len: 0x0203,
        checksum,
    };
    let octets = [&[30, 22, 0x01, 0x01][..], &keys, &[2, 3]].concat();
    assert_same(capable(data(None)), &octets, 24);
    let octets = [&[30, 24, 0x01, 0x01][..], &keys, &[2, 3, 0xca, 0xfe]].concat();
    assert_same(capable(data(Some(0xcafe))), &octets, 24);
}

#[test]
fn each_flag_of_capable_has_its_bit() {
    let option = |flags| MptcpOption::Capable(Capable { version: 1, flags, form: CapableForm::Syn });
    let none = CapableFlags::default();
    assert_same(option(CapableFlags { checksum_required: true, ..none }), &[30, 4, 0x01, 0x80], 4);
    assert_same(option(CapableFlags { extensibility: true, ..none }), &[30, 4, 0x01, 0x40], 4);
    assert_same(option(CapableFlags { deny_join_initial: true, ..none }), &[30, 4, 0x01, 0x20], 4);
    assert_same(option(CapableFlags { crypto: 0x1f, ..none }), &[30, 4, 0x01, 0x1f], 4);
}

#[test]
fn the_three_joins_differ_by_length() {
    let syn = Join::Syn { backup: true, address_id: 7, token: 0x0a0b_0c0d, nonce: 0x1a1b_1c1d };
    assert_same(
        MptcpOption::Join(syn),
        &[30, 12, 0x11, 7, 0x0a, 0x0b, 0x0c, 0x0d, 0x1a, 0x1b, 0x1c, 0x1d],
        12,
    );
    let syn_ack = Join::SynAck { backup: false, address_id: 8, hmac: SENDER_KEY, nonce: 0x1a1b_1c1d };
    assert_same(
        MptcpOption::Join(syn_ack),
        &[30, 16, 0x10, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 0x1b, 0x1c, 0x1d],
        16,
    );
    let hmac = core::array::from_fn(|at| at as u8);
    assert_same(MptcpOption::Join(Join::Ack { hmac }), &[&[30, 24, 0x10, 0][..], &hmac].concat(), 24);
}

#[test]
fn dss_has_each_length_of_ack_and_mapping() {
    let dss = |data_fin, data_ack, mapping| MptcpOption::Dss(Dss { data_fin, data_ack, mapping });
    let mapping = |dsn, checksum| Some(DssMapping { dsn, ssn: 0x2122_2324, len: 0x3132, checksum });
    let (four, eight) = (DataAck::Four(0x0102_0304), DataAck::Eight(0x0102_0304_0506_0708));
    let (dsn4, dsn8) = (DssDsn::Four(0x1112_1314), DssDsn::Eight(0x1112_1314_1516_1718));

    assert_same(dss(false, None, None), &[30, 4, 0x20, 0], 4);
    assert_same(dss(false, Some(four), None), &[30, 8, 0x20, 0x01, 1, 2, 3, 4], 8);
    assert_same(dss(false, Some(eight), None), &[30, 12, 0x20, 0x03, 1, 2, 3, 4, 5, 6, 7, 8], 12);

    let octets = [30, 14, 0x20, 0x04, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32];
    assert_same(dss(false, None, mapping(dsn4, None)), &octets, 16);
    let octets = [
        30, 28, 0x20, 0x1f, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21,
        0x22, 0x23, 0x24, 0x31, 0x32, 0xca, 0xfe,
    ];
    assert_same(dss(true, Some(eight), mapping(dsn8, Some(0xcafe))), &octets, 28);
    let octets = [
        30, 22, 0x20, 0x0d, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23,
        0x24, 0x31, 0x32,
    ];
    assert_same(dss(false, Some(four), mapping(dsn8, None)), &octets, 24);
}

#[test]
fn add_addr_has_eight_lengths() {
    let v4 = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
    let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let v6_octets = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let (port, hmac) = ([0x1f, 0x90], [1, 2, 3, 4, 5, 6, 7, 8]);
    let lens = [
        (v4, None, [(16, 16), (8, 8)]),
        (v4, Some(8080), [(18, 20), (10, 12)]),
        (v6, None, [(28, 28), (20, 20)]),
        (v6, Some(8080), [(30, 32), (22, 24)]),
    ];
    for (address, with_port, [with_hmac, echo]) in lens {
        let address_octets = if address.is_ipv4() { &[10, 1, 2, 3][..] } else { &v6_octets };
        let port_octets = if with_port.is_some() { &port[..] } else { &[] };
        let option = |auth| MptcpOption::AddAddr(AddAddr { address_id: 9, address, port: with_port, auth });
        let octets = [&[30, with_hmac.0, 0x30, 9], address_octets, port_octets, &hmac].concat();
        assert_same(option(AddAddrAuth::Hmac(SENDER_KEY)), &octets, with_hmac.1);
        let octets = [&[30, echo.0, 0x31, 9], address_octets, port_octets].concat();
        assert_same(option(AddAddrAuth::Echo), &octets, echo.1);
    }
}

#[test]
fn remove_addr_takes_one_to_thirty_seven_identifiers() {
    let ids: [u8; 37] = core::array::from_fn(|at| at as u8);
    for count in 1..=ids.len() {
        let list = AddressIds::new(&ids[..count]).expect("fits");
        let octets = [&[30, 3 + count as u8, 0x40][..], &ids[..count]].concat();
        assert_same(MptcpOption::RemoveAddr(list), &octets, (3 + count).next_multiple_of(4));
    }
    assert_eq!(AddressIds::new(&[]), None);
    assert_eq!(AddressIds::new(&[0; 38]), None);
    assert_eq!(AddressIds::new(&[0; 300]), None);
}

#[test]
fn the_short_options_are_as_drawn() {
    let prio = |backup, address_id| MptcpOption::Prio(Prio { backup, address_id });
    assert_same(prio(true, None), &[30, 3, 0x51], 4);
    assert_same(prio(false, Some(3)), &[30, 4, 0x50, 3], 4);
    let octets = [30, 12, 0x60, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_same(MptcpOption::Fail { dsn: SENDER_KEY }, &octets, 12);
    let octets = [30, 12, 0x70, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_same(MptcpOption::FastClose { receiver_key: SENDER_KEY }, &octets, 12);
    assert_same(MptcpOption::Reset(Reset { transient: true, reason: 3 }), &[30, 4, 0x81, 3], 4);
    let experiment = Experiment::new(&[0xf5, 1, 2]).expect("starts with the subtype");
    assert_same(MptcpOption::Experimental(experiment), &[30, 5, 0xf5, 1, 2], 8);
    assert_eq!(Experiment::new(&[0xe5]), None);
    assert_eq!(Experiment::new(&[0xf0; 39]), None);
    assert_same(MptcpOption::Unknown { subtype: 0xb }, &[30, 3, 0xb0], 4);
}

/// Reserved bits may mean something one day, and until then nothing.
#[test]
fn reserved_bits_are_ignored() {
    let parse = |octets: &[u8]| MptcpOption::parse(octets).expect("has a subtype");
    assert_eq!(parse(&[0x5e]), MptcpOption::Prio(Prio { backup: false, address_id: None }));
    assert_eq!(parse(&[0x2f, 0xe0]), MptcpOption::Dss(Dss::default()));
    assert_eq!(parse(&[0x2f, 0x0a]), MptcpOption::Dss(Dss::default()), "lengths of absent fields");
    assert_eq!(parse(&[0x8e, 1]), MptcpOption::Reset(Reset { transient: false, reason: 1 }));
    let fail = [0x6f, 0xff, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(parse(&fail), MptcpOption::Fail { dsn: 1 });
}

#[test]
fn every_other_length_is_malformed() {
    let lens: [(u8, &[usize]); 9] = [
        (0, &[4, 12, 20, 22, 24]),
        (1, &[12, 16, 24]),
        (2, &[4]), // with no flag set
        (3, &[16, 18, 28, 30]),
        (4, &[]), // all
        (5, &[3, 4]),
        (6, &[12]),
        (7, &[12]),
        (8, &[4]),
    ];
    for (subtype, lens) in lens {
        let mut octets = [0; 60];
        octets[0] = subtype << 4;
        for len in 3..=octets.len() {
            let option = MptcpOption::parse(&octets[..len - 2]).expect("has a subtype");
            let expected = if subtype == 4 { (4..=40).contains(&len) } else { lens.contains(&len) };
            let malformed = option == MptcpOption::Malformed { subtype };
            assert_eq!(!malformed, expected, "subtype {subtype}, length {len}: {option:?}");
        }
    }
    assert_eq!(MptcpOption::parse(&[]), None);
}

/// Flags that promise more than is there, or less.
#[test]
fn dss_fields_have_to_fill_the_option() {
    for flags in 0..0x20_u8 {
        let has = |flag: u8| flags & flag != 0;
        let ack_len = if has(1) { if has(2) { 8 } else { 4 } } else { 0 };
        let mapping_len = if has(4) { 6 + if has(8) { 8 } else { 4 } } else { 0 };
        let mut octets = [0; 40];
        octets[..2].copy_from_slice(&[0x20, flags]);
        for len in 2..=octets.len() {
            let option = MptcpOption::parse(&octets[..len]).expect("has a subtype");
            let fields_len = len - 2;
            let fits =
                fields_len == ack_len + mapping_len || has(4) && fields_len == ack_len + mapping_len + 2;
            assert_eq!(matches!(option, MptcpOption::Dss(_)), fits, "flags {flags:#x}, {fields_len} octets");
        }
    }
}

#[test]
fn keys_are_not_printed() {
    let forms = [
        CapableForm::SynAck { sender_key: 77_777_777 },
        CapableForm::Ack { sender_key: 77_777_777, receiver_key: 77_777_777 },
        CapableForm::Data { sender_key: 77_777_777, receiver_key: 77_777_777, data_len: 1, checksum: None },
    ];
    for form in forms {
        let printed = format!("{:?}", capable(form));
        assert!(!printed.contains("777"), "{printed}");
    }
    let printed = format!("{:?}", MptcpOption::FastClose { receiver_key: 77_777_777 });
    assert!(!printed.contains("777"), "{printed}");
}

#[test]
fn a_malformed_option_takes_no_octets() {
    let malformed = MptcpOption::Malformed { subtype: 2 };
    assert_eq!(malformed.wire_len(), 0);
    malformed.emit(&mut []);
}
