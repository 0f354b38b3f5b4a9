//! All options of one segment, read in one pass and written in the order of Linux.

use core::fmt;

use crate::cursor::Reader;
use crate::mptcp::{MptcpOption, OPTION_KIND as MPTCP};
use crate::option_space::{
    END, EXPERIMENT, FAST_OPEN, MSS, NOP, OPTION_SPACE, SACK, SACK_PERMITTED, TIMESTAMPS, USER_TIMEOUT,
    WINDOW_SCALE,
};
pub use crate::option_space::{NoRoom, OptionBuf};
pub use crate::tcp_option::{FastOpenCookie, SackBlock, SackBlocks, TcpOption, Timestamps, UserTimeout};

/// The options of a segment. Of an option that stands there twice the last one counts, as in Linux; only
/// MPTCP options are all kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpOptions {
    /// Octets of payload that the sender takes in a segment.
    pub mss: Option<u16>,
    /// Left shift of the sender's windows, as on the wire: may exceed 14.
    pub window_scale: Option<u8>,
    /// The sender understands SACK.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// SACK blocks; none without the option.
    pub sack: SackBlocks,
    /// Fast Open cookie, or the request for one.
    pub fast_open: Option<FastOpenCookie>,
    /// User timeout.
    pub user_timeout: Option<UserTimeout>,
    /// MPTCP options, in their order.
    pub mptcp: MptcpOptions,
    /// Options of other kinds, in their order.
    pub unknown: UnknownOptions,
}

/// The MPTCP options of a segment, in their order: up to six, and more are ignored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MptcpOptions {
    /// Those past `len` are [`Self::FILLER`], so that equal lists have equal fields.
    options: [MptcpOption; Self::MAX],
    len: u8,
}

/// Options of unknown kinds, as octets: kind, length, data, one after the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnknownOptions {
    octets: [u8; OPTION_SPACE],
    len: u8,
}

impl TcpOptions {
    /// Reads the octets between the fixed header and the payload.
    ///
    /// Options of unknown kinds are kept (RFC 9293 §3.1, MUST-6). A length that cannot be ends the
    /// reading, and what came before it counts (MUST-7). A known option with a length that it cannot have
    /// is ignored, or [`MptcpOption::Malformed`] for MPTCP.
    #[inline]
    pub fn parse(octets: &[u8]) -> Self {
        let mut options = Self::default();
        let mut rest = octets;
        // Nearly every segment of an established connection starts so (RFC 7323, appendix A).
        if let Some((head, tail)) = octets.split_first_chunk::<12>()
            && let [NOP, NOP, TIMESTAMPS, 10, data @ ..] = head
        {
            options.timestamps = parse_timestamps(data);
            rest = tail;
        }
        while let [kind, tail @ ..] = rest {
            match *kind {
                END => break,
                NOP => rest = tail,
                kind => {
                    let Some((data, tail)) = split_data(tail) else { break };
                    options.absorb(kind, data);
                    rest = tail;
                }
            }
        }
        options
    }

    /// Lays the options out: MSS, SACK permitted and timestamps, window scale, SACK, Fast Open, user
    /// timeout, unknown ones, MPTCP.
    ///
    /// # Errors
    /// [`NoRoom`] when they take more than 40 octets with their padding.
    pub fn encode(&self) -> Result<OptionBuf, NoRoom> {
        let Self {
            mss,
            window_scale,
            sack_permitted,
            timestamps,
            sack,
            fast_open,
            user_timeout,
            mptcp,
            unknown,
        } = self;
        let mut buf = OptionBuf::new();
        if let Some(mss) = mss {
            buf.push(TcpOption::Mss(*mss))?;
        }
        match (sack_permitted, timestamps) {
            (true, Some(timestamps)) => buf.push(TcpOption::SackPermittedTimestamps(*timestamps))?,
            (true, None) => buf.push(TcpOption::SackPermitted)?,
            (false, Some(timestamps)) => buf.push(TcpOption::Timestamps(*timestamps))?,
            (false, None) => {}
        }
        if let Some(shift) = window_scale {
            buf.push(TcpOption::WindowScale(*shift))?;
        }
        buf.push(TcpOption::Sack(*sack))?;
        if let Some(cookie) = fast_open {
            buf.push(TcpOption::FastOpen(*cookie))?;
        }
        if let Some(timeout) = user_timeout {
            buf.push(TcpOption::UserTimeout(*timeout))?;
        }
        for option in unknown.iter() {
            buf.push(option)?;
        }
        for option in mptcp {
            buf.push(TcpOption::Mptcp(*option))?;
        }
        Ok(buf)
    }

    fn absorb(&mut self, kind: u8, data: &[u8]) {
        match (kind, data) {
            (MPTCP, data) => {
                if let Some(option) = MptcpOption::parse(data) {
                    self.mptcp.push(option);
                }
            }
            (TIMESTAMPS, data) => self.timestamps = parse_timestamps(data).or(self.timestamps),
            (SACK, data) => self.sack = parse_sack(data).unwrap_or(self.sack),
            (MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (FAST_OPEN, data) => self.fast_open = FastOpenCookie::new(data).or(self.fast_open),
            (EXPERIMENT, data) if data.starts_with(&FastOpenCookie::MAGIC) => {
                let cookie = FastOpenCookie::new(&data[FastOpenCookie::MAGIC.len()..]);
                self.fast_open = cookie.map(|cookie| cookie.in_experimental_option(true)).or(self.fast_open);
            }
            (USER_TIMEOUT, &[high, low]) => {
                let value = u16::from_be_bytes([high & 0x7f, low]);
                self.user_timeout = Some(UserTimeout { minutes: high & 0x80 != 0, value });
            }
            (MSS | WINDOW_SCALE | SACK_PERMITTED | USER_TIMEOUT, _) => {}
            (kind, data) => {
                self.unknown.push(kind, data);
            }
        }
    }
}

/// Splits what follows a kind into the option's data and the rest; `None` for a length that cannot be.
#[inline]
fn split_data(tail: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, tail) = tail.split_first()?;
    tail.split_at_checked(usize::from(*len).checked_sub(2)?)
}

#[inline]
fn parse_timestamps(data: &[u8]) -> Option<Timestamps> {
    let (val, ecr) = data.split_first_chunk()?;
    Some(Timestamps { val: u32::from_be_bytes(*val), ecr: u32::from_be_bytes(ecr.try_into().ok()?) })
}

fn parse_sack(data: &[u8]) -> Option<SackBlocks> {
    if data.is_empty() || !data.len().is_multiple_of(8) {
        return None;
    }
    let mut blocks = SackBlocks::default();
    let mut fields = Reader::new(data);
    while let (Some(left), Some(right)) = (fields.u32(), fields.u32()) {
        if !blocks.push(SackBlock { left, right }) {
            return None;
        }
    }
    Some(blocks)
}

impl MptcpOptions {
    /// The most options kept: DSS, REMOVE_ADDR, MP_PRIO, MP_FAIL and MP_TCPRST could share a segment.
    pub const MAX: usize = 6;
    const FILLER: MptcpOption = MptcpOption::Malformed { subtype: 0 };

    /// Appends an option and returns whether there was room.
    pub fn push(&mut self, option: MptcpOption) -> bool {
        let Some(slot) = self.options.get_mut(usize::from(self.len)) else { return false };
        *slot = option;
        self.len += 1;
        true
    }

    /// Number of options.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no option.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The options in their order.
    pub fn as_slice(&self) -> &[MptcpOption] {
        &self.options[..self.len()]
    }

    /// The options in their order.
    pub fn iter(&self) -> core::slice::Iter<'_, MptcpOption> {
        self.as_slice().iter()
    }
}

impl Default for MptcpOptions {
    fn default() -> Self {
        Self { options: [Self::FILLER; Self::MAX], len: 0 }
    }
}

impl<'a> IntoIterator for &'a MptcpOptions {
    type Item = &'a MptcpOption;
    type IntoIter = core::slice::Iter<'a, MptcpOption>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<MptcpOption> for MptcpOptions {
    /// The first [`MptcpOptions::MAX`] of the options.
    fn from_iter<I: IntoIterator<Item = MptcpOption>>(options: I) -> Self {
        let mut list = Self::default();
        for option in options.into_iter().take(Self::MAX) {
            list.push(option);
        }
        list
    }
}

impl fmt::Debug for MptcpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl UnknownOptions {
    /// Appends an option with `data` after kind and length, and returns whether it was taken: there must
    /// be room, and kinds 0 and 1 have no length octet.
    pub fn push(&mut self, kind: u8, data: &[u8]) -> bool {
        let (start, end) = (usize::from(self.len), usize::from(self.len) + 2 + data.len());
        if matches!(kind, END | NOP) || end > OPTION_SPACE {
            return false;
        }
        self.octets[start] = kind;
        self.octets[start + 1] = 2 + data.len() as u8;
        self.octets[start + 2..end].copy_from_slice(data);
        self.len = end as u8;
        true
    }

    /// Whether there is no option.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Kind, length and data of each option, one after the other.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// The options in their order, each a [`TcpOption::Unknown`].
    pub fn iter(&self) -> impl Iterator<Item = TcpOption<'_>> {
        let mut rest = self.as_slice();
        core::iter::from_fn(move || {
            let (kind, tail) = rest.split_first()?;
            let (data, tail) = split_data(tail)?;
            rest = tail;
            Some(TcpOption::Unknown { kind: *kind, data })
        })
    }
}

impl Default for UnknownOptions {
    fn default() -> Self {
        Self { octets: [0; OPTION_SPACE], len: 0 }
    }
}

impl fmt::Debug for UnknownOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mptcp::{Capable, CapableFlags, CapableForm, VERSION};

    const NONE: fn() -> TcpOptions = TcpOptions::default;

    #[test]
    fn a_linux_syn_is_read_and_written_back_octet_for_octet() {
        let octets = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7, 30, 4, 0x01, 0x01];
        let flags = CapableFlags { crypto: CapableFlags::HMAC_SHA256, ..CapableFlags::default() };
        let capable = Capable { version: VERSION, flags, form: CapableForm::Syn };
        let options = TcpOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(Timestamps { val: 9, ecr: 0 }),
            mptcp: MptcpOptions::from_iter([MptcpOption::Capable(capable)]),
            ..NONE()
        };
        assert_eq!(TcpOptions::parse(&octets), options);
        assert_eq!(options.encode().expect("fits").as_slice(), octets);
    }

    #[test]
    fn timestamps_are_found_with_and_without_the_usual_padding() {
        let timestamps = Some(Timestamps { val: 1, ecr: 2 });
        let option = [8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        for padding in [&[][..], &[1], &[1, 1], &[1, 1, 1]] {
            let octets = [padding, &option, &[2, 4, 1, 0]].concat();
            assert_eq!(TcpOptions::parse(&octets), TcpOptions { timestamps, mss: Some(256), ..NONE() });
        }
    }

    #[test]
    fn an_illegal_length_ends_the_reading_and_keeps_what_came_before() {
        let kept = TcpOptions { mss: Some(256), ..NONE() };
        for bad in
            [&[77, 0, 3, 3, 7][..], &[77, 1, 3, 3, 7], &[77, 6, 3, 3, 7], &[77, 255], &[77], &[8, 10, 0]]
        {
            assert_eq!(TcpOptions::parse(&[&[2, 4, 1, 0], bad].concat()), kept, "{bad:?}");
        }
        assert_eq!(TcpOptions::parse(&[2, 4, 1, 0, 0, 3, 3, 7]), kept, "the end of the list");
    }

    #[test]
    fn a_known_option_of_wrong_length_is_ignored() {
        for (kind, right) in
            [(2, &[4][..]), (3, &[3]), (4, &[2]), (5, &[10, 18, 26, 34]), (8, &[10]), (28, &[4])]
        {
            for len in 2..=40_u8 {
                let mut octets = [0; 44];
                octets[..2].copy_from_slice(&[kind, len]);
                let end = usize::from(len);
                octets[end..end + 4].copy_from_slice(&[3, 3, 7, 0]); // What follows still counts.
                let options = TcpOptions::parse(&octets);
                assert_eq!(options.window_scale, Some(7));
                let ignored = options == TcpOptions { window_scale: Some(7), ..NONE() };
                assert_eq!(ignored, !right.contains(&len) || kind == 3, "kind {kind}, length {len}");
            }
        }
    }

    #[test]
    fn an_ignored_option_does_not_undo_a_good_one() {
        let good = [8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 34, 2, 5, 10, 0, 0, 0, 3, 0, 0, 0, 4];
        let bad = [8, 3, 0, 34, 3, 0, 5, 3, 0, 2, 2, 28, 3, 0];
        assert_eq!(TcpOptions::parse(&[&good[..], &bad].concat()), TcpOptions::parse(&good));
        assert!(TcpOptions::parse(&good).timestamps.is_some());
    }

    #[test]
    fn fast_open_cookies_have_an_even_length() {
        for len in 0..=20 {
            let mut octets = [7; 22];
            octets[..2].copy_from_slice(&[34, 2 + len as u8]);
            let cookie = TcpOptions::parse(&octets[..2 + len]).fast_open;
            assert_eq!(cookie.is_some(), matches!(len, 0 | 4 | 6 | 8 | 10 | 12 | 14 | 16), "{len}");
            assert!(cookie.is_none_or(|cookie| cookie.as_slice().len() == len));
        }
        assert!(FastOpenCookie::REQUEST.is_request());
        assert_eq!(FastOpenCookie::new(&[0; 18]), None);
    }

    #[test]
    fn the_last_of_two_counts_but_mptcp_options_all_do() {
        let octets = [2, 4, 0, 1, 2, 4, 0, 2, 30, 3, 0x50, 30, 3, 0x51, 30, 2];
        let options = TcpOptions::parse(&octets);
        assert_eq!(options.mss, Some(2));
        assert_eq!(options.mptcp.len(), 2, "one without a subtype does not count");
        let many = [30, 3, 0x50].repeat(9);
        assert_eq!(TcpOptions::parse(&many).mptcp.len(), MptcpOptions::MAX);
    }

    #[test]
    fn unknown_options_are_kept_in_their_order() {
        let octets = [77, 4, 1, 2, 1, 78, 2, 253, 3, 9];
        let unknown = TcpOptions::parse(&octets).unknown;
        assert_eq!(unknown.as_slice(), [77, 4, 1, 2, 78, 2, 253, 3, 9]);
        let mut iter = unknown.iter();
        assert_eq!(iter.next(), Some(TcpOption::Unknown { kind: 77, data: &[1, 2] }));
        assert_eq!(iter.next(), Some(TcpOption::Unknown { kind: 78, data: &[] }));
        assert_eq!(iter.next(), Some(TcpOption::Unknown { kind: 253, data: &[9] }));
        assert_eq!(iter.next(), None);
        let mut full = UnknownOptions::default();
        assert!(!full.push(0, &[]) && !full.push(1, &[]) && !full.push(77, &[0; 39]));
        assert!(full.push(77, &[0; 38]) && !full.push(78, &[]));
    }

    #[test]
    fn more_than_forty_octets_do_not_fit() {
        let mut options = TcpOptions { timestamps: Some(Timestamps { val: 1, ecr: 2 }), ..NONE() };
        for _ in 0..4 {
            assert!(options.sack.push(SackBlock { left: 1, right: 2 }));
        }
        assert!(!options.sack.push(SackBlock { left: 1, right: 2 }));
        assert_eq!(options.encode(), Err(NoRoom));
        options.sack.truncate(3);
        assert_eq!(options.encode().expect("fits").len(), 40);
    }

    /// Each received segment carries one of these by value.
    #[test]
    fn a_segments_options_stay_within_a_few_cache_lines() {
        assert!(size_of::<TcpOptions>() <= 512, "{}", size_of::<TcpOptions>());
        assert!(size_of::<MptcpOption>() <= 56, "{}", size_of::<MptcpOption>());
    }
}
