//! The handshake of one flow: SYN-SENT and SYN-RECEIVED (RFC 9293 §3.5, §3.10.7.3).
//!
//! An [`Opening`] owns what exists before both sides agree: the initial sequence number, the options
//! offered, the SYN's retransmission timer. It judges segments and says what follows; its owner adds
//! the options of the layer above and builds the [`super::flow::Flow`] from what was agreed.

use core::num::NonZeroU16;

use alloc::boxed::Box;

use bytes::Bytes;
use polytcp_wire::tcp::TcpFlags;
use polytcp_wire::tcp_options::{FastOpenCookie, NoRoom, OptionBuf, TcpOption, TcpOptions, Timestamps};

use super::segment::{Outgoing, Segment};
use crate::config::Ecn;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// RFC 6298 §2.1: the timeout before any measurement.
pub const INITIAL_RTO: Duration = Duration::from_secs(1);
/// No SYN waits longer than this for its repetition (RFC 6298 §2.5 allows a ceiling of 60 s or more).
const SYN_RTO_MAX: Duration = Duration::from_secs(64);
/// A repeated SYN is answered at most this often.
const REPEAT_INTERVAL: Duration = Duration::from_millis(500);
/// The MSS assumed when the peer names none (RFC 9293 §3.7.1, MUST-15): 536 for IPv4, 1220 for IPv6.
const DEFAULT_MSS_V4: u16 = 536;
const DEFAULT_MSS_V6: u16 = 1220;

/// Octets of the layer above on a SYN: MP_CAPABLE without a key (RFC 8684 §3.1).
const SYN_EXTRA_BYTES: usize = 4;

/// What this side offers in its SYN or SYN/ACK.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Our MSS option: the interface's MTU without the smallest headers.
    pub mss: u16,
    /// Our window scale, 0..=14.
    pub window_scale: u8,
    /// Receive window in bytes, before scaling.
    pub window_bytes: u32,
    /// Offset of this connection's timestamps from the clock (RFC 7323 §5.4).
    pub timestamp_offset: u32,
    /// The flow runs over IPv6.
    pub ipv6: bool,
    /// Whether ECN is asked for and accepted.
    pub ecn: Ecn,
    /// Whether selective acknowledgements are offered and accepted (RFC 2018).
    pub sack: bool,
    /// Whether timestamps are offered and accepted (RFC 7323).
    pub timestamps: bool,
}

impl Offer {
    /// The same with segments of at most so much payload.
    #[must_use]
    pub fn within(self, segment: Option<NonZeroU16>) -> Self {
        Self { mss: segment.map_or(self.mss, |most| self.mss.min(most.get())), ..self }
    }
}

/// What both sides' SYNs agreed on.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    /// Initial send sequence number; after data on the SYN the number of its last octet that was
    /// acknowledged, so that the flow counts from there on (as RFC 8684 appendix B.1 asks of mappings).
    pub iss: SeqNum,
    /// Initial receive sequence number.
    pub irs: SeqNum,
    /// The smaller of both MSS options.
    pub mss: u16,
    /// Shift of the windows that we announce; `None` without the option on both sides.
    pub rcv_wscale: u8,
    /// Shift of the windows that the peer announces.
    pub snd_wscale: u8,
    /// Both sent SACK-permitted.
    pub sack: bool,
    /// Both asked for explicit congestion notification.
    pub ecn: bool,
    /// Timestamps in use: our offset, and the peer's value to echo.
    pub timestamps: Option<AgreedTimestamps>,
    /// The peer's window in bytes.
    pub snd_wnd: u32,
    /// Window that we announced in the SYN or SYN/ACK.
    pub rcv_wnd: u32,
    /// A measured round trip, unless the SYN was repeated (Karn).
    pub rtt: Option<Duration>,
    /// Octets on our SYN that the peer acknowledged.
    pub syn_data_acked: u32,
    /// How often our SYN or SYN/ACK was sent.
    pub syns_sent: u8,
}

/// What a client's first SYN says of Fast Open (RFC 7413 §4.1).
#[derive(Clone, Debug)]
pub struct FastOpenSyn {
    /// The option; none where the network does without cookies.
    pub option: Option<FastOpenCookie>,
    /// What goes on the SYN, as far as it fits.
    pub data: Bytes,
    /// MSS that the peer announced when it gave the cookie: no more goes on the SYN.
    pub mss: u16,
}

/// Timestamps as the handshake left them.
#[derive(Clone, Copy, Debug)]
pub struct AgreedTimestamps {
    /// Offset of our clock.
    pub offset: u32,
    /// The peer's latest value.
    pub recent: u32,
}

/// Which side started, and what is known of the peer because of that.
#[derive(Clone, Copy, Debug)]
enum Side {
    /// We sent a SYN and know nothing of the peer.
    SynSent,
    /// We have the peer's SYN, and sent SYN/ACK.
    SynReceived { irs: SeqNum, peer: PeerSyn },
}

/// The peer's SYN options that matter later.
#[derive(Clone, Copy, Debug)]
struct PeerSyn {
    mss: u16,
    window_scale: Option<u8>,
    sack: bool,
    ecn: bool,
    timestamp: Option<u32>,
}

impl PeerSyn {
    /// What of the peer's SYN is to be answered: options that we do not have are none.
    fn read(segment: &Segment, offer: &Offer) -> Self {
        let TcpOptions { mss, window_scale, sack_permitted, timestamps, .. } = segment.options;
        let default = if offer.ipv6 { DEFAULT_MSS_V6 } else { DEFAULT_MSS_V4 };
        Self {
            // A hostile MSS of a few octets would make every segment carry almost nothing; Linux's floor
            // (TCP_MIN_SND_MSS 48) leaves 8 octets beside full options.
            mss: mss.unwrap_or(default).max(88),
            window_scale: window_scale.map(|shift| shift.min(14)),
            sack: sack_permitted && offer.sack,
            ecn: asks_for_ecn(segment),
            timestamp: timestamps.filter(|_| offer.timestamps).map(|t| t.val),
        }
    }
}

/// What a segment means to a handshake.
#[derive(Debug)]
pub enum OpeningVerdict {
    /// Nothing happens.
    Ignore,
    /// Send this, nothing else changes.
    Answer(Outgoing),
    /// The peer refused (RFC 9293 §3.10.7.3, second check).
    Refused,
    /// A SYN without ACK came while we were in SYN-SENT: we are in SYN-RECEIVED now, and the SYN/ACK
    /// has to be sent (simultaneous open).
    Crossed,
    /// Both sides agree; the segment that did it must be processed by the new flow (its ACK, its
    /// payload), except the SYN/ACK itself, which only needs to be acknowledged.
    Agreed(Agreed),
}

/// One flow's handshake.
#[derive(Debug)]
pub struct Opening {
    iss: SeqNum,
    offer: Offer,
    side: Side,
    /// When the first SYN or SYN/ACK left.
    first_sent: Option<Instant>,
    last_sent: Instant,
    /// How many left so far.
    sent: u8,
    /// When the next one is due.
    deadline: Instant,
    rto: Duration,
    fast_open: Option<Box<FastOpenSyn>>,
    /// Octets on the SYN that left.
    syn_data: u32,
    /// Octets on the peer's SYN that were taken.
    syn_taken: u32,
    /// The cookie that goes with the first SYN/ACK.
    granted: Option<FastOpenCookie>,
}

impl FastOpenSyn {
    /// Writes the option; returns what goes on the SYN.
    fn begin(&self, mss: u16, options: &mut OptionBuf) -> Bytes {
        if let Some(cookie) = self.option {
            let len = 2 + cookie.as_slice().len();
            // A longer cookie has no room beside MPTCP, as in Linux: no Fast Open then.
            if len.next_multiple_of(4) + SYN_EXTRA_BYTES > options.remaining() {
                return Bytes::new();
            }
            let _ = options.push(TcpOption::FastOpen(cookie));
            if cookie.is_request() {
                return Bytes::new();
            }
        }
        // The MSS counts no options (RFC 6691), and the extra ones come after this.
        let room = usize::from(self.mss.min(mss)).saturating_sub(options.len() + SYN_EXTRA_BYTES);
        self.data.slice(..self.data.len().min(room))
    }
}

impl Opening {
    /// SYN-SENT: a SYN is due at once.
    pub fn active(now: Instant, iss: SeqNum, offer: Offer) -> Self {
        Self {
            iss,
            offer,
            side: Side::SynSent,
            first_sent: None,
            last_sent: now,
            sent: 0,
            deadline: now,
            rto: INITIAL_RTO,
            fast_open: None,
            syn_data: 0,
            syn_taken: 0,
            granted: None,
        }
    }

    /// SYN-RECEIVED: a SYN/ACK is due at once.
    pub fn passive(now: Instant, iss: SeqNum, offer: Offer, syn: &Segment) -> Self {
        Self {
            iss,
            offer,
            side: Side::SynReceived { irs: syn.seq, peer: PeerSyn::read(syn, &offer) },
            first_sent: None,
            last_sent: now,
            sent: 0,
            deadline: now,
            rto: INITIAL_RTO,
            fast_open: None,
            syn_data: 0,
            syn_taken: 0,
            granted: None,
        }
    }

    /// Has the first SYN ask for a cookie, or carry data. Repetitions do neither (RFC 7413 §4.1.3: what
    /// is in the way of the option must not be in the way of the connection).
    pub fn set_fast_open(&mut self, syn: FastOpenSyn) {
        self.fast_open = Some(Box::new(syn));
    }

    /// Has the first SYN/ACK give the peer a cookie (RFC 7413 §4.1.2).
    pub fn grant(&mut self, cookie: FastOpenCookie) {
        self.granted = Some(cookie);
    }

    /// Answers the peer's timestamps with none, so that the flow has none.
    pub fn leave_out_timestamps(&mut self) {
        if let Side::SynReceived { peer, .. } = &mut self.side {
            peer.timestamp = None;
        }
    }

    /// Takes the `len` octets on the peer's SYN: the SYN/ACK acknowledges them, and the flow, which starts
    /// at once with what this returns, counts from their last (RFC 7413 §4.2, RFC 8684 appendix B.1).
    /// `None` in SYN-SENT.
    pub fn take_syn_data(&mut self, now: Instant, len: u32, window: u16) -> Option<Agreed> {
        let Side::SynReceived { irs, peer } = &mut self.side else { return None };
        *irs += len;
        self.syn_taken = len;
        let (irs, peer) = (*irs, *peer);
        Some(self.agreed(now, irs, peer, u32::from(window), 0))
    }

    /// The first SYN had a Fast Open option.
    pub fn asked_fast_open(&self) -> bool {
        self.fast_open.as_ref().is_some_and(|syn| syn.option.is_some())
    }

    /// Octets on the SYN that left.
    pub fn syn_data(&self) -> u32 {
        self.syn_data
    }

    /// The first SYN had data and was repeated, without.
    pub fn has_lost_syn_data(&self) -> bool {
        self.syn_data > 0 && self.sent > 1
    }

    /// How many octets on the SYN `ack` acknowledges, if it acknowledges the SYN.
    fn syn_data_acked(&self, ack: SeqNum) -> Option<u32> {
        ack.since(self.iss + 1).filter(|acked| *acked <= self.syn_data)
    }

    /// How many SYNs or SYN/ACKs were sent.
    pub fn sent(&self) -> u8 {
        self.sent
    }

    /// When the first of them left.
    pub fn first_sent(&self) -> Option<Instant> {
        self.first_sent
    }

    /// Our initial sequence number.
    pub fn iss(&self) -> SeqNum {
        self.iss
    }

    /// The round trip that an acknowledgement at `now` would measure: from the only transmission, none
    /// when there were several (Karn's rule).
    pub fn handshake_rtt(&self, now: Instant) -> Option<Duration> {
        if self.sent == 1 { self.first_sent.map(|sent| now.since(sent)) } else { None }
    }

    /// When [`poll_transmit`](Self::poll_transmit) has the next SYN or SYN/ACK.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The SYN or SYN/ACK, when one is due. `room` octets of options are left for `write_extra`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        linear_timeouts: u8,
        write_extra: impl FnOnce(&mut OptionBuf) -> Result<(), NoRoom>,
    ) -> Option<Outgoing> {
        if now < self.deadline {
            return None;
        }
        self.sent = self.sent.saturating_add(1);
        self.first_sent.get_or_insert(now);
        self.last_sent = now;
        // Linux: the first `tcp_syn_linear_timeouts` (4) repetitions are not backed off.
        if self.sent > linear_timeouts.saturating_add(1) {
            self.rto = (self.rto * 2).min(SYN_RTO_MAX);
        }
        self.deadline = now + self.rto;
        let mut segment = self.syn(now, write_extra);
        if self.sent == 1 {
            self.syn_data = segment.payload.len() as u32;
        }
        segment.repeats = self.sent > 1;
        Some(segment)
    }

    /// What was due at `now` is left out, and waits for its next turn.
    pub fn skip(&mut self, now: Instant) {
        self.rto = (self.rto * 2).min(SYN_RTO_MAX);
        self.deadline = now + self.rto;
    }

    /// Has the SYN/ACK sent again: the peer repeated its SYN. Not more often than every half second, as
    /// Linux's `tcp_invalid_ratelimit`, since anybody can repeat a SYN.
    fn repeat(&mut self, now: Instant) {
        if now >= self.last_sent + REPEAT_INTERVAL {
            self.deadline = now;
        }
    }

    fn syn(&self, now: Instant, write_extra: impl FnOnce(&mut OptionBuf) -> Result<(), NoRoom>) -> Outgoing {
        let window = self.offer.window_bytes.min(u32::from(u16::MAX)) as u16;
        let val = timestamp_at(now, self.offer.timestamp_offset);
        let mut options = OptionBuf::new();
        // 4 + 12 + 4 octets: always fits into 40.
        let _ = options.push(TcpOption::Mss(self.offer.mss));
        let segment = match self.side {
            Side::SynSent => {
                push_agreeable(&mut options, self.offer.timestamps.then_some((val, 0)), self.offer.sack);
                let _ = options.push(TcpOption::WindowScale(self.offer.window_scale));
                // RFC 3168 §6.1.1.1: a repeated SYN does not ask, since some firewalls drop those that do
                // (Linux's `tcp_ecn_fallback`).
                let asks = self.offer.ecn == Ecn::Request && self.sent <= 1;
                let ecn = if asks { TcpFlags::ECE | TcpFlags::CWR } else { TcpFlags::NONE };
                let mut segment = Outgoing::bare(self.iss, SeqNum(0), TcpFlags::SYN | ecn, window);
                if self.sent == 1
                    && let Some(fast_open) = self.fast_open.as_deref()
                {
                    segment.payload = fast_open.begin(self.offer.mss, &mut options);
                }
                segment
            }
            Side::SynReceived { irs, peer } => {
                // RFC 7323 §1.3, §2.2: each option only in answer to the peer's.
                push_agreeable(&mut options, peer.timestamp.map(|ecr| (val, ecr)), peer.sack);
                if peer.window_scale.is_some() {
                    let _ = options.push(TcpOption::WindowScale(self.offer.window_scale));
                }
                let ecn = if self.agrees_on_ecn(peer) { TcpFlags::ECE } else { TcpFlags::NONE };
                Outgoing::bare(self.iss, irs + 1, TcpFlags::SYN | TcpFlags::ACK | ecn, window)
            }
        };
        if self.sent == 1
            && let Some(cookie) = self.granted
        {
            let _ = options.push(TcpOption::FastOpen(cookie));
        }
        // Without room the SYN goes out without the extension: plain TCP.
        let _ = write_extra(&mut options);
        Outgoing { options, ..segment }
    }

    /// Judges a segment for this handshake (RFC 9293 §3.10.7.3 and, for SYN-RECEIVED, §3.10.7.4).
    pub fn handle_segment(&mut self, now: Instant, segment: &Segment) -> OpeningVerdict {
        match self.side {
            Side::SynSent => self.handle_in_syn_sent(now, segment),
            Side::SynReceived { irs, peer } => self.handle_in_syn_received(now, irs, peer, segment),
        }
    }

    fn handle_in_syn_sent(&mut self, now: Instant, segment: &Segment) -> OpeningVerdict {
        let acked = self.syn_data_acked(segment.ack).filter(|_| segment.is_ack());
        let ack_acceptable = acked.is_some();
        if segment.is_ack() && !ack_acceptable {
            return Outgoing::reset_for(segment).map_or(OpeningVerdict::Ignore, OpeningVerdict::Answer);
        }
        if segment.is_rst() {
            return if ack_acceptable { OpeningVerdict::Refused } else { OpeningVerdict::Ignore };
        }
        if !segment.is_syn() {
            return OpeningVerdict::Ignore;
        }
        let peer = PeerSyn::read(segment, &self.offer);
        if let Some(acked) = acked {
            let agreed = self.agreed(now, segment.seq, peer, u32::from(segment.window), acked);
            return OpeningVerdict::Agreed(agreed);
        }
        self.side = Side::SynReceived { irs: segment.seq, peer };
        self.deadline = now;
        OpeningVerdict::Crossed
    }

    fn handle_in_syn_received(
        &mut self,
        now: Instant,
        irs: SeqNum,
        peer: PeerSyn,
        segment: &Segment,
    ) -> OpeningVerdict {
        let rcv_nxt = irs + 1;
        let window = self.offer.window_bytes.min(u32::from(u16::MAX));
        // RFC 5961 §3: only a reset exactly at RCV.NXT counts here.
        if segment.is_rst() {
            return if segment.seq == rcv_nxt { OpeningVerdict::Refused } else { OpeningVerdict::Ignore };
        }
        if segment.is_syn() {
            // The peer repeats its SYN: our SYN/ACK was lost. Also the crossing SYN/ACK of a
            // simultaneous open, which acknowledges our SYN.
            if segment.seq + self.syn_taken == irs {
                if let Some(acked) = self.syn_data_acked(segment.ack).filter(|_| segment.is_ack()) {
                    let agreed = self.agreed(now, irs, peer, u32::from(segment.window), acked);
                    return OpeningVerdict::Agreed(agreed);
                }
                self.repeat(now);
            }
            return OpeningVerdict::Ignore;
        }
        if !segment.is_ack() {
            return OpeningVerdict::Ignore;
        }
        let Some(acked) = self.syn_data_acked(segment.ack) else {
            return Outgoing::reset_for(segment).map_or(OpeningVerdict::Ignore, OpeningVerdict::Answer);
        };
        if !segment.seq.within(rcv_nxt, window.max(1)) {
            return OpeningVerdict::Ignore;
        }
        let mut peer = peer;
        if let (Some(recent), Some(ts)) = (peer.timestamp, segment.options.timestamps) {
            // RFC 7323 §5.2 (PAWS) applies from the first acknowledgement on.
            if SeqNum(ts.val).before(SeqNum(recent)) {
                return OpeningVerdict::Ignore;
            }
            peer.timestamp = Some(ts.val);
        }
        let shift = self.shifts(peer).0;
        OpeningVerdict::Agreed(self.agreed(now, irs, peer, u32::from(segment.window) << shift, acked))
    }

    /// (shift of the peer's windows, shift of ours): both zero unless both sent the option.
    fn shifts(&self, peer: PeerSyn) -> (u8, u8) {
        peer.window_scale.map_or((0, 0), |theirs| (theirs, self.offer.window_scale))
    }

    fn agrees_on_ecn(&self, peer: PeerSyn) -> bool {
        let wants = match self.side {
            Side::SynSent => self.offer.ecn == Ecn::Request,
            Side::SynReceived { .. } => self.offer.ecn != Ecn::Off,
        };
        wants && peer.ecn
    }

    fn agreed(&self, now: Instant, irs: SeqNum, peer: PeerSyn, snd_wnd: u32, acked: u32) -> Agreed {
        let (snd_wscale, rcv_wscale) = self.shifts(peer);
        Agreed {
            iss: self.iss + acked,
            irs,
            mss: peer.mss.min(self.offer.mss),
            rcv_wscale,
            snd_wscale,
            sack: peer.sack,
            ecn: self.agrees_on_ecn(peer),
            timestamps: peer
                .timestamp
                .map(|recent| AgreedTimestamps { offset: self.offer.timestamp_offset, recent }),
            snd_wnd,
            rcv_wnd: self.offer.window_bytes.min(u32::from(u16::MAX)),
            rtt: self.handshake_rtt(now),
            syn_data_acked: acked,
            syns_sent: self.sent,
        }
    }
}

/// RFC 3168 §6.1.1: a SYN asks with both flags, a SYN/ACK agrees with ECE alone. One whose packet is ECN-capable itself
/// comes through something that sets such bits at random (Linux looks at that too).
pub fn asks_for_ecn(segment: &Segment) -> bool {
    let (ece, cwr) = (segment.flags.contains(TcpFlags::ECE), segment.flags.contains(TcpFlags::CWR));
    ece && cwr != segment.is_ack() && segment.ecn == 0
}

/// Timestamps, value and echo, and SACK-permitted: 12 octets at most, for which a SYN has room.
fn push_agreeable(options: &mut OptionBuf, timestamps: Option<(u32, u32)>, sack: bool) {
    let timestamps = timestamps.map(|(val, ecr)| Timestamps { val, ecr });
    let _ = match (timestamps, sack) {
        (Some(stamps), true) => options.push(TcpOption::SackPermittedTimestamps(stamps)),
        (Some(stamps), false) => options.push(TcpOption::Timestamps(stamps)),
        (None, true) => options.push(TcpOption::SackPermitted),
        (None, false) => Ok(()),
    };
}

/// The value of our timestamp clock at `now`: milliseconds, from an offset of the connection's own.
pub(crate) fn timestamp_at(now: Instant, offset: u32) -> u32 {
    (now.as_millis() as u32).wrapping_add(offset)
}

/// The smallest shift that lets a 16-bit field announce `window_bytes` (RFC 7323 §2.2: at most 14).
pub fn window_scale_for(window_bytes: u32) -> u8 {
    (0..14).find(|shift| window_bytes >> shift <= u32::from(u16::MAX)).unwrap_or(14)
}
