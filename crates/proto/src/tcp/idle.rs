//! What an idle flow gives back: the memory of queues that ran empty.

use alloc::collections::VecDeque;

use super::flow::Flow;

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Gives back the memory of queues that are empty; they allocate again when they are used.
    pub fn release_memory(&mut self) {
        self.snd.board.release();
        if self.snd.queue.is_empty() {
            self.snd.queue = VecDeque::new();
        }
        self.rcv.out_of_order.release();
    }
}
