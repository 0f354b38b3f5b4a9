use std::time::SystemTime;

use pcap_file::pcapng::{Block, PcapNgReader};
use polytcp_wire::virtio::VnetHdr;

use super::*;
use crate::clock::monotonic_now;
use crate::memory::{MemoryConfig, MemoryDevice};
use crate::testing::{Tcp, octets, pattern};

/// What a capture writes to, kept after the capture is gone.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocks(file: &[u8]) -> Vec<Block<'static>> {
    let mut reader = PcapNgReader::new(file).expect("a pcapng file");
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block() {
        blocks.push(block.expect("a whole block").into_owned());
    }
    blocks
}

#[test]
fn a_capture_reads_back_with_names_directions_times_and_whole_checksums() {
    let shared = Shared::default();
    let file = CaptureFile::to_writer(shared.clone()).expect("it is memory");
    let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    let (a, b) = (Captured::new(a.named("wifi"), &file), Captured::new(b.named("lte"), &file));
    let packet = Tcp { payload: pattern(40_001), ..Tcp::default() }.super_packet(1_448);
    let now = monotonic_now();
    assert_eq!(a.send(now, &packet).expect("it works"), SendOutcome::Sent);
    let mut out = Vec::new();
    b.receive(now + Duration::from_nanos(7), 10, &mut RxPool::new(), &mut out).expect("it works");
    assert_eq!(out[0].bytes, octets(&packet), "the packet itself stays partial");
    assert_eq!(file.packets(), 2);
    drop((a, b));
    assert!(lock(&shared.0).is_empty(), "buffered until the last handle goes");
    drop(file);

    let written = lock(&shared.0).clone();
    let [wifi, lte, sent, received] = &blocks(&written)[..] else { panic!("four blocks") };
    for (block, name) in [(wifi, "wifi"), (lte, "lte")] {
        let Block::InterfaceDescription(interface) = block else { panic!("an interface") };
        assert_eq!(interface.linktype, DataLink::RAW);
        assert!(interface.options.contains(&InterfaceDescriptionOption::IfName(name.into())));
        assert!(interface.options.contains(&InterfaceDescriptionOption::IfTsResol(9)));
    }
    let (Block::EnhancedPacket(sent), Block::EnhancedPacket(received)) = (sent, received) else {
        panic!("two packets")
    };
    assert_eq!((sent.interface_id, received.interface_id), (0, 1));
    assert_eq!(sent.options, [EnhancedPacketOption::Flags(OUTBOUND)]);
    assert_eq!(received.options, [EnhancedPacketOption::Flags(INBOUND)]);
    assert_eq!(received.timestamp - sent.timestamp, Duration::from_nanos(7));
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    assert!(wall.abs_diff(sent.timestamp) < Duration::from_secs(60));
    let mut complete = packet;
    segment::complete(&mut complete).expect("the field is there");
    assert_eq!(sent.data, octets(&complete));
    assert_eq!(received.data, octets(&complete));
}

#[test]
fn the_interface_block_says_raw_ip_in_the_octets_that_other_tools_read() {
    let shared = Shared::default();
    CaptureFile::to_writer(shared.clone()).expect("it is memory").add_interface("x");
    let written = lock(&shared.0).clone();
    let header_len = u32::from_ne_bytes(written[4..8].try_into().expect("four octets")) as usize;
    let interface = &written[header_len..];
    assert_eq!(interface[..4], 1u32.to_ne_bytes());
    assert_eq!(interface[8..10], 101u16.to_ne_bytes(), "LINKTYPE_RAW");
}

#[test]
fn packets_that_a_device_does_not_take_are_not_captured() {
    let file = CaptureFile::to_writer(Vec::new()).expect("it is memory");
    let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    let a = Captured::new(a, &file);
    drop(b);
    a.send(monotonic_now(), &Tcp::default().packet()).expect("it works");
    assert_eq!(a.file().packets(), 0);
}

#[test]
fn a_full_disk_ends_the_capture_and_not_the_traffic() {
    let file = CaptureFile::to_writer(Full).expect("the header is buffered");
    let (a, b) = MemoryDevice::pair(MemoryConfig::default()).expect("descriptors");
    let a = Captured::new(a, &file);
    let mut whole = Tcp { payload: pattern(60_000), ..Tcp::default() }.super_packet(1_448);
    whole.vnet = VnetHdr { checksum: Checksum::Verified, ..whole.vnet };
    let mut out = Vec::new();
    for _ in 0..100 {
        assert_eq!(a.send(monotonic_now(), &whole).expect("it works"), SendOutcome::Sent);
        b.receive(monotonic_now(), 1, &mut RxPool::new(), &mut out).expect("it works");
    }
    assert_eq!(out.len(), 100);
    assert_eq!(file.failure(), Some(io::ErrorKind::StorageFull));
    assert!(file.flush().is_err());
}

#[test]
fn a_capture_in_a_file_is_there_after_a_flush() {
    let path = std::env::temp_dir().join(format!("polytcp-capture-{}.pcapng", std::process::id()));
    let file = CaptureFile::create(&path).expect("a temporary file");
    file.add_interface("x");
    file.flush().expect("it is written");
    let written = std::fs::read(&path).expect("it is there");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(blocks(&written).len(), 1);
}
