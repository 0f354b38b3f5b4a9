//! How an episode of loss recovery ends: all is acknowledged, or it was needless and is undone
//! (RFC 3522, 3708, 4015, 5682; the order of the checks is that of Linux).

use super::delivered::Delivered;
use super::flow::{Env, Flow};
use super::recovery::{DueProbe, Episode, Frto};
use crate::time::Instant;

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Ends or undoes the episode after an acknowledgement; `progress` tells that SND.UNA advanced.
    pub(super) fn end_or_undo(&mut self, env: &mut Env<'_>, delivered: &Delivered, progress: bool) {
        let now = env.now;
        let snd_una = self.snd.board.snd_una();
        let undo = self.recovery.undo.as_ref();
        let reported = undo.is_some_and(|undo| undo.is_reported());
        let delayed = progress && undo.is_some_and(|undo| undo.is_delayed(delivered.echoed));
        match self.recovery.episode {
            Episode::Open => {
                if reported {
                    env.counters.tcp_dsack_undo += 1;
                    self.undo_reduction(now);
                }
            }
            Episode::Fast { until, .. } => {
                let is_over = !snd_una.before(until);
                let counter = match (is_over, reported, delayed) {
                    (true, true, _) | (true, _, true) => &mut env.counters.tcp_full_undo,
                    // While a retransmission is on the way, a loss may be under repair.
                    (false, _, true) if self.snd.board.retransmitted_bytes() == 0 => {
                        &mut env.counters.tcp_partial_undo
                    }
                    (false, true, _) => &mut env.counters.tcp_dsack_undo,
                    (true, false, false) => return self.leave_recovery(now),
                    (false, false, _) => return,
                };
                *counter += 1;
                // What was taken for lost came late.
                self.recovery.rack.on_reordering();
                env.counters.tcp_ts_reorder += u64::from(delayed);
                self.undo_reduction(now);
            }
            Episode::Loss { until, frto } => {
                let is_over = !snd_una.before(until);
                // Without SACK a repetition may have uncovered what had arrived before (RFC 5682 §2.1).
                let is_proof = delivered.original && (self.sack || !delivered.retransmitted);
                if frto != Frto::Off && is_proof {
                    // RFC 5682, step 3b: what the timeout took for lost arrives in its first copy.
                    env.counters.tcp_spurious_rtos += 1;
                    env.counters.tcp_loss_undo += 1;
                    self.undo_reduction(now);
                } else if delayed || (progress && reported) {
                    env.counters.tcp_loss_undo += 1;
                    self.undo_reduction(now);
                } else if is_over {
                    self.leave_recovery(now);
                } else {
                    let next = match frto {
                        // RFC 5682 §2.1, steps 2a and 3a.
                        _ if self.recovery.duplicate_acks > 0 => Frto::Off,
                        Frto::Started if progress => Frto::WantsNew,
                        Frto::Started if delivered.bytes == 0 => Frto::Started,
                        Frto::WantsNew | Frto::AskedForNew | Frto::Verifying if delivered.bytes == 0 => frto,
                        Frto::Off | Frto::Started | Frto::WantsNew | Frto::AskedForNew | Frto::Verifying => {
                            Frto::Off
                        }
                    };
                    self.recovery.episode = Episode::Loss { until, frto: next };
                }
            }
        }
    }

    fn frto(&self) -> Frto {
        match self.recovery.episode {
            Episode::Loss { frto, .. } => frto,
            Episode::Open | Episode::Fast { .. } => Frto::Off,
        }
    }

    fn set_frto(&mut self, next: Frto) {
        if let Episode::Loss { frto, .. } = &mut self.recovery.episode {
            *frto = next;
        }
    }

    /// RFC 5682 §3.1, step 2b: new data leaves instead of retransmissions, so that the answer tells which copies
    /// arrived.
    pub(super) fn prefers_new_data(&self) -> bool {
        matches!(self.frto(), Frto::WantsNew | Frto::AskedForNew | Frto::Verifying)
    }

    /// New data left.
    pub(super) fn on_new_data_sent(&mut self) {
        if self.prefers_new_data() {
            self.set_frto(Frto::Verifying);
        }
    }

    /// New data may leave and none is queued: whoever has some gives it now.
    pub(super) fn ask_for_new_data(&mut self) {
        if self.frto() == Frto::WantsNew {
            self.set_frto(Frto::AskedForNew);
        }
    }

    /// When it shows that nobody has new data: at once.
    pub(super) fn new_data_deadline(&self, now: Instant) -> Option<Instant> {
        let asked = self.frto() == Frto::AskedForNew || self.recovery.due_probe == DueProbe::AskedForNew;
        asked.then_some(now)
    }

    /// Nobody had new data: retransmissions go on (RFC 5682 §3.1, step 2b), and the probe repeats the last segment.
    pub(super) fn give_up_new_data(&mut self) {
        if self.recovery.due_probe == DueProbe::AskedForNew {
            self.recovery.due_probe = DueProbe::Repeat;
        }
        if self.frto() == Frto::AskedForNew {
            self.set_frto(Frto::Off);
        }
    }

    /// RFC 4015 §3: window and threshold return, and what is not sent again yet is on the way after all.
    fn undo_reduction(&mut self, now: Instant) {
        self.recovery.undo = None;
        self.cc.undo(now);
        if !self.recovery.in_open() {
            self.snd.board.forgive_lost();
            self.recovery.rack.on_recovery_exit();
            self.recovery.episode = Episode::Open;
        }
        self.restart_validation(now);
    }

    fn leave_recovery(&mut self, now: Instant) {
        if matches!(self.recovery.episode, Episode::Fast { .. }) {
            self.cc.on_recovery_exit(now);
        }
        self.restart_validation(now);
        self.recovery.rack.on_recovery_exit();
        self.recovery.episode = Episode::Open;
    }
}
