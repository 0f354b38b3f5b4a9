//! Two kernels against each other: what the lab offers, judged without a stack.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use polytcp_io::{Direction, LinkConfig};
use polytcp_lab::pair::BridgedPath;
use polytcp_lab::{KernelListener, KernelPair, KernelStream, Protocol, require_or_skip};
use polytcp_proto::pm::command::{PmEvent, Side};

const PORT: u16 = 5001;
const WAIT: Duration = Duration::from_secs(20);

/// Two ends, with the listener that joins need.
fn connected(
    pair: &KernelPair,
    to: SocketAddr,
    protocol: Protocol,
) -> (KernelStream, KernelStream, KernelListener) {
    let listener = pair.server.listen(to, protocol).expect("listen");
    listener.set_congestion("reno").expect("every kernel has reno");
    let client = pair.client.connect(None, to, protocol, Some("cubic")).expect("connect");
    let server = listener.accept_within(WAIT).expect("accept");
    assert_eq!(client.congestion().expect("TCP_CONGESTION"), "cubic");
    assert_eq!(server.congestion().expect("TCP_CONGESTION"), "reno");
    client.set_timeouts(Some(WAIT)).expect("timeouts");
    server.set_timeouts(Some(WAIT)).expect("timeouts");
    (client, server, listener)
}

/// Sends `len` octets from `from` to `to` and closes; true when they arrived unchanged.
fn transfer(mut from: KernelStream, to: &KernelStream, len: usize) -> bool {
    let pattern: Vec<u8> = (0..len).map(|i| (i * 31 / 7) as u8).collect();
    let expected = pattern.clone();
    let writer = std::thread::spawn(move || {
        from.write_all(&pattern).expect("write");
        from.shutdown(Shutdown::Write).expect("shutdown");
        from
    });
    let mut received = Vec::with_capacity(len);
    { to }.read_to_end(&mut received).expect("read");
    writer.join().expect("no panic");
    received == expected
}

/// Waits until both ends have `total` subflows.
fn await_subflows(ends: [&KernelStream; 2], total: u8) {
    let deadline = Instant::now() + WAIT;
    while ends.iter().any(|end| end.mptcp_info().expect("MPTCP_INFO").subflows_total != total) {
        assert!(Instant::now() < deadline, "{:?}", ends.map(KernelStream::mptcp_info));
        std::thread::yield_now();
    }
}

fn joins_over_both_paths(to: SocketAddr) {
    let pair = KernelPair::veth(2, 1500).expect("pair");
    let (client, server, _listener) = connected(&pair, to, Protocol::Mptcp);
    let mut byte = [0];
    (&client).write_all(b"x").expect("write");
    (&server).read_exact(&mut byte).expect("read");
    await_subflows([&client, &server], 2);
    let info = client.mptcp_info().expect("MPTCP_INFO");
    assert!(client.tcp_is_mptcp().expect("TCP_IS_MPTCP") && !info.is_fallback());
    assert_eq!((info.subflows, info.subflows_max, info.add_addr_accepted_max), (1, 8, 8));
    let mut locals: Vec<_> =
        client.subflows().expect("subflows").iter().map(|ends| ends.local.ip()).collect();
    locals.sort();
    let paths = [0, 1].map(|i| pair.path(i).clone());
    let expected: [IpAddr; 2] = match to {
        SocketAddr::V4(_) => paths.map(|p| p.stack_v4.into()),
        SocketAddr::V6(_) => paths.map(|p| p.stack_v6.into()),
    };
    assert_eq!(locals, expected);

    let before = pair.server.counters().expect("counters");
    assert!(transfer(client, &server, 8 << 20));
    assert!(!server.mptcp_info().expect("MPTCP_INFO").is_fallback());
    assert_eq!(server.mptcp_info().expect("MPTCP_INFO").bytes_received, (8 << 20) + 1);
    let change = pair.server.counters().expect("counters").since(&before);
    assert_eq!(change.value("MPTcpExtDSSNotMatching"), 0, "{change}");
    let total = pair.server.counters().expect("counters");
    assert_eq!(total.value("MPTcpExtMPCapableSYNRX"), 1);
    assert_eq!(total.value("MPTcpExtMPJoinAckRx"), 1);
}

#[test]
fn eight_mebibytes_pass_over_two_ipv4_paths_without_fallback() {
    if require_or_skip() {
        joins_over_both_paths(SocketAddr::new(std::net::Ipv4Addr::new(10, 0, 0, 1).into(), PORT));
    }
}

#[test]
fn eight_mebibytes_pass_over_two_ipv6_paths_without_fallback() {
    if require_or_skip() {
        joins_over_both_paths("[fd00::1]:5001".parse().expect("an address"));
    }
}

#[test]
fn a_connection_may_start_on_the_second_path() {
    if !require_or_skip() {
        return;
    }
    let pair = KernelPair::veth(2, 1500).expect("pair");
    let to = SocketAddr::new(pair.path(1).kernel_v4.into(), PORT);
    let (client, server, _listener) = connected(&pair, to, Protocol::Mptcp);
    assert_eq!(client.local_addr().expect("bound").ip(), pair.path(1).stack_v4);
    assert!(transfer(client, &server, 1 << 20));
}

#[test]
fn plain_tcp_says_that_it_is_not_mptcp() {
    if !require_or_skip() {
        return;
    }
    let pair = KernelPair::veth(1, 1500).expect("pair");
    let to = SocketAddr::new(pair.path(0).kernel_v4.into(), PORT);
    let (client, server, _listener) = connected(&pair, to, Protocol::Tcp);
    assert!(!server.tcp_is_mptcp().expect("TCP_IS_MPTCP"));
    assert!(server.mptcp_info().is_err());
    assert!(transfer(client, &server, 1 << 16));
}

#[test]
fn a_switched_off_mptcp_refuses_sockets_with_enoprotoopt() {
    if !require_or_skip() {
        return;
    }
    let pair = KernelPair::veth(1, 1500).expect("pair");
    pair.server.sysctl_set("net.mptcp.enabled", "0").expect("sysctl");
    assert_eq!(pair.server.sysctl_get("net.mptcp.enabled").expect("sysctl"), "0");
    assert_eq!(pair.client.sysctl_get("net.mptcp.enabled").expect("sysctl"), "1");
    let to = SocketAddr::new(pair.path(0).kernel_v4.into(), PORT);
    let error = pair.server.listen(to, Protocol::Mptcp).expect_err("refused");
    assert_eq!(error.raw_os_error(), Some(92));
    let error = pair.server.sysctl_set("net.mptcp.enabled", "7").expect_err("out of range");
    let expected = "setting net.mptcp.enabled to \"7\": Invalid argument (os error 22)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_server_tells_its_connections_as_events() {
    if !require_or_skip() {
        return;
    }
    let pair = KernelPair::veth(2, 1500).expect("pair");
    let mut events = pair.server.events().expect("events");
    let to = SocketAddr::new(pair.path(0).kernel_v4.into(), PORT);
    let (client, server, _listener) = connected(&pair, to, Protocol::Mptcp);
    (&client).write_all(b"x").expect("write");
    await_subflows([&client, &server], 2);
    let (mut created, mut joined) = (None, None);
    while joined.is_none() {
        match events.next(WAIT).expect("events").expect("in time") {
            PmEvent::Created(connection) => created = Some(connection),
            PmEvent::SubEstablished(subflow) => joined = Some(subflow),
            PmEvent::ListenerCreated { local } => assert_eq!(local, to),
            _ => {}
        }
    }
    let created = created.expect("before its subflow");
    let joined = joined.expect("loop ends with it");
    assert_eq!((created.local, created.side), (to, Side::Server));
    assert_eq!(created.remote, client.local_addr().expect("bound"));
    assert_eq!(created.token.0, server.mptcp_info().expect("MPTCP_INFO").token);
    assert_eq!(joined.token, created.token);
    assert_eq!(joined.remote.ip(), pair.path(1).stack_v4);
    let endpoints = pair.client.endpoints().expect("endpoints");
    let endpoint = endpoints.iter().find(|e| e.address == joined.remote.ip()).expect("listed");
    assert_eq!(endpoint.id, Some(joined.remote_id));
}

#[test]
fn two_kernels_meet_over_emulated_links_and_a_cut_path_is_survived() {
    if !require_or_skip() {
        return;
    }
    let link = || LinkConfig { delay: Duration::from_millis(5), ..LinkConfig::default() };
    let paths = (0..2).map(|index| BridgedPath::new(index, link(), link())).collect();
    let pair = KernelPair::bridged(paths, 1).expect("pair");
    let to = SocketAddr::new(pair.path(0).kernel_v4.into(), PORT);
    let started = Instant::now();
    let (client, server, _listener) = connected(&pair, to, Protocol::Mptcp);
    assert!(started.elapsed() >= Duration::from_millis(10), "a round trip of 10 ms");
    (&client).write_all(b"x").expect("write");
    (&server).read_exact(&mut [0]).expect("read");
    await_subflows([&client, &server], 2);
    let control = pair.bridge(0).expect("bridged").control();
    for direction in [Direction::Egress, Direction::Ingress] {
        control.cut(direction);
    }
    assert!(transfer(client, &server, 1 << 20));
}
