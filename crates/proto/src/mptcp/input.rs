//! What arrives for a connection: segments of its subflows, and ICMP errors about them.

use polytcp_wire::icmp::IcmpError;
use polytcp_wire::mptcp::MptcpOption;

use super::connection::{Connection, Ctx, Notice, Role};
use super::hook::{AddressNews, Hook, Inbox, Mode, reset_reason};
use super::subflow::{Phase, SubflowFlow};
use crate::host::socket::ConnectionError;
use crate::seq::{SeqNum, Ssn};
use crate::tcp::extension::Abort;
use crate::tcp::flow::End;
use crate::tcp::path_mtu::{TooBig, plateau_below};
use crate::tcp::segment::{Outgoing, Segment};
use crate::time::Instant;

impl Connection {
    /// Processes a segment of one subflow that is in a synchronized state.
    pub(crate) fn handle_segment(&mut self, ctx: &mut Ctx<'_>, id: u32, segment: Segment) {
        let Some(index) = self.subflows.iter().position(|s| s.id == id) else { return };
        self.show_siblings_to(ctx.now, index);
        let is_only = self.subflows.len() == 1;
        let subflow = &mut self.subflows[index];
        let Phase::Open(flow) = &mut subflow.phase else { return };
        if segment.is_syn() {
            // The SYN/ACK again: our third ACK was lost, and its option with it.
            subflow.mp.handshake_ack_due = true;
        }
        let reset_options = segment.is_rst().then_some(segment.options.mptcp);
        let received = self.data.rcv.bytes_received();
        let has_option = !segment.options.mptcp.is_empty();
        let mut hook = Hook { data: &mut self.data, mp: &mut subflow.mp };
        let refusal = Outgoing::reset_for(&segment);
        let mut end = flow.handle_segment(&mut ctx.env(), segment, &mut hook);
        // RFC 8684 §3.7: first data is acknowledged without an option, perhaps behind a hole in what the server says.
        if end.is_none() && !has_option && flow.snd_una() != Ssn(1) && hook.awaits_first_data_ack() {
            end = hook.fall_back_at_first_data(&mut ctx.env()).err().map(End::Violation);
        }
        let is_done = hook.data.rcv.is_finished() && hook.data.snd.is_done();
        if end.is_none()
            && is_only
            && !is_done
            && hook.data.mode == Mode::Mptcp
            && hook.mp.bare_fin
            && flow.peer_closed()
            && !flow.is_closing()
        {
            end = hook.end_as_tcp(&mut ctx.env(), flow.rcv_nxt()).err().map(End::Violation);
        }
        // RFC 8684 §3.7: data of a further subflow is acknowledged, and options do not come through.
        let is_stripped = !has_option
            && subflow.mp.unproven
            && self.data.mode == Mode::Mptcp
            && flow.snd_una() != Ssn(1)
            && !flow.is_closing();
        let stripped = is_stripped.then_some(End::Violation(Abort { reason: reset_reason::MIDDLEBOX }));
        let end = end.or(stripped);
        if self.data.mode == Mode::Plain && self.data.rcv.bytes_received() > received {
            let error = match self.timing.orphaned_at {
                Some(_) => Some(ConnectionError::Aborted),
                None if self.data.rcv.is_refusing() => Some(ConnectionError::Reset),
                None => None,
            };
            if let Some(error) = error {
                // RFC 9293 §3.6.1: data for a closed socket is answered with a reset (MPTCP goes on
                // acknowledging it, as Linux does).
                ctx.counters.tcp_abort_on_data += 1;
                self.fail(ctx, error);
                // The reset answers that segment (RFC 9293 §3.10.7.1), as in Linux.
                if let (Some(reset), Some(refusal)) = (self.pending.back_mut(), refusal) {
                    reset.segment = refusal;
                }
                return;
            }
        }
        self.keep_within_memory(ctx.counters);
        if let (Some(End::PeerReset), Some(options)) = (end, reset_options) {
            self.note_reset_options(ctx, index, options.as_slice());
        }
        self.timing.heard = true;
        // The subflow that is gone first: it must not be reset again.
        if let Some(end) = end {
            self.on_flow_end(ctx, index, end);
        }
        self.empty_inbox(ctx, id);
        self.after_flow_input(ctx, id);
        self.tune_send_buffer();
        self.continue_repair(ctx.now);
        self.advance_close(ctx);
    }

    /// What the congestion control of the subflow at `index` may know of the others, if it is coupled.
    fn show_siblings_to(&mut self, now: Instant, index: usize) {
        self.data.siblings.clear();
        if self.subflows[index].flow().is_some_and(SubflowFlow::is_coupled) {
            let others =
                self.subflows.iter().enumerate().filter(|(i, other)| *i != index && other.is_usable());
            self.data.siblings.extend(others.filter_map(|(_, other)| other.flow()?.as_sibling(now)));
        }
    }

    /// MP_FASTCLOSE and MP_TCPRST on a reset that was accepted (RFC 8684 §3.5, §3.6).
    fn note_reset_options(&mut self, ctx: &mut Ctx<'_>, index: usize, options: &[MptcpOption]) {
        if self.data.mode == Mode::Plain {
            return;
        }
        for option in options {
            match option {
                MptcpOption::FastClose { receiver_key }
                    if self.data.keys.is_some_and(|keys| keys.local.verify(*receiver_key)) =>
                {
                    ctx.counters.mp_fastclose_rx += 1;
                    self.data.inbox.fastclosed = true;
                }
                MptcpOption::Fail { .. } => ctx.counters.mp_fail_rx += 1,
                MptcpOption::Reset(reset) => {
                    ctx.counters.mp_rst_rx += 1;
                    self.subflows[index].mp.peer_reset = Some((reset.reason, u8::from(reset.transient)));
                }
                _ => {}
            }
        }
    }

    /// Carries out what options asked for.
    fn empty_inbox(&mut self, ctx: &mut Ctx<'_>, subflow: u32) {
        let inbox = core::mem::take(&mut self.data.inbox);
        let Inbox { addresses, fastclosed, fell_back, prio_changed, confirmed } = inbox;
        let AddressNews { add_addrs, echoes, removed } = addresses.map(|news| *news).unwrap_or_default();
        // As Linux: one at a time, and the peer repeats.
        ctx.counters.add_addr_drop += add_addrs.len().saturating_sub(1) as u64;
        for add in add_addrs.into_iter().take(1) {
            self.notices.push_back(Notice::AddAddr { subflow, add });
        }
        self.notices.extend(echoes.into_iter().map(Notice::Echo));
        ctx.counters.rm_addr_drop += removed.len().saturating_sub(1) as u64;
        self.notices.extend(removed.into_iter().take(1).map(Notice::RemoveAddr));
        if prio_changed {
            self.notices.push_back(Notice::Prio { subflow });
        }
        if let Some(reason) = fell_back {
            self.on_fallback(ctx, reason);
        }
        match (confirmed, subflow) {
            (false, _) => {}
            (true, 1) => self.on_fully_established(),
            (true, id) => {
                self.notices.push_back(Notice::SubflowEstablished { id });
                self.reinject_suspects();
            }
        }
        if fastclosed {
            // As Linux, whose client takes what it hears first, without a DSS option, for a peer that fell back.
            if self.role == Role::Client && !self.fully_established {
                self.data.mode = Mode::Plain;
            }
            self.fail(ctx, ConnectionError::Reset);
        }
    }

    fn after_flow_input(&mut self, ctx: &mut Ctx<'_>, id: u32) {
        let Some(subflow) = self.subflow_mut(id) else { return };
        if core::mem::take(&mut subflow.mp.stale) {
            ctx.counters.subflow_recover += 1;
        }
        let suspect = subflow.flow().is_some_and(SubflowFlow::is_suspect);
        if subflow.mp.was_suspect && !suspect {
            subflow.mp.was_suspect = false;
            // The path answers again: its own recovery resends what is missing, and it can help others.
            self.data.snd.hedge.clear();
            self.reinject_suspects();
        }
    }

    /// An ICMP error about a segment of ours (RFC 9293 §3.9.2.2, RFC 5927 §4.1): it counts only when the
    /// segment is on its way. Hard errors end a handshake and are soft for what is established.
    ///
    /// Returns the MTU of the path to the peer's address when it became known by this.
    pub(crate) fn handle_icmp_error(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: u32,
        kind: IcmpError,
        seq: SeqNum,
    ) -> Option<u16> {
        let index = self.subflows.iter().position(|s| s.id == id)?;
        let subflow = &mut self.subflows[index];
        let ipv6 = subflow.remote.is_ipv6();
        match &mut subflow.phase {
            Phase::Opening { opening, .. } => {
                let unreachable =
                    !matches!(kind, IcmpError::FragmentationNeeded { .. } | IcmpError::PacketTooBig { .. });
                if seq == opening.iss() && unreachable {
                    // EHOSTUNREACH
                    self.remove_subflow(ctx, index, None, 113);
                    if id == 1 {
                        self.fail(ctx, ConnectionError::Unreachable);
                    }
                }
            }
            Phase::Open(flow) => {
                let headers = if ipv6 { 60 } else { 40 };
                let mtu = match kind {
                    // A router older than RFC 1191 names no size.
                    IcmpError::FragmentationNeeded { mtu: 0 } => plateau_below(flow.mss() + headers),
                    IcmpError::FragmentationNeeded { mtu } => u32::from(mtu),
                    IcmpError::PacketTooBig { mtu } => mtu,
                    _ => {
                        // RFC 9293 §3.9.2.2 (MUST-56): no end by itself.
                        ctx.counters.out_of_window_icmps += u64::from(!flow.handle_unreachable(seq));
                        return None;
                    }
                };
                // RFC 1191 §3, RFC 8201 §4: never below the minimum of the family.
                let least = if ipv6 { 1280 } else { u32::from(ctx.config.tcp.min_pmtu.max(68)) };
                let mtu = mtu.clamp(least, 65_535) as u16;
                let mss = mtu.saturating_sub(headers).max(1);
                match flow.handle_too_big(ctx.now, &ctx.config.tcp, seq, mss) {
                    TooBig::NotInFlight => ctx.counters.out_of_window_icmps += 1,
                    TooBig::Implausible | TooBig::Delayed => {}
                    TooBig::Applied => return Some(mtu),
                }
            }
        }
        None
    }
}
