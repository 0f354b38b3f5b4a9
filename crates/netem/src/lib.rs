//! Pure models of a network link: packet and time in, packets and times out.
//!
//! - [`config`]: what a link is made of: rate, delay, jitter, loss, queue.
//! - [`link`]: one direction of a link that holds packets until they are due.
//!
//! No clock and no thread in here: the simulator drives a [`Link`] in virtual time, `polytcp-io` in
//! real time, and a seed gives the same losses in both.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
pub mod link;

pub use config::{LinkConfig, Ratio};
pub use link::{DropReason, Link, LinkStats, Verdict};
