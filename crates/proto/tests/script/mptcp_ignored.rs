//! Options that say nothing to this version of the protocol, or nothing at all (RFC 8684 §2.3, §3.8, §7.1).

use super::dsl::*;

/// What stands behind kind and length.
const IGNORED: &[(&str, &[u8])] = &[
    ("MP_EXPERIMENTAL", &[0xf0, 0x12, 0x34, 0x56, 0x78, 1]),
    ("MP_EXPERIMENTAL that asks for an answer", &[0xf8, 0x12, 0x34, 0x56, 0x78, 1]),
    ("subtype 9", &[0x90, 1, 2, 3]),
    ("subtype 14 without more", &[0xe0]),
    ("a DSS that is cut off", &[0x20, 0x05, 1]),
    ("a DSS that is too long", &[0x20, 0x01, 0, 0, 0, 0, 7, 7, 7]),
    ("an ADD_ADDR without an address", &[0x31, 5]),
    ("an ADD_ADDR of an address between the families", &[0x31, 5, 1, 2, 3, 4, 5, 6, 7]),
    ("a REMOVE_ADDR of nothing", &[0x40]),
    ("an MP_PRIO of five octets", &[0x51, 0, 0]),
    ("an MP_FAIL that is cut off", &[0x60, 0, 1, 2]),
    ("an MP_FASTCLOSE that is cut off", &[0x70, 0, 1, 2]),
    ("an MP_JOIN of no form", &[0x10, 1, 2]),
    ("an MP_CAPABLE of no form", &[0x01, 0x81, 9]),
];

#[test]
fn options_that_are_not_understood_change_nothing() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    let before = (s.count("RmAddr"), s.count("AddAddr"), s.count("MPFailRx"), s.count("MPFastcloseRx"));
    for (sent, (what, octets)) in (0..).zip(IGNORED) {
        for (sf, seq) in [(0, 1 + sent), (1, 1)] {
            s.receives(ack(seq, 1).on(sf).dack(1).raw_mptcp(octets)).sends_nothing();
        }
        // Beside a mapping that is understood the data is taken.
        s.receives(data(1 + sent, 1, b"!").dack(1).map(1 + u64::from(sent)).raw_mptcp(octets));
        s.ignores();
        assert_eq!(s.read(), b"!", "{what}");
        assert!(s.is_mptcp(), "{what}");
        let subflows = s.host.subflows(s.id()).unwrap();
        assert!(subflows.len() == 2 && subflows.iter().all(|subflow| !subflow.backup), "{what}");
    }
    let after = (s.count("RmAddr"), s.count("AddAddr"), s.count("MPFailRx"), s.count("MPFastcloseRx"));
    assert_eq!(before, after);
    s.idles(secs(2));
    assert_eq!(s.host.subflows(s.id()).unwrap().len(), 2);
}

#[test]
fn an_mp_prio_with_an_address_id_is_ignored() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).on(1).dack(1).raw_mptcp(&[0x51, 1])).sends_nothing();
    assert!(s.host.subflows(s.id()).unwrap().iter().all(|subflow| !subflow.backup));
    assert_eq!(s.count("MPPrioRx"), 0);
    s.receives(ack(1, 1).on(1).dack(1).raw_mptcp(&[0x51])).sends_nothing();
    assert!(s.host.subflows(s.id()).unwrap()[1].backup);
    assert_eq!(s.count("MPPrioRx"), 1);
}
