//! TIME-WAIT: the little that is remembered of a four-tuple after its flow (RFC 9293 §3.10.7.4).

use polytcp_wire::tcp::TcpFlags;

use polytcp_wire::tcp_option::{TcpOption, Timestamps};

use super::opening::{AgreedTimestamps, timestamp_at};
use super::segment::{Outgoing, Segment};
use crate::seq::SeqNum;
use crate::time::Instant;

/// One four-tuple in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    /// Our next sequence number, after the FIN.
    pub snd_nxt: SeqNum,
    /// The peer's next sequence number, after its FIN.
    pub rcv_nxt: SeqNum,
    /// Timestamps in use: the offset of our clock, and the peer's latest value.
    pub timestamps: Option<AgreedTimestamps>,
    /// When the four-tuple is free again.
    pub expires_at: Instant,
    /// Before this, what has neither data nor FIN is not answered (Linux's `tcp_invalid_ratelimit`).
    pub answer_allowed_at: Instant,
}

/// What a segment means to a four-tuple in TIME-WAIT.
#[derive(Debug)]
pub enum TimeWaitVerdict {
    /// Nothing happens.
    Ignore,
    /// The acknowledgement is sent again; for a FIN the clock starts anew.
    Answer(Outgoing),
    /// A SYN that cannot be an old duplicate: the four-tuple may be used again (RFC 6191).
    Reuse,
}

impl TimeWait {
    /// RFC 7323 §5.3 R1: older than what came last.
    pub fn fails_paws(&self, segment: &Segment) -> bool {
        let stamps = self.timestamps.zip(segment.options.timestamps);
        stamps.is_some_and(|(own, ts)| SeqNum(ts.val).before(SeqNum(own.recent)))
    }

    /// Judges a segment. Resets are ignored (RFC 1337).
    pub fn handle_segment(&self, now: Instant, segment: &Segment) -> TimeWaitVerdict {
        if segment.is_rst() {
            return TimeWaitVerdict::Ignore;
        }
        if segment.is_syn() && !segment.is_ack() {
            let newer = match (self.timestamps, segment.options.timestamps) {
                (Some(own), Some(ts)) => SeqNum(ts.val).after(SeqNum(own.recent)),
                _ => false,
            };
            if newer || segment.seq.after(self.rcv_nxt) {
                return TimeWaitVerdict::Reuse;
            }
        }
        if segment.seq_len() == 0 && segment.seq == self.rcv_nxt {
            return TimeWaitVerdict::Ignore;
        }
        let mut answer = Outgoing::bare(self.snd_nxt, self.rcv_nxt, TcpFlags::ACK, u16::MAX);
        if let Some(AgreedTimestamps { offset, recent }) = self.timestamps {
            // RFC 7323 §3.2: once agreed, on every segment. 12 of 40 octets.
            let val = timestamp_at(now, offset);
            let _ = answer.options.push(TcpOption::Timestamps(Timestamps { val, ecr: recent }));
        }
        TimeWaitVerdict::Answer(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use polytcp_wire::tcp_options::TcpOptions;

    fn segment(seq: u32, flags: TcpFlags) -> Segment {
        Segment {
            seq: SeqNum(seq),
            ack: SeqNum(0),
            flags,
            window: 0,
            options: TcpOptions::default(),
            ecn: 0,
            payload: Bytes::new(),
            buffer_bytes: 0,
        }
    }

    #[test]
    fn a_repeated_fin_is_acknowledged_again_and_a_newer_syn_takes_over() {
        let wait = TimeWait {
            snd_nxt: SeqNum(10),
            rcv_nxt: SeqNum(100),
            timestamps: None,
            expires_at: Instant::ZERO,
            answer_allowed_at: Instant::ZERO,
        };
        let fin = wait.handle_segment(Instant::ZERO, &segment(99, TcpFlags::FIN | TcpFlags::ACK));
        assert!(matches!(fin, TimeWaitVerdict::Answer(out) if out.ack == SeqNum(100)));
        assert!(matches!(
            wait.handle_segment(Instant::ZERO, &segment(99, TcpFlags::RST)),
            TimeWaitVerdict::Ignore
        ));
        assert!(matches!(
            wait.handle_segment(Instant::ZERO, &segment(101, TcpFlags::SYN)),
            TimeWaitVerdict::Reuse
        ));
        assert!(matches!(
            wait.handle_segment(Instant::ZERO, &segment(50, TcpFlags::SYN)),
            TimeWaitVerdict::Answer(_)
        ));
    }
}
