//! The client against the kernel, each test in a network namespace of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::time::Duration;

use polytcp_control::{ControlError, Events, KernelClient};
use polytcp_proto::pm::command::{
    AddressId, Endpoint, EndpointFlags, FlagsTarget, PmCommand, PmEvent, PmReply, Side,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use socket2::{Domain, Protocol, Socket, Type};

const WAIT: Duration = Duration::from_secs(10);

/// Runs a test on a thread with a fresh network namespace.
fn in_fresh_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        // SAFETY: only the network namespace of this thread changes, which ends with the test.
        if let Err(error) = unsafe { unshare_unsafe(UnshareFlags::NEWNET) } {
            let required = std::env::var_os("POLYTCP_REQUIRE_LAB").is_some_and(|v| v == "1");
            assert!(!required, "POLYTCP_REQUIRE_LAB=1, but there is no namespace: {error}");
            eprintln!("SKIPPED: lab: creating a network namespace: {error}");
            return;
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn client() -> KernelClient {
    KernelClient::open().expect("the kernel has MPTCP")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The kernel's list, which must be one.
fn dump(client: &mut KernelClient) -> Vec<Endpoint> {
    match client.command(&PmCommand::DumpAddr { token: None }).expect("dump") {
        PmReply::Endpoints(list) => list,
        other => panic!("{other:?}"),
    }
}

/// What a refused command says.
fn refusal(client: &mut KernelClient, command: &PmCommand) -> (i32, String) {
    match client.command(command) {
        Err(ControlError::Refused(error)) => (error.errno, error.text.into_owned()),
        other => panic!("{command:?}: {other:?}"),
    }
}

#[test]
fn endpoints_of_both_families_and_every_flag_are_kept_as_given() {
    in_fresh_namespace(|| {
        let mut client = client();
        let signal = EndpointFlags::SIGNAL;
        let subflow = EndpointFlags::SUBFLOW;
        let given = [
            Endpoint::new(ip("10.0.0.1"), EndpointFlags::NONE),
            Endpoint { id: Some(AddressId(42)), ..Endpoint::new(ip("10.0.0.2"), signal) },
            Endpoint { interface: Some(1), ..Endpoint::new(ip("fd00::3"), subflow) },
            Endpoint::new(ip("fd00::4"), subflow | EndpointFlags::BACKUP),
            Endpoint::new(ip("10.0.0.5"), subflow | EndpointFlags::FULLMESH),
            Endpoint::new(ip("10.0.0.6"), EndpointFlags::LAMINAR),
            Endpoint::new(ip("10.0.0.7"), signal | subflow),
        ];
        for endpoint in given {
            let reply = client.command(&PmCommand::AddAddr(endpoint)).expect("add");
            assert_eq!(reply, PmReply::Done);
        }
        let listed = dump(&mut client);
        assert_eq!(listed.len(), given.len());
        for (have, want) in listed.iter().zip(given) {
            assert_eq!(Endpoint { id: want.id, ..*have }, want);
            let id = have.id.expect("every endpoint has one");
            let one = client.command(&PmCommand::GetAddr { id, token: None }).expect("get");
            assert_eq!(one, PmReply::Endpoint(*have));
        }
        assert_eq!(listed[1].id, Some(AddressId(42)));
        let id = AddressId(42);
        client.command(&PmCommand::DelAddr { id, address: None }).expect("delete");
        assert!(!dump(&mut client).iter().any(|e| e.id == Some(id)));
        client.command(&PmCommand::FlushAddrs).expect("flush");
        assert_eq!(dump(&mut client), []);
    });
}

#[test]
fn a_port_endpoint_listens_and_a_failed_bind_is_the_commands_error() {
    in_fresh_namespace(|| {
        // Before its first address a namespace has no table of local ones and lets any be bound.
        loopback_up();
        let mut client = client();
        let port = NonZeroU16::new(10_100);
        let endpoint = Endpoint { port, ..Endpoint::new(ip("::"), EndpointFlags::SIGNAL) };
        client.command(&PmCommand::AddAddr(endpoint)).expect("add");
        assert_eq!(dump(&mut client)[0].port, port);
        // The listener at :: takes the port for IPv4 too; an address of nobody cannot be bound.
        let in_the_way = Endpoint { address: ip("127.0.0.1"), ..endpoint };
        let nobodys = Endpoint { address: ip("10.9.9.9"), ..endpoint };
        for (endpoint, errno) in [(in_the_way, 98), (nobodys, 99)] {
            let refused = refusal(&mut client, &PmCommand::AddAddr(endpoint));
            assert_eq!(refused, (errno, format!("create listen socket error: -{errno}")));
        }
    });
}

#[test]
fn backup_and_fullmesh_are_set_by_id_and_by_address() {
    in_fresh_namespace(|| {
        let mut client = client();
        let endpoint = Endpoint::new(ip("10.0.0.1"), EndpointFlags::SUBFLOW);
        client.command(&PmCommand::AddAddr(endpoint)).expect("add");
        let by_id = FlagsTarget::Id(AddressId(1));
        let by_address = FlagsTarget::Address { address: endpoint.address, port: None };
        for (target, flags) in [
            (by_id, EndpointFlags::BACKUP),
            (by_address, EndpointFlags::FULLMESH),
            (by_id, EndpointFlags::NONE),
        ] {
            client.command(&PmCommand::SetFlags { target, flags }).expect("set");
            assert_eq!(dump(&mut client)[0].flags, EndpointFlags::SUBFLOW | flags);
        }
    });
}

#[test]
fn limits_change_one_at_a_time() {
    in_fresh_namespace(|| {
        let mut client = client();
        let mut limits = |subflows: Option<u32>, add_addr_accepted: Option<u32>| {
            client.command(&PmCommand::SetLimits { subflows, add_addr_accepted }).expect("set");
            client.command(&PmCommand::GetLimits).expect("get")
        };
        let are = |subflows, add_addr_accepted| PmReply::Limits { subflows, add_addr_accepted };
        assert_eq!(limits(None, None), are(2, 0));
        assert_eq!(limits(Some(8), None), are(8, 0));
        assert_eq!(limits(None, Some(3)), are(8, 3));
    });
}

#[test]
fn refusals_carry_the_kernels_number_and_text() {
    in_fresh_namespace(|| {
        let mut client = client();
        let signal = EndpointFlags::SIGNAL;
        let endpoint = Endpoint::new(ip("10.0.0.1"), signal);
        client.command(&PmCommand::AddAddr(endpoint)).expect("add");
        let add = |flags| PmCommand::AddAddr(Endpoint::new(ip("10.0.0.2"), flags));
        let with_port =
            Endpoint { port: NonZeroU16::new(80), ..Endpoint::new(ip("10.0.0.2"), EndpointFlags::SUBFLOW) };
        let unknown = AddressId(99);
        for (command, errno, text) in [
            (PmCommand::AddAddr(endpoint), 17, "too many addresses or duplicate one: -17"),
            (add(signal | EndpointFlags::FULLMESH), 22, "flags mustn't have both signal and fullmesh"),
            (add(EndpointFlags::IMPLICIT), 22, "can't create IMPLICIT endpoint"),
            (PmCommand::AddAddr(with_port), 22, "flags must have signal and not subflow when using port"),
            (PmCommand::GetAddr { id: unknown, token: None }, 22, "address not found"),
            (PmCommand::DelAddr { id: unknown, address: None }, 22, "address not found"),
            (
                PmCommand::SetLimits { subflows: Some(9), add_addr_accepted: None },
                22,
                "limit greater than maximum (8)",
            ),
        ] {
            assert_eq!(refusal(&mut client, &command), (errno, text.to_owned()), "{command:?}");
        }
        let error = client.command(&PmCommand::AddAddr(endpoint)).expect_err("a duplicate");
        let expected = "too many addresses or duplicate one: -17: File exists (os error 17)";
        assert_eq!(error.to_string(), expected);
    });
}

/// Brings loopback up without a routing library: the address that makes it so is 127.0.0.1's own.
fn loopback_up() {
    use polytcp_control::netlink::{Netlink, ROUTE};
    // struct ifinfomsg: family, pad, type, index 1 (loopback), flags IFF_UP, mask IFF_UP.
    let words: [u32; 4] = [0, 1, 1, 1];
    let message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    const RTM_NEWLINK: u16 = 16;
    let mut netlink = Netlink::open(ROUTE).expect("routing socket");
    netlink.request(RTM_NEWLINK, 0, &message).expect("loopback up");
}

fn connection(to: SocketAddr) -> (TcpStream, TcpStream) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).expect("MPTCP socket");
    let (listener, stream) = (socket(), socket());
    listener.bind(&to.into()).expect("bind");
    listener.listen(1).expect("listen");
    stream.connect(&to.into()).expect("connect");
    let listener: TcpListener = listener.into();
    (stream.into(), listener.accept().expect("accept").0)
}

#[test]
fn a_connection_over_loopback_is_told_by_events() {
    in_fresh_namespace(|| {
        loopback_up();
        let mut events = Events::subscribe().expect("subscribe");
        assert_eq!(events.next(Duration::ZERO).expect("no error"), None);
        let to: SocketAddr = "127.0.0.1:5001".parse().expect("an address");
        let (mut active, mut passive) = connection(to);
        active.write_all(b"x").expect("write");
        passive.read_exact(&mut [0]).expect("read");
        let from = active.local_addr().expect("bound");
        drop((active, passive));

        let mut seen = Vec::new();
        let closed =
            |seen: &[PmEvent]| seen.iter().filter(|event| matches!(event, PmEvent::Closed { .. })).count();
        while closed(&seen) < 2 {
            seen.push(events.next(WAIT).expect("no error").expect("in time"));
        }
        assert_eq!(seen[0], PmEvent::ListenerCreated { local: to });
        assert!(seen.contains(&PmEvent::ListenerClosed { local: to }), "{seen:?}");
        for (side, local, remote) in [(Side::Client, from, to), (Side::Server, to, from)] {
            let told = |event: &PmEvent, want_established: bool| match event {
                PmEvent::Created(e) if !want_established => Some(*e),
                PmEvent::Established(e) if want_established => Some(*e),
                _ => None,
            };
            for want_established in [false, true] {
                let event = seen
                    .iter()
                    .filter_map(|event| told(event, want_established))
                    .find(|event| event.side == side)
                    .unwrap_or_else(|| panic!("{side:?} {want_established}: {seen:?}"));
                assert_eq!((event.local, event.remote), (local, remote));
                assert!(seen.contains(&PmEvent::Closed { token: event.token }));
            }
        }
    });
}
