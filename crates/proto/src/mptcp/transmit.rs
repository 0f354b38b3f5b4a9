//! What a connection sends next: what its subflows have, then what the scheduler gives them.

use super::connection::{Connection, Cork, Ctx, Emission, Stage};
use super::hook::{DSS_BYTES_MAX, Hook, Mode};
use super::mapping::Mapping;
use super::send::DataFin;
use super::subflow::{Confirmation, Phase, Subflow, SubflowFlow};
use crate::ranges::Span;
use crate::sched::{self, BlockingHead, Decision, Run, SubflowView, View};
use crate::seq::{Dsn, Ssn};
use crate::time::{Duration, Instant};

/// Small writes gather for this long while the connection is busy, so that they leave as one segment.
///
/// By measurement: with 50 µs writes of 1,400 bytes left as segments of some 10 KiB, at half the throughput; with 200 µs the
/// timer that ends it took a tenth of a fast upload's time, though the next write nearly always came before. An
/// acknowledgement of everything ends it earlier; a full burst does not wait, and `TCP_NODELAY` switches it off.
const CORK: Duration = Duration::from_millis(1);

/// Bursts that gather while as many are under way, where bursts are as large as [`FAST_BURST_BYTES`].
///
/// A peer that outruns the writer sleeps after every burst, and waking it is the sender's work where both are on one
/// machine. By measurement on TUN devices: a tenth more throughput with writes of 1,400 bytes.
const BATCH_BURSTS: u64 = 4;

/// A burst of this size means a path so fast (some 260 Mbit/s) that a few of them are gathered in no time.
const FAST_BURST_BYTES: u64 = 32 << 10;
/// A run never exceeds what fits one IPv4 packet with all options (Linux: 65,428).
const RUN_BYTES_MAX: u32 = 65_428;

impl Connection {
    /// The next segment, or `None` when nothing may or needs to leave now.
    pub(crate) fn poll_transmit(&mut self, ctx: &mut Ctx<'_>) -> Option<Emission> {
        if let Some(emission) = self.pop_pending() {
            return Some(emission);
        }
        loop {
            for index in 0..self.subflows.len() {
                if let Some(emission) = self.poll_subflow(ctx, index) {
                    return Some(emission);
                }
            }
            if !self.schedule(ctx) {
                return None;
            }
        }
    }

    /// The next of what leaves before anything else, such as the reset of a subflow that is gone.
    pub(crate) fn pop_pending(&mut self) -> Option<Emission> {
        self.pending.pop_front()
    }

    fn poll_subflow(&mut self, ctx: &mut Ctx<'_>, index: usize) -> Option<Emission> {
        let subflow = &self.subflows[index];
        if matches!(subflow.phase, Phase::Open(_)) && self.awaits_key() {
            return None;
        }
        let subflow = &mut self.subflows[index];
        let Phase::Open(flow) = &mut subflow.phase else { return self.poll_opening(ctx, index) };
        let mut hook = Hook { data: &mut self.data, mp: &mut subflow.mp };
        let segment = flow.poll_transmit(&mut ctx.env(), &mut hook)?;
        let Subflow { interface, local, remote, .. } = *subflow;
        Some(Emission { interface, local, remote, ip: self.ip, segment })
    }

    /// Gives one run to one subflow, or sends DATA_FIN. False when nothing changed.
    fn schedule(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.timing.schedule_at = None;
        match (self.stage, self.data.mode) {
            (Stage::Established, Mode::Mptcp) if self.awaits_key() => false,
            (Stage::Established, Mode::Plain) => self.schedule_plain(ctx),
            (Stage::Established, Mode::Mptcp) => {
                self.revert(ctx) || self.schedule_mptcp(ctx) || self.send_data_fin(ctx)
            }
            (Stage::Connecting | Stage::Finished | Stage::Failed(_), _) => false,
        }
    }

    fn schedule_plain(&mut self, ctx: &mut Ctx<'_>) -> bool {
        if self.data.snd.buffer.unsent() == 0 || !self.may_cut(ctx.now) {
            return false;
        }
        let Some(Phase::Open(flow)) = self.subflows.first_mut().map(|s| &mut s.phase) else { return false };
        if flow.is_closing() {
            return false;
        }
        // The first new data of who told its fallback has the infinite mapping.
        let mss = flow.payload_mss(if self.data.infinite.is_some() { DSS_BYTES_MAX } else { 0 });
        let room = flow.room(ctx.now);
        if room == 0 {
            flow.note_cwnd_limited();
            self.timing.schedule_at = flow.paced_at(ctx.now);
            // A closed window is probed from the flow, which has to hold something to be sent for that.
            if flow.is_idle()
                && flow.snd_wnd() == 0
                && let Some(cut) = self.data.snd.buffer.cut(u32::from(mss))
            {
                flow.queue(cut.bytes, self.data.take_infinite(ctx.counters));
                return true;
            }
            return false;
        }
        let unsent = self.data.snd.buffer.unsent();
        let unheld = u32::try_from(unsent - self.held_tail(mss)).unwrap_or(u32::MAX);
        let Some(Phase::Open(flow)) = self.subflows.first_mut().map(|s| &mut s.phase) else { return false };
        let max = whole_segments(room.max(u32::from(mss)).min(RUN_BYTES_MAX), mss, unsent);
        let max = max.min(flow.run_bytes(mss)).min(unheld);
        let Some(cut) = self.data.snd.buffer.cut(max) else { return false };
        flow.queue(cut.bytes, self.data.take_infinite(ctx.counters));
        self.note_cut(ctx.now, cut.dsn, mss);
        self.advance_close(ctx);
        true
    }

    /// Nagle's rule in Minshall's variant (RFC 9293 §3.7.4), and the short gathering of small writes.
    fn may_cut(&mut self, now: Instant) -> bool {
        let snd = &self.data.snd;
        let unsent = snd.buffer.unsent();
        self.timing.cork = None;
        let Some(flow) = self.subflows.iter().find_map(Subflow::flow) else { return true };
        let is_plain = self.data.mode == Mode::Plain && self.data.infinite.is_none();
        let mss = flow.payload_mss(if is_plain { 0 } else { DSS_BYTES_MAX });
        let burst_bytes = u64::from(flow.burst_bytes(mss));
        let rto = flow.rtt().rto();
        let acked = snd.buffer.snd_una();
        if let Some(hold) = self.hold.as_mut().filter(|hold| hold.is_on(acked) && !snd.is_closed()) {
            if unsent >= u64::from(mss) {
                return true;
            }
            let until = hold.wait(now, snd.buffer.unacked() > 0, rto);
            if hold.is_on(acked) {
                self.timing.cork = until.map(|until| Cork { until, full_bytes: mss.into() });
                return false;
            }
            // Nobody knows when more comes.
            self.data.snd.more_follows = false;
            return true;
        }
        let batch_bytes = BATCH_BURSTS * burst_bytes;
        let in_batches = burst_bytes >= FAST_BURST_BYTES && snd.buffer.unacked() >= batch_bytes;
        let full_bytes = if in_batches { batch_bytes } else { burst_bytes };
        // A batch that has begun to leave leaves whole.
        let goes_on = unsent >= burst_bytes && self.timing.last_cut == now;
        if self.nodelay || snd.is_closed() || unsent >= full_bytes || goes_on {
            return true;
        }
        let small_unacked = snd.small_end.is_some_and(|end| end.after(snd.buffer.snd_una()));
        if unsent < u64::from(mss) && small_unacked {
            return false;
        }
        let until = self.timing.last_cut + CORK;
        if now < until && snd.buffer.unacked() > 0 {
            self.timing.cork = Some(Cork { until, full_bytes });
            return false;
        }
        true
    }

    /// Unsent octets at the end that wait for more.
    fn held_tail(&self, mss: u16) -> u64 {
        let snd = &self.data.snd;
        let holds = self.hold.as_ref().is_some_and(|hold| hold.is_on(snd.buffer.snd_una()));
        if holds && !snd.is_closed() { snd.buffer.unsent() % u64::from(mss.max(1)) } else { 0 }
    }

    fn note_cut(&mut self, now: Instant, dsn: Dsn, mss: u16) {
        if let Some(hold) = &mut self.hold {
            hold.on_sent();
            // Nothing is to be held back any more.
            self.hold = self.hold.take().filter(|hold| hold.corked || hold.more.is_some());
        }
        self.timing.last_cut = now;
        let end = self.data.snd.buffer.snd_nxt();
        if end.saturating_since(dsn) < u64::from(mss) {
            self.data.snd.small_end = Some(end);
        }
    }

    fn schedule_mptcp(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let reinject = self.data.snd.next_again();
        let may_cut = self.data.snd.buffer.unsent() > 0 && (reinject.is_some() || self.may_cut(ctx.now));
        let buffer = &self.data.snd.buffer;
        let unsent = if may_cut { buffer.unsent() } else { 0 };
        // What is not sent is less than a segment, if anything, and no more comes before DATA_ACK moves.
        let full = !may_cut && buffer.unacked() > 0 && !buffer.is_writable();
        if !may_cut && reinject.is_none() && !full {
            return false;
        }
        self.refresh_views(ctx.now);
        let window_left = self.worthwhile_window();
        let blocked = full || (unsent > 0 && window_left == 0);
        let blocking_head = if blocked { self.blocking_head() } else { None };
        let view = View {
            subflows: &self.views,
            unsent_bytes: unsent,
            window_left_bytes: window_left,
            ahead_bytes: self.ahead_bytes(window_left),
            reinject,
            blocking_head,
        };
        match self.scheduler.next(&view, ctx.now) {
            Decision::Send { subflow, run: Run::Unsent, max_bytes } => self.give(ctx, subflow, max_bytes),
            Decision::Send { subflow, run: Run::Again { from }, max_bytes } => {
                let before = self.data.snd.bytes_reinjected;
                let given = self.give_again(ctx, subflow, from, max_bytes);
                if blocking_head.is_some_and(|head| head.span.start == from) {
                    self.helped_to = Some(from + (self.data.snd.bytes_reinjected - before));
                }
                given
            }
            Decision::Wait { until } => {
                let paced =
                    self.subflows.iter().filter_map(Subflow::flow).filter_map(|f| f.paced_at(ctx.now));
                self.timing.schedule_at = paced.chain(until).min();
                if window_left > 0 {
                    for subflow in &mut self.subflows {
                        if let Some(flow) = subflow.flow_mut() {
                            flow.note_cwnd_limited();
                        }
                    }
                }
                false
            }
        }
    }

    /// Octets of the peer's window that are worth using: less than a segment is not, while data is under
    /// way that will open it (RFC 9293 §3.8.6.2.1).
    fn worthwhile_window(&self) -> u64 {
        let snd = &self.data.snd;
        let left = snd.window_left();
        let mss = self.subflows.iter().find_map(Subflow::flow).map_or(1, |f| f.payload_mss(DSS_BYTES_MAX));
        let scrap = left < u64::from(mss) && left < snd.buffer.unsent() && snd.buffer.unacked() > 0;
        if scrap { 0 } else { left }
    }

    fn refresh_views(&mut self, now: Instant) {
        self.views.clear();
        for (index, subflow) in self.subflows.iter().enumerate() {
            let (true, Some(flow)) = (subflow.is_usable(), subflow.flow()) else { continue };
            self.views.push(view_of(now, index, subflow, flow));
            if !self.data.snd.heard_ack {
                // A Linux client drops what comes out of order before it has sent its first DATA_ACK.
                break;
            }
        }
    }

    /// Octets that can be sent before what is under way must be acknowledged, in a send buffer as large as it may become.
    fn ahead_bytes(&self, window_left: u64) -> u64 {
        let buffer = self.tuning.send_max_bytes() as u64;
        window_left.min(buffer.saturating_sub(self.data.snd.buffer.unacked()))
    }

    /// The first data that the peer waits for on a slow subflow, if a fast one has nothing to do and has
    /// not sent it again already. To be asked when the connection is blocked and the views are fresh.
    fn blocking_head(&self) -> Option<BlockingHead> {
        let fastest =
            sched::best_class_of(&self.views).filter(|s| s.room_bytes > 0).min_by_key(|s| s.srtt)?;
        let una = self.data.snd.buffer.snd_una();
        let from = self.helped_to.map_or(una, |helped| helped.max(una));
        let slow = self.views.iter().filter(|view| sched::is_much_faster(fastest, view));
        let heads = slow.filter_map(|view| {
            let flow = self.subflows[view.index].flow()?;
            let spans = flow.outstanding().chain(flow.queued()).filter_map(|(ssn, len, tag)| {
                let start = tag.as_ref()?.dsn_at(ssn);
                Some(Span::new(start.max(from), start + u64::from(len)))
            });
            let first = spans.filter(|span| span.start.before(span.end)).min_by_key(|s| s.start.since(from));
            first.map(|span| BlockingHead { span, holder: view.index })
        });
        heads.min_by_key(|head| head.span.start.since(from))
    }

    /// Cuts new data for a subflow.
    fn give(&mut self, ctx: &mut Ctx<'_>, index: usize, max_bytes: u32) -> bool {
        let window_left = u32::try_from(self.data.snd.window_left()).unwrap_or(u32::MAX);
        // Linux 6.18 notes a DATA_FIN beside data that it has already, never acts on it, and ignores all later ones. Where
        // there is another subflow, this data may come there first, sent again: DATA_FIN then goes alone.
        let alone = self.subflows.len() == 1;
        let held = match self.subflows.get(index).and_then(Subflow::flow) {
            Some(flow) if self.hold.is_some() => self.held_tail(flow.payload_mss(DSS_BYTES_MAX)),
            _ => 0,
        };
        let unheld = u32::try_from(self.data.snd.buffer.unsent() - held).unwrap_or(u32::MAX);
        let Some(subflow) = self.subflows.get_mut(index) else { return false };
        let Phase::Open(flow) = &mut subflow.phase else { return false };
        let mss = flow.payload_mss(DSS_BYTES_MAX);
        let ssn = flow.queue_end();
        // RFC 8684 §3.1: the first data carries MP_CAPABLE, whose copy on a second wire segment would
        // make no sense.
        let first = ssn == Ssn(1) && matches!(subflow.mp.confirmation, Confirmation::CapableClient);
        let burst = if first { u32::from(mss) } else { flow.run_bytes(mss) };
        let room = flow.room(ctx.now).max(u32::from(mss));
        let max = max_bytes.min(room).min(RUN_BYTES_MAX);
        let max =
            whole_segments(max, mss, self.data.snd.buffer.unsent()).min(burst).min(window_left).min(unheld);
        let Some(cut) = self.data.snd.buffer.cut(max) else { return false };
        let len = cut.bytes.len() as u32;
        let fin = self.data.snd.fin_is_next() && !first && alone;
        let mapping = Mapping::cut(cut.dsn, ssn, &cut.bytes, fin, self.data.checksums);
        flow.queue(cut.bytes, Some(mapping));
        let beyond = flow.queue_end().0.wrapping_sub(flow.snd_una().0) > flow.snd_wnd();
        ctx.counters.snd_wnd_shared += u64::from(beyond);
        self.note_carried(index, cut.dsn, len);
        if fin {
            self.data.snd.on_fin_sent(ctx.now);
        }
        self.scheduler.on_sent(index, len);
        self.note_cut(ctx.now, cut.dsn, mss);
        true
    }

    /// Sends bytes in flight again on another subflow.
    fn give_again(&mut self, ctx: &mut Ctx<'_>, index: usize, from: Dsn, max_bytes: u32) -> bool {
        let Some(flow) = self.subflows.get_mut(index).and_then(Subflow::flow_mut) else { return false };
        let mss = flow.payload_mss(DSS_BYTES_MAX);
        let room = flow.room(ctx.now).max(u32::from(mss));
        let max = max_bytes.min(room).min(flow.burst_bytes(mss)).min(RUN_BYTES_MAX);
        let Some(bytes) = self.data.snd.buffer.slice(from, max) else {
            // Acknowledged meanwhile.
            return false;
        };
        let len = bytes.len() as u32;
        let ssn = flow.queue_end();
        let mapping = Mapping::cut(from, ssn, &bytes, false, self.data.checksums);
        flow.queue(bytes, Some(mapping));
        self.note_carried(index, from, len);
        self.data.snd.on_sent_again(from, len);
        ctx.counters.mptcp_retrans += 1;
        self.data.may_fall_back = false;
        self.scheduler.on_sent(index, len);
        true
    }

    /// Remembers what a subflow was given, where its peer may refuse it later.
    fn note_carried(&mut self, index: usize, from: Dsn, len: u32) {
        if self.data.checksums {
            let carried = &mut self.subflows[index].mp.carried;
            carried.trim_below(self.data.snd.buffer.snd_una());
            carried.insert(from, from + u64::from(len));
        }
    }

    /// DATA_FIN on its own, on every subflow (RFC 8684 §3.3.3).
    fn send_data_fin(&mut self, ctx: &mut Ctx<'_>) -> bool {
        if !self.data.snd.fin_is_next() || !self.subflows.iter().any(|s| s.is_usable()) {
            return false;
        }
        self.data.snd.on_fin_sent(ctx.now);
        self.want_ack_everywhere();
        true
    }

    /// Has an acknowledgement with the data level's state leave on every subflow.
    pub(super) fn want_ack_everywhere(&mut self) {
        for subflow in &mut self.subflows {
            subflow.mp.ack_wanted = subflow.flow().is_some();
        }
    }

    /// DATA_FIN was sent and is not acknowledged.
    pub(super) fn fin_again_at(&self) -> Option<Instant> {
        match self.data.snd.fin() {
            DataFin::Sent { again_at, .. } if self.data.mode == Mode::Mptcp => Some(again_at),
            _ => None,
        }
    }
}

/// Octets of a run that may have `max` of `unsent` ones: a segment does not go on in the next run, so that one which
/// more follows ends with a full one. Windows of octets would otherwise end with a small segment each, where Linux,
/// which counts segments, sends none.
fn whole_segments(max: u32, mss: u16, unsent: u64) -> u32 {
    let mss = u32::from(mss);
    if unsent <= u64::from(max) || max < mss { max } else { max - max % mss }
}

fn view_of(now: Instant, index: usize, subflow: &Subflow, flow: &SubflowFlow) -> SubflowView {
    SubflowView {
        index,
        srtt: flow.rtt().srtt().unwrap_or_default(),
        rttvar: flow.rtt().rttvar().unwrap_or_default(),
        cwnd_bytes: flow.congestion().cwnd(),
        in_flight_bytes: flow.in_flight(),
        queued_bytes: flow.queued_bytes(),
        room_bytes: flow.room(now),
        pacing_rate: flow.pacing_rate().unwrap_or(0),
        delivery_rate: flow.delivery_rate(),
        mss: flow.payload_mss(DSS_BYTES_MAX),
        backup: subflow.mp.is_backup(),
        suspect: flow.is_suspect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_more_follows_ends_with_a_full_segment() {
        assert_eq!(whole_segments(3_500, 1_000, 10_000), 3_000);
        assert_eq!(whole_segments(3_000, 1_000, 3_001), 3_000);
        assert_eq!(whole_segments(3_500, 1_000, 3_500), 3_500, "nothing follows");
        assert_eq!(whole_segments(900, 1_000, 10_000), 900, "there is room for no full one");
    }
}
