//! What `TCP_INFO` tells of a flow.

use super::cc::BbrInfo;
use super::flow::{Flow, State};
use super::recovery::Episode;
use crate::time::{Duration, Instant};

/// `tcpi_ca_state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaState {
    /// `TCP_CA_Open`.
    Open,
    /// `TCP_CA_Recovery`: segments were lost and are sent again.
    Recovery,
    /// `TCP_CA_Loss`: a timeout.
    Loss,
}

/// One flow at one moment, as Linux's `struct tcp_info` names it. Sizes are octets of payload unless they are told in segments.
#[derive(Clone, Debug)]
pub struct TcpInfo {
    /// The connection's state.
    pub state: State,
    /// What the congestion control is doing.
    pub ca_state: CaState,
    /// Timeouts in a row without progress.
    pub retransmits: u8,
    /// Window and keepalive probes without an answer.
    pub probes: u8,
    /// How often the retransmission timeout was doubled.
    pub backoff: u8,
    /// Timestamps were agreed (`TCPI_OPT_TIMESTAMPS`).
    pub timestamps: bool,
    /// SACK was agreed (`TCPI_OPT_SACK`).
    pub sack: bool,
    /// ECN was agreed (`TCPI_OPT_ECN`).
    pub ecn: bool,
    /// Data on the SYN was taken, by the peer or by us (`TCPI_OPT_SYN_DATA`).
    pub syn_data: bool,
    /// The flow was made by its SYN (`TCPI_OPT_TFO_CHILD`, RFC 7413).
    pub fast_open_child: bool,
    /// Shift of the window that the peer announces, and of ours; 0 for both where they were not agreed.
    pub wscale: (u8, u8),
    /// The retransmission timeout.
    pub rto: Duration,
    /// Payload per segment that is sent.
    pub snd_mss: u16,
    /// The largest payload that came in one segment; 0 before data came.
    pub rcv_mss: u32,
    /// The most that the peer's and our MSS allow.
    pub advmss: u16,
    /// Octets that are not acknowledged; of them what was acknowledged selectively, is lost, and is on its way again.
    pub unacked_bytes: u32,
    /// See [`unacked_bytes`](Self::unacked_bytes).
    pub sacked_bytes: u32,
    /// See [`unacked_bytes`](Self::unacked_bytes).
    pub lost_bytes: u32,
    /// See [`unacked_bytes`](Self::unacked_bytes).
    pub retrans_bytes: u32,
    /// How long ago data was sent last, came last, and was acknowledged last.
    pub last_data_sent: Duration,
    /// See [`last_data_sent`](Self::last_data_sent).
    pub last_data_recv: Duration,
    /// See [`last_data_sent`](Self::last_data_sent).
    pub last_ack_recv: Duration,
    /// The smoothed round trip and how it varies; `None` before the first one was measured.
    pub rtt: Option<(Duration, Duration)>,
    /// The shortest round trip of the last while.
    pub min_rtt: Option<Duration>,
    /// The round trip as the receiver sees it.
    pub rcv_rtt: Option<Duration>,
    /// The slow start threshold; `u32::MAX` before the first loss.
    pub ssthresh_bytes: u32,
    /// The congestion window.
    pub cwnd_bytes: u32,
    /// Segments sent again so far.
    pub total_retrans: u64,
    /// Octets per second; `None` where nothing is paced.
    pub pacing_rate: Option<u64>,
    /// Octets acknowledged so far.
    pub bytes_acked: u64,
    /// Octets received in order so far; the peer's FIN counts as one, as in Linux.
    pub bytes_received: u64,
    /// Octets sent so far, those sent again included.
    pub bytes_sent: u64,
    /// Octets sent again so far.
    pub bytes_retrans: u64,
    /// Octets that wait to be sent.
    pub notsent_bytes: u32,
    /// Octets per second that were delivered last.
    pub delivery_rate: u64,
    /// The window that the peer announced last.
    pub snd_wnd: u32,
    /// The window that is announced to it.
    pub rcv_wnd: u32,
    /// What `bbr` knows of the path, where it is the congestion control.
    pub bbr: Option<BbrInfo>,
}

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// Tells about the flow. `reserved_option_bytes` are those that each segment has beside its own.
    pub fn info(&self, now: Instant, reserved_option_bytes: usize) -> TcpInfo {
        let snd_mss = self.payload_mss(reserved_option_bytes);
        let board = &self.snd.board;
        TcpInfo {
            state: self.state(),
            ca_state: match &self.recovery.episode {
                Episode::Open => CaState::Open,
                Episode::Fast { .. } => CaState::Recovery,
                Episode::Loss { .. } => CaState::Loss,
            },
            retransmits: self.recovery.timeouts,
            probes: self.window_probes.max(self.keepalive_probes),
            backoff: self.rtt.backoff(),
            timestamps: self.stamps.is_some(),
            sack: self.sack,
            ecn: self.ecn.is_some(),
            syn_data: false,
            fast_open_child: false,
            wscale: (self.snd.wscale, self.rcv.wscale),
            rto: self.rtt.rto(),
            snd_mss,
            rcv_mss: self.rcv.full_segment,
            advmss: self.snd.mss,
            unacked_bytes: self.unacked(),
            sacked_bytes: board.sacked_bytes(),
            lost_bytes: board.lost_bytes(),
            retrans_bytes: board.retransmitted_bytes(),
            last_data_sent: now.since(self.snd.last_sent),
            last_data_recv: now.since(self.rcv.last_at),
            last_ack_recv: now.since(self.snd.acked_at),
            rtt: self.rtt.srtt().map(|srtt| (srtt, self.rtt.rttvar().unwrap_or_default())),
            min_rtt: self.rtt.min_rtt(),
            rcv_rtt: self.rcv.rtt.smoothed(),
            ssthresh_bytes: self.cc.ssthresh(),
            cwnd_bytes: self.cc.cwnd(),
            total_retrans: self.totals.retransmissions,
            pacing_rate: self.cc.pacing_rate(),
            bytes_acked: self.totals.bytes_sent
                - self.totals.bytes_retransmitted
                - u64::from(board.payload_bytes() as u32)
                    .min(self.totals.bytes_sent - self.totals.bytes_retransmitted),
            bytes_received: self.totals.bytes_received + u64::from(self.rcv.fin),
            bytes_sent: self.totals.bytes_sent,
            bytes_retrans: self.totals.bytes_retransmitted,
            notsent_bytes: self.snd.queued_bytes,
            delivery_rate: self.snd.rate.latest(),
            snd_wnd: self.snd.wnd,
            rcv_wnd: self.rcv.adv.saturating_since(self.rcv.nxt),
            bbr: self.cc.bbr_info(),
        }
    }
}
