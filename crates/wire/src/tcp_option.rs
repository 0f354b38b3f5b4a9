//! The options of TCP one at a time: MSS (RFC 9293 §3.7.1), window scale and timestamps (RFC 7323), SACK
//! (RFC 2018), Fast Open (RFC 7413), user timeout (RFC 5482), MPTCP (RFC 8684).

use core::fmt;

use crate::mptcp::MptcpOption;

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpOption<'a> {
    /// The largest segment that the sender takes, in octets of payload (kind 2).
    Mss(u16),
    /// Left shift of the sender's windows (kind 3), as on the wire: 14 is the most that counts
    /// (RFC 7323 §2.3).
    WindowScale(u8),
    /// The sender understands SACK (kind 4).
    SackPermitted,
    /// [`SackPermitted`](Self::SackPermitted) and [`Timestamps`](Self::Timestamps), which on a SYN share
    /// twelve octets.
    SackPermittedTimestamps(Timestamps),
    /// What has arrived out of order (kind 5).
    Sack(SackBlocks),
    /// Timestamps (kind 8).
    Timestamps(Timestamps),
    /// A Fast Open cookie, or the request for one (kind 34).
    FastOpen(FastOpenCookie),
    /// How long the sender keeps data that is not acknowledged (kind 28).
    UserTimeout(UserTimeout),
    /// MPTCP (kind 30).
    Mptcp(MptcpOption),
    /// Something else. Kinds 0 and 1 have no length octet and are refused when pushed.
    Unknown {
        /// Kind of the option.
        kind: u8,
        /// Its octets after kind and length.
        data: &'a [u8],
    },
}

/// The two values of a timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamps {
    /// The sender's clock.
    pub val: u32,
    /// The receiver's clock, echoed; meaningful with ACK.
    pub ecr: u32,
}

/// A range of sequence numbers that has arrived (RFC 2018 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SackBlock {
    /// The first sequence number.
    pub left: u32,
    /// The sequence number after the last.
    pub right: u32,
}

/// The blocks of a SACK option: up to four, in the order of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SackBlocks {
    blocks: [SackBlock; Self::MAX],
    len: u8,
}

/// A Fast Open cookie: four to sixteen octets, an even number, or none, which requests one
/// (RFC 7413 §4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct FastOpenCookie {
    octets: [u8; Self::MAX],
    len: u8,
    experimental: bool,
}

/// A user timeout (RFC 5482 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserTimeout {
    /// The value counts minutes, not seconds.
    pub minutes: bool,
    /// The timeout, 15 bits; a higher bit is not sent.
    pub value: u16,
}

impl SackBlocks {
    /// The most blocks that fit the option space.
    pub const MAX: usize = 4;

    /// Appends a block and returns whether there was room.
    pub const fn push(&mut self, block: SackBlock) -> bool {
        if self.len() == Self::MAX {
            return false;
        }
        self.blocks[self.len()] = block;
        self.len += 1;
        true
    }

    /// Number of blocks.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no block.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks in their order.
    pub fn as_slice(&self) -> &[SackBlock] {
        &self.blocks[..self.len()]
    }

    /// The blocks in their order, to bring them into another.
    pub fn as_mut_slice(&mut self) -> &mut [SackBlock] {
        let len = self.len();
        &mut self.blocks[..len]
    }

    /// The blocks in their order.
    pub fn iter(&self) -> core::slice::Iter<'_, SackBlock> {
        self.as_slice().iter()
    }

    /// Drops the blocks after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        while self.len() > len {
            self.len -= 1;
            self.blocks[self.len()] = SackBlock::default();
        }
    }
}

impl<'a> IntoIterator for &'a SackBlocks {
    type Item = &'a SackBlock;
    type IntoIter = core::slice::Iter<'a, SackBlock>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FastOpenCookie {
    /// The longest cookie, in octets.
    pub const MAX: usize = 16;
    /// No cookie: the request for one.
    pub const REQUEST: Self = Self { octets: [0; Self::MAX], len: 0, experimental: false };
    /// What the option's data begins with in the form that was in use before it had a number (RFC 6994; Linux).
    pub(crate) const MAGIC: [u8; 2] = [0xf9, 0x89];

    /// The cookie, or `None` when its length is not allowed.
    pub fn new(cookie: &[u8]) -> Option<Self> {
        if !matches!(cookie.len(), 0 | 4..=Self::MAX) || !cookie.len().is_multiple_of(2) {
            return None;
        }
        let mut octets = [0; Self::MAX];
        octets[..cookie.len()].copy_from_slice(cookie);
        Some(Self { octets, len: cookie.len() as u8, experimental: false })
    }

    /// The same in the experimental option (254), or in the one with a number (34).
    #[must_use]
    pub const fn in_experimental_option(self, experimental: bool) -> Self {
        Self { experimental, ..self }
    }

    /// Whether its option is the experimental one.
    pub const fn is_experimental(&self) -> bool {
        self.experimental
    }

    /// The octets of the cookie.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Whether this requests a cookie.
    pub const fn is_request(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// Without the octets: the cookie lets anyone at the client's address send data with a SYN.
impl fmt::Debug for FastOpenCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FastOpenCookie").field("len", &self.len).finish_non_exhaustive()
    }
}
