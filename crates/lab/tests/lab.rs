//! One kernel with TUN devices: what it sends reaches the stack's end, and nothing is left behind.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use polytcp_io::{Device, RxPool, Tun, monotonic_now};
use polytcp_lab::routing::LinkState;
use polytcp_lab::{Lab, LabConfig, PathConfig, Protocol, require_or_skip};
use polytcp_proto::pm::command::{AddressId, EndpointFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const WAIT: Duration = Duration::from_secs(10);
const SYN: u8 = 2;

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

/// True for a SYN with these ends; IPv4 without options or IPv6.
fn is_syn(packet: &[u8], from: IpAddr, to: SocketAddr) -> bool {
    let (source, destination, tcp) = match packet[0] >> 4 {
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
    };
    source == from
        && destination == to.ip()
        && tcp.get(2..4) == Some(&to.port().to_be_bytes())
        && tcp.get(13) == Some(&SYN)
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
