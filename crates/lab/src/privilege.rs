//! Whether a lab can run here, and how a program without root gets to where it can.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use socket2::{Domain, Socket, Type};

use crate::namespace::Namespace;

const ENTERED: &str = "POLYTCP_LAB_ENTERED";
const REQUIRE: &str = "POLYTCP_REQUIRE_LAB";
const TUN: &str = "/dev/net/tun";

/// Why a lab cannot run here: one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Finds out whether a lab can run: namespaces, TUN devices, and MPTCP in the kernel.
///
/// # Errors
/// With the first thing that is missing.
pub fn available() -> Result<(), Unavailable> {
    let namespace = Namespace::create().map_err(|error| {
        let hint = if geteuid().is_root() { "" } else { " (not root, and not in polytcp_lab::enter)" };
        Unavailable(format!("{error}{hint}"))
    })?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(TUN)
        .map_err(|error| Unavailable(format!("opening {TUN}: {error}")))?;
    namespace
        .run(|| Socket::new(Domain::IPV4, Type::STREAM, Some(socket2::Protocol::MPTCP)))
        .map_err(|error| Unavailable(format!("opening an MPTCP socket: {error}")))?;
    Ok(())
}

/// For the first line of a test: true when a lab can run, else says so loudly and returns false.
///
/// # Panics
/// When no lab can run and `POLYTCP_REQUIRE_LAB=1` is set, as in CI: there a skip is a failure.
pub fn require_or_skip() -> bool {
    match available() {
        Ok(()) => true,
        Err(reason) if std::env::var_os(REQUIRE).is_some_and(|value| value == "1") => {
            panic!("{REQUIRE}=1, but no lab can run here: {reason}")
        }
        Err(reason) => {
            eprintln!("SKIPPED: lab: {reason}");
            false
        }
    }
}

/// Gets a program to where it may make a lab. To be called first in `main`.
///
/// Returns at once for root and inside the child. For any other user it starts the same program again
/// with the same arguments, as root of a user namespace and a network namespace of its own, waits for it
/// and exits with its status: a process that has threads cannot enter a user namespace, a child between
/// fork and exec has none.
///
/// # Errors
/// When the child cannot be started, mostly because user namespaces are forbidden.
pub fn enter() -> io::Result<()> {
    if geteuid().is_root() || std::env::var_os(ENTERED).is_some() {
        return Ok(());
    }
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1)).env(ENTERED, "1");
    let maps = IdMaps::of_this_user();
    // SAFETY: the child calls only unshare, open, write and close there, all async-signal-safe, on
    // strings that were made before the fork.
    unsafe {
        command.pre_exec(move || {
            // SAFETY: the child has one thread and execs next, so that nothing relies on what is left.
            unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
            maps.write()
        });
    }
    let status = command.status()?;
    // A child killed by a signal has no code; 128 + signal is what shells say.
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
    std::process::exit(status.code().unwrap_or(128 + signal))
}

/// What makes this user the root of a new user namespace.
struct IdMaps {
    users: String,
    groups: String,
}

impl IdMaps {
    fn of_this_user() -> Self {
        Self { users: format!("0 {} 1", geteuid().as_raw()), groups: format!("0 {} 1", getegid().as_raw()) }
    }

    fn write(&self) -> io::Result<()> {
        // user_namespaces(7): the group map may be written only after setgroups is given up.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", &self.users)?;
        fs::write("/proc/self/gid_map", &self.groups)
    }
}
