//! What is to be carried, from the command line.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
use std::str::FromStr;

/// Octets that a stack may have on their way in each direction: the receive buffer of polytcp. Its send
/// buffer is 4 MiB.
pub const BUFFER_BYTES: usize = 6 << 20;

/// A stack to be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    Smoltcp,
    MptcpRs,
}

/// Which way the data goes: up is from this process to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Up,
    Down,
}

/// A TUN device and the address behind it.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub fd: RawFd,
    pub local: Ipv4Addr,
}

/// One connection, with one transfer.
#[derive(Clone, Debug)]
pub struct Job {
    pub stack: Stack,
    pub way: Way,
    /// The first one has the first subflow.
    pub paths: Vec<Path>,
    pub remote: SocketAddrV4,
    /// To connect from, where the stack does not draw it.
    pub port: u16,
    pub mtu: u16,
    /// Octets in all.
    pub size: u64,
    /// Octets of one write.
    pub write_bytes: usize,
    /// Whether every octet that arrives is compared.
    pub compares: bool,
}

impl Job {
    /// `STACK WAY REMOTE PORT MTU SIZE WRITE compare|count FD=LOCAL…`: what a program writes for a program.
    pub fn parse(mut args: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut next = |what| args.next().ok_or_else(|| bad(what));
        Ok(Self {
            stack: match next("stack")?.as_str() {
                "smoltcp" => Stack::Smoltcp,
                "mptcp-rs" => Stack::MptcpRs,
                _ => return Err(bad("stack")),
            },
            way: match next("way")?.as_str() {
                "up" => Way::Up,
                "down" => Way::Down,
                _ => return Err(bad("way")),
            },
            remote: number(&next("remote")?, "remote")?,
            port: number(&next("port")?, "port")?,
            mtu: number(&next("mtu")?, "mtu")?,
            size: number(&next("size")?, "size")?,
            write_bytes: number(&next("write")?, "write")?,
            compares: next("compare")? == "compare",
            paths: paths(args)?,
        })
    }
}

fn paths(args: impl Iterator<Item = String>) -> io::Result<Vec<Path>> {
    let path = |arg: String| {
        let (fd, local) = arg.split_once('=').ok_or_else(|| bad("path"))?;
        Ok(Path { fd: number(fd, "fd")?, local: number(local, "local")? })
    };
    let paths: Vec<_> = args.map(path).collect::<io::Result<_>>()?;
    if paths.is_empty() { Err(bad("path")) } else { Ok(paths) }
}

fn number<T: FromStr>(text: &str, what: &str) -> io::Result<T> {
    text.parse().map_err(|_| bad(what))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("bad {what}: this program is started by `polytcp bench`"),
    )
}
