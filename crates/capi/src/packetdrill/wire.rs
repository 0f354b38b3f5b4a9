//! The device between a stack and packetdrill: whole packets in memory, each that leaves with the time at which it did.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use polytcp::InterfaceId;
use polytcp::io::packet::{HeaderBuf, Received, Transmit};
use polytcp::io::segment::{self, Checksums};
use polytcp::io::{Capabilities, Device, MemoryConfig, MemoryDevice, RxPool, SendOutcome};
use polytcp::raw::{self, Instant};

/// What packetdrill calls its device.
pub(crate) const DEVICE_NAME: &str = "tun0";

/// A device that takes segmentation offload, as Linux's devices do in software where need be, and cuts: packetdrill sees segments.
/// One end is the stack's, by [`Device`]; the other is packetdrill's, whose packets may be larger
/// than the MTU: a script's segment stands for several that a card has merged.
pub(crate) struct Wire {
    mtu: u16,
    stack_end: MemoryDevice,
    script_end: MemoryDevice,
    /// When the packets left that the script's end has not taken yet, in microseconds since 1970.
    left_at: Mutex<VecDeque<i64>>,
    has_left: Condvar,
}

impl Wire {
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn new(mtu: u16) -> io::Result<Self> {
        let config =
            MemoryConfig { capabilities: Capabilities::per_packet(u16::MAX), ..MemoryConfig::default() };
        let (stack_end, script_end) = MemoryDevice::pair(config)?;
        Ok(Self {
            mtu,
            stack_end: stack_end.named(DEVICE_NAME),
            script_end,
            left_at: Mutex::default(),
            has_left: Condvar::new(),
        })
    }

    fn left_at(&self) -> MutexGuard<'_, VecDeque<i64>> {
        self.left_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the stack a packet, which begins with its IP header.
    ///
    /// # Errors
    /// `WouldBlock` when more wait than the stack could take, `InvalidInput` for what is larger than any packet of IP.
    pub(crate) fn inject(&self, packet: &[u8]) -> io::Result<()> {
        let packet = Transmit {
            interface: InterfaceId(0),
            vnet: Default::default(),
            header: HeaderBuf::EMPTY,
            payload: Bytes::copy_from_slice(packet),
        };
        match self.script_end.send(raw::now(), &packet)? {
            SendOutcome::Sent => Ok(()),
            SendOutcome::Busy => Err(io::ErrorKind::WouldBlock.into()),
            SendOutcome::Dropped => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Waits for the next packet of the stack, copies as much of it as there is room for, and returns its length and when it
    /// left, in microseconds since 1970.
    pub(crate) fn sniff(&self, room: &mut [u8]) -> (usize, i64) {
        let mut left_at = self.left_at();
        loop {
            if let Some(time) = left_at.pop_front() {
                let mut packets = Vec::with_capacity(1);
                let taken = self.script_end.receive(raw::now(), 1, &mut RxPool::new(), &mut packets);
                if let (Ok(_), Some(packet)) = (taken, packets.pop()) {
                    let len = packet.bytes.len().min(room.len());
                    room[..len].copy_from_slice(&packet.bytes[..len]);
                    return (len, time);
                }
            } else {
                left_at = self.has_left.wait(left_at).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// CLOCK_REALTIME in microseconds.
fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

impl Device for Wire {
    fn capabilities(&self) -> Capabilities {
        Capabilities { checksum_offload: false, ..Capabilities::offload(self.mtu) }
    }

    fn send(&self, now: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
        // Under the lock, so that the times are in the packets' order.
        let mut left_at = self.left_at();
        let Ok(pieces) = segment::cut(packet.clone(), self.mtu, Checksums::Complete) else {
            return Ok(SendOutcome::Dropped);
        };
        for (index, piece) in pieces.enumerate() {
            match self.stack_end.send(now, piece.packet())? {
                SendOutcome::Sent => {}
                // A queue that fills up takes the rest of a packet no more.
                _ if index > 0 => break,
                outcome => return Ok(outcome),
            }
            left_at.push_back(now_micros());
            self.has_left.notify_one();
        }
        Ok(SendOutcome::Sent)
    }

    fn receive(
        &self,
        now: Instant,
        budget: usize,
        pool: &mut RxPool,
        out: &mut Vec<Received>,
    ) -> io::Result<usize> {
        self.stack_end.receive(now, budget, pool, out)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stack_end.as_fd()
    }

    fn name(&self) -> &str {
        self.stack_end.name()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn packets_leave_in_order_each_with_its_time() {
        let wire = Arc::new(Wire::new(1_500).expect("descriptors"));
        let begin = now_micros();
        let sniffer = std::thread::spawn({
            let wire = Arc::clone(&wire);
            move || {
                let mut room = [0; 4];
                [0; 3].map(|_| {
                    let (len, time) = wire.sniff(&mut room);
                    (room[..len].to_vec(), time)
                })
            }
        });
        for text in ["one", "two", "three"] {
            let packet = Transmit {
                interface: InterfaceId(0),
                vnet: Default::default(),
                header: HeaderBuf::copy_from(text.as_bytes()).expect("short"),
                payload: Bytes::new(),
            };
            assert_eq!(wire.send(raw::now(), &packet).expect("a pair"), SendOutcome::Sent);
        }
        let sniffed = sniffer.join().expect("no panic");
        let texts: Vec<_> = sniffed.iter().map(|(text, _)| text.as_slice()).collect();
        assert_eq!(texts, [&b"one"[..], b"two", b"thre"]);
        let mut times: Vec<_> = sniffed.iter().map(|(_, time)| *time).collect();
        times.insert(0, begin);
        times.push(now_micros());
        assert!(times.is_sorted(), "{times:?}");
    }

    #[test]
    fn what_is_injected_arrives_and_what_is_too_long_does_not() {
        let wire = Wire::new(1_500).expect("descriptors");
        wire.inject(b"packet").expect("room");
        wire.inject(&[7; 2_000]).expect("larger than the MTU, as what a card has merged");
        let fault = wire.inject(&vec![0; 65_536]).expect_err("too long");
        assert_eq!(fault.kind(), io::ErrorKind::InvalidInput);
        let mut packets = Vec::new();
        assert_eq!(wire.receive(raw::now(), 8, &mut RxPool::new(), &mut packets).expect("a pair"), 2);
        assert_eq!((&packets[0].bytes[..], packets[1].bytes.len()), (&b"packet"[..], 2_000));
    }
}
