//! Memory for received packets.
//!
//! A device reads into the front of a slab with room for any packet, and keeps as much of it as the
//! packet took. Large packets are slices of the slab and never copied; when all of them are gone the
//! slab is used again. Small packets are copied into memory of their own, since a slice of a few
//! hundred octets would keep the whole slab alive while it waits in a reassembly queue.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use polytcp_proto::packet::Received;
use polytcp_wire::virtio::VnetHdr;

/// Octets of space that a device may read into: the longest IPv6 packet without jumbograms (65,575),
/// rounded up to whole cache lines.
pub const SPACE_BYTES: usize = 65_600;

/// Octets of one slab: four reads of any size. Larger slabs save few allocations (the old ones are
/// reused), and one packet that stays would pin more.
const SLAB_BYTES: usize = 4 * SPACE_BYTES;

/// A packet below this many octets is copied into an allocation of its own. At 8 KiB the copy takes
/// some 200 ns, an eighth of what a read of that size costs, and no slice pins more than 32 times its
/// length.
const COPY_BELOW_BYTES: usize = 8 * 1024;

/// Least that a slice of a slab is accounted for: its share when sixteen of them fill the slab. A
/// peer that makes one packet of each slab stay pins at most sixteen times what is accounted.
const SHARE_BYTES_MIN: u32 = SLAB_BYTES as u32 / 16;

/// Used-up slabs that are kept to be used again, some 4 MiB.
const RETIRED_MAX: usize = 16;

/// Memory for received packets; one per receiving thread.
///
/// Keeps up to some 4 MiB for reuse, and allocates nothing before its first use.
#[derive(Debug, Default)]
pub struct RxPool {
    /// The slab in use: all of it initialised, and free.
    slab: BytesMut,
    /// Empty tails of slabs that are used up, the oldest first.
    retired: VecDeque<BytesMut>,
    slabs_allocated: u64,
}

impl RxPool {
    /// A pool that holds no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Space of at least [`SPACE_BYTES`] to read one packet into; its contents are arbitrary.
    pub fn space(&mut self) -> &mut [u8] {
        if self.slab.len() < SPACE_BYTES {
            self.replace_slab();
        }
        &mut self.slab[..SPACE_BYTES]
    }

    /// The first `len` octets of the [`space`](Self::space), as a packet.
    ///
    /// # Panics
    /// When `len` exceeds the space: a mistake of the device, no input leads here.
    pub fn take(&mut self, vnet: VnetHdr, len: usize) -> Received {
        assert!(len <= SPACE_BYTES.min(self.slab.len()), "a packet of {len} octets");
        if len < COPY_BELOW_BYTES {
            let bytes = Bytes::copy_from_slice(&self.slab[..len]);
            return Received { vnet, bytes, buffer_bytes: len as u32 };
        }
        let bytes = self.slab.split_to(len).freeze();
        Received { vnet, bytes, buffer_bytes: (len as u32).max(SHARE_BYTES_MIN) }
    }

    /// A packet that is the concatenation of `parts`, or `None` when they exceed the space.
    pub fn concat<'a>(
        &mut self,
        vnet: VnetHdr,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Received> {
        let space = self.space();
        let mut len = 0;
        for part in parts {
            space.get_mut(len..len + part.len())?.copy_from_slice(part);
            len += part.len();
        }
        Some(self.take(vnet, len))
    }

    /// Slabs allocated so far, for tests and benchmarks of the reuse.
    pub fn slabs_allocated(&self) -> u64 {
        self.slabs_allocated
    }

    fn replace_slab(&mut self) {
        let mut used = std::mem::take(&mut self.slab);
        used.clear();
        if used.capacity() > 0 {
            self.retired.push_back(used);
        }
        self.slab = match self.reclaim() {
            Some(slab) => slab,
            None => {
                self.slabs_allocated += 1;
                BytesMut::zeroed(SLAB_BYTES)
            }
        };
        if self.retired.len() > RETIRED_MAX {
            // Its memory is freed with the last packet in it.
            self.retired.pop_front();
        }
    }

    /// A retired slab whose packets are all gone.
    fn reclaim(&mut self) -> Option<BytesMut> {
        let at = self.retired.iter_mut().position(|slab| slab.try_reclaim(SLAB_BYTES))?;
        let mut slab = self.retired.remove(at)?;
        reinitialise(&mut slab);
        Some(slab)
    }
}

/// Gives a reclaimed slab its whole length back, without writing all of it again.
#[allow(unsafe_code, reason = "zeroing a slab anew costs as much as the reads that it serves")]
fn reinitialise(slab: &mut BytesMut) {
    assert!(slab.capacity() >= SLAB_BYTES);
    // SAFETY: the capacity holds `SLAB_BYTES`, checked above, and all of it is initialised: the slab
    // was allocated zeroed with exactly this length, and octets are never made uninitialised since.
    unsafe { slab.set_len(SLAB_BYTES) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pool: &mut RxPool, len: usize, fill: u8) -> Received {
        pool.space()[..len].fill(fill);
        pool.take(VnetHdr::default(), len)
    }

    #[test]
    fn large_packets_share_slabs_without_overlap() {
        let mut pool = RxPool::new();
        let packets: Vec<_> = (0..40).map(|i| read(&mut pool, 60_000, i)).collect();
        for (i, packet) in packets.iter().enumerate() {
            assert_eq!(packet.bytes.len(), 60_000);
            assert!(packet.bytes.iter().all(|&b| usize::from(b) == i));
            assert_eq!(packet.buffer_bytes, 60_000);
        }
        assert_eq!(pool.slabs_allocated(), 10);
    }

    #[test]
    fn slabs_are_used_again_once_their_packets_are_gone() {
        let mut pool = RxPool::new();
        let mut held = std::collections::VecDeque::new();
        for i in 0..10_000u32 {
            held.push_back((i as u8, read(&mut pool, 30_000, i as u8)));
            if held.len() > 20
                && let Some((fill, packet)) = held.pop_front()
            {
                assert!(packet.bytes.iter().all(|&b| b == fill));
            }
        }
        assert!(pool.slabs_allocated() <= 6, "{}", pool.slabs_allocated());
    }

    #[test]
    fn a_small_packet_pins_only_itself() {
        let mut pool = RxPool::new();
        let packet = read(&mut pool, 1_500, 7);
        assert_eq!(packet.buffer_bytes, 1_500);
        let large = read(&mut pool, 9_000, 8);
        assert!(large.buffer_bytes as usize * 16 >= SLAB_BYTES);
        assert!(packet.bytes.iter().all(|&b| b == 7));
        assert_eq!(pool.slabs_allocated(), 1);
    }

    #[test]
    fn packets_that_stay_do_not_stop_the_pool() {
        let mut pool = RxPool::new();
        let kept: Vec<_> = (0..200).map(|i| read(&mut pool, SPACE_BYTES, i as u8)).collect();
        assert!(pool.retired.len() <= RETIRED_MAX);
        assert!(kept.iter().enumerate().all(|(i, p)| p.bytes[SPACE_BYTES - 1] == i as u8));
    }

    #[test]
    fn parts_become_one_packet_or_none() {
        let mut pool = RxPool::new();
        let joined = pool.concat(VnetHdr::default(), [&b"ab"[..], b"", b"cde"]).expect("it fits");
        assert_eq!(&joined.bytes[..], b"abcde");
        let large = vec![0; SPACE_BYTES];
        assert!(pool.concat(VnetHdr::default(), [&large[..], b"x"]).is_none());
    }
}
