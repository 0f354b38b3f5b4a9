//! TCP Fast Open (RFC 7413), alone and with MPTCP (RFC 8684 appendix B).

use super::dsl::*;
use polytcp_proto::config::fastopen;
use polytcp_proto::host::Protocol;

const COOKIE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn count(s: &Script, name: &str) -> u64 {
    s.host.counters().get(name).expect("a counter")
}

/// A host that has the peer's cookie; its first connection is over.
fn acquainted() -> Script {
    let mut s = Script::new(config());
    s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().plain().fast_open(&[]));
    s.receives(syn_ack().mss(1460).sack_ok().wscale(0).fast_open(&COOKIE)).sends(ack(1, 1));
    s.sends(data(1, 1, b"hello")).aborts().sends(rst_ack(6, 1));
    s
}

#[test]
fn the_first_connection_asks_for_a_cookie_and_says_its_data_after_the_handshake() {
    let mut s = Script::new(config());
    s.connect_with_data(Protocol::Mptcp, b"hello");
    s.sends(syn().mss(1460).wscale(7).ts().mpc().fast_open(&[]));
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).mpc());
    s.sends(data(1, 1, b"hello").mpc());
    s.receives(ack(1, 6).dack(6)).sends_nothing();
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 5);
    assert_eq!((count(&s, "TcpExtTCPFastOpenActive"), count(&s, "TcpExtTCPFastOpenActiveFail")), (0, 0));
    // The peer gave none: the next one asks again.
    let sf = s.connect_with_data(Protocol::Mptcp, b"again");
    s.sends(syn().on(sf).mpc().fast_open(&[]));
}

#[test]
fn without_the_client_bit_no_syn_speaks_of_fast_open() {
    let mut config = config();
    config.tcp.fastopen = fastopen::SERVER_ENABLE;
    let mut s = Script::new(config);
    s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().plain()).receives(syn_ack().mss(1460)).sends(ack(1, 1)).sends(data(1, 1, b"hello"));
}

#[test]
fn data_on_the_syn_is_outside_the_data_sequence_space() {
    let mut s = acquainted();
    let sf = s.connect_with_data(Protocol::Mptcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE).ts().mpc());
    s.receives(syn_ack().on(sf).acking(6).mss(1460).sack_ok().wscale(7).ts().mpc());
    s.sends(ack(6, 1).on(sf).mpc());
    s.writes(b"world").sends(data(6, 1, b"world").on(sf).mpc());
    s.receives(ack(1, 11).on(sf).dack(6)).sends_nothing();
    s.writes(b"again").sends(data(11, 1, b"again").on(sf).map_of(6, 6, 5).dack(1));
    s.receives(data(1, 16, b"fine").on(sf).map(1).dack(11)).sends(ack(16, 5).on(sf).dack(5)).reads(b"fine");
    assert!(s.is_mptcp());
    assert_eq!(s.host.info(s.id()).unwrap().bytes_acked, 15);
    assert_eq!(count(&s, "TcpExtTCPFastOpenActive"), 1);
}

#[test]
fn data_on_the_syn_to_a_peer_without_mptcp_is_followed_by_plain_tcp() {
    let mut s = acquainted();
    let sf = s.connect_with_data(Protocol::Mptcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE).mpc());
    s.receives(syn_ack().on(sf).acking(6).mss(1460)).sends(ack(6, 1).on(sf).plain());
    s.writes(b"world").sends(data(6, 1, b"world").on(sf).plain());
    s.receives(ack(1, 11).on(sf)).shuts_down().sends(fin(11, 1).on(sf));
    s.receives(fin(1, 12).on(sf)).sends(ack(12, 2).on(sf)).reads_end();
}

#[test]
fn data_that_the_syn_ack_leaves_out_is_sent_as_the_first() {
    let mut s = acquainted();
    let sf = s.connect_with_data(Protocol::Mptcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE).mpc());
    s.receives(syn_ack().on(sf).mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).on(sf).mpc());
    s.sends(data(1, 1, b"hello").on(sf).mpc());
    assert_eq!(count(&s, "TcpExtTCPFastOpenActiveFail"), 1);
    // In part: the rest.
    let sf = s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE));
    s.receives(syn_ack().on(sf).acking(4).mss(1460)).sends(ack(4, 1).on(sf)).sends(data(4, 1, b"lo").on(sf));
    assert_eq!(count(&s, "TcpExtTCPFastOpenActiveFail"), 2);
    // Beyond what was sent: not ours.
    let sf = s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE));
    s.receives(syn_ack().on(sf).acking(7).mss(1460)).sends(rst(7).on(sf));
}

#[test]
fn a_lost_syn_with_data_is_repeated_without() {
    let mut s = acquainted();
    let sf = s.connect_with_data(Protocol::Mptcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE).mpc());
    s.after(secs(1)).sends(syn().on(sf).mpc());
    s.receives(syn_ack().on(sf).mss(1460).wscale(7).mpc()).sends(ack(1, 1).on(sf).mpc());
    s.sends(data(1, 1, b"hello").on(sf).mpc());
    // The answer to the first SYN, late, counts as well.
    let sf = s.connect_with_data(Protocol::Mptcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE).mpc());
    s.idles(secs(1));
    s.receives(syn_ack().on(sf).acking(6).mss(1460).mpc()).sends(ack(6, 1).on(sf).mpc());
}

#[test]
fn a_reset_that_acknowledges_the_data_refuses() {
    let mut s = acquainted();
    let sf = s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE));
    s.receives(rst_ack(0, 6).on(sf)).sends_nothing();
    let refused = polytcp_proto::host::CallError::Failed(polytcp_proto::host::ConnectionError::Refused);
    s.reads_error(refused);
}

#[test]
fn a_syn_carries_one_segment_and_the_rest_follows() {
    let mut s = acquainted();
    let sf = s.connect_with_data(Protocol::Mptcp, &octets(0, 3_000));
    // 4 MSS, 12 SACK and timestamps, 4 window scale, 12 cookie, 4 MP_CAPABLE.
    let len = 1460 - 36;
    s.sends(syn().on(sf).payload(&octets(0, len)).fast_open(&COOKIE).mpc());
    let next = 1 + len as u32;
    s.receives(syn_ack().on(sf).acking(next).mss(1460).sack_ok().wscale(7).mpc())
        .sends(ack(next, 1).on(sf).mpc());
    let rest = 3_000 - len;
    let (first, second) = (1460 - 28, rest - (1460 - 28));
    s.sends(data(next, 1, &octets(len as u32, first)).on(sf).mpc());
    s.receives(ack(1, next + first as u32).on(sf).dack(1 + first as u64));
    s.sends(bulk(next + first as u32, 1, second).on(sf));
}

#[test]
fn a_cookie_without_room_beside_mptcp_is_not_used() {
    let mut s = Script::new(config());
    s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().fast_open(&[])).receives(syn_ack().mss(1460).fast_open(&[7; 16]));
    s.sends(ack(1, 1)).sends(data(1, 1, b"hello"));
    let sf = s.connect_with_data(Protocol::Mptcp, b"hello");
    s.sends(syn().on(sf).mpc());
}

#[test]
fn with_bit_4_data_goes_on_the_syn_without_a_cookie() {
    let mut config = config();
    config.tcp.fastopen = fastopen::CLIENT_ENABLE | fastopen::CLIENT_NO_COOKIE;
    let mut s = Script::new(config);
    s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().payload(b"hello")).receives(syn_ack().acking(6).mss(1460)).sends(ack(6, 1));
}

/// Connects with data on the SYN, which is lost; the next one, without, is answered.
fn loses_syn_data(s: &mut Script, cookie: &[u8]) {
    let sf = s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(cookie));
    s.after(secs(1)).sends(syn().on(sf).plain());
    s.receives(syn_ack().on(sf).mss(1460)).sends(ack(1, 1).on(sf)).sends(data(1, 1, b"hello").on(sf));
    s.aborts().sends(rst_ack(6, 1).on(sf));
}

/// Connects without anything of Fast Open.
fn connects_without(s: &mut Script) {
    let sf = s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().on(sf).plain().payload(b"")).receives(syn_ack().on(sf).mss(1460)).sends(ack(1, 1).on(sf));
    s.sends(data(1, 1, b"hello").on(sf)).aborts().sends(rst_ack(6, 1).on(sf));
}

#[test]
fn a_server_that_syns_with_data_do_not_reach_is_spared_them_for_a_while() {
    let mut s = acquainted();
    // One loss may be any.
    loses_syn_data(&mut s, &COOKIE);
    loses_syn_data(&mut s, &COOKIE);
    connects_without(&mut s);
    s.idles(secs(240) - ms(1));
    connects_without(&mut s);
    s.idles(ms(1));
    // The cookie is kept, and the third in a row counts for twice the time.
    loses_syn_data(&mut s, &COOKIE);
    s.idles(secs(479));
    connects_without(&mut s);
    s.idles(secs(1));
    let sf = s.connect_with_data(Protocol::Tcp, b"hello");
    s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE));
    s.receives(syn_ack().on(sf).acking(6).mss(1460)).sends(ack(6, 1).on(sf)).aborts().ignores();
    // Data that arrives ends the count.
    loses_syn_data(&mut s, &COOKIE);
    loses_syn_data(&mut s, &COOKIE);
    connects_without(&mut s);
}

#[test]
fn a_server_that_gives_a_cookie_after_all_is_not_spared() {
    let mut s = acquainted();
    for _ in 0..3 {
        let sf = s.connect_with_data(Protocol::Tcp, b"hello");
        s.sends(syn().on(sf).payload(b"hello").fast_open(&COOKIE));
        s.idles(secs(1));
        s.receives(syn_ack().on(sf).mss(1460).fast_open(&COOKIE)).sends(ack(1, 1).on(sf));
        s.sends(data(1, 1, b"hello").on(sf)).aborts().ignores();
    }
}

#[test]
fn a_server_that_answers_no_syn_at_all_is_spared_data_too() {
    let mut config = config();
    config.tcp.fastopen = fastopen::CLIENT_ENABLE | fastopen::CLIENT_NO_COOKIE;
    let mut s = Script::new(config);
    for limit in [secs(3), secs(1_000)] {
        let sf = s.connect_with_data(Protocol::Tcp, b"hello");
        s.user_timeout(limit).sends(syn().on(sf).payload(b"hello"));
        s.idles(secs(200));
    }
    connects_without(&mut s);
}
