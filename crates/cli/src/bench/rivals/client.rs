//! A rival's connection to the kernel: its client is a process, its server a socket of the kernel.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use polytcp::io::Device;
use polytcp_lab::{KernelListener, KernelStream, Lab, LabConfig, PathConfig, Protocol};
use rustix::io::dup;
use rustix::time::{ClockId, clock_gettime};

use super::super::Way;
use super::super::arena::{Family, KERNEL_CC, STALL_MAX, accept, await_joined, listen};
use super::super::cores::Cores;
use super::super::end::{receive, send};
use super::super::pump::{Check, Load, Measured};
use super::Rival;
use crate::duplex::{Duplex, explain};
use crate::failure::Failure;
use crate::pattern::Pattern;

/// Longest transfer: a rival that takes longer has stalled.
const TRANSFER_MAX: Duration = Duration::from_secs(30);
/// The first port to connect from. Each connection has another, so that none meets the last one's TIME-WAIT.
const FIRST_PORT: u16 = 20_000;

/// A rival and a kernel, joined by TUN devices.
pub(super) struct RivalArena<'a> {
    rival: Rival,
    program: &'a Path,
    mtu: u16,
    lab: Lab,
    devices: Vec<Box<dyn Device>>,
}

impl<'a> RivalArena<'a> {
    pub(super) fn new(rival: Rival, program: &'a Path, paths: u8, mtu: u16) -> Result<Self, Failure> {
        let offload = match rival {
            Rival::Smoltcp => true,
            // It knows neither long packets nor partial checksums.
            Rival::MptcpRs => false,
        };
        let paths =
            (0..paths).map(|index| PathConfig { offload, ..PathConfig::new(index).with_mtu(mtu) }).collect();
        let config = LabConfig { paths, ..LabConfig::default() };
        let mut lab = Lab::start(config).map_err(Failure::setting_up("the kernel's namespace"))?;
        let devices = (0..lab.paths().len())
            .map(|index| -> Box<dyn Device> { Box::new(lab.take_device(index)) })
            .collect();
        Ok(Self { rival, program, mtu, lab, devices })
    }

    /// Connects, carries `load` one way, and ends the connection. `number` tells connections apart.
    pub(super) fn transfer(
        &self,
        number: u16,
        way: Way,
        load: Load,
        pattern: &Pattern,
        cores: Option<Cores>,
    ) -> Result<Measured, Failure> {
        let protocol = match self.rival {
            Rival::Smoltcp => Protocol::Tcp,
            Rival::MptcpRs => Protocol::Mptcp,
        };
        let (to, listener) = listen(&self.lab, Family::Ipv4, protocol, KERNEL_CC)?;
        let port = FIRST_PORT + number;
        let mut client = Client::start(self, to, port, way, load)?;
        let server = self
            .open(&listener, &mut client)
            .map_err(|failure| self.told(way, client.last_word().unwrap_or(failure)))?;
        let measured = run(&mut client, &server, way, load, pattern, cores);
        if measured.is_err() {
            // Nothing of it is to reach the next connection.
            server.abort();
        }
        measured.map_err(|failure| self.told(way, failure))
    }

    fn open(&self, listener: &KernelListener, client: &mut Client) -> Result<KernelStream, Failure> {
        let server = accept(listener, KERNEL_CC)?;
        let greeted: io::Result<()> = (|| {
            server.limit_waits(STALL_MAX)?;
            server.receive_exact(&mut [0])?;
            server.send_all(b"!")
        })();
        greeted.map_err(Failure::running(format!("{} does not connect", self.rival.name())))?;
        client.hear("ready", Instant::now() + TRANSFER_MAX)?;
        if self.rival == Rival::MptcpRs {
            await_joined(&server, self.devices.len())?;
        }
        Ok(server)
    }

    fn told(&self, way: Way, failure: Failure) -> Failure {
        let (Failure::Setup(text) | Failure::Run(text)) = failure;
        Failure::run(format!("{} {way}: {text}", self.rival.name()))
    }
}

/// The transfer itself, timed as the stack's own: from the first write to the end of the stream at the receiver.
fn run(
    client: &mut Client,
    server: &KernelStream,
    way: Way,
    load: Load,
    pattern: &Pattern,
    cores: Option<Cores>,
) -> Result<Measured, Failure> {
    let deadline = Instant::now() + TRANSFER_MAX;
    thread::scope(|scope| {
        let at_server = scope.spawn(|| -> io::Result<(Duration, Duration)> {
            cores
                .map_or(Ok(()), Cores::pin_server)
                .map_err(|_| io::Error::other("no core for the server"))?;
            let started = monotonic();
            match way {
                Way::Up => _ = receive(server, load, pattern)?,
                Way::Down => send(server, load, pattern)?,
            }
            let ended = monotonic();
            match way {
                Way::Up => server.finish()?,
                Way::Down => _ = receive(server, load.none(), pattern)?,
            }
            Ok((started, ended))
        });
        let heard = client.carry(way, deadline);
        if heard.is_err() {
            client.kill();
            server.abort();
        }
        let served = at_server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let heard = heard?;
        let (started, ended) =
            served.map_err(|error| Failure::run(format!("server: {}", explain(&error))))?;
        let elapsed = match way {
            Way::Up => ended.saturating_sub(heard.started),
            Way::Down => heard.ended.saturating_sub(started),
        };
        let client_cpu = heard.processor;
        Ok(Measured { octets: load.size, elapsed, client_cpu, longest_pause: Duration::ZERO })
    })
}

/// What the process says of its transfer; times are on the monotonic clock.
struct Heard {
    started: Duration,
    /// Zero where the server is the receiver.
    ended: Duration,
    processor: Duration,
}

/// The process.
struct Client {
    child: Child,
    /// Closed to end it.
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    fn start(
        arena: &RivalArena<'_>,
        to: SocketAddr,
        port: u16,
        way: Way,
        load: Load,
    ) -> Result<Self, Failure> {
        let cannot =
            |error: &dyn Display| Failure::setup(format!("starting {}: {error}", arena.rival.name()));
        // A duplicate is inherited, unlike the descriptor itself; it is closed here once the process has it.
        let inherited: Vec<OwnedFd> =
            arena.devices.iter().filter_map(|device| device.as_fd().and_then(|fd| dup(fd).ok())).collect();
        let mut command = Command::new(arena.program);
        command
            .args([arena.rival.name(), &way.to_string(), &to.to_string(), &port.to_string()])
            .args([arena.mtu.to_string(), load.size.to_string(), load.write_bytes.to_string()])
            .arg(if load.check == Check::EveryOctet { "compare" } else { "count" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        for (fd, path) in inherited.iter().zip(arena.lab.paths()) {
            command.arg(format!("{}={}", fd.as_raw_fd(), path.stack_v4));
        }
        let mut child = command.spawn().map_err(|error| cannot(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = stdout.ok_or_else(|| cannot(&"it has no stdout"))?;
        let (said, lines) = mpsc::channel();
        // Ends with the process.
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
        Ok(Self { child, stdin, lines })
    }

    /// Waits for the line that begins with `word`, and gives the rest of it.
    fn hear(&mut self, word: &str, deadline: Instant) -> Result<String, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => match line.split_once(' ').unwrap_or((&line, "")) {
                (first, rest) if first == word => Ok(rest.to_owned()),
                ("failed", why) => Err(Failure::run(why)),
                _ => Err(Failure::run(format!("it says `{line}`"))),
            },
            Err(RecvTimeoutError::Timeout) => {
                Err(Failure::run(format!("stalled: not over within {} s", TRANSFER_MAX.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Failure::run("it ended early")),
        }
    }

    fn hear_time(&mut self, word: &str, deadline: Instant) -> Result<Duration, Failure> {
        let nanos = self.hear(word, deadline)?;
        nanos.parse().map(Duration::from_nanos).map_err(|_| Failure::run(format!("it says `{word} {nanos}`")))
    }

    fn carry(&mut self, way: Way, deadline: Instant) -> Result<Heard, Failure> {
        let go = self.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(b"go\n"));
        go.map_err(Failure::running("telling it to go"))?;
        Ok(Heard {
            started: self.hear_time("started", deadline)?,
            ended: match way {
                Way::Up => Duration::ZERO,
                Way::Down => self.hear_time("ended", deadline)?,
            },
            processor: self.hear_time("processor", deadline)?,
        })
    }

    /// Why it failed, where it has said so: what its end does to the server says less.
    fn last_word(&mut self) -> Option<Failure> {
        let line = self.lines.try_recv().ok()?;
        line.strip_prefix("failed ").map(Failure::run)
    }

    fn kill(&mut self) {
        // Fails only where it has ended.
        let _ = self.child.kill();
    }
}

impl Drop for Client {
    /// Tells the process that it is over and waits for its end, so that nobody else reads its devices.
    fn drop(&mut self) {
        self.stdin = None;
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.kill();
            }
            thread::park_timeout(Duration::from_millis(2));
        }
    }
}

/// The clock that all processes share.
fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
