//! `TCP_USER_TIMEOUT`: when a connection is given up because nothing comes back (RFC 9293 §3.9.1.8).
//!
//! On plain TCP the one flow watches it, as in Linux. On MPTCP, where Linux refuses the option, it belongs to the
//! connection: a path that died costs nothing while another one carries the data, so flows are given up by the ordinary
//! rules only, and the connection when none of them got anything through for so long. While connecting it bounds the
//! first subflow's handshake (Linux's `tcp_write_timeout`: what comes first, this or the last repetition).

use super::connection::{Connection, Ctx, Stage};
use super::hook::Mode;
use super::subflow::{Phase, Subflow, SubflowFlow};
use crate::host::socket::ConnectionError;
use crate::time::{Duration, Instant};

impl Connection {
    /// Sets `TCP_USER_TIMEOUT`.
    pub(crate) fn set_user_timeout(&mut self, limit: Option<Duration>) {
        self.user_timeout = limit;
        self.hand_user_timeout_to_flows();
    }

    /// What a flow watches itself.
    pub(super) fn flow_user_timeout(&self) -> Option<Duration> {
        match self.data.mode {
            Mode::Plain => self.user_timeout,
            Mode::Mptcp => None,
        }
    }

    /// The limit or the mode changed.
    pub(super) fn hand_user_timeout_to_flows(&mut self) {
        let limit = self.flow_user_timeout();
        for flow in self.subflows.iter_mut().filter_map(Subflow::flow_mut) {
            flow.set_user_timeout(limit);
        }
    }

    /// Notes since when the peer owes an acknowledgement; called when everything that could be sent was sent.
    ///
    /// Data counts from its write, as RFC 9293 asks, whether a window let it go or not. What a peer acknowledges of a
    /// subflow shows that it lives, though it may be late with its DATA_ACK.
    pub(super) fn watch_user_timeout(&mut self, now: Instant) {
        if self.user_timeout.is_none() {
            self.timing.owed_since = None;
            return;
        }
        let snd = &self.data.snd;
        let is_open = self.stage == Stage::Established && self.data.mode == Mode::Mptcp && !self.awaits_key();
        let owes = snd.buffer.unacked() > 0 || snd.buffer.unsent() > 0 || (snd.is_closed() && !snd.is_done());
        self.timing.owed_since = (is_open && owes).then(|| {
            let since = self.timing.owed_since.unwrap_or(now);
            let flows = self.subflows.iter().filter_map(Subflow::flow);
            flows.map(SubflowFlow::acked_at).fold(since.max(snd.progress_at), Instant::max)
        });
    }

    /// When the connection is given up, as things stand.
    pub(super) fn user_timeout_at(&self) -> Option<Instant> {
        let since = match self.stage {
            Stage::Connecting => self.subflows.iter().find_map(|subflow| match &subflow.phase {
                Phase::Opening { opening, .. } => opening.first_sent(),
                Phase::Open(_) => None,
            }),
            Stage::Established => self.timing.owed_since,
            Stage::Finished | Stage::Failed(_) => None,
        };
        since.zip(self.user_timeout).map(|(since, limit)| since + limit)
    }

    /// Gives the connection up if it is time; on MPTCP the peer is told by MP_FASTCLOSE, should it hear us after all.
    pub(super) fn expire_user_timeout(&mut self, ctx: &mut Ctx<'_>) {
        if self.user_timeout_at().is_none_or(|at| at > ctx.now) {
            return;
        }
        ctx.counters.tcp_abort_on_timeout += 1;
        if self.stage == Stage::Connecting {
            self.note_unanswered(0);
            // ETIMEDOUT
            self.remove_subflow(ctx, 0, None, 110);
        }
        for subflow in &mut self.subflows {
            subflow.mp.fastclose = true;
        }
        self.fail(ctx, ConnectionError::TimedOut);
    }
}
