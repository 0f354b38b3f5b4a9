//! The same calls on the kernel's sockets and on the library's: addresses, lengths and pointers of all kinds.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use polytcp_lab::{Kernel, KernelPair, Lab, LabConfig, Protocol, require_or_skip};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::installed::{Linked, compile, folder, succeed};

const WAIT: Duration = Duration::from_secs(30);

/// Sends back what comes, on one connection for each protocol.
fn serve(kernel: &Kernel, command: &mut Command) -> String {
    let at = "0.0.0.0:5000".parse().expect("address");
    let listener = kernel.listen(at, Protocol::Mptcp).expect("listen");
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let mut stream = listener.accept_within(WAIT).expect("accept");
            stream.set_timeouts(Some(WAIT)).expect("timeouts");
            let mut buffer = [0; 64];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..len]).expect("write");
            }
        }
    });
    let output = succeed(command);
    server.join().expect("no panic");
    String::from_utf8(output.stdout).expect("text")
}

fn on_linux(source: &Path) -> String {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("answers-kernel");
    // Much of it is wrong on purpose.
    succeed(Command::new("cc").args(["-w", "-D_GNU_SOURCE", "-o"]).arg(&program).arg(source));
    let pair = KernelPair::veth(1, 1500).expect("a pair of kernels");
    let (client, server) = (pair.client.clone(), pair.server.clone());
    let mut command = Command::new(&program);
    command.args([pair.path(0).stack_v4.to_string(), pair.path(0).kernel_v4.to_string()]);
    // The program runs in the client's namespace, whichever thread waits for it.
    client.run(|| serve(&server, &mut command))
}

fn on_a_stack(source: &Path) -> Option<String> {
    let arguments = ["-include", "polytcp_bsd.h", "-D_GNU_SOURCE"];
    let program = compile(source, Linked::Shared, &arguments)?;
    let mut lab = Lab::start(LabConfig::with_paths(1)).expect("lab");
    let device = lab.take_device(0);
    let fd = polytcp::io::Device::as_fd(&device).expect("a descriptor");
    fcntl_setfd(fd, FdFlags::empty()).expect("inherited");
    let path = lab.path(0);
    let config = format!("tun fd:{} {}/24 {}/64; compat linux", fd.as_raw_fd(), path.stack_v4, path.stack_v6);
    let mut command = Command::new(program);
    command.args([path.stack_v4.to_string(), path.kernel_v4.to_string()]).env("POLYTCP_CONFIG", config);
    Some(serve(lab.kernel(), &mut command))
}

#[test]
fn calls_with_addresses_lengths_and_pointers_of_all_kinds_answer_as_linux() {
    if !require_or_skip() {
        return;
    }
    let source = folder().join("tests/c/answers.c");
    let Some(ours) = on_a_stack(&source) else { return };
    let linux = on_linux(&source);
    let (ours, linux): (Vec<_>, Vec<_>) = (ours.lines().collect(), linux.lines().collect());
    assert_eq!(ours.len(), linux.len());
    let pairs = linux.iter().zip(&ours).filter(|(linux, ours)| linux != ours);
    let different: Vec<_> = pairs.map(|(linux, ours)| format!("Linux:   {linux}\npolytcp: {ours}")).collect();
    println!("{} lines compared", linux.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
}
