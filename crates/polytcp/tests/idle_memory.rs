//! What 10,000 idle connections cost a running stack: sockets, waiters, the blocks of what was written, and the host.
//!
//! A binary of its own, since the resident memory is that of the whole process: two stacks, a client and a server, and
//! the devices between them.

mod support;

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use polytcp::blocking;
use support::{Pair, SERVER};

const CONNECTIONS: usize = 10_000;
const PATHS: usize = 2;
/// Of one stack.
const RESIDENT_KIB_MAX: u64 = 100 << 10;
/// Longest that joins and timers may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Resident memory of the process in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn ten_thousand_idle_connections_fit_in_a_hundred_mebibytes_of_a_stack() {
    let pair = Pair::new(PATHS as u8);
    let listener = blocking::MptcpListener::bind(&pair.server, SERVER).expect("bind");
    let before = resident_kib();
    let mut streams = Vec::with_capacity(2 * CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut client = blocking::MptcpStream::connect(&pair.client, SERVER).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        let mut buf = [0; 1_000];
        client.write_all(&[1; 1_000]).expect("write");
        server.read_exact(&mut buf).expect("read");
        server.write_all(&[2; 1_000]).expect("write");
        client.read_exact(&mut buf).expect("read");
        streams.extend([client, server]);
    }
    for (name, stack) in [("client", &pair.client), ("server", &pair.server)] {
        wait_until(name, || {
            let accounting = stack.accounting();
            accounting.flows == CONNECTIONS * PATHS
                && accounting.buffered_bytes == 0
                && accounting.timers == 0
                && accounting.half_open == 0
        });
    }
    let grown = resident_kib() - before;
    println!(
        "two stacks of {CONNECTIONS} idle connections: {} MiB resident, {} octets per connection and stack",
        grown >> 10,
        (grown << 10) / 2 / CONNECTIONS as u64
    );
    assert!(grown < 2 * RESIDENT_KIB_MAX, "{grown} KiB for two stacks");
}
