//! One TCP flow: a subflow of an MPTCP connection, or a plain TCP socket (RFC 9293).
//!
//! Read [`opening`] for the handshake, then [`flow`] for the synchronized states, which `arrival`, `recv`,
//! `send`, [`ack`] and [`recovery`] divide among them; `view` is what an owner sees of a flow, and `idle`
//! what an idle one gives back.

pub mod ack;
mod acked;
mod arrival;
pub mod cc;
pub mod cookie;
mod delivered;
pub mod ecn;
pub mod extension;
pub mod flow;
mod idle;
pub mod info;
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
mod view;
mod window_validation;
