//! A program that knows nothing of the library.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use polytcp_lab::{Lab, LabConfig, Protocol, require_or_skip};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::installed::{Linked, Running, compile, folder};

const WAIT: Duration = Duration::from_secs(60);

#[test]
fn an_unchanged_program_speaks_mptcp_by_the_environment() {
    if !require_or_skip() {
        return;
    }
    let source = folder().join("tests/c/bsd.c");
    let Some(program) = compile(&source, Linked::Shared, &["-include", "polytcp_bsd.h"]) else { return };
    let mut lab = Lab::start(LabConfig::with_paths(1)).expect("lab");
    let device = lab.take_device(0);
    let fd = polytcp::io::Device::as_fd(&device).expect("a descriptor");
    fcntl_setfd(fd, FdFlags::empty()).expect("inherited");
    let config = format!("tun fd:{} 10.0.0.2/24; mptcpize", fd.as_raw_fd());
    let listener = lab.listen("10.0.0.1:5000".parse().expect("address"), Protocol::Mptcp).expect("listen");
    let running = Running::start(Command::new(&program).env("POLYTCP_CONFIG", config));
    drop(device);
    let mut stream = listener.accept_within(WAIT).expect("accept");
    stream.set_timeouts(Some(WAIT)).expect("timeouts");
    let mut question = String::new();
    stream.read_to_string(&mut question).expect("read");
    assert_eq!(question, "question");
    assert!(stream.tcp_is_mptcp().expect("TCP_IS_MPTCP"));
    stream.write_all(b"answer").expect("write");
    // The program ends without closing anything, and yet the kernel is told.
    drop(stream);
    running.finish();
}

#[test]
fn a_wrong_configuration_is_told_on_stderr() {
    if !require_or_skip() {
        return;
    }
    let source = folder().join("tests/c/bsd.c");
    let Some(program) = compile(&source, Linked::Static, &["-include", "polytcp_bsd.h"]) else { return };
    let output = Command::new(&program).env("POLYTCP_CONFIG", "tune poly0").output().expect("it runs");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("libpolytcp: POLYTCP_CONFIG: `tune poly0`: `tune` is none of tun"), "{text}");
    assert!(text.contains("bsd: Invalid argument"), "{text}");
}
