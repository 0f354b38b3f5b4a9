//! Paths that fall silent, and connections that outlive all their subflows (`net.mptcp.stale_loss_cnt`,
//! `net.mptcp.close_timeout`).

use super::dsl::*;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{ConnectionError, ListenOptions, SubflowState};
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand};

/// Two subflows; the first data leaves on one of them, which falls silent. Returns that one.
fn silent(config: HostConfig) -> (Script, usize) {
    let mut s = Script::accepted_with(config);
    s.joined_by_peer(1);
    // A server uses one subflow only until the first DATA_ACK.
    s.receives(ack(1, 1).dack(1)).sends_nothing();
    s.nodelay();
    s.writes(b"hello");
    let on = s.sent_on();
    s.sends_any();
    // The other path helps, and the peer acknowledges it at data level.
    for _ in 0..5 {
        s.until_sent(secs(1)).expect("a probe or a hedge");
        if s.sent_on_other(on).is_some() {
            break;
        }
        s.ignores();
    }
    s.ignores();
    s.receives(ack(1, 6).on(1 - on).dack(6));
    (s, on)
}

#[test]
fn a_subflow_is_stale_after_four_timeouts_while_another_works_and_recovers_when_it_answers() {
    let (mut s, on) = silent(HostConfig::default());
    s.idles(secs(2));
    assert_eq!(s.count("SubflowStale"), 0, "three timeouts at most");
    s.idles(secs(10));
    assert_eq!((s.count("SubflowStale"), s.count("SubflowRecover")), (1, 0));
    s.receives(ack(1, 6).on(on).dack(6));
    s.ignores();
    assert_eq!((s.count("SubflowStale"), s.count("SubflowRecover")), (1, 1));
    s.receives(ack(1, 6).on(on).dack(6));
    assert_eq!(s.count("SubflowRecover"), 1);
}

#[test]
fn with_stale_loss_cnt_0_no_subflow_becomes_stale() {
    let mut config = HostConfig::default();
    config.mptcp.stale_loss_cnt = 0;
    let (mut s, _) = silent(config);
    s.idles(secs(60));
    assert_eq!(s.count("SubflowStale"), 0);
}

#[test]
fn the_only_subflow_is_never_stale() {
    let mut s = Script::accepted();
    s.nodelay();
    s.writes(b"hello").sends_any();
    s.idles(secs(60));
    assert_eq!(s.count("SubflowStale"), 0);
}

/// It is open on the peer's side only, and takes no data any more.
#[test]
fn a_subflow_that_we_close_helps_no_other() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1).remove_addr(&[1])).sends(fin(1, 1).on(1));
    s.receives(ack(1, 2).on(1).dack(1)).nodelay();
    s.writes(b"hello").sends(data(1, 1, b"hello").map(1));
    s.idles(secs(30));
    assert_eq!(s.count("SubflowStale"), 0);
    s.receives(ack(1, 6).dack(6));
}

/// A client whose only subflow was reset.
fn bare_client(config: HostConfig) -> Script {
    let mut s = Script::connected_with(config);
    s.receives(rst(1)).sends_nothing();
    assert!(!s.host.readiness(s.id()).error);
    s
}

fn established(s: &Script) -> usize {
    let subflows = s.host.subflows(s.id()).unwrap();
    subflows.iter().filter(|s| s.state == SubflowState::Established).count()
}

/// What was written while there was no path leaves on the new one.
#[test]
fn a_new_endpoint_revives_a_client_without_subflows() {
    let mut s = bare_client(HostConfig::default());
    s.writes(b"hello").after(secs(30)).sends_nothing();
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    s.sends(syn().on(1).any_join_syn());
    s.receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack());
    s.sends(ack(1, 1).on(1).join_ack()).sends_nothing();
    s.receives(ack(1, 1).on(1).dack(1)).sends(data(1, 1, b"hello").on(1).map(1));
    assert_eq!(established(&s), 1);
    s.receives(ack(1, 6).on(1).dack(6)).after(secs(300)).sends_nothing();
    assert!(!s.host.readiness(s.id()).error);
}

#[test]
fn a_join_of_the_peer_revives_a_client_without_subflows() {
    let mut s = bare_client(HostConfig::default());
    s.host.listen(&ListenOptions::new((host_ip(1), 5000).into())).unwrap();
    s.after(secs(30));
    let sf = s.add_line_at(1, 5000, 2000);
    s.receives(syn().on(sf).mss(1460).sack_ok().wscale(7).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
    s.receives(ack(1, 1).on(sf).join_ack()).sends(ack(1, 1).on(sf).dack(1)).sends_nothing();
    s.after(secs(300)).sends_nothing();
    s.receives(data(1, 1, b"hello").on(sf).map(1)).sends(ack(1, 6).on(sf).dack(6)).reads(b"hello");
}

#[test]
fn without_a_new_path_a_client_ends_after_close_timeout() {
    let mut config = HostConfig::default();
    config.mptcp.close_timeout = secs(5);
    let mut s = bare_client(config);
    s.after(secs(4)).sends_nothing();
    assert!(!s.host.readiness(s.id()).error);
    s.after(secs(1)).sends_nothing();
    s.reads_error(ConnectionError::AllPathsLost.into());
    // Too late.
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW))).sends_nothing();
}
