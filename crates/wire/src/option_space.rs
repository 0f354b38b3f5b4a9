//! The forty octets of a TCP header in which options are laid out (RFC 9293 §3.1), with the padding that
//! Linux uses, since middleboxes know that layout best.

use core::fmt;

use crate::cursor::Writer;
use crate::tcp_option::{FastOpenCookie, SackBlocks, TcpOption, Timestamps};

/// Kind of the end of the list.
pub const END: u8 = 0;
/// Kind of padding.
pub const NOP: u8 = 1;
/// Kind of the maximum segment size.
pub const MSS: u8 = 2;
/// Kind of the window scale.
pub const WINDOW_SCALE: u8 = 3;
/// Kind of SACK permitted.
pub const SACK_PERMITTED: u8 = 4;
/// Kind of SACK blocks.
pub const SACK: u8 = 5;
/// Kind of timestamps.
pub const TIMESTAMPS: u8 = 8;
pub(crate) const USER_TIMEOUT: u8 = 28;
pub(crate) const FAST_OPEN: u8 = 34;
/// RFC 4727 §3.2: experiments share it, each with a magic number (RFC 6994).
pub(crate) const EXPERIMENT: u8 = 254;

/// Octets of the option space.
pub const OPTION_SPACE: usize = 40;

/// Options in the making. Cannot be overflowed, and is a multiple of four octets long at any time, because
/// each option comes with its padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OptionBuf {
    octets: [u8; OPTION_SPACE],
    len: u8,
}

/// The option does not fit what is left of the option space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

impl OptionBuf {
    /// No options.
    pub const EMPTY: Self = Self { octets: [0; OPTION_SPACE], len: 0 };

    /// No options.
    pub const fn new() -> Self {
        Self::EMPTY
    }

    /// Options as they stand in `octets`, padded with NOPs to a multiple of four.
    ///
    /// # Errors
    /// [`NoRoom`] when there are more than 40.
    pub fn from_octets(octets: &[u8]) -> Result<Self, NoRoom> {
        let mut buf = Self::EMPTY;
        let space = buf.reserve(octets.len().next_multiple_of(4))?;
        let (taken, padding) = space.split_at_mut(octets.len());
        taken.copy_from_slice(octets);
        padding.fill(NOP);
        Ok(buf)
    }

    /// Appends an option and its padding.
    ///
    /// # Errors
    /// [`NoRoom`], and nothing is written, when it does not fit. An unknown option of kind 0 or 1 fits
    /// nowhere. A malformed MPTCP option and an empty SACK take no octets.
    pub fn push(&mut self, option: TcpOption<'_>) -> Result<(), NoRoom> {
        match option {
            TcpOption::Mss(mss) => self.put(4, |out| {
                out.put(&[MSS, 4]);
                out.u16(mss);
            }),
            TcpOption::WindowScale(shift) => self.put(4, |out| out.put(&[NOP, WINDOW_SCALE, 3, shift])),
            TcpOption::SackPermitted => self.put(4, |out| out.put(&[NOP, NOP, SACK_PERMITTED, 2])),
            TcpOption::SackPermittedTimestamps(timestamps) => self.put(12, |out| {
                out.put(&[SACK_PERMITTED, 2]);
                emit_timestamps(timestamps, out);
            }),
            TcpOption::Timestamps(timestamps) => self.put(12, |out| {
                out.put(&[NOP, NOP]);
                emit_timestamps(timestamps, out);
            }),
            TcpOption::Sack(blocks) if blocks.is_empty() => Ok(()),
            TcpOption::Sack(blocks) => self.put(4 + 8 * blocks.len(), |out| emit_sack(&blocks, out)),
            TcpOption::FastOpen(cookie) if cookie.is_experimental() => {
                let mut data = [0; 2 + FastOpenCookie::MAX];
                data[..2].copy_from_slice(&FastOpenCookie::MAGIC);
                let len = 2 + cookie.as_slice().len();
                data[2..len].copy_from_slice(cookie.as_slice());
                self.put_with_nops(EXPERIMENT, &data[..len])
            }
            TcpOption::FastOpen(cookie) => self.put_with_nops(FAST_OPEN, cookie.as_slice()),
            TcpOption::UserTimeout(timeout) => self.put(4, |out| {
                out.put(&[USER_TIMEOUT, 4]);
                out.u16(u16::from(timeout.minutes) << 15 | timeout.value & 0x7fff);
            }),
            TcpOption::Mptcp(option) => {
                let (len, end) = (option.option_len(), option.wire_len());
                let space = self.reserve(end)?;
                option.emit(space);
                space[len..].fill(NOP);
                Ok(())
            }
            TcpOption::Unknown { kind: END | NOP, .. } => Err(NoRoom),
            TcpOption::Unknown { kind, data } => self.put_with_nops(kind, data),
        }
    }

    /// Octets left.
    pub const fn remaining(&self) -> usize {
        OPTION_SPACE - self.len()
    }

    /// The options so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len()]
    }

    /// Octets of the options so far: a multiple of four, at most 40.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no option.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next `len` octets, a multiple of four.
    fn reserve(&mut self, len: usize) -> Result<&mut [u8], NoRoom> {
        debug_assert!(len.is_multiple_of(4), "options come with their padding");
        if len > self.remaining() {
            return Err(NoRoom);
        }
        let start = self.len();
        self.len += len as u8;
        Ok(&mut self.octets[start..start + len])
    }

    /// Takes `len` octets and lets `emit` fill all of them.
    fn put(&mut self, len: usize, emit: impl FnOnce(&mut Writer<'_>)) -> Result<(), NoRoom> {
        let mut out = Writer::new(self.reserve(len)?);
        emit(&mut out);
        debug_assert_eq!(out.written(), len, "an option fills what it took");
        Ok(())
    }

    /// Appends kind, length and data, then NOPs up to a multiple of four.
    fn put_with_nops(&mut self, kind: u8, data: &[u8]) -> Result<(), NoRoom> {
        let len = data.len().checked_add(2).filter(|len| *len <= OPTION_SPACE).ok_or(NoRoom)?;
        let space = self.reserve(len.next_multiple_of(4))?;
        space.fill(NOP);
        space[..2].copy_from_slice(&[kind, len as u8]);
        space[2..len].copy_from_slice(data);
        Ok(())
    }
}

impl Default for OptionBuf {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Kinds and lengths only: the octets can hold an MPTCP key.
impl fmt::Debug for OptionBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptionBuf").field("len", &self.len).finish_non_exhaustive()
    }
}

fn emit_timestamps(timestamps: Timestamps, out: &mut Writer<'_>) {
    out.put(&[TIMESTAMPS, 10]);
    out.u32(timestamps.val);
    out.u32(timestamps.ecr);
}

fn emit_sack(blocks: &SackBlocks, out: &mut Writer<'_>) {
    out.put(&[NOP, NOP, SACK, 2 + 8 * blocks.len() as u8]);
    for block in blocks {
        out.u32(block.left);
        out.u32(block.right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mptcp::{DataAck, Dss, MptcpOption};
    use crate::tcp_option::{SackBlock, UserTimeout};

    const TIMES: Timestamps = Timestamps { val: 0x0102_0304, ecr: 0x0506_0708 };

    #[track_caller]
    fn assert_octets(option: TcpOption<'_>, octets: &[u8]) {
        let mut buf = OptionBuf::new();
        buf.push(option).expect("fits an empty option space");
        assert_eq!(buf.as_slice(), octets);
    }

    fn sack(count: usize) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        for at in 0..count as u32 {
            assert!(blocks.push(SackBlock { left: at << 8, right: at << 8 | 1 }));
        }
        blocks
    }

    #[test]
    fn each_option_is_laid_out_as_linux_does() {
        assert_octets(TcpOption::Mss(1460), &[2, 4, 0x05, 0xb4]);
        assert_octets(TcpOption::WindowScale(7), &[1, 3, 3, 7]);
        assert_octets(TcpOption::SackPermitted, &[1, 1, 4, 2]);
        assert_octets(TcpOption::Timestamps(TIMES), &[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_octets(TcpOption::SackPermittedTimestamps(TIMES), &[4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_octets(TcpOption::Sack(sack(1)), &[1, 1, 5, 10, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_octets(
            TcpOption::Sack(sack(2)),
            &[1, 1, 5, 18, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 1],
        );
        assert_octets(TcpOption::FastOpen(FastOpenCookie::REQUEST), &[34, 2, 1, 1]);
        let cookie = FastOpenCookie::new(&[9; 8]).expect("eight octets are allowed");
        let experimental = TcpOption::FastOpen(cookie.in_experimental_option(true));
        assert_octets(experimental, &[254, 12, 0xf9, 0x89, 9, 9, 9, 9, 9, 9, 9, 9]);
        assert_octets(TcpOption::FastOpen(cookie), &[34, 10, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1]);
        assert_octets(
            TcpOption::UserTimeout(UserTimeout { minutes: true, value: 0x0102 }),
            &[28, 4, 0x81, 2],
        );
        assert_octets(TcpOption::Unknown { kind: 77, data: &[5] }, &[77, 3, 5, 1]);
        let ack = Dss { data_ack: Some(DataAck::Four(1)), ..Dss::default() };
        assert_octets(TcpOption::Mptcp(MptcpOption::Dss(ack)), &[30, 8, 0x20, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn octets_are_taken_as_they_are() {
        let buf = OptionBuf::from_octets(&[9, 3, 1, 30, 2]).expect("fits");
        assert_eq!(buf.as_slice(), [9, 3, 1, 30, 2, 1, 1, 1]);
        assert_eq!(OptionBuf::from_octets(&[]), Ok(OptionBuf::EMPTY));
        assert_eq!(OptionBuf::from_octets(&[1; 40]).map(|buf| buf.len()), Ok(40));
        assert_eq!(OptionBuf::from_octets(&[1; 41]), Err(NoRoom));
    }

    #[test]
    fn an_option_that_does_not_fit_changes_nothing() {
        let mut buf = OptionBuf::new();
        buf.push(TcpOption::Timestamps(TIMES)).expect("fits");
        let before = buf;
        assert_eq!(buf.remaining(), 28);
        assert_eq!(buf.push(TcpOption::Sack(sack(4))), Err(NoRoom));
        assert_eq!(buf.push(TcpOption::Unknown { kind: 77, data: &[0; 27] }), Err(NoRoom));
        assert_eq!(buf.push(TcpOption::Unknown { kind: 77, data: &[0; 1000] }), Err(NoRoom));
        assert_eq!(buf.push(TcpOption::Unknown { kind: NOP, data: &[] }), Err(NoRoom));
        assert_eq!(buf, before);
        buf.push(TcpOption::Sack(sack(3))).expect("three blocks beside timestamps");
        assert_eq!((buf.len(), buf.remaining()), (40, 0));
        assert_eq!(buf.push(TcpOption::Mss(1)), Err(NoRoom));
        buf.push(TcpOption::Sack(sack(0))).expect("nothing always fits");
        let malformed = MptcpOption::Malformed { subtype: 0 };
        buf.push(TcpOption::Mptcp(malformed)).expect("takes no octets");
        assert_eq!(buf.len(), 40);
    }
}
