//! Explicit congestion notification (RFC 3168; Linux's `tcp_ecn`).

use super::dsl::*;
use polytcp_proto::config::Ecn;
use polytcp_proto::host::Protocol;

fn with_ecn(ecn: Ecn) -> polytcp_proto::config::HostConfig {
    let mut config = config();
    config.tcp.ecn = ecn;
    config
}

/// Accepted with ECN and MSS 1000, a round trip of 20 ms.
fn accepted() -> Script {
    let mut s = Script::listening();
    s.receives(syn().mss(1000).sack_ok().ece().cwr()).sends(syn_ack().ece().ecn(0));
    s.after(ms(20)).receives(ack(1, 1)).accepts();
    s.nodelay();
    s
}

fn cwnd(s: &Script) -> u32 {
    s.host.subflows(s.id()).unwrap()[0].cwnd_bytes
}

#[test]
fn by_default_a_host_accepts_and_does_not_ask() {
    let mut s = Script::connecting();
    s.sends(syn().mpc().ecn(0));
    let mut s = Script::listening();
    s.receives(syn().mss(1460).ece().cwr()).sends(syn_ack().ece());
    // Half a request, and one whose packet was marked on the way, are none.
    for odd in [syn().mss(1460).ece(), syn().mss(1460).cwr(), syn().mss(1460).ece().cwr().ecn(2)] {
        let mut s = Script::listening();
        s.receives(odd).sends(syn_ack());
    }
    let mut s = Script::listening_with(with_ecn(Ecn::Off));
    s.receives(syn().mss(1460).ece().cwr()).sends(syn_ack());
}

#[test]
fn who_asks_gets_it_when_the_peer_agrees() {
    for (reply, bits) in [(syn_ack().ece(), 2), (syn_ack(), 0), (syn_ack().ece().cwr(), 0)] {
        let mut s = Script::connecting_with(with_ecn(Ecn::Request), Protocol::Mptcp);
        s.sends(syn().mpc().ece().cwr().ecn(0));
        s.receives(reply.mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).mpc().ecn(0));
        s.receives(ack(1, 1).dack(1)).nodelay();
        s.writes(b"hello").sends(data(1, 1, b"hello").map(1).ecn(bits));
    }
}

#[test]
fn a_repeated_syn_does_not_ask() {
    let mut s = Script::connecting_with(with_ecn(Ecn::Request), Protocol::Tcp);
    s.sends(syn().ece().cwr());
    s.after(secs(1)).sends(syn());
}

#[test]
fn a_mark_is_echoed_until_the_peer_has_slowed_down() {
    let mut s = accepted();
    s.receives(data(1, 1, b"one").ecn(3)).sends(ack(1, 4).ece().ecn(0));
    s.receives(data(4, 1, b"two").ecn(2)).sends(ack(1, 7).ece());
    s.writes(b"x").sends(data(1, 7, b"x").ece().ecn(2)).receives(ack(7, 2));
    s.receives(data(7, 2, b"three").cwr().ecn(2)).sends(ack(2, 12));
    // One segment may end an episode and begin the next.
    s.receives(data(12, 2, b"4").cwr().ecn(3)).sends(ack(2, 13).ece());
}

#[test]
fn marks_mean_nothing_where_ecn_was_not_agreed_on() {
    let mut s = Script::accepted_plain();
    s.receives(data(1, 1, b"one").ecn(3)).sends(ack(1, 4));
    let before = cwnd(&s);
    s.writes(b"x").sends(data(1, 4, b"x").ecn(0)).receives(ack(4, 2).ece());
    assert!(cwnd(&s) >= before);
}

#[test]
fn an_echo_reduces_the_window_once_per_round_trip() {
    let mut s = accepted();
    s.writes_bulk(0, 4_000);
    for i in 0..4 {
        s.until_sent(ms(15));
        s.sends(bulk(1 + i * 1000, 1, 1000).ecn(2));
    }
    s.after(ms(16)).receives(ack(1, 1001).ece());
    let reduced = cwnd(&s);
    assert_eq!(reduced, 7_000, "CUBIC's seven tenths of ten segments");
    s.receives(ack(1, 2001).ece()).receives(ack(1, 3001).ece()).receives(ack(1, 4001).ece());
    assert_eq!(cwnd(&s), reduced, "the same window of data");
    assert_eq!(s.host.counters().get("TcpExtTCPDeliveredCE"), Some(4));
    // The next new data tells the peer, alone.
    s.writes_bulk(4_000, 2_000);
    s.until_sent(ms(15));
    s.sends(bulk(4001, 1, 1000).cwr().ecn(2));
    s.until_sent(ms(15));
    s.sends(bulk(5001, 1, 1000).ecn(2));
    s.after(ms(16)).receives(ack(1, 6001).ece());
    assert_eq!(cwnd(&s), reduced * 7 / 10, "the next round trip");
}

#[test]
fn what_is_sent_again_is_not_ecn_capable() {
    let mut s = accepted();
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?").ecn(2));
    s.after(ms(220)).sends(data(1, 1, b"anyone?").ecn(0));
}

#[test]
fn an_algorithm_without_an_answer_to_marks_sends_nothing_that_is_marked() {
    let mut config = config();
    config.tcp.congestion_control = "bbr".into();
    let mut s = Script::listening_with(config);
    s.receives(syn().mss(1000).ece().cwr()).sends(syn_ack().ece());
    s.receives(ack(1, 1)).accepts();
    s.writes(b"x").sends(data(1, 1, b"x").ecn(0));
    s.receives(data(1, 2, b"y").ecn(3)).sends(ack(2, 2).ece());
}
