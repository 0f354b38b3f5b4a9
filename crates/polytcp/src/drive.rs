//! Who drives a stack without an engine thread while threads block on its sockets: one of them.
//!
//! The first thread that has to wait leads: it does rounds instead of sleeping. Further ones park, and
//! when the leader has what it waited for, another takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::Thread;

use polytcp_io::monotonic_now;
use polytcp_proto::time::Instant;

use crate::parker::park;
use crate::reactor::Wakeup;
use crate::shared::Shared;

/// See the module.
#[derive(Default)]
pub(crate) struct Leadership {
    leader: Mutex<()>,
    followers: Mutex<Vec<Thread>>,
    taken: AtomicBool,
}

/// Held by the thread that leads; lets another lead when dropped.
struct Lead<'a> {
    leadership: &'a Leadership,
    held: Option<MutexGuard<'a, ()>>,
}

impl Leadership {
    fn try_lead(&self) -> Option<Lead<'_>> {
        let held = match self.leader.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.taken.store(true, Ordering::SeqCst);
        Some(Lead { leadership: self, held: Some(held) })
    }

    /// Leads, or stands in the list of those whom the leader wakes when it leaves.
    fn lead_or_follow(&self) -> Option<Lead<'_>> {
        self.try_lead().or_else(|| {
            self.followers().push(std::thread::current());
            // The leader may have left before it could see the new entry.
            self.try_lead()
        })
    }

    /// True while a thread leads, perhaps asleep in a round.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::SeqCst)
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.leadership.taken.store(false, Ordering::SeqCst);
        // Free first: a follower that wakes must find it so.
        self.held = None;
        // All of them, since one alone might be leaving itself. There are few.
        let followers = std::mem::take(&mut *self.leadership.followers());
        followers.into_iter().for_each(|follower| follower.unpark());
    }
}

impl Shared {
    /// Sleeps until this thread was `woken` or `until` has passed, and drives the stack meanwhile where
    /// nobody else does. Says whether it was woken.
    pub(crate) fn sleep(&self, until: Option<Instant>, woken: &dyn Fn() -> bool) -> bool {
        let Some(leadership) = &self.leadership else { return park(until, woken) };
        let over = || until.is_some_and(|until| until <= monotonic_now());
        let mut wakeup = Wakeup::default();
        while !woken() {
            if over() {
                return false;
            }
            let Some(lead) = leadership.lead_or_follow() else {
                park(until, &|| woken() || !leadership.is_taken());
                continue;
            };
            while !woken() && !over() {
                if let Err(error) = self.turn(&mut wakeup, until) {
                    tracing::error!(%error, "cannot wait");
                    self.fail();
                }
            }
            drop(lead);
        }
        true
    }
}
