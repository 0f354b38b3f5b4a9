//! What a link is made of, as a plain struct that may be replaced while packets are on the link.

use core::num::NonZeroU64;

use polytcp_proto::time::Duration;

use crate::chance::GilbertElliott;
use crate::codel::CodelConfig;
use crate::ratio::Ratio;

/// Whether packets may overtake one another by their jitter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// One that would overtake is held until its predecessor arrives.
    #[default]
    Kept,
    /// Each arrives after its own delay, whatever was sent before it.
    Free,
}

/// Which packets a queue drops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QueueDiscipline {
    /// Those that come while it is full.
    #[default]
    TailDrop,
    /// Those too, and some from its head while packets wait too long (RFC 8289).
    Codel(CodelConfig),
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
    /// Most that is added to `delay`, evenly distributed from zero. Default zero.
    pub jitter: Duration,
    /// Whether jitter changes the order of packets. Default [`Order::Kept`].
    pub order: Order,
    /// Share of packets that vanish, each independently of the others, before they are queued (as
    /// Linux's netem does). Default none.
    pub loss: Ratio,
    /// Loss in bursts, beside `loss`. Default `None`.
    pub burst_loss: Option<GilbertElliott>,
    /// Share of packets that are queued twice, one behind the other. Default none.
    pub duplicate: Ratio,
    /// Share of packets that arrive with one bit flipped; see [`Link::pop`](crate::Link::pop). Default
    /// none.
    pub corrupt: Ratio,
    /// Which packets the queue drops. Default [`QueueDiscipline::TailDrop`].
    pub discipline: QueueDiscipline,
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
            order: Order::Kept,
            loss: Ratio::ZERO,
            burst_loss: None,
            duplicate: Ratio::ZERO,
            corrupt: Ratio::ZERO,
            discipline: QueueDiscipline::TailDrop,
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
