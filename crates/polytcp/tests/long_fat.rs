//! A long transfer over a long fat path: 1 Gbit/s, 100 ms one way. What is held stays within the buffers, and the memory of
//! the process flat.
//!
//! A binary of its own, since the resident memory is that of the whole process: two stacks, and the emulated link with what
//! is under way in it.

mod support;

use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::io::{Emulated, LinkConfig, MemoryConfig, MemoryDevice};
use polytcp::{HostConfig, Stack};
use support::SERVER;

const RATE_BITS_PER_SEC: u64 = 1_000_000_000;
const DELAY: Duration = Duration::from_millis(100);
/// Of each socket, each way: more than the 25 MB that are under way.
const BUFFER_BYTES: u32 = 64 << 20;
/// Slow start, and the first losses.
const WARM_UP: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(250);
/// What the allocator and the sampling may add.
const RESIDENT_SLACK_KIB: u64 = 8 << 10;

/// Resident memory of the process in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// Two stacks at the ends of the link.
fn stacks() -> (Stack, Stack) {
    let mut config = HostConfig::default();
    config.tcp.send_buffer_bytes = NonZeroU32::new(BUFFER_BYTES);
    config.tcp.recv_buffer_bytes = NonZeroU32::new(BUFFER_BYTES);
    let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    let link = LinkConfig::new(RATE_BITS_PER_SEC, DELAY);
    let emulated = Emulated::new(a.named("fat"), link, link, 1).expect("descriptors");
    let client = Stack::builder().config(config.clone()).device(emulated, ["10.0.1.2/24"]);
    let server = Stack::builder().config(config).device(b, ["10.0.1.1/24"]);
    (client.start().expect("client"), server.start().expect("server"))
}

fn send_until(stop: &AtomicBool, mut stream: &MptcpStream) {
    let piece = vec![7; 256 * 1024];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&piece).expect("write");
    }
    stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
}

fn receive(mut stream: MptcpStream, received: &AtomicU64) {
    let mut piece = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut piece).expect("read") {
            0 => return,
            len => received.fetch_add(len as u64, Ordering::Relaxed),
        };
    }
}

fn transfer_for(time: Duration) {
    let (client, server) = stacks();
    let listener = MptcpListener::bind(&server, SERVER).expect("bind");
    let stream = MptcpStream::connect(&client, SERVER).expect("connect");
    let (accepted, _) = listener.accept().expect("accept");
    let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut resident = Vec::new();
    let mut held_max = 0;
    let mut carried = 0;
    thread::scope(|scope| {
        scope.spawn(|| send_until(&stop, &stream));
        scope.spawn(|| receive(accepted, &received));
        let started = Instant::now();
        let mut at_warm = None;
        while started.elapsed() < time {
            thread::park_timeout(LOOK);
            held_max = [&client, &server]
                .map(|stack| stack.accounting().buffered_bytes)
                .into_iter()
                .fold(held_max, usize::max);
            if started.elapsed() >= WARM_UP {
                at_warm.get_or_insert((Instant::now(), received.load(Ordering::Relaxed)));
                resident.push(resident_kib());
            }
        }
        if let Some((since, before)) = at_warm {
            let octets = received.load(Ordering::Relaxed) - before;
            carried = (octets as f64 * 8.0 / since.elapsed().as_secs_f64() / 1e6) as u64;
        }
        stop.store(true, Ordering::Relaxed);
    });
    // The first and the last third of what was seen after the warm-up.
    let third = (resident.len() / 3).max(1);
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let (early, late) = (most(&resident[..third]), most(&resident[resident.len() - third..]));
    println!(
        "{time:?}: {carried} Mbit/s after the warm-up, resident {early} KiB, then {late} KiB, held at most {held_max} of \
         {BUFFER_BYTES} octets by a stack"
    );
    assert!(late <= early + early / 20 + RESIDENT_SLACK_KIB, "resident memory grows: {resident:?}");
    assert!(held_max as u64 * 10 <= u64::from(BUFFER_BYTES) * 11, "{held_max} octets held");
    assert!(carried > 100, "{carried} Mbit/s");
}

#[test]
fn a_long_fat_path_holds_no_more_than_the_buffers() {
    transfer_for(Duration::from_secs(14));
}

/// By hand: `cargo test -p polytcp --test long_fat -- --ignored --nocapture`.
#[test]
#[ignore = "ten minutes"]
fn ten_minutes_on_a_long_fat_path_are_flat() {
    transfer_for(Duration::from_secs(600));
}
