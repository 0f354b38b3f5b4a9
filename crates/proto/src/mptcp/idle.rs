//! What an idle connection gives back: the memory of queues that ran empty.
//!
//! A busy connection keeps it, since the next segment would need it again. A timer that comes up when nothing is due is
//! the sign of idleness that costs nothing: whoever has sent something has armed one, and an idle connection has none
//! after it. What can be large is given back as soon as it is empty, by its owner.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::connection::Connection;
use super::subflow::{Subflow, SubflowFlow};

impl Connection {
    /// All that was written is acknowledged.
    pub(crate) fn is_quiet(&self) -> bool {
        self.data.snd.buffer.is_empty()
    }

    /// Gives back the memory of queues that are empty; they allocate again when they are used.
    pub(crate) fn release_memory(&mut self) {
        self.data.snd.reinject.release();
        self.data.snd.hedge.release();
        self.data.rcv.release();
        self.data.siblings = Vec::new();
        self.views = Vec::new();
        release(&mut self.pending);
        release(&mut self.notices);
        for Subflow { mp, .. } in &mut self.subflows {
            mp.carried.release();
            release(&mut mp.signals);
            if mp.unverified.as_ref().is_some_and(|held| held.is_empty()) {
                mp.unverified = None;
            }
        }
        self.subflows.iter_mut().filter_map(Subflow::flow_mut).for_each(SubflowFlow::release_memory);
    }
}

fn release<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
}
