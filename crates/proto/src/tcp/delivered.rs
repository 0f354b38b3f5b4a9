//! What an acknowledgement delivered: cumulatively, selectively, and twice (RFC 2018, 2883, 6298 §3, 8985 §6.2).

use super::flow::{Env, Flow};
use super::rate::Newest;
use super::recovery::Episode;
use super::recovery::rack::Rack;
use super::recovery::scoreboard::Sent;
use super::segment::Segment;
use crate::ranges::Span;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// What one acknowledgement delivered.
#[derive(Default)]
pub(super) struct Delivered {
    pub(super) bytes: u32,
    /// SND.UNA moved.
    pub(super) advances: bool,
    /// The youngest age of what was sent once (Karn's rule, RFC 6298 §3).
    pub(super) rtt: Option<Duration>,
    pub(super) newest: Option<Newest>,
    /// Something in it was sent more than once.
    pub(super) retransmitted: bool,
    /// Something in it was sent before the episode began, and only once.
    pub(super) original: bool,
    /// The timestamp that it echoes.
    pub(super) echoed: Option<u32>,
    /// When the earliest of it was sent for the first time.
    oldest: Option<Instant>,
    reordered: bool,
}

/// What judging a delivery needs besides the segment that was delivered.
struct Context {
    now: Instant,
    echoed: Option<u32>,
    stamp_offset: u32,
    min_rtt: Option<Duration>,
    until: Option<SeqNum>,
}

impl Delivered {
    fn on<S>(&mut self, context: &Context, rack: &mut Rack, sent: &Sent<S>) {
        let Context { now, min_rtt, .. } = *context;
        let age = now.since(sent.last_sent);
        let again = sent.transmissions > 1;
        let echo_is_older = || {
            let stamp = SeqNum(super::opening::timestamp_at(sent.last_sent, context.stamp_offset));
            context.echoed.is_some_and(|ecr| SeqNum(ecr).before(stamp))
        };
        let spurious = again && (echo_is_older() || min_rtt.is_some_and(|min| age < min));
        self.reordered |= rack.on_delivered(now, sent, spurious);
        self.bytes += sent.len;
        self.retransmitted |= again;
        if !again {
            self.rtt = Some(self.rtt.map_or(age, |best| best.min(age)));
            self.original |= context.until.is_some_and(|until| !sent.end().after(until));
        }
        self.oldest = Some(self.oldest.map_or(sent.first_sent, |oldest| oldest.min(sent.first_sent)));
        self.newest = Some(Newest::later(self.newest, sent));
    }
}

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Takes the cumulative and selective acknowledgements into the scoreboard.
    pub(super) fn take_delivered(&mut self, env: &mut Env<'_>, segment: &Segment) -> Delivered {
        let now = env.now;
        let echoed = self.stamps.and(segment.options.timestamps).map(|ts| ts.ecr);
        let advances = segment.ack.after(self.snd.board.snd_una());
        let mut out = Delivered { echoed, advances, ..Delivered::default() };
        let mut context = Context {
            now,
            echoed,
            stamp_offset: self.stamps.map_or(0, |s| s.offset),
            min_rtt: self.rtt.min_rtt(),
            until: match self.recovery.episode {
                Episode::Open => None,
                Episode::Fast { until, .. } | Episode::Loss { until, .. } => Some(until),
            },
        };
        let rack = &mut self.recovery.rack;
        let (path, mss) = (&mut self.snd.path, self.snd.mss);
        self.snd.board.ack(segment.ack, |sent| {
            path.on_delivered(sent, mss);
            out.on(&context, rack, sent);
        });
        if self.sack {
            // The echoed timestamp belongs to the cumulative acknowledgement.
            context.echoed = None;
            let mut blocks = segment.options.sack;
            let blocks = blocks.as_mut_slice();
            let first_is_report = blocks.first().is_some_and(|block| {
                let (left, right) = (SeqNum(block.left), SeqNum(block.right));
                // RFC 2883 §4: a first block below the cumulative acknowledgement, or inside the second
                // block, reports a duplicate.
                let inside = blocks
                    .get(1)
                    .is_some_and(|next| !left.before(SeqNum(next.left)) && !right.after(SeqNum(next.right)));
                left.before(right) && (!right.after(segment.ack) || inside)
            });
            let (report, news) = blocks.split_at_mut(usize::from(first_is_report));
            if let Some(block) = report.first() {
                self.take_duplicate_report(env, SeqNum(block.left), SeqNum(block.right));
            }
            // Two blocks that are new in one acknowledgement tell nothing of the order in which they came.
            let una = self.snd.board.snd_una();
            news.sort_unstable_by_key(|block| SeqNum(block.left).saturating_since(una));
            let rack = &mut self.recovery.rack;
            let snd_nxt = self.snd.board.snd_nxt();
            for block in news {
                let (left, right) = (SeqNum(block.left), SeqNum(block.right));
                let is_old = left.before(right) && !right.after(una);
                let is_valid = left.after(una) && left.before(right) && !right.after(snd_nxt);
                env.counters.tcp_sack_discard += u64::from(!is_old && !is_valid);
                self.snd.board.sack(left, right, |sent| {
                    self.snd.path.on_delivered(sent, mss);
                    out.on(&context, rack, sent);
                });
            }
        }
        env.counters.tcp_sack_reorder += u64::from(out.reordered);
        if out.bytes > 0 {
            self.snd.rate.on_delivered(now, out.bytes);
            self.recovery.on_progress();
        }
        out
    }

    /// The peer has `left..right` twice (RFC 2883). A report of more than was ever sent again, or than its window
    /// holds, is not believed: it would only make the sender patient (RFC 3708 §5).
    fn take_duplicate_report(&mut self, env: &mut Env<'_>, left: SeqNum, right: SeqNum) {
        let len = right.saturating_since(left);
        let snd_una = self.snd.board.snd_una();
        match right.after(snd_una) {
            true => env.counters.tcp_dsack_ofo_recv += 1,
            false => env.counters.tcp_dsack_recv += 1,
        }
        env.counters.tcp_dsack_recv_segs += u64::from(len.div_ceil(u32::from(self.snd.mss).max(1)));
        let is_probe = self.recovery.tail_probe.is_some_and(|probe| probe.end == right);
        if is_probe {
            // RFC 8985 §7.4: probe and original arrived. A probe leaves by a timer and tells nothing of order.
            self.recovery.tail_probe = None;
        }
        let reported = self.recovery.reported_bytes.saturating_add(u64::from(len));
        if len > self.snd.wnd_max.max(1 << 16) || reported > self.totals.bytes_retransmitted {
            env.counters.tcp_dsack_ignored_dubious += 1;
            return;
        }
        self.recovery.reported_bytes = reported;
        if !is_probe {
            self.recovery.rack.on_duplicate_report(snd_una, self.snd.board.snd_nxt());
        }
        match &mut self.recovery.undo {
            Some(undo) if undo.is_older(right) => env.counters.tcp_dsack_ignored_old += 1,
            Some(undo) => undo.on_duplicate(Span::new(left, right), snd_una),
            None => env.counters.tcp_dsack_ignored_no_undo += 1,
        }
    }

    /// The round trip that an acknowledgement measured: by what was sent once (Karn's rule, RFC 6298 §3), else by
    /// the timestamp that it echoes, which must be one that can have left with the data, and measures only where the
    /// acknowledgement advances: else it is that of an older segment (RFC 7323 §4.1).
    pub(super) fn round_trip(&self, now: Instant, delivered: &Delivered, advances: bool) -> Option<Duration> {
        if !delivered.retransmitted {
            return delivered.rtt;
        }
        if !advances {
            return None;
        }
        let (stamps, ecr) = (self.stamps?, delivered.echoed.filter(|ecr| *ecr != 0)?);
        let ticks = super::opening::timestamp_at(now, stamps.offset).wrapping_sub(ecr);
        let rtt = Duration::from_millis(u64::from(ticks.max(1)));
        let age = now.since(delivered.oldest?);
        (rtt <= age + Duration::from_millis(1)).then_some(rtt)
    }
}
