//! Where a sequence number is in its stream: octets since the SYN, past any wrap of 32 bits.

/// One direction of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// The sequence number after the highest octet seen, and that octet's offset plus one.
    next_seq: u32,
    next_at: i64,
}

impl Stream {
    /// The stream that `iss` opens; offset 0 is the octet after the SYN.
    pub(crate) fn opened(iss: u32) -> Self {
        Self { next_seq: iss.wrapping_add(1), next_at: 0 }
    }

    /// The offset that `seq` stands for: the one nearest to the highest seen. Negative before the start.
    pub(crate) fn at(&self, seq: u32) -> i64 {
        self.next_at + i64::from(seq.wrapping_sub(self.next_seq) as i32)
    }

    /// The sequence number of an offset.
    pub(crate) fn seq(&self, at: i64) -> u32 {
        self.next_seq.wrapping_add((at - self.next_at) as u32)
    }

    /// The offset after the highest octet seen.
    pub(crate) fn end(&self) -> i64 {
        self.next_at
    }

    /// Notes that octets up to offset `end` were seen.
    pub(crate) fn saw(&mut self, end: i64) {
        if end > self.next_at {
            (self.next_seq, self.next_at) = (self.seq(end), end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_on_past_a_wrap() {
        let mut stream = Stream::opened(u32::MAX - 1);
        assert_eq!((stream.at(u32::MAX), stream.at(0), stream.at(u32::MAX - 1)), (0, 1, -1));
        for end in (0..12_i64).map(|i| i * 1_000_000_000) {
            stream.saw(end);
            assert_eq!(stream.at((u32::MAX as i64 + end + 5) as u32), end + 5);
            assert_eq!(stream.seq(end - 7), (u32::MAX as i64 + end - 7) as u32);
        }
        stream.saw(4);
        assert_eq!(stream.end(), 11_000_000_000);
    }
}
