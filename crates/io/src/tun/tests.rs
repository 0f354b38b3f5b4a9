use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use polytcp_wire::virtio::Segmentation;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::*;
use crate::clock::monotonic_now;
use crate::testing::{Tcp, drive};

const LIMIT: Duration = Duration::from_secs(10);
const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 1);
const STACK: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 2);

/// Runs `test` on a thread with a network namespace of its own, or skips it loudly where none can be
/// had; with `POLYTCP_REQUIRE_LAB=1` that is a failure.
pub(crate) fn in_namespace<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let thread = std::thread::spawn(|| match enter_namespace() {
        Ok(()) => Some(test()),
        Err(error) => {
            let required = std::env::var_os("POLYTCP_REQUIRE_LAB").is_some_and(|value| value == "1");
            assert!(!required, "POLYTCP_REQUIRE_LAB=1, but there is no TUN device to test with: {error}");
            eprintln!("SKIPPED: no TUN device to test with: {error}");
            None
        }
    });
    thread.join().expect("the test is well")
}

/// Moves the calling thread, for good, into a network namespace where a TUN device can be made.
#[allow(unsafe_code, reason = "rustix marks unshare unsafe for flags that are not used here")]
fn enter_namespace() -> io::Result<()> {
    // SAFETY: a new network namespace changes neither memory nor descriptors that other threads see;
    // only NEWNET is given, and the thread ends with the test.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Tun::open(None, TunConfig::default()).map(drop)
}

/// A TUN device whose kernel end has `address`.
pub(crate) fn tun_at(name: &str, address: Ipv4Addr, config: TunConfig) -> Tun {
    let tun = Tun::open(Some(name), config).expect("a TUN device");
    request::set_address(name, address).expect("an address");
    tun
}

fn is_udp(packet: &Received) -> bool {
    packet.bytes[0] >> 4 == 4 && packet.bytes[9] == 17
}

#[test]
fn a_device_has_the_name_and_capabilities_that_were_asked_for() {
    in_namespace(|| {
        let tun = Tun::open(Some("poly-test0"), TunConfig { mtu: 1_400, ..TunConfig::default() })
            .expect("a device");
        assert_eq!(tun.name(), "poly-test0");
        assert_eq!(tun.capabilities(), Capabilities::offload(1_400));
        // The view of this thread; /proc/net is that of the process's first thread.
        let devices = std::fs::read_to_string("/proc/thread-self/net/dev").expect("procfs");
        assert!(devices.contains("poly-test0"));
        let unnamed =
            Tun::open(None, TunConfig { offload: Offload::Off, ..TunConfig::default() }).expect("a device");
        assert!(unnamed.name().starts_with("tun"));
        assert_eq!(unnamed.capabilities(), Capabilities::per_packet(1_500));
    });
}

#[test]
fn errors_name_their_cause() {
    in_namespace(|| {
        let _first = Tun::open(Some("poly-busy"), TunConfig::default()).expect("a device");
        let text = |name: &str| Tun::open(Some(name), TunConfig::default()).expect_err(name).to_string();
        assert!(text("poly-busy").contains("in use by another process"), "{}", text("poly-busy"));
        assert!(text("lo").contains("another kind of interface"), "{}", text("lo"));
        assert!(text("a-name-that-is-too-long").contains("15 octets"));
        let null =
            rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).expect("null");
        let error = Tun::adopt(null, TunConfig::default()).expect_err("not a TUN device").to_string();
        assert!(error.contains("not attached to a TUN interface"), "{error}");
    });
}

#[test]
fn datagrams_pass_between_the_kernel_and_the_device_on_another_thread() {
    in_namespace(|| {
        let tun = tun_at("poly0", KERNEL, TunConfig::default());
        let socket = UdpSocket::bind((KERNEL, 5_000)).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
        socket.send_to(b"ping", (STACK, 6_000)).expect("it leaves");
        // Another thread is in the process's own namespace, and the device works all the same.
        let device = std::thread::spawn(move || {
            let received = drive(&tun, LIMIT, |out| out.iter().any(is_udp));
            let ping = received.iter().find(|packet| is_udp(packet)).expect("the datagram");
            assert_eq!(&ping.bytes[28..], b"ping");
            let pong = segment::forward(ping);
            let mut octets = [pong.header.as_slice(), &pong.payload].concat();
            if let Checksum::Partial { start, offset } = ping.vnet.checksum {
                segment::fill_checksum(&mut octets, start, offset).expect("the field is there");
            }
            // Exchanging the addresses and ports keeps every checksum.
            for (from, to, len) in [(12, 16, 4), (20, 22, 2)] {
                for i in 0..len {
                    octets.swap(from + i, to + i);
                }
            }
            let pong = segment::forward(&Received {
                vnet: VnetHdr::default(),
                bytes: octets.into(),
                buffer_bytes: 0,
            });
            assert_eq!(tun.send(monotonic_now(), &pong).expect("it works"), SendOutcome::Sent);
            tun
        });
        let mut answer = [0; 16];
        let (len, from) = socket.recv_from(&mut answer).expect("the answer");
        assert_eq!((&answer[..len], from), (&b"ping"[..], (STACK, 6_000).into()));
        drop(device.join().expect("the device is well"));
    });
}

#[test]
fn without_offload_packets_come_and_go_one_by_one_with_whole_checksums() {
    in_namespace(|| {
        let tun = tun_at("poly0", KERNEL, TunConfig { offload: Offload::Off, ..TunConfig::default() });
        let socket = UdpSocket::bind((KERNEL, 5_000)).expect("a socket");
        socket.send_to(b"ping", (STACK, 6_000)).expect("it leaves");
        let received = drive(&tun, LIMIT, |out| out.iter().any(is_udp));
        let ping = received.iter().find(|packet| is_udp(packet)).expect("the datagram");
        assert_eq!(ping.vnet, VnetHdr::default());
        let now = monotonic_now();
        assert_eq!(tun.send(now, &Tcp::default().packet()).expect("it works"), SendOutcome::Sent);
        let whole = Tcp::default().super_packet(100);
        assert_eq!(tun.send(now, &whole).expect("it works"), SendOutcome::Dropped);
    });
}

#[test]
fn what_the_kernel_refuses_is_dropped_and_the_device_lives_on() {
    in_namespace(|| {
        let tun = tun_at("poly0", KERNEL, TunConfig::default());
        let mut wrong = Tcp::default().super_packet(1_000);
        wrong.vnet.segmentation = wrong.vnet.segmentation.map(|seg| Segmentation { size: 0, ..seg });
        let now = monotonic_now();
        assert_eq!(tun.send(now, &wrong).expect("it works"), SendOutcome::Dropped);
        assert_eq!(tun.send(now, &Tcp::default().packet()).expect("it works"), SendOutcome::Sent);
        assert_eq!(tun.unreadable_packets(), 0);
    });
}

#[test]
fn a_descriptor_made_elsewhere_is_taken_over() {
    in_namespace(|| {
        let made = tun_at("poly0", KERNEL, TunConfig::default());
        let fd = made.fd.try_clone().expect("a descriptor");
        let tun = Tun::adopt(fd, TunConfig::default()).expect("a TUN device");
        drop(made);
        assert_eq!(tun.name(), "poly0");
        UdpSocket::bind((KERNEL, 5_000)).expect("a socket").send_to(b"x", (STACK, 6_000)).expect("it leaves");
        assert!(drive(&tun, LIMIT, |out| out.iter().any(is_udp)).iter().any(is_udp));
    });
}
