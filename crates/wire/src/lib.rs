//! Bytes to types and back: everything of `polytcp` that knows an offset or a bit.
//!
//! Nothing here allocates, keeps state, or trusts a length it was given. Numbers are bare integers as
//! on the wire; `polytcp-proto` wraps them into sequence numbers, keys and tokens.
//!
//! Read in this order, which is also the order of the imports:
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`addresses`] | the pair of addresses of a packet |
//! | [`checksum`] | the Internet checksum, pseudo-headers, updates in place |
//! | [`ip`] | IPv4 and IPv6 headers; single fields changed in place |
//! | [`icmp`] | echo and errors, with the packet that an error quotes |
//! | [`mptcp`] | the MPTCP option and its subtypes |
//! | [`tcp_option`] | the other options, one at a time |
//! | [`option_space`] | the forty octets in which options are laid out |
//! | [`raw_options`] | options as octets at their places |
//! | [`tcp_options`] | all options of one segment |
//! | [`tcp`] | the TCP header |
//! | [`virtio`] | the virtio-net header of a device with offload |
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod addresses;
pub mod checksum;
mod cursor;
pub mod icmp;
pub mod ip;
pub mod mptcp;
pub mod option_space;
pub mod raw_options;
pub mod tcp;
pub mod tcp_option;
pub mod tcp_options;
pub mod virtio;
