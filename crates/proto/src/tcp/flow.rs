//! One TCP flow in the synchronized states, from ESTABLISHED to its end (RFC 9293 §3.10.7.4).
//!
//! A [`Flow`] owns the sequence spaces, the retransmission queue, loss recovery and congestion control of
//! one four-tuple. It leaves addresses and checksums to the host, and the meaning of the payload to an
//! [`Extension`](super::extension::Extension). Its state names (FIN-WAIT-1 …) follow from two facts it keeps: how far our own FIN
//! is, and whether the peer's was received.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;

use super::ack::AckState;
use super::cc::{self, CongestionControl};
use super::ecn::EcnState;
use super::extension::Abort;
use super::opening::Agreed;
use super::path_mtu::PathMtu;
use super::rate::DeliveryRate;
use super::recovery::Recovery;
use super::recovery::scoreboard::Scoreboard;
use super::recv_rtt::ReceiveRtt;
use super::rtt::RttEstimator;
use super::usage::WindowUsage;
use super::window_validation::Validation;
use crate::config::{Keepalive, TcpConfig};
use crate::counters::Counters;
use crate::reassembly::Reassembly;
use crate::seq::SeqNum;
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
    /// Segments that a packet has at least where the device cuts, however slow the flow is paced.
    pub min_tso_segs: u32,
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
    pub(super) min_tso_segs: u32,
    /// The window belongs to the layer above, which never queues beyond it (RFC 8684 §3.3.4); this is the flow's view.
    pub(super) window_is_shared: bool,
    pub(super) pace_next: Instant,
    pub(super) last_sent: Instant,
    /// When the peer acknowledged something new last, or the handshake.
    pub(super) acked_at: Instant,
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

/// One flow. `S` travels with what is sent, `H` with what is received; see [`Extension`](super::extension::Extension).
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
    pub(super) keepalive: Option<Box<Keepalive>>,
    /// A router said of what is on the way that the peer cannot be reached (Linux's `sk_err_soft`).
    pub(super) is_unreachable: bool,
    pub(super) totals: FlowTotals,
}

/// RFC 6928 §2: ten segments, but one when more than one SYN or SYN/ACK seems to be lost.
fn initial_window_segments(syns_sent: u8) -> u32 {
    if syns_sent > 2 { 1 } else { 10 }
}

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
                min_tso_segs: params.min_tso_segs.max(1),
                window_is_shared: false,
                pace_next: now,
                last_sent: now,
                acked_at: now,
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
}

#[cfg(test)]
mod tests {
    use crate::mptcp::subflow::SubflowFlow;
    use crate::tcp::cc::cubic::Cubic;

    /// Tens of thousands of them may be idle: what is seldom needed is boxed when it is first used.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_flow_is_small() {
        assert!(size_of::<SubflowFlow>() <= 864, "{}", size_of::<SubflowFlow>());
        assert!(size_of::<Cubic>() <= 152, "{}", size_of::<Cubic>());
    }
}
