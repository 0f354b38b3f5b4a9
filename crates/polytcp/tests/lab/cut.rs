//! A path that dies silently, in mid-transfer and with the last octet on it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::io::{Emulated, LinkConfig, LinkControl, MemoryConfig, MemoryDevice};
use polytcp::{EndpointFlags, Stack};
use polytcp_lab::require_or_skip;

use crate::bounded::{Raised, WAIT, bounded, pause, wait_until};
use crate::transfer::{Manner, Way, both};
use crate::watched::{Log, Watched};
use crate::world::{Client, Family, Plan, World};

const BYTES: u64 = 12 << 20;
/// The cut comes when the doomed path has carried so much.
const BEFORE_CUT: u64 = 2 << 20;
/// What the design promises for a lone last octet on a round trip of 20 ms, doubled for busy machines.
const TAIL_LIMIT: Duration = Duration::from_millis(600);
const TAILS: u64 = 5;

fn link() -> LinkConfig {
    LinkConfig::new(100_000_000, Duration::from_millis(10))
}

/// Cuts `link` once enough has passed; gives up when `over`.
fn cut_in_time(link: &LinkControl, log: &Log, way: Way, over: &AtomicBool) -> bool {
    while !over.load(Ordering::Relaxed) {
        if payload(log, way) >= BEFORE_CUT {
            link.cut_both();
            return true;
        }
        pause(Duration::from_millis(1));
    }
    false
}

fn payload(log: &Log, way: Way) -> u64 {
    match way {
        Way::Upload => log.sent.payload_bytes(),
        Way::Download => log.received.payload_bytes(),
    }
}

fn cut_with_kernel(client: Client) {
    if !require_or_skip() {
        return;
    }
    for way in [Way::Upload, Way::Download] {
        for doomed in [0, 1] {
            let name = format!("path {doomed} of 2 is cut, {client:?} is client, {way:?}");
            bounded(&name.clone(), move || {
                let world = World::new(Plan::emulated(client, Family::V4, [link(), link()]));
                let ends = world.connect();
                let greeting = if client == Client::Stack { Way::Upload } else { Way::Download };
                world.transfer(&ends, greeting, Manner::new(1, 1));
                world.await_subflows(&ends, 2);
                let over = AtomicBool::new(false);
                let (outcome, was_cut) = std::thread::scope(|scope| {
                    let cutting =
                        scope.spawn(|| cut_in_time(&world.links[doomed], &world.logs[doomed], way, &over));
                    let over = Raised(&over);
                    let outcome = world.transfer(&ends, way, Manner::new(2, BYTES));
                    drop(over);
                    (outcome, cutting.join().expect("no panic"))
                });
                assert!(was_cut, "the transfer was over before the cut\n{}", world.describe(Some(&ends)));
                world.assert_no_faults(&ends);
                world.close(&ends, way);
                let pause = outcome.longest_pause.as_millis();
                println!("{name}: {:?}, longest pause {pause} ms", outcome.took);
            });
        }
    }
}

#[test]
fn a_client_loses_a_path_and_no_byte() {
    cut_with_kernel(Client::Stack);
}

#[test]
fn a_server_loses_a_path_and_no_byte() {
    cut_with_kernel(Client::Kernel);
}

/// Two stacks with two emulated links between them, connected and joined.
struct StackPair {
    client: MptcpStream,
    server: MptcpStream,
    /// At the client's end.
    logs: Vec<Arc<Log>>,
    links: Vec<LinkControl>,
    stacks: [Stack; 2],
    _listener: MptcpListener,
}

impl StackPair {
    fn new() -> Self {
        let (mut client, mut server) = (Stack::builder().limits(8, 8), Stack::builder().limits(8, 8));
        let (mut logs, mut links) = (Vec::new(), Vec::new());
        for path in 0..2 {
            let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
            let emulated =
                Emulated::new(a.named(format!("path{path}")), link(), link(), path).expect("descriptors");
            links.push(emulated.control());
            let (device, log) = Watched::new(emulated);
            logs.push(log);
            client = client.device(device, [format!("10.0.{path}.2/24")]);
            server = server.device(b, [format!("10.0.{path}.1/24")]);
        }
        let client_stack = client.endpoint("10.0.1.2", EndpointFlags::SUBFLOW).start().expect("stack");
        let server_stack = server.start().expect("stack");
        let listener = MptcpListener::bind(&server_stack, "10.0.0.1:443").expect("listen");
        let client = MptcpStream::connect_timeout(&client_stack, "10.0.0.1:443", WAIT).expect("connect");
        let (server, _) = listener.accept_timeout(WAIT).expect("accept");
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(WAIT)).expect("timeout");
            stream.set_write_timeout(Some(WAIT)).expect("timeout");
        }
        let pair =
            Self { client, server, logs, links, stacks: [client_stack, server_stack], _listener: listener };
        (&pair.client).write_all(b"x").expect("write");
        (&pair.server).read_exact(&mut [0]).expect("read");
        let joined = |end: &MptcpStream| end.subflows().is_ok_and(|list| list.len() == 2);
        wait_until(|| joined(&pair.client) && joined(&pair.server), || pair.describe());
        pair
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (end, stack) in [&self.client, &self.server].into_iter().zip(&self.stacks) {
            text += &format!("{:?}\n{:?}\n", end.info(), stack.accounting());
            for subflow in end.subflows().unwrap_or_default() {
                text += &format!("  {subflow:?}\n");
            }
        }
        text + "the last packets, > from the client:\n" + &Log::trace(&self.logs)
    }
}

#[test]
fn two_stacks_lose_a_path_and_no_byte() {
    for way in [Way::Upload, Way::Download] {
        for doomed in [0, 1] {
            let name = format!("path {doomed} of 2 between stacks is cut, {way:?}");
            bounded(&name.clone(), move || {
                let pair = StackPair::new();
                let over = AtomicBool::new(false);
                let manner = Manner::new(3, BYTES);
                let started = Instant::now();
                let ((written, read), was_cut) = std::thread::scope(|scope| {
                    let cutting =
                        scope.spawn(|| cut_in_time(&pair.links[doomed], &pair.logs[doomed], way, &over));
                    let over = Raised(&over);
                    let result = match way {
                        Way::Upload => both(&pair.client, &pair.server, manner),
                        Way::Download => both(&pair.server, &pair.client, manner),
                    };
                    drop(over);
                    (result, cutting.join().expect("no panic"))
                });
                let took = started.elapsed();
                let (Ok(written), Ok(read)) = (&written, &read) else {
                    panic!("written {written:?}, read {:?}\n{}", read.as_ref().err(), pair.describe())
                };
                assert_eq!(*written, read.seen, "{}", pair.describe());
                assert!(was_cut, "the transfer was over before the cut");
                println!("{name}: {took:?}, longest pause {} ms", read.longest_pause.as_millis());
            });
        }
    }
}

/// Sends a lone octet, cuts the path that carries it while it is under way, and returns how long after
/// that it arrived; `None` when the cut came too late to matter.
fn lone_octet(
    mut writer: impl Write,
    mut reader: impl Read,
    logs: &[Arc<Log>],
    links: &[LinkControl],
    describe: impl Fn() -> String,
) -> Option<Duration> {
    // What was sent before is acknowledged and forgotten.
    pause(Duration::from_millis(300));
    let before: Vec<_> = logs.iter().map(|log| log.sent.payload_bytes()).collect();
    let written = Instant::now();
    writer.write_all(b"!").expect("write");
    let carrier = loop {
        let now = logs.iter().map(|log| log.sent.payload_bytes());
        if let Some(index) = now.zip(&before).position(|(now, before)| now > *before) {
            break index;
        }
        assert!(written.elapsed() < WAIT, "the octet was not sent\n{}", describe());
    };
    links[carrier].cut_both();
    // The octet travels for 10 ms; the cut must find it on the way.
    if written.elapsed() > Duration::from_millis(9) {
        return None;
    }
    let mut octet = [0];
    if let Err(error) = reader.read_exact(&mut octet) {
        panic!("the octet never came: {error}\n{}", describe());
    }
    assert_eq!(&octet, b"!");
    Some(written.elapsed())
}

fn judge_tails(name: &str, tails: &[Duration]) {
    let millis: Vec<_> = tails.iter().map(Duration::as_millis).collect();
    println!("{name}: delivered after {millis:?} ms");
    assert!(!tails.is_empty(), "{name}: the machine is too busy to cut in time");
    let late = tails.iter().any(|tail| *tail > TAIL_LIMIT);
    assert!(!late, "{name}: delivered after {millis:?} ms, more than {TAIL_LIMIT:?}");
}

#[test]
fn a_last_octet_whose_path_died_reaches_the_kernel_by_the_other() {
    if !require_or_skip() {
        return;
    }
    let tails: Vec<_> = (0..TAILS)
        .filter_map(|round| {
            bounded("a lone octet to the kernel", move || {
                let world = World::new(Plan::emulated(Client::Stack, Family::V4, [link(), link()]));
                let ends = world.connect();
                world.transfer(&ends, Way::Upload, Manner::new(round, 1));
                world.await_subflows(&ends, 2);
                world.transfer(&ends, Way::Upload, Manner::new(round, 100_000));
                let describe = || world.describe(Some(&ends));
                let tail = lone_octet(&ends.stack, &ends.kernel, &world.logs, &world.links, describe);
                if tail.is_some_and(|tail| tail > TAIL_LIMIT) {
                    println!("late: {}", describe());
                }
                tail
            })
        })
        .collect();
    judge_tails("stack to kernel", &tails);
}

#[test]
fn a_last_octet_whose_path_died_reaches_another_stack_by_the_other() {
    let tails: Vec<_> = (0..TAILS)
        .filter_map(|round| {
            bounded("a lone octet to a stack", move || {
                let pair = StackPair::new();
                let (written, read) = both(&pair.client, &pair.server, Manner::new(round, 100_000));
                assert_eq!(written.expect("written"), read.expect("read").seen);
                let tail =
                    lone_octet(&pair.client, &pair.server, &pair.logs, &pair.links, || pair.describe());
                if tail.is_some_and(|tail| tail > TAIL_LIMIT) {
                    println!("late: {}", pair.describe());
                }
                tail
            })
        })
        .collect();
    judge_tails("stack to stack", &tails);
}
