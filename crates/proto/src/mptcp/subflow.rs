//! One subflow of a connection: a TCP flow, where it runs, and what MPTCP keeps for it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use polytcp_wire::mptcp::{AddAddr, AddressIds};

use super::checksum::Unverified;
use super::key::{Key, Nonce};
use super::mapping::{Mapping, MappingCursor, PeerMapping};
use super::reinject::Reinject;
use crate::packet::InterfaceId;
use crate::pm::command::AddressId;
use crate::seq::{Dsn, Ssn};
use crate::tcp::flow::{Flow, State};
use crate::tcp::opening::Opening;
use crate::time::Instant;

/// What travels with sent payload: its mapping, none on plain TCP.
pub type SentTag = Option<Mapping>;

/// What travels with received payload: the mapping that its segment carried.
pub type HeldTag = Option<PeerMapping>;

/// The flow of a subflow.
pub type SubflowFlow = Flow<SentTag, HeldTag>;

/// Signals that one subflow holds back at most; further ones are dropped, as Linux does.
pub const SIGNALS_MAX: usize = 16;

/// Addresses in one REMOVE_ADDR at most, as Linux.
const REMOVED_IDS_MAX: usize = 8;

/// The handshake of a subflow that we open.
pub enum ActiveHandshake {
    /// The initial one, with MP_CAPABLE of our key.
    Capable,
    /// The initial one as plain TCP.
    Plain,
    /// The initial one as plain TCP since so many SYNs with MP_CAPABLE went unanswered.
    PlainAfter {
        /// Their number.
        capable_syns: u8,
    },
    /// A further one, with MP_JOIN.
    Join {
        /// Our random number.
        nonce: Nonce,
    },
}

/// Where a subflow is in its life.
pub enum Phase {
    /// Our SYN is out.
    Opening {
        /// The TCP handshake.
        opening: Box<Opening>,
        /// The MPTCP one.
        handshake: ActiveHandshake,
    },
    /// In one of the synchronized states.
    Open(Box<SubflowFlow>),
}

/// What the handshake's last option still has to achieve.
#[derive(Clone, Copy, Debug)]
pub enum Confirmation {
    /// Both sides know that both have everything.
    Done,
    /// Client of the initial subflow: MP_CAPABLE with both keys is repeated until the peer's first DSS
    /// (RFC 8684 §3.1).
    CapableClient,
    /// Server of the initial subflow: until the client's first packet with an MPTCP option.
    CapableServer,
    /// We joined: the third ACK is repeated until anything comes (RFC 8684 §3.2).
    JoinClient {
        /// Our HMAC.
        hmac: [u8; 20],
        /// When it goes again.
        again_at: Instant,
        /// How often it went again.
        repeats: u8,
    },
}

/// A message to the peer that has no number of its own and goes on an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// ADD_ADDR or its echo; travels alone.
    AddAddr(AddAddr),
    /// REMOVE_ADDR.
    RemoveAddr(AddressIds),
    /// MP_PRIO: our backup flag for this subflow.
    Prio {
        /// The new flag.
        backup: bool,
    },
}

/// What the last segment of a subflow said of the connection's receiver.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// Its DATA_ACK.
    pub data_ack: Dsn,
    /// Its window in octets.
    pub window: u32,
}

/// Keys of a connection once both are known.
#[derive(Clone, Copy)]
pub struct Keys {
    /// Ours.
    pub local: Key,
    /// The peer's.
    pub remote: Key,
}

/// MPTCP's own state of one subflow.
pub struct SubflowState {
    /// Our identifier of the local address.
    pub local_id: AddressId,
    /// The peer's identifier of the remote address.
    pub remote_id: AddressId,
    /// We declared it a backup.
    pub backup_local: bool,
    /// The peer declared it a backup.
    pub backup_peer: bool,
    /// What the handshake still waits for.
    pub confirmation: Confirmation,
    /// A further subflow on which no DATA_ACK came yet: its path may have let MP_JOIN pass and nothing else.
    pub unproven: bool,
    /// The handshake's last option has to go out once more.
    pub handshake_ack_due: bool,
    /// The peer's mapping in force.
    pub cursor: MappingCursor,
    /// What came of a mapping whose checksum covers more.
    pub unverified: Option<Box<Unverified>>,
    /// With checksums: what was sent here and is not known to be DATA_ACKed. The peer may have acknowledged it to
    /// the flow and still throw it away.
    pub carried: Reinject,
    /// MP_FAIL goes with the next acknowledgement or reset: where the mapping starts that failed.
    pub fail_due: Option<Dsn>,
    /// What goes with the next acknowledgements.
    pub signals: VecDeque<Signal>,
    /// The MPTCP side wants an acknowledgement out.
    pub ack_wanted: bool,
    /// Reason for the reset that we send, with its MP_TCPRST.
    pub reset_reason: u8,
    /// The reset that we send carries MP_FASTCLOSE.
    pub fastclose: bool,
    /// The peer's MP_TCPRST: reason and flags.
    pub peer_reset: Option<(u8, u8)>,
    /// It was suspect when last looked at.
    pub was_suspect: bool,
    /// It was silent for `stale_loss_cnt` timeouts while another one worked: what it held is the others' for good.
    pub stale: bool,
    /// The window of the segment in hand was raised to what another one had promised.
    pub window_raised: bool,
    /// What it announced last.
    pub announced: Option<Announced>,
    /// Where the segment in hand begins.
    pub at: Ssn,
    /// The segment in hand has no MPTCP option.
    pub bare: bool,
    /// The segment in hand has no payload.
    pub no_data: bool,
    /// The latest acknowledgement of something new was bare, in a segment that began there, and no DATA_ACK came since.
    pub acked_bare: Option<Ssn>,
    /// The peer's FIN was bare.
    pub bare_fin: bool,
    /// Since when our FIN is queued or sent.
    pub closing_since: Option<Instant>,
}

impl SubflowState {
    /// A subflow in its handshake.
    pub fn new(local_id: AddressId, remote_id: AddressId, confirmation: Confirmation) -> Self {
        Self {
            local_id,
            remote_id,
            backup_local: false,
            backup_peer: false,
            confirmation,
            unproven: false,
            handshake_ack_due: false,
            cursor: MappingCursor::default(),
            unverified: None,
            carried: Reinject::new(),
            fail_due: None,
            signals: VecDeque::new(),
            ack_wanted: false,
            reset_reason: 0,
            fastclose: false,
            peer_reset: None,
            was_suspect: false,
            stale: false,
            window_raised: false,
            announced: None,
            at: Ssn(1),
            bare: false,
            no_data: false,
            acked_bare: None,
            bare_fin: false,
            closing_since: None,
        }
    }

    /// Either side declared it a backup (as Linux: for both directions).
    pub fn is_backup(&self) -> bool {
        self.backup_local || self.backup_peer
    }

    /// Data may be sent on it.
    pub fn may_send(&self) -> bool {
        !matches!(self.confirmation, Confirmation::JoinClient { .. })
    }

    /// The segment in hand acknowledges something new.
    pub fn note_acked(&mut self) {
        if self.bare {
            self.acked_bare = Some(self.at);
        } else {
            self.note_option();
        }
    }

    /// The peer speaks MPTCP in the segment in hand. One that a proxy has kept, or that was overtaken, is older than
    /// the bare acknowledgement and tells nothing against it.
    pub fn note_option(&mut self) {
        if self.acked_bare.is_some_and(|bare| !self.at.before(bare)) {
            self.acked_bare = None;
        }
    }

    /// Queues a signal; false when there are too many. Addresses withdrawn together go in one REMOVE_ADDR.
    pub fn signal(&mut self, signal: Signal) -> bool {
        if let (Signal::RemoveAddr(more), Some(Signal::RemoveAddr(held))) = (signal, self.signals.back_mut())
            && let Some(both) = both(held, &more)
        {
            *held = both;
            return true;
        }
        let fits = self.signals.len() < SIGNALS_MAX;
        if fits {
            self.signals.push_back(signal);
        }
        fits
    }
}

/// One list of both, in order; `None` when it would not fit beside a DSS and timestamps.
fn both(first: &AddressIds, second: &AddressIds) -> Option<AddressIds> {
    let ids: Vec<u8> = first.as_slice().iter().chain(second.as_slice()).copied().collect();
    (ids.len() <= REMOVED_IDS_MAX).then(|| AddressIds::new(&ids)).flatten()
}

/// One subflow.
pub struct Subflow {
    /// Counts from 1 in order of creation; never reused within a connection.
    pub id: u32,
    /// Local address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The interface that holds the local address.
    pub interface: InterfaceId,
    /// Where it is in its life.
    pub phase: Phase,
    /// MPTCP's state.
    pub mp: SubflowState,
}

impl Subflow {
    /// The flow, once the handshake is done.
    pub fn flow(&self) -> Option<&SubflowFlow> {
        match &self.phase {
            Phase::Open(flow) => Some(flow),
            Phase::Opening { .. } => None,
        }
    }

    /// The flow, once the handshake is done.
    pub fn flow_mut(&mut self) -> Option<&mut SubflowFlow> {
        match &mut self.phase {
            Phase::Open(flow) => Some(flow),
            Phase::Opening { .. } => None,
        }
    }

    /// In ESTABLISHED or CLOSE-WAIT.
    pub fn is_established(&self) -> bool {
        self.flow().is_some_and(|flow| matches!(flow.state(), State::Established | State::CloseWait))
    }

    /// Memory that it holds: out of order, and in a mapping that is not whole.
    pub fn held_bytes(&self) -> usize {
        self.flow().map_or(0, SubflowFlow::out_of_order_bytes)
            + self.mp.unverified.as_ref().map_or(0, |held| held.held_bytes())
    }

    /// Open on our side, and confirmed: it may carry data. What the peer closes before its DATA_FIN we close too.
    pub fn is_usable(&self) -> bool {
        self.flow().is_some_and(|flow| !flow.is_closing()) && self.mp.may_send()
    }
}
