//! The size that the path takes: ICMP's word, once it is plausible, and timeouts where a path drops large packets
//! without a word (RFC 1191, 8201, 4821; RFC 5927 §7.2 for what to believe).
//!
//! The MSS here is what a packet of the path leaves beside the smallest headers. What was sent in larger segments is
//! split and sent again; each part keeps its tag, so that a mapping which it names stays the same.

use alloc::boxed::Box;

use super::flow::{Env, Flow};
use super::mtu_probe::MtuSearch;
use super::recovery::scoreboard::Sent;
use crate::config::{MtuProbing, TcpConfig};
use crate::seq::SeqNum;
use crate::time::Instant;

/// Leaves 8 octets of payload beside full options, twice.
const MSS_MIN: u16 = 88;

/// What a flow knows of the largest packet of its path.
#[derive(Debug)]
pub(super) struct PathMtu {
    /// What handshake and interface allow.
    pub(super) mss_max: u16,
    /// Whether larger segments than the present ones are looked for.
    pub(super) search: Option<Box<MtuSearch>>,
    /// The largest segment that has arrived with the present MSS.
    acked: u16,
    /// When a smaller MSS, learnt from ICMP, is forgotten.
    expires_at: Option<Instant>,
    /// An ICMP error about a segment, of the size of which others have arrived.
    doubtful: Option<(SeqNum, u16)>,
}

/// What an ICMP error about a segment that is too big came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TooBig {
    /// It is about nothing that is on its way.
    NotInFlight,
    /// It cannot be true: nothing as large was sent.
    Implausible,
    /// Segments as large have arrived: it counts if the segment is not acknowledged by the next timeout.
    Delayed,
    /// From now on segments are smaller.
    Applied,
}

/// RFC 1191 §7.1: the sizes that paths have, for routers that name none; the largest below `mtu` octets.
pub fn plateau_below(mtu: u16) -> u32 {
    const PLATEAUS: [u16; 8] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508];
    PLATEAUS.into_iter().find(|plateau| *plateau < mtu).map_or(296, u32::from)
}

impl PathMtu {
    pub(super) fn new(mss_max: u16) -> Self {
        Self { mss_max, search: None, acked: 0, expires_at: None, doubtful: None }
    }

    /// A segment arrived that left when the MSS was `mss`.
    pub(super) fn on_delivered<S>(&mut self, sent: &Sent<S>, mss: u16) {
        self.acked = self.acked.max(u16::try_from(sent.bytes.len()).unwrap_or(u16::MAX).min(mss));
        if let Some(search) = &mut self.search {
            search.on_delivered(sent);
        }
    }
}

impl<S: Clone + core::fmt::Debug, H: Clone + core::fmt::Debug> Flow<S, H> {
    /// The interface's MTU changed, or is known to be less further on; `mss` is what it leaves beside the smallest
    /// headers.
    pub fn limit_mss(&mut self, mss: u16) {
        self.snd.path.mss_max = self.snd.path.mss_max.min(mss);
        self.limit_search(mss);
        if mss < self.snd.mss {
            self.set_mss(mss);
        }
    }

    /// The path takes only `mss` octets, as is known from another flow, until `expires_at`.
    pub fn learn_mss(&mut self, mss: u16, expires_at: Instant) {
        if mss < self.snd.mss {
            self.set_mss(mss);
            self.snd.path.expires_at = Some(expires_at);
        }
    }

    /// A router says that the segment with number `seq` was too big, and that `mss` octets would pass. What it says
    /// is forgotten after `mtu_expires`, since paths change.
    pub fn handle_too_big(&mut self, now: Instant, config: &TcpConfig, seq: SeqNum, mss: u16) -> TooBig {
        if !seq.within(self.snd.board.snd_una(), self.unacked()) {
            return TooBig::NotInFlight;
        }
        self.limit_search(mss);
        if mss >= self.snd.mss {
            return TooBig::Implausible;
        }
        if self.snd.path.acked > mss {
            self.snd.path.doubtful = Some((seq, mss));
            return TooBig::Delayed;
        }
        self.shrink(mss);
        self.snd.path.expires_at = Some(now + config.mtu_expires);
        TooBig::Applied
    }

    /// After a retransmission timeout: a doubtful error is confirmed by it, and the third in a row is a sign of its
    /// own (RFC 4821 §7.7; Linux's `tcp_mtu_probing`, with `tcp_retries1` for the number).
    pub(super) fn suspect_size(&mut self, env: &Env<'_>) {
        let config = env.config;
        if let Some((seq, mss)) = self.snd.path.doubtful.take()
            && !seq.before(self.snd.board.snd_una())
        {
            self.shrink(mss);
            self.snd.path.expires_at = Some(env.now + config.mtu_expires);
            return;
        }
        self.forget_mtu_probe();
        if config.mtu_probing == MtuProbing::Off || self.recovery.timeouts < config.retries1 {
            return;
        }
        let mss = self.snd.mss;
        let smaller = if mss > config.base_mss { config.base_mss } else { mss / 2 };
        let smaller = smaller.max(config.mtu_probe_floor).max(MSS_MIN);
        let is_large = self.snd.board.get(0).is_some_and(|sent| sent.bytes.len() > usize::from(smaller));
        if smaller < mss && is_large {
            self.shrink(smaller);
            self.snd.path.expires_at = None;
            self.search_from(env.now, smaller);
        }
    }

    fn limit_search(&mut self, mss: u16) {
        if let Some(search) = &mut self.snd.path.search {
            search.limit(mss);
        }
    }

    /// Tries the full size again when what ICMP told is old (RFC 1191 §6.3).
    pub(super) fn forget_old_mtu(&mut self, now: Instant) {
        if self.snd.path.expires_at.is_some_and(|at| at <= now) {
            self.snd.path.expires_at = None;
            let mss = self.snd.path.mss_max;
            self.set_mss(mss);
        }
    }

    /// What is on the way is sent again in smaller segments; that says nothing of congestion.
    fn shrink(&mut self, mss: u16) {
        self.set_mss(mss);
        self.snd.board.mark_all_lost();
    }

    /// Segments of `mss` octets from now on, as far as handshake and interface allow.
    pub(super) fn limit_to(&mut self, mss: u16) {
        self.set_mss(mss.min(self.snd.path.mss_max));
    }

    fn set_mss(&mut self, mss: u16) {
        self.snd.mss = mss;
        self.snd.path.acked = 0;
        self.snd.path.doubtful = None;
        self.cc.set_mss(u32::from(mss));
    }
}
