//! SYN cookies: a handshake kept in the peer's third ACK instead of in memory (RFC 4987 §3.6).
//!
//! The sequence number of the SYN/ACK carries a keyed hash of the four-tuple, the minute and one of four
//! MSS values; the timestamp carries window scale and SACK. Layout and tables are those of Linux. What
//! comes back is believed only if the hash is right and at most two minutes old. When cookies are sent,
//! and what MPTCP adds, is the host's business.

use core::fmt;
use core::net::SocketAddr;

use sha2::{Digest, Sha256};

use super::isn::fixed_octets;
use super::opening::{Agreed, AgreedTimestamps, Offer};
use super::segment::Segment;
use crate::config::Ecn;
use crate::rng::SecretSource;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// How long a cookie is taken: Linux's `MAX_SYNCOOKIE_AGE`, in minutes of its clock.
const AGE_MAX_MINUTES: u32 = 2;
/// How long after the last cookie a third ACK is looked at as one (`TCP_SYNCOOKIE_VALID`).
pub const VALID: Duration = Duration::from_secs(60 * AGE_MAX_MINUTES as u64);
/// Octets of the number that hide the MSS; the rest is the minute.
const DATA_BITS: u32 = 24;
const DATA_MASK: u32 = (1 << DATA_BITS) - 1;

/// The MSS that a cookie can tell (Linux's `msstab`): what most peers have, and the two ends.
const MSS_V4: [u16; 4] = [536, 1300, 1440, 1460];
const MSS_V6: [u16; 4] = [1280 - 60, 1480 - 60, 1500 - 60, 9000 - 60];

/// Bits of a timestamp that carry options: four of window scale, SACK, ECN.
const STAMP_BITS: u32 = 6;
const STAMP_SACK: u32 = 1 << 4;
const STAMP_ECN: u32 = 1 << 5;
/// A window scale that stands for none.
const STAMP_NO_SCALE: u32 = 0xf;

/// Makes and checks cookies. No `Debug` of the secret.
pub struct Cookies {
    secret: [u8; 32],
}

/// What a hash is for; no two uses may share values.
#[derive(Clone, Copy)]
enum Purpose {
    Base = 1,
    Minute = 2,
    Secret = 3,
    Slot = 4,
}

/// The two ends of a handshake.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Local address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

impl Cookies {
    /// With a secret drawn from `secrets`.
    pub fn new(secrets: &mut SecretSource) -> Self {
        let mut secret = [0; 32];
        secrets.fill_bytes(&mut secret);
        Self { secret }
    }

    /// The sequence number of the SYN/ACK for a SYN with number `irs` and MSS `mss`.
    pub fn encode(&self, ends: Ends, irs: SeqNum, mss: u16, now: Instant) -> SeqNum {
        let table = mss_table(ends);
        let index = table.iter().rposition(|known| mss >= *known).unwrap_or(0) as u32;
        let minute = minute(now);
        let hidden = self.hash(Purpose::Minute, ends, minute).wrapping_add(index) & DATA_MASK;
        let base = self.hash(Purpose::Base, ends, 0).wrapping_add(irs.0);
        SeqNum(base.wrapping_add(minute << DATA_BITS).wrapping_add(hidden))
    }

    /// The MSS in a cookie that answered a SYN with number `irs`; `None` when it is none, or too old.
    pub fn decode(&self, ends: Ends, irs: SeqNum, cookie: SeqNum, now: Instant) -> Option<u16> {
        let rest = cookie.0.wrapping_sub(self.hash(Purpose::Base, ends, 0).wrapping_add(irs.0));
        let age = minute(now).wrapping_sub(rest >> DATA_BITS) & (u32::MAX >> DATA_BITS);
        if age >= AGE_MAX_MINUTES {
            return None;
        }
        let made_at = minute(now).wrapping_sub(age);
        let index = rest.wrapping_sub(self.hash(Purpose::Minute, ends, made_at)) & DATA_MASK;
        mss_table(ends).get(index as usize).copied()
    }

    /// A secret number of the handshake with that cookie, never zero: the layer above has it again when
    /// the third ACK comes.
    pub fn secret_of(&self, ends: Ends, cookie: SeqNum) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.digest(Purpose::Secret, ends, cookie.0);
        u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
    }

    /// A number by which the join with a SYN numbered `irs` can be found again.
    pub fn slot(&self, ends: Ends, irs: SeqNum) -> u32 {
        self.hash(Purpose::Slot, ends, irs.0)
    }

    fn hash(&self, purpose: Purpose, ends: Ends, number: u32) -> u32 {
        let [a, b, c, d, ..] = self.digest(purpose, ends, number);
        u32::from_be_bytes([a, b, c, d])
    }

    /// A prefix as key is sound here: every input has the same length, and most of the digest is kept secret.
    fn digest(&self, purpose: Purpose, ends: Ends, number: u32) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.secret)
            .chain_update([purpose as u8])
            .chain_update(fixed_octets(ends.local.ip()))
            .chain_update(ends.local.port().to_be_bytes())
            .chain_update(fixed_octets(ends.remote.ip()))
            .chain_update(ends.remote.port().to_be_bytes())
            .chain_update(number.to_be_bytes())
            .finalize()
            .into()
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies")
    }
}

fn mss_table(ends: Ends) -> &'static [u16; 4] {
    if ends.remote.is_ipv6() { &MSS_V6 } else { &MSS_V4 }
}

fn minute(now: Instant) -> u32 {
    (now.as_millis() / 60_000) as u32
}

/// The latest clock value not after `clock` that tells these options.
pub fn stamp(clock: u32, window_scale: Option<u8>, sack: bool, ecn: bool) -> u32 {
    let scale = window_scale.map_or(STAMP_NO_SCALE, |shift| u32::from(shift.min(14)));
    let options = scale | if sack { STAMP_SACK } else { 0 } | if ecn { STAMP_ECN } else { 0 };
    let value = clock >> STAMP_BITS << STAMP_BITS | options;
    if value > clock { value.wrapping_sub(1 << STAMP_BITS) } else { value }
}

/// What the third ACK brings back of a handshake that nobody remembers: `mss` from its cookie, the rest
/// from the timestamp that it echoes. Without timestamps there is neither window scale nor SACK nor ECN.
pub fn agreed(offer: &Offer, third: &Segment, mss: u16) -> Agreed {
    let stamps = third.options.timestamps.filter(|_| offer.timestamps);
    let options = stamps.map(|stamps| stamps.ecr.wrapping_sub(offer.timestamp_offset));
    let scale = options.map_or(STAMP_NO_SCALE, |options| options & STAMP_NO_SCALE);
    let (snd_wscale, rcv_wscale) =
        if scale == STAMP_NO_SCALE { (0, 0) } else { (scale as u8, offer.window_scale) };
    Agreed {
        iss: third.ack + u32::MAX,
        irs: third.seq + u32::MAX,
        mss: mss.min(offer.mss),
        rcv_wscale,
        snd_wscale,
        sack: options.is_some_and(|options| options & STAMP_SACK != 0),
        ecn: offer.ecn != Ecn::Off && options.is_some_and(|options| options & STAMP_ECN != 0),
        timestamps: stamps
            .map(|stamps| AgreedTimestamps { offset: offer.timestamp_offset, recent: stamps.val }),
        snd_wnd: u32::from(third.window) << snd_wscale,
        rcv_wnd: offer.window_bytes.min(u32::from(u16::MAX)),
        rtt: None,
        syn_data_acked: 0,
        // It is not remembered; whoever repeats cookies sees no loss.
        syns_sent: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies() -> Cookies {
        Cookies { secret: core::array::from_fn(|i| i as u8) }
    }

    fn ends(remote: &str) -> Ends {
        let local = if remote.starts_with('[') { "[2001:db8::1]:80" } else { "10.0.0.1:80" };
        Ends { local: local.parse().expect("address"), remote: remote.parse().expect("address") }
    }

    #[test]
    fn a_cookie_tells_the_largest_mss_of_the_table_that_fits() {
        let now = Instant::from_millis(5_000_000);
        for (remote, offered, told) in [
            ("10.0.0.2:1000", 1460, 1460),
            ("10.0.0.2:1000", 1459, 1440),
            ("10.0.0.2:1000", 100, 536),
            ("[2001:db8::2]:1000", 65_535, 8940),
        ] {
            let cookie = cookies().encode(ends(remote), SeqNum(77), offered, now);
            assert_eq!(cookies().decode(ends(remote), SeqNum(77), cookie, now), Some(told));
        }
    }

    #[test]
    fn a_cookie_ends_with_the_second_minute() {
        let made = Instant::from_millis(60_000 * 255 + 59_000);
        let cookie = cookies().encode(ends("10.0.0.2:1000"), SeqNum(77), 1460, made);
        let at = |wait: u64| {
            cookies().decode(
                ends("10.0.0.2:1000"),
                SeqNum(77),
                cookie,
                made + core::time::Duration::from_secs(wait),
            )
        };
        assert_eq!(at(0), Some(1460));
        assert_eq!(at(60), Some(1460), "across the wrap of the eight bits of minutes");
        assert_eq!(at(61), None);
        assert_eq!(at(180), None);
    }

    #[test]
    fn a_guess_or_another_peer_s_cookie_is_none() {
        let now = Instant::from_millis(5_000_000);
        let cookie = cookies().encode(ends("10.0.0.2:1000"), SeqNum(77), 1460, now);
        assert_eq!(cookies().decode(ends("10.0.0.2:1001"), SeqNum(77), cookie, now), None);
        // The number of the SYN is only added, so that the three before it would still do, as in Linux.
        assert_eq!(cookies().decode(ends("10.0.0.2:1000"), SeqNum(81), cookie, now), None);
        // One in 2^22 guesses of the low bits is right, and the minute has to be.
        let right = (0..20_000u32)
            .filter(|n| {
                let guess = SeqNum(n.wrapping_mul(2_654_435_761));
                cookies().decode(ends("10.0.0.2:1000"), SeqNum(77), guess, now).is_some()
            })
            .count();
        assert!(right <= 1, "{right}");
    }

    #[test]
    fn a_stamp_never_runs_ahead_of_the_clock_and_keeps_the_options() {
        for clock in [0, 5, 63, 64, 1_000_000, u32::MAX] {
            for (scale, sack) in [(None, false), (None, true), (Some(0), false), (Some(14), true)] {
                for ecn in [false, true] {
                    let value = stamp(clock, scale, sack, ecn);
                    assert!(clock.wrapping_sub(value) < 1 << STAMP_BITS, "{clock} {value}");
                    assert_eq!(value & STAMP_NO_SCALE, scale.map_or(15, u32::from));
                    assert_eq!((value & STAMP_SACK != 0, value & STAMP_ECN != 0), (sack, ecn));
                }
            }
        }
    }
}
