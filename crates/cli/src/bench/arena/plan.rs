//! What competing hosts are made with.

use std::fmt;
use std::net::IpAddr;

use clap::ValueEnum;
use polytcp::io::{CaptureFile, LinkConfig};
use polytcp_lab::{PathConfig, Protocol};
use serde::Serialize;

use crate::bench::cores::Cores;

/// The kernel's congestion control where nothing else is asked for: the default here may be another one,
/// which cannot be changed for a namespace.
pub(in crate::bench) const KERNEL_CC: &str = "cubic";

/// What a kernel saw of a peer in one connection is not to shape the next one.
pub(super) const FORGETFUL: [(&str, &str); 1] = [("net.ipv4.tcp_no_metrics_save", "1")];

pub(super) const CHECKSUMS: &str = "net.mptcp.checksum_enabled";

/// Which cores do the receive processing of devices that are made later: receive packet steering.
pub(super) const STEERING: &str = "net.core.rps_default_mask";

/// An emulated link, from the client and to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::bench) struct TwoWay {
    pub(in crate::bench) up: LinkConfig,
    pub(in crate::bench) down: LinkConfig,
}

impl From<LinkConfig> for TwoWay {
    /// The same in both directions.
    fn from(link: LinkConfig) -> Self {
        Self { up: link, down: link }
    }
}

/// What emulated hosts are made with.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Plan<'a> {
    pub(in crate::bench) links: &'a [TwoWay],
    /// What the links' losses follow from.
    pub(in crate::bench) seed: u64,
    /// The stack's congestion control; its default where there is none.
    pub(in crate::bench) cc: Option<&'a str>,
    /// The stack's packet scheduler; its default where there is none.
    pub(in crate::bench) sched: Option<&'a str>,
    /// The kernels' congestion control.
    pub(in crate::bench) kernel_cc: &'a str,
    /// Where the client's packets are written.
    pub(in crate::bench) capture: Option<&'a CaptureFile>,
}

/// What hosts without emulated links between them are made with.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Direct<'a> {
    pub(in crate::bench) paths: u8,
    pub(in crate::bench) mtu: u16,
    pub(in crate::bench) family: Family,
    /// DSS checksums.
    pub(in crate::bench) checksums: bool,
    /// The stack's.
    pub(in crate::bench) sockets: Sockets,
    /// Each kernel receives on its own side's core (RPS).
    pub(in crate::bench) steered: Option<Cores>,
    pub(in crate::bench) protocol: Protocol,
    /// The stack's congestion control; its default where there is none.
    pub(in crate::bench) cc: Option<&'a str>,
    /// The kernel connects to the stack, and joins over all paths.
    pub(in crate::bench) serves: bool,
}

impl Direct<'_> {
    /// MPTCP over IPv4 between blocking sockets, without checksums.
    pub(in crate::bench) const fn new(paths: u8, mtu: u16) -> Self {
        Self {
            paths,
            mtu,
            family: Family::Ipv4,
            checksums: false,
            sockets: Sockets::Blocking,
            steered: None,
            protocol: Protocol::Mptcp,
            cc: None,
            serves: false,
        }
    }
}

/// The addresses' family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::bench) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    /// The server's address on a path.
    pub(super) fn server(self, path: &PathConfig) -> IpAddr {
        match self {
            Self::Ipv4 => path.kernel_v4.into(),
            Self::Ipv6 => path.kernel_v6.into(),
        }
    }

    /// The client's address on a path, and the length of its network's prefix.
    pub(super) fn client(self, path: &PathConfig) -> (IpAddr, u8) {
        match self {
            Self::Ipv4 => (path.stack_v4.into(), path.prefix_len_v4),
            Self::Ipv6 => (path.stack_v6.into(), path.prefix_len_v6),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// By whom the stack's data is carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::bench) enum Sockets {
    /// Threads that block.
    Blocking,
    /// Threads that block, and pass what they own instead of having it copied (`write_chunk`, `read_chunk`).
    Chunks,
    /// Tasks in a multi-threaded tokio runtime.
    Tokio,
}
