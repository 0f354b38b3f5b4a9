//! What an application sets for one connection: fields of its IP headers, keepalive; and what it is told without the
//! connection's end (RFC 9293 §3.8.4, §3.9.1.8, §3.9.1.9, §3.9.2).

use core::num::NonZeroU8;

use super::dsl::*;
use polytcp_proto::config::Keepalive;
use polytcp_proto::host::{CallError, ConnectionError};

const EF: u8 = 46 << 2;

#[test]
fn traffic_class_and_hop_limit_are_those_of_the_connection() {
    let mut config = config();
    config.ip.traffic_class = EF | 0b11;
    config.ip.hop_limit = NonZeroU8::new(9).unwrap();
    let mut s = Script::listening_with(config);
    s.receives(syn().mss(1000)).sends(syn_ack().ecn(EF).hop_limit(9));
    s.receives(ack(1, 1)).accepts();
    s.writes(b"a").sends(data(1, 1, b"a").ecn(EF).hop_limit(9));
    let (id, now) = (s.id(), s.now);
    s.host.set_traffic_class(now, id, 8 << 2 | 0b01).unwrap();
    s.host.set_hop_limit(now, id, NonZeroU8::MAX).unwrap();
    s.nodelay().writes(b"b").sends(data(2, 1, b"b").ecn(8 << 2).hop_limit(255));
    let nowhere = s.add_line(0, 2000);
    s.aborts().sends(rst_ack(3, 1).ecn(8 << 2).hop_limit(255));
    s.receives(ack(1, 1).on(nowhere)).sends(rst(1).on(nowhere).ecn(EF).hop_limit(9));
}

#[test]
fn the_ecn_bits_of_a_traffic_class_are_ecns() {
    let mut config = config();
    config.tcp.ecn = polytcp_proto::config::Ecn::Accept;
    let mut s = Script::listening_with(config);
    s.receives(syn().mss(1000).ece().cwr()).sends(syn_ack().ece());
    s.receives(ack(1, 1)).accepts();
    let (id, now) = (s.id(), s.now);
    s.host.set_traffic_class(now, id, EF | 0b11).unwrap();
    s.writes(b"a").sends(data(1, 1, b"a").ecn(EF | 0b10));
}

#[test]
fn subflows_that_come_later_have_the_fields_of_the_connection() {
    let mut s = Script::accepted();
    let (id, now) = (s.id(), s.now);
    s.host.set_traffic_class(now, id, EF).unwrap();
    let sf = s.add_line(1, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
    s.receives(ack(1, 1).on(sf).join_ack()).sends(ack(1, 1).on(sf).dack(1).ecn(EF));
}

#[test]
fn one_connection_alone_may_ask_for_keepalive() {
    let mut s = Script::accepted_plain();
    let keepalive = Some(Keepalive { idle: secs(60), interval: secs(10), probes: 2 });
    s.keepalive(keepalive);
    s.after(secs(60)).sends(ack(0, 1)).receives(ack(1, 1));
    s.keepalive(None).idles(secs(1_000));
    s.keepalive(keepalive).until_sent(ms(1)).expect("the silence was long enough");
    s.sends(ack(0, 1));
    s.after(secs(10)).sends(ack(0, 1));
    s.after(secs(10)).sends(rst_ack(1, 1));
    s.reads_error(CallError::Failed(ConnectionError::TimedOut));
}

fn is_unreachable(s: &Script) -> bool {
    s.host.subflows(s.id()).unwrap()[0].unreachable
}

#[test]
fn a_soft_error_is_told_until_something_is_acknowledged() {
    let mut s = Script::accepted_plain();
    s.nodelay().writes(b"hello").sends(data(1, 1, b"hello"));
    // Not on the way: anybody could have made it up.
    s.receives_icmp(0, 3, 1, 0, 5_000).sends_nothing();
    assert!(!is_unreachable(&s));
    s.receives_icmp(0, 3, 1, 0, 1).sends_nothing();
    assert!(is_unreachable(&s));
    s.receives(ack(1, 6)).sends_nothing();
    assert!(!is_unreachable(&s));
}

#[test]
fn who_is_given_up_while_routers_say_unreachable_is_that() {
    let mut s = Script::accepted_plain();
    s.writes(b"anyone?").sends(data(1, 1, b"anyone?"));
    s.receives_icmp(0, 3, 1, 0, 1);
    s.idles(secs(2_000));
    s.reads_error(CallError::Failed(ConnectionError::Unreachable));
}

#[test]
fn connections_that_are_gone_leave_no_timers_behind() {
    let mut config = config();
    config.tcp.keepalive_idle = Some(secs(7_200));
    let mut s = Script::listening_with(config);
    for port in 2_000..2_300 {
        let line = s.add_line(0, port);
        s.receives(syn().on(line)).sends(syn_ack().on(line));
        s.receives(ack(1, 1).on(line)).accepts();
        s.receives(rst(1).on(line)).closes();
        let held = s.host.accounting();
        assert_eq!((held.connections, held.half_open), (0, 0));
        assert!(held.timers <= 64, "{held:?}");
    }
}
