//! The host of a stack itself, for those who build sockets with another face: every call of [`Host`], a copy of what is
//! written, and how to wait.
//!
//! The handles of this crate close what they opened when they are dropped; here nobody does. A connection that was made by
//! [`Host::connect`] or taken by [`Host::accept`] lives until [`Host::close`] or [`Host::abort`].

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub use polytcp_proto::host::infos::{MptcpInfo, SubflowAddrs};
pub use polytcp_proto::host::{
    CallError, ConnectError, ConnectionId, Host, ListenError, ListenerId, ReadOutcome, Readiness,
};
pub use polytcp_proto::tcp::cc::AVAILABLE as CONGESTION_CONTROLS;
pub use polytcp_proto::tcp::cc::BbrInfo;
pub use polytcp_proto::tcp::flow::State as TcpState;
pub use polytcp_proto::tcp::info::{CaState, TcpInfo};
pub use polytcp_proto::time::{Duration, Instant};

use polytcp_proto::host::Piece;

use crate::block::{Block, PIECE_BYTES_MAX};
use crate::parker::block_on;
use crate::stack::{Handle, Stack};
use crate::waiters::Source;
pub use crate::waiters::{Change, Watcher};

/// Writes up to this size are copied before it is known that there is room, to take the lock once.
const EAGER_BYTES_MAX: usize = 8 * 1024;

/// What can be watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// A connection: data that arrives, and any change of its readiness.
    Connection(ConnectionId),
    /// A listener: a connection to accept.
    Listener(ListenerId),
}

impl From<Watched> for Source {
    fn from(watched: Watched) -> Self {
        match watched {
            Watched::Connection(id) => Self::Connection(id),
            Watched::Listener(id) => Self::Listener(id),
        }
    }
}

/// The time of a stack's clock, for deadlines: CLOCK_MONOTONIC.
pub fn now() -> Instant {
    polytcp_io::monotonic_now()
}

impl Stack {
    /// Makes calls of the host, under its lock, and sends what became sendable before it returns. `call` must neither copy
    /// payload nor wait.
    pub fn call<R>(&self, call: impl FnOnce(&mut Host, Instant) -> R) -> R {
        self.handle().shared.call(|core, now| call(&mut core.host, now))
    }

    /// Asks the host something, under its lock.
    pub fn look<R>(&self, look: impl FnOnce(&Host) -> R) -> R {
        self.handle().shared.look(|core| look(&core.host))
    }

    /// Tells `watcher` of all that happens to `watched`, until it is [unwatched](Self::unwatch). There is one watcher at a
    /// time; a later one replaces it. What happened before is not told: ask after this.
    pub fn watch(&self, watched: Watched, watcher: Arc<dyn Watcher>) {
        let replaced =
            self.handle().shared.look(|core| core.waiters.watch(watched.into(), watcher, &mut core.host));
        drop(replaced);
    }

    /// Ends [`watch`](Self::watch).
    pub fn unwatch(&self, watched: Watched) {
        let watcher = self.handle().shared.look(|core| core.waiters.unwatch(watched.into()));
        drop(watcher);
    }

    /// Wakes those whom the caller has found to be concerned. Unlike [`Waker::wake`] it reaches a thread that drives an
    /// undriven stack while it waits.
    pub fn wake(&self, wakers: Vec<Waker>) {
        self.handle().shared.wake(wakers);
    }

    /// Polls until ready, and sleeps in between until the context's waker is woken; drives an undriven stack meanwhile.
    /// `None` when `until` has passed.
    pub fn block_on<T>(
        &self,
        until: Option<Instant>,
        poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        let shared = &*self.handle().shared;
        block_on(poll, |woken| {
            let _awaited = self.await_wakes();
            shared.sleep(until, woken)
        })
    }

    /// For a thread that sleeps elsewhere until a watcher wakes it: the engine stays at the devices meanwhile.
    /// [`block_on`](Self::block_on) does this by itself.
    pub fn await_wakes(&self) -> AwaitedWakes {
        let handle = Arc::clone(self.handle());
        handle.shared.call(|core, _| core.waiters.begin_sleep());
        AwaitedWakes(handle)
    }

    /// Handles on this thread what the devices have for the stack. Once it returns, what was there at the call has had its effect,
    /// and what the stack had to say to it has left.
    pub fn take_input(&self) {
        self.handle().shared.take_all();
    }

    /// True when the engine thread has panicked: nothing moves any more.
    pub fn has_failed(&self) -> bool {
        self.handle().shared.has_failed()
    }
}

/// A thread sleeps until a watcher wakes it; see [`Stack::await_wakes`].
#[must_use = "the engine goes back to its habits once this is dropped"]
pub struct AwaitedWakes(Arc<Handle>);

impl std::fmt::Debug for AwaitedWakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitedWakes").finish_non_exhaustive()
    }
}

impl Drop for AwaitedWakes {
    fn drop(&mut self) {
        self.0.shared.look(|core| core.waiters.end_sleep());
    }
}

/// The memory that the writes of one connection are copied into. One for each connection, for all of its writes, so that
/// small ones share blocks.
pub struct WriteBlock(Block);

impl Default for WriteBlock {
    fn default() -> Self {
        Self(Block::new())
    }
}

impl std::fmt::Debug for WriteBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBlock").finish_non_exhaustive()
    }
}

impl WriteBlock {
    /// Copies some of `bytes` into the stream of a connection, and returns how many: 0 when it would block, all that the
    /// send buffer has room for otherwise. With `more`, more follows ([`Host::write_more`]).
    ///
    /// # Errors
    /// [`CallError`] when nothing can be written any more.
    pub fn write(
        &mut self,
        stack: &Stack,
        id: ConnectionId,
        bytes: &[u8],
        more: bool,
    ) -> Result<usize, CallError> {
        let mut written = 0;
        loop {
            match self.write_piece(stack, id, &bytes[written..], more) {
                Ok(0) => return Ok(written),
                Ok(len) => written += len,
                // What was taken is told first.
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error),
            }
        }
    }

    fn write_piece(
        &mut self,
        stack: &Stack,
        id: ConnectionId,
        bytes: &[u8],
        more: bool,
    ) -> Result<usize, CallError> {
        let shared = &*stack.handle().shared;
        // Copied here, without the host's lock.
        let len = if bytes.len() <= EAGER_BYTES_MAX {
            bytes.len()
        } else {
            let room = shared.look(|core| core.host.write_room(id))?;
            bytes.len().min(room).min(PIECE_BYTES_MAX)
        };
        if len == 0 {
            return Ok(0);
        }
        let mut piece = Some(self.0.fill(&bytes[..len], &shared.blocks));
        let answer = shared.call(|core, now| {
            let room = core.host.write_room(id)?;
            let taken = len.min(room);
            if let Some(mut bytes) = piece.take_if(|_| taken > 0) {
                bytes.truncate(taken);
                match more {
                    true => core.host.write_more(now, id, Piece::Growing(bytes))?,
                    false => core.host.write(now, id, Piece::Growing(bytes))?,
                }
            }
            Ok(taken)
        });
        if let Some(unused) = piece {
            self.0.take_back(unused);
        }
        answer
    }
}
