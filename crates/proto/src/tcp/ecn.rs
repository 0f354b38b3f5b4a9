//! Explicit congestion notification: routers mark what they would else drop (RFC 3168).
//!
//! Agreed on by the ECE and CWR flags of both SYNs. The receiver echoes a mark with ECE until CWR tells that the sender
//! has slowed down; the sender does so at most once per window of data. Only new data is ECN-capable: no SYN, no pure
//! acknowledgement, no window probe, no retransmission (§6.1.1, §6.1.4, §6.1.5, §6.1.6).

use polytcp_wire::tcp::TcpFlags;

use super::flow::{Env, Flow};
use super::segment::Segment;
use crate::seq::SeqNum;

/// ECN-capable transport, the value that every sender of RFC 3168 uses.
pub const ECT_0: u8 = 0b10;
/// Congestion experienced.
pub const CE: u8 = 0b11;

/// What a flow knows of marks, in both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct EcnState {
    /// A mark came, and CWR has not followed.
    echo: bool,
    /// The window was reduced, and the peer is to be told by CWR.
    cwr_due: bool,
    /// What was sent before tells of the congestion that was reacted to.
    reduced_until: SeqNum,
}

impl EcnState {
    pub(super) fn new(iss: SeqNum) -> Self {
        Self { echo: false, cwr_due: false, reduced_until: iss }
    }
}

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Both sides agreed on ECN.
    pub fn uses_ecn(&self) -> bool {
        self.ecn.is_some()
    }

    /// Takes the mark and the CWR of an acceptable segment; CWR first, as one segment may have both (§6.1.3).
    pub(super) fn take_mark(&mut self, segment: &Segment) {
        let Some(ecn) = &mut self.ecn else { return };
        if segment.payload.is_empty() {
            return;
        }
        if segment.flags.contains(TcpFlags::CWR) {
            ecn.echo = false;
            self.acks.at_once();
        }
        if segment.ecn == CE {
            if !ecn.echo {
                self.acks.at_once();
            }
            ecn.echo = true;
        }
    }

    /// The acknowledgement echoes a mark, as far as that was agreed on.
    pub(super) fn echoes_mark(&self, segment: &Segment) -> bool {
        self.ecn.is_some() && segment.flags.contains(TcpFlags::ECE)
    }

    /// Reduces the window for an echoed mark, unless it was reduced within this window of data (§6.1.2).
    pub(super) fn react_to_mark(&mut self, env: &mut Env<'_>, prior_in_flight: u32) {
        // A mark is no guess: whatever else happens, this window is not restored.
        self.recovery.undo = None;
        let snd_una = self.snd.board.snd_una();
        let again = self.ecn.is_some_and(|ecn| snd_una.after(ecn.reduced_until));
        if again && self.recovery.in_open() {
            self.reduce(env, prior_in_flight);
            self.cc.on_recovery_exit(env.now);
            self.restart_validation(env.now);
            self.note_reduction();
        }
    }

    /// The window was reduced, for whatever reason: the peer is told, and marks of this window are answered.
    pub(super) fn note_reduction(&mut self) {
        let snd_nxt = self.snd.board.snd_nxt();
        if let Some(ecn) = &mut self.ecn {
            ecn.cwr_due = true;
            ecn.reduced_until = snd_nxt;
        }
    }

    /// CWR has to leave with the next new data, which is then one segment: a device that cuts would repeat the flag. A
    /// controller that does not answer marks owes none.
    pub(super) fn owes_cwr(&self) -> bool {
        self.ecn.is_some_and(|ecn| ecn.cwr_due) && !self.cc.steers_recovery()
    }

    /// ECE, for every segment while a mark is echoed.
    pub(super) fn echo_flag(&self) -> TcpFlags {
        if self.ecn.is_some_and(|ecn| ecn.echo) { TcpFlags::ECE } else { TcpFlags::NONE }
    }

    /// The flags and the IP bits of new data. A controller that does not answer marks gets none.
    pub(super) fn new_data_marks(&mut self) -> (TcpFlags, u8) {
        if self.cc.steers_recovery() {
            return (TcpFlags::NONE, 0);
        }
        let Some(ecn) = &mut self.ecn else { return (TcpFlags::NONE, 0) };
        let flags = if core::mem::take(&mut ecn.cwr_due) { TcpFlags::CWR } else { TcpFlags::NONE };
        (flags, ECT_0)
    }
}
