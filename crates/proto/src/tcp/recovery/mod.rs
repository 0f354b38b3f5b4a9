//! Loss recovery of one flow: what is lost, when to ask, how fast to resend.
//!
//! | file | what | RFC |
//! | --- | --- | --- |
//! | [`scoreboard`] | the sent segments and what the peer said of each | 2018, 6675 |
//! | [`rack`] | loss by time since a later segment arrived | 8985 §6 |
//! | [`prr`] | the window while recovering | 9937 |
//! | `undo` | whether it was needless | 3522, 3708, 4015 |
//! | this file | episodes, the one retransmission timer, tail loss probes | 6298, 8985 §7 |

pub mod prr;
pub mod rack;
pub mod scoreboard;
pub(super) mod undo;

use crate::seq::SeqNum;
use crate::time::Instant;
use prr::Prr;
use rack::Rack;
use undo::Undo;

/// Which episode the flow is in.
#[derive(Clone, Debug)]
pub(super) enum Episode {
    /// No loss is known.
    Open,
    /// Fast recovery until everything up to `until` is acknowledged.
    Fast { until: SeqNum, prr: Prr },
    /// After a retransmission timeout, until everything up to `until` is acknowledged.
    Loss { until: SeqNum, frto: Frto },
}

/// How far F-RTO is: whether the timeout was spurious (RFC 5682 §3.1 with SACK, §2.1 without).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frto {
    /// It was not, or cannot be told.
    Off,
    /// The first segment left again (step 1).
    Started,
    /// That was acknowledged: new data is to leave if there is any (step 2).
    WantsNew,
    /// The layer above was asked for it.
    AskedForNew,
    /// New data is on the way (step 3).
    Verifying,
}

/// What the retransmission timer is for; there is one at a time, as in Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimerKind {
    /// Retransmission timeout (RFC 6298).
    Rto,
    /// Tail loss probe (RFC 8985 §7).
    Probe,
    /// Segments that may only be reordered become lost (RFC 8985 §6.2).
    Reorder,
    /// The peer's window is closed (RFC 9293 §3.8.6.1).
    Persist,
}

/// A tail loss probe that is due (RFC 8985 §7.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DueProbe {
    No,
    /// New data is to be the probe if there is any.
    WantsNew,
    /// Whoever has new data gives it now.
    AskedForNew,
    /// Nobody had any: the last segment again.
    Repeat,
}

/// A tail loss probe on its way (RFC 8985 §7.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct TailProbe {
    /// SND.NXT after it left.
    pub(super) end: SeqNum,
    /// It repeated the last segment; else it was new data.
    pub(super) repeats: bool,
}

/// State of loss recovery.
#[derive(Debug)]
pub struct Recovery {
    pub(super) episode: Episode,
    pub(super) rack: Rack,
    pub(super) timer: Option<(Instant, TimerKind)>,
    pub(super) tail_probe: Option<TailProbe>,
    pub(super) due_probe: DueProbe,
    /// A round trip was measured since the last tail loss probe.
    pub(super) rtt_since_probe: bool,
    /// Duplicate acknowledgements in a row, for peers without SACK (RFC 5681 §3.2).
    pub(super) duplicate_acks: u8,
    /// For peers without SACK: where the latest recovery or timeout had sent to, until more than that is acknowledged
    /// (RFC 6582 §3.2).
    pub(super) recover: Option<SeqNum>,
    /// Timeouts in a row without progress.
    pub(super) timeouts: u8,
    /// What tells that the latest reduction of the window was needless.
    pub(super) undo: Option<Undo>,
    /// Octets that the peer reported to have twice.
    pub(super) reported_bytes: u64,
    suspect: bool,
}

impl Recovery {
    pub(super) fn new(snd_una: SeqNum) -> Self {
        Self {
            episode: Episode::Open,
            rack: Rack::new(snd_una),
            timer: None,
            tail_probe: None,
            due_probe: DueProbe::No,
            rtt_since_probe: true,
            duplicate_acks: 0,
            recover: None,
            timeouts: 0,
            undo: None,
            reported_bytes: 0,
            suspect: false,
        }
    }

    /// A probe or a timeout has gone unanswered so far.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect
    }

    pub(super) fn suspect(&mut self) {
        self.suspect = true;
    }

    /// The peer acknowledged something.
    pub(super) fn on_progress(&mut self) {
        self.suspect = false;
        self.due_probe = DueProbe::No;
        self.timeouts = 0;
    }

    pub(super) fn in_open(&self) -> bool {
        matches!(self.episode, Episode::Open)
    }
}
