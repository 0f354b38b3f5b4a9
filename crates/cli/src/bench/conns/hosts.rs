//! Who connects to whom, and what differs between the stack's sockets and the kernel's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::{ConnectOptions, ListenOptions};
use polytcp_lab::{Kernel, KernelListener, PathConfig};

use super::Spoken;
use crate::bench::arena::{KernelArena, StackArena};
use crate::bench::cores::Cores;
use crate::duplex::Duplex;
use crate::failure::Failure;

/// As the kernel's listeners here, and above every number of connections at once.
const BACKLOG: usize = 1_024;
/// Longest wait for connections that were closed to be gone.
const CLOSING_MAX: Duration = Duration::from_secs(20);

/// A pair of hosts.
pub(super) enum Contest<'a> {
    StackConnects(&'a StackArena),
    StackAccepts(&'a StackArena),
    Kernels(&'a KernelArena),
}

/// Where connections come in.
pub(super) enum Door {
    Stack(MptcpListener),
    Kernel(KernelListener),
}

/// A side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

impl Contest<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::StackConnects(_) => "polytcp connects",
            Self::StackAccepts(_) => "polytcp accepts",
            Self::Kernels(_) => "kernel",
        }
    }

    /// Listens at a port of its own, so that no earlier connection's TIME-WAIT is in the way.
    pub(super) fn listen(&self, protocol: Spoken) -> Result<Door, Failure> {
        let path = PathConfig::new(0);
        let kernel = match self {
            Self::StackConnects(arena) => arena.kernel(),
            Self::Kernels(arena) => &arena.pair().server,
            Self::StackAccepts(arena) => {
                let at = SocketAddr::new(path.stack_v4.into(), 0);
                let options =
                    ListenOptions { protocol: protocol.into(), backlog: BACKLOG, ..ListenOptions::new(at) };
                let listener = MptcpListener::bind_with(arena.stack(), &options);
                return listener.map(Door::Stack).map_err(Failure::setting_up("listening"));
            }
        };
        let at = SocketAddr::new(path.kernel_v4.into(), 0);
        kernel.listen(at, protocol.into()).map(Door::Kernel).map_err(Failure::setting_up("listening"))
    }

    /// Connects, on a thread that [`work`](Self::work) has prepared.
    pub(super) fn connect(&self, to: SocketAddr, protocol: Spoken) -> io::Result<Box<dyn Duplex>> {
        match self {
            Self::StackConnects(arena) => {
                let options = ConnectOptions { protocol: protocol.into(), ..ConnectOptions::new(to) };
                Ok(Box::new(MptcpStream::connect_with(arena.stack(), &options)?))
            }
            Self::StackAccepts(_) | Self::Kernels(_) => {
                Ok(Box::new(Kernel::connect_here(to, protocol.into())?))
            }
        }
    }

    /// Does one thread's work on a side: on its core, in its namespace.
    pub(super) fn work<T: Send>(
        &self,
        side: Side,
        cores: Option<Cores>,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, Failure> {
        if let Some(cores) = cores {
            match (self, side) {
                // The stack's own threads are on the client's core.
                (Self::StackConnects(_) | Self::Kernels(_), Side::Server)
                | (Self::StackAccepts(_), Side::Client) => cores.pin_server()?,
                (Self::StackConnects(_) | Self::Kernels(_), Side::Client)
                | (Self::StackAccepts(_), Side::Server) => {}
            }
        }
        Ok(match (self, side) {
            (Self::StackAccepts(arena), Side::Client) => arena.kernel().run(work),
            (Self::Kernels(arena), Side::Client) => arena.pair().client.run(work),
            (Self::StackConnects(_), _) | (_, Side::Server) => work(),
        })
    }

    /// Waits until the stack has forgotten what was closed.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        let stack = match self {
            Self::StackConnects(arena) | Self::StackAccepts(arena) => arena.stack(),
            Self::Kernels(_) => return Ok(()),
        };
        if stack.wait_idle(CLOSING_MAX) {
            return Ok(());
        }
        Err(Failure::run(format!("{} closed connections are left", stack.accounting().connections)))
    }
}

impl Door {
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Stack(listener) => listener.local_addr(),
            Self::Kernel(listener) => listener.local_addr(),
        }
    }

    pub(super) fn accept(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Self::Stack(listener) => Box::new(listener.accept()?.0),
            Self::Kernel(listener) => Box::new(listener.accept()?),
        })
    }
}

impl From<Spoken> for polytcp::Protocol {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Mptcp => Self::Mptcp,
            Spoken::Tcp => Self::Tcp,
        }
    }
}

impl From<Spoken> for polytcp_lab::Protocol {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Mptcp => Self::Mptcp,
            Spoken::Tcp => Self::Tcp,
        }
    }
}
