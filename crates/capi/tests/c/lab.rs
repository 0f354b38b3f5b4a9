//! The other side of `lab.c`.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use polytcp_lab::{KernelListener, Lab, LabConfig, Protocol, require_or_skip};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::installed::{Linked, Running, compile, folder, has_tool};

const WAIT: Duration = Duration::from_secs(120);

/// A transfer that is large enough to use both paths, and what each carries of it at least, both ways together: in one way
/// the schedulers of both sides are free to leave a path alone.
const LARGE: usize = 16 << 20;
const USED_OCTETS: u64 = 1 << 20;

/// Sends back what comes, once both subflows are there.
fn echo(listener: &KernelListener) {
    let mut stream = listener.accept_within(WAIT).expect("accept");
    stream.set_timeouts(Some(WAIT)).expect("timeouts");
    let mut buffer = vec![0; 1 << 16];
    let len = stream.read(&mut buffer).expect("read");
    let deadline = Instant::now() + WAIT;
    while stream.subflows().expect("subflows").len() < 2 {
        assert!(Instant::now() < deadline, "no second subflow");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    stream.write_all(&buffer[..len]).expect("write");
    let writer = stream.try_clone().expect("clone");
    std::thread::scope(|scope| {
        let (octets, pieces) = std::sync::mpsc::channel::<Vec<u8>>();
        // What comes is read in any case: the program sends more than both sides' buffers hold.
        scope.spawn(move || pieces.iter().try_for_each(|piece| (&writer).write_all(&piece)).expect("write"));
        loop {
            match stream.read(&mut buffer).expect("read") {
                0 => break,
                len => octets.send(buffer[..len].to_vec()).expect("sent"),
            }
        }
    });
    assert!(stream.tcp_is_mptcp().expect("TCP_IS_MPTCP"));
    assert_eq!(stream.mptcp_info().expect("MPTCP_INFO").subflows, 1, "beside the first one");
    stream.shutdown(Shutdown::Write).expect("shutdown");
}

/// Octets that the kernel has received and sent on a device.
fn passed(lab: &Lab, device: &str) -> (u64, u64) {
    let table = lab.run(|| std::fs::read_to_string("/proc/thread-self/net/dev")).expect("procfs");
    let line = table.lines().find_map(|line| line.trim().strip_prefix(device)).expect("the device");
    let numbers: Vec<u64> = line
        .trim_start_matches(':')
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    (numbers[0], numbers[8])
}

/// Runs `lab.c` against the kernel, by the command that `wrap` makes of it.
fn run(linked: Linked, octets: usize, wrap: impl FnOnce(&Path) -> Command) -> Option<String> {
    let program = compile(&folder().join("tests/c/lab.c"), linked, &["-std=gnu11"])?;
    let mut lab = Lab::start(LabConfig::with_paths(2)).expect("lab");
    let devices = [lab.take_device(0), lab.take_device(1)];
    let mut config = String::new();
    for (device, path) in devices.iter().zip(lab.paths()) {
        let fd = polytcp::io::Device::as_fd(device).expect("a descriptor");
        fcntl_setfd(fd, FdFlags::empty()).expect("inherited");
        let (number, own) = (fd.as_fd().as_raw_fd(), path.stack_v4);
        config.push_str(&format!("tun fd:{number} {own}/24; endpoint add {own} subflow\n"));
    }
    let before = lab.counters().expect("counters");
    let listener = lab.listen("10.0.0.1:5000".parse().expect("address"), Protocol::Mptcp).expect("listen");
    let mut command = wrap(&program);
    let mut running = Running::start(command.args([&config, &octets.to_string()]));
    drop(devices);
    let server = std::thread::spawn(move || echo(&listener));
    running.expect_line("listening");
    server.join().expect("no panic");
    let joined = lab.counters().expect("counters").since(&before).value("MPTcpExtMPJoinAckRx");
    assert_eq!(joined, 1, "joins that were completed");
    for path in ["path0", "path1"] {
        let (received, sent) = passed(&lab, path);
        println!("{path}: the kernel received {received} octets and sent {sent}");
        assert!(octets < LARGE || received + sent > USED_OCTETS, "{path}");
    }
    let to = "10.0.0.2:6000".parse().expect("address");
    let mut stream = lab.connect_within(None, to, Protocol::Mptcp, WAIT).expect("connect");
    stream.set_timeouts(Some(WAIT)).expect("timeouts");
    stream.write_all(b"question").expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    assert_eq!(answer, "answer");
    assert!(stream.tcp_is_mptcp().expect("TCP_IS_MPTCP"));
    drop(stream);
    running.expect_line("well");
    Some(running.finish())
}

#[test]
fn a_c_program_talks_to_the_kernel_over_two_paths_linked_either_way() {
    if !require_or_skip() {
        return;
    }
    for linked in [Linked::Shared, Linked::Static] {
        run(linked, LARGE, |program| Command::new(program));
    }
}

#[test]
fn valgrind_finds_no_lost_memory_and_no_invalid_access() {
    if !require_or_skip() || !has_tool("valgrind") {
        return;
    }
    let told = run(Linked::Shared, 1 << 20, |program| {
        let mut command = Command::new("valgrind");
        command.args(["--leak-check=full", "--errors-for-leak-kinds=definite,indirect"]);
        command.args(["--error-exitcode=9", "--fair-sched=yes"]).arg(program);
        command
    });
    let Some(told) = told else { return };
    let summary = told.lines().filter(|line| line.contains(" lost:") || line.contains("ERROR SUMMARY"));
    summary.for_each(|line| println!("{line}"));
}
