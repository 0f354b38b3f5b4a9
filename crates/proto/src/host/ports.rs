//! Choice of local ports for outgoing connections: double-hash port selection (RFC 6056 §3.3.4, algorithm 4).
//!
//! Towards one destination the ports follow each other from a secret starting point, so that a port comes back as
//! late as possible; towards different destinations they tell an observer nothing about each other.
//! Whether a port is free is the caller's knowledge.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use sha2::{Digest, Sha256};

use crate::rng::SecretSource;
use crate::tcp::isn::fixed_octets;

/// Ports that are chosen from (Linux's default of `net.ipv4.ip_local_port_range`; RFC 6056 §3.2 would
/// have all from 1024 on, but peers' firewalls know this range).
pub const EPHEMERAL_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// Counters; as many destinations may share one. RFC 6056 §3.3.4 is content with ten; each counter more
/// leaves less to learn from a shared one.
const COUNTERS: usize = 1_024;

/// Chooses ephemeral ports.
pub struct EphemeralPorts {
    range: RangeInclusive<u16>,
    /// Keys both hash functions, which are different parts of one digest.
    secret: [u8; 32],
    counters: Box<[u32; COUNTERS]>,
}

impl EphemeralPorts {
    /// A chooser over [`EPHEMERAL_PORTS`] with a secret drawn from `secrets`.
    pub fn new(secrets: &mut SecretSource) -> Self {
        let mut secret = [0; 32];
        secrets.fill_bytes(&mut secret);
        let mut counters = Box::new([0; COUNTERS]);
        // Unknown starting values hide how many connections there have been.
        counters.fill_with(|| secrets.next_u32());
        Self { range: EPHEMERAL_PORTS, secret, counters }
    }

    /// Chooses from `range` from now on; an empty one makes every choice fail.
    pub fn set_range(&mut self, range: RangeInclusive<u16>) {
        self.range = range;
    }

    /// The range that is chosen from.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.range.clone()
    }

    /// A port for a connection from `local` to `remote` that `is_free` accepts, or `None` when it accepts none.
    ///
    /// Asks about each port at most once.
    pub fn choose(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let (first, last) = (u32::from(*self.range.start()), u32::from(*self.range.end()));
        let count = (last + 1).checked_sub(first).filter(|count| *count > 0)?;
        let (offset, index) = self.hashes(local, remote);
        let counter = &mut self.counters[index % COUNTERS];
        for _ in 0..count {
            let port = (first + offset.wrapping_add(*counter) % count) as u16;
            *counter = counter.wrapping_add(1);
            if is_free(port) {
                return Some(port);
            }
        }
        None
    }

    /// F and G of the algorithm.
    fn hashes(&self, local: IpAddr, remote: SocketAddr) -> (u32, usize) {
        let digest = Sha256::new()
            .chain_update(self.secret)
            .chain_update(fixed_octets(local))
            .chain_update(fixed_octets(remote.ip()))
            .chain_update(remote.port().to_be_bytes())
            .finalize();
        let word =
            |at: usize| u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
        (word(0), word(4) as usize)
    }
}

impl core::fmt::Debug for EphemeralPorts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "EphemeralPorts({:?})", self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LOCAL: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 1, 2));

    fn ports() -> EphemeralPorts {
        EphemeralPorts {
            range: EPHEMERAL_PORTS,
            secret: [7; 32],
            counters: Box::new([u32::MAX - 5; COUNTERS]),
        }
    }

    fn server(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, 1], port))
    }

    #[test]
    fn towards_one_destination_ports_follow_each_other_and_no_port_comes_twice_in_a_run() {
        let mut ports = ports();
        ports.set_range(32_768..=40_959); // 2^13 ports, which the wrap of a counter does not disturb
        let chosen: BTreeSet<u16> =
            (0..8_192).filter_map(|_| ports.choose(LOCAL, server(443), |_| true)).collect();
        assert_eq!(chosen.len(), 8_192);
        assert_eq!((chosen.first(), chosen.last()), (Some(&32_768), Some(&40_959)));
    }

    #[test]
    fn destinations_start_at_unrelated_ports() {
        let mut ports = ports();
        let starts: BTreeSet<u16> =
            (1..=100).filter_map(|port| ports.choose(LOCAL, server(port), |_| true)).collect();
        assert!(starts.len() > 95, "{}", starts.len());
        assert!(starts.iter().all(|port| EPHEMERAL_PORTS.contains(port)));
        assert!(starts.last().expect("some") - starts.first().expect("some") > 20_000);
    }

    #[test]
    fn the_only_free_port_is_found_and_a_full_range_ends() {
        let mut ports = ports();
        assert_eq!(ports.choose(LOCAL, server(80), |port| port == 60_999), Some(60_999));
        let mut asked = 0;
        let none = ports.choose(LOCAL, server(80), |_| {
            asked += 1;
            false
        });
        assert_eq!((none, asked), (None, 28_232));
        ports.set_range(RangeInclusive::new(5, 4));
        assert_eq!(ports.choose(LOCAL, server(80), |_| true), None);
        ports.set_range(0..=u16::MAX);
        assert_eq!(ports.choose(LOCAL, server(80), |port| port == 0), Some(0));
    }
}
