//! The sending half of a flow: what leaves next (RFC 9293 §3.8, §3.10.8).
//!
//! Order: retransmissions, new data, a probe, FIN, a pure acknowledgement. A segment is a run or the
//! front of one, up to 64 KiB where the device cuts it (TSO), sized to about a millisecond of the
//! pacing rate; it never crosses the end of a run, so that one mapping describes all of it.

use bytes::Bytes;
use polytcp_wire::tcp::TcpFlags;
use polytcp_wire::tcp_option::TcpOption;
use polytcp_wire::tcp_options::MptcpOptions;

use super::extension::{Carrier, Extension};
use super::flow::{Env, Flow, OwnFin};
use super::recovery::scoreboard::Sent;
use super::recovery::{DueProbe, Episode, TailProbe};
use super::segment::Outgoing;
use crate::config::TcpConfig;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant, nanos};

/// A segment holds about this much of the pacing rate (Linux's `tcp_tso_autosize`: 1 ms).
const BURST: Duration = Duration::from_millis(1);
/// Segments may leave this much before their time, so that the driver need not wake for each.
const PACING_SLACK: Duration = Duration::from_micros(500);
/// Below this round trip pacing is finer than any driver's clock and only costs.
const PACING_MIN_RTT: Duration = Duration::from_millis(2);

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// The next segment, or `None` when nothing may or needs to leave now.
    pub fn poll_transmit<X>(&mut self, env: &mut Env<'_>, ext: &mut X) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let out = self
            .retransmit(env, ext)
            .or_else(|| self.send_new(env, ext))
            .inspect(|out| self.note_probe(out))
            .or_else(|| self.send_tail_probe(env, ext))
            .or_else(|| self.send_fin(env, ext))
            .or_else(|| self.send_window_probe(env, ext));
        if out.is_some() {
            return out;
        }
        self.note_starved(env.now);
        if self.acks.is_due(env.now) || ext.wants_ack() {
            env.counters.delayed_acks += u64::from(self.acks.take_late(env.now));
            return Some(self.send_ack(env, ext, self.snd.board.snd_nxt()));
        }
        None
    }

    /// Octets that the congestion window leaves.
    pub(super) fn cwnd_room(&self) -> u32 {
        self.cc.cwnd().saturating_add(self.limited_transmit()).saturating_sub(self.snd.board.in_flight())
    }

    /// RFC 3042: the first two duplicate acknowledgements let two segments more leave, so that a small window gathers
    /// the third. After a timeout the first lets go again what new data was preferred to (RFC 5682 §2.1, step 3a).
    /// With SACK each reports what left the network, which has the same effect.
    fn limited_transmit(&self) -> u32 {
        let most = match self.recovery.episode {
            Episode::Open => 2,
            Episode::Loss { .. } => 1,
            Episode::Fast { .. } => 0,
        };
        match self.sack {
            true => 0,
            false => u32::from(self.recovery.duplicate_acks.min(most)) * u32::from(self.snd.mss),
        }
    }

    /// Octets that the peer's window leaves for new data.
    ///
    /// RFC 8684 §3.3.5: a subflow of several is held to its own window too, since a box on its path may hold less than
    /// the connection's receiver (Linux raises it to the connection's for each run that it sends). But what it was
    /// told last may be old: the update can have come on another subflow, or been lost. One segment goes in any case
    /// while nothing is on the way, and brings the present window, so there is nothing to be probed.
    pub(super) fn window_room(&self) -> u32 {
        let edge = self.snd.board.snd_una() + self.snd.wnd;
        let room = edge.saturating_since(self.snd.board.snd_nxt());
        let asks = self.snd.window_is_shared && self.snd.board.is_empty();
        if asks { room.max(u32::from(self.snd.mss)) } else { room }
    }

    /// RFC 9293 §3.8.6.2.1, the sender's rule against silly windows: a full segment, all there is, or half
    /// the largest window; or, after the override timeout, whatever the window takes.
    pub(super) fn is_window_blocked(&self, len: u32, mss: u32) -> bool {
        let window = self.window_room();
        let silly = window < self.snd.wnd_max / 2 && !self.snd.silly_window_override;
        window < len.min(mss) && (window == 0 || silly)
    }

    /// How many more octets the flow could send at this moment, counting what it has queued; 0 tells
    /// that it should not be given any. A flow is given about what it can send at once, so that the
    /// scheduler decides late.
    pub fn room(&self, now: Instant) -> u32 {
        if self.snd.fin != OwnFin::None {
            return 0;
        }
        let mss = u32::from(self.snd.mss);
        if self.recovery.due_probe == DueProbe::AskedForNew && self.window_room() >= mss {
            // RFC 8985 §7.3: the probe is the next segment, whatever the congestion window says.
            return mss;
        }
        if !self.may_send_at(now) {
            return 0;
        }
        let room = self.cwnd_room().min(self.window_room());
        let room = room.saturating_sub(self.snd.queued_bytes);
        let is_idle = self.snd.board.in_flight() == 0 && self.snd.queued_bytes == 0;
        if room < mss && !is_idle { 0 } else { room }
    }

    /// The owner has data that it did not give; perhaps the congestion window kept it back, perhaps pacing.
    pub fn note_cwnd_limited(&mut self) {
        self.snd.rate.on_owner_waits();
        if self.cwnd_room() < u32::from(self.snd.mss) {
            self.note_usage(true);
        }
    }

    /// Octets that one packet should hold: a millisecond of pacing, at least `min_tso_segs` MSS.
    pub fn burst_bytes(&self, mss: u16) -> u32 {
        let rate = self.pacing_rate();
        let burst = rate.map_or(u64::from(u32::MAX), |r| r.saturating_mul(nanos(BURST)) / 1_000_000_000);
        let max = self.snd.segment_bytes_max.max(u32::from(mss));
        u32::try_from(burst).unwrap_or(u32::MAX).clamp((self.snd.min_tso_segs * u32::from(mss)).min(max), max)
    }

    /// Octets per second at which the flow is spread out; `None` before the first round trip.
    pub fn pacing_rate(&self) -> Option<u64> {
        self.cc.pacing_rate().or_else(|| {
            let srtt = nanos(self.rtt.srtt()?).max(1);
            // Linux: 200 % of the window per round trip while it doubles, 120 % after that.
            let percent = if self.cc.in_slow_start() { 200 } else { 120 };
            let window = u128::from(self.cc.cwnd()) * percent / 100;
            u64::try_from(window * 1_000_000_000 / u128::from(srtt)).ok()
        })
    }

    fn is_paced(&self, config: &TcpConfig) -> bool {
        let is_long = || self.rtt.srtt().is_some_and(|srtt| srtt >= PACING_MIN_RTT);
        self.cc.pacing_rate().is_some() || config.pacing && is_long()
    }

    fn may_send_at(&self, now: Instant) -> bool {
        self.snd.pace_next <= now + PACING_SLACK
    }

    /// When pacing lets the next segment go, if that is what the flow waits for.
    pub(super) fn paced_until(&self, now: Instant) -> Option<Instant> {
        let waiting = !self.snd.queue.is_empty() || self.snd.board.waiting_bytes() > 0;
        (waiting && !self.may_send_at(now)).then(|| self.snd.pace_next - PACING_SLACK)
    }

    /// When pacing lets the flow take more; for an owner that has data and was told 0 by
    /// [`room`](Self::room).
    pub fn paced_at(&self, now: Instant) -> Option<Instant> {
        let has_room = self.cwnd_room() >= u32::from(self.snd.mss) && self.snd.fin == OwnFin::None;
        (has_room && !self.may_send_at(now)).then(|| self.snd.pace_next - PACING_SLACK)
    }

    fn retransmit<X>(&mut self, env: &mut Env<'_>, ext: &mut X) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let index = self.snd.board.next_lost()?;
        if !self.may_send_at(env.now) {
            return None;
        }
        if self.prefers_new_data() {
            if self.snd.queue.is_empty() {
                self.ask_for_new_data();
            }
            return None;
        }
        let sent = self.snd.board.get(index)?;
        let mss = u32::from(self.payload_mss(ext.reserved_option_bytes(&sent.tag)));
        let room = self.cwnd_room();
        if room < mss.min(sent.len) {
            return None;
        }
        let limit = whole_segments(room.min(self.burst_bytes(mss as u16)), mss);
        self.snd.board.split_at(index, limit);
        self.resend(env, ext, index)
    }

    /// Sends the segment at `index` of the scoreboard again.
    fn resend<X>(&mut self, env: &mut Env<'_>, ext: &mut X, index: usize) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let numbers = self.snd.board.get(index)?.len;
        let at_send = self.snd.rate.on_send(env.now, self.snd.board.in_flight(), numbers);
        let sent = self.snd.board.retransmitted(index, env.now, at_send)?;
        let mut flags = if sent.fin { TcpFlags::FIN } else { TcpFlags::NONE };
        if sent.push {
            flags |= TcpFlags::PSH;
        }
        let (seq, bytes, tag) = (sent.seq, sent.bytes.clone(), sent.tag.clone());
        let len = bytes.len() as u32;
        self.totals.bytes_sent += u64::from(len);
        self.totals.bytes_retransmitted += u64::from(len);
        self.totals.retransmissions += 1;
        let stamp = self.timestamp(env.now).map(|ts| ts.val);
        if let Some(undo) = &mut self.recovery.undo {
            undo.on_resent(numbers, stamp);
        }
        match &mut self.recovery.episode {
            Episode::Fast { prr, .. } => {
                prr.on_sent(len);
                env.counters.tcp_fast_retrans += 1;
            }
            Episode::Loss { .. } => env.counters.tcp_slow_start_retrans += 1,
            Episode::Open => {}
        }
        let mut out = self.data_segment(env, ext, seq, bytes, &tag, flags);
        out.repeats = true;
        self.after_send(env, len);
        Some(out)
    }

    fn send_new<X>(&mut self, env: &mut Env<'_>, ext: &mut X) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        self.forget_old_mtu(env.now);
        let (bytes, tag) = self.snd.queue.front()?;
        let len = bytes.len() as u32;
        let mss = u32::from(self.payload_mss(ext.reserved_option_bytes(tag)));
        let window = self.window_room();
        let room = self.cwnd_room();
        if room < len.min(mss) {
            self.note_usage(true);
            return None;
        }
        if self.is_window_blocked(len, mss) {
            self.arm_timer(env.now);
            return None;
        }
        self.snd.silly_window_override = false;
        if !self.may_send_at(env.now) {
            return None;
        }
        if let Some(probe) = self.send_mtu_probe(env, ext) {
            self.on_new_data_sent();
            self.rearm_after_send(env.now);
            return Some(probe);
        }
        let burst = if self.owes_cwr() { mss } else { self.burst_bytes(mss as u16) };
        // As Linux: at most half of the congestion window in one packet.
        let half = whole_segments(self.cc.cwnd() / 2, mss);
        let limit = room.min(window).min(burst).min(half);
        let take = if len <= limit || limit < mss { len.min(limit) } else { whole_segments(limit, mss) };
        // A controller with a model of the path has its own rule (Linux: `cong_control`).
        let shrinks = env.config.slow_start_after_idle || self.cc.steers_recovery();
        if self.snd.board.is_empty() {
            // Where the window is kept, the pause is none of its growth all the same (RFC 9438 §5.8).
            let idle = if shrinks { env.now.since(self.snd.last_sent) } else { Duration::ZERO };
            self.cc.on_idle(env.now, idle, self.rtt.rto());
        }
        self.expire_window(env.now);
        let out = self.send_front(env, ext, take);
        self.on_new_data_sent();
        self.rearm_after_send(env.now);
        out
    }

    /// Sends the first `take` octets of the queue.
    pub(super) fn send_front<X>(&mut self, env: &mut Env<'_>, ext: &mut X, take: u32) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let (bytes, tag) = self.snd.queue.front_mut()?;
        let whole = take as usize >= bytes.len();
        let (bytes, tag) =
            if whole { self.snd.queue.pop_front()? } else { (bytes.split_to(take as usize), tag.clone()) };
        self.snd.queued_bytes -= bytes.len() as u32;
        let fin = self.snd.fin == OwnFin::Queued && self.snd.queue.is_empty();
        let seq = self.snd.board.snd_nxt();
        let in_flight = self.snd.board.in_flight();
        self.snd.rate.on_new_data(env.now, in_flight);
        let at_send = self.snd.rate.on_send(env.now, in_flight, bytes.len() as u32);
        let mut sent = Sent::new(seq, bytes.clone(), tag.clone(), env.now, at_send);
        let mut flags = TcpFlags::NONE;
        if fin {
            flags |= TcpFlags::FIN;
            sent = sent.with_fin();
            self.snd.fin = OwnFin::Sent;
        }
        // RFC 9293 §3.9.1.2: the last segment of what there is to send (MUST-61).
        if self.snd.queue.is_empty() && !ext.has_more() && !bytes.is_empty() {
            flags |= TcpFlags::PSH;
            sent.push = true;
        }
        self.snd.board.push(sent);
        self.totals.bytes_sent += bytes.len() as u64;
        if let Episode::Fast { prr, .. } = &mut self.recovery.episode {
            prr.on_sent(bytes.len() as u32);
        }
        let len = bytes.len() as u32;
        let mut out = self.data_segment(env, ext, seq, bytes, &tag, flags);
        let (flags, ecn) = self.new_data_marks();
        out.flags |= flags;
        out.ecn = ecn;
        self.after_send(env, len);
        Some(out)
    }

    /// Data that leaves between the probe timeout and the probe is the probe: a repetition of it would tell nothing
    /// more, and would only let the peer find a duplicate.
    fn note_probe(&mut self, out: &Outgoing) {
        if core::mem::replace(&mut self.recovery.due_probe, DueProbe::No) != DueProbe::No && !out.repeats {
            self.recovery.tail_probe = Some(TailProbe { end: self.snd.board.snd_nxt(), repeats: false });
        }
    }

    /// RFC 8985 §7.3: a probe ignores the congestion window.
    fn send_tail_probe<X>(&mut self, env: &mut Env<'_>, ext: &mut X) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let due = &mut self.recovery.due_probe;
        if *due == DueProbe::WantsNew && self.snd.queue.is_empty() {
            *due = DueProbe::AskedForNew;
            return None;
        }
        if core::mem::replace(due, DueProbe::No) == DueProbe::No || self.snd.board.is_empty() {
            return None;
        }
        let tag = self
            .snd
            .queue
            .front()
            .map(|(_, tag)| tag)
            .or_else(|| Some(&self.snd.board.iter().last()?.tag))?;
        let mss = u32::from(self.payload_mss(ext.reserved_option_bytes(tag)));
        let fresh = self.snd.queue.front().map(|(bytes, _)| (bytes.len() as u32).min(mss));
        let fresh = fresh.filter(|take| self.window_room() >= *take);
        let repeats = fresh.is_none();
        let out = match fresh {
            Some(take) => self.send_front(env, ext, take),
            None => {
                let last = self.snd.board.len() - 1;
                let len = self.snd.board.get(last)?.len;
                let index =
                    if self.snd.board.split_at(last, len.saturating_sub(mss)) { last + 1 } else { last };
                self.resend(env, ext, index)
            }
        };
        self.recovery.tail_probe = Some(TailProbe { end: self.snd.board.snd_nxt(), repeats });
        out
    }

    fn send_fin<X>(&mut self, env: &mut Env<'_>, ext: &mut X) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        if self.snd.fin != OwnFin::Queued || !self.snd.queue.is_empty() {
            return None;
        }
        self.snd.fin = OwnFin::Sent;
        let seq = self.snd.board.snd_nxt();
        let mut out = self.send_ack(env, ext, seq);
        out.flags |= TcpFlags::FIN;
        let at_send = self.snd.rate.on_send(env.now, self.snd.board.in_flight(), 1);
        let sent = Sent::new(seq, Bytes::new(), ext.empty_tag(), env.now, at_send).with_fin();
        self.snd.board.push(sent);
        self.rearm_after_send(env.now);
        Some(out)
    }

    fn send_window_probe<X>(&mut self, env: &mut Env<'_>, ext: &mut X) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        if !core::mem::take(&mut self.snd.probe) {
            return None;
        }
        Some(self.send_ack(env, ext, self.snd.board.snd_una() - 1))
    }

    fn send_ack<X>(&mut self, env: &mut Env<'_>, ext: &mut X, seq: SeqNum) -> Outgoing
    where
        X: Extension<Sent = S, Held = H>,
    {
        let mut out =
            Outgoing::bare(seq, self.rcv.nxt, TcpFlags::ACK | self.echo_flag(), self.announce(env, ext));
        let carrier = Carrier::Ack { reports: self.has_gaps() };
        self.write_options(env, ext, carrier, u16::MAX, &mut out);
        self.acks.on_sent(self.rcv.nxt);
        out
    }

    fn data_segment<X>(
        &mut self,
        env: &mut Env<'_>,
        ext: &mut X,
        seq: SeqNum,
        bytes: Bytes,
        tag: &S,
        flags: TcpFlags,
    ) -> Outgoing
    where
        X: Extension<Sent = S, Held = H>,
    {
        let is_cut = bytes.len() > usize::from(self.snd.mss);
        let mut flags = flags | TcpFlags::ACK | self.echo_flag();
        // As Linux: what the device cuts ends with PSH, so that a receiver that merges segments passes them on.
        if is_cut {
            flags |= TcpFlags::PSH;
        }
        let mut out = Outgoing::bare(seq, self.rcv.nxt, flags, self.announce(env, ext));
        let carrier = if bytes.is_empty() {
            Carrier::Ack { reports: self.has_gaps() }
        } else {
            Carrier::Data { tag, ssn: seq.relative_to(self.iss), len: bytes.len() as u32 }
        };
        // Payload was sized without SACK blocks: only a segment that the device cuts, or one with room to
        // spare, may carry them.
        let spare = if is_cut { u16::MAX } else { self.snd.mss.saturating_sub(bytes.len() as u16) };
        self.write_options(env, ext, carrier, spare, &mut out);
        out.mss = self.snd.mss.saturating_sub(out.options.len() as u16).max(1);
        if !bytes.is_empty() {
            self.acks.on_own_payload(env.now, env.config.delayed_ack);
        }
        out.payload = bytes;
        self.acks.on_sent(self.rcv.nxt);
        out
    }

    /// The window field, and what it promises (RFC 7323 §2.3).
    fn announce<X>(&mut self, env: &mut Env<'_>, ext: &mut X) -> u16
    where
        X: Extension<Sent = S, Held = H>,
    {
        let shift = self.rcv.wscale;
        let window = ext.window_bytes(shift, self.rcv.nxt == self.acks.last_ack_sent);
        let field = u16::try_from(window >> shift).unwrap_or(u16::MAX);
        self.rcv.adv = self.rcv.adv.max(self.rcv.nxt + (u32::from(field) << shift));
        let was_shut = core::mem::replace(&mut self.rcv.is_shut, field == 0);
        env.counters.tcp_to_zero_window_adv += u64::from(!was_shut && self.rcv.is_shut);
        env.counters.tcp_from_zero_window_adv += u64::from(was_shut && !self.rcv.is_shut);
        field
    }

    /// Timestamps, what the extension wants, and SACK blocks in what that leaves of the option space and
    /// of `spare` octets of the segment.
    fn write_options<X>(
        &mut self,
        env: &mut Env<'_>,
        ext: &mut X,
        carrier: Carrier<'_, S>,
        spare: u16,
        out: &mut Outgoing,
    ) where
        X: Extension<Sent = S, Held = H>,
    {
        if let Some(ts) = self.timestamp(env.now) {
            let _ = out.options.push(TcpOption::Timestamps(ts));
        }
        let extra: MptcpOptions = ext.options(env, carrier, out.options.remaining());
        let taken: usize = extra.iter().map(|option| option.wire_len()).sum();
        // NOP NOP kind length, then 8 octets a block.
        let spare = usize::from(spare).saturating_sub(out.options.len());
        let blocks = out.options.remaining().min(spare).saturating_sub(taken + 4) / 8;
        let sack = self.sack_blocks(blocks);
        if !sack.is_empty() {
            let _ = out.options.push(TcpOption::Sack(sack));
        }
        for option in extra.iter() {
            let _ = out.options.push(TcpOption::Mptcp(*option));
        }
    }

    /// Nothing is there to be sent although the windows allow it: what is delivered then tells of the application
    /// and not of the path, unless the owner says that it has data and waits for pacing. A peer's closed window is
    /// the path's limit (draft-ietf-ccwg-bbr §4.1.1.3).
    fn note_starved(&mut self, now: Instant) {
        let mss = u32::from(self.snd.mss);
        let free = self.cwnd_room() >= mss && self.window_room() >= mss;
        if free && self.snd.queue.is_empty() && self.snd.board.waiting_bytes() == 0 {
            self.snd.rate.on_starved(now, self.snd.pace_next - PACING_SLACK);
        }
    }

    fn note_usage(&mut self, limited: bool) {
        let board = &self.snd.board;
        self.snd.usage.note(limited, board.in_flight(), board.snd_una(), board.snd_nxt());
    }

    fn after_send(&mut self, env: &Env<'_>, len: u32) {
        let now = env.now;
        self.snd.last_sent = now;
        self.note_usage(self.cwnd_room() < u32::from(self.snd.mss));
        if !self.is_paced(env.config) {
            self.snd.pace_next = now;
            return;
        }
        if let Some(rate) = self.pacing_rate().filter(|rate| *rate > 0) {
            let gap = u64::from(len).saturating_mul(1_000_000_000) / rate;
            self.snd.pace_next = self.snd.pace_next.max(now) + Duration::from_nanos(gap);
        }
    }
}

/// `limit` rounded down to whole segments, at least one.
fn whole_segments(limit: u32, mss: u32) -> u32 {
    (limit - limit % mss.max(1)).max(mss)
}
