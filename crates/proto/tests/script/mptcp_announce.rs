//! ADD_ADDR of both sides: repetition, queueing, room for options, ports (RFC 8684 §3.4.1).

use core::num::NonZeroU16;
use std::net::IpAddr;

use super::dsl::*;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{ListenOptions, Protocol, SubflowState};
use polytcp_proto::packet::InterfaceId;
use polytcp_proto::pm::command::{
    AddressId, Endpoint, EndpointFlags, FlagsTarget, PmCommand, PmError, PmEvent,
};

const PORT: u16 = 8080;

fn signal(address: IpAddr) -> Endpoint {
    Endpoint::new(address, EndpointFlags::SIGNAL)
}

fn with_port(address: IpAddr) -> Endpoint {
    Endpoint { port: NonZeroU16::new(PORT), ..signal(address) }
}

/// A server that has announced its second address with another port, and was understood.
fn announced() -> Script {
    let mut s = Script::accepted();
    s.command(&PmCommand::AddAddr(with_port(host_ip(1))));
    s.sends(ack(1, 1).add_addr(1, host_ip(1)).port(PORT));
    s.receives(ack(1, 1).echo(1, host_ip(1)).port(PORT)).sends_nothing();
    s
}

fn live(s: &Script) -> usize {
    s.host.subflows(s.id()).unwrap().iter().filter(|s| s.state != SubflowState::Closed).count()
}

fn refused(s: &mut Script, endpoint: Endpoint) -> PmError {
    let now = s.now;
    s.host.command(now, &PmCommand::AddAddr(endpoint)).expect_err("refused")
}

#[test]
fn repetitions_double_their_distance_up_to_the_sysctl() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_timeout = ms(500);
    let mut s = Script::accepted_with(config);
    s.command(&PmCommand::AddAddr(signal(host_ip(1))));
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    let first = s.until_sent(secs(5)).expect("it is repeated");
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    let second = s.until_sent(secs(5)).expect("it is repeated");
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    let third = s.until_sent(secs(5)).expect("it is repeated");
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    assert!(first < ms(250), "the timeout of the subflow: {first:?}");
    assert_eq!(second, first * 2);
    assert_eq!(third, ms(500));
    s.after(secs(100)).sends_nothing();
}

#[test]
fn without_a_timeout_nothing_is_repeated_and_the_next_address_waits_for_the_echo() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_timeout = secs(0);
    let mut s = Script::accepted_with(config);
    s.command(&PmCommand::AddAddr(signal(host_ip(1))));
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    s.command(&PmCommand::AddAddr(signal(host_ip(2))));
    s.sends_nothing().after(secs(1000)).sends_nothing();
    s.receives(ack(1, 1).echo(1, host_ip(1))).sends(ack(1, 1).add_addr(2, host_ip(2)));
}

#[test]
fn several_addresses_go_one_after_another() {
    let mut s = Script::accepted();
    s.command(&PmCommand::AddAddr(signal(host_ip(1))));
    s.command(&PmCommand::AddAddr(signal(host_ip(2))));
    s.sends(ack(1, 1).add_addr(1, host_ip(1))).sends_nothing();
    s.receives(ack(1, 1).echo(1, host_ip(1))).sends(ack(1, 1).add_addr(2, host_ip(2)));
    s.receives(ack(1, 1).echo(2, host_ip(2))).after(secs(300)).sends_nothing();
    assert_eq!((s.count("AddAddrTx"), s.count("EchoAdd")), (2, 2));
}

/// An echo of another address ends no wait.
#[test]
fn only_its_own_echo_ends_the_repetitions() {
    let mut s = Script::accepted();
    s.command(&PmCommand::AddAddr(signal(host_ip(1))));
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
    s.receives(ack(1, 1).echo(5, host_ip(1))).sends_nothing();
    s.until_sent(secs(5)).expect("it is repeated");
    s.sends(ack(1, 1).add_addr(1, host_ip(1)));
}

fn with_timestamps() -> Script {
    let mut s = Script::listening();
    s.receives(syn().mss(1460).sack_ok().wscale(7).ts().mpc()).sends(syn_ack().ts().mpc());
    s.receives(ack(1, 1).mpc()).accepts().sends_nothing();
    let now = s.now;
    s.host.add_address(now, InterfaceId(1), "fd00::1/64".parse().unwrap());
    s
}

#[test]
fn an_ipv6_address_fits_beside_timestamps() {
    let mut s = with_timestamps();
    let address: IpAddr = "fd00::1".parse().unwrap();
    s.command(&PmCommand::AddAddr(signal(address)));
    s.sends(ack(1, 1).ts().add_addr(1, address));
}

/// 30 octets and 12 are more than 40: as Linux it is left out and counted, each time.
#[test]
fn an_ipv6_address_with_port_does_not_fit_beside_timestamps() {
    let mut s = with_timestamps();
    s.command(&PmCommand::AddAddr(with_port("fd00::1".parse().unwrap())));
    s.idles(secs(100));
    assert_eq!((s.count("AddAddrTx"), s.count("AddAddrTxDrop")), (0, 4));
}

#[test]
fn an_ipv6_address_with_port_goes_without_timestamps() {
    let mut s = Script::accepted();
    let now = s.now;
    let address: IpAddr = "fd00::1".parse().unwrap();
    s.host.add_address(now, InterfaceId(1), "fd00::1/64".parse().unwrap());
    s.command(&PmCommand::AddAddr(with_port(address)));
    s.sends(ack(1, 1).add_addr(1, address).port(PORT));
}

#[test]
fn a_join_at_an_announced_port_is_accepted() {
    let mut s = announced();
    let sf = s.add_line_at(1, PORT, 2000);
    s.receives(syn().on(sf).mss(1460).sack_ok().wscale(7).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
    s.receives(ack(1, 1).on(sf).join_ack()).sends(ack(1, 1).on(sf).dack(1)).sends_nothing();
    assert_eq!(live(&s), 2);
    assert_eq!((s.count("MPJoinPortSynRx"), s.count("MPJoinPortAckRx")), (1, 1));
    assert_eq!((s.count("MismatchPortSynRx"), s.count("MismatchPortAckRx")), (0, 0));
    s.receives(data(1, 1, b"hello").on(sf).map(1)).sends(ack(1, 6).on(sf).dack(6)).reads(b"hello");
}

#[test]
fn a_join_at_a_port_that_was_not_announced_is_refused() {
    let mut s = Script::accepted();
    // Added while the first announcement waits for its echo: not announced yet.
    s.command(&PmCommand::AddAddr(signal(host_ip(2)))).sends(ack(1, 1).add_addr(1, host_ip(2)));
    s.command(&PmCommand::AddAddr(with_port(host_ip(1)))).sends_nothing();
    let sf = s.add_line_at(1, PORT, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(rst_ack(0, 1).on(sf).tcprst(3));
    assert_eq!((s.count("MPJoinPortSynRx"), s.count("MismatchPortSynRx")), (1, 1));
}

#[test]
fn a_port_withdrawn_between_syn_and_third_ack_is_refused() {
    let mut s = announced();
    let sf = s.add_line_at(1, PORT, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
    s.command(&PmCommand::DelAddr { id: AddressId(1), address: None });
    s.sends(ack(1, 1).remove_addr(&[1]));
    s.receives(ack(1, 1).on(sf).join_ack()).sends(rst(1).on(sf).tcprst(3));
    assert_eq!((s.count("MPJoinPortAckRx"), s.count("MismatchPortAckRx")), (0, 1));
}

#[test]
fn the_port_of_an_endpoint_takes_joins_only() {
    let mut s = announced();
    let plain = s.add_line_at(1, PORT, 3000);
    s.receives(syn().on(plain).mss(1460)).sends(rst_ack(0, 1).on(plain).tcprst(3));
    let capable = s.add_line_at(1, PORT, 3001);
    s.receives(syn().on(capable).mss(1460).mpc()).sends(rst_ack(0, 1).on(capable).tcprst(3));
    assert_eq!(s.count("MPCapableEndpAttempt"), 2);
}

#[test]
fn the_listener_goes_with_its_endpoint() {
    let mut s = announced();
    assert_eq!(s.host.accounting().listeners, 2);
    s.command(&PmCommand::DelAddr { id: AddressId(1), address: None });
    s.sends(ack(1, 1).remove_addr(&[1]));
    assert_eq!(s.host.accounting().listeners, 1);
    let sf = s.add_line_at(1, PORT, 3000);
    s.receives(syn().on(sf).mss(1460)).sends(rst_ack(0, 1).on(sf).plain());
    s.command(&PmCommand::AddAddr(with_port(host_ip(1))));
    s.sends(ack(1, 1).add_addr(2, host_ip(1)).port(PORT));
    s.command(&PmCommand::FlushAddrs).sends(ack(1, 1).remove_addr(&[2]));
    assert_eq!(s.host.accounting().listeners, 1);
}

#[test]
fn an_endpoint_whose_port_cannot_be_listened_at_is_refused() {
    let mut s = Script::listening();
    assert_eq!(refused(&mut s, with_port("10.9.9.9".parse().unwrap())).errno, 99);
    let taken = Endpoint { port: NonZeroU16::new(80), ..signal(host_ip(1)) };
    assert_eq!(refused(&mut s, taken).errno, 98);
    assert_eq!(s.host.accounting().listeners, 1);
    // Neither stays in the list.
    s.command(&PmCommand::AddAddr(signal(host_ip(1))));
}

#[test]
fn an_address_announced_with_a_port_is_joined_at_that_port() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_accepted = 2;
    let mut s = Script::connected_with(config);
    s.receives(ack(1, 1).add_addr(7, peer_ip(2)).port(PORT));
    s.sends(ack(1, 1).echo(7, peer_ip(2)).port(PORT)).sends(syn().on(1).any_join_syn()).sends_nothing();
    assert_eq!(s.peer_of(1), (peer_ip(2), PORT).into());
    s.receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack());
    s.sends(ack(1, 1).on(1).join_ack());
    assert_eq!((s.count("PortAdd"), s.count("MPJoinPortSynAckRx")), (1, 1));
}

/// The initial address with another port is an address of its own.
#[test]
fn the_initial_address_may_be_announced_with_another_port() {
    let mut s = Script::accepted();
    s.command(&PmCommand::AddAddr(with_port(host_ip(0))));
    s.sends(ack(1, 1).add_addr(1, host_ip(0)).port(PORT));
    s.receives(ack(1, 1).echo(1, host_ip(0)).port(PORT)).sends_nothing();
    let sf = s.add_line_at(0, PORT, 2000);
    s.receives(syn().on(sf).mss(1460).join_syn(1)).sends(syn_ack().on(sf).join_syn_ack());
}

/// As Linux: what is announced of it is the identifier 0, also in repetitions.
#[test]
fn the_initial_address_is_announced_again_as_0() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.command(&PmCommand::AddAddr(signal(host_ip(0)))).sends(ack(1, 1).add_addr(0, host_ip(0)));
    s.until_sent(secs(5)).expect("it is repeated");
    s.sends(ack(1, 1).add_addr(0, host_ip(0)));
    s.receives(ack(1, 1).echo(0, host_ip(0))).after(secs(100)).sends_nothing();
    s.command(&PmCommand::DelAddr { id: AddressId(2), address: None });
    s.sends(fin(1, 1).on(0)).sends(ack(1, 1).on(1).dack(1).remove_addr(&[0]));
    s.receives(fin(1, 2).on(0)).sends_any();
    s.command(&PmCommand::AddAddr(signal(host_ip(0)))).sends(ack(1, 1).on(1).add_addr(0, host_ip(0)));
}

/// The peer withdraws its initial address and announces it again: it is joined, and no limit counts it.
#[test]
fn an_initial_address_that_comes_back_is_joined() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_accepted = 1;
    config.mptcp.subflows = 8;
    let mut s = Script::connected_with(config);
    s.receives(ack(1, 1).add_addr(7, peer_ip(2))).sends(ack(1, 1).echo(7, peer_ip(2)));
    s.sends(syn().on(1).any_join_syn());
    s.receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack_of(7))
        .sends(ack(1, 1).on(1).join_ack());
    s.receives(ack(1, 1).on(1).dack(1)).sends_nothing();
    // It has a subflow: there is nothing to join.
    s.receives(ack(1, 1).on(1).add_addr(0, peer_ip(0))).sends(ack(1, 1).on(1).echo(0, peer_ip(0)));
    s.sends_nothing();
    s.receives(ack(1, 1).on(1).dack(1).remove_addr(&[0])).sends(fin(1, 1).on(0));
    // Neither another address of that identifier, nor another port of the address.
    s.receives(ack(1, 1).on(1).add_addr(0, peer_ip(1))).sends(ack(1, 1).on(1).echo(0, peer_ip(1)));
    s.receives(ack(1, 1).on(1).add_addr(0, peer_ip(0)).port(PORT));
    s.sends(ack(1, 1).on(1).echo(0, peer_ip(0)).port(PORT)).sends_nothing();
    s.receives(ack(1, 1).on(1).add_addr(0, peer_ip(0))).sends(ack(1, 1).on(1).echo(0, peer_ip(0)));
    s.sends(syn().on(2).any_join_syn()).sends_nothing();
    assert_eq!(s.peer_of(2), s.peer_of(0));
    assert_eq!((s.count("AddAddr"), s.count("MPJoinSynTx")), (5, 2));
}

/// As Linux: port 0 is none.
#[test]
fn an_address_announced_with_port_0_is_joined_at_the_initial_port() {
    let mut config = HostConfig::default();
    config.mptcp.add_addr_accepted = 2;
    let mut s = Script::connected_with(config);
    s.receives(ack(1, 1).add_addr(7, peer_ip(2)).port(0));
    s.sends(ack(1, 1).echo(7, peer_ip(2))).sends(syn().on(1).any_join_syn()).sends_nothing();
    assert_eq!(s.peer_of(1).port(), s.peer_of(0).port());
    assert_eq!((s.count("AddAddr"), s.count("PortAdd")), (1, 0));
}

/// Nothing leaves while the commands come: more signals than a subflow holds are dropped and counted.
#[test]
fn signals_that_find_no_room_are_counted() {
    let mut s = Script::accepted();
    let now = s.now;
    let initial = FlagsTarget::Address { address: host_ip(0), port: None };
    let mut command = |command| s.host.command(now, &command).expect("accepted");
    command(PmCommand::AddAddr(Endpoint::new(host_ip(0), EndpointFlags::SUBFLOW)));
    for round in 0..20 {
        let flags = if round % 2 == 0 { EndpointFlags::BACKUP } else { EndpointFlags::NONE };
        command(PmCommand::SetFlags { target: initial, flags });
    }
    command(PmCommand::AddAddr(signal(host_ip(1))));
    command(PmCommand::DelAddr { id: AddressId(2), address: None });
    s.receives(ack(1, 1).add_addr(7, peer_ip(2))).ignores();
    assert_eq!(["AddAddrTxDrop", "RmAddrTxDrop", "EchoAddTxDrop"].map(|name| s.count(name)), [1; 3]);
}

#[test]
fn addresses_withdrawn_together_go_in_one_list() {
    let mut s = Script::accepted();
    for path in [1, 2] {
        s.command(&PmCommand::AddAddr(signal(host_ip(path))));
        s.sends(ack(1, 1).add_addr(path as u8, host_ip(path)));
        s.receives(ack(1, 1).echo(path as u8, host_ip(path))).sends_nothing();
    }
    s.command(&PmCommand::FlushAddrs).sends(ack(1, 1).dack(1).remove_addr(&[1, 2])).sends_nothing();
    assert_eq!(s.count("RmAddrTx"), 2);
}

#[test]
fn a_list_of_withdrawn_addresses_closes_the_subflows_of_all() {
    let mut s = Script::accepted();
    s.joined_by_peer(1).joined_by_peer(2);
    s.receives(ack(1, 1).dack(1).remove_addr(&[1, 2]));
    s.sends(fin(1, 1).on(1)).sends(fin(1, 1).on(2)).sends_nothing();
    assert_eq!(s.count("RmAddr"), 2);
}

/// 0 is the address of the initial subflow.
#[test]
fn the_initial_address_can_be_withdrawn_by_either_side() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).on(1).dack(1).remove_addr(&[0])).sends(fin(1, 1).on(0)).sends_nothing();
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.command(&PmCommand::DelAddr { id: AddressId(0), address: Some(host_ip(0)) });
    s.sends(fin(1, 1).on(0)).sends(ack(1, 1).on(1).dack(1).remove_addr(&[0])).sends_nothing();
}

/// Its third ACK may have lost its options, and the peer has fallen back.
#[test]
fn an_initial_address_withdrawn_before_the_peer_has_shown_mptcp_does_not_end_the_stream() {
    let mut s = Script::connecting_with(config(), polytcp_proto::host::Protocol::Mptcp);
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).mpc());
    s.command(&PmCommand::DelAddr { id: AddressId(0), address: Some(host_ip(0)) });
    s.sends(rst_ack(1, 1).tcprst(0)).sends_nothing();
}

#[test]
fn a_changed_backup_flag_is_told_and_told_back() {
    let mut s = Script::connected();
    s.command(&PmCommand::AddAddr(Endpoint::new(host_ip(1), EndpointFlags::SUBFLOW)));
    s.sends(syn().on(1).any_join_syn());
    s.receives(syn_ack().on(1).mss(1460).sack_ok().wscale(7).join_syn_ack());
    s.sends(ack(1, 1).on(1).join_ack()).receives(ack(1, 1).on(1).dack(1)).sends_nothing();
    let target = FlagsTarget::Id(AddressId(1));
    s.command(&PmCommand::SetFlags { target, flags: EndpointFlags::BACKUP });
    s.sends(ack(1, 1).on(1).dack(1).prio(true)).sends_nothing();
    s.command(&PmCommand::SetFlags { target, flags: EndpointFlags::NONE });
    s.sends(ack(1, 1).on(1).dack(1).prio(false)).sends_nothing();
    assert_eq!(s.count("MPPrioTx"), 2);
}

#[test]
fn data_avoids_a_subflow_that_the_peer_made_a_backup() {
    let mut s = Script::accepted();
    s.joined_by_peer(1);
    s.receives(ack(1, 1).dack(1)).nodelay();
    s.receives(ack(1, 1).on(0).dack(1).prio(true)).writes(b"hello").sends(data(1, 1, b"hello").on(1).map(1));
    s.receives(ack(1, 6).on(1).dack(6));
    s.receives(ack(1, 1).on(0).dack(6).prio(false)).receives(ack(1, 6).on(1).dack(6).prio(true));
    s.writes(b"again").sends(data(1, 1, b"again").on(0).map(6));
    assert_eq!(s.count("MPPrioRx"), 3);
}

#[test]
fn a_client_takes_no_join_before_it_is_confirmed() {
    let mut s = Script::connecting();
    s.host.listen(&ListenOptions::new((host_ip(1), 5000).into())).unwrap();
    s.sends(syn().mpc());
    s.receives(syn_ack().mss(1460).sack_ok().wscale(7).mpc()).sends(ack(1, 1).mpc());
    let early = s.add_line_at(1, 5000, 2000);
    s.receives(syn().on(early).mss(1460).join_syn(1)).sends(rst_ack(0, 1).on(early).tcprst(1));
    s.receives(ack(1, 1).dack(1)).sends_nothing();
    let late = s.add_line_at(1, 5000, 2001);
    s.receives(syn().on(late).mss(1460).join_syn(1)).sends(syn_ack().on(late).join_syn_ack());
}

/// As Linux's `MPTCP_EVENT_LISTENER_CREATED` and `MPTCP_EVENT_LISTENER_CLOSED`.
#[test]
fn listeners_are_told_to_the_path_managers_clients_when_they_are_mptcp() {
    let mut s = Script::new(config());
    let now = s.now;
    let open = |s: &mut Script, local: &str, protocol| {
        let options = ListenOptions { protocol, ..ListenOptions::new(local.parse().unwrap()) };
        s.host.listen(&options).expect("free")
    };
    let events = |s: &mut Script| std::iter::from_fn(|| s.host.poll_pm_event()).collect::<Vec<_>>();
    let any = open(&mut s, "0.0.0.0:80", Protocol::Mptcp);
    let plain = open(&mut s, "10.0.0.1:81", Protocol::Tcp);
    assert_eq!(events(&mut s), [PmEvent::ListenerCreated { local: "0.0.0.0:80".parse().unwrap() }]);
    s.host.close_listener(now, plain);
    assert_eq!(events(&mut s), []);
    s.host.close_listener(now, any);
    s.host.close_listener(now, any);
    assert_eq!(events(&mut s), [PmEvent::ListenerClosed { local: "0.0.0.0:80".parse().unwrap() }]);
    // A port of the system's choice is told as it came out.
    let chosen = open(&mut s, "10.0.1.1:0", Protocol::Mptcp);
    let local = s.host.listener_addr(chosen).expect("open");
    assert_eq!(events(&mut s), [PmEvent::ListenerCreated { local }]);
    // The listener of an endpoint with a port is one as well.
    let local = std::net::SocketAddr::new(host_ip(2), PORT);
    s.host.command(now, &PmCommand::AddAddr(with_port(host_ip(2)))).expect("free");
    assert_eq!(events(&mut s), [PmEvent::ListenerCreated { local }]);
    s.host.command(now, &PmCommand::FlushAddrs).expect("always");
    assert_eq!(events(&mut s), [PmEvent::ListenerClosed { local }]);
}
