//! Further subflows: MP_JOIN both ways, ADD_ADDR, REMOVE_ADDR, MP_PRIO (RFC 8684 §3.2, §3.3.8, §3.4).

use super::dsl::*;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::SubflowState;
use polytcp_proto::pm::command::{Endpoint, EndpointFlags, PmCommand};

fn joining() -> Script {
    let mut s = Script::connected();
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    s.sends(syn().on(1).any_join_syn());
    s
}

fn subflows(s: &Script) -> usize {
    s.host.subflows(s.id()).unwrap().iter().filter(|s| s.state != SubflowState::Closed).count()
}

#[test]
fn a_join_with_the_right_hmac_is_accepted() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    assert_eq!(subflows(&s), 2);
    s.receives(data(1, 1, b"hello").on(1).map(1)).sends(ack(1, 6).on(1).dack(6)).reads(b"hello");
}

#[test]
fn a_join_with_a_wrong_hmac_is_reset_as_prohibited() {
    let mut s = Script::accepted();
    let sf = s.add_line(1, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
    s.receives(ack(1, 1).on(sf).join_ack_wrong()).sends(rst(1).on(sf).tcprst(3));
    assert_eq!(subflows(&s), 1);
    assert_eq!(s.host.counters().get("MPTcpExtMPJoinAckHMacFailure"), Some(1));
    assert_eq!(s.host.accounting().half_open, 0);
}

#[test]
fn a_join_for_an_unknown_token_is_reset() {
    let mut s = Script::accepted();
    let sf = s.add_line(1, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn_unknown_token(1)).sends(rst_ack(0, 1).on(sf).tcprst(1));
    assert_eq!(s.host.counters().get("MPTcpExtMPJoinNoTokenFound"), Some(1));
}

#[test]
fn a_third_ack_of_a_join_without_hmac_is_reset() {
    let mut s = Script::accepted();
    let sf = s.add_line(1, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
    s.receives(ack(1, 1).on(sf)).sends(rst(1).on(sf).any_tcprst());
    assert_eq!(subflows(&s), 1);
}

#[test]
fn joins_beyond_the_limit_are_reset() {
    let mut s = Script::accepted();
    s.joined_by_peer(1).joined_by_peer(2);
    let sf = s.add_line(1, 3000);
    s.receives(syn().on(sf).mss(1460).join_syn(5)).sends(syn_ack().on(sf).join_syn_ack());
    s.receives(ack(1, 1).on(sf).join_ack()).sends(rst(1).on(sf).any_tcprst());
    assert_eq!(subflows(&s), 3);
}

#[test]
fn a_join_to_a_connection_that_fell_back_is_reset() {
    let mut s = Script::accepted();
    s.receives(data(1, 1, b"plain")).sends(ack(1, 6).plain());
    let sf = s.add_line(1, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(rst_ack(0, 1).on(sf).any_tcprst());
}

#[test]
fn a_join_whose_connection_went_meanwhile_is_reset() {
    let mut s = Script::accepted();
    let sf = s.add_line(1, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
    s.aborts().sends_any();
    s.receives(ack(1, 1).on(sf).join_ack()).sends(rst(1).on(sf).any_tcprst());
    assert_eq!(s.host.accounting().connections, 0);
}

#[test]
fn a_client_joins_and_repeats_its_third_ack_until_the_fourth() {
    let mut s = joining();
    s.after(ms(50)).receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack());
    s.sends(ack(1, 1).on(1).join_ack());
    for wait in [200, 200, 200] {
        assert_eq!(s.until_sent(secs(2)), Some(ms(wait)), "it is repeated");
        s.sends(ack(1, 1).on(1).join_ack());
    }
    s.receives(ack(1, 1).on(1).dack(1)).after(secs(10)).sends_nothing();
    assert_eq!(s.host.subflows(s.id()).unwrap()[1].state, SubflowState::Established);
}

#[test]
fn a_client_sends_no_data_on_a_join_before_the_fourth_ack() {
    let mut s = joining();
    s.receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack())
        .sends(ack(1, 1).on(1).join_ack());
    s.nodelay();
    s.writes_bulk(0, 1400).sends(bulk(1, 1, 1400).map(1));
    s.writes_bulk(1400, 1400);
    s.until_sent(ms(10));
    s.sends(bulk(1401, 1, 1400).map(1401)).sends_nothing();
}

#[test]
fn a_syn_ack_with_a_wrong_hmac_is_reset() {
    let mut s = joining();
    s.receives(syn_ack().on(1).mss(1460).join_syn_ack_wrong()).sends(rst_ack(1, 1).on(1).any_tcprst());
    assert_eq!(subflows(&s), 1);
}

#[test]
fn a_syn_ack_without_mp_join_is_reset() {
    let mut s = joining();
    s.receives(syn_ack().on(1).mss(1460)).sends(rst_ack(1, 1).on(1).any_tcprst());
    assert_eq!(subflows(&s), 1);
    s.writes(b"alive").sends(data(1, 1, b"alive").map(1));
}

#[test]
fn a_refused_join_leaves_the_connection_alone() {
    let mut s = joining();
    s.receives(rst_ack(0, 1).on(1).tcprst(3)).sends_nothing();
    assert_eq!(subflows(&s), 1);
    assert!(!s.host.readiness(s.id()).error);
}

#[test]
fn unreachable_ends_a_join_and_not_the_connection() {
    let mut s = joining();
    s.receives_icmp(1, 3, 1, 0, 0).sends_nothing();
    assert_eq!(subflows(&s), 1);
    assert!(!s.host.readiness(s.id()).error);
}

#[test]
fn an_announced_address_is_echoed_and_joined() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_accepted = 2;
    let mut s = Script::connected_with(config);
    s.receives(ack(1, 1).add_addr(7, peer_ip(2)));
    s.sends(ack(1, 1).echo(7, peer_ip(2))).sends(syn().on(1).any_join_syn()).sends_nothing();
}

#[test]
fn an_announced_address_is_echoed_although_the_limit_forbids_its_use() {
    let mut s = Script::connected();
    s.receives(ack(1, 1).add_addr(7, peer_ip(2))).sends(ack(1, 1).echo(7, peer_ip(2))).sends_nothing();
}

#[test]
fn an_announcement_with_a_wrong_hmac_is_ignored() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_accepted = 2;
    let mut s = Script::connected_with(config);
    s.receives(ack(1, 1).add_addr_wrong(7, peer_ip(2))).sends_nothing().after(secs(5)).sends_nothing();
    assert_eq!(subflows(&s), 1);
}

#[test]
fn our_announcement_is_repeated_until_it_is_echoed() {
    let mut s = Script::accepted();
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SIGNAL)));
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    s.until_sent(secs(5)).expect("it is repeated");
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    s.receives(ack(1, 1).echo(1, host_ip(1))).after(secs(300)).sends_nothing();
}

#[test]
fn our_announcement_is_given_up_after_three_repetitions() {
    let mut s = Script::accepted();
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SIGNAL)));
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    assert_eq!(s.idles(secs(600)), 3);
}

#[test]
fn a_withdrawn_address_closes_its_subflow() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1).remove_addr(&[1]));
    s.sends(fin(1, 1).on(1));
    s.receives(fin(1, 2).on(1)).sends(ack(2, 2).on(1));
    assert_eq!(subflows(&s), 1);
    s.receives(data(1, 1, b"hello").map(1)).sends(ack(1, 6).dack(6)).reads(b"hello");
}

/// Its third ACK was held up on a path that did not work; data would go to an address that is gone.
#[test]
fn a_join_whose_address_is_withdrawn_before_its_third_ack_is_reset_and_a_new_one_is_not() {
    let mut s = Script::accepted();
    let sf = s.add_line(1, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
    s.receives(ack(1, 1).dack(1).remove_addr(&[1])).sends_nothing();
    s.receives(ack(1, 1).on(sf).join_ack()).sends(rst(1).on(sf).tcprst(3));
    assert_eq!(subflows(&s), 1);
    s.joined_by_peer(1);
    assert_eq!(subflows(&s), 2);
}

#[test]
fn a_withdrawal_of_an_unknown_address_does_nothing() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1).remove_addr(&[9, 200])).sends_nothing();
    assert_eq!(subflows(&s), 2);
}

#[test]
fn removing_an_endpoint_tells_the_peer_and_closes_its_subflow() {
    let mut s = joining();
    s.receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack())
        .sends(ack(1, 1).on(1).join_ack());
    s.receives(ack(1, 1).on(1).dack(1)).sends_nothing();
    s.command(&PmCommand::DelAddr { id: polytcp_proto::pm::command::AddressId(1), address: None });
    s.sends(ack(1, 1).dack(1).remove_addr(&[1])).sends(fin(1, 1).on(1));
}

/// RFC 8684 §3.2: flag B of the SYN and of the SYN/ACK.
#[test]
fn a_join_may_ask_for_backup_from_its_first_segment_on() {
    let mut s = Script::accepted();
    let sf = s.add_line(1, 2001);
    s.receives(syn().on(sf).mss(1460).sack_ok().wscale(7).join_syn(1).backup());
    s.sends(syn_ack().on(sf).join_syn_ack()).receives(ack(1, 1).on(sf).join_ack());
    s.sends(ack(1, 1).on(sf).dack(1));
    assert!(s.host.subflows(s.id()).unwrap()[1].backup);
    assert_eq!((s.count("MPJoinSynBackupRx"), s.count("MPJoinSynAckBackupRx")), (1, 0));
    let mut s = Script::connected();
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    s.sends(syn().on(1).any_join_syn());
    s.receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack().backup());
    s.sends(ack(1, 1).on(1).join_ack());
    assert!(s.host.subflows(s.id()).unwrap()[1].backup);
    assert_eq!((s.count("MPJoinSynBackupRx"), s.count("MPJoinSynAckBackupRx")), (0, 1));
}

#[test]
fn mp_prio_makes_a_subflow_a_backup_and_back() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).on(1).dack(1).prio(true)).sends_nothing();
    assert!(s.host.subflows(s.id()).unwrap()[1].backup);
    s.receives(ack(1, 1).on(1).dack(1).prio(false)).sends_nothing();
    assert!(!s.host.subflows(s.id()).unwrap()[1].backup);
}

#[test]
fn a_subflow_that_is_reset_leaves_its_data_to_the_other() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.nodelay();
    s.writes(b"hello");
    let on = s.sent_on();
    s.sends_any();
    s.receives(rst(1).on(on)).sends(data(1, 1, b"hello").on(1 - on).map(1));
    s.receives(ack(1, 6).on(1 - on).dack(6)).after(secs(5)).sends_nothing();
}

#[test]
fn a_connection_without_subflows_ends_after_a_minute() {
    let mut s = Script::accepted();
    s.receives(rst(1)).after(secs(59)).sends_nothing();
    assert!(!s.host.readiness(s.id()).error);
    s.after(secs(1)).sends_nothing();
    assert!(s.host.readiness(s.id()).error);
}

#[test]
fn a_connection_without_subflows_can_be_joined() {
    let mut s = Script::accepted();
    s.receives(rst(1)).after(secs(30)).joined_by_peer(1);
    s.after(secs(100)).sends_nothing();
    s.receives(data(1, 1, b"hello").on(1).map(1)).sends(ack(1, 6).on(1).dack(6)).reads(b"hello");
}

fn signalling(mut s: Script) -> Script {
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SIGNAL)));
    s
}

#[test]
fn a_client_with_an_address_to_announce_does_not_send_without_end() {
    let mut s = Script::new(config());
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SIGNAL)));
    s.connect(polytcp_proto::host::Protocol::Mptcp, 5000).sends(syn().mpc());
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc());
    assert!(s.ignores() <= 3);
}

#[test]
fn an_announcement_pending_at_fallback_does_not_send_without_end() {
    let mut s = signalling(Script::listening());
    s.receives(syn().mss(1460).sack_ok().wscale(7).mpc()).sends(syn_ack().mpc());
    s.receives(ack(1, 1).mpc()).accepts();
    assert!(s.ignores() <= 3);
    // A middlebox begins to strip options.
    s.receives(data(1, 1, b"plain")).reads(b"plain");
    assert!(!s.is_mptcp());
    assert!(s.idles(secs(10)) <= 3);
}

#[test]
fn a_join_whose_third_ack_is_never_answered_is_given_up() {
    let mut s = Script::connected();
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    s.sends(syn().on(1).any_join_syn());
    s.receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack())
        .sends(ack(1, 1).on(1).join_ack());
    s.idles(secs(3600));
    assert_eq!(subflows(&s), 1, "after an hour");
}

#[test]
fn an_address_withdrawn_before_an_infinite_mapping_queues_nothing_behind_fin() {
    use polytcp_wire::mptcp::{Dss, DssDsn, DssMapping, MptcpOption};
    let mut s = Script::accepted();
    let dsn = DssDsn::Eight((s.keys().1.idsn() + 1).0);
    let infinite = Dss {
        data_fin: false,
        data_ack: None,
        mapping: Some(DssMapping { dsn, ssn: 1, len: 0, checksum: None }),
    };
    s.receives(ack(1, 1).window(0).dack(1)).sends_nothing();
    s.receives(ack(1, 1).window(0).remove_addr(&[0]).option(MptcpOption::Dss(infinite)));
    s.ignores();
    s.writes_bulk(0, 1000);
    s.ignores();
    // Our FIN is acknowledged, the window stays shut.
    s.receives(ack(1, 2).window(0));
    s.idles(secs(5));
}

#[test]
fn an_address_withdrawn_while_its_join_runs_ends_the_join() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_accepted = 2;
    let mut s = Script::connected_with(config);
    s.receives(ack(1, 1).add_addr(7, peer_ip(2)));
    s.sends(ack(1, 1).echo(7, peer_ip(2))).sends(syn().on(1).any_join_syn());
    s.receives(ack(1, 1).dack(1).remove_addr(&[7]));
    s.ignores();
    let later = s.idles(secs(5));
    assert_eq!(later, 0, "SYNs to an address that was withdrawn");
}

#[test]
fn no_join_goes_to_an_address_that_names_no_single_host() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_accepted = 8;
    config.mptcp.subflows = 8;
    let mut s = Script::connected_with(config);
    for (id, address) in
        ["224.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.0.1", "127.0.0.1"].iter().enumerate()
    {
        let id = id as u8 + 1;
        s.receives(ack(1, 1).add_addr(id, address.parse().unwrap()));
        s.sends(ack(1, 1).echo(id, address.parse().unwrap())).sends_nothing();
    }
}

#[test]
fn of_closed_subflows_the_latest_eight_are_told_and_all_are_summed() {
    let mut s = Script::accepted();
    for port in 3000..3010 {
        let sf = s.add_line(1, port);
        s.receives(syn().on(sf).mss(1460).wscale(7).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
        s.receives(ack(1, 1).on(sf).join_ack()).sends(ack(1, 1).on(sf).dack(1));
        s.receives(rst(1).on(sf)).sends_nothing();
    }
    let infos = s.host.subflows(s.id()).unwrap();
    let closed: Vec<u16> =
        infos.iter().filter(|s| s.state == SubflowState::Closed).map(|s| s.remote.port()).collect();
    assert_eq!(closed, (3002..3010).collect::<Vec<_>>());
    assert_eq!(s.host.info(s.id()).unwrap().closed_subflows.count, 10);
}
