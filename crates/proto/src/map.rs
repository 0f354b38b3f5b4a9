//! The only map of the core: keyed hashing and no iterator.
//!
//! Peers choose much of what is looked up here (ports, addresses, tokens), so the hash is keyed by a secret
//! (SipHash, Aumasson and Bernstein 2012); and because its order is as good as random, [`Map`] offers no way to see it:
//! the same inputs give the same outputs under any secret. What has to be walked is kept in a slab or a sorted
//! structure beside the map. Bounds on the number of entries are the owner's.

use core::fmt;
use core::hash::{BuildHasher, Hash, Hasher};

use crate::rng::SecretSource;

/// A hash map whose order cannot be observed.
pub struct Map<K, V> {
    inner: hashbrown::HashMap<K, V, MapSecret>,
}

/// The secret that a map's hash function is keyed by. Maps of one host may share it.
#[derive(Clone)]
pub struct MapSecret([u64; 2]);

impl MapSecret {
    /// A secret drawn from `secrets`.
    pub fn random(secrets: &mut SecretSource) -> Self {
        Self([secrets.next_u64(), secrets.next_u64()])
    }
}

impl BuildHasher for MapSecret {
    type Hasher = SipHasher<1, 3>;

    fn build_hasher(&self) -> Self::Hasher {
        SipHasher::new(self.0)
    }
}

impl<K: Hash + Eq, V> Map<K, V> {
    /// An empty map; it allocates at the first insertion.
    pub fn new(secret: MapSecret) -> Self {
        Self { inner: hashbrown::HashMap::with_hasher(secret) }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// True when `key` has an entry.
    pub fn contains_key(&self, key: &K) -> bool {
        self.inner.contains_key(key)
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.inner.get(key)
    }

    /// The value of `key`, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.inner.get_mut(key)
    }

    /// Sets the value of `key` and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.inner.insert(key, value)
    }

    /// The value of `key`, which is `make()` if there was none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.inner.entry(key).or_insert_with(make)
    }

    /// Removes the entry of `key` and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.inner.remove(key)
    }
}

impl<K, V> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Map({} entries)", self.inner.len())
    }
}

/// SipHash with `C` compression and `D` finalisation rounds.
#[derive(Clone, Debug)]
pub struct SipHasher<const C: usize, const D: usize> {
    v: [u64; 4],
    /// Octets that do not yet fill a word, the first one lowest.
    tail: u64,
    len: u64,
}

impl<const C: usize, const D: usize> SipHasher<C, D> {
    fn new([k0, k1]: [u64; 2]) -> Self {
        // "somepseudorandomlygeneratedbytes", the initial state of the paper's section 2.1.
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, tail: 0, len: 0 }
    }

    fn absorb(v: &mut [u64; 4], word: u64) {
        v[3] ^= word;
        Self::rounds(v, C);
        v[0] ^= word;
    }

    fn rounds(v: &mut [u64; 4], count: usize) {
        for _ in 0..count {
            v[0] = v[0].wrapping_add(v[1]);
            v[2] = v[2].wrapping_add(v[3]);
            v[1] = v[1].rotate_left(13) ^ v[0];
            v[3] = v[3].rotate_left(16) ^ v[2];
            v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
            v[2] = v[2].wrapping_add(v[1]);
            v[3] = v[3].rotate_left(21) ^ v[0];
            v[1] = v[1].rotate_left(17) ^ v[2];
            v[2] = v[2].rotate_left(32);
        }
    }

    /// Takes the `count` low octets of `value`, 1 to 8 of them.
    fn push(&mut self, value: u64, count: u32) {
        let filled = (self.len % 8) as u32;
        self.len += u64::from(count);
        self.tail |= value << (8 * filled);
        if filled + count >= 8 {
            Self::absorb(&mut self.v, self.tail);
            // What did not fit; a shift by 64 stands for "nothing".
            self.tail = value.checked_shr(8 * (8 - filled)).unwrap_or(0);
        }
    }
}

impl<const C: usize, const D: usize> Hasher for SipHasher<C, D> {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.push(u64::from_le_bytes(*word), 8);
        }
        for byte in rest {
            self.push(u64::from(*byte), 1);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.push(value.into(), 1);
    }

    fn write_u16(&mut self, value: u16) {
        self.push(value.into(), 2);
    }

    fn write_u32(&mut self, value: u32) {
        self.push(value.into(), 4);
    }

    fn write_u64(&mut self, value: u64) {
        self.push(value, 8);
    }

    fn write_usize(&mut self, value: usize) {
        self.push(value as u64, 8);
    }

    fn finish(&self) -> u64 {
        let mut v = self.v;
        Self::absorb(&mut v, self.tail | (self.len << 56));
        v[2] ^= 0xff;
        Self::rounds(&mut v, D);
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Prng;
    use std::collections::BTreeMap;
    use std::hash::DefaultHasher;
    use std::vec::Vec;

    /// The key 00 01 … 0f of the published vectors.
    const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    fn hash<const C: usize, const D: usize>(key: [u64; 2], bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher::<C, D>::new(key);
        hasher.write(bytes);
        hasher.finish()
    }

    #[test]
    fn two_four_rounds_give_the_published_vectors() {
        // Messages of 0, 1, 2, 3, 7, 8, 15 and 63 octets 00 01 02 …; the one of 15 is in the paper, appendix A.
        for (len, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (2, 0x0d6c_8009_d9a9_4f5a),
            (3, 0x8567_6696_d7fb_7e2d),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (63, 0x958a_324c_eb06_4572),
        ] {
            let message: Vec<u8> = (0..len).collect();
            assert_eq!(hash::<2, 4>(KEY, &message), expected, "{len} octets");
        }
    }

    #[test]
    fn one_three_rounds_agree_with_the_standard_library_under_its_zero_key() {
        let mut rng = Prng::new(3);
        for len in 0..100 {
            let message: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            let mut standard = DefaultHasher::new();
            standard.write(&message);
            assert_eq!(hash::<1, 3>([0, 0], &message), standard.finish());
        }
    }

    #[test]
    fn cutting_a_message_into_integers_does_not_change_its_hash() {
        let message: Vec<u8> = (0..47).collect();
        let mut hasher = SipHasher::<1, 3>::new(KEY);
        hasher.write_u8(0);
        hasher.write_u64(u64::from_le_bytes(message[1..9].try_into().expect("eight")));
        hasher.write_u16(u16::from_le_bytes([9, 10]));
        hasher.write_u32(u32::from_le_bytes([11, 12, 13, 14]));
        hasher.write(&message[15..18]);
        hasher.write(&message[18..]);
        assert_eq!(hasher.finish(), hash::<1, 3>(KEY, &message));
    }

    #[test]
    fn it_agrees_with_a_sorted_map_under_random_operations() {
        let mut rng = Prng::new(11);
        let mut map = Map::new(MapSecret(KEY));
        let mut model = BTreeMap::new();
        for step in 0..20_000_u64 {
            let key = (rng.below(300) as u16, rng.below(2) as u8);
            match rng.below(4) {
                0 => assert_eq!(map.insert(key, step), model.insert(key, step)),
                1 => assert_eq!(map.remove(&key), model.remove(&key)),
                2 => {
                    assert_eq!(map.get_or_insert_with(key, || step), model.entry(key).or_insert(step));
                }
                _ => {
                    assert_eq!(map.get_mut(&key), model.get_mut(&key));
                    assert_eq!(map.contains_key(&key), map.get(&key).is_some());
                }
            }
            assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        }
    }
}
