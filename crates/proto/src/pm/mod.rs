//! Path managers: which addresses a connection uses and announces (RFC 8684 §3.4 leaves it open).
//!
//! [`command`] is the only way in and out; [`kernel`] decides as Linux's in-kernel path manager does.

pub mod command;
pub mod kernel;
