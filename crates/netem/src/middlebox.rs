//! Boxes between two hosts that change, hold, drop or add packets.
//!
//! A box is given IP packets as they are on a wire: no larger than the path's MTU, checksums complete.
//! Each is a small model of one habit that is found in the Internet; [`Chain`] puts several in a row.
//! What a box does not concern itself with passes octet for octet: other protocols, fragments, and
//! segments with a wrong checksum, which the receiver is to find.
//!
//! All memory is bounded: tables of flows forget the flow that was silent the longest.

pub mod alg;
pub mod chain;
pub mod coalesce;
pub mod drop_mptcp_syn;
pub mod ecn;
mod flow;
pub mod inject;
pub mod mtu;
pub mod nat;
mod options;
pub mod payload;
pub mod pep;
mod quoted;
pub mod replay;
pub mod rewrite_isn;
mod segment;
pub mod split;
mod stream;
pub mod strip_mptcp;
pub mod strip_unknown;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod turned;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use polytcp_proto::time::Instant;

pub use alg::ApplicationGateway;
pub use chain::Chain;
pub use coalesce::{Coalesce, CoalesceConfig, JoinedOptions};
pub use drop_mptcp_syn::DropMptcpSyn;
pub use ecn::{EcnChange, EcnRewriter};
pub use inject::{BlindInjector, InjectConfig};
pub use mtu::{MtuBlackHole, TooBig, TooBigConfig};
pub use nat::{Forgotten, Nat, NatConfig};
pub use payload::ChangePayload;
pub use pep::{Pep, PepConfig};
pub use replay::{Replay, ReplayConfig, ReplayMode};
pub use rewrite_isn::RewriteIsn;
pub use split::{Split, SplitOptions};
pub use strip_mptcp::{MptcpPackets, StripMptcp};
pub use strip_unknown::StripUnknown;
pub use turned::Turned;

/// Which way a packet goes through a box.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Direction {
    /// From the inside (the client's side, the private network) to the outside.
    Outward,
    /// From the outside to the inside.
    Inward,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Outward => Self::Inward,
            Self::Inward => Self::Outward,
        }
    }
}

/// What leaves a box, in order, each packet with the way that it goes.
#[derive(Clone, Debug, Default)]
pub struct Output {
    packets: VecDeque<(Direction, Vec<u8>)>,
}

impl Output {
    /// Nothing.
    pub const fn new() -> Self {
        Self { packets: VecDeque::new() }
    }

    /// Appends a packet.
    pub fn push(&mut self, direction: Direction, packet: Vec<u8>) {
        self.packets.push_back((direction, packet));
    }

    /// Takes the first packet.
    pub fn pop(&mut self) -> Option<(Direction, Vec<u8>)> {
        self.packets.pop_front()
    }

    /// Number of packets.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there is no packet.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

/// A box between two hosts.
///
/// Call [`handle`](Self::handle) for each packet, and [`poll`](Self::poll) when
/// [`next_deadline`](Self::next_deadline) has come. Nothing else makes a box act; what it sends later, it
/// sends from `poll`.
pub trait Middlebox: fmt::Debug + Send {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// Takes an IP packet that goes in `direction` and appends to `out` what leaves at once.
    fn handle(&mut self, now: Instant, direction: Direction, packet: Vec<u8>, out: &mut Output);

    /// When [`poll`](Self::poll) has something to do next, if ever.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Appends to `out` what leaves by `now` on the box's own account.
    fn poll(&mut self, _now: Instant, _out: &mut Output) {}
}
