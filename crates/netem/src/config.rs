//! What a link is made of, as a plain struct that may be replaced while packets are on the link.

use core::num::NonZeroU64;

use polytcp_proto::time::Duration;

/// A share of all packets, from none to all, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ratio {
    parts_per_million: u32,
}

impl Ratio {
    /// None.
    pub const ZERO: Self = Self::from_ppm(0);
    /// All.
    pub const ONE: Self = Self::from_ppm(Self::PARTS);
    const PARTS: u32 = 1_000_000;

    /// `parts_per_million` of a million; more than a million means all.
    pub const fn from_ppm(parts_per_million: u32) -> Self {
        let parts_per_million = if parts_per_million > Self::PARTS { Self::PARTS } else { parts_per_million };
        Self { parts_per_million }
    }

    /// `percent` of a hundred; more than a hundred means all.
    pub const fn from_percent(percent: u32) -> Self {
        Self::from_ppm(percent.saturating_mul(Self::PARTS / 100))
    }

    /// Millionths, from 0 to 1,000,000.
    pub const fn parts_per_million(self) -> u32 {
        self.parts_per_million
    }
}

/// One direction of a link.
///
/// The default is a perfect one: no limit of rate, no delay, no loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkConfig {
    /// Bits of packets (from the IP header on) that leave the queue per second. Default `None`: at once.
    pub rate_bits_per_sec: Option<NonZeroU64>,
    /// Time from the last bit's departure to the packet's arrival, one way. Default zero.
    pub delay: Duration,
    /// Most that is added to `delay`, evenly distributed from zero. Packets never overtake one another:
    /// one that would is held until its predecessor arrives. Default zero.
    pub jitter: Duration,
    /// Share of packets that vanish, each independently of the others, before they are queued (as
    /// Linux's netem does). Default none.
    pub loss: Ratio,
    /// Octets that may wait for departure, the packet that is departing included; a packet beyond is
    /// dropped (tail drop), except that an empty queue takes any one packet.
    ///
    /// Default `None`: [`derived_queue_bytes`](Self::derived_queue_bytes).
    pub queue_bytes: Option<u64>,
    /// Packets on the whole link, waiting or travelling; a packet beyond is dropped like one beyond
    /// `queue_bytes`. It bounds memory where rate or delay do not.
    ///
    /// Default 500,000: 10 Gbit/s of 1,500-octet packets for 600 ms.
    pub packets_max: u32,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            rate_bits_per_sec: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: Ratio::ZERO,
            queue_bytes: None,
            packets_max: 500_000,
        }
    }
}

impl LinkConfig {
    /// A link of `rate_bits_per_sec` (0 means no limit) and one-way `delay`, otherwise the default.
    pub fn new(rate_bits_per_sec: u64, delay: Duration) -> Self {
        Self { rate_bits_per_sec: NonZeroU64::new(rate_bits_per_sec), delay, ..Self::default() }
    }

    /// Octets of queue that follow from rate and delay: what the rate carries in twice the delay, and
    /// at least 96,000.
    ///
    /// Twice the one-way delay is the round trip of a symmetric link, and a queue of one
    /// bandwidth-delay product keeps a single Reno-like flow at full rate through a halving of its
    /// window. 96,000 are 64 packets of 1,500: a 64 KiB super-packet, cut, passes an idle slow link.
    pub fn derived_queue_bytes(&self) -> u64 {
        let Some(rate) = self.rate_bits_per_sec else { return QUEUE_BYTES_MIN };
        let round_trip_nanos = self.delay.as_nanos().saturating_mul(2);
        let bytes = u128::from(rate.get()).saturating_mul(round_trip_nanos) / (8 * 1_000_000_000);
        u64::try_from(bytes).unwrap_or(u64::MAX).max(QUEUE_BYTES_MIN)
    }

    /// The queue's limit in octets: as given, else derived.
    pub fn queue_limit_bytes(&self) -> u64 {
        self.queue_bytes.unwrap_or_else(|| self.derived_queue_bytes())
    }
}

const QUEUE_BYTES_MIN: u64 = 96_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_never_exceeds_all() {
        assert_eq!(Ratio::from_percent(1).parts_per_million(), 10_000);
        assert_eq!(Ratio::from_percent(300), Ratio::ONE);
        assert_eq!(Ratio::from_ppm(u32::MAX), Ratio::ONE);
    }

    #[test]
    fn the_derived_queue_holds_one_round_trip_or_one_burst() {
        let fast = LinkConfig::new(100_000_000, Duration::from_millis(20));
        assert_eq!(fast.queue_limit_bytes(), 500_000);
        let slow = LinkConfig::new(1_000_000, Duration::from_millis(1));
        assert_eq!(slow.queue_limit_bytes(), 96_000);
        let given = LinkConfig { queue_bytes: Some(3_000), ..fast };
        assert_eq!(given.queue_limit_bytes(), 3_000);
        let huge = LinkConfig::new(u64::MAX, Duration::MAX);
        assert_eq!(huge.queue_limit_bytes(), u64::MAX);
    }
}
