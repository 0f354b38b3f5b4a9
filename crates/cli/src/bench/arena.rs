//! The hosts that compete, and their connections.
//!
//! - [`stack`]: the stack with a kernel. [`kernels`]: a kernel with a kernel.
//! - [`plan`]: what they are made with. [`opening`]: how a connection gets ready.

mod kernels;
mod opening;
mod plan;
mod stack;

use std::net::SocketAddr;
use std::sync::Arc;

use polytcp::io::LinkControl;
use polytcp_lab::KernelListener;

pub(super) use self::kernels::{KernelArena, kernel_cc_like};
pub(super) use self::opening::{STALL_MAX, accept, await_joined, greet, listen};
pub(super) use self::plan::{Direct, Family, KERNEL_CC, Plan, Sockets, TwoWay};
pub(super) use self::stack::StackArena;
use super::end::End;
use crate::duplex::Duplex;
use crate::failure::Failure;

/// Two hosts, client and server, that can be connected again and again.
pub(super) trait Arena {
    /// Has the server, which is a kernel, listen at a port of its own.
    fn listen(&self) -> Result<(SocketAddr, KernelListener), Failure>;
    /// Connects the client.
    fn dial(&self, to: SocketAddr) -> Result<Box<dyn Duplex>, Failure>;
    /// The congestion control of the kernels.
    fn kernel_cc(&self) -> &str;
    /// How many paths there are.
    fn path_count(&self) -> usize;
    /// Whose client it is.
    fn name(&self) -> &'static str;
    /// The emulated link of path `index`.
    fn link(&self, index: usize) -> Option<&LinkControl>;

    /// Opens a connection.
    fn connect(&self, begin: Begin) -> Result<Match, Failure> {
        let (to, listener) = self.listen()?;
        let client = self.dial(to)?;
        let server = accept(&listener, self.kernel_cc())?;
        opening::open(begin, &*client, &server, self.path_count())?;
        Ok(Match { client, server: Box::new(server), _listener: listener })
    }

    /// Opens connections that carry loads.
    fn connect_all(&self, begin: Begin, count: u16) -> Result<Vec<Ends>, Failure>;
}

/// Connections whose data threads carry.
fn connect_blocking(arena: &dyn Arena, begin: Begin, count: u16) -> Result<Vec<Ends>, Failure> {
    let (to, listener) = arena.listen()?;
    let listener = Arc::new(listener);
    let open = |_| {
        let client = arena.dial(to)?;
        let server = accept(&listener, arena.kernel_cc())?;
        opening::open(begin, &*client, &server, arena.path_count())?;
        let server: Box<dyn Duplex> = Box::new(server);
        Ok(Ends { client: Box::new(client), server: Box::new(server), _listener: Arc::clone(&listener) })
    };
    (0..count).map(open).collect()
}

/// When a connection is ready to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    /// Once an octet has gone each way; further subflows join meanwhile.
    AtOnce,
    /// Once it has a subflow on every path.
    Joined,
}

/// A connection.
pub(super) struct Match {
    pub(super) client: Box<dyn Duplex>,
    pub(super) server: Box<dyn Duplex>,
    /// Needed for joins.
    _listener: KernelListener,
}

/// A connection that carries loads.
pub(super) struct Ends {
    pub(super) client: Box<dyn End>,
    pub(super) server: Box<dyn End>,
    /// Needed for joins.
    _listener: Arc<KernelListener>,
}
