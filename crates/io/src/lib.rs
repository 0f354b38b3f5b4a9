//! Devices: where packets of a host leave and arrive, in real time.
//!
//! - [`device`]: the [`Device`] trait, what a device can do and what becomes of a packet.
//! - [`clock`]: the monotonic clock in the core's own unit.
//! - [`rx_pool`]: memory for received packets, shared by many of them and reused.
//! - [`tun`]: a Linux TUN device with segmentation and checksum offload.
//! - [`memory`]: two devices joined in memory, for tests and demos without privileges.
//! - [`segment`], [`coalesce`]: in software what offload does in a NIC: cut, complete, join again.
//! - [`links`], [`emulated`], [`bridge`]: links of `polytcp-netem` in front of a device, or between two.
//! - [`boxes`]: middleboxes of `polytcp-netem` on both sides of those links.
//! - [`capture`]: a device whose packets are written to a pcapng file.
//!
//! The only crate under the stack that makes system calls.
#![deny(unsafe_code)]

pub mod boxes;
pub mod bridge;
pub mod capture;
pub mod clock;
pub mod coalesce;
pub mod device;
pub mod emulated;
mod headers;
pub mod links;
pub mod memory;
mod outlet;
mod passage;
pub mod rx_pool;
pub mod segment;
#[cfg(test)]
mod testing;
pub mod tun;

pub use boxes::Boxes;
pub use bridge::{Bridge, BridgeHandle};
pub use capture::{CaptureFile, Captured};
pub use clock::monotonic_now;
pub use device::{Capabilities, Device, SendOutcome};
pub use emulated::Emulated;
pub use links::{Direction, EmulatedStats, LinkControl};
pub use memory::{MemoryConfig, MemoryDevice};
pub use polytcp_netem::{
    CodelConfig, GilbertElliott, LinkConfig, LinkStats, Order, QueueDiscipline, Ratio, Trace, TraceStep,
    middlebox,
};
/// Packets as a [`Device`] takes and gives them.
pub use polytcp_proto::packet;
pub use rx_pool::RxPool;
pub use tun::{Offload, Tun, TunConfig};
