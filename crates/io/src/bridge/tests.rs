use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::device::SendOutcome;
use crate::memory::{MemoryConfig, MemoryDevice};
use crate::testing::{Tcp, drive, octets};
use crate::tun::TunConfig;
use crate::tun::tests::{in_namespace, tun_at};

const LIMIT: Duration = Duration::from_secs(10);

/// The far ends of a bridge between two pairs in memory.
fn bridged(a_to_b: LinkConfig, b_to_a: LinkConfig) -> (MemoryDevice, MemoryDevice, BridgeHandle) {
    let pair = || MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    let ((left, a), (b, right)) = (pair(), pair());
    let handle = Bridge::spawn(Box::new(a), Box::new(b), a_to_b, b_to_a, 1).expect("a thread");
    (left, right, handle)
}

#[test]
fn packets_cross_in_both_directions_after_the_delay() {
    let delay = |millis| LinkConfig::new(0, Duration::from_millis(millis));
    let (left, right, handle) = bridged(delay(20), delay(10));
    let start = monotonic_now();
    let packet = Tcp::default().packet();
    for device in [&left, &right] {
        assert_eq!(device.send(start, &packet).expect("it works"), SendOutcome::Sent);
    }
    assert_eq!(drive(&left, LIMIT, |out| out.len() == 1)[0].bytes, octets(&packet));
    assert!(monotonic_now() - start >= Duration::from_millis(10));
    assert_eq!(drive(&right, LIMIT, |out| out.len() == 1)[0].bytes, octets(&packet));
    assert!(monotonic_now() - start >= Duration::from_millis(20));
    assert_eq!(handle.control().stats(Direction::Egress).link.delivered_packets, 1);
    assert_eq!(handle.control().stats(Direction::Ingress).link.delivered_packets, 1);
    assert!(handle.is_running());
}

#[test]
fn dropping_the_handle_gives_the_devices_up() {
    let (left, _right, handle) = bridged(LinkConfig::default(), LinkConfig::default());
    drop(handle);
    let outcome = left.send(monotonic_now(), &Tcp::default().packet()).expect("it works");
    assert_eq!(outcome, SendOutcome::Dropped, "nobody holds the other end");
}

#[test]
fn two_kernels_transfer_a_stream_over_a_lossy_link() {
    const BYTES: usize = 4 << 20;
    let (a_addr, b_addr) = (Ipv4Addr::new(10, 9, 9, 1), Ipv4Addr::new(10, 9, 9, 2));
    let (to_main, tuns) = mpsc::channel();
    let (to_a, from_b) = mpsc::channel::<()>();
    let (bridge_up, go) = mpsc::channel::<()>();
    let from_a = to_main.clone();
    let data = |i: usize| (i ^ (i >> 8) ^ (i >> 16)) as u8;
    let sender = std::thread::spawn(move || {
        in_namespace(move || {
            from_a.send((0, tun_at("poly-a", a_addr, TunConfig::default()))).expect("the test waits");
            go.recv().expect("the bridge is up");
            from_b.recv().expect("the listener is up");
            let mut stream =
                TcpStream::connect_timeout(&(b_addr, 5_001).into(), LIMIT).expect("a connection");
            stream.write_all(&(0..BYTES).map(data).collect::<Vec<_>>()).expect("it is sent");
        })
    });
    let receiver = std::thread::spawn(move || {
        in_namespace(move || {
            to_main.send((1, tun_at("poly-b", b_addr, TunConfig::default()))).expect("the test waits");
            let listener = TcpListener::bind((b_addr, 5_001)).expect("a listener");
            to_a.send(()).expect("the sender waits");
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
            let mut received = Vec::new();
            stream.read_to_end(&mut received).expect("the whole stream");
            assert_eq!(received.len(), BYTES);
            assert!(received.iter().enumerate().all(|(i, &byte)| byte == data(i)));
        })
    });
    let mut tuns: Vec<_> = tuns.iter().take(2).collect();
    tuns.sort_by_key(|(side, _)| *side);
    let bridge = match tuns.len() {
        2 => {
            let (b, a) = (tuns.pop().expect("two").1, tuns.pop().expect("two").1);
            let loss = polytcp_netem::Ratio::from_ppm(500);
            let link = LinkConfig { loss, ..LinkConfig::new(400_000_000, Duration::from_millis(1)) };
            Some(Bridge::spawn(Box::new(a), Box::new(b), link, link, 7).expect("a thread"))
        }
        // No namespaces here: the threads have said so.
        _ => None,
    };
    if bridge.is_some() {
        bridge_up.send(()).expect("the sender waits");
    }
    sender.join().expect("the sender is well");
    receiver.join().expect("the receiver is well");
    if let Some(bridge) = bridge {
        let stats = bridge.control().stats(Direction::Egress);
        assert!(stats.link.delivered_bytes > BYTES as u64, "{stats:?}");
        assert_eq!((stats.oversized, stats.malformed), (0, 0), "{stats:?}");
    }
}
