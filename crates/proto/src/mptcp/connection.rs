//! A connection: its subflows, its data, and how it begins and ends.
//!
//! Plain TCP is a connection with one subflow whose [`Mode`] is [`Mode::Plain`], so that fallback changes
//! a mode and moves no data. The connection never looks up anything of the host: what concerns the host
//! (four-tuples that end, news for the path manager) it leaves as [`Notice`]s.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::{Buf, Bytes};
use polytcp_wire::icmp::IcmpError;
use polytcp_wire::mptcp::{AddAddr, AddressIds, MptcpOption};
use polytcp_wire::tcp_options::FastOpenCookie;

use super::calls::subflow_info;
use super::fallback::{Failing, FallbackReason};
use super::hook::{Data, Hook, Inbox, Mode, reset_reason};
use super::key::{Key, Token};
use super::recv::DataRecv;
use super::send::DataSend;
use super::send_buffer::Piece;
use super::subflow::{Keys, Phase, Subflow, SubflowFlow, SubflowState as MptcpState};
use super::tuning::Tuning;
use crate::config::{HostConfig, IpFields, Keepalive};
use crate::counters::Counters;
use crate::host::socket::{ClosedTotals, ConnectionError, Readiness, SubflowInfo, SubflowState};
use crate::packet::InterfaceId;
use crate::pm::command::AddressId;
use crate::sched::{self, Scheduler, SubflowView};
use crate::seq::{Dsn, SeqNum, Ssn};
use crate::tcp::extension::Abort;
use crate::tcp::flow::{End, Env, FlowParams, State};
use crate::tcp::opening::Agreed;
use crate::tcp::path_mtu::{TooBig, plateau_below};
use crate::tcp::segment::{Outgoing, Segment};
use crate::tcp::time_wait::TimeWait;
use crate::time::{Duration, Instant};

/// Closed subflows that a connection can still tell of; of older ones only the totals stay.
const CLOSED_MAX: usize = 8;

/// What a connection borrows from its host for the length of one call.
pub struct Ctx<'a> {
    /// The time.
    pub now: Instant,
    /// Settings.
    pub config: &'a HostConfig,
    /// Counters.
    pub counters: &'a mut Counters,
}

impl Ctx<'_> {
    pub(super) fn env(&mut self) -> Env<'_> {
        Env { now: self.now, config: &self.config.tcp, counters: self.counters }
    }
}

/// Which end of the connection we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We called connect.
    Client,
    /// We accepted.
    Server,
}

/// Where a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The first handshake runs.
    Connecting,
    /// Open, in whatever mode.
    Established,
    /// Both directions are done.
    Finished,
    /// Over because of this.
    Failed(ConnectionError),
}

/// News for the host, in order.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The connection is established.
    Established,
    /// Both sides know that the peer speaks MPTCP: further subflows may be opened (RFC 8684 §3.2; a join
    /// that overtakes the third ACK would be refused).
    FullyEstablished,
    /// Our MP_CAPABLE was answered with one.
    CapableAnswered,
    /// SYNs with MP_CAPABLE went unanswered, and the first plain one was answered.
    CapableSwallowed,
    /// A further subflow is established.
    SubflowEstablished {
        /// Its number.
        id: u32,
    },
    /// A subflow is gone, and its four-tuple with it.
    SubflowGone {
        /// Its number.
        id: u32,
        /// Local address and port.
        local: SocketAddr,
        /// The peer's address and port.
        remote: SocketAddr,
        /// Our identifier of the local address.
        local_id: AddressId,
        /// The peer's identifier of the remote address.
        remote_id: AddressId,
        /// The four-tuple has to be remembered.
        time_wait: Option<TimeWait>,
        /// The errno that ended it, 0 for an orderly end.
        errno: u8,
        /// The peer's MP_TCPRST: reason and flags.
        peer_reset: Option<(u8, u8)>,
        /// It was a backup for the peer.
        backup: bool,
    },
    /// The peer announced an address, with a valid HMAC, on this subflow.
    AddAddr {
        /// The subflow.
        subflow: u32,
        /// The announcement.
        add: AddAddr,
    },
    /// The peer confirmed an announcement of ours.
    Echo(AddAddr),
    /// The peer withdrew addresses.
    RemoveAddr(AddressIds),
    /// The peer changed a subflow's backup flag.
    Prio {
        /// The subflow.
        subflow: u32,
    },
    /// It became plain TCP.
    FellBack(FallbackReason),
    /// The peer gave a Fast Open cookie.
    FastOpenCookie {
        /// The cookie.
        cookie: FastOpenCookie,
        /// The MSS beside it.
        mss: u16,
    },
}

/// Why a subflow's data goes to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// The subflow ends.
    Gone,
    /// Its path does not answer at the moment.
    Suspect,
}

/// A segment to send, with where from and to.
#[derive(Debug)]
pub struct Emission {
    /// The interface.
    pub interface: InterfaceId,
    /// Local address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// What the IP header says.
    pub ip: IpFields,
    /// The segment.
    pub segment: Outgoing,
}

/// What a new connection starts from.
pub struct NewConnection<'a> {
    /// Which end we are.
    pub role: Role,
    /// MPTCP or plain TCP.
    pub mode: Mode,
    /// Our key; none on plain TCP.
    pub local_key: Option<Key>,
    /// Congestion control of its flows.
    pub congestion_control: &'a str,
    /// Addresses of the first subflow.
    pub local: SocketAddr,
    /// The peer of the first subflow.
    pub remote: SocketAddr,
}

/// One connection.
pub struct Connection {
    pub(crate) role: Role,
    pub(crate) stage: Stage,
    /// Both sides know that the peer speaks MPTCP.
    pub(crate) fully_established: bool,
    /// The peer takes no joins to its initial address (flag C of MP_CAPABLE).
    pub(crate) peer_denies_join: bool,
    pub(crate) data: Data,
    pub(crate) subflows: Vec<Subflow>,
    pub(super) next_subflow_id: u32,
    pub(crate) local_key: Option<Key>,
    pub(crate) first_local: SocketAddr,
    pub(crate) first_remote: SocketAddr,
    pub(crate) congestion_control: Box<str>,
    pub(super) scheduler: Box<dyn Scheduler>,
    pub(super) views: Vec<SubflowView>,
    pub(super) nodelay: bool,
    /// `TCP_USER_TIMEOUT`, for every flow.
    pub(super) user_timeout: Option<Duration>,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) ip: IpFields,
    /// Closing means aborting (`SO_LINGER` with zero).
    pub(super) abort_on_close: bool,
    /// What the application said with `connect`, until the handshake is over.
    pub(crate) first_data: Bytes,
    /// Octets on our SYN that were taken; they have no data sequence numbers (RFC 8684 appendix B.1).
    pub(super) syn_data_bytes: u64,
    pub(super) pending: VecDeque<Emission>,
    pub(crate) notices: VecDeque<Notice>,
    pub(super) timing: Timing,
    pub(super) closed_totals: ClosedTotals,
    /// The latest closed subflows, as they ended.
    pub(super) closed: VecDeque<SubflowInfo>,
    /// Where the next help for a blocking head begins; what lies before was sent again already.
    pub(super) helped_to: Option<Dsn>,
    pub(super) tuning: Tuning,
    /// Path-manager state.
    pub(crate) pm: crate::pm::kernel::ConnectionState,
    /// What the owner told the application last, so that it can tell changes.
    pub(crate) reported: Readiness,
}

/// Small writes gather.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cork {
    /// Until then,
    pub(super) until: Instant,
    /// or until that many octets are unsent.
    pub(super) full_bytes: u64,
}

/// Deadlines of the data level.
#[derive(Debug)]
pub(super) struct Timing {
    /// When a run was cut last, for the short wait in which small writes gather.
    pub(super) last_cut: Instant,
    /// Unsent data waits until then for more.
    pub(super) cork: Option<Cork>,
    /// The scheduler asked to be asked again.
    pub(super) schedule_at: Option<Instant>,
    /// Data or a window is overdue: see [`super::timeouts`].
    pub(super) stall_at: Option<Instant>,
    /// How often in a row that was so.
    pub(super) stalls: u8,
    /// When it was so last.
    pub(super) last_stall: Instant,
    /// Since when there is no subflow.
    pub(super) bare_since: Option<Instant>,
    /// When the application closed, or when the orphan made progress last.
    pub(super) orphaned_at: Option<Instant>,
    /// What was acknowledged at that time.
    pub(super) orphan_una: Dsn,
    /// The peer sent something since the last stall.
    pub(super) heard: bool,
    /// Stalls in a row in which the peer said nothing.
    pub(super) unheard: u8,
}

impl Connection {
    /// A connection without subflows.
    pub fn new(ctx: &Ctx<'_>, new: &NewConnection<'_>) -> Self {
        let first_dsn = new.local_key.map_or(Dsn(1), |key| key.idsn() + 1);
        let send_limit = ctx.config.tcp.send_buffer_start_bytes() as usize;
        let recv_limit = ctx.config.tcp.recv_buffer_start_bytes();
        Self {
            role: new.role,
            stage: Stage::Connecting,
            fully_established: false,
            peer_denies_join: false,
            data: Data {
                mode: new.mode,
                keys: None,
                snd: DataSend::new(ctx.now, first_dsn, send_limit),
                rcv: DataRecv::new(Dsn(1), recv_limit),
                plain_base: first_dsn,
                checksums: false,
                deny_join_initial: !ctx.config.mptcp.allow_join_initial_addr_port,
                checksum_seen: false,
                may_fall_back: true,
                failing: Failing::No,
                infinite: None,
                inbox: Inbox::default(),
                siblings: Vec::new(),
            },
            subflows: Vec::new(),
            next_subflow_id: 1,
            local_key: new.local_key,
            first_local: new.local,
            first_remote: new.remote,
            congestion_control: new.congestion_control.into(),
            scheduler: sched::by_name(&ctx.config.mptcp.scheduler)
                .unwrap_or_else(|| Box::new(sched::default::Default)),
            views: Vec::new(),
            nodelay: false,
            user_timeout: None,
            keepalive: ctx.config.tcp.keepalive(),
            ip: ctx.config.ip,
            abort_on_close: false,
            first_data: Bytes::new(),
            syn_data_bytes: 0,
            pending: VecDeque::new(),
            notices: VecDeque::new(),
            timing: Timing {
                last_cut: Instant::ZERO,
                cork: None,
                schedule_at: None,
                stall_at: None,
                stalls: 0,
                last_stall: Instant::ZERO,
                bare_since: None,
                orphaned_at: None,
                orphan_una: first_dsn,
                heard: false,
                unheard: 0,
            },
            closed_totals: ClosedTotals::default(),
            closed: VecDeque::new(),
            helped_to: None,
            tuning: Tuning::new(&ctx.config.tcp),
            pm: crate::pm::kernel::ConnectionState::default(),
            reported: Readiness::default(),
        }
    }

    /// Our token, while the connection speaks MPTCP.
    pub fn token(&self) -> Option<Token> {
        match self.data.mode {
            Mode::Mptcp => self.local_key.map(Key::token),
            Mode::Plain => None,
        }
    }

    /// Both keys are known.
    pub(crate) fn set_keys(&mut self, remote: Key, window: u32) {
        if let Some(local) = self.local_key {
            self.data.keys = Some(Keys { local, remote });
            self.data.rcv.start_at(remote.idsn() + 1, window);
        }
    }

    /// The subflow with that number.
    pub(crate) fn subflow_mut(&mut self, id: u32) -> Option<&mut Subflow> {
        self.subflows.iter_mut().find(|s| s.id == id)
    }

    /// Number of subflows that count against the limit: all but the first.
    pub(crate) fn extra_subflows(&self) -> u32 {
        self.subflows.iter().filter(|s| s.id != 1).count() as u32
    }

    /// Adds a subflow and returns its number.
    pub(crate) fn add_subflow(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        interface: InterfaceId,
        phase: Phase,
        mp: MptcpState,
    ) -> u32 {
        let id = self.next_subflow_id;
        self.next_subflow_id += 1;
        self.subflows.push(Subflow { id, local, remote, interface, phase, mp });
        self.scheduler.on_subflows_changed();
        self.timing.bare_since = None;
        id
    }

    /// A flow from what a handshake agreed.
    pub(crate) fn new_flow(&self, now: Instant, agreed: &Agreed, segment_bytes_max: u32) -> Box<SubflowFlow> {
        let params = FlowParams { congestion_control: &self.congestion_control, segment_bytes_max };
        let mut flow = SubflowFlow::new(now, agreed, params);
        flow.set_window_is_shared(self.data.mode == Mode::Mptcp);
        flow.set_user_timeout(self.user_timeout);
        flow.set_keepalive(self.keepalive);
        Box::new(flow)
    }

    /// The first handshake is over.
    pub(crate) fn on_established(&mut self, agreed: &Agreed) {
        self.stage = Stage::Established;
        self.data.snd.open_window(agreed.snd_wnd);
        if self.data.mode == Mode::Plain {
            self.data.rcv.start_at(self.data.rcv.nxt(), agreed.rcv_wnd);
        }
        // What the SYN did not carry, or the peer did not take, follows as any data (RFC 7413 §4.1.3).
        let mut rest = core::mem::take(&mut self.first_data);
        rest.advance(rest.len().min(agreed.syn_data_acked as usize));
        self.syn_data_bytes = u64::from(agreed.syn_data_acked);
        self.open_send_buffer(agreed, rest.len());
        self.data.snd.push(Piece::Fixed(rest));
        self.notices.push_back(Notice::Established);
    }

    /// The first subflow's handshake is confirmed.
    pub(super) fn on_fully_established(&mut self) {
        if !self.fully_established {
            self.fully_established = true;
            self.notices.push_back(Notice::FullyEstablished);
        }
    }

    /// Processes a segment of one subflow that is in a synchronized state.
    pub(crate) fn handle_segment(&mut self, ctx: &mut Ctx<'_>, id: u32, segment: Segment) {
        let Some(index) = self.subflows.iter().position(|s| s.id == id) else { return };
        self.show_siblings_to(index);
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
        if self.data.mode == Mode::Plain
            && self.timing.orphaned_at.is_some()
            && self.data.rcv.bytes_received() > received
        {
            // RFC 9293 §3.6.1: data for a closed socket is answered with a reset (MPTCP goes on
            // acknowledging it, as Linux does).
            ctx.counters.tcp_abort_on_data += 1;
            self.fail(ctx, ConnectionError::Aborted);
            return;
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
    fn show_siblings_to(&mut self, index: usize) {
        self.data.siblings.clear();
        if self.subflows[index].flow().is_some_and(SubflowFlow::is_coupled) {
            let others =
                self.subflows.iter().enumerate().filter(|(i, other)| *i != index && other.is_usable());
            self.data.siblings.extend(others.filter_map(|(_, other)| other.flow()?.as_sibling()));
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
        let Inbox { add_addrs, echoes, removed, fastclosed, fell_back, prio_changed, confirmed } = inbox;
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

    /// Removes a subflow whose flow is over, and does what follows for the connection.
    pub(super) fn on_flow_end(&mut self, ctx: &mut Ctx<'_>, index: usize, end: End) {
        if index >= self.subflows.len() {
            return;
        }
        let (time_wait, errno) = match end {
            End::TimeWait => {
                self.send_last_ack(ctx, index);
                (self.time_wait_of(ctx, index), 0)
            }
            End::Closed => (None, 0),
            // ECONNRESET
            End::PeerReset => (None, 104),
            End::Violation(Abort { reason }) => {
                self.subflows[index].mp.reset_reason = reason;
                self.send_reset(ctx, index);
                (None, 103)
            }
            // ETIMEDOUT
            End::TimedOut => {
                self.send_reset(ctx, index);
                (None, 110)
            }
        };
        let is_unreachable = self.subflows[index].flow().is_some_and(|flow| flow.is_unreachable());
        self.remove_subflow(ctx, index, time_wait, errno);
        let error = match end {
            End::TimeWait | End::Closed => None,
            End::PeerReset | End::Violation(_) => Some(ConnectionError::Reset),
            // As Linux, which prefers its soft error.
            End::TimedOut if is_unreachable => Some(ConnectionError::Unreachable),
            End::TimedOut => Some(ConnectionError::TimedOut),
        };
        if let (Some(error), Mode::Plain) = (error, self.data.mode) {
            self.fail(ctx, error);
        }
    }

    /// The acknowledgement of the peer's FIN, which the flow owes before it goes to TIME-WAIT.
    fn send_last_ack(&mut self, ctx: &mut Ctx<'_>, index: usize) {
        let subflow = &mut self.subflows[index];
        let Phase::Open(flow) = &mut subflow.phase else { return };
        let mut hook = Hook { data: &mut self.data, mp: &mut subflow.mp };
        if let Some(segment) = flow.poll_transmit(&mut ctx.env(), &mut hook) {
            let Subflow { interface, local, remote, .. } = *subflow;
            self.pending.push_back(Emission { interface, local, remote, ip: self.ip, segment });
        }
    }

    fn time_wait_of(&self, ctx: &Ctx<'_>, index: usize) -> Option<TimeWait> {
        self.subflows[index].flow().map(|flow| flow.time_wait(ctx.now + ctx.config.tcp.time_wait))
    }

    /// Takes a subflow out; what it did not deliver goes to the others.
    pub(super) fn remove_subflow(
        &mut self,
        ctx: &mut Ctx<'_>,
        index: usize,
        time_wait: Option<TimeWait>,
        errno: u8,
    ) {
        self.reinject_outstanding(index, Why::Gone);
        let subflow = self.subflows.remove(index);
        self.scheduler.on_subflows_changed();
        self.helped_to = None;
        ctx.counters.attempt_fails += u64::from(subflow.flow().is_none());
        ctx.counters.estab_resets += u64::from(subflow.is_established());
        if self.closed.len() == CLOSED_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back(SubflowInfo { state: SubflowState::Closed, ..subflow_info(&subflow) });
        if let Some(flow) = subflow.flow() {
            let totals = flow.totals();
            self.closed_totals.count += 1;
            self.closed_totals.bytes_sent += totals.bytes_sent;
            self.closed_totals.bytes_received += totals.bytes_received;
            self.closed_totals.bytes_retransmitted += totals.bytes_retransmitted;
        }
        if self.subflows.is_empty() {
            self.timing.bare_since = Some(ctx.now);
            // What MP_FAIL was about went with its subflow.
            self.data.failing = Failing::No;
        }
        self.notices.push_back(Notice::SubflowGone {
            id: subflow.id,
            local: subflow.local,
            remote: subflow.remote,
            local_id: subflow.mp.local_id,
            remote_id: subflow.mp.remote_id,
            time_wait,
            errno,
            peer_reset: subflow.mp.peer_reset,
            backup: subflow.mp.backup_peer,
        });
    }

    /// Queues a reset of one subflow (RFC 8684 §3.6); it leaves before anything else.
    pub(super) fn send_reset(&mut self, ctx: &mut Ctx<'_>, index: usize) {
        let subflow = &mut self.subflows[index];
        let segment = match &subflow.phase {
            Phase::Open(flow) => {
                let mut hook = Hook { data: &mut self.data, mp: &mut subflow.mp };
                flow.reset(&mut ctx.env(), &mut hook)
            }
            // Nobody holds state for a SYN that we give up.
            Phase::Opening { .. } => return,
        };
        let Subflow { interface, local, remote, .. } = *subflow;
        self.pending.push_back(Emission { interface, local, remote, ip: self.ip, segment });
    }

    /// Closes one subflow in an orderly way (FIN), its data going to the others. Before the peer has shown that it speaks
    /// MPTCP it may have fallen back, and would take a FIN for the end of the stream: then the subflow is reset.
    pub(crate) fn close_subflow(&mut self, ctx: &mut Ctx<'_>, id: u32) {
        if let Some(index) = self.subflows.iter().position(|s| s.id == id) {
            self.data.may_fall_back = false;
            if self.subflows[index].flow().is_none() {
                self.remove_subflow(ctx, index, None, 0);
                return;
            }
            if self.data.mode == Mode::Mptcp && !self.fully_established {
                self.send_reset(ctx, index);
                self.remove_subflow(ctx, index, None, 103);
                return;
            }
            self.reinject_outstanding(index, Why::Gone);
            if let Some(flow) = self.subflows[index].flow_mut() {
                flow.close();
            }
        }
    }

    /// Marks what a subflow holds and the peer has not acknowledged at data level as to be sent on another:
    /// for good, because the subflow ends, or as a hedge that is dropped when it answers again.
    pub(super) fn reinject_outstanding(&mut self, index: usize, why: Why) {
        if self.data.mode == Mode::Plain {
            return;
        }
        let Some(flow) = self.subflows.get(index).and_then(Subflow::flow) else { return };
        let DataSend { buffer, reinject, hedge, .. } = &mut self.data.snd;
        let ranges = match why {
            Why::Gone => reinject,
            Why::Suspect => hedge,
        };
        for (ssn, len, tag) in flow.outstanding().chain(flow.queued()) {
            if let Some(mapping) = tag {
                let start = mapping.dsn_at(ssn);
                ranges.insert(start, start + u64::from(len));
            }
        }
        if why == Why::Gone {
            // A mapping that failed, or that never became whole, was thrown away although the flow had
            // acknowledged it (RFC 8684 §3.7).
            let carried = core::mem::take(&mut self.subflows[index].mp.carried);
            for span in carried.iter() {
                ranges.insert(span.start, span.end);
            }
        }
        ranges.trim_below(buffer.snd_una());
    }

    /// Another path has become usable: what suspect ones hold goes there.
    pub(super) fn reinject_suspects(&mut self) {
        for index in 0..self.subflows.len() {
            if self.subflows[index].mp.was_suspect {
                self.reinject_outstanding(index, Why::Suspect);
            }
        }
    }

    /// The connection is over because of `error`: every subflow is reset.
    pub(crate) fn fail(&mut self, ctx: &mut Ctx<'_>, error: ConnectionError) {
        if matches!(self.stage, Stage::Failed(_)) {
            return;
        }
        while !self.subflows.is_empty() {
            let index = self.subflows.len() - 1;
            self.send_reset(ctx, index);
            self.remove_subflow(ctx, index, None, 104);
        }
        self.data.snd.forget_ranges();
        self.stage = Stage::Failed(error);
    }

    /// MP_FASTCLOSE, or RST on plain TCP (RFC 8684 §3.5).
    pub(crate) fn abort(&mut self, ctx: &mut Ctx<'_>) {
        for subflow in &mut self.subflows {
            subflow.mp.fastclose = true;
        }
        self.fail(ctx, ConnectionError::Aborted);
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

    /// Takes the steps of closing that have become possible.
    pub(super) fn advance_close(&mut self, ctx: &mut Ctx<'_>) {
        if self.stage != Stage::Established {
            return;
        }
        match self.data.mode {
            Mode::Mptcp => {
                if self.data.snd.is_done() && self.data.rcv.is_finished() {
                    // RFC 8684 §3.3.3: with both DATA_FINs acknowledged the subflows may go.
                    for subflow in &mut self.subflows {
                        if let Phase::Open(flow) = &mut subflow.phase {
                            flow.close();
                        }
                    }
                    self.drop_openings(ctx);
                    self.stage = Stage::Finished;
                } else {
                    // A subflow that the peer closed carries nothing any more.
                    for index in 0..self.subflows.len() {
                        let peer_closed =
                            self.subflows[index].flow().is_some_and(|f| f.peer_closed() && !f.is_closing());
                        if peer_closed {
                            self.reinject_outstanding(index, Why::Gone);
                            if let Some(flow) = self.subflows[index].flow_mut() {
                                flow.close();
                            }
                        }
                    }
                }
            }
            Mode::Plain => {
                let closed = self.data.snd.is_closed() && self.data.snd.buffer.unsent() == 0;
                let Some(Phase::Open(flow)) = self.subflows.first_mut().map(|s| &mut s.phase) else {
                    if self.subflows.is_empty() {
                        self.stage = Stage::Finished;
                    }
                    return;
                };
                if closed {
                    flow.close();
                }
                if matches!(flow.state(), State::FinWait2 | State::TimeWait | State::Closed) {
                    self.data.snd.on_plain_fin_acked();
                }
                if self.data.snd.is_done() && self.data.rcv.is_finished() {
                    self.stage = Stage::Finished;
                }
            }
        }
    }

    pub(super) fn drop_openings(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(index) = self.subflows.iter().position(|s| s.flow().is_none()) {
            self.remove_subflow(ctx, index, None, 0);
        }
    }

    /// Nothing is left of it: no subflow, nothing to send, and the application does not hold it.
    pub(crate) fn is_dead(&self) -> bool {
        self.timing.orphaned_at.is_some()
            && self.subflows.is_empty()
            && self.pending.is_empty()
            && self.notices.is_empty()
            && !matches!(self.stage, Stage::Connecting | Stage::Established)
    }
}
