//! The receiving half of a connection: order across subflows, the shared window, DATA_FIN
//! (RFC 8684 §3.3.1, §3.3.3, §3.3.4).

use alloc::vec::Vec;

use bytes::Bytes;

use super::pieces::Pieces;
use crate::config::window_within;
use crate::reassembly::Reassembly;
use crate::seq::{Dsn, Ssn};

/// Out-of-order pieces that one connection holds at most; at the limit the newest are refused, and the
/// peer sends them again at data level.
const OUT_OF_ORDER_ENTRIES_MAX: usize = 8192;

/// What happened to data that was not next in order; Linux counts each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disorder {
    /// Put into the out-of-order queue, wherever.
    pub queued: u32,
    /// Of these, behind everything that was there.
    pub at_tail: u32,
    /// Of these, joined on to what was there.
    pub merged: u32,
    /// Dropped: beyond the window.
    pub beyond_window: u32,
}

/// Data-level receive state.
#[derive(Debug)]
pub struct DataRecv {
    nxt: Dsn,
    /// The first data sequence number.
    first: Dsn,
    /// What the handshake promised ends here: more comes only from who had a DATA_ACK.
    first_edge: Dsn,
    /// Right edge announced; never moves back, on any subflow.
    adv: Dsn,
    limit_bytes: u32,
    /// The largest window that a header field can tell.
    field_max: u32,
    out_of_order: Reassembly<Dsn, ()>,
    /// In order, and not read yet.
    ready: Pieces,
    /// Memory that subflows hold, out of order and in mappings that are not whole.
    held_by_subflows: usize,
    fin_at: Option<Dsn>,
    fin: bool,
    /// A 64-bit data sequence number was received: DATA_ACKs have 64 bits from then on (as Linux).
    wide: bool,
    bytes_received: u64,
    duplicate_bytes: u64,
    disorder: Disorder,
    /// The last announced window is larger than what is free: the edge must not move back.
    raised: bool,
    /// The application will not read any more: what comes is acknowledged and thrown away.
    discard: bool,
}

impl DataRecv {
    /// Nothing received; `nxt` is the peer's IDSN + 1, or anything until the peer's key is known.
    pub fn new(nxt: Dsn, limit_bytes: u32) -> Self {
        Self {
            nxt,
            first: nxt,
            first_edge: nxt,
            adv: nxt,
            limit_bytes,
            field_max: u32::from(u16::MAX),
            out_of_order: Reassembly::new(OUT_OF_ORDER_ENTRIES_MAX),
            ready: Pieces::default(),
            held_by_subflows: 0,
            fin_at: None,
            fin: false,
            wide: false,
            bytes_received: 0,
            duplicate_bytes: 0,
            disorder: Disorder::default(),
            raised: false,
            discard: false,
        }
    }

    /// The peer's key is known now: its stream starts at `nxt`, of which `window` octets were promised.
    pub fn start_at(&mut self, nxt: Dsn, window: u32) {
        self.nxt = nxt;
        self.first = nxt;
        self.adv = nxt + u64::from(window);
        self.first_edge = self.adv;
    }

    /// The next octet expected: what DATA_ACK says.
    pub fn nxt(&self) -> Dsn {
        self.nxt
    }

    /// DATA_ACKs have 64 bits.
    pub fn is_wide(&self) -> bool {
        self.wide
    }

    /// The data sequence number of a subflow's octet `ssn` while the stream is contiguous on that subflow.
    pub fn contiguous_at(&self, ssn: Ssn) -> Dsn {
        let low = self.first.low().wrapping_add(ssn.0.wrapping_sub(1));
        Dsn::from_low(low, self.nxt)
    }

    /// The peer has had a DATA_ACK of ours, or it could not have sent as much.
    pub fn went_beyond_handshake(&self) -> bool {
        self.nxt.after(self.first_edge)
    }

    /// A 64-bit mapping came.
    pub fn set_wide(&mut self, wide: bool) {
        self.wide = wide;
    }

    /// Octets received in order so far.
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received
    }

    /// Octets received twice so far.
    pub fn duplicate_bytes(&self) -> u64 {
        self.duplicate_bytes
    }

    /// What happened since the last call to data that was not next in order.
    pub fn take_disorder(&mut self) -> Disorder {
        core::mem::take(&mut self.disorder)
    }

    /// Octets that may be held.
    pub fn limit_bytes(&self) -> u32 {
        self.limit_bytes
    }

    /// Lets `limit_bytes` be held, or as much as is held and promised, if that is more.
    pub fn set_limit(&mut self, limit_bytes: u32) {
        let promised = self.adv.saturating_since(self.nxt);
        let needed = u32::try_from(promised).unwrap_or(u32::MAX).saturating_add(self.held_bytes() as u32);
        self.limit_bytes = limit_bytes.max(needed);
    }

    /// Lets `limit_bytes` be held, if that is more than before: what was promised is never taken back.
    pub fn raise_limit(&mut self, limit_bytes: u32) {
        self.limit_bytes = self.limit_bytes.max(limit_bytes);
    }

    /// Octets that can be read now.
    pub fn readable_bytes(&self) -> usize {
        self.ready.len_bytes()
    }

    /// The peer's DATA_FIN was received, and everything before it.
    pub fn is_finished(&self) -> bool {
        self.fin
    }

    /// Memory held, in octets, by the buffers that are pinned.
    pub fn held_bytes(&self) -> usize {
        self.ready.pinned_bytes() + self.out_of_order.buffer_bytes() + self.held_by_subflows
    }

    /// Gives back the memory of queues that are empty.
    pub fn release(&mut self) {
        self.out_of_order.release();
        self.ready.release();
    }

    /// Data waits for other data that has to come before it.
    pub fn has_gap(&self) -> bool {
        !self.out_of_order.is_empty()
    }

    /// Promises everything up to `end`, whatever the budget says: what is held of a mapping is of no use
    /// before the rest came. Returns true when that was not promised before.
    pub fn promise(&mut self, end: Dsn) -> bool {
        let more = end.after(self.adv);
        self.adv = self.adv.max(end);
        more
    }

    /// Tells what the subflows hold.
    pub fn set_held_by_subflows(&mut self, bytes: usize) {
        self.held_by_subflows = bytes;
    }

    /// Forgets what is unread and throws away what comes: the application closed.
    pub fn discard(&mut self) {
        self.refuse();
        self.ready.clear();
    }

    /// Throws away what comes.
    pub fn refuse(&mut self) {
        self.discard = true;
    }

    /// What comes is thrown away.
    pub fn is_refusing(&self) -> bool {
        self.discard
    }

    /// Takes data of any subflow that starts at `dsn`. Returns true when more became readable.
    pub fn insert(&mut self, dsn: Dsn, mut bytes: Bytes, buffer_bytes: u32) -> bool {
        if self.fin {
            return false;
        }
        // Beyond the announced edge (RFC 8684 §3.3.4) nothing was promised. But the subflow has acknowledged
        // it, and only a slow data-level retransmission would bring it back: it is kept where nothing that
        // was promised needs the room. What follows DATA_FIN is not.
        let slack = self.adv + self.spare_bytes() as u64;
        let edge = self.fin_at.map_or(slack, |fin| fin.min(slack)).max(self.nxt);
        let beyond = (dsn + bytes.len() as u64).saturating_since(edge);
        let keep = (bytes.len() as u64).saturating_sub(beyond) as usize;
        let empty = bytes.is_empty();
        bytes.truncate(keep);
        if bytes.is_empty() {
            let dropped = !empty && self.fin_at.is_none_or(|fin| dsn.before(fin));
            self.disorder.beyond_window += u32::from(dropped);
            return false;
        }
        if dsn == self.nxt && self.out_of_order.is_empty() {
            self.push_ready(bytes, buffer_bytes);
            self.check_fin();
            return true;
        }
        let inserted = if (dsn + bytes.len() as u64).after(self.nxt) {
            let old = self.nxt.saturating_since(dsn);
            self.duplicate_bytes += old;
            let _ = bytes.split_to(old as usize);
            let was_empty = self.out_of_order.is_empty();
            let start = dsn + old;
            let adjoins = self.out_of_order.recent_first().any(|range| range.end == start);
            let inserted = self.out_of_order.insert(start, bytes, buffer_bytes, ());
            if start != self.nxt && inserted.new_bytes > 0 {
                self.disorder.queued += 1;
                self.disorder.at_tail += u32::from(inserted.at_tail && !was_empty);
                self.disorder.merged += u32::from(adjoins);
            }
            inserted
        } else {
            self.duplicate_bytes += bytes.len() as u64;
            return false;
        };
        self.duplicate_bytes += u64::from(inserted.duplicate_bytes);
        let before = self.nxt;
        while let Some(entry) = self.out_of_order.pop_in_order(self.nxt) {
            self.push_ready(entry.bytes, entry.buffer_bytes);
        }
        self.check_fin();
        self.nxt != before
    }

    /// Takes in-order payload of a connection that is plain TCP.
    pub fn append(&mut self, bytes: Bytes, buffer_bytes: u32) {
        if self.fin {
            return;
        }
        self.push_ready(bytes, buffer_bytes);
    }

    /// The peer's stream ends at `dsn` (DATA_FIN takes that number). Returns true when it is new.
    pub fn handle_fin(&mut self, dsn: Dsn) -> bool {
        if self.fin_at.is_some() || dsn.before(self.nxt) {
            return false;
        }
        self.fin_at = Some(dsn);
        self.check_fin();
        true
    }

    /// A plain TCP connection's FIN: the stream ends here.
    pub fn finish(&mut self) {
        self.fin = true;
    }

    fn check_fin(&mut self) {
        if !self.fin && self.fin_at == Some(self.nxt) {
            self.fin = true;
            self.nxt += 1;
            self.adv = self.adv.max(self.nxt);
        }
    }

    fn push_ready(&mut self, bytes: Bytes, pinned: u32) {
        self.nxt += bytes.len() as u64;
        self.adv = self.adv.max(self.nxt);
        self.bytes_received += bytes.len() as u64;
        if self.discard {
            return;
        }
        self.ready.push(bytes, pinned, self.spare_bytes());
    }

    /// Detaches at most `max` octets, next in order; `None` when there are none.
    pub fn read(&mut self, max: usize) -> Option<Bytes> {
        self.ready.read(max)
    }

    /// The first `max` octets of what can be read, which stay.
    pub fn peek(&mut self, max: usize) -> Vec<Bytes> {
        self.ready.peek(max)
    }

    /// Octets beyond `nxt` that may be promised.
    fn free_bytes(&self) -> u32 {
        (window_within(self.limit_bytes) as usize).saturating_sub(self.held_bytes()) as u32
    }

    /// Octets of the budget that neither hold something nor are promised.
    fn spare_bytes(&self) -> usize {
        let promised = self.adv.saturating_since(self.nxt) as usize;
        (self.limit_bytes as usize).saturating_sub(self.held_bytes()).saturating_sub(promised)
    }

    /// More is held than the buffer may.
    pub fn is_over_budget(&self) -> bool {
        self.held_bytes() > self.limit_bytes as usize
    }

    /// Gives up the out-of-order data that is needed last; false when there is none.
    pub fn drop_out_of_order_tail(&mut self) -> bool {
        self.out_of_order.drop_tail().is_some()
    }

    /// The window for a header field that is shifted by `shift`, and the promise that comes with it.
    pub fn announce(&mut self, shift: u8) -> u32 {
        let unit = 1u32 << shift;
        let promised = u32::try_from(self.adv.saturating_since(self.nxt)).unwrap_or(u32::MAX);
        let free = self.free_bytes() & !(unit - 1);
        let window = if free >= promised { free } else { promised.next_multiple_of(unit) };
        self.field_max = u32::from(u16::MAX) << shift;
        let window = window.min(self.field_max);
        self.raised = free < promised && window > free;
        self.adv = self.adv.max(self.nxt + u64::from(window));
        window
    }

    /// The right edge that was promised so far, on any subflow.
    pub fn promised(&self) -> Dsn {
        self.adv
    }

    /// The window that was announced last had to be raised to what was promised before.
    pub fn was_raised(&self) -> bool {
        self.raised
    }

    /// True when the application has freed so much that the peer should hear of it: the window would at
    /// least double, and what was promised is less than half the buffer (as Linux's `tcp_cleanup_rbuf`).
    pub fn wants_window_update(&self, mss: u32) -> bool {
        let promised = self.adv.saturating_since(self.nxt);
        let free = u64::from(self.free_bytes().min(self.field_max));
        !self.fin
            && promised <= u64::from(self.limit_bytes / 2)
            && free >= promised * 2
            && free >= promised + u64::from(mss.min(self.limit_bytes / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Bytes {
        Bytes::from(alloc::vec![0u8; len])
    }

    fn receiver(limit: u32) -> DataRecv {
        let mut recv = DataRecv::new(Dsn(u64::MAX - 10), limit);
        recv.announce(0);
        recv
    }

    #[test]
    fn order_is_restored_across_the_wrap() {
        let mut recv = receiver(10_000);
        let start = recv.nxt();
        assert!(!recv.insert(start + 100, bytes(100), 100));
        assert!(recv.insert(start, bytes(100), 100));
        assert_eq!(recv.readable_bytes(), 200);
        assert_eq!(recv.nxt(), start + 200);
        assert!(!recv.insert(start + 50, bytes(100), 100), "old data is not readable again");
        assert_eq!(recv.duplicate_bytes(), 100);
    }

    #[test]
    fn the_right_edge_never_moves_back() {
        let mut recv = receiver(65_535);
        let start = recv.nxt();
        let edge = start + u64::from(recv.announce(0));
        recv.insert(start, bytes(1000), 4000);
        let window = recv.announce(0);
        assert_eq!(recv.nxt() + u64::from(window), edge, "pinned memory takes no promise back");
    }

    #[test]
    fn data_far_beyond_the_promise_is_cut_off() {
        let mut recv = receiver(1000);
        let start = recv.nxt();
        assert!(recv.insert(start, bytes(1500), 1500));
        assert_eq!(recv.readable_bytes(), 1000);
    }

    #[test]
    fn what_is_held_never_exceeds_the_budget() {
        // Payloads that pin up to four times themselves, and a reader that takes nothing.
        for (payload, pinned) in [(1000, 1040), (1000, 1200), (1000, 4000), (300, 1000), (10, 60)] {
            let limit = 200_000;
            let mut recv = receiver(limit);
            loop {
                let window = recv.announce(0);
                if window < payload {
                    break;
                }
                for _ in 0..window / payload {
                    assert!(recv.insert(recv.nxt(), bytes(payload as usize), pinned));
                    assert!(
                        recv.held_bytes() <= limit as usize,
                        "{payload} in {pinned}: {}",
                        recv.held_bytes()
                    );
                }
            }
            let held = recv.held_bytes();
            assert!(held >= limit as usize * 8 / 10, "{payload} in {pinned}: full at {held}");
        }
    }

    #[test]
    fn a_data_fin_counts_when_everything_before_it_came() {
        let mut recv = receiver(10_000);
        let start = recv.nxt();
        assert!(recv.handle_fin(start + 100));
        assert!(!recv.is_finished());
        recv.insert(start, bytes(100), 100);
        assert!(recv.is_finished());
        assert_eq!(recv.nxt(), start + 101);
        assert!(!recv.handle_fin(start + 100), "once");
    }

    #[test]
    fn a_reader_that_empties_a_full_buffer_asks_for_an_update() {
        let mut recv = receiver(10_000);
        let start = recv.nxt();
        recv.insert(start, bytes(10_000), 10_000);
        assert!(!recv.wants_window_update(1400));
        while recv.read(3000).is_some() {}
        assert!(recv.wants_window_update(1400));
        recv.announce(0);
        assert!(!recv.wants_window_update(1400));
    }

    #[test]
    fn an_update_waits_until_the_window_would_double() {
        let mut recv = receiver(70_000);
        assert_eq!(recv.announce(0), 61_250);
        recv.insert(recv.nxt(), bytes(41_250), 41_250);
        recv.read(19_999);
        assert!(!recv.wants_window_update(1400), "20,000 are promised, 39,999 are free");
        recv.read(1);
        assert!(recv.wants_window_update(1400));
        recv.insert(recv.nxt(), bytes(19_000), 38_000);
        assert!(!recv.wants_window_update(1400), "1000 would become 2000, which is less than a segment more");
        assert!(recv.wants_window_update(1000));
        recv.finish();
        assert!(!recv.wants_window_update(1000), "nothing follows");
    }

    #[test]
    fn what_comes_out_of_order_is_told_apart() {
        let mut recv = receiver(10_000);
        let start = recv.nxt();
        recv.insert(start, bytes(100), 100);
        assert_eq!(recv.take_disorder(), Disorder::default(), "in order");
        recv.insert(start + 1000, bytes(100), 100);
        recv.insert(start + 1100, bytes(100), 100);
        recv.insert(start + 2000, bytes(100), 100);
        recv.insert(start + 500, bytes(100), 100);
        recv.insert(start + 500, bytes(100), 100);
        recv.insert(start + 20_000, bytes(100), 100);
        let expected = Disorder { queued: 4, at_tail: 2, merged: 1, beyond_window: 1 };
        assert_eq!(recv.take_disorder(), expected);
        recv.insert(start + 100, bytes(400), 400);
        assert_eq!(recv.take_disorder(), Disorder::default(), "it fills the hole");
    }
}
