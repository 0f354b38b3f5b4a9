//! One TCP flow in the synchronized states, from ESTABLISHED to its end (RFC 9293 §3.10.7.4).
//!
//! A [`Flow`] owns the sequence spaces, the retransmission queue, loss recovery and congestion control of
//! one four-tuple. It leaves addresses and checksums to the host, and the meaning of the payload to an
//! [`Extension`]. Its state names (FIN-WAIT-1 …) follow from two facts it keeps: how far our own FIN
//! is, and whether the peer's was received.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;
use polytcp_wire::tcp::TcpFlags;

use super::ack::AckState;
use super::cc::{self, CongestionControl, Sibling};
use super::ecn::EcnState;
use super::extension::{Abort, Extension};
use super::opening::{Agreed, AgreedTimestamps};
use super::path_mtu::PathMtu;
use super::rate::DeliveryRate;
use super::recovery::scoreboard::Scoreboard;
use super::recovery::{Episode, Recovery};
use super::recv_rtt::ReceiveRtt;
use super::rtt::RttEstimator;
use super::segment::{Outgoing, Segment};
use super::time_wait::TimeWait;
use super::usage::WindowUsage;
use super::window_validation::Validation;
use crate::config::{Keepalive, TcpConfig};
use crate::counters::Counters;
use crate::reassembly::Reassembly;
use crate::seq::{SeqNum, Ssn};
use crate::time::{Duration, Instant};

/// Out-of-order pieces that one flow holds at most; beyond it the newest are refused, and the peer
/// retransmits them.
const OUT_OF_ORDER_ENTRIES_MAX: usize = 4096;

/// What a full segment is taken for before one came (RFC 9293 §3.7.1's default MSS).
const SMALLEST_FULL_SEGMENT: u32 = 536;

/// What a flow borrows for the length of one call.
pub struct Env<'a> {
    /// The time.
    pub now: Instant,
    /// Settings of the host.
    pub config: &'a TcpConfig,
    /// Counters of the host.
    pub counters: &'a mut Counters,
}

/// What an owner decides when it makes a flow.
#[derive(Clone, Copy, Debug)]
pub struct FlowParams<'a> {
    /// Name of the congestion control; unknown names give the default.
    pub congestion_control: &'a str,
    /// Largest payload of one outgoing segment: more than an MSS only with segmentation offload.
    pub segment_bytes_max: u32,
}

/// How far our FIN is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OwnFin {
    /// Not asked for.
    None,
    /// It goes after the queue.
    Queued,
    /// Sent; its number is the last before SND.NXT.
    Sent,
    /// Acknowledged.
    Acked,
}

/// RFC 9293 §3.3.2, from ESTABLISHED on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Data flows both ways.
    Established,
    /// Our FIN is not acknowledged.
    FinWait1,
    /// Our FIN is acknowledged; the peer may still send.
    FinWait2,
    /// The peer has sent FIN; we may still send.
    CloseWait,
    /// Both FINs crossed; ours is not acknowledged.
    Closing,
    /// The peer closed first; our FIN is not acknowledged.
    LastAck,
    /// All done; remembers the four-tuple.
    TimeWait,
    /// All done.
    Closed,
}

/// Why a flow is over, as its owner has to treat it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Both FINs are acknowledged and the peer's came last: its four-tuple goes to TIME-WAIT.
    TimeWait,
    /// Both FINs are acknowledged and ours came last.
    Closed,
    /// The peer reset it.
    PeerReset,
    /// The layer above found a violation: a RST with this MP_TCPRST reason has to leave.
    Violation(Abort),
    /// Too many retransmissions without an answer.
    TimedOut,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct SendHalf<S> {
    pub(super) board: Scoreboard<S>,
    /// Not sent yet, in order; each run lies in one mapping.
    pub(super) queue: VecDeque<(Bytes, S)>,
    pub(super) queued_bytes: u32,
    pub(super) fin: OwnFin,
    pub(super) wnd: u32,
    pub(super) wl1: SeqNum,
    pub(super) wl2: SeqNum,
    pub(super) wnd_max: u32,
    pub(super) wscale: u8,
    /// The peer's MSS and ours, the smaller; options count against it (RFC 6691).
    pub(super) mss: u16,
    pub(super) path: PathMtu,
    pub(super) segment_bytes_max: u32,
    /// The window belongs to the layer above, which never queues beyond it (RFC 8684 §3.3.4); this is the flow's view.
    pub(super) window_is_shared: bool,
    pub(super) pace_next: Instant,
    pub(super) last_sent: Instant,
    pub(super) usage: WindowUsage,
    /// Where an unused window is kept.
    pub(super) validation: Option<Box<Validation>>,
    pub(super) probe: bool,
    /// A small window was waited for long enough.
    pub(super) silly_window_override: bool,
    pub(super) rate: DeliveryRate,
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct ReceiveHalf<H> {
    pub(super) nxt: SeqNum,
    /// Right edge announced; never moves back.
    pub(super) adv: SeqNum,
    /// The window announced last was zero.
    pub(super) is_shut: bool,
    pub(super) wscale: u8,
    pub(super) out_of_order: Reassembly<SeqNum, H>,
    /// Where the peer's FIN is, once seen; it counts when everything before it came.
    pub(super) fin_at: Option<SeqNum>,
    pub(super) fin: bool,
    pub(super) last_at: Instant,
    /// Largest payload per wire segment seen, for the acknowledgement of every second one.
    pub(super) full_segment: u32,
    pub(super) rtt: ReceiveRtt,
}

/// Timestamps in use (RFC 7323).
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    pub(super) offset: u32,
    pub(super) recent: u32,
    pub(super) recent_at: Instant,
}

/// What a flow has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowTotals {
    /// Payload octets sent, retransmissions included.
    pub bytes_sent: u64,
    /// Payload octets received in order.
    pub bytes_received: u64,
    /// Payload octets sent again.
    pub bytes_retransmitted: u64,
    /// Segments sent again.
    pub retransmissions: u64,
}

/// One flow. `S` travels with what is sent, `H` with what is received; see [`Extension`].
#[derive(Debug)]
pub struct Flow<S, H> {
    pub(super) iss: SeqNum,
    pub(super) irs: SeqNum,
    pub(super) snd: SendHalf<S>,
    pub(super) rcv: ReceiveHalf<H>,
    pub(super) acks: AckState,
    pub(super) stamps: Option<Stamps>,
    pub(super) sack: bool,
    /// Explicit congestion notification, where agreed.
    pub(super) ecn: Option<EcnState>,
    pub(super) rtt: RttEstimator,
    pub(super) recovery: Recovery,
    pub(super) cc: Box<dyn CongestionControl>,
    /// The peer's FIN was processed before ours left: the last side to close needs no TIME-WAIT.
    pub(super) passive_close: bool,
    pub(super) keepalive_probes: u8,
    /// Window probes without an answer.
    pub(super) window_probes: u8,
    /// When the first of these left.
    pub(super) window_probed_at: Instant,
    pub(super) user_timeout: Option<Duration>,
    pub(super) keepalive: Option<Keepalive>,
    /// A router said of what is on the way that the peer cannot be reached (Linux's `sk_err_soft`).
    pub(super) is_unreachable: bool,
    pub(super) totals: FlowTotals,
}

/// RFC 6928 §2: ten segments, but one when more than one SYN or SYN/ACK seems to be lost.
fn initial_window_segments(syns_sent: u8) -> u32 {
    if syns_sent > 2 { 1 } else { 10 }
}

/// RFC 7323 §5.5: a timestamp older than 24 days is not compared with.
const PAWS_IDLE: Duration = Duration::from_secs(24 * 24 * 3600);

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// A flow in ESTABLISHED, from what the handshake agreed.
    pub fn new(now: Instant, agreed: &Agreed, params: FlowParams<'_>) -> Self {
        let initial = cc::Initial {
            mss: u32::from(agreed.mss),
            initial_window_segments: initial_window_segments(agreed.syns_sent),
            now,
            srtt: agreed.rtt,
            sack: agreed.sack,
            // Our initial number follows from a secret of the host, so the chances of two flows differ, and a
            // seeded host repeats them.
            seed: (u64::from(agreed.iss.0) << 32) | u64::from(agreed.irs.0),
        };
        let cc = cc::by_name(params.congestion_control, initial)
            .unwrap_or_else(|| Box::new(cc::cubic::Cubic::new(initial)));
        let snd_una = agreed.iss + 1;
        let rcv_nxt = agreed.irs + 1;
        let mut flow = Self {
            iss: agreed.iss,
            irs: agreed.irs,
            snd: SendHalf {
                board: Scoreboard::new(snd_una),
                queue: VecDeque::new(),
                queued_bytes: 0,
                fin: OwnFin::None,
                wnd: agreed.snd_wnd,
                wl1: agreed.irs,
                wl2: agreed.iss,
                wnd_max: agreed.snd_wnd,
                wscale: agreed.snd_wscale,
                mss: agreed.mss,
                path: PathMtu::new(agreed.mss),
                segment_bytes_max: params.segment_bytes_max,
                window_is_shared: false,
                pace_next: now,
                last_sent: now,
                usage: WindowUsage::new(snd_una),
                validation: None,
                probe: false,
                silly_window_override: false,
                rate: DeliveryRate::new(now),
            },
            rcv: ReceiveHalf {
                nxt: rcv_nxt,
                adv: rcv_nxt + agreed.rcv_wnd,
                is_shut: false,
                wscale: agreed.rcv_wscale,
                out_of_order: Reassembly::new(OUT_OF_ORDER_ENTRIES_MAX),
                fin_at: None,
                fin: false,
                last_at: now,
                full_segment: SMALLEST_FULL_SEGMENT,
                rtt: ReceiveRtt::new(now, rcv_nxt + agreed.rcv_wnd, agreed.rtt),
            },
            acks: AckState::new(rcv_nxt),
            stamps: agreed.timestamps.map(|t| Stamps { offset: t.offset, recent: t.recent, recent_at: now }),
            sack: agreed.sack,
            ecn: agreed.ecn.then(|| EcnState::new(agreed.iss)),
            rtt: RttEstimator::new(),
            recovery: Recovery::new(snd_una),
            cc,
            passive_close: false,
            keepalive_probes: 0,
            window_probes: 0,
            window_probed_at: now,
            user_timeout: None,
            keepalive: None,
            is_unreachable: false,
            totals: FlowTotals::default(),
        };
        flow.end_handshake(now, agreed.rtt);
        flow
    }

    /// The RFC's name for where the flow is.
    pub fn state(&self) -> State {
        match (self.snd.fin, self.rcv.fin, self.passive_close) {
            (OwnFin::None | OwnFin::Queued, false, _) => State::Established,
            (OwnFin::None | OwnFin::Queued, true, _) => State::CloseWait,
            (OwnFin::Sent, false, _) => State::FinWait1,
            (OwnFin::Acked, false, _) => State::FinWait2,
            (OwnFin::Sent, true, false) => State::Closing,
            (OwnFin::Sent, true, true) => State::LastAck,
            (OwnFin::Acked, true, false) => State::TimeWait,
            (OwnFin::Acked, true, true) => State::Closed,
        }
    }

    /// Initial send sequence number.
    pub fn iss(&self) -> SeqNum {
        self.iss
    }

    /// Initial receive sequence number.
    pub fn irs(&self) -> SeqNum {
        self.irs
    }

    /// Where the next queued octet goes, relative.
    pub fn queue_end(&self) -> Ssn {
        (self.snd.board.snd_nxt() + self.snd.queued_bytes).relative_to(self.iss)
    }

    /// Everything below was acknowledged, relative.
    pub fn snd_una(&self) -> Ssn {
        self.snd.board.snd_una().relative_to(self.iss)
    }

    /// The next octet expected, relative.
    pub fn rcv_nxt(&self) -> Ssn {
        self.rcv.nxt.relative_to(self.irs)
    }

    /// The next octet expected, as on the wire.
    pub fn rcv_seq(&self) -> SeqNum {
        self.rcv.nxt
    }

    /// Nothing is queued, and nothing sent waits for its acknowledgement.
    pub fn is_idle(&self) -> bool {
        self.snd.queue.is_empty() && self.snd.board.is_empty()
    }

    /// Octets queued and not sent.
    pub fn queued_bytes(&self) -> u32 {
        self.snd.queued_bytes
    }

    /// Octets on the way.
    pub fn in_flight(&self) -> u32 {
        self.snd.board.in_flight()
    }

    /// Octets sent and not acknowledged cumulatively, lost and selectively acknowledged ones included.
    pub fn unacked(&self) -> u32 {
        self.snd.board.snd_nxt().saturating_since(self.snd.board.snd_una())
    }

    /// What was sent and not acknowledged, in order, with its tags: (relative number, length, tag).
    pub fn outstanding(&self) -> impl Iterator<Item = (Ssn, u32, &S)> {
        self.snd.board.iter().map(|sent| (sent.seq.relative_to(self.iss), sent.bytes.len() as u32, &sent.tag))
    }

    /// What is queued and not sent, with its tags: (relative number, length, tag).
    pub fn queued(&self) -> impl Iterator<Item = (Ssn, u32, &S)> {
        let start = self.snd.board.snd_nxt().relative_to(self.iss);
        self.snd.queue.iter().scan(start, |at, (bytes, tag)| {
            let here = *at;
            *at += bytes.len() as u32;
            Some((here, bytes.len() as u32, tag))
        })
    }

    /// Round-trip statistics.
    pub fn rtt(&self) -> &RttEstimator {
        &self.rtt
    }

    /// The round trip as the receiver sees it: from an acknowledgement to the data that it let go. `None` before data
    /// came.
    pub fn receive_rtt(&self) -> Option<Duration> {
        self.rcv.rtt.smoothed()
    }

    /// The congestion controller.
    pub fn congestion(&self) -> &dyn CongestionControl {
        &*self.cc
    }

    /// The congestion controller wants to know of the other subflows of the connection.
    pub fn is_coupled(&self) -> bool {
        self.cc.is_coupled()
    }

    /// What the controllers of the connection's other subflows may know of this one; `None` before the first round
    /// trip. While it recovers from a loss, its window is what it will have after that.
    pub fn as_sibling(&self) -> Option<Sibling> {
        let cwnd = match self.recovery.episode {
            Episode::Fast { .. } if !self.cc.steers_recovery() => self.cc.ssthresh(),
            Episode::Fast { .. } | Episode::Open | Episode::Loss { .. } => self.cc.cwnd(),
        };
        let srtt = self.rtt.srtt()?;
        Some(Sibling { cwnd, srtt, loss_interval_bytes: self.cc.loss_interval_bytes() })
    }

    /// What the flow did so far.
    pub fn totals(&self) -> FlowTotals {
        self.totals
    }

    /// Payload octets per second that the peer confirmed lately; 0 before the first sample.
    pub fn delivery_rate(&self) -> u64 {
        self.snd.rate.latest()
    }

    /// Payload octets of a full segment, when each carries `reserved` octets of the extension.
    pub fn payload_mss(&self, reserved: usize) -> u16 {
        let stamps = if self.stamps.is_some() { 12 } else { 0 };
        self.snd.mss.saturating_sub(stamps + reserved as u16).max(1)
    }

    /// Memory that out-of-order payload pins, in octets.
    pub fn out_of_order_bytes(&self) -> usize {
        self.rcv.out_of_order.buffer_bytes()
    }

    /// Gives up the out-of-order data that is needed last; false when there is none. The peer still has
    /// it: what was only SACKed may be needed again (RFC 2018 §8).
    pub fn drop_out_of_order_tail(&mut self) -> bool {
        self.rcv.out_of_order.drop_tail().is_some()
    }

    /// The path does not answer: a tail loss probe or a retransmission timeout found no
    /// acknowledgement since, or the flow's data was not acknowledged for long.
    pub fn is_suspect(&self) -> bool {
        self.recovery.is_suspect()
    }

    /// Retransmission timeouts in a row without an acknowledgement of something new.
    pub fn timeouts_in_a_row(&self) -> u8 {
        self.recovery.timeouts
    }

    /// The peer's FIN was received and everything before it.
    pub fn peer_closed(&self) -> bool {
        self.rcv.fin
    }

    /// Our FIN was asked for.
    pub fn is_closing(&self) -> bool {
        self.snd.fin != OwnFin::None
    }

    /// Tells whose window limits the flow.
    pub fn set_window_is_shared(&mut self, shared: bool) {
        self.snd.window_is_shared = shared;
    }

    /// The peer's window as it last announced it, in octets.
    pub fn snd_wnd(&self) -> u32 {
        self.snd.wnd
    }

    /// Octets that a packet of the path has beside the smallest headers.
    pub fn mss(&self) -> u16 {
        self.snd.mss
    }

    /// Appends a run of payload. The caller asked [`room`](Self::room) before.
    pub fn queue(&mut self, bytes: Bytes, tag: S) {
        debug_assert!(self.snd.fin == OwnFin::None, "queued behind FIN");
        self.snd.queued_bytes += bytes.len() as u32;
        self.snd.queue.push_back((bytes, tag));
    }

    /// Closes our direction after what is queued (FIN).
    pub fn close(&mut self) {
        if self.snd.fin == OwnFin::None {
            self.snd.fin = OwnFin::Queued;
        }
    }

    /// How long data may go unacknowledged, or a window stay shut, before the flow is given up (RFC 9293 §3.9.1.8;
    /// `TCP_USER_TIMEOUT`); `None` leaves that to the number of retransmissions.
    pub fn set_user_timeout(&mut self, limit: Option<Duration>) {
        self.user_timeout = limit;
    }

    /// The flow was made before its handshake was over: nothing is known of its round trip yet (RFC 6298 §2.1).
    pub fn await_handshake(&mut self) {
        self.rtt = RttEstimator::new();
    }

    /// The handshake is over, with its round trip, where that is known.
    pub fn end_handshake(&mut self, now: Instant, rtt: Option<Duration>) {
        match rtt {
            Some(sample) => self.rtt.on_sample(sample, now),
            None => self.rtt.on_unmeasured_handshake(),
        }
    }

    /// When the flow is probed while it is idle; `None`: never.
    pub fn set_keepalive(&mut self, keepalive: Option<Keepalive>) {
        self.keepalive = keepalive;
    }

    /// A router reports the segment that begins at `seq` as undeliverable. That is remembered while nothing is
    /// acknowledged, and false for what is not on the way (RFC 5927 §4.1).
    pub fn handle_unreachable(&mut self, seq: SeqNum) -> bool {
        let is_on_way = seq.within(self.snd.board.snd_una(), self.unacked());
        self.is_unreachable |= is_on_way;
        is_on_way
    }

    /// Routers report what is on the way as undeliverable, and nothing was acknowledged since.
    pub fn is_unreachable(&self) -> bool {
        self.is_unreachable
    }

    /// Has an acknowledgement leave at once.
    pub fn ack_now(&mut self) {
        self.acks.at_once();
    }

    /// Has a window probe leave at once: an empty segment below the peer's window, which has to be
    /// answered with its acknowledgement and window (RFC 9293 §3.10.7.4, first check).
    pub fn probe_now(&mut self) {
        self.snd.probe = true;
    }

    /// The reset that ends this flow from our side.
    pub fn reset<X>(&self, env: &mut Env<'_>, ext: &mut X) -> Outgoing
    where
        X: Extension<Sent = S, Held = H>,
    {
        let mut out =
            Outgoing::bare(self.snd.board.snd_nxt(), self.rcv.nxt, TcpFlags::RST | TcpFlags::ACK, 0);
        for option in ext.options(env, super::extension::Carrier::Reset, out.options.remaining()).iter() {
            // The extension kept to the room that it was told.
            let _ = out.options.push(polytcp_wire::tcp_option::TcpOption::Mptcp(*option));
        }
        out
    }

    /// Processes a segment of the flow (RFC 9293 §3.10.7.4). `None`: the flow goes on.
    pub fn handle_segment<X>(&mut self, env: &mut Env<'_>, segment: Segment, ext: &mut X) -> Option<End>
    where
        X: Extension<Sent = S, Held = H>,
    {
        let now = env.now;
        // RFC 7323 §5.3 R1: PAWS comes before everything, but a reset is not held back by it.
        if self.fails_paws(now, &segment) && !segment.is_rst() {
            env.counters.paws_estab += 1;
            let limit = env.config.invalid_ratelimit;
            let answered = self.acks.on_unacceptable(now, !segment.payload.is_empty(), limit);
            env.counters.tcp_ack_skipped_paws += u64::from(!answered);
            return None;
        }
        if !self.is_acceptable(&segment) {
            if segment.is_rst() {
                return None;
            }
            if segment.is_syn() {
                env.counters.tcp_syn_challenge += 1;
            }
            self.report_duplicate(env, &segment);
            let edge = self.rcv.adv.max(self.rcv.nxt);
            env.counters.beyond_window += u64::from(!segment.is_syn() && segment.end().after(edge));
            // A repeated SYN/ACK lacks our third ACK: it is answered at once.
            let handshake = segment.is_syn() && segment.seq == self.irs;
            let has_data = handshake || !segment.payload.is_empty() || segment.is_fin();
            let answered = self.acks.on_unacceptable(now, has_data, env.config.invalid_ratelimit);
            env.counters.tcp_ack_skipped_seq += u64::from(!answered);
            return None;
        }
        if segment.is_rst() {
            // RFC 5961 §3.2: only at exactly RCV.NXT; elsewhere in the window it may be forged.
            if segment.seq == self.rcv.nxt {
                return Some(End::PeerReset);
            }
            self.challenge(env);
            return None;
        }
        if segment.is_syn() {
            // RFC 5961 §4.2.
            env.counters.tcp_syn_challenge += 1;
            self.challenge(env);
            return None;
        }
        if !segment.is_ack() {
            return None;
        }
        let held = match self.handle_ack(env, &segment, ext) {
            Ok(Some(held)) => held,
            Ok(None) => return None,
            Err(abort) => return Some(End::Violation(abort)),
        };
        // Only now is it the peer's: a forged segment must not move the clock of PAWS.
        self.rcv.last_at = now;
        self.keepalive_probes = 0;
        self.window_probes = 0;
        self.note_timestamp(now, &segment);
        self.take_mark(&segment);
        self.measure_receive_rtt(now, &segment);
        if let Err(abort) = self.handle_payload(env, segment, held, ext) {
            return Some(End::Violation(abort));
        }
        self.end_of_life()
    }

    /// Answers what may be forged by an acknowledgement, which tells a real peer where the flow is (RFC 5961 §7).
    pub(super) fn challenge(&mut self, env: &mut Env<'_>) {
        match self.acks.on_unacceptable(env.now, false, env.config.invalid_ratelimit) {
            true => env.counters.tcp_challenge_ack += 1,
            false => env.counters.tcp_ack_skipped_challenge += 1,
        }
    }

    /// What is remembered of the flow in TIME-WAIT.
    pub fn time_wait(&self, expires_at: Instant) -> TimeWait {
        TimeWait {
            snd_nxt: self.snd.board.snd_nxt(),
            rcv_nxt: self.rcv.nxt,
            timestamps: self.stamps.map(|s| AgreedTimestamps { offset: s.offset, recent: s.recent }),
            expires_at,
            answer_allowed_at: Instant::ZERO,
        }
    }

    /// TIME-WAIT or CLOSED, once both directions are done.
    fn end_of_life(&self) -> Option<End> {
        match self.state() {
            State::TimeWait => Some(End::TimeWait),
            State::Closed => Some(End::Closed),
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => None,
        }
    }

    /// RFC 7323 §5.3 R1.
    fn fails_paws(&self, now: Instant, segment: &Segment) -> bool {
        let (Some(stamps), Some(ts)) = (self.stamps, segment.options.timestamps) else { return false };
        SeqNum(ts.val).before(SeqNum(stamps.recent)) && now.since(stamps.recent_at) < PAWS_IDLE
    }

    /// RFC 7323 §4.3 (2). That TS.Recent does not go back is PAWS's doing, which the segment has passed; after 24 idle
    /// days it may (§5.5), as in Linux.
    fn note_timestamp(&mut self, now: Instant, segment: &Segment) {
        let last_ack_sent = self.acks.last_ack_sent;
        if let (Some(stamps), Some(ts)) = (self.stamps.as_mut(), segment.options.timestamps)
            && !segment.seq.after(last_ack_sent)
        {
            stamps.recent = ts.val;
            stamps.recent_at = now;
        }
    }

    /// The octets of our timestamp clock at `now`.
    pub(super) fn timestamp(&self, now: Instant) -> Option<polytcp_wire::tcp_option::Timestamps> {
        self.stamps.map(|s| polytcp_wire::tcp_option::Timestamps {
            val: super::opening::timestamp_at(now, s.offset),
            ecr: s.recent,
        })
    }
}
