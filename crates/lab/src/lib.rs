//! A real Linux MPTCP peer in its own network namespace, for tests, demos and benches.
//!
//! [`Lab`] is one kernel whose every path is a TUN device; the other end of the device is a stack's.
//! [`KernelPair`] is two kernels, for comparisons. Both offer the same [`Kernel`]: code run inside the
//! namespace, kernel sockets, MPTCP endpoints and limits, sysctls, and the kernel's own counters. No
//! external command is used, no namespace gets a name, and traffic never leaves the namespaces: all is
//! gone when the last handle is dropped.
//!
//! As root nothing else is needed. A program for other users calls [`enter`] first in `main`; a test
//! begins with `if !polytcp_lab::require_or_skip() { return; }`.
//!
//! ```no_run
//! use polytcp_lab::{Lab, LabConfig, Protocol};
//!
//! let mut lab = Lab::start(LabConfig::with_paths(2))?;
//! let tun = lab.take_device(0); // the stack's end of 10.0.0.1 <-> 10.0.0.2
//! let listener = lab.listen("10.0.0.1:5001".parse()?, Protocol::Mptcp)?;
//! let before = lab.counters()?;
//! // let the stack connect over `tun` and its sibling, then ask the kernel what it saw
//! let stream = listener.accept()?;
//! println!("{:?}\n{}", stream.mptcp_info()?, lab.counters()?.since(&before));
//! # drop(tun);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From the ground up: [`namespace`], [`routing`] (rtnetlink), [`sysctl`], [`counters`],
//! [`mptcp_info`], [`stream`] and [`listener`] (sockets), [`kernel`] (all of these for one namespace),
//! [`path`] (the address plan), [`lab`], [`pair`]; [`privilege`] and [`heap`] on the side.

pub mod counters;
pub mod error;
pub mod heap;
pub mod kernel;
pub mod lab;
pub mod listener;
pub mod mptcp_info;
pub mod namespace;
pub mod pair;
pub mod path;
pub mod privilege;
pub mod routing;
pub mod stream;
pub mod sysctl;

pub use counters::Counters;
pub use error::LabError;
pub use heap::heap_octets;
pub use kernel::Kernel;
pub use lab::{Lab, LabConfig};
pub use listener::KernelListener;
pub use mptcp_info::{MptcpInfo, SubflowAddrs};
pub use namespace::Namespace;
pub use pair::KernelPair;
pub use path::{Limits, PathConfig};
pub use privilege::{Unavailable, available, enter, require_or_skip};
pub use stream::{KernelStream, Protocol};
