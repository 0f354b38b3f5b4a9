//! The receive memory of a connection, kept within its budget.
//!
//! The window promises seven eighths of the budget ([`TcpConfig::recv_window_bytes`]), and what comes in
//! order is copied out of its buffer where that would pin more than the rest allows, so what was
//! promised always fits. What can exceed the budget is data out of order: small pieces cost more than
//! their octets, and a peer can send the same data on several subflows, each with a hole before it.
//! Nobody has been told that such data is safe (SACK is not a promise, RFC 2018 §8; a DATA_ACK does
//! not cover it, RFC 8684 §3.3.1), so it is given up, and the peer sends it again.
//!
//! One thing may exceed the budget: a mapping with a checksum is of no use before all of it came, so its end
//! is promised even where the buffer is smaller than it, which is 64 KiB at most for each subflow.
//!
//! [`TcpConfig::recv_window_bytes`]: crate::config::TcpConfig::recv_window_bytes

use super::connection::Connection;
use super::subflow::{Subflow, SubflowFlow};
use crate::counters::Counters;

impl Connection {
    /// Counts what the subflows hold out of order, and gives up what is too much.
    pub(super) fn keep_within_memory(&mut self, counters: &mut Counters) {
        self.count_memory();
        if !self.data.rcv.is_over_budget() {
            return;
        }
        counters.ofo_pruned += 1;
        while self.data.rcv.is_over_budget() {
            let flows = self.subflows.iter_mut().filter_map(Subflow::flow_mut);
            let largest = flows.max_by_key(|flow| flow.out_of_order_bytes());
            let dropped = largest.is_some_and(SubflowFlow::drop_out_of_order_tail);
            if !dropped && !self.data.rcv.drop_out_of_order_tail() {
                return;
            }
            self.count_memory();
        }
    }

    fn count_memory(&mut self) {
        let held = self.subflows.iter().map(Subflow::held_bytes).sum();
        self.data.rcv.set_held_by_subflows(held);
    }
}
