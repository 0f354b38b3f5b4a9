//! Runs the command, bounded in time.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longest that the command may take, above what it needs on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// What the command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn stdout_text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is text")
    }

    /// The only line of stderr.
    pub(crate) fn only_line(&self) -> &str {
        let line = self.stderr.strip_suffix('\n').expect("stderr ends with a newline");
        assert!(!line.is_empty() && !line.contains('\n'), "not one line: {:?}", self.stderr);
        line
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polytcp"));
    command.args(args);
    command
}

/// Starts the command in the network namespace of the calling thread.
pub(crate) fn spawn(args: &[&str]) -> Child {
    command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts")
}

/// Gives the command `input` and waits for its end.
pub(crate) fn finish(mut child: Child, input: &[u8]) -> Ran {
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let mut stderr = child.stderr.take().expect("piped");
    let input = input.to_vec();
    // A command that ends early closes its stdin.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let out = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).expect("stdout");
        bytes
    });
    let err = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).expect("stderr");
        text
    });
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("kill");
            child.wait().expect("wait");
            panic!("the command takes more than {LIMIT:?}; stderr: {}", err.join().expect("no panic"));
        }
        thread::park_timeout(Duration::from_millis(5));
    };
    writer.join().expect("no panic");
    Ran {
        status: status.code(),
        stdout: out.join().expect("no panic"),
        stderr: err.join().expect("no panic"),
    }
}

pub(crate) fn run(args: &[&str]) -> Ran {
    finish(spawn(args), b"")
}
