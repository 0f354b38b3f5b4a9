//! A segment arrives at a flow: whether it is acceptable, and what is done with each of its parts, in order
//! (RFC 9293 §3.10.7.4).

use polytcp_wire::tcp::TcpFlags;

use super::extension::Extension;
use super::flow::{End, Env, Flow, State};
use super::opening::AgreedTimestamps;
use super::segment::{Outgoing, Segment};
use super::time_wait::TimeWait;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// RFC 7323 §5.5: a timestamp older than 24 days is not compared with.
const PAWS_IDLE: Duration = Duration::from_secs(24 * 24 * 3600);

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// The reset that ends this flow from our side.
    pub fn reset<X>(&self, env: &mut Env<'_>, ext: &mut X) -> Outgoing
    where
        X: Extension<Sent = S, Held = H>,
    {
        let mut out =
            Outgoing::bare(self.snd.board.snd_nxt(), self.rcv.nxt, TcpFlags::RST | TcpFlags::ACK, 0);
        // RFC 7323 §3.2: on a reset too.
        if let Some(stamps) = self.timestamp(env.now) {
            let _ = out.options.push(polytcp_wire::tcp_option::TcpOption::Timestamps(stamps));
        }
        for option in ext.options(env, super::extension::Carrier::Reset, out.options.remaining()).iter() {
            // The extension kept to the room that it was told.
            let _ = out.options.push(polytcp_wire::tcp_option::TcpOption::Mptcp(*option));
        }
        out
    }

    /// Processes a segment of the flow (RFC 9293 §3.10.7.4). `None`: the flow goes on.
    pub fn handle_segment<X>(&mut self, env: &mut Env<'_>, segment: Segment, ext: &mut X) -> Option<End>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let now = env.now;
        // RFC 7323 §5.3 R1: PAWS comes before everything, but a reset is not held back by it.
        if self.fails_paws(now, &segment) && !segment.is_rst() {
            env.counters.paws_estab += 1;
            let limit = env.config.invalid_ratelimit;
            let answered = self.acks.on_unacceptable(now, !segment.payload.is_empty(), limit);
            env.counters.tcp_ack_skipped_paws += u64::from(!answered);
            return None;
        }
        // The window is the connection's (RFC 8684 §3.3.4): Linux sends on a subflow what another has announced.
        self.rcv.adv = self.rcv.adv.max(self.rcv.nxt + ext.shared_window_bytes());
        if !self.is_acceptable(&segment) {
            if segment.is_rst() {
                return None;
            }
            if segment.is_syn() {
                env.counters.tcp_syn_challenge += 1;
            }
            self.report_duplicate(env, &segment);
            let edge = self.rcv.adv.max(self.rcv.nxt);
            env.counters.beyond_window += u64::from(!segment.is_syn() && segment.end().after(edge));
            // A repeated SYN/ACK lacks our third ACK: it is answered at once.
            let handshake = segment.is_syn() && segment.seq == self.irs;
            let has_data = handshake || !segment.payload.is_empty() || segment.is_fin();
            let answered = self.acks.on_unacceptable(now, has_data, env.config.invalid_ratelimit);
            env.counters.tcp_ack_skipped_seq += u64::from(!answered);
            return None;
        }
        if segment.is_rst() {
            // RFC 5961 §3.2: only at exactly RCV.NXT; elsewhere in the window it may be forged.
            if segment.seq == self.rcv.nxt {
                return Some(End::PeerReset);
            }
            self.challenge(env);
            return None;
        }
        if segment.is_syn() {
            // RFC 5961 §4.2.
            env.counters.tcp_syn_challenge += 1;
            self.challenge(env);
            return None;
        }
        if !segment.is_ack() {
            return None;
        }
        let held = match self.handle_ack(env, &segment, ext) {
            Ok(Some(held)) => held,
            Ok(None) => return None,
            Err(abort) => return Some(End::Violation(abort)),
        };
        // Only now is it the peer's: a forged segment must not move the clock of PAWS.
        self.rcv.last_at = now;
        self.keepalive_probes = 0;
        self.window_probes = 0;
        self.note_timestamp(now, &segment);
        self.take_mark(&segment);
        self.measure_receive_rtt(now, &segment);
        if let Err(abort) = self.handle_payload(env, segment, held, ext) {
            return Some(End::Violation(abort));
        }
        self.end_of_life()
    }

    /// Answers what may be forged by an acknowledgement, which tells a real peer where the flow is (RFC 5961 §7).
    pub(super) fn challenge(&mut self, env: &mut Env<'_>) {
        match self.acks.on_unacceptable(env.now, false, env.config.invalid_ratelimit) {
            true => env.counters.tcp_challenge_ack += 1,
            false => env.counters.tcp_ack_skipped_challenge += 1,
        }
    }

    /// What is remembered of the flow in TIME-WAIT.
    pub fn time_wait(&self, expires_at: Instant) -> TimeWait {
        TimeWait {
            snd_nxt: self.snd.board.snd_nxt(),
            rcv_nxt: self.rcv.nxt,
            timestamps: self.stamps.map(|s| AgreedTimestamps { offset: s.offset, recent: s.recent }),
            expires_at,
            answer_allowed_at: Instant::ZERO,
        }
    }

    /// TIME-WAIT or CLOSED, once both directions are done.
    fn end_of_life(&self) -> Option<End> {
        match self.state() {
            State::TimeWait => Some(End::TimeWait),
            State::Closed => Some(End::Closed),
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => None,
        }
    }

    /// RFC 7323 §5.3 R1.
    fn fails_paws(&self, now: Instant, segment: &Segment) -> bool {
        let (Some(stamps), Some(ts)) = (self.stamps, segment.options.timestamps) else { return false };
        SeqNum(ts.val).before(SeqNum(stamps.recent)) && now.since(stamps.recent_at) < PAWS_IDLE
    }

    /// RFC 7323 §4.3 (2). That TS.Recent does not go back is PAWS's doing, which the segment has passed; after 24 idle
    /// days it may (§5.5), as in Linux.
    fn note_timestamp(&mut self, now: Instant, segment: &Segment) {
        let last_ack_sent = self.acks.last_ack_sent;
        if let (Some(stamps), Some(ts)) = (self.stamps.as_mut(), segment.options.timestamps)
            && !segment.seq.after(last_ack_sent)
        {
            stamps.recent = ts.val;
            stamps.recent_at = now;
        }
    }

    /// The octets of our timestamp clock at `now`.
    pub(super) fn timestamp(&self, now: Instant) -> Option<polytcp_wire::tcp_option::Timestamps> {
        self.stamps.map(|s| polytcp_wire::tcp_option::Timestamps {
            val: super::opening::timestamp_at(now, s.offset),
            ecr: s.recent,
        })
    }
}
