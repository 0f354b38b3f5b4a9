//! A device that changes octets of payload on their way, as a middlebox that rewrites content does: TCP's checksum is
//! right afterwards, so that only a DSS checksum can tell.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use polytcp::io::{Capabilities, Device, RxPool, SendOutcome};
use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::Instant;
use polytcp_wire::checksum::update;
use polytcp_wire::tcp::CHECKSUM_OFFSET;
use polytcp_wire::virtio::Checksum;
use polytcp_wire::{ip, tcp};

use crate::transfer::Way;

/// Smaller payloads are left alone: greetings, and the first data of a connection.
const PAYLOAD_MIN: usize = 500;

/// A device on which a [`Spoiler`] works.
pub(crate) struct Spoiled<D> {
    inner: D,
    spoiler: Arc<Spoiler>,
}

/// Says how many of the next packets are to be changed in each direction.
#[derive(Default)]
pub(crate) struct Spoiler {
    up: AtomicU64,
    down: AtomicU64,
}

impl Spoiler {
    /// Has one octet changed in each of the next `packets` packets with enough payload.
    pub(crate) fn spoil(&self, way: Way, packets: u64) {
        self.of(way).store(packets, Ordering::Relaxed);
    }

    /// Packets that are still to be changed.
    pub(crate) fn left(&self, way: Way) -> u64 {
        self.of(way).load(Ordering::Relaxed)
    }

    fn of(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::Upload => &self.up,
            Way::Download => &self.down,
        }
    }

    fn take(&self, way: Way) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        self.of(way).fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

impl<D: Device> Spoiled<D> {
    pub(crate) fn new(inner: D) -> (Self, Arc<Spoiler>) {
        let spoiler = Arc::new(Spoiler::default());
        (Self { inner, spoiler: Arc::clone(&spoiler) }, spoiler)
    }
}

/// Where TCP and its payload start, if there is enough of that.
fn places(head: &[u8], len: usize) -> Option<(usize, usize)> {
    let mut whole = head.to_vec();
    whole.resize(len, 0);
    let parsed = ip::parse(&whole).ok()?;
    let at = parsed.payload_offset;
    let payload = at + tcp::parse(&whole[at..]).ok()?.payload_offset;
    (len - payload >= PAYLOAD_MIN).then_some((at, payload))
}

/// Changes the octet at `at` of `octets`, which are those from `offset` of the segment on, and returns the word
/// before and after.
fn change(octets: &mut [u8], offset: usize, at: usize) -> (u16, u16) {
    let even = at - (offset + at) % 2;
    let word = |octets: &[u8]| u16::from_be_bytes([octets[even], octets[even + 1]]);
    let old = word(octets);
    octets[at] ^= 0x20;
    (old, word(octets))
}

fn fix(segment: &mut [u8], checksum: Checksum, (old, new): (u16, u16)) {
    if checksum == Checksum::Complete {
        let field = &mut segment[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2];
        let sum = update(u16::from_be_bytes([field[0], field[1]]), old, new);
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

impl<D: Device> Device for Spoiled<D> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, now: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
        if self.spoiler.left(Way::Upload) == 0 {
            return self.inner.send(now, packet);
        }
        let places = places(packet.header.as_slice(), packet.len());
        let Some((segment, payload)) = places.filter(|_| self.spoiler.take(Way::Upload)) else {
            return self.inner.send(now, packet);
        };
        let mut packet = packet.clone();
        let mut octets = BytesMut::from(&packet.payload[..]);
        let middle = octets.len() / 2;
        let words = change(&mut octets, payload - segment, middle);
        packet.payload = octets.freeze();
        let checksum = packet.vnet.checksum;
        fix(&mut packet.header.storage()[segment..], checksum, words);
        self.inner.send(now, &packet)
    }

    fn receive(
        &self,
        now: Instant,
        budget: usize,
        pool: &mut RxPool,
        out: &mut Vec<Received>,
    ) -> io::Result<usize> {
        let before = out.len();
        let result = self.inner.receive(now, budget, pool, out);
        for packet in &mut out[before..] {
            if self.spoiler.left(Way::Download) == 0 {
                break;
            }
            let Some((segment, payload)) = places(&packet.bytes, packet.bytes.len()) else { continue };
            if !self.spoiler.take(Way::Download) {
                break;
            }
            let mut octets = BytesMut::from(&packet.bytes[..]);
            let middle = (octets.len() - payload) / 2;
            let words = change(&mut octets[payload..], payload - segment, middle);
            fix(&mut octets[segment..], packet.vnet.checksum, words);
            packet.bytes = Bytes::from(octets);
        }
        result
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.as_fd()
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn advance(&self, now: Instant) -> io::Result<()> {
        self.inner.advance(now)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}
