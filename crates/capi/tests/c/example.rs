//! The example, with an echo server of the kernel's.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use polytcp_lab::routing::Routing;
use polytcp_lab::{Kernel, Protocol, require_or_skip};

use crate::installed::{Linked, Running, compile, prefix};

const WAIT: Duration = Duration::from_secs(60);

/// What the administrator does: the kernel's address on a device, once it is there.
fn give_address(kernel: &Kernel, device: &str, address: &str) {
    let deadline = Instant::now() + WAIT;
    let index = loop {
        match kernel.link_index(device) {
            Ok(index) => break index,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::park_timeout(Duration::from_millis(1));
    };
    let address: IpAddr = address.parse().expect("address");
    kernel.run(|| Routing::open()?.add_address(index, address, 24)).expect("an address");
}

#[test]
fn the_example_gets_back_what_it_sends() {
    if !require_or_skip() {
        return;
    }
    let source = prefix().join("share/doc/polytcp/examples/echo_client.c");
    let Some(program) = compile(&source, Linked::Static, &["-std=c11"]) else { return };
    let kernel = Kernel::create().expect("namespace");
    let listener = kernel.listen("0.0.0.0:5000".parse().expect("address"), Protocol::Mptcp).expect("listen");
    let mut running = kernel.run(|| Running::start(Command::new(&program).args(["10.9.0.1", "5000"])));
    give_address(&kernel, "poly1", "10.9.1.1");
    give_address(&kernel, "poly0", "10.9.0.1");
    let mut stream = listener.accept_within(WAIT).expect("accept");
    stream.set_timeouts(Some(WAIT)).expect("timeouts");
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer).expect("read") {
            0 => break,
            len => stream.write_all(&buffer[..len]).expect("write"),
        }
    }
    assert!(stream.tcp_is_mptcp().expect("TCP_IS_MPTCP"));
    drop(stream);
    running.expect_line("1048576 octets came back as they were sent");
    running.finish();
}
