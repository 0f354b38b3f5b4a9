//! BSD sockets over a stack: a table of descriptors whose calls, options, states and error numbers are those of Linux,
//! for `IPPROTO_MPTCP` and `IPPROTO_TCP`.
//!
//! ```
//! use polytcp::Stack;
//! use polytcp::io::{MemoryConfig, MemoryDevice};
//! use polytcp_posix::{Sockets, libc};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (a, b) = MemoryDevice::pair(MemoryConfig::default())?;
//! let near = Sockets::new(Stack::builder().device(a, ["10.0.1.2/24"]).start()?);
//! let far = Sockets::new(Stack::builder().device(b, ["10.0.1.1/24"]).start()?);
//!
//! let listener = far.socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?;
//! far.bind(listener, "10.0.1.1:443".parse()?)?;
//! far.listen(listener, 5)?;
//!
//! let client = near.socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?;
//! near.connect(client, "10.0.1.1:443".parse::<std::net::SocketAddr>()?)?;
//! near.send(client, b"hello", 0)?;
//! near.shutdown(client, libc::SHUT_WR)?;
//!
//! let (server, _) = far.accept(listener, 0)?;
//! let mut text = [0; 10];
//! assert_eq!(far.recv(server, &mut text, libc::MSG_WAITALL)?, 5);
//! assert_eq!(&text[..5], b"hello");
//! # Ok(()) }
//! ```
//!
//! # What to read in which order
//!
//! - `sockets`: every call by its descriptor. `table`: the descriptors.
//! - `socket`: one socket, and how Linux would name its state. `queue`: who waits for it, and why no wake-up is lost.
//! - `opening`, `transfer`, `ending`: the calls on it. `options`, `ioctl`: what is set and asked.
//! - `poll`, `select`, `epoll`: waiting for several.
//! - `ports`: which addresses and ports are bound. `errno`: the core's errors as numbers.
#![forbid(unsafe_code)]

mod ending;
mod epoll;
mod errno;
mod ioctl;
mod opening;
mod options;
mod poll;
mod ports;
mod queue;
mod select;
mod socket;
mod sockets;
mod sync;
mod table;
mod transfer;

pub use epoll::EpollEvent;
pub use ioctl::{SIOCATMARK, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD};
/// The numbers of the calls' arguments.
pub use libc;
pub use opening::Destination;
pub use options::{SOL_MPTCP, TCP_IS_MPTCP};
pub use poll::{PollFd, Polling};
pub use rustix::io::Errno;
pub use select::FdSet;
pub use sockets::{Compat, Sockets};
pub use table::Fd;
