//! Packet scripts: one host against segments made by hand, in virtual time.
//!
//! A script reads as the trace that a colleague would draw: what the peer sends (`receives`), what the host has
//! to send (`sends`), and how much time goes by between (`after`). Sequence numbers are relative: a SYN is 0, the
//! first octet is 1, the same for data sequence numbers from the IDSN of their sender. Whatever the host sends has
//! to be named, at its time: a segment that no line expects fails the script.
//!
//! - [`segment`]: the words for a segment. [`script`]: a host, its subflows, and how a story begins.
//! - [`running`]: packets and time. [`application`]: what the application does.
//! - [`expected`]: what the host sends, compared. [`packets`]: a segment's octets. [`trace`]: the story told.
#![allow(dead_code, unreachable_pub)]

use std::net::IpAddr;

use polytcp_proto::config::HostConfig;
pub use polytcp_proto::time::Duration;

mod application;
mod expected;
mod packets;
mod running;
mod script;
mod segment;
mod trace;

pub use packets::dss_checksum;
pub use script::Script;
pub use segment::{Seg, ack, bulk, bulk_at, data, fin, rst, rst_ack, syn, syn_ack};

/// The peer's key.
pub const PEER_KEY: u64 = 0x0123_4567_89ab_cdef;
/// The peer's random number in MP_JOIN.
pub const PEER_NONCE: u32 = 0x5eed_cafe;
/// Distance between the peer's initial sequence numbers of its subflows; the first lies near the wrap.
const PEER_ISS: u32 = u32::MAX - 1_000;
const PEER_CLOCK: u32 = u32::MAX - 5_000;

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The host's address on path `n`.
pub fn host_ip(path: usize) -> IpAddr {
    IpAddr::from([10, 0, path as u8, 1])
}

/// The peer's address on path `n`.
pub fn peer_ip(path: usize) -> IpAddr {
    IpAddr::from([10, 0, path as u8, 2])
}

/// The octets that stand at `offset` of any test stream.
pub fn octets(offset: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| ((offset + i).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub fn config() -> HostConfig {
    HostConfig::default()
}
