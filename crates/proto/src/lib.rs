//! The protocol, sans-I/O: TCP, MPTCP, schedulers, path managers and the host that holds them.
//!
//! Nothing here reads a clock, a socket, a file or a global source of randomness: time and secrets are
//! arguments, packets are buffers, and the same inputs give the same outputs, byte for byte.
//!
//! Read in this order:
//!
//! | module | what |
//! | --- | --- |
//! | [`time`], [`rng`], [`seq`], [`ranges`], [`map`] | the words: time, chance, three sequence spaces, sets of them |
//! | [`packet`], [`config`], [`sysctl`], [`counters`] | what passes a device; what a host is told, as fields and under Linux's names; what it counts |
//! | [`reassembly`] | out-of-order data, for both sequence levels |
//! | [`tcp`] | one flow: a subflow, or a plain TCP socket |
//! | [`sched`], [`pm`] | which subflow takes the next run; which addresses are used |
//! | [`mptcp`] | one connection over its subflows |
//! | [`host`] | interfaces, listeners, connections, and the contract with a driver |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
pub mod counters;
pub mod host;
pub mod map;
pub mod mptcp;
pub mod packet;
pub mod pm;
pub mod ranges;
pub mod reassembly;
pub mod rng;
pub mod sched;
pub mod seq;
pub mod sysctl;
pub mod tcp;
pub mod time;
