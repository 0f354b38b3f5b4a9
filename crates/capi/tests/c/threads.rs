//! The other side of `threads.c`.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use polytcp_lab::{KernelListener, Lab, LabConfig, Protocol, require_or_skip};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::installed::{Linked, Running, compile, folder};

const WAIT: Duration = Duration::from_secs(60);

/// Sends back what comes on each of so many connections.
fn echo(listener: &KernelListener, connections: usize) {
    std::thread::scope(|scope| {
        for _ in 0..connections {
            let mut stream = listener.accept_within(WAIT).expect("accept");
            scope.spawn(move || {
                let mut buffer = [0; 64];
                while let Ok(len @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..len]).expect("write");
                }
            });
        }
    });
}

#[test]
fn stacks_and_threads_do_not_get_into_each_others_way() {
    if !require_or_skip() {
        return;
    }
    let source = folder().join("tests/c/threads.c");
    let Some(program) = compile(&source, Linked::Shared, &["-std=gnu11", "-pthread"]) else { return };
    let mut lab = Lab::start(LabConfig::with_paths(2)).expect("lab");
    let devices = [lab.take_device(0), lab.take_device(1)];
    let configs = devices.iter().zip(lab.paths()).map(|(device, path)| {
        let fd = polytcp::io::Device::as_fd(device).expect("a descriptor");
        fcntl_setfd(fd, FdFlags::empty()).expect("inherited");
        format!("tun fd:{} {}/24", fd.as_raw_fd(), path.stack_v4)
    });
    let listener = lab.listen("0.0.0.0:5000".parse().expect("address"), Protocol::Mptcp).expect("listen");
    let mut running = Running::start(Command::new(program).args(configs));
    drop(devices);
    // Three, and 25 of each of four threads.
    let server = std::thread::spawn(move || echo(&listener, 103));
    running.expect_line("well");
    running.finish();
    server.join().expect("no panic");
}
