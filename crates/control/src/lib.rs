//! The `mptcp_pm` generic-netlink interface: its messages as types, and a client for them.
//!
//! [`KernelClient`] sends a [`PmCommand`](polytcp_proto::pm::command::PmCommand) to the Linux kernel of
//! the calling thread's network namespace, [`Events`] receives what its path manager tells. Both stand on
//! the codec, which knows nothing of sockets and works in both directions, so that a running stack can be
//! served with the same messages:
//!
//! - [`message`]: a message without its netlink header, and the numbers of commands and events
//! - [`command`], [`reply`], [`event`]: typed values to messages and back
//! - [`attribute`]: netlink attributes; [`endpoint`]: the nested address attribute
//! - [`netlink`]: netlink headers, acknowledgements and extended errors on a socket
#![forbid(unsafe_code)]

pub mod attribute;
pub mod client;
pub mod command;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod events;
pub mod message;
pub mod netlink;
pub mod reply;

pub use client::KernelClient;
pub use error::ControlError;
pub use events::Events;
