//! Initial sequence numbers (RFC 6528 §3) and timestamp offsets (RFC 7323 §5.4) that nobody off the path can guess.
//!
//! Both are a keyed hash of the four-tuple. The same four-tuple gets the same hash again, so a new connection on
//! it starts ahead of the old one by the time that went by, in sequence number and in timestamp: its SYN can be told
//! from an old duplicate, and a TIME-WAIT can be left early (RFC 6191).

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};

use crate::rng::SecretSource;
use crate::seq::SeqNum;
use crate::time::Instant;

/// Nanoseconds per step of the clock in initial sequence numbers: 4 µs, or 250 kHz (RFC 9293 §3.4.1).
const TICK_NANOS: u64 = 4_000;

/// Computes initial sequence numbers and timestamp offsets.
pub struct InitialNumbers {
    secret: [u8; 32],
}

/// What the hash is for; two numbers on the wire must not give each other away.
#[derive(Clone, Copy)]
enum Purpose {
    SequenceNumber = 1,
    Timestamp = 2,
    Spread = 3,
}

impl InitialNumbers {
    /// With a secret drawn from `secrets`.
    pub fn new(secrets: &mut SecretSource) -> Self {
        let mut secret = [0; 32];
        secrets.fill_bytes(&mut secret);
        Self { secret }
    }

    /// The initial sequence number of a connection opened at `now`: ISN = M + F(four-tuple, secret).
    pub fn isn(&self, local: SocketAddr, remote: SocketAddr, now: Instant) -> SeqNum {
        // The clock wraps with the sequence space, every 4.77 hours.
        let clock = (now.as_nanos() / TICK_NANOS) as u32;
        SeqNum(self.hash(Purpose::SequenceNumber, local, remote)) + clock
    }

    /// What the connection adds to its millisecond clock in TSval.
    pub fn timestamp_offset(&self, local: SocketAddr, remote: SocketAddr) -> u32 {
        self.hash(Purpose::Timestamp, local, remote)
    }

    /// Spreads flows evenly over those that can take them, in a way that no peer can foresee.
    pub(crate) fn spread(&self, local: SocketAddr, remote: SocketAddr) -> u32 {
        self.hash(Purpose::Spread, local, remote)
    }

    /// A prefix as key is sound here: every input has the same length, and most of the digest is kept secret.
    fn hash(&self, purpose: Purpose, local: SocketAddr, remote: SocketAddr) -> u32 {
        let digest = Sha256::new()
            .chain_update(self.secret)
            .chain_update([purpose as u8])
            .chain_update(fixed_octets(local.ip()))
            .chain_update(local.port().to_be_bytes())
            .chain_update(fixed_octets(remote.ip()))
            .chain_update(remote.port().to_be_bytes())
            .finalize();
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

impl fmt::Debug for InitialNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitialNumbers")
    }
}

/// An address in a fixed length, to be hashed; IPv4 in its IPv4-mapped form.
pub(crate) fn fixed_octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> InitialNumbers {
        InitialNumbers { secret: core::array::from_fn(|i| i as u8) }
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_numbers_are_those_of_an_independent_sha_256() {
        // Python's hashlib over the secret 00 01 … 1f and the fields as `hash` lists them.
        let (local, remote) = (addr("10.0.1.2:40000"), addr("10.0.1.1:443"));
        assert_eq!(numbers().isn(local, remote, Instant::ZERO), SeqNum(0x6709_ecbb));
        assert_eq!(numbers().timestamp_offset(local, remote), 0xa36a_9158);
        let (local, remote) = (addr("[2001:db8::2]:40000"), addr("[2001:db8::1]:443"));
        assert_eq!(numbers().isn(local, remote, Instant::ZERO), SeqNum(0x0d95_561c));
    }

    #[test]
    fn a_later_connection_on_the_same_addresses_starts_ahead() {
        let (local, remote) = (addr("10.0.1.2:40000"), addr("10.0.1.1:443"));
        let start = Instant::from_millis(1_234_567);
        let first = numbers().isn(local, remote, start);
        let second = numbers().isn(local, remote, start + core::time::Duration::from_secs(1));
        assert_eq!(second.since(first), Some(250_000));
        assert_ne!(numbers().isn(addr("10.0.1.2:40001"), remote, start), first);
    }
}
