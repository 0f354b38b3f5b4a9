//! Packets for tests, and a driver that waits for a device as an engine would.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use polytcp_proto::packet::{HeaderBuf, InterfaceId, Received, Transmit};
use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::ip::{Addresses, IpHeader, PROTOCOL_TCP};
use polytcp_wire::tcp::TcpFlags;
use polytcp_wire::virtio::{Checksum, Segmentation, SegmentationKind, VnetHdr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::monotonic_now;
use crate::device::Device;
use crate::headers::{CHECKSUM_OFFSET, Layout};
use crate::rx_pool::RxPool;

/// A TCP packet to be built.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) kind: SegmentationKind,
    pub(crate) ident: u16,
    pub(crate) seq: u32,
    pub(crate) flags: TcpFlags,
    /// A multiple of four octets.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Bytes,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            kind: SegmentationKind::Tcp4,
            ident: 7,
            seq: 1_000,
            flags: TcpFlags::ACK,
            options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2].to_vec(),
            payload: pattern(1_000),
        }
    }
}

impl Tcp {
    /// The packet, one of its own, with its checksum partial.
    pub(crate) fn packet(self) -> Transmit {
        let tcp_len = 20 + self.options.len();
        let header = IpHeader {
            addresses: match self.kind {
                SegmentationKind::Tcp4 => {
                    Addresses::V4 { src: Ipv4Addr::new(10, 9, 9, 2), dst: Ipv4Addr::new(10, 9, 9, 1) }
                }
                SegmentationKind::Tcp6 => Addresses::V6 {
                    src: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
                    dst: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
                },
            },
            protocol: PROTOCOL_TCP,
            hop_limit: 64,
            traffic_class: 0,
            ident: self.ident,
            payload_len: (tcp_len + self.payload.len()) as u16,
        };
        let mut buf = HeaderBuf::EMPTY;
        let ip_len = header.emit(buf.storage());
        let tcp = &mut buf.storage()[ip_len..ip_len + tcp_len];
        tcp[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        tcp[12] = (tcp_len as u8 / 4) << 4;
        tcp[13] = self.flags.0;
        tcp[14..16].copy_from_slice(&5_000u16.to_be_bytes());
        tcp[20..].copy_from_slice(&self.options);
        buf.set_len(ip_len + tcp_len);
        let layout = Layout::of(buf.as_slice()).expect("a TCP packet");
        let partial = layout.pseudo_header(buf.as_slice(), self.payload.len()).fold();
        layout.set_checksum(buf.storage(), partial);
        let checksum = Checksum::Partial { start: ip_len as u16, offset: CHECKSUM_OFFSET };
        let vnet = VnetHdr { checksum, segmentation: None };
        Transmit { interface: InterfaceId(0), vnet, header: buf, payload: self.payload }
    }

    /// The packet, to be cut into segments of `size` octets of payload.
    pub(crate) fn super_packet(self, size: u16) -> Transmit {
        let (kind, ecn) = (self.kind, self.flags.contains(TcpFlags::CWR));
        let mut packet = self.packet();
        let header_len = packet.header.as_slice().len() as u16;
        packet.vnet.segmentation = Some(Segmentation { kind, size, header_len, ecn });
        packet
    }
}

/// Octets of which no two neighbouring runs are alike.
pub(crate) fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| (i ^ (i >> 8)) as u8).collect()
}

/// The whole packet's octets.
pub(crate) fn octets(packet: &Transmit) -> Vec<u8> {
    [packet.header.as_slice(), &packet.payload].concat()
}

/// Drives `device` until `done` or until `limit` has passed, and returns what it received.
pub(crate) fn drive(
    device: &dyn Device,
    limit: Duration,
    mut done: impl FnMut(&[Received]) -> bool,
) -> Vec<Received> {
    let (mut pool, mut out) = (RxPool::new(), Vec::new());
    let end = monotonic_now() + limit;
    loop {
        let now = monotonic_now();
        device.advance(now).expect("the device works");
        device.receive(now, 64, &mut pool, &mut out).expect("the device works");
        if done(&out) || now >= end {
            return out;
        }
        let wake = device.deadline().unwrap_or(end).min(end);
        wait(device, wake);
    }
}

/// Sleeps until `device` is readable or `until` has come.
fn wait(device: &dyn Device, until: Instant) {
    let left = until - monotonic_now();
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    let mut fds: Vec<_> =
        device.as_fd().iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    poll(&mut fds, Some(&timeout)).expect("poll works");
}

/// Whether `device` is readable now.
pub(crate) fn is_readable(device: &dyn Device) -> bool {
    let fd = device.as_fd().expect("the device has a descriptor");
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll works") == 1
}
