//! `libpolytcp`: BSD sockets over a stack for programs in C.
//!
//! This crate is the Rust side of `include/polytcp.h`, which cbindgen makes from it, doc comments included; `install` puts the
//! libraries, the headers and the example where C programs find them. The sockets are those of `polytcp-posix`. What is added
//! here: C's types, one space of descriptors for all stacks of the process, and calls that pass what is the kernel's on to
//! the kernel.
//!
//! # What to read in which order
//!
//! - `stack`: `pt_stack`, the default stack, and what happens at the end of the process. `config`: its text.
//! - `descriptors`: the numbers, and whose they are.
//! - `boundary`: results as C has them, and panics, which end here. `memory`: the caller's pointers. `address`: `struct sockaddr`.
//! - `opening`, `transfer`, `control`: the calls on one socket. `wait`: `poll` and `select`. `epoll`. `bell`: wake-ups as a descriptor.
#![allow(unreachable_pub, reason = "the linker and cbindgen look for `pub`, whichever module it is in")]

mod address;
mod bell;
mod boundary;
mod config;
mod descriptors;
mod memory;

// The header has the calls in this order.
mod stack;

mod opening;

mod transfer;

mod control;

mod wait;

mod epoll;

mod packetdrill;
