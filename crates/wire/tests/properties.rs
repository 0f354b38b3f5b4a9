//! For values and octets that nobody thought of: what is emitted is parsed back, and nothing panics.

use std::net::IpAddr;

use polytcp_wire::checksum::{Sum, pseudo_header, update};
use polytcp_wire::icmp;
use polytcp_wire::ip::{self, Addresses, IpHeader};
use polytcp_wire::mptcp::{
    AddAddr, AddAddrAuth, AddressIds, Capable, CapableFlags, CapableForm, DataAck, Dss, DssDsn, DssMapping,
    Experiment, Join, MptcpOption, Prio, Reset,
};
use polytcp_wire::tcp::{self, TcpFlags, TcpHeader};
use polytcp_wire::tcp_options::{
    FastOpenCookie, MptcpOptions, OptionBuf, SackBlock, SackBlocks, TcpOption, TcpOptions, Timestamps,
    UnknownOptions, UserTimeout,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

fn addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(src, dst)| Addresses::V4 { src: src.into(), dst: dst.into() }),
        any::<([u8; 16], [u8; 16])>()
            .prop_map(|(src, dst)| Addresses::V6 { src: src.into(), dst: dst.into() }),
    ]
}

fn capable() -> impl Strategy<Value = Capable> {
    let form = prop_oneof![
        Just(CapableForm::Syn),
        any::<u64>().prop_map(|sender_key| CapableForm::SynAck { sender_key }),
        any::<(u64, u64)>()
            .prop_map(|(sender_key, receiver_key)| CapableForm::Ack { sender_key, receiver_key }),
        any::<(u64, u64, u16, Option<u16>)>().prop_map(|(sender_key, receiver_key, data_len, checksum)| {
            CapableForm::Data { sender_key, receiver_key, data_len, checksum }
        }),
    ];
    let flags = (any::<(bool, bool, bool)>(), 0..32_u8).prop_map(|((a, b, c), crypto)| CapableFlags {
        checksum_required: a,
        extensibility: b,
        deny_join_initial: c,
        crypto,
    });
    (0..16_u8, flags, form).prop_map(|(version, flags, form)| Capable { version, flags, form })
}

fn join() -> impl Strategy<Value = Join> {
    prop_oneof![
        any::<(bool, u8, u32, u32)>().prop_map(|(backup, address_id, token, nonce)| Join::Syn {
            backup,
            address_id,
            token,
            nonce
        }),
        any::<(bool, u8, u64, u32)>().prop_map(|(backup, address_id, hmac, nonce)| Join::SynAck {
            backup,
            address_id,
            hmac,
            nonce
        }),
        any::<[u8; 20]>().prop_map(|hmac| Join::Ack { hmac }),
    ]
}

fn dss() -> impl Strategy<Value = Dss> {
    let ack = prop_oneof![any::<u32>().prop_map(DataAck::Four), any::<u64>().prop_map(DataAck::Eight)];
    let dsn = prop_oneof![any::<u32>().prop_map(DssDsn::Four), any::<u64>().prop_map(DssDsn::Eight)];
    let mapping = (dsn, any::<(u32, u16, Option<u16>)>())
        .prop_map(|(dsn, (ssn, len, checksum))| DssMapping { dsn, ssn, len, checksum });
    (any::<bool>(), of(ack), of(mapping)).prop_map(|(data_fin, data_ack, mapping)| Dss {
        data_fin,
        data_ack,
        mapping,
    })
}

fn mptcp_option() -> impl Strategy<Value = MptcpOption> {
    let auth = of(any::<u64>()).prop_map(|hmac| hmac.map_or(AddAddrAuth::Echo, AddAddrAuth::Hmac));
    let add_addr = (any::<(u8, IpAddr, Option<u16>)>(), auth)
        .prop_map(|((address_id, address, port), auth)| AddAddr { address_id, address, port, auth });
    let ids = vec(any::<u8>(), 1..=AddressIds::MAX).prop_map(|ids| AddressIds::new(&ids).expect("in bounds"));
    let experiment = vec(any::<u8>(), 1..=Experiment::MAX).prop_map(|mut octets| {
        octets[0] |= 0xf0;
        Experiment::new(&octets).expect("in bounds")
    });
    prop_oneof![
        capable().prop_map(MptcpOption::Capable),
        join().prop_map(MptcpOption::Join),
        dss().prop_map(MptcpOption::Dss),
        add_addr.prop_map(MptcpOption::AddAddr),
        ids.prop_map(MptcpOption::RemoveAddr),
        any::<(bool, Option<u8>)>()
            .prop_map(|(backup, address_id)| MptcpOption::Prio(Prio { backup, address_id })),
        any::<u64>().prop_map(|dsn| MptcpOption::Fail { dsn }),
        any::<u64>().prop_map(|receiver_key| MptcpOption::FastClose { receiver_key }),
        any::<(bool, u8)>().prop_map(|(transient, reason)| MptcpOption::Reset(Reset { transient, reason })),
        experiment.prop_map(MptcpOption::Experimental),
        (9..15_u8).prop_map(|subtype| MptcpOption::Unknown { subtype }),
    ]
}

fn timestamps() -> impl Strategy<Value = Timestamps> {
    any::<(u32, u32)>().prop_map(|(val, ecr)| Timestamps { val, ecr })
}

fn sack() -> impl Strategy<Value = SackBlocks> {
    vec(any::<(u32, u32)>(), 0..=SackBlocks::MAX).prop_map(|edges| {
        let mut blocks = SackBlocks::default();
        for (left, right) in edges {
            assert!(blocks.push(SackBlock { left, right }));
        }
        blocks
    })
}

fn options() -> impl Strategy<Value = TcpOptions> {
    let cookie = (any::<[u8; 16]>(), prop_oneof![Just(0), (2..=8_usize).prop_map(|half| 2 * half)])
        .prop_map(|(octets, len)| FastOpenCookie::new(&octets[..len]).expect("an even length"));
    let timeout = (any::<bool>(), 0..0x8000_u16).prop_map(|(minutes, value)| UserTimeout { minutes, value });
    // Kinds that the parser does not know.
    let unknown = vec((35..=255_u8, vec(any::<u8>(), 0..12)), 0..3).prop_map(|list| {
        let mut unknown = UnknownOptions::default();
        for (kind, data) in list {
            unknown.push(kind, &data);
        }
        unknown
    });
    let mptcp = vec(mptcp_option(), 0..4).prop_map(MptcpOptions::from_iter);
    // Each is usually absent, so that most combinations fit.
    let rarely = 0.3;
    (
        proptest::option::weighted(rarely, any::<u16>()),
        proptest::option::weighted(rarely, any::<u8>()),
        proptest::bool::weighted(rarely),
        proptest::option::weighted(rarely, timestamps()),
        proptest::option::weighted(rarely, sack()),
        proptest::option::weighted(rarely, cookie),
        proptest::option::weighted(rarely, timeout),
        mptcp,
        proptest::option::weighted(rarely, unknown),
    )
        .prop_map(
            |(
                mss,
                window_scale,
                sack_permitted,
                timestamps,
                sack,
                fast_open,
                user_timeout,
                mptcp,
                unknown,
            )| {
                TcpOptions {
                    mss,
                    window_scale,
                    sack_permitted,
                    timestamps,
                    sack: sack.unwrap_or_default(),
                    fast_open,
                    user_timeout,
                    mptcp,
                    unknown: unknown.unwrap_or_default(),
                }
            },
        )
}

fn tcp_header() -> impl Strategy<Value = TcpHeader> {
    any::<(u16, u16, u32, u32, u8, u16, u16)>().prop_map(
        |(src_port, dst_port, seq, ack, flags, window, urgent)| TcpHeader {
            src_port,
            dst_port,
            seq,
            ack,
            flags: TcpFlags(flags),
            window,
            urgent,
        },
    )
}

fn naive_sum(octets: &[u8]) -> u16 {
    let sum: u64 = octets
        .chunks(2)
        .map(|pair| u64::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u64::from(*low)))
        .sum();
    // In ones' complement, 0 and 0xffff are one number; a sum of something is never 0.
    if sum == 0 { 0 } else { ((sum - 1) % 0xffff + 1) as u16 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_mptcp_option_comes_back(option in mptcp_option()) {
        let mut buf = OptionBuf::new();
        buf.push(TcpOption::Mptcp(option)).expect("every option fits an empty space");
        prop_assert_eq!(buf.len(), option.wire_len());
        let parsed = TcpOptions::parse(buf.as_slice());
        prop_assert_eq!(parsed.mptcp.as_slice(), &[option]);
    }

    #[test]
    fn options_that_fit_come_back(options in options()) {
        match options.encode() {
            Ok(buf) => {
                prop_assert!(buf.len() <= 40 && buf.len() % 4 == 0);
                prop_assert_eq!(TcpOptions::parse(buf.as_slice()), options);
            }
            Err(_) => {
                // Only because of their sum: by themselves each fits.
                for option in &options.mptcp {
                    prop_assert!(OptionBuf::new().push(TcpOption::Mptcp(*option)).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_segment_comes_back(
        addresses in addresses(), header in tcp_header(), options in options(), payload in vec(any::<u8>(), 0..3000),
    ) {
        let options = options.encode().unwrap_or_default();
        let mut segment = vec![0xaa; tcp::HEADER_LEN_MAX];
        let len = header.emit(&options, &mut segment);
        segment.truncate(len);
        let checksum = tcp::checksum_full(&addresses, &segment, &payload);
        segment.extend_from_slice(&payload);

        let tcp_len = segment.len() as u16;
        segment[tcp::CHECKSUM_OFFSET..][..2].copy_from_slice(&tcp::checksum_partial(&addresses, tcp_len).to_be_bytes());
        let mut sum = Sum::ZERO;
        sum.add_bytes(&segment);
        prop_assert_eq!(sum.finish(), checksum, "what a device computes");

        segment[tcp::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
        prop_assert!(tcp::verify_checksum(&addresses, &segment));
        let parsed = tcp::parse(&segment).expect("well formed");
        prop_assert_eq!(parsed.header, header);
        prop_assert_eq!(parsed.options, TcpOptions::parse(options.as_slice()));
        prop_assert_eq!(&segment[parsed.payload_offset..], &payload[..]);
    }

    #[test]
    fn an_ip_header_comes_back(
        addresses in addresses(),
        (hop_limit, traffic_class, ident) in any::<(u8, u8, u16)>(),
        payload_len in 1..=2000_u16,
        // Not an IPv6 extension header.
        protocol in prop_oneof![Just(ip::PROTOCOL_TCP), Just(ip::PROTOCOL_ICMP), Just(ip::PROTOCOL_ICMPV6), Just(17)],
        padding in 0..10_usize,
    ) {
        let ident = if matches!(addresses, Addresses::V4 { .. }) { ident } else { 0 };
        let header = IpHeader { addresses, protocol, hop_limit, traffic_class, ident, payload_len };
        let total_len = header.len() + usize::from(payload_len);
        let mut packet = vec![0xaa; total_len + padding];
        prop_assert_eq!(header.emit(&mut packet), header.len());
        let parsed = ip::parse(&packet).expect("well formed");
        prop_assert_eq!(parsed.header, header);
        prop_assert_eq!((parsed.payload_offset, parsed.total_len), (header.len(), total_len));
    }

    #[test]
    fn a_sum_does_not_depend_on_cuts(octets in vec(any::<u8>(), 0..5000), cuts in vec(any::<prop::sample::Index>(), 0..5)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut in_turn, mut apart, mut start) = (Sum::ZERO, Sum::ZERO, 0);
        for end in cuts.into_iter().chain([octets.len()]) {
            let mut piece = Sum::ZERO;
            piece.add_bytes(&octets[start..end]);
            apart.combine(piece);
            in_turn.add_bytes(&octets[start..end]);
            start = end;
        }
        prop_assert_eq!(in_turn.fold(), naive_sum(&octets));
        prop_assert_eq!(in_turn, apart);
    }

    #[test]
    fn an_updated_checksum_is_the_recomputed_one(
        addresses in addresses(), mut octets in vec(any::<u8>(), 2..200), at in any::<prop::sample::Index>(), new: u16,
    ) {
        let at = at.index(octets.len() / 2) * 2;
        let checksum = |octets: &[u8]| {
            let mut sum = pseudo_header(&addresses, ip::PROTOCOL_TCP, octets.len() as u32);
            sum.add_bytes(octets);
            sum.finish()
        };
        let (before, old) = (checksum(&octets), u16::from_be_bytes([octets[at], octets[at + 1]]));
        octets[at..at + 2].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(update(before, old, new), checksum(&octets));
    }

    #[test]
    fn no_octets_make_a_parser_panic(mut octets in vec(any::<u8>(), 0..200), addresses in addresses(), first: u8) {
        // Half of the time an IP version, so that more than the first octet is looked at.
        if let Some(version) = octets.first_mut() {
            *version = match first % 4 { 0 => 0x45, 1 => 0x60, _ => *version };
        }
        if let Ok(parsed) = ip::parse(&octets) {
            prop_assert!(parsed.payload_offset <= parsed.total_len && parsed.total_len <= octets.len());
            prop_assert_eq!(parsed.total_len - parsed.payload_offset, usize::from(parsed.header.payload_len));
        }
        let _ = icmp::parse_v4(&octets);
        let _ = icmp::parse_v6(&addresses, &octets);
        let _ = tcp::verify_checksum(&addresses, &octets);
        if let Ok(parsed) = tcp::parse(&octets) {
            prop_assert!(parsed.payload_offset <= octets.len());
        }
        let _ = TcpOptions::parse(&octets);
        let _ = polytcp_wire::virtio::VnetHdr::parse(&octets);
    }

    /// Octets that look like options: kinds and lengths are often right.
    #[test]
    fn options_read_once_are_read_the_same_again(
        pieces in vec((prop_oneof![0..9_u8, Just(28), Just(30), Just(34), any::<u8>()], 0..42_u8, any::<[u8; 40]>()), 0..5),
    ) {
        let mut octets = Vec::new();
        for (kind, len, data) in pieces {
            octets.extend([kind, len]);
            octets.extend(&data[..usize::from(len).saturating_sub(2)]);
        }
        octets.truncate(40);
        let once = TcpOptions::parse(&octets);
        let malformed = |option: &MptcpOption| matches!(option, MptcpOption::Malformed { .. });
        if let Ok(buf) = once.encode() {
            let mut expected = once;
            expected.mptcp = once.mptcp.iter().filter(|option| !malformed(option)).copied().collect();
            prop_assert_eq!(TcpOptions::parse(buf.as_slice()), expected);
        }
    }
}
