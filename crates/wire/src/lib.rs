//! Bytes to types and back.
#![no_std]
#![forbid(unsafe_code)]

pub mod virtio;
