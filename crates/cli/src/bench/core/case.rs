//! What `bench core` measures: protocol, size of segments, checksums, loss, and idle connections beside it.

use std::fmt;
use std::time::{Duration, Instant};

use polytcp_proto::config::HostConfig;

use super::pair::{Pair, Setup};
use crate::failure::Failure;
use crate::pattern::Pattern;

/// Subflow limit of both hosts.
const SUBFLOWS: u32 = 8;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// 0: plain TCP.
    subflows: u8,
    /// The device cuts segments of 64 KiB; else they leave as the MTU of 1,500 has them.
    is_large: bool,
    /// DSS checksums.
    checksums: bool,
    loss_percent: u32,
    /// Connections beside it that carry nothing.
    idle: usize,
}

const fn case(subflows: u8, is_large: bool) -> Case {
    Case { subflows, is_large, checksums: false, loss_percent: 0, idle: 0 }
}

const fn summed(subflows: u8, is_large: bool) -> Case {
    Case { checksums: true, ..case(subflows, is_large) }
}

const fn lossy(subflows: u8, is_large: bool) -> Case {
    Case { loss_percent: 1, ..case(subflows, is_large) }
}

const fn among(subflows: u8, is_large: bool) -> Case {
    Case { idle: 10_000, ..case(subflows, is_large) }
}

/// All, in the order in which they are told.
pub(super) const CASES: [Case; 20] = [
    case(0, true),
    case(1, true),
    case(2, true),
    case(8, true),
    summed(1, true),
    summed(2, true),
    lossy(0, true),
    lossy(2, true),
    among(0, true),
    among(2, true),
    case(0, false),
    case(1, false),
    case(2, false),
    case(8, false),
    summed(1, false),
    summed(2, false),
    lossy(0, false),
    lossy(2, false),
    among(0, false),
    among(2, false),
];

/// What one transfer took.
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// With payload, from the sender's host.
    pub(super) segments: u64,
}

impl Case {
    pub(super) fn named(name: &str) -> Result<Self, Failure> {
        let found = CASES.iter().find(|case| case.to_string() == name);
        found.copied().ok_or_else(|| Failure::Setup(format!("no case is called {name}")))
    }

    /// Sends `size` octets over a connection of its own; the time is without that for connecting.
    pub(super) fn transfer(&self, size: u64, compare: bool) -> Result<Measured, Failure> {
        let mut config = HostConfig::default();
        config.tcp.pacing = false;
        config.mptcp.checksum_enabled = self.checksums;
        config.mptcp.subflows = SUBFLOWS;
        let mut pair = Pair::new(&Setup {
            config,
            paths: self.subflows.max(1),
            segment_bytes_max: if self.is_large { 65_535 } else { 1_500 },
            lost_per_million: self.loss_percent * 10_000,
        })?;
        for _ in 0..self.idle {
            pair.connect(usize::from(self.subflows))?;
        }
        let ids = pair.connect(usize::from(self.subflows))?;
        let pattern = Pattern::new(1);
        let begun = Instant::now();
        let segments = pair.transfer(ids, size, &pattern, compare)?;
        Ok(Measured { elapsed: begun.elapsed(), segments })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subflows {
            0 => f.write_str("tcp")?,
            subflows => write!(f, "mptcp-{subflows}")?,
        }
        f.write_str(if self.is_large { "-64k" } else { "-1448" })?;
        if self.checksums {
            f.write_str("-checksums")?;
        }
        if self.loss_percent > 0 {
            write!(f, "-loss{}", self.loss_percent)?;
        }
        if self.idle > 0 {
            write!(f, "-idle{}", self.idle)?;
        }
        Ok(())
    }
}
