//! `ss [-taMlniH46]`: the sockets that are open, and the subflows of MPTCP sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use polytcp_posix::{Errno, SOL_MPTCP};

use super::Outcome;
use crate::address::{self, Family};
use crate::descriptors::{self, Descriptor};
use crate::stack::Net;

/// Numbers of states (`enum` of `tcp_states.h`) as `ss` names them.
const STATES: [&str; 13] = [
    "UNKNOWN",
    "ESTAB",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "UNCONN",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
    "SYN-RECV",
];
const LISTEN: &str = "LISTEN";
const UNCONNECTED: &str = "UNCONN";

const HEADING: &str = "State      Recv-Q Send-Q        Local Address:Port          Peer Address:Port\n";

/// The option, octets of its header (`struct mptcp_subflow_data`) and of each address, of which there are two for a subflow.
const MPTCP_SUBFLOW_ADDRS: i32 = 3;
const SUBFLOW_HEADER_BYTES: usize = 16;
const STORAGE_BYTES: usize = 128;
const SUBFLOWS_MAX: usize = 32;

pub(super) fn run(net: &Arc<Net>, arguments: &[&str]) -> Outcome {
    let letters = |argument: &&str| {
        argument.strip_prefix('-').is_some_and(|flags| flags.chars().all(|flag| "taMlniH46".contains(flag)))
    };
    // Other kinds of sockets, and filters.
    if !arguments.iter().all(letters) {
        return Outcome::Foreign;
    }
    let has = |flag: char| arguments.iter().any(|argument| argument.contains(flag));
    let mut out = String::new();
    if !has('H') {
        out += HEADING;
    }
    let (tcp, mptcp) = (has('t') || !has('M'), has('M') || !has('t'));
    let family = |address: &SocketAddr| has('4') == has('6') || address.is_ipv4() == has('4');
    for descriptor in descriptors::of_net(net) {
        let Ok(socket) = Socket::look(&descriptor) else { continue };
        let is_wanted = match socket.state {
            LISTEN => has('a') || has('l'),
            UNCONNECTED => has('a'),
            _ => !has('l'),
        };
        if !is_wanted || !family(&socket.local) {
            continue;
        }
        if if socket.is_mptcp { mptcp } else { tcp } {
            out += &socket.line(has('i'));
        }
        if socket.is_mptcp && tcp {
            out.extend(
                socket.subflows.iter().map(|(local, remote)| line("ESTAB", (0, 0), *local, Some(*remote))),
            );
        }
    }
    Outcome::told(out)
}

/// What is told of a socket.
struct Socket {
    is_mptcp: bool,
    state: &'static str,
    queues: (i32, i32),
    local: SocketAddr,
    remote: Option<SocketAddr>,
    subflows: Vec<(SocketAddr, SocketAddr)>,
    /// `struct tcp_info`.
    info: Vec<u8>,
}

impl Socket {
    fn look(descriptor: &Descriptor) -> Result<Self, Errno> {
        let (sockets, fd) = (&descriptor.net.sockets, descriptor.fd);
        let option = |level, name, room: usize| {
            let mut value = vec![0; room];
            let len = sockets.getsockopt(fd, level, name, &mut value)?;
            value.truncate(len);
            Ok::<_, Errno>(value)
        };
        let number = |level, name| {
            let value = option(level, name, 4)?;
            Ok::<_, Errno>(value.try_into().map_or(0, i32::from_ne_bytes))
        };
        let is_mptcp = number(libc::SOL_SOCKET, libc::SO_PROTOCOL)? == libc::IPPROTO_MPTCP;
        let info = option(libc::SOL_TCP, libc::TCP_INFO, 256).unwrap_or_default();
        let listens = number(libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0;
        let remote = sockets.getpeername(fd).ok();
        let state = match info.first() {
            _ if listens => LISTEN,
            _ if remote.is_none() => UNCONNECTED,
            Some(state) => STATES.get(usize::from(*state)).copied().unwrap_or(STATES[0]),
            None => UNCONNECTED,
        };
        let queues = match listens {
            true => (0, 0),
            false => (
                sockets.ioctl(fd, u64::from(libc::FIONREAD as u32)).unwrap_or(0),
                sockets.ioctl(fd, u64::from(libc::TIOCOUTQ as u32)).unwrap_or(0),
            ),
        };
        let subflows = match is_mptcp {
            true => {
                let mut value = vec![0; SUBFLOW_HEADER_BYTES + SUBFLOWS_MAX * 2 * STORAGE_BYTES];
                // What the caller knows: how long the header is, and each entry.
                value[0] = SUBFLOW_HEADER_BYTES as u8;
                value[12..16].copy_from_slice(&(2 * STORAGE_BYTES as u32).to_ne_bytes());
                let len = sockets.getsockopt(fd, SOL_MPTCP, MPTCP_SUBFLOW_ADDRS, &mut value).unwrap_or(0);
                subflows(&value[..len])
            }
            false => Vec::new(),
        };
        Ok(Self { is_mptcp, state, queues, local: sockets.getsockname(fd)?, remote, subflows, info })
    }

    fn line(&self, with_info: bool) -> String {
        let mut text = line(self.state, self.queues, self.local, self.remote);
        let number = |at: usize| {
            self.info
                .get(at..at + 4)
                .map(|octets| u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]))
        };
        if let (true, Some(rto), Some(mss), Some(rtt), Some(rttvar), Some(cwnd)) =
            (with_info, number(8), number(16), number(68), number(72), number(80))
        {
            let millis = |micros: u32| f64::from(micros) / 1000.0;
            text += &format!(
                "\t rto:{} rtt:{}/{} mss:{mss} cwnd:{cwnd}\n",
                millis(rto),
                millis(rtt),
                millis(rttvar)
            );
        }
        text
    }
}

fn line(state: &str, (recv, send): (i32, i32), local: SocketAddr, remote: Option<SocketAddr>) -> String {
    let remote = remote.map_or_else(|| "*:*".to_owned(), |remote| remote.to_string());
    format!("{state:<10} {recv:<6} {send:<6} {:>25} {remote:>25}\n", local.to_string())
}

/// The addresses in a value of `MPTCP_SUBFLOW_ADDRS`.
fn subflows(value: &[u8]) -> Vec<(SocketAddr, SocketAddr)> {
    let addresses = value.get(SUBFLOW_HEADER_BYTES..).unwrap_or_default().chunks_exact(2 * STORAGE_BYTES);
    let pairs = addresses.filter_map(|pair| {
        let (local, remote) = pair.split_at(STORAGE_BYTES);
        Some((decode(local)?, decode(remote)?))
    });
    pairs.collect()
}

/// A `struct sockaddr_storage`.
fn decode(storage: &[u8]) -> Option<SocketAddr> {
    let family = match i32::from(u16::from_ne_bytes([storage[0], storage[1]])) {
        libc::AF_INET => Family::Inet,
        libc::AF_INET6 => Family::Inet6,
        _ => return None,
    };
    address::to_bind(family, storage).ok()
}
