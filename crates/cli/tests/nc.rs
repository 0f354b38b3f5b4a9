//! `polytcp nc` with the kernel as its peer, in a namespace of its own.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Child;
use std::time::{Duration, Instant};

use polytcp_lab::{Kernel, Protocol, require_or_skip};
use serde_json::Value;
use support::{Ran, finish, spawn};

const WAIT: Duration = Duration::from_secs(20);
const PATHS: [&str; 4] =
    ["--path", "poly0=10.9.0.2/24,host=10.9.0.1", "--path", "poly1=10.9.1.2/24,host=10.9.1.1"];

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 / 7) as u8).collect()
}

fn start(kernel: &Kernel, args: &[&str]) -> Child {
    kernel.run(|| spawn(&[&["nc"], args, &PATHS].concat()))
}

fn stats(ran: &Ran) -> Value {
    let line = ran.stderr.lines().last().expect("a line");
    serde_json::from_str(line).expect("one JSON object")
}

#[test]
fn stdin_and_stdout_pass_through_a_connection_to_the_kernel() {
    if !require_or_skip() {
        return;
    }
    let kernel = Kernel::create().expect("namespace");
    // At any address: the devices are not there yet.
    let listener = kernel.listen("0.0.0.0:5000".parse().expect("address"), Protocol::Mptcp).expect("listen");
    let child = start(&kernel, &["10.9.0.1:5000", "--stats", "json"]);
    let (up, down) = (data(3 << 20), data(1 << 20));
    let answer = down.clone();
    let peer = std::thread::spawn(move || {
        let mut stream = listener.accept_within(WAIT).expect("accept");
        stream.set_timeouts(Some(WAIT)).expect("timeouts");
        let mut received = Vec::new();
        // The end of stdin arrives as the end of this direction, and the other goes on.
        stream.read_to_end(&mut received).expect("read");
        assert!(stream.tcp_is_mptcp().expect("TCP_IS_MPTCP"));
        stream.write_all(&answer).expect("write");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        received
    });
    let ran = finish(child, &up);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(ran.stdout == down, "{} bytes came", ran.stdout.len());
    assert!(peer.join().expect("no panic") == up);
    let stats = stats(&ran);
    assert_eq!(stats["mptcp"], true, "{stats}");
    assert_eq!(stats["bytes_written"], 3 << 20, "{stats}");
    let flows = stats["subflows"].as_array().expect("an array");
    let mut paths: Vec<_> = flows.iter().filter_map(|flow| flow["path"].as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["poly0", "poly1"], "{stats}");
}

#[test]
fn a_listening_stack_serves_the_kernel_over_emulated_links() {
    if !require_or_skip() {
        return;
    }
    let kernel = Kernel::create().expect("namespace");
    let path = "poly0=10.9.0.2/24,host=10.9.0.1,rate=100mbit,delay=5ms";
    let args = ["nc", "-l", "10.9.0.2:5000", "--path", path, "--cc", "reno"];
    let child = kernel.run(|| spawn(&args));
    let deadline = Instant::now() + WAIT;
    let to = "10.9.0.2:5000".parse().expect("address");
    let mut stream = loop {
        match kernel.connect_within(None, to, Protocol::Mptcp, Duration::from_secs(1)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::park_timeout(Duration::from_millis(10));
    };
    stream.write_all(b"question").expect("write");
    stream.shutdown(Shutdown::Write).expect("shutdown");
    let ran = finish(child, b"answer");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    assert_eq!((ran.status, ran.stdout_text(), answer.as_str()), (Some(0), "question", "answer"), "{ran:?}");
}

#[test]
fn nobody_listening_is_a_failure_and_not_a_usage_error() {
    if !require_or_skip() {
        return;
    }
    let kernel = Kernel::create().expect("namespace");
    let ran = finish(start(&kernel, &["10.9.0.1:5000"]), b"");
    assert_eq!(ran.status, Some(1));
    assert!(ran.only_line().contains("refused"), "{ran:?}");
}

#[test]
fn a_device_that_cannot_be_had_leaves_none_behind() {
    if !require_or_skip() {
        return;
    }
    let kernel = Kernel::create().expect("namespace");
    let args = ["10.9.0.1:5000", "--path", "lo=10.9.2.2/24"];
    let ran = finish(start(&kernel, &args), b"");
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.only_line().contains("lo"), "{ran:?}");
    let deadline = Instant::now() + WAIT;
    while kernel.link_index("poly0").is_ok() {
        assert!(Instant::now() < deadline, "poly0 is still there");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
