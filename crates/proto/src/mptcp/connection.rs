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
use polytcp_wire::mptcp::{AddAddr, AddressIds};
use polytcp_wire::tcp_options::FastOpenCookie;

use super::fallback::{Failing, FallbackReason};
use super::hold::Hold;
use super::hook::{Data, Inbox, Mode};
use super::key::{Key, Token};
use super::recv::DataRecv;
use super::send::DataSend;
use super::send_buffer::Piece;
use super::subflow::{Keys, Phase, Subflow, SubflowFlow, SubflowState as MptcpState};
use super::tuning::Tuning;
use crate::config::{HostConfig, IpFields, Keepalive};
use crate::counters::Counters;
use crate::host::socket::{ClosedTotals, ConnectionError, Readiness, SubflowInfo};
use crate::packet::InterfaceId;
use crate::pm::command::AddressId;
use crate::sched::{self, Scheduler, SubflowView};
use crate::seq::Dsn;
use crate::tcp::flow::{Env, FlowParams};
use crate::tcp::opening::Agreed;
use crate::tcp::segment::Outgoing;
use crate::tcp::time_wait::TimeWait;
use crate::time::{Duration, Instant};

/// Closed subflows that a connection can still tell of; of older ones only the totals stay.
pub(super) const CLOSED_MAX: usize = 8;

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
    /// A SYN with Fast Open had its answer, or got none.
    FastOpen(FastOpenOutcome),
}

/// What became of a SYN with Fast Open.
#[derive(Clone, Copy, Debug)]
pub enum FastOpenOutcome {
    /// It was answered.
    Answered {
        /// The peer's cookie, if it gave one, and the MSS beside it.
        given: Option<(FastOpenCookie, u16)>,
    },
    /// It had data and got no answer.
    Lost,
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
    /// The first handshake was over once.
    pub(super) was_established: bool,
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
    /// `TCP_CORK` and `MSG_MORE`, while they hold something back.
    pub(super) hold: Option<Box<Hold>>,
    /// `TCP_USER_TIMEOUT`.
    pub(super) user_timeout: Option<Duration>,
    pub(super) keepalive: Option<Box<Keepalive>>,
    pub(super) ip: IpFields,
    /// Closing means aborting (`SO_LINGER` with zero).
    pub(super) abort_on_close: bool,
    /// The application reads no more (`SHUT_RD` on plain TCP).
    pub(super) reads_no_more: bool,
    /// Made by its SYN (TCP Fast Open), whose data was taken if the second is set.
    pub(crate) made_early: (bool, bool),
    /// What the application said with `connect`, until the handshake is over.
    pub(crate) first_data: Bytes,
    /// Octets on our SYN that were taken; they have no data sequence numbers (RFC 8684 appendix B.1).
    pub(super) syn_data_bytes: u64,
    pub(super) pending: VecDeque<Emission>,
    pub(crate) notices: VecDeque<Notice>,
    pub(super) timing: Timing,
    /// What is told of subflows that are gone, once there are any.
    pub(super) closed: Option<Box<Closed>>,
    /// Where the next help for a blocking head begins; what lies before was sent again already.
    pub(super) helped_to: Option<Dsn>,
    pub(super) tuning: Tuning,
    /// Path-manager state.
    pub(crate) pm: crate::pm::kernel::ConnectionState,
    /// What the owner told the application last, so that it can tell changes.
    pub(crate) reported: Readiness,
}

/// Subflows that are gone.
#[derive(Default)]
pub(super) struct Closed {
    pub(super) totals: ClosedTotals,
    /// The latest, as they ended.
    pub(super) latest: VecDeque<SubflowInfo>,
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
    /// Since when the peer owes an acknowledgement: see [`super::user_timeout`].
    pub(super) owed_since: Option<Instant>,
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
            was_established: false,
            fully_established: false,
            peer_denies_join: false,
            data: Data {
                mode: new.mode,
                keys: None,
                snd: DataSend::new(ctx.now, first_dsn, send_limit, ctx.config.tcp.notsent_lowat),
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
            hold: None,
            user_timeout: None,
            keepalive: ctx.config.tcp.keepalive().map(Box::new),
            ip: ctx.config.ip,
            abort_on_close: false,
            reads_no_more: false,
            made_early: (false, false),
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
                owed_since: None,
                bare_since: None,
                orphaned_at: None,
                orphan_una: first_dsn,
                heard: false,
                unheard: 0,
            },
            closed: None,
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
        // Most connections keep the subflows that they begin with.
        self.subflows.reserve_exact(1);
        self.subflows.push(Subflow { id, local, remote, interface, phase, mp });
        self.scheduler.on_subflows_changed();
        self.timing.bare_since = None;
        id
    }

    /// A flow from what a handshake agreed.
    pub(crate) fn new_flow(
        &self,
        ctx: &Ctx<'_>,
        agreed: &Agreed,
        segment_bytes_max: u32,
    ) -> Box<SubflowFlow> {
        let params = FlowParams {
            congestion_control: &self.congestion_control,
            segment_bytes_max,
            min_tso_segs: ctx.config.tcp.min_tso_segs,
        };
        let mut flow = SubflowFlow::new(ctx.now, agreed, params);
        flow.set_window_is_shared(self.data.mode == Mode::Mptcp);
        flow.set_user_timeout(self.flow_user_timeout());
        flow.set_keepalive(self.keepalive.as_deref().copied());
        Box::new(flow)
    }

    /// Data on its SYN, ours or the peer's, was taken.
    pub(crate) fn took_syn_data(&self) -> bool {
        self.made_early.1 || self.syn_data_bytes > 0
    }

    /// The first handshake is over.
    pub(crate) fn on_established(&mut self, agreed: &Agreed) {
        self.stage = Stage::Established;
        self.was_established = true;
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

    /// Nothing is left of it: no subflow, nothing to send, and the application does not hold it.
    pub(crate) fn is_dead(&self) -> bool {
        self.timing.orphaned_at.is_some()
            && self.subflows.is_empty()
            && self.pending.is_empty()
            && self.notices.is_empty()
            && !matches!(self.stage, Stage::Connecting | Stage::Established)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tens of thousands of them may be idle: what is seldom needed is boxed when it is first used.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_connection_and_its_subflows_are_small() {
        assert!(size_of::<Connection>() <= 1104, "{}", size_of::<Connection>());
        assert!(size_of::<Subflow>() <= 280, "{}", size_of::<Subflow>());
    }
}
