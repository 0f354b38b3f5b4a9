//! Multipath TCP (RFC 8684, version 1) in user space: a running stack and its sockets.
//!
//! A [`Stack`] is a host of its own: it has addresses, devices on which its packets leave and arrive,
//! and connections, none of which the kernel knows. What it needs of the kernel is a device, such as
//! TUN. Streams read and write like those of tokio or the standard library:
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn example() -> std::io::Result<()> {
//! use polytcp::{EndpointFlags, MptcpStream, Stack};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let stack = Stack::builder()
//!     .tun("poly0", ["10.0.1.2/24"])?      // one path
//!     .tun("poly1", ["10.0.2.2/24"])?      // another
//!     .endpoint("10.0.2.2", EndpointFlags::SUBFLOW)
//!     .start()?;
//! let mut stream = MptcpStream::connect(&stack, "10.0.1.1:443").await?;   // tokio AsyncRead + AsyncWrite
//! stream.write_all(b"hello").await?;
//! let mut answer = Vec::new();
//! stream.read_to_end(&mut answer).await?;
//! # Ok(()) }
//! ```
//!
//! Two stacks joined in memory need no privileges, and serve tests:
//!
//! ```
//! use std::io::{Read, Write};
//! use polytcp::blocking::{MptcpListener, MptcpStream};
//! use polytcp::Stack;
//! use polytcp::io::{MemoryConfig, MemoryDevice};
//!
//! # fn main() -> std::io::Result<()> {
//! let (a, b) = MemoryDevice::pair(MemoryConfig::default())?;
//! let client = Stack::builder().device(a, ["10.0.1.2/24"]).start()?;
//! let server = Stack::builder().device(b, ["10.0.1.1/24"]).start()?;
//!
//! let listener = MptcpListener::bind(&server, "10.0.1.1:443")?;
//! let mut stream = MptcpStream::connect(&client, "10.0.1.1:443")?;
//! let (mut accepted, _) = listener.accept()?;
//!
//! stream.write_all(b"hello")?;
//! stream.shutdown(std::net::Shutdown::Write)?;
//! let mut text = String::new();
//! accepted.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! assert!(stream.is_mptcp()?);
//! # Ok(()) }
//! ```
//!
//! # What to read in which order
//!
//! - `stack`, `builder`: the handle, and what a stack is made of.
//! - `stream`, `halves`, `listener`, [`blocking`]: the sockets' faces. `async_io`: the async traits.
//! - `socket`, `acceptor`: what the faces share: every call once, as a poll function.
//! - [`raw`]: the host itself, for sockets with another face. `block`: the memory that writes are copied into.
//! - `shared`: the lock, the one way to the host, and what is done after the lock.
//! - `engine`: a round, and the thread that does rounds. `reactor`: what it sleeps on.
//! - `drive`: who drives a stack without that thread. `busy_callers`: who does while calls send a lot.
//! - `device_slot`: a device and its transmit ring.
//! - `waiters`, `registration`, `parker`: who waits, how he is entered, and how a thread sleeps. `cooperation`: tasks
//!   that never have to wait yield.
#![forbid(unsafe_code)]

mod acceptor;
mod address;
mod async_io;
mod block;
pub mod blocking;
mod builder;
mod busy_callers;
mod cooperation;
mod device_slot;
mod drive;
mod engine;
mod error;
mod halves;
mod listener;
mod mutex;
mod parker;
mod path;
mod pm_events;
pub mod raw;
mod reactor;
mod readiness;
mod registration;
mod shared;
mod socket;
mod stack;
mod stream;
mod waiters;

pub use address::Address;
pub use builder::StackBuilder;
pub use halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use listener::MptcpListener;
pub use path::PathInfo;
pub use pm_events::PmEvents;
pub use readiness::SocketReadiness;
pub use stack::Stack;
pub use stream::MptcpStream;

/// Devices and links to make stacks of.
pub use polytcp_io as io;
pub use polytcp_proto::config::{
    HostConfig, IpFields, Keepalive, MptcpConfig, SynCookies, TcpConfig, fastopen,
};
pub use polytcp_proto::counters::Counters;
pub use polytcp_proto::host::interface::BadCidr;
pub use polytcp_proto::host::{
    Accounting, BufferLimits, Cidr, ClosedTotals, ConnectOptions, ConnectionError, ConnectionInfo, LinkState,
    ListenOptions, Protocol, SubflowInfo, SubflowState,
};
pub use polytcp_proto::packet::InterfaceId;
/// Commands to the path manager, its replies and its events.
pub use polytcp_proto::pm::command as pm;
pub use polytcp_proto::pm::command::EndpointFlags;
pub use polytcp_proto::sysctl;

/// The README's example, compiled and run with the doc tests.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../../README.md")]
struct ReadmeExample;
