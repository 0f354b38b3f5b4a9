//! The receiving half of a flow: acceptability, order, the peer's FIN (RFC 9293 §3.10.7.4, first and
//! seventh check on).

use polytcp_wire::tcp::TcpFlags;
use polytcp_wire::tcp_option::SackBlock;

use super::extension::{Abort, Extension};
use super::flow::{Env, Flow, OwnFin};
use super::segment::Segment;
use crate::ranges::Span;
use crate::seq::SeqNum;

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// RFC 9293 §3.10.7.4, first check: some of the segment lies in the window that was announced.
    ///
    /// As in Linux, a segment that ends exactly at RCV.NXT counts as acceptable when it is empty, and
    /// the right edge is the largest ever announced, since windows of the connection are shared
    /// (RFC 8684 §3.3.1: data within an announced window is never refused).
    pub(super) fn is_acceptable(&self, segment: &Segment) -> bool {
        let window = self.rcv.adv.saturating_since(self.rcv.nxt);
        let (seq, len) = (segment.seq, segment.seq_len());
        if len == 0 {
            // At the very edge as well, as Linux: a peer that filled the window acknowledges from there.
            return seq.within(self.rcv.nxt, window.saturating_add(1));
        }
        if window == 0 && seq == self.rcv.nxt {
            // RFC 9293 §3.10.7.4: with a closed window its data is dropped, but its acknowledgement counts.
            return true;
        }
        let last = segment.end() - 1;
        window > 0 && (seq.within(self.rcv.nxt, window) || last.within(self.rcv.nxt, window))
            || (seq.before(self.rcv.nxt) && last.after(self.rcv.nxt + window))
    }

    /// RFC 2883 §4.1: what came wholly twice is reported in the next acknowledgement.
    pub(super) fn report_duplicate(&mut self, env: &mut Env<'_>, segment: &Segment) {
        if segment.seq_len() > 0 && segment.seq.before(self.rcv.nxt) && !segment.is_syn() {
            env.counters.delayed_ack_lost += 1;
        }
        if !segment.payload.is_empty() && !segment.end().after(self.rcv.nxt) {
            self.note_duplicate(env, Span::new(segment.seq, segment.seq + segment.payload.len() as u32));
        }
    }

    /// The next acknowledgement reports that `span` came twice.
    fn note_duplicate(&mut self, env: &mut Env<'_>, span: Span<SeqNum>) {
        if !self.sack {
            return;
        }
        match span.start.before(self.rcv.nxt) {
            true => env.counters.tcp_dsack_old_sent += 1,
            false => env.counters.tcp_dsack_ofo_sent += 1,
        }
        self.acks.duplicate = Some(SackBlock { left: span.start.0, right: span.end.0 });
    }

    /// Takes payload and FIN of an acceptable segment and hands on what is in order.
    pub(super) fn handle_payload<X>(
        &mut self,
        env: &mut Env<'_>,
        segment: Segment,
        held: H,
        ext: &mut X,
    ) -> Result<(), Abort>
    where
        X: Extension<Sent = S, Held = H>,
    {
        if segment.is_fin() && !self.rcv.fin {
            self.rcv.fin_at = Some(segment.seq + segment.payload.len() as u32);
            self.acks.at_once();
        }
        if !segment.payload.is_empty() && !self.rcv.fin {
            self.take_payload(env, segment, held, ext)?;
        }
        if self.rcv.fin_at == Some(self.rcv.nxt) && !self.rcv.fin {
            self.rcv.fin = true;
            self.rcv.nxt += 1;
            self.rcv.adv = self.rcv.adv.max(self.rcv.nxt);
            self.passive_close = matches!(self.snd.fin, OwnFin::None | OwnFin::Queued);
            self.acks.at_once();
            ext.handle_fin();
        }
        Ok(())
    }

    fn take_payload<X>(
        &mut self,
        env: &mut Env<'_>,
        segment: Segment,
        held: H,
        ext: &mut X,
    ) -> Result<(), Abort>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let Segment { seq, mut payload, buffer_bytes, flags, .. } = segment;
        // Octets beyond the announced edge are not ours to keep (RFC 9293 §3.10.7.4, seventh check).
        let beyond = (seq + payload.len() as u32).saturating_since(self.rcv.adv);
        payload.truncate(payload.len().saturating_sub(beyond as usize));
        if payload.is_empty() {
            env.counters.tcp_zero_window_drop += 1;
            self.acks.at_once();
            return Ok(());
        }
        // One wire segment's worth; what a device coalesced is longer and tells nothing.
        let len = payload.len() as u32;
        if len > self.rcv.full_segment && len <= u32::from(self.snd.mss) {
            self.rcv.full_segment = len;
        }
        if seq == self.rcv.nxt && self.rcv.out_of_order.is_empty() {
            self.advance(env, payload.len() as u32, flags.contains(TcpFlags::PSH));
            return ext.deliver(env, seq.relative_to(self.irs), payload, buffer_bytes, &held);
        }
        if seq.before(self.rcv.nxt) {
            let right = (seq + payload.len() as u32).min(self.rcv.nxt);
            self.note_duplicate(env, Span::new(seq, right));
            self.acks.at_once();
        }
        let fills_hole = !seq.after(self.rcv.nxt);
        let inserted = self.rcv.out_of_order.insert(seq, payload, buffer_bytes, held);
        if !fills_hole {
            env.counters.tcp_ofo_queue += u64::from(inserted.new_bytes > 0);
            env.counters.tcp_ofo_drop += u64::from(inserted.refused_bytes > 0);
            env.counters.tcp_ofo_merge += u64::from(inserted.duplicate_bytes > 0);
        }
        if let Some(span) = inserted.duplicate {
            self.note_duplicate(env, span);
        }
        // RFC 5681 §4.2: out of order, or filling a hole: the peer's recovery waits for it.
        self.acks.at_once();
        while let Some(entry) = self.rcv.out_of_order.pop_in_order(self.rcv.nxt) {
            let ssn = entry.start.relative_to(self.irs);
            self.advance(env, entry.bytes.len() as u32, false);
            ext.deliver(env, ssn, entry.bytes, entry.buffer_bytes, &entry.tag)?;
        }
        Ok(())
    }

    fn advance(&mut self, env: &mut Env<'_>, len: u32, pushed: bool) {
        self.rcv.nxt += len;
        self.rcv.adv = self.rcv.adv.max(self.rcv.nxt);
        self.totals.bytes_received += u64::from(len);
        self.acks.on_payload(env.now, len, pushed, self.rcv.full_segment, env.config.delayed_ack);
    }

    /// Out-of-order data is held, and the peer takes reports of it.
    pub(super) fn has_gaps(&self) -> bool {
        self.sack && !self.rcv.out_of_order.is_empty()
    }

    /// Ranges to report (RFC 2018 §4, RFC 2883 §4): a duplicate first, then the most recent.
    pub(super) fn sack_blocks(&self, max: usize) -> polytcp_wire::tcp_option::SackBlocks {
        let mut blocks = polytcp_wire::tcp_option::SackBlocks::default();
        if !self.sack {
            return blocks;
        }
        let duplicate = self.acks.duplicate;
        let held = self
            .rcv
            .out_of_order
            .recent_first()
            .map(|span| SackBlock { left: span.start.0, right: span.end.0 });
        for block in duplicate.into_iter().chain(held).take(max) {
            blocks.push(block);
        }
        blocks
    }
}
