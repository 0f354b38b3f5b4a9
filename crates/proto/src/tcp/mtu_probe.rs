//! The search for the largest packet that a path takes, without ICMP: packetization-layer path MTU discovery (RFC 4821
//! §7; Linux's `tcp_mtu_probing`).
//!
//! The MSS in use is the largest size known to arrive (RFC 4821's search_low). From time to time one segment of the
//! stream is sent larger, in the middle between it and what may still be possible (search_high). When it is
//! acknowledged, that is the new MSS; when it alone is lost, nothing larger is tried for a while, and the loss tells
//! nothing of congestion (§7.5). A segment that a device would cut again is no probe: each is one packet.

use alloc::boxed::Box;

use super::extension::Extension;
use super::flow::{Env, Flow};
use super::recovery::scoreboard::Sent;
use super::segment::Outgoing;
use crate::config::{MtuProbing, TcpConfig};
use crate::seq::SeqNum;
use crate::time::Instant;

/// A probe is sent only into a window that its loss, found by those that follow, does not stall (Linux: eleven).
const WINDOW_SEGMENTS: u32 = 11;
/// Segments on the way that show a busy flow, others of which will follow the probe and find its loss.
const FOLLOWERS: u32 = 4;

/// A search. All sizes are packets without the smallest headers, as the MSS is.
#[derive(Debug)]
pub(super) struct MtuSearch {
    /// Nothing larger arrives, or is allowed.
    high: u16,
    /// When `high` was the largest that is allowed.
    since: Instant,
    stage: Stage,
    /// A probe is due, and runs have to be so much longer than a segment for it.
    wanted: u16,
}

/// Where the search is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing is on the way.
    Resting,
    /// A segment from `start` to `end` that left when the MSS was taken for `mss`.
    Probing { start: SeqNum, end: SeqNum, mss: u16 },
    /// It arrived: the MSS may grow to this.
    Arrived { mss: u16 },
    /// It was lost; what it carried is sent again.
    Repairing { start: SeqNum, end: SeqNum },
}

impl MtuSearch {
    fn new(now: Instant, high: u16) -> Self {
        Self { high, since: now, stage: Stage::Resting, wanted: 0 }
    }

    /// Nothing larger than `mss` arrives.
    pub(super) fn limit(&mut self, mss: u16) {
        self.high = self.high.min(mss);
    }

    /// `sent` arrived. What was sent again tells nothing of the probe.
    pub(super) fn on_delivered<S>(&mut self, sent: &Sent<S>) {
        let Stage::Probing { start, end, mss } = self.stage else { return };
        // A tail loss probe may have repeated the end of it: that this arrived says nothing of the size.
        if sent.seq == start {
            let whole = sent.seq == start && sent.end() == end && sent.transmissions == 1;
            self.stage = if whole { Stage::Arrived { mss } } else { Stage::Resting };
        }
    }
}

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// With `tcp_mtu_probing` 2 a new flow begins with small segments and looks for larger ones.
    pub fn begin_mtu_search(&mut self, now: Instant, config: &TcpConfig) {
        if config.mtu_probing == MtuProbing::Always && self.snd.path.search.is_none() {
            self.search_from(now, config.base_mss);
        }
    }

    /// Goes down to `mss` and looks for what is between it and what is allowed.
    pub(super) fn search_from(&mut self, now: Instant, mss: u16) {
        let high = self.snd.path.search.as_ref().map_or(self.snd.path.mss_max, |search| search.high);
        self.snd.path.search = Some(Box::new(MtuSearch::new(now, high)));
        self.limit_to(mss);
    }

    /// Octets that a run should have for this flow: a burst of full segments, or what a probe that is due takes.
    pub fn run_bytes(&self, mss: u16) -> u32 {
        let wanted = self.snd.path.search.as_ref().map_or(0, |search| search.wanted);
        let burst = self.burst_bytes(mss);
        let whole = burst - burst % u32::from(mss);
        if wanted == 0 { whole } else { burst.max(u32::from(mss) + u32::from(wanted)) }
    }

    /// A probe, if one is due and the flow can spare it.
    pub(super) fn send_mtu_probe<X>(&mut self, env: &mut Env<'_>, ext: &mut X) -> Option<Outgoing>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let (low, mss_max) = (self.snd.mss, self.snd.path.mss_max);
        let search = self.snd.path.search.as_mut().filter(|search| matches!(search.stage, Stage::Resting))?;
        if search.high.saturating_sub(low) < env.config.mtu_probe_threshold.max(1) {
            // RFC 4821 §7.3: paths change. Linux's `tcp_probe_interval`.
            if env.now.since(search.since) < env.config.mtu_probe_interval {
                return None;
            }
            **search = MtuSearch::new(env.now, mss_max);
        }
        let mss = low + (search.high.saturating_sub(low)).div_ceil(2);
        let reserved = self.snd.queue.front().map_or(0, |(_, tag)| ext.reserved_option_bytes(tag));
        let payload = u32::from(self.payload_mss(reserved)) + u32::from(mss - low);
        let segment = u32::from(low);
        let board = &self.snd.board;
        let is_calm = self.sack
            && self.recovery.in_open()
            && board.sacked_bytes() == 0
            && board.waiting_bytes() == 0
            && board.in_flight() >= FOLLOWERS * segment
            // Blocks to report would take the room of payload.
            && self.rcv.out_of_order.is_empty();
        let fits = self.cc.cwnd() >= WINDOW_SEGMENTS * segment
            && self.cwnd_room() >= payload
            && self.window_room() >= payload + FOLLOWERS * segment;
        if mss <= low || !is_calm || !fits || self.owes_cwr() {
            return None;
        }
        let run = self.snd.queue.front().map_or(0, |(run, _)| run.len());
        if let Some(search) = &mut self.snd.path.search {
            search.wanted = if run < payload as usize { mss - low } else { 0 };
        }
        if run < payload as usize {
            return None;
        }
        let start = self.snd.board.snd_nxt();
        // The size of its options and of its packet follow from the MSS.
        self.snd.mss = mss;
        let out = self.send_front(env, ext, payload);
        self.snd.mss = low;
        let out = out?;
        // Options can be longer at another time, so what counts is the packet as it is.
        let mss = (out.payload.len() + out.options.len()) as u16;
        let end = self.snd.board.snd_nxt();
        if let Some(search) = &mut self.snd.path.search {
            search.stage = Stage::Probing { start, end, mss };
        }
        Some(out)
    }

    /// Draws the conclusion from what an acknowledgement delivered and what it showed to be lost. True when all that
    /// waits for being sent again is of a probe that was too large: that is no congestion (RFC 4821 §7.5).
    pub(super) fn judge_mtu_probe(&mut self, env: &mut Env<'_>) -> bool {
        let Some(search) = &mut self.snd.path.search else { return false };
        let board = &self.snd.board;
        match search.stage {
            Stage::Resting => return false,
            Stage::Arrived { mss } => {
                search.stage = Stage::Resting;
                env.counters.tcp_mtup_success += 1;
                match mss > self.snd.mss {
                    true => self.limit_to(mss),
                    // Too little is left to be told apart.
                    false => search.limit(self.snd.mss),
                }
                return false;
            }
            Stage::Probing { start, end, mss } => {
                let lost =
                    board.get(board.index_of(start)).is_some_and(|sent| sent.seq == start && sent.lost);
                if !lost {
                    return false;
                }
                env.counters.tcp_mtup_fail += 1;
                search.limit(mss - 1);
                // What a tail loss probe repeated of it was lost for its size, too.
                self.recovery.tail_probe = None;
                search.stage = Stage::Repairing { start, end };
            }
            Stage::Repairing { .. } => {}
        }
        let Stage::Repairing { start, end } = search.stage else { return false };
        let first = board.index_of(start);
        let parts =
            (first..board.len()).map_while(|index| board.get(index).filter(|sent| sent.seq.before(end)));
        // What is sent again is of the usual size: that it is lost is congestion.
        let is_of_probe = |sent: &&Sent<S>| sent.is_waiting() && sent.transmissions == 1;
        let of_probe = parts.filter(is_of_probe).fold(0u32, |sum, sent| sum + sent.len);
        if !board.snd_una().before(end) {
            search.stage = Stage::Resting;
        }
        board.waiting_bytes() == of_probe
    }

    /// A timeout tells nothing of the probe: what else was on the way did not arrive either.
    pub(super) fn forget_mtu_probe(&mut self) {
        if let Some(search) = &mut self.snd.path.search {
            search.stage = Stage::Resting;
        }
    }
}
