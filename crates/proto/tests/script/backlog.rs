//! What a listener holds at most: requests, connections that wait for `accept`; and `TCP_DEFER_ACCEPT`.

use super::dsl::*;
use polytcp_proto::config::{HostConfig, SynCookies};
use polytcp_proto::host::ListenOptions;

fn without_cookies() -> HostConfig {
    let mut config = config();
    config.tcp.syncookies = SynCookies::Off;
    config
}

fn count(s: &Script, name: &str) -> u64 {
    s.host.counters().get(name).expect("a counter")
}

#[test]
fn a_syn_to_a_full_backlog_is_dropped_without_cookies() {
    let mut s = Script::listening_for(without_cookies(), 2, 3);
    s.receives(syn()).sends(syn_ack());
    s.receives(syn().on(1)).sends(syn_ack().on(1));
    s.receives(syn().on(2)).sends_nothing();
    assert_eq!(s.host.accounting().half_open, 2);
    assert_eq!((count(&s, "TcpExtTCPReqQFullDrop"), count(&s, "TcpExtListenDrops")), (1, 1));
    s.receives(ack(1, 1)).sends_nothing();
    s.receives(syn().on(2)).sends(syn_ack().on(2));
}

#[test]
fn without_cookies_requests_keep_to_three_quarters_of_max_syn_backlog() {
    let mut config = without_cookies();
    config.tcp.max_syn_backlog = 8;
    let mut s = Script::listening_for(config, 100, 1);
    s.floods(0, 50);
    assert_eq!(s.host.accounting().half_open, 7);
}

#[test]
fn a_third_ack_that_finds_the_accept_queue_full_is_dropped_until_accept() {
    let mut s = Script::listening_for(config(), 1, 4);
    s.receives(syn()).sends(syn_ack()).receives(ack(1, 1)).sends_nothing();
    s.receives(syn().on(1)).sends(syn_ack().on(1));
    s.receives(syn().on(2)).sends(syn_ack().on(2));
    s.receives(ack(1, 1).on(1)).sends_nothing();
    // Two wait, one more than the backlog as in Linux: full.
    s.receives(ack(1, 1).on(2)).sends_nothing();
    s.receives(syn().on(3)).sends_nothing();
    assert_eq!((count(&s, "TcpExtListenOverflows"), count(&s, "TcpExtListenDrops")), (2, 2));
    s.accepts().accepts().accepts_nothing();
    assert_eq!(count(&s, "TcpExtSyncookiesSent"), 1, "the third request was beyond a backlog of one");
    s.receives(ack(1, 1).on(2)).accepts();
}

#[test]
fn an_overflow_resets_with_tcp_abort_on_overflow() {
    let mut config = config();
    config.tcp.abort_on_overflow = true;
    let mut s = Script::listening_for(config, 1, 3);
    s.receives(syn()).sends(syn_ack()).receives(ack(1, 1)).sends_nothing();
    s.receives(syn().on(1)).sends(syn_ack().on(1)).receives(ack(1, 1).on(1)).sends_nothing();
    // One is taken, another request comes, and the queue fills again.
    s.accepts().receives(syn().on(2)).sends(syn_ack().on(2));
    s.add_line(0, 1003);
    let extra = 3;
    s.receives(syn().on(extra)).sends(syn_ack().on(extra)).receives(ack(1, 1).on(extra)).sends_nothing();
    s.receives(ack(1, 1).on(2)).sends(rst(1).on(2));
    assert_eq!(s.host.accounting().half_open, 0);
    assert_eq!(count(&s, "TcpExtEmbryonicRsts"), 1);
}

fn deferring(secs: u64) -> Script {
    let wait = Some(Duration::from_secs(secs));
    let options = ListenOptions { defer_accept: wait, ..ListenOptions::new("0.0.0.0:80".parse().unwrap()) };
    Script::listening_by(config(), &options, 1)
}

#[test]
fn a_deferred_accept_waits_for_data() {
    let mut s = deferring(10);
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc());
    s.after(ms(20)).receives(ack(1, 1).mpc()).sends_nothing().accepts_nothing();
    assert_eq!(count(&s, "TcpExtTCPDeferAcceptDrop"), 1);
    s.after(ms(300)).receives(data(1, 1, b"hello").mpc()).sends(ack(1, 6).dack(6)).accepts().reads(b"hello");
    assert!(s.is_mptcp());
    let srtt = s.host.subflows(s.id()).unwrap()[0].srtt;
    assert_eq!(srtt, Some(ms(20)), "the round trip is that of the handshake, not of the silence");
}

#[test]
fn a_silent_peer_is_accepted_after_the_wait_if_it_still_answers() {
    // Linux counts 10 s as four timeouts: 1, 3, 7 and 15 s after the SYN/ACK.
    let mut s = deferring(10);
    s.receives(syn().mss(1460)).sends(syn_ack());
    s.receives(ack(1, 1)).sends_nothing();
    s.after(secs(14)).sends_nothing().accepts_nothing();
    s.after(secs(1)).sends(syn_ack());
    s.receives(ack(1, 1)).sends_nothing().accepts();
}

#[test]
fn a_peer_that_never_answers_is_not_waited_for_longer_than_others() {
    let mut s = deferring(200);
    s.receives(syn().mss(1460)).sends(syn_ack());
    for wait in [1, 2, 4, 8, 16] {
        s.after(secs(wait)).sends(syn_ack());
    }
    s.after(secs(32)).sends_nothing();
    assert_eq!(s.host.accounting().half_open, 0);
}

#[test]
fn a_peer_that_answered_is_waited_for_beyond_the_usual_retries() {
    // Linux counts 200 s as eight timeouts, three more than `tcp_synack_retries`.
    let mut s = deferring(200);
    s.receives(syn().mss(1460)).sends(syn_ack());
    s.receives(ack(1, 1)).sends_nothing();
    s.after(secs(190)).sends_nothing();
    s.after(secs(1)).sends(syn_ack());
    s.receives(ack(1, 1)).sends_nothing().accepts();
}
