//! Every way back to plain TCP, and what takes its place where there is none (RFC 8684 §3.7).
//!
//! | what happens | where it is seen | answer |
//! | --- | --- | --- |
//! | the handshake has no MP_CAPABLE | `handshake.rs`, `host/passive.rs` | plain TCP |
//! | the first data has no MPTCP option | `confirm` of `options_in.rs` | plain TCP, or reset |
//! | data has no mapping | `deliver.rs` | plain TCP, or reset |
//! | all is acknowledged, without any option | `handle_stall` of `timeouts.rs` | plain TCP, or reset |
//! | a FIN without any option | `handle_segment` of `connection.rs` | plain TCP, or reset |
//! | infinite mapping | `handle_dss` of `options_in.rs` | plain TCP, or reset |
//! | the first checksum is wrong | `on_wrong_checksum` | plain TCP, or MP_FAIL and reset |
//! | a later checksum is wrong | `on_wrong_checksum` | MP_FAIL, or MP_FAIL and reset |
//! | MP_FAIL | `on_mp_fail` | MP_FAIL; new data has the infinite mapping (`revert`) |
//!
//! Falling back is possible while the stream is contiguous on its one subflow: no other ever joined, nothing was
//! sent twice at data level, and nothing waits out of order.
//!
//! A peer may not see what made us fall back. Our next new data tells it by the infinite mapping, and a peer that gets
//! no DATA_ACKs for what we acknowledge falls back as we would. Until then its mappings have to say what we assume:
//! see `take_late_dss` of `options_in.rs`.

use alloc::boxed::Box;

use super::connection::{Connection, Ctx, Notice};
use super::hook::{Data, Hook, Mode, reset_reason};
use super::mapping::{Mapping, PeerMapping};
use super::subflow::{ActiveHandshake, Confirmation, Phase, SubflowState};
use crate::counters::Counters;
use crate::seq::{Dsn, Ssn};
use crate::tcp::extension::Abort;
use crate::tcp::flow::{End, Env};
use crate::time::{Duration, Instant};

/// Without an answer MP_FAIL is repeated after this, doubled each time; answers come no faster.
const REPEAT_MIN: Duration = Duration::from_millis(200);
/// How often the wait is doubled at most.
const BACKOFF_MAX: u8 = 9;
/// A subflow whose peer leaves MP_FAIL unanswered is reset after this (Linux's `TCP_RTO_MAX`).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a connection fell back to TCP, by Linux's counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallbackReason {
    /// The SYN/ACK had no MP_CAPABLE.
    SynAck,
    /// The third ACK had no MP_CAPABLE.
    ThirdAck,
    /// MP_CAPABLE SYNs went unanswered.
    SynDropped,
    /// The first established packet had no MPTCP option.
    FirstData,
    /// A mapping was missing, infinite, or the first one had a wrong checksum.
    Dss,
    /// All that we sent was acknowledged without any MPTCP option.
    NoDataAck,
    /// The peer's FIN had no MPTCP option.
    Fin,
    /// After MP_FAIL our new data has the infinite mapping.
    InfiniteMapping,
    /// Both sides opened at once.
    SimultaneousOpen,
    /// No token was free.
    NoToken,
}

/// How far the exchange of MP_FAIL on the only subflow is. It ends with an infinite mapping, ours or the peer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failing {
    /// Nothing failed.
    No,
    /// We sent MP_FAIL and wait for the peer's.
    Told {
        /// Where the mapping starts that failed.
        dsn: Dsn,
        /// How often it was repeated.
        repeats: u8,
        /// When it goes again.
        again_at: Instant,
        /// When the subflow is given up.
        until: Instant,
    },
    /// The peer sent MP_FAIL first, and we answered at that time.
    Answered {
        /// When.
        at: Instant,
    },
    /// The peer answered ours.
    Agreed,
}

impl Data {
    /// The connection speaks plain TCP from now on; what the subflow `mp` holds of a mapping that will never
    /// be verified goes to the application as it is.
    pub(super) fn fall_back(&mut self, mp: &mut SubflowState, reason: FallbackReason) {
        self.mode = Mode::Plain;
        self.inbox.fell_back = Some(reason);
        while let Some((bytes, pinned)) = mp.unverified.as_mut().and_then(|held| held.pop()) {
            self.rcv.append(bytes, pinned);
        }
    }

    /// The stream is contiguous on its one subflow.
    fn may_fall_back(&self) -> bool {
        self.may_fall_back && !self.rcv.has_gap()
    }

    /// The infinite mapping goes with our next new data. It refers back to the last data that is known to have
    /// arrived intact.
    fn announce_fallback(&mut self) {
        let dsn = self.snd.buffer.snd_una();
        let ssn = Ssn(1) + dsn.saturating_since(self.plain_base) as u32;
        self.infinite = Some(Box::new(Mapping::infinite(dsn, ssn, self.checksums)));
    }

    /// The infinite mapping, if it has to go with what is queued now.
    pub(super) fn take_infinite(&mut self, counters: &mut Counters) -> Option<Mapping> {
        let infinite = self.infinite.take().map(|mapping| *mapping);
        counters.infinite_map_tx += u64::from(infinite.is_some());
        infinite
    }
}

impl Hook<'_> {
    /// Fallback if it is allowed, else the reset that replaces it.
    pub(super) fn fall_back_or(
        &mut self,
        env: &mut Env<'_>,
        reason: FallbackReason,
        reset: u8,
    ) -> Result<(), Abort> {
        if self.data.may_fall_back() {
            self.data.fall_back(self.mp, reason);
            return Ok(());
        }
        env.counters.fallback_failed += 1;
        Err(Abort { reason: reset })
    }

    /// As [`Self::fall_back_or`], where the peer may not know: our next data tells it (RFC 8684 §3.7).
    pub(super) fn fall_back_alone_or(
        &mut self,
        env: &mut Env<'_>,
        reason: FallbackReason,
        reset: u8,
    ) -> Result<(), Abort> {
        self.fall_back_or(env, reason, reset)?;
        self.data.announce_fallback();
        Ok(())
    }

    /// The peer's FIN came on the only subflow and had no MPTCP option: the peer speaks TCP, and its stream ends
    /// here. Who speaks MPTCP says so on a FIN too, which then ends no more than the subflow.
    pub(super) fn end_as_tcp(&mut self, env: &mut Env<'_>, rcv_nxt: Ssn) -> Result<(), Abort> {
        let rcv = &self.data.rcv;
        // Both ends take a number.
        let end = rcv.contiguous_at(rcv_nxt);
        if rcv.nxt() + u64::from(!rcv.is_finished()) != end {
            env.counters.fallback_failed += 1;
            return Err(Abort { reason: reset_reason::MIDDLEBOX });
        }
        self.fall_back_or(env, FallbackReason::Fin, reset_reason::MIDDLEBOX)?;
        self.data.rcv.finish();
        Ok(())
    }

    /// A whole mapping came whose checksum is wrong: a middlebox changed the data, or the option.
    ///
    /// Where other subflows are or were, its data is thrown away: the peer sends it again elsewhere. On the only
    /// subflow nobody could send it otherwise.
    ///
    /// Deviation: it is delivered then at once, as Linux does. RFC 8684 §3.7 delivers it too, by an infinite
    /// mapping that reaches back to it, but that comes only with the peer's next data.
    pub(super) fn on_wrong_checksum(
        &mut self,
        env: &mut Env<'_>,
        mapping: &PeerMapping,
    ) -> Result<(), Abort> {
        env.counters.data_csum_err += 1;
        if !self.data.may_fall_back() {
            self.mp.fail_due = Some(mapping.dsn);
            return Err(Abort { reason: reset_reason::MIDDLEBOX });
        }
        if !self.data.checksum_seen {
            // As with an option that is missing on the first data: this path takes no MPTCP.
            return self.fall_back_or(env, FallbackReason::Dss, reset_reason::MIDDLEBOX);
        }
        if self.data.failing == Failing::No {
            self.data.failing = Failing::Told {
                dsn: mapping.dsn,
                repeats: 0,
                again_at: env.now + REPEAT_MIN,
                until: env.now + ANSWER_TIMEOUT,
            };
            self.mp.fail_due = Some(mapping.dsn);
            self.mp.ack_wanted = true;
        }
        self.accept_mapping(mapping);
        Ok(())
    }

    /// MP_FAIL on an acknowledgement. One that names what was never sent is ignored, as is one that comes when
    /// fallback is impossible: the reset that it should be on does what is needed.
    pub(super) fn on_mp_fail(&mut self, env: &mut Env<'_>, dsn: Dsn) {
        env.counters.mp_fail_rx += 1;
        if !self.data.may_fall_back {
            return;
        }
        let first = self.data.plain_base;
        let was_sent = dsn.within(first, self.data.snd.buffer.snd_nxt().saturating_since(first));
        match self.data.failing {
            Failing::Told { .. } => self.data.failing = Failing::Agreed,
            Failing::No if was_sent => self.answer_mp_fail(env.now),
            // Our answer was lost. Once a while: a Linux peer would take an answer too many for a new MP_FAIL.
            Failing::Answered { at } if env.now.since(at) >= REPEAT_MIN => self.answer_mp_fail(env.now),
            Failing::No | Failing::Answered { .. } | Failing::Agreed => {}
        }
    }

    /// RFC 8684 §3.7: the receiver of MP_FAIL answers with one of its own, and both directions revert.
    fn answer_mp_fail(&mut self, now: Instant) {
        self.data.failing = Failing::Answered { at: now };
        // As Linux: our latest mapping, though nothing of it failed.
        self.mp.fail_due = Some(self.mp.cursor.latest().unwrap_or(self.data.rcv.nxt()));
        self.mp.ack_wanted = true;
        // What would be sent twice at data level makes the stream less than contiguous.
        self.data.snd.forget_ranges();
    }
}

impl Connection {
    /// Both sides said MP_FAIL: the next new data has the infinite mapping, and all is plain TCP from there on
    /// (RFC 8684 §3.7). Until then MPTCP goes on, since a peer without that mapping waits for DATA_ACKs. True
    /// when it changed the mode.
    pub(super) fn revert(&mut self, ctx: &mut Ctx<'_>) -> bool {
        match self.data.failing {
            Failing::No | Failing::Told { .. } => return false,
            Failing::Answered { .. } | Failing::Agreed => {}
        }
        if self.data.snd.buffer.unsent() == 0 || !self.data.may_fall_back {
            return false;
        }
        let Some(subflow) = self.subflows.first_mut().filter(|s| s.is_usable()) else { return false };
        self.data.announce_fallback();
        self.data.fall_back(&mut subflow.mp, FallbackReason::InfiniteMapping);
        self.data.inbox.fell_back = None;
        self.on_fallback(ctx, FallbackReason::InfiniteMapping);
        true
    }

    /// The peer acknowledges what we send, and for the latest of it no longer says anything in MPTCP: it fell back
    /// without us, or something on the path acknowledges in its place or takes its options away. No other subflow
    /// was ever open, which would rule the first out.
    pub(super) fn is_peer_plain(&self) -> bool {
        let mut flows = self.subflows.iter().filter(|s| s.flow().is_some());
        let only = flows.next().filter(|s| s.is_usable() && s.mp.acked_bare.is_some());
        only.is_some()
            && flows.next().is_none()
            && self.closed.as_ref().is_none_or(|closed| closed.totals.count == 0)
    }

    /// Falls back after such a peer, or gives its subflow up: what would be sent again at data level could be new data
    /// to it.
    pub(super) fn follow_plain_peer(&mut self, ctx: &mut Ctx<'_>) {
        let Some(index) = self.subflows.iter().position(|s| s.flow().is_some()) else { return };
        if !self.data.may_fall_back() {
            ctx.counters.fallback_failed += 1;
            self.on_flow_end(ctx, index, End::Violation(Abort { reason: reset_reason::MIDDLEBOX }));
            return;
        }
        self.data.fall_back(&mut self.subflows[index].mp, FallbackReason::NoDataAck);
        self.data.inbox.fell_back = None;
        self.data.announce_fallback();
        self.on_fallback(ctx, FallbackReason::NoDataAck);
        self.advance_close(ctx);
    }

    /// A subflow that we open, and its connection with it, speaks plain TCP.
    pub(super) fn become_plain(&mut self, ctx: &mut Ctx<'_>, index: usize, reason: FallbackReason) {
        if let Phase::Opening { handshake, .. } = &mut self.subflows[index].phase {
            *handshake = ActiveHandshake::Plain;
        }
        self.data.mode = Mode::Plain;
        self.on_fallback(ctx, reason);
    }

    /// The connection is plain TCP from now on: its one flow follows its own window, and its acknowledgements
    /// alone free what was sent.
    pub(crate) fn on_fallback(&mut self, ctx: &mut Ctx<'_>, reason: FallbackReason) {
        let mut acked = None;
        for subflow in &mut self.subflows {
            subflow.mp.confirmation = Confirmation::Done;
            subflow.mp.signals.clear();
            subflow.mp.fail_due = None;
            if let Some(flow) = subflow.flow_mut() {
                flow.set_window_is_shared(false);
                acked = acked.or(Some(flow.snd_una()));
            }
        }
        if let Some(ssn) = acked {
            self.data.ack_plain(ssn);
            // Joins that were only tried: a plain connection has one subflow.
            self.drop_openings(ctx);
        }
        self.hand_user_timeout_to_flows();
        self.data.failing = Failing::No;
        self.data.snd.forget_ranges();
        self.pm.announcing = None;
        self.notices.push_back(Notice::FellBack(reason));
    }

    /// When MP_FAIL is due again, or given up.
    pub(super) fn failing_deadline(&self) -> Option<Instant> {
        match self.data.failing {
            Failing::Told { again_at, until, .. } => Some(again_at.min(until)),
            Failing::No | Failing::Answered { .. } | Failing::Agreed => None,
        }
    }

    /// Repeats MP_FAIL, or gives its subflow up.
    pub(super) fn handle_failing_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let Failing::Told { dsn, repeats, again_at, until } = &mut self.data.failing else { return };
        if *until <= ctx.now {
            self.data.failing = Failing::No;
            self.on_flow_end(ctx, 0, End::Violation(Abort { reason: reset_reason::MIDDLEBOX }));
        } else if *again_at <= ctx.now {
            *repeats = repeats.saturating_add(1);
            *again_at = ctx.now + REPEAT_MIN * (1 << (*repeats).min(BACKOFF_MAX));
            let dsn = *dsn;
            if let Some(subflow) = self.subflows.first_mut() {
                subflow.mp.fail_due = Some(dsn);
                subflow.mp.ack_wanted = true;
            }
        }
    }
}
