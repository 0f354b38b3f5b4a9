//! One wait for one socket: enters itself when it has to, and leaves when it is dropped.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use polytcp_proto::time::Instant;

use crate::cooperation::cooperate;
use crate::parker::block_on;
use crate::shared::Shared;
use crate::waiters::{Source, WaiterKey};

/// A waiter that may be entered in a stack's list.
pub(crate) struct Registration<'a> {
    shared: &'a Shared,
    source: Source,
    key: WaiterKey,
    entered: bool,
}

impl<'a> Registration<'a> {
    pub(crate) fn new(shared: &'a Shared, source: Source) -> Self {
        Self { shared, source, key: shared.waiter_key(), entered: false }
    }

    /// Polls with this waiter's key. `poll` enters the waiter before it answers `Pending`.
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: &mut impl FnMut(&mut Context<'_>, WaiterKey) -> Poll<T>,
    ) -> Poll<T> {
        let answer = poll(context, self.key);
        self.entered |= answer.is_pending();
        answer
    }

    /// Waits as a future. Dropping the future leaves the list.
    pub(crate) async fn wait<T>(mut self, mut poll: impl FnMut(&mut Context<'_>, WaiterKey) -> Poll<T>) -> T {
        poll_fn(move |context| cooperate(context, |context| self.poll(context, &mut poll))).await
    }

    /// Waits by blocking the thread.
    ///
    /// # Errors
    /// `WouldBlock` when `until` has passed, as Linux's `SO_RCVTIMEO` has it.
    pub(crate) fn block<T>(
        mut self,
        until: Option<Instant>,
        mut poll: impl FnMut(&mut Context<'_>, WaiterKey) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let shared = self.shared;
        block_on(|context| self.poll(context, &mut poll), |woken| shared.sleep(until, woken))
            .unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if self.entered {
            let waker = self.shared.look(|core| core.waiters.remove(self.source, self.key));
            drop(waker);
        }
    }
}
