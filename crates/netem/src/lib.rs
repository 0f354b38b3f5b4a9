//! Pure models of a network: links and the boxes between them; packet and time in, packets and times out.
//!
//! - [`config`], [`ratio`]: what a link is made of: rate, delay, jitter, loss, queue.
//! - [`link`]: one direction of a link that holds packets until they are due. Under it: [`chance`] (loss,
//!   bursts, copies, damage), [`codel`] (RFC 8289), [`trace`] (recorded rate and delay), and the
//!   arithmetic of departures.
//! - [`middlebox`]: the trait of a box that changes, holds, drops or adds packets, and one file for each
//!   habit: NAT, option strippers, splitters, proxies and more.
//!
//! No clock and no thread in here: the simulator drives a [`Link`] in virtual time, `polytcp-io` in
//! real time, and a seed gives the same losses in both.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod chance;
pub mod codel;
pub mod config;
mod line;
pub mod link;
pub mod middlebox;
pub mod ratio;
pub mod trace;

pub use chance::GilbertElliott;
pub use codel::CodelConfig;
pub use config::{LinkConfig, Order, QueueDiscipline};
pub use link::{Arrival, DropReason, Link, LinkStats, Verdict};
pub use ratio::Ratio;
pub use trace::{MahimahiError, Trace, TraceError, TraceStep};
