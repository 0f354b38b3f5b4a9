//! The protocol, sans-I/O: TCP, MPTCP, schedulers, path managers and the host that holds them.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod packet;
pub mod rng;
pub mod seq;
pub mod time;
