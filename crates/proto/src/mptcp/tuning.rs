//! Buffers that follow their connection, where the user did not set them: small at first, and as large as what is
//! under way needs. They never shrink, since what was promised is not taken back.
//!
//! The receive buffer follows what the application reads in a round trip (dynamic right-sizing, Linux's
//! `mptcp_rcv_space_adjust`), the send buffer the congestion windows (Linux's `mptcp_propagate_sndbuf` and
//! `tcp_sndbuf_expand`). Both count all subflows over the longest of their round trips: RFC 8684 §3.3.5 asks for that,
//! since data of the fast ones waits for the slowest. Linux's send buffer adds up the windows as they are.

use core::num::NonZeroU16;

use super::connection::{Connection, Ctx};
use super::hook::{DSS_BYTES_MAX, Mode};
use super::send_buffer::BLOCK_OVERHEAD_BYTES;
use super::subflow::{Subflow, SubflowFlow};
use crate::config::TcpConfig;
use crate::host::socket::BufferLimits;
use crate::tcp::opening::Agreed;
use crate::time::{Duration, Instant, nanos};

/// The initial window in segments (RFC 6928), as Linux's `TCP_INIT_CWND`.
const INITIAL_SEGMENTS: u64 = 10;
/// Windows that a send buffer holds: one on its way, and one that follows while its acknowledgements come in.
const WINDOWS: u64 = 2;

/// How long an estimate of the round trip is believed before it is asked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What the buffers of one connection may become, and what they follow.
#[derive(Debug)]
pub(super) struct Tuning {
    send_max: usize,
    recv_max: u32,
    segment: Option<NonZeroU16>,
    reading: ReadRate,
}

impl Tuning {
    pub(super) fn new(config: &TcpConfig) -> Self {
        Self {
            send_max: config.send_buffer_max_bytes() as usize,
            recv_max: config.recv_buffer_max_bytes(),
            segment: None,
            reading: ReadRate::default(),
        }
    }

    fn set(&mut self, limits: BufferLimits) {
        if let Some(send) = limits.send {
            self.send_max = send.get() as usize;
        }
        if let Some(recv) = limits.recv {
            self.recv_max = recv.get();
        }
        self.segment = limits.segment;
    }

    /// Octets that the send buffer may grow to.
    pub(super) fn send_max_bytes(&self) -> usize {
        self.send_max
    }
}

/// How much the application reads in a round trip.
#[derive(Debug)]
struct ReadRate {
    /// Octets read since then.
    bytes: u64,
    since: Instant,
    /// Before that it need not be looked at again. No round trip ahead: the estimate may fall meanwhile.
    until: Instant,
    /// The most that was read in one round trip.
    most: u64,
}

impl Default for ReadRate {
    fn default() -> Self {
        Self { bytes: 0, since: Instant::ZERO, until: Instant::ZERO, most: 0 }
    }
}

impl ReadRate {
    /// `bytes` were read. Returns the window that the peer needs, once a round trip in which more was read than ever
    /// before is over.
    fn on_read(
        &mut self,
        now: Instant,
        bytes: usize,
        mss: u64,
        rtt: impl FnOnce() -> Option<Duration>,
    ) -> Option<u64> {
        self.bytes += bytes as u64;
        if now < self.until {
            return None;
        }
        let over = self.since + rtt()?;
        if now < over {
            self.until = over.min(now + LOOK_AGAIN);
            return None;
        }
        let most = self.most.max(INITIAL_SEGMENTS * mss).max(1);
        let read = core::mem::take(&mut self.bytes);
        self.since = now;
        if read <= most {
            return None;
        }
        self.most = read;
        // Twice what was read, since that is a round trip late; and twice by how much it grew, since a sender in slow
        // start goes on to double (Linux's `tcp_rcvbuf_grow`).
        let window = read.saturating_mul(2).saturating_add(16 * mss);
        let growth = u128::from(window) * u128::from(read - most) / u128::from(most);
        Some(window.saturating_add(u64::try_from(2 * growth).unwrap_or(u64::MAX)))
    }
}

impl Connection {
    /// Payload of a segment at most, of the subflows that are opened from now on.
    pub(crate) fn segment_limit(&self) -> Option<NonZeroU16> {
        self.tuning.segment
    }

    /// Fixes the sizes of its buffers.
    pub(crate) fn set_buffers(&mut self, limits: BufferLimits) {
        self.tuning.set(limits);
        if let Some(send) = limits.send {
            self.data.snd.buffer.set_limit(send.get() as usize);
        }
        if let Some(recv) = limits.recv {
            self.data.rcv.set_limit(recv.get());
        }
    }

    /// The application read `bytes`: the receive buffer grows if a sender could need more by now.
    pub(super) fn tune_recv_buffer(&mut self, ctx: &Ctx<'_>, bytes: usize) {
        let Self { tuning, data, subflows, .. } = self;
        if data.rcv.limit_bytes() >= tuning.recv_max {
            return;
        }
        let mss = subflows.iter().find_map(Subflow::flow).map_or(0, |f| f.payload_mss(DSS_BYTES_MAX));
        let rtt = || subflows.iter().filter_map(|s| s.flow()?.receive_rtt()).max();
        if let Some(window) = tuning.reading.on_read(ctx.now, bytes, u64::from(mss), rtt) {
            // The window is seven eighths of the buffer.
            let buffer = (window.saturating_add(6) / 7).saturating_mul(8);
            data.rcv.raise_limit(u32::try_from(buffer).unwrap_or(u32::MAX).min(tuning.recv_max));
        }
    }

    /// The handshake agreed: there is room for two initial windows, and for what `connect` brought.
    pub(super) fn open_send_buffer(&mut self, agreed: &Agreed, first_bytes: usize) {
        let windows = WINDOWS * INITIAL_SEGMENTS * u64::from(agreed.mss);
        self.raise_send_buffer(windows.max((first_bytes + BLOCK_OVERHEAD_BYTES) as u64));
    }

    /// Congestion windows may have grown: the send buffer follows while its writer is near its end.
    pub(super) fn tune_send_buffer(&mut self) {
        let buffer = &self.data.snd.buffer;
        if buffer.limit_bytes() >= self.tuning.send_max || buffer.room() > buffer.limit_bytes() / 2 {
            return;
        }
        // Plain TCP whose peer has closed its direction goes on to send.
        let is_plain = self.data.mode == Mode::Plain;
        let usable = || self.subflows.iter().filter(|s| is_plain || s.is_usable()).filter_map(Subflow::flow);
        let srtt = |flow: &SubflowFlow| flow.rtt().srtt().map_or(1, nanos).max(1);
        let longest = usable().map(srtt).max().unwrap_or(1);
        let in_longest = |flow: &SubflowFlow| {
            let bytes = u128::from(flow.congestion().cwnd()) * u128::from(longest) / u128::from(srtt(flow));
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        let windows = usable().map(in_longest).fold(0, u64::saturating_add);
        self.raise_send_buffer(windows.saturating_mul(WINDOWS));
    }

    /// Room for so many octets of payload, with what their blocks cost.
    fn raise_send_buffer(&mut self, bytes: u64) {
        let with_blocks = usize::try_from(bytes.saturating_add(bytes / 8)).unwrap_or(usize::MAX);
        self.data.snd.buffer.raise_limit(with_blocks.min(self.tuning.send_max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1_000;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn a_round_trip_that_brings_more_than_ever_asks_for_a_larger_window() {
        let mut rate = ReadRate::default();
        let rtt = || Some(Duration::from_millis(100));
        assert_eq!(rate.on_read(at(1000), 1, MSS, rtt), None, "the first starts the clock");
        for ms in (1010..1100).step_by(10) {
            assert_eq!(rate.on_read(at(ms), 2_000, MSS, rtt), None, "at {ms}");
        }
        // 20,000 in a round trip, twice the initial window.
        assert_eq!(rate.on_read(at(1100), 2_000, MSS, rtt), Some(56_000 + 2 * 56_000));
        assert_eq!(rate.on_read(at(1200), 20_000, MSS, rtt), None, "no more than before");
        assert_eq!(rate.on_read(at(1300), 25_000, MSS, rtt), Some(66_000 + 2 * 66_000 / 4));
    }

    #[test]
    fn nothing_is_judged_before_a_round_trip_is_known() {
        let mut rate = ReadRate::default();
        assert_eq!(rate.on_read(at(1000), 40_000, MSS, || None), None);
        assert!(rate.on_read(at(1001), 1, MSS, || Some(Duration::from_millis(1))).is_some());
    }

    /// Else a first sample over the time before the sender had something to say stands for as long.
    #[test]
    fn a_round_trip_that_becomes_short_counts_at_once() {
        let mut rate = ReadRate::default();
        assert_eq!(rate.on_read(at(1000), 1, MSS, || Some(Duration::from_millis(500))), None);
        assert_eq!(rate.on_read(at(1001), 40_000, MSS, || Some(Duration::from_millis(500))), None);
        assert!(rate.on_read(at(1002), 1, MSS, || Some(Duration::from_millis(2))).is_some());
    }

    #[test]
    fn a_number_beyond_all_measure_asks_for_no_more_than_there_is() {
        let mut rate = ReadRate::default();
        let rtt = || Some(Duration::from_millis(1));
        assert_eq!(rate.on_read(at(1000), 1 << 62, MSS, rtt), Some(u64::MAX));
    }
}
