//! One kernel with TUN devices: what it sends reaches the stack's end, and nothing is left behind.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use polytcp_io::{Device, RxPool, Tun, monotonic_now};
use polytcp_lab::routing::{LinkState, Routing};
use polytcp_lab::{Lab, LabConfig, PathConfig, Protocol, require_or_skip};
use polytcp_proto::packet::{HeaderBuf, InterfaceId, Transmit};
use polytcp_proto::pm::command::{AddressId, EndpointFlags};
use polytcp_wire::addresses::Addresses;
use polytcp_wire::ip::{IpHeader, PROTOCOL_TCP};
use polytcp_wire::tcp::{CHECKSUM_OFFSET, TcpFlags, TcpHeader, checksum_full};
use polytcp_wire::tcp_options::TcpOptions;
use polytcp_wire::virtio::VnetHdr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const WAIT: Duration = Duration::from_secs(10);
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The TCP packets that arrive at `device` until `done` says so of one, which is returned.
fn await_packet(device: &Tun, done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let deadline = Instant::now() + WAIT;
    let mut pool = RxPool::default();
    loop {
        let mut packets = Vec::new();
        device.receive(monotonic_now(), 64, &mut pool, &mut packets).expect("receive");
        if let Some(packet) = packets.iter().find(|packet| done(&packet.bytes)) {
            return packet.bytes.to_vec();
        }
        assert!(Instant::now() < deadline, "no such packet came");
        let fd = device.as_fd().expect("a TUN has a descriptor");
        let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&wait)).expect("poll");
    }
}

/// True for a SYN with these ends.
fn is_syn(packet: &[u8], from: IpAddr, to: SocketAddr) -> bool {
    let (source, destination, tcp) = parts(packet);
    source == from
        && destination == to.ip()
        && tcp.get(2..4) == Some(&to.port().to_be_bytes())
        && tcp.get(13) == Some(&SYN)
}

/// True for a reset to that address.
fn is_reset(packet: &[u8], to: IpAddr) -> bool {
    let (_, destination, tcp) = parts(packet);
    destination == to && tcp.get(13) == Some(&(RST | ACK))
}

/// Source, destination and TCP segment; IPv4 without options or IPv6.
fn parts(packet: &[u8]) -> (IpAddr, IpAddr, &[u8]) {
    match packet[0] >> 4 {
        4 => {
            let address =
                |at: usize| -> IpAddr { <[u8; 4]>::try_from(&packet[at..at + 4]).expect("4 octets").into() };
            (address(12), address(16), &packet[20..])
        }
        _ => {
            let address = |at: usize| -> IpAddr {
                <[u8; 16]>::try_from(&packet[at..at + 16]).expect("16 octets").into()
            };
            (address(8), address(24), &packet[40..])
        }
    }
}

#[test]
fn the_kernels_syn_reaches_the_stacks_end_of_the_right_path() {
    if !require_or_skip() {
        return;
    }
    let mut lab = Lab::start(LabConfig::default()).expect("lab");
    let devices = [lab.take_device(0), lab.take_device(1)];
    for (path, device) in lab.paths().iter().zip(&devices) {
        let ends: [(IpAddr, IpAddr); 2] =
            [(path.kernel_v4.into(), path.stack_v4.into()), (path.kernel_v6.into(), path.stack_v6.into())];
        for (kernel, stack) in ends {
            let to = SocketAddr::new(stack, 7);
            let lab = lab.kernel().clone();
            let connecting = std::thread::spawn(move || {
                lab.connect_within(None, to, Protocol::Mptcp, Duration::from_millis(300))
            });
            await_packet(device, |packet| is_syn(packet, kernel, to));
            let error = connecting.join().expect("no panic").expect_err("nobody answers");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }
    // Far away: the source address decides.
    let far: SocketAddr = "192.0.2.1:7".parse().expect("an address");
    for (path, device) in lab.paths().iter().zip(&devices) {
        let from = IpAddr::from(path.kernel_v4);
        let lab = lab.kernel().clone();
        let local = SocketAddr::new(from, 0);
        let connecting = std::thread::spawn(move || {
            let socket = lab.socket(far, Protocol::Tcp).expect("socket");
            socket.bind(&local.into()).expect("bind");
            socket.connect_timeout(&far.into(), Duration::from_millis(300))
        });
        await_packet(device, |packet| is_syn(packet, from, far));
        connecting.join().expect("no panic").expect_err("nobody answers");
    }
}

/// A SYN between these addresses, from port 9 to port 7.
fn syn(from: IpAddr, to: IpAddr) -> Transmit {
    let addresses = Addresses::new(from, to).expect("one family");
    let options = TcpOptions::default().encode().expect("none fit");
    let (ip_len, tcp_len) = (if from.is_ipv4() { 20 } else { 40 }, 20);
    let mut header = HeaderBuf::EMPTY;
    IpHeader {
        addresses,
        protocol: PROTOCOL_TCP,
        hop_limit: 64,
        traffic_class: 0,
        ident: 0,
        payload_len: tcp_len as u16,
    }
    .emit(header.storage());
    let tcp = &mut header.storage()[ip_len..ip_len + tcp_len];
    TcpHeader { src_port: 9, dst_port: 7, seq: 1, ack: 0, flags: TcpFlags::SYN, window: 1_000, urgent: 0 }
        .emit(&options, tcp);
    let sum = checksum_full(&addresses, tcp, &[]);
    tcp[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&sum.to_be_bytes());
    header.set_len(ip_len + tcp_len);
    Transmit { interface: InterfaceId(0), vnet: VnetHdr::default(), header, payload: Default::default() }
}

#[test]
fn packets_that_are_sent_at_once_are_answered() {
    if !require_or_skip() {
        return;
    }
    // Many times, as the kernel is late only now and then.
    for _ in 0..20 {
        let mut lab = Lab::start(LabConfig::with_paths(1)).expect("lab");
        let device = lab.take_device(0);
        let path = lab.path(0).clone();
        let ends: [(IpAddr, IpAddr); 2] =
            [(path.stack_v6.into(), path.kernel_v6.into()), (path.stack_v4.into(), path.kernel_v4.into())];
        let all_answer = || {
            for (stack, kernel) in ends {
                device.send(monotonic_now(), &syn(stack, kernel)).expect("sent");
                await_packet(&device, |packet| is_reset(packet, stack));
            }
        };
        all_answer();
        for state in [LinkState::Down, LinkState::Up] {
            lab.link_set(0, state).expect("link");
        }
        all_answer();
    }
}

#[test]
fn an_address_of_another_host_is_waited_for_in_vain() {
    if !require_or_skip() {
        return;
    }
    let lab = Lab::start(LabConfig::with_paths(1)).expect("lab");
    let await_local =
        |address: IpAddr| lab.run(|| Routing::open()?.await_local(address, Duration::from_millis(20)));
    let path = lab.path(0);
    for own in [path.kernel_v4.into(), path.kernel_v6.into()] {
        await_local(own).expect("own");
    }
    for other in [path.stack_v4.into(), path.stack_v6.into()] {
        let error = await_local(other).expect_err("the neighbour's");
        assert_eq!(error.to_string(), format!("waiting for the local route of {other}: timed out"));
    }
    lab.link_set(0, LinkState::Down).expect("down");
    await_local(path.kernel_v6.into()).expect_err("there is no route at all");
}

#[test]
fn endpoints_limits_and_sysctls_are_as_configured() {
    if !require_or_skip() {
        return;
    }
    let flags = EndpointFlags::SIGNAL | EndpointFlags::BACKUP;
    let config = LabConfig {
        paths: vec![PathConfig::new(0), PathConfig::new(1).with_endpoint(flags)],
        ..LabConfig::default()
    };
    let lab = Lab::start(config.sysctl("net.mptcp.checksum_enabled", "1")).expect("lab");
    assert_eq!(lab.sysctl_get("net.mptcp.checksum_enabled").expect("sysctl"), "1");
    let [endpoint] = lab.endpoints().expect("endpoints")[..] else { panic!("one endpoint") };
    assert_eq!(endpoint.address, lab.path(1).kernel_v4);
    assert_eq!(endpoint.flags, flags);
    let index = lab.link_index(&lab.path(1).name).expect("index");
    assert_eq!(endpoint.interface, i32::try_from(index).ok());
    lab.endpoint_delete(AddressId(1)).expect("delete");
    assert_eq!(lab.endpoints().expect("endpoints"), []);
    assert_eq!(lab.counters().expect("counters").value("MPTcpExtMPCapableSYNTX"), 0);
}

#[test]
fn a_link_comes_back_with_its_addresses_and_routes() {
    if !require_or_skip() {
        return;
    }
    let mut lab = Lab::start(LabConfig::with_paths(1)).expect("lab");
    let device = lab.take_device(0);
    lab.link_set(0, LinkState::Down).expect("down");
    let to = SocketAddr::new(lab.path(0).stack_v6.into(), 7);
    let short = Duration::from_millis(100);
    let error = lab.connect_within(None, to, Protocol::Tcp, short).expect_err("no route");
    assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
    lab.link_set(0, LinkState::Up).expect("up");
    lab.connect_within(None, to, Protocol::Tcp, short).expect_err("nobody answers");
    await_packet(&device, |packet| is_syn(packet, lab.path(0).kernel_v6.into(), to));
}

#[test]
fn a_stopped_lab_leaves_no_thread_and_no_interface() {
    if !require_or_skip() {
        return;
    }
    let interfaces = || fs::read_to_string("/proc/net/dev").expect("procfs is mounted");
    let before = interfaces();
    for _ in 0..3 {
        let mut lab = Lab::start(LabConfig::default()).expect("lab");
        let device = lab.take_device(0);
        let namespace = lab.run(own_namespace);
        assert_eq!(interfaces().lines().count(), before.lines().count(), "all is inside");
        drop((lab, device));
        assert!(!holds(&namespace), "{namespace} has a thread or a descriptor");
    }
}

fn own_namespace() -> String {
    let link = fs::read_link("/proc/thread-self/ns/net").expect("procfs is mounted");
    link.to_string_lossy().into_owned()
}

/// Whether a thread of this process is in the namespace, or a descriptor keeps it.
fn holds(namespace: &str) -> bool {
    let is = |path: std::path::PathBuf| {
        fs::read_link(path).is_ok_and(|target| target.to_string_lossy() == namespace)
    };
    let entries = |dir: &str| fs::read_dir(dir).expect("procfs is mounted").flatten();
    entries("/proc/self/task").any(|task| is(task.path().join("ns/net")))
        || entries("/proc/self/fd").any(|fd| is(fd.path()))
}
