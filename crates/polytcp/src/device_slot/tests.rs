//! Rings against a device that tells what it got, and that can be busy or gone.

use super::*;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use polytcp_io::Capabilities;
use polytcp_proto::packet::HeaderBuf;
use polytcp_wire::virtio::VnetHdr;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    Busy,
    Refuses,
    Gone,
}

struct Recorder {
    mood: Mutex<Mood>,
    sent: Mutex<Vec<u64>>,
}

impl Recorder {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(mood), sent: Mutex::default() })
    }

    fn sent(&self) -> Vec<u64> {
        lock(&self.sent).clone()
    }
}

impl Device for Recorder {
    fn capabilities(&self) -> Capabilities {
        Capabilities::offload(1_500)
    }

    fn send(&self, _: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
        match *lock(&self.mood) {
            Mood::Takes => {}
            Mood::Busy => return Ok(SendOutcome::Busy),
            Mood::Refuses => return Ok(SendOutcome::Dropped),
            Mood::Gone => return Err(io::ErrorKind::NotConnected.into()),
        }
        let number = packet.header.as_slice().try_into().expect("eight octets");
        lock(&self.sent).push(u64::from_be_bytes(number));
        Ok(SendOutcome::Sent)
    }

    fn receive(&self, _: Instant, _: usize, _: &mut RxPool, _: &mut Vec<Received>) -> io::Result<usize> {
        Ok(0)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn name(&self) -> &str {
        "recorder"
    }
}

fn slot(device: &Arc<Recorder>) -> DeviceSlot {
    DeviceSlot::new(InterfaceId(0), Box::new(Arc::clone(device)))
}

fn packet(number: u64) -> Transmit {
    Transmit {
        interface: InterfaceId(0),
        vnet: VnetHdr::default(),
        header: HeaderBuf::copy_from(&number.to_be_bytes()).expect("short"),
        payload: bytes::Bytes::new(),
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn the_order_on_the_wire_is_the_order_of_the_ring_and_nothing_is_stranded() {
    const THREADS: u64 = 4;
    const PACKETS: u64 = 20_000;
    let device = Recorder::new(Mood::Takes);
    let slot = slot(&device);
    // Stands for the host's lock: whoever holds it draws the next number and puts it into the ring.
    let next = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let mut number = lock(&next);
                    if *number == PACKETS {
                        return;
                    }
                    if slot.is_full() {
                        drop(number);
                        std::thread::yield_now();
                        continue;
                    }
                    slot.push(packet(*number));
                    *number += 1;
                    drop(number);
                    while slot.drain(Instant::ZERO) == Drained::More {}
                }
            });
        }
    });
    assert_eq!(device.sent(), (0..PACKETS).collect::<Vec<_>>());
    assert_eq!(slot.waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn a_packet_that_meets_a_busy_device_stays_in_front() {
    let device = Recorder::new(Mood::Busy);
    let slot = slot(&device);
    (0..3).for_each(|number| slot.push(packet(number)));
    assert_eq!(slot.drain(Instant::ZERO), Drained::Busy);
    slot.push(packet(3));
    assert_eq!(slot.drain(Instant::ZERO), Drained::Busy);
    *lock(&device.mood) = Mood::Takes;
    assert_eq!(slot.drain(Instant::ZERO), Drained::Done);
    assert_eq!(device.sent(), [0, 1, 2, 3]);
    assert_eq!(read(&slot.counters.times_busy), 2);
}

#[test]
fn a_ring_that_is_drained_holds_the_host_back_and_one_that_is_stuck_overflows() {
    let device = Recorder::new(Mood::Takes);
    let slot = slot(&device);
    (0..RING_PACKETS_FULL as u64).for_each(|number| slot.push(packet(number)));
    assert!(slot.is_full());
    *lock(&device.mood) = Mood::Busy;
    assert_eq!(slot.drain(Instant::ZERO), Drained::Busy);
    assert!(!slot.is_full(), "other devices go on");
    (RING_PACKETS_FULL..RING_PACKETS_MAX + 5).for_each(|number| slot.push(packet(number as u64)));
    assert_eq!(read(&slot.counters.packets_overflowed), 5);
    *lock(&device.mood) = Mood::Takes;
    while slot.drain(Instant::ZERO) == Drained::More {}
    assert_eq!(device.sent(), (0..RING_PACKETS_MAX as u64).collect::<Vec<_>>());
}

#[test]
fn one_call_sends_a_bounded_number() {
    let device = Recorder::new(Mood::Takes);
    let slot = slot(&device);
    (0..RING_PACKETS_MAX as u64).for_each(|number| slot.push(packet(number)));
    assert_eq!(slot.drain(Instant::ZERO), Drained::More);
    assert_eq!(device.sent().len(), DRAIN_PACKETS_MAX);
}

#[test]
fn refused_packets_are_counted_and_a_failure_is_told_once() {
    let device = Recorder::new(Mood::Refuses);
    let slot = slot(&device);
    slot.push(packet(0));
    assert_eq!(slot.drain(Instant::ZERO), Drained::Done);
    assert!(!slot.take_failure());
    *lock(&device.mood) = Mood::Gone;
    slot.push(packet(1));
    assert_eq!(slot.drain(Instant::ZERO), Drained::Done);
    assert!(slot.is_gone() && slot.take_failure() && !slot.take_failure());
    slot.push(packet(2));
    assert_eq!(read(&slot.counters.packets_refused), 2);
    assert_eq!(read(&slot.counters.packets_overflowed), 1);
}

#[test]
fn what_was_sent_is_unanswered_until_the_device_is_read() {
    let device = Recorder::new(Mood::Takes);
    let slot = slot(&device);
    (0..5).for_each(|number| slot.push(packet(number)));
    assert_eq!(slot.unanswered(), 0);
    assert_eq!(slot.drain(Instant::ZERO), Drained::Done);
    assert_eq!(slot.unanswered(), 5);
    slot.receive(Instant::ZERO, 1, &mut RxPool::new(), &mut Vec::new());
    assert_eq!(slot.unanswered(), 0);
}
