//! One TCP flow: a subflow of an MPTCP connection, or a plain TCP socket (RFC 9293).
//!
//! Read [`opening`] for the handshake, then [`flow`] for the synchronized states, which `recv`,
//! `send`, [`ack`] and [`recovery`] divide among them.

pub mod ack;
mod acked;
pub mod cc;
pub mod cookie;
mod delivered;
pub mod ecn;
pub mod extension;
pub mod flow;
pub mod isn;
mod mtu_probe;
pub mod opening;
pub mod path_mtu;
pub mod rate;
pub mod recovery;
mod recv;
mod recv_rtt;
pub mod rtt;
pub mod segment;
mod send;
mod spurious;
pub mod time_wait;
mod timers;
mod usage;
mod window_validation;
