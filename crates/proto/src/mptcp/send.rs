//! The sending half of a connection: DATA_ACK, the peer's shared window, what has to be sent again,
//! DATA_FIN (RFC 8684 §3.3.1 to §3.3.4, §3.3.6).

use super::reinject::Reinject;
use super::send_buffer::{Piece, SendBuffer};
use crate::ranges::Span;
use crate::seq::Dsn;
use crate::time::{Duration, Instant};

/// How far our DATA_FIN is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataFin {
    /// The application may still write.
    None,
    /// It follows the last octet.
    Queued,
    /// Sent, so many times; goes again at `again_at`.
    Sent {
        /// How often it was repeated.
        repeats: u8,
        /// When it goes again.
        again_at: Instant,
    },
    /// Acknowledged.
    Acked,
}

/// Linux repeats DATA_FIN after 200 ms, doubled up to nine times.
const FIN_INTERVAL: Duration = Duration::from_millis(200);
const FIN_BACKOFF_MAX: u8 = 9;

/// Data-level send state.
#[derive(Debug)]
pub struct DataSend {
    /// Octets accepted and not acknowledged.
    pub buffer: SendBuffer,
    /// Ranges to be sent again on another subflow, because theirs ended.
    pub reinject: Reinject,
    /// Ranges to be sent again on another subflow, because theirs does not answer at the moment.
    pub hedge: Reinject,
    /// Right edge of the peer's window; the largest seen on any subflow (RFC 8684 §3.3.4).
    edge: Dsn,
    fin: DataFin,
    /// The end of the last run that was less than a segment (Minshall's variant of Nagle's rule).
    pub small_end: Option<Dsn>,
    /// Octets sent again at data level so far.
    pub bytes_reinjected: u64,
    /// The writer said that more follows (`MSG_MORE`): what ends there is no end of a message.
    pub more_follows: bool,
    /// When DATA_ACK moved last.
    pub progress_at: Instant,
    /// The peer has sent a DATA_ACK.
    pub heard_ack: bool,
}

impl DataSend {
    /// An empty stream whose first octet will be `first`.
    pub fn new(now: Instant, first: Dsn, limit_bytes: usize, unsent_limit: u32) -> Self {
        let mut buffer = SendBuffer::new(first, limit_bytes);
        buffer.set_unsent_limit(unsent_limit);
        Self {
            buffer,
            reinject: Reinject::new(),
            hedge: Reinject::new(),
            edge: first,
            fin: DataFin::None,
            small_end: None,
            bytes_reinjected: 0,
            more_follows: false,
            progress_at: now,
            heard_ack: false,
        }
    }

    /// Appends what the application wrote.
    pub fn push(&mut self, piece: Piece) {
        self.buffer.push(piece);
    }

    /// The application closed its direction.
    pub fn close(&mut self) {
        if self.fin == DataFin::None {
            self.fin = DataFin::Queued;
        }
    }

    /// Where our DATA_FIN is.
    pub fn fin(&self) -> DataFin {
        self.fin
    }

    /// The application closed its direction.
    pub fn is_closed(&self) -> bool {
        self.fin != DataFin::None
    }

    /// DATA_FIN leaves now (with data or without), or leaves again.
    pub fn on_fin_sent(&mut self, now: Instant) {
        let repeats = match self.fin {
            DataFin::None | DataFin::Acked => return,
            DataFin::Queued => 0,
            DataFin::Sent { repeats, .. } => repeats.saturating_add(1),
        };
        let wait = FIN_INTERVAL * (1 << repeats.min(FIN_BACKOFF_MAX));
        self.fin = DataFin::Sent { repeats, again_at: now + wait };
    }

    /// On plain TCP the FIN of the flow does what DATA_FIN does.
    pub fn on_plain_fin_acked(&mut self) {
        self.fin = DataFin::Acked;
    }

    /// The number that DATA_FIN takes.
    pub fn fin_dsn(&self) -> Dsn {
        self.buffer.write_seq()
    }

    /// Takes a DATA_ACK and the window beside it. Returns true when something new was acknowledged.
    ///
    /// Acknowledgements of what was never sent are ignored (RFC 8684 §3.3.2 leaves it open; a forged one
    /// must free nothing).
    pub fn handle_ack(&mut self, now: Instant, ack: Dsn, window: u32) -> bool {
        let fin_sent = matches!(self.fin, DataFin::Sent { .. } | DataFin::Acked);
        let limit = self.buffer.snd_nxt() + u64::from(fin_sent);
        if ack.after(limit) || ack.before(self.buffer.snd_una()) {
            return false;
        }
        self.heard_ack = true;
        self.edge = self.edge.max(ack + u64::from(window));
        let acks_fin = fin_sent && ack.after(self.fin_dsn());
        let freed = self.buffer.ack(ack.min(self.buffer.snd_nxt()));
        self.reinject.trim_below(self.buffer.snd_una());
        self.hedge.trim_below(self.buffer.snd_una());
        let fin_news = acks_fin && self.fin != DataFin::Acked;
        if fin_news {
            self.fin = DataFin::Acked;
        }
        if freed > 0 || fin_news {
            self.progress_at = now;
        }
        freed > 0 || fin_news
    }

    /// The first range to be sent again.
    pub fn next_again(&mut self) -> Option<Span<Dsn>> {
        let una = self.buffer.snd_una();
        self.reinject.peek(una).or_else(|| self.hedge.peek(una))
    }

    /// `len` octets from `from` on were given to another subflow.
    pub fn on_sent_again(&mut self, from: Dsn, len: u32) {
        let una = self.buffer.snd_una();
        for ranges in [&mut self.reinject, &mut self.hedge] {
            if ranges.peek(una).is_some_and(|span| span.start == from) {
                ranges.pop_front(len, una);
            }
        }
        self.bytes_reinjected += u64::from(len);
    }

    /// Nothing has to be sent again.
    pub fn forget_ranges(&mut self) {
        self.reinject.clear();
        self.hedge.clear();
    }

    /// The peer's window at the end of the handshake.
    pub fn open_window(&mut self, window: u32) {
        self.edge = self.edge.max(self.buffer.snd_una() + u64::from(window));
    }

    /// Octets of new data that the peer's window allows.
    pub fn window_left(&self) -> u64 {
        self.edge.saturating_since(self.buffer.snd_nxt())
    }

    /// Everything was sent and acknowledged, DATA_FIN included.
    pub fn is_done(&self) -> bool {
        self.fin == DataFin::Acked
    }

    /// DATA_FIN can go: everything before it was sent.
    pub fn fin_is_next(&self) -> bool {
        self.fin == DataFin::Queued && self.buffer.unsent() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn sender() -> DataSend {
        let mut send = DataSend::new(Instant::ZERO, Dsn(u64::from(u32::MAX) - 5), 100_000, u32::MAX);
        send.open_window(1000);
        send.push(Piece::Fixed(Bytes::from(alloc::vec![0; 2000])));
        send
    }

    #[test]
    fn an_acknowledgement_of_unsent_data_frees_nothing() {
        let mut send = sender();
        let start = send.buffer.snd_una();
        assert!(!send.handle_ack(Instant::ZERO, start + 1, 1000));
        send.buffer.cut(500);
        assert!(send.handle_ack(Instant::ZERO, start + 500, 1000));
        assert!(!send.handle_ack(Instant::ZERO, start, 5000), "old");
        assert_eq!(send.window_left(), 1000);
    }

    #[test]
    fn the_window_is_the_largest_edge_seen() {
        let mut send = sender();
        let start = send.buffer.snd_una();
        send.buffer.cut(500);
        send.handle_ack(Instant::ZERO, start + 100, 2000);
        assert_eq!(send.window_left(), 1600);
        send.handle_ack(Instant::ZERO, start + 100, 10);
        assert_eq!(send.window_left(), 1600);
    }

    #[test]
    fn a_data_fin_is_acknowledged_by_the_number_after_it() {
        let mut send = sender();
        while send.buffer.cut(u32::MAX).is_some() {}
        send.close();
        assert!(send.fin_is_next());
        send.on_fin_sent(Instant::ZERO);
        assert!(!send.is_done());
        assert!(send.handle_ack(Instant::ZERO, send.fin_dsn() + 1, 0));
        assert!(send.is_done());
    }
}
