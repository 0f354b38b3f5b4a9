//! The data of one direction of a connection, between its sender, the proxy and its receiver.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use polytcp_proto::time::Instant;
use polytcp_wire::option_space::{SACK, TIMESTAMPS};
use polytcp_wire::raw_options::raw_options;
use polytcp_wire::tcp::TcpFlags;

use crate::middlebox::options::blank;
use crate::middlebox::pep::PepConfig;
use crate::middlebox::segment::Segment;

/// Duplicate acknowledgements that mean loss (RFC 5681 §3.2).
const DUPACKS: u32 = 3;

/// What the proxy knows of the data of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Half {
    /// How far the direction has come; nothing is done before it is open.
    stage: Stage,
    /// Of the sender: the number after its last octet, what it acknowledges, its timestamp.
    seq_nxt: u32,
    last_ack: u32,
    last_tsval: Option<u32>,
    /// The next octet that the proxy expects from the sender.
    rcv_nxt: u32,
    /// The next octet that the receiver expects, the end of its window, and the shift of the windows
    /// that it announces.
    una: u32,
    edge: u32,
    receiver_shift: u8,
    /// Acknowledged by the proxy and not by the receiver, in order.
    store: VecDeque<Segment>,
    stored_bytes: usize,
    dupacks: u32,
    retries: u32,
    retransmit_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// No SYN has been seen.
    #[default]
    Closed,
    Open,
    /// Data was given up, and the proxy leaves the rest alone.
    GivenUp,
    /// A FIN has been seen.
    Finished,
}

/// What became of a segment's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// The proxy has nothing to do with it.
    Passes,
    /// The proxy keeps it.
    Kept,
    /// The proxy, or the receiver, has it already.
    Old,
}

/// What is to be done at a deadline.
#[derive(Clone, Debug)]
pub(super) enum Due {
    Nothing,
    Again(Box<Segment>),
    GivenUp(usize),
}

/// Whether `a` is before `b` in sequence space.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Half {
    pub(super) fn seq_nxt(&self) -> u32 {
        self.seq_nxt
    }

    pub(super) fn rcv_nxt(&self) -> u32 {
        self.rcv_nxt
    }

    pub(super) fn last_tsval(&self) -> Option<u32> {
        self.last_tsval
    }

    pub(super) fn retransmit_at(&self) -> Option<Instant> {
        self.retransmit_at
    }

    /// The receiver's window after what the proxy has taken, as the receiver would announce it.
    pub(super) fn window(&self) -> u16 {
        let room = self.edge.wrapping_sub(self.rcv_nxt);
        let room = if (room as i32) < 0 { 0 } else { room };
        u16::try_from(room >> self.receiver_shift).unwrap_or(u16::MAX)
    }

    /// Whether the sender has nothing more to say.
    pub(super) fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    /// Notes what a segment tells about its sender.
    pub(super) fn saw(&mut self, segment: &Segment) {
        let end = segment.seq_end();
        if segment.is_syn() {
            if self.stage != Stage::Closed {
                return; // Once more, or forged.
            }
            let receiver_shift = self.receiver_shift;
            *self =
                Self { seq_nxt: end, rcv_nxt: end, una: end, edge: end, receiver_shift, ..Self::default() };
            self.stage = Stage::Open;
        }
        if before(self.seq_nxt, end) {
            self.seq_nxt = end;
        }
        if segment.has(TcpFlags::FIN) {
            self.stage = Stage::Finished;
        }
        self.last_ack = segment.header.ack;
        self.last_tsval = segment.typed_options().timestamps.map(|times| times.val).or(self.last_tsval);
    }

    /// Notes what the receiver's SYN or SYN/ACK tells about its windows, which are scaled only if both
    /// ends offer it (RFC 7323 §2.2). That of the SYN/ACK itself never is.
    pub(super) fn saw_receivers_syn(&mut self, syn: &Segment, sender_shift: &mut u8) {
        let shift = syn.typed_options().window_scale;
        self.receiver_shift = shift.unwrap_or(0).min(14);
        if syn.has(TcpFlags::ACK) {
            self.edge = syn.header.ack.wrapping_add(u32::from(syn.header.window));
            if shift.is_none() {
                *sender_shift = 0;
            }
        }
    }

    /// The shift of the windows that the receiver of this half announces.
    pub(super) fn receiver_shift_mut(&mut self) -> &mut u8 {
        &mut self.receiver_shift
    }

    /// Takes the receiver's acknowledgement of this half's data; returns what it shows to be lost.
    pub(super) fn acknowledged(
        &mut self,
        now: Instant,
        config: &PepConfig,
        ack: &Segment,
    ) -> Option<Segment> {
        if self.stage == Stage::Closed {
            return None;
        }
        let number = ack.header.ack;
        let edge = number.wrapping_add(u32::from(ack.header.window) << self.receiver_shift);
        if before(self.edge, edge) {
            self.edge = edge;
        }
        if before(self.una, number) {
            self.una = number;
            (self.dupacks, self.retries) = (0, 0);
            if before(self.rcv_nxt, number) {
                self.rcv_nxt = number;
            }
            while let Some(first) = self.store.front()
                && !before(number, data_end(first))
            {
                self.stored_bytes -= first.payload.len();
                self.store.pop_front();
            }
            self.retransmit_at = (!self.store.is_empty()).then(|| now + config.retransmit_after);
            return None;
        }
        if number != self.una || ack.seq_len() > 0 || self.store.is_empty() {
            return None;
        }
        self.dupacks += 1;
        (self.dupacks == DUPACKS).then(|| self.first_again()).flatten()
    }

    /// Raises the acknowledgement number of a segment from the receiver to what the proxy has
    /// acknowledged; returns whether that was higher.
    pub(super) fn raise(&self, ack: &mut Segment) -> bool {
        if self.stage == Stage::Closed || !before(ack.header.ack, self.rcv_nxt) {
            return false;
        }
        ack.header.ack = self.rcv_nxt;
        // Blocks below it would tell of duplicates (RFC 2883 §4), and above it is nothing kept.
        blank(&mut ack.options, |kind| kind == SACK);
        true
    }

    /// Takes a segment's data from the sender.
    pub(super) fn take(&mut self, now: Instant, config: &PepConfig, segment: &Segment) -> Heard {
        let len = segment.payload.len();
        if len == 0 || matches!(self.stage, Stage::Closed | Stage::GivenUp) {
            return Heard::Passes;
        }
        let (start, end) = (segment.header.seq, data_end(segment));
        if !before(self.rcv_nxt, end) {
            return Heard::Old;
        }
        if start != self.rcv_nxt || self.stored_bytes + len > config.store_bytes_max {
            return Heard::Passes;
        }
        self.store.push_back(segment.clone());
        self.stored_bytes += len;
        self.rcv_nxt = end;
        self.retransmit_at.get_or_insert(now + config.retransmit_after);
        Heard::Kept
    }

    /// What is to be sent again at `now`, or given up.
    pub(super) fn due(&mut self, now: Instant, config: &PepConfig) -> Due {
        if self.retransmit_at.is_none_or(|at| at > now) {
            return Due::Nothing;
        }
        if self.retries >= config.retries_max {
            let bytes = core::mem::take(&mut self.stored_bytes);
            self.store.clear();
            (self.retransmit_at, self.stage) = (None, Stage::GivenUp);
            return Due::GivenUp(bytes);
        }
        self.retries += 1;
        let wait = config.retransmit_after.saturating_mul(1 << self.retries.min(16));
        self.retransmit_at = Some(now + wait.max(core::time::Duration::from_nanos(1)));
        self.first_again().map_or(Due::Nothing, |segment| Due::Again(Box::new(segment)))
    }

    /// The first segment that is kept, as its sender would send it now: an old timestamp would make the
    /// receiver drop it (RFC 7323 §5).
    fn first_again(&self) -> Option<Segment> {
        let mut segment = self.store.front()?.clone();
        segment.header.ack = self.last_ack;
        let times = raw_options(&segment.options).find(|option| option.kind == TIMESTAMPS);
        if let (Some(val), Some(times)) = (self.last_tsval, times)
            && let Some(field) = segment.options[times.range].get_mut(2..6)
        {
            field.copy_from_slice(&val.to_be_bytes());
        }
        Some(segment)
    }
}

/// The number after a segment's payload.
fn data_end(segment: &Segment) -> u32 {
    segment.payload_seq().wrapping_add(segment.payload.len() as u32)
}
