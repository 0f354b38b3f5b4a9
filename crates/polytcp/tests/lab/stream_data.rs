//! Bytes that never repeat and tell their place, and the digest of what was seen of them.

use sha2::{Digest, Sha256};

/// Octets of one piece that a writer or reader handles by default.
pub(crate) const PIECE_BYTES: usize = 128 << 10;

/// An endless stream of bytes that follows from a seed (SplitMix64, eight octets a step).
pub(crate) struct Source {
    state: u64,
    /// What is left of the last step, little-endian, lowest octet next.
    rest: u64,
    rest_len: usize,
}

/// SHA-256.
pub(crate) type Sum = [u8; 32];

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, rest: 0, rest_len: 0 }
    }

    /// Fills `out` with the next bytes of the stream, whatever the lengths of earlier calls.
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        let head = self.rest_len.min(out.len());
        let (start, body) = out.split_at_mut(head);
        for octet in start {
            *octet = self.rest as u8;
            self.rest >>= 8;
        }
        self.rest_len -= head;
        let (words, tail) = body.as_chunks_mut::<8>();
        for word in words {
            *word = self.step().to_le_bytes();
        }
        if !tail.is_empty() {
            let word = self.step().to_le_bytes();
            tail.copy_from_slice(&word[..tail.len()]);
            self.rest = u64::from_le_bytes(word) >> (8 * tail.len());
            self.rest_len = 8 - tail.len();
        }
    }

    fn step(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// Digests a stream and finds the first byte that is not the source's.
pub(crate) struct Witness {
    expected: Source,
    scratch: Vec<u8>,
    hash: Sha256,
    seen: u64,
    first_wrong: Option<u64>,
}

impl Witness {
    /// Of a stream that should be that of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            expected: Source::new(seed),
            scratch: Vec::new(),
            hash: Sha256::new(),
            seen: 0,
            first_wrong: None,
        }
    }

    pub(crate) fn see(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        if self.first_wrong.is_none() {
            self.scratch.resize(bytes.len(), 0);
            self.expected.fill(&mut self.scratch);
            if self.scratch != bytes {
                let at = self.scratch.iter().zip(bytes).position(|(a, b)| a != b);
                self.first_wrong = at.map(|at| self.seen + at as u64);
            }
        }
        self.seen += bytes.len() as u64;
    }

    /// What was seen: its length, digest, and where it first differed.
    pub(crate) fn finish(self) -> Seen {
        Seen { bytes: self.seen, sum: self.hash.finalize().into(), first_wrong: self.first_wrong }
    }
}

/// What a witness saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) bytes: u64,
    pub(crate) sum: Sum,
    pub(crate) first_wrong: Option<u64>,
}

#[test]
fn a_stream_is_the_same_however_it_is_cut() {
    let mut whole = vec![0; 10_000];
    Source::new(3).fill(&mut whole);
    let mut cut = vec![0; 10_000];
    let mut source = Source::new(3);
    let mut rest = cut.as_mut_slice();
    for len in [1, 2, 3, 8, 5, 13, 100, 1400].into_iter().cycle() {
        let (head, tail) = rest.split_at_mut(len.min(rest.len()));
        source.fill(head);
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    assert!(whole == cut);
    let mut witness = Witness::new(3);
    witness.see(&whole[..5_000]);
    whole[7_000] ^= 1;
    witness.see(&whole[5_000..]);
    assert_eq!(witness.finish().first_wrong, Some(7_000));
}
