//! Ways to open a connection beyond the plain three-way handshake: SYN cookies, deferred accepts, data on the SYN.

use std::io::{Read, Write};
use std::time::Duration;

use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::{ConnectOptions, ListenOptions, SynCookies, fastopen};
use polytcp_lab::{KernelStream, Protocol, require_or_skip};

use crate::bounded::{WAIT, bounded};
use crate::transfer::{Manner, Way};
use crate::world::{Client, Family, PORT, Plan, World};

const BYTES: u64 = 4 << 20;

/// A connection with a join, each handshake by cookie, that carries data both ways.
fn by_cookies(plan: Plan) -> World {
    let world = World::new(plan);
    let ends = world.connect();
    let greeting = match world.plan.client {
        Client::Stack => Way::Upload,
        Client::Kernel => Way::Download,
    };
    world.transfer(&ends, greeting, Manner::new(1, 1));
    world.await_subflows(&ends, 2);
    world.transfer(&ends, Way::Upload, Manner::new(2, BYTES));
    world.transfer(&ends, Way::Download, Manner::new(3, BYTES));
    world.assert_sound(&ends);
    world.close(&ends, greeting);
    drop(ends);
    world
}

#[test]
fn the_kernel_connects_and_joins_by_cookies_of_the_stack() {
    if !require_or_skip() {
        return;
    }
    for family in [Family::V4, Family::V6] {
        bounded(&format!("cookies of the stack, {family:?}"), move || {
            let mut plan = Plan::bare(Client::Kernel, family, 2);
            plan.config.tcp.syncookies = SynCookies::Always;
            let world = by_cookies(plan);
            let counters = world.stack.counters();
            let count = |name| counters.get(name).expect("a counter");
            let (sent, taken) = (count("TcpExtSyncookiesSent"), count("TcpExtSyncookiesRecv"));
            assert!(sent >= 2 && taken == 2, "{sent} sent, {taken} taken\n{}", world.describe(None));
        });
    }
}

#[test]
fn the_stack_connects_and_joins_by_cookies_of_the_kernel() {
    if !require_or_skip() {
        return;
    }
    bounded("cookies of the kernel", || {
        let mut plan = Plan::bare(Client::Stack, Family::V4, 2);
        plan.sysctls.push(("net.ipv4.tcp_syncookies", "2"));
        let world = by_cookies(plan);
        let taken = world.counters().value("TcpExtSyncookiesRecv");
        assert_eq!(taken, 2, "{}", world.describe(None));
    });
}

/// One end without selective acknowledgements, or without timestamps, or without both.
#[test]
fn ends_that_lack_sack_or_timestamps_agree_on_what_is_left() {
    if !require_or_skip() {
        return;
    }
    for client in [Client::Stack, Client::Kernel] {
        for (sack, timestamps) in [(false, true), (true, false), (false, false)] {
            for of_kernel in [false, true] {
                let name = format!("{client:?}, of kernel {of_kernel}, {sack}, {timestamps}");
                bounded(&name, move || {
                    let mut plan = Plan::bare(client, Family::V4, 2);
                    if of_kernel {
                        plan.sysctls.push(("net.ipv4.tcp_sack", if sack { "1" } else { "0" }));
                        plan.sysctls.push(("net.ipv4.tcp_timestamps", if timestamps { "1" } else { "0" }));
                    } else {
                        (plan.config.tcp.sack, plan.config.tcp.timestamps) = (sack, timestamps);
                    }
                    let world = World::new(plan);
                    let ends = world.connect();
                    let greeting = match client {
                        Client::Stack => Way::Upload,
                        Client::Kernel => Way::Download,
                    };
                    world.transfer(&ends, greeting, Manner::new(1, 1));
                    world.await_subflows(&ends, 2);
                    world.transfer(&ends, Way::Upload, Manner::new(2, BYTES));
                    world.transfer(&ends, Way::Download, Manner::new(3, BYTES));
                    world.assert_sound(&ends);
                });
            }
        }
    }
}

#[test]
fn a_deferred_accept_waits_for_the_kernel_s_data() {
    if !require_or_skip() {
        return;
    }
    bounded("deferred accept", || {
        let world = World::new(Plan::bare(Client::Kernel, Family::V4, 1));
        let any = std::net::SocketAddr::from(([0, 0, 0, 0], PORT));
        let options = ListenOptions { defer_accept: Some(Duration::from_secs(5)), ..ListenOptions::new(any) };
        let listener = MptcpListener::bind_with(&world.stack, &options).expect("listen");
        let server = world.server();
        let mut client =
            world.lab.kernel().connect_within(None, server, Protocol::Mptcp, WAIT).expect("connect");
        let early = listener.accept_timeout(Duration::from_millis(200));
        assert!(early.is_err(), "accepted without data");
        client.write_all(b"hello").expect("write");
        let (stream, _) = listener.accept_timeout(WAIT).expect("accept");
        let mut text = [0; 5];
        (&stream).read_exact(&mut text).expect("read");
        assert_eq!(&text, b"hello");
        assert!(stream.info().expect("info").is_mptcp, "{}", world.describe(None));
    });
}

#[test]
fn the_stack_s_data_on_the_syn_is_taken_by_the_kernel() {
    if !require_or_skip() {
        return;
    }
    for (protocol, family) in
        [(Protocol::Mptcp, Family::V4), (Protocol::Mptcp, Family::V6), (Protocol::Tcp, Family::V4)]
    {
        bounded(&format!("fast open towards the kernel, {protocol:?}, {family:?}"), move || {
            let mut plan = Plan::bare(Client::Stack, family, 1);
            // Both sides, and every listener without asking.
            plan.sysctls.push(("net.ipv4.tcp_fastopen", "1027"));
            let world = World::new(plan);
            let listener = world.lab.listen(world.server(), protocol).expect("listen");
            let options =
                ConnectOptions { data: b"hello ".as_slice().into(), ..ConnectOptions::new(world.server()) };
            for round in 0..3 {
                let stream = MptcpStream::connect_with(&world.stack, &options).expect("connect");
                (&stream).write_all(b"world").expect("write");
                let mut kernel = listener.accept_within(WAIT).expect("accept");
                kernel.set_timeouts(Some(WAIT)).expect("timeouts");
                stream.set_read_timeout(Some(WAIT)).expect("timeout");
                let mut text = [0; 11];
                kernel.read_exact(&mut text).expect("the kernel reads");
                assert_eq!(&text, b"hello world");
                kernel.write_all(b"answer").expect("the kernel writes");
                let mut answer = [0; 6];
                (&stream).read_exact(&mut answer).expect("read");
                assert_eq!(&answer, b"answer");
                let is_mptcp = stream.info().expect("info").is_mptcp;
                assert_eq!(is_mptcp, protocol == Protocol::Mptcp, "{}", world.describe(None));
                let (ours, theirs) = (world.stack.counters(), world.counters());
                let active = ours.get("TcpExtTCPFastOpenActive").expect("a counter");
                // The first connection asks for the cookie, the others use it.
                let passive = theirs.value("TcpExtTCPFastOpenPassive");
                assert_eq!((active, passive), (round, round as i64), "{}", world.describe(None));
            }
        });
    }
}

/// `MSG_FASTOPEN` of sys/socket.h.
const MSG_FASTOPEN: i32 = 0x2000_0000;

#[test]
fn the_kernel_s_data_on_the_syn_is_taken_by_the_stack() {
    if !require_or_skip() {
        return;
    }
    for (protocol, family) in
        [(Protocol::Mptcp, Family::V4), (Protocol::Mptcp, Family::V6), (Protocol::Tcp, Family::V4)]
    {
        bounded(&format!("fast open from the kernel, {protocol:?}, {family:?}"), move || {
            let mut plan = Plan::bare(Client::Kernel, family, 1);
            plan.config.tcp.fastopen = fastopen::SERVER_ENABLE;
            let world = World::new(plan);
            let server = world.server();
            let options = ListenOptions { fast_open: 16, ..ListenOptions::new(server) };
            let listener = MptcpListener::bind_with(&world.stack, &options).expect("listen");
            for round in 0..3 {
                let socket = world.lab.kernel().socket(server, protocol).expect("a socket");
                let sent = socket.send_to_with_flags(b"hello ", &server.into(), MSG_FASTOPEN);
                assert_eq!(sent.expect("connect with data"), 6);
                let mut kernel = KernelStream::from(socket);
                kernel.set_timeouts(Some(WAIT)).expect("timeouts");
                kernel.write_all(b"world").expect("the kernel writes");
                let (stream, _) = listener.accept_timeout(WAIT).expect("accept");
                stream.set_read_timeout(Some(WAIT)).expect("timeout");
                let mut text = [0; 11];
                (&stream).read_exact(&mut text).expect("read");
                assert_eq!(&text, b"hello world");
                (&stream).write_all(b"answer").expect("write");
                let mut answer = [0; 6];
                kernel.read_exact(&mut answer).expect("the kernel reads");
                assert_eq!(&answer, b"answer");
                let is_mptcp = stream.info().expect("info").is_mptcp;
                assert_eq!(is_mptcp, protocol == Protocol::Mptcp, "{}", world.describe(None));
                let (ours, theirs) = (world.stack.counters(), world.counters());
                let passive = ours.get("TcpExtTCPFastOpenPassive").expect("a counter");
                let active = theirs.value("TcpExtTCPFastOpenActive");
                assert_eq!((passive, active), (round, round as i64), "{}", world.describe(None));
            }
        });
    }
}
