//! smoltcp: plain TCP over one device.
//!
//! In the fastest configuration that it supports: segmentation and checksums left to the device in both
//! directions, super-packets read whole, buffers as large as polytcp's, no congestion control (its default), no
//! delayed acknowledgements, no Nagle. Buffers of 1, 2, 4 and 16 MiB, delayed acknowledgements, Nagle, timestamps and
//! sending between every 1, 16 or 64 packets received were tried, on a machine too busy to tell any of them from this.

use std::io;
use std::time::Duration;

use polytcp_wire::virtio::{self, Segmentation, SegmentationKind, VnetHdr};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{self, Checksum, Device, DeviceCapabilities, Medium, PacketMeta};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpProtocol, Ipv4Packet, TcpPacket, checksum};

use crate::job::{BUFFER_BYTES, Job};
use crate::transfer::{self, Read, Sleep};
use crate::tun::{self, SPACE_BYTES, Tun};

/// Octets of the largest packet with segments, which is what the length field of IPv4 can say.
const SUPER_PACKET_BYTES: usize = 65_535;
/// Longest sleep: a look at the caller.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// The stack with its connection.
pub struct Client {
    interface: Interface,
    device: Port,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    budget: usize,
}

impl Client {
    /// Begins to connect.
    pub fn connect(job: &Job) -> io::Result<Self> {
        let [path] = job.paths[..] else { return Err(io::Error::other("smoltcp has one path")) };
        let mut device = Port::new(Tun::inherit(path.fd), job.mtu);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = getrandom::u64().map_err(io::Error::other)?;
        let mut interface = Interface::new(config, &mut device, Instant::now());
        interface.update_ip_addrs(|addresses| {
            // An interface has room for two.
            let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(path.local), 24));
        });
        // Every page is touched, so that the first round of the ring costs no page faults.
        let buffer = || {
            tcp::SocketBuffer::new(vec![
                1;
                std::env::var("XBUF")
                    .ok()
                    .and_then(|v| v.parse().ok())
                    .unwrap_or(BUFFER_BYTES)
            ])
        };
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        if std::env::var("XACK").is_err() {
            socket.set_ack_delay(None);
        }
        socket
            .connect(interface.context(), (*job.remote.ip(), job.remote.port()), job.port)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(socket);
        Ok(Self {
            interface,
            device,
            sockets,
            socket,
            budget: std::env::var("XBUD").ok().and_then(|v| v.parse().ok()).unwrap_or(0),
        })
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    fn is_closed(&mut self) -> bool {
        self.socket().state() == tcp::State::Closed
    }
}

impl transfer::Client for Client {
    fn turn(&mut self, sleep: Sleep) -> io::Result<()> {
        let now = Instant::now();
        let budget: usize = self.budget;
        let changed = if budget == 0 {
            self.interface.poll(now, &mut self.device, &mut self.sockets)
        } else {
            let mut res = PollResult::None;
            for _ in 0..budget {
                if self.interface.poll_ingress_single(now, &mut self.device, &mut self.sockets)
                    == smoltcp::iface::PollIngressSingleResult::None
                {
                    break;
                }
                res = PollResult::SocketStateChanged;
            }
            while self.interface.poll_egress(now, &mut self.device, &mut self.sockets) != PollResult::None {
                res = PollResult::SocketStateChanged;
            }
            res
        };
        self.device.failed()?;
        if sleep == Sleep::WhenIdle && changed == PollResult::None {
            let delay = self.interface.poll_delay(now, &self.sockets);
            let delay =
                delay.map_or(SLEEP_MAX, |delay| Duration::from_micros(delay.total_micros()).min(SLEEP_MAX));
            tun::wait(std::slice::from_ref(&self.device.tun), delay)?;
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.sockets.get::<tcp::Socket>(self.socket).may_send()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.socket().may_send() {
            let opening = matches!(self.socket().state(), tcp::State::SynSent);
            return if opening { Ok(0) } else { Err(io::ErrorKind::ConnectionReset.into()) };
        }
        self.socket().send_slice(bytes).map_err(|error| io::Error::other(error.to_string()))
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<Read> {
        match self.socket().recv_slice(buf) {
            Ok(0) => Ok(Read::Nothing),
            Ok(len) => Ok(Read::Octets(len)),
            Err(tcp::RecvError::Finished) => Ok(Read::End),
            Err(tcp::RecvError::InvalidState) if self.is_closed() => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Err(tcp::RecvError::InvalidState) => Ok(Read::Nothing),
        }
    }

    fn finish(&mut self) {
        self.socket().close();
    }
}

/// The device as smoltcp wants it: packets in and out of two buffers that are made once.
struct Port {
    tun: Tun,
    mtu: u16,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    failure: Option<io::Error>,
}

impl Port {
    fn new(tun: Tun, mtu: u16) -> Self {
        Self { tun, mtu, incoming: vec![0; SPACE_BYTES], outgoing: vec![0; SPACE_BYTES], failure: None }
    }

    /// The first failure of the device, which smoltcp has no word for.
    fn failed(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

impl Device for Port {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        match self.tun.read(&mut self.incoming) {
            Ok(Some(len)) => Some((
                Incoming { packet: &self.incoming[..len] },
                Outgoing {
                    tun: &self.tun,
                    space: &mut self.outgoing,
                    failure: &mut self.failure,
                    segment: None,
                },
            )),
            Ok(None) => None,
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing {
            tun: &self.tun,
            space: &mut self.outgoing,
            failure: &mut self.failure,
            segment: None,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu.into();
        // The sender is this machine: what comes is not verified, as polytcp does not.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.segmentation.tcpv4 = std::env::var("XSUP")
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(SUPER_PACKET_BYTES)
            .try_into()
            .ok();
        capabilities
    }
}

/// A packet that was read.
struct Incoming<'a> {
    packet: &'a [u8],
}

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.packet)
    }
}

/// A packet to be written.
struct Outgoing<'a> {
    tun: &'a Tun,
    space: &'a mut [u8],
    failure: &'a mut Option<io::Error>,
    /// Octets of payload of each segment that the device is to cut.
    segment: Option<u16>,
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let packet = &mut self.space[..len];
        let result = f(packet);
        let hdr = offload(packet, self.segment);
        if let Err(error) = self.tun.write(&hdr, packet) {
            *self.failure = Some(error);
        }
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size.map(Into::into);
    }
}

/// Leaves TCP's checksum to the device: it wants the pseudo-header's sum in the field, where smoltcp writes zero.
fn offload(packet: &mut [u8], segment: Option<u16>) -> VnetHdr {
    let mut ip = Ipv4Packet::new_unchecked(packet);
    if ip.version() != 4 || ip.next_header() != IpProtocol::Tcp {
        return VnetHdr::default();
    }
    let (source, destination, ip_header) = (ip.src_addr(), ip.dst_addr(), u16::from(ip.header_len()));
    let segments = ip.payload_mut();
    let len = u32::try_from(segments.len()).unwrap_or(0);
    let mut tcp = TcpPacket::new_unchecked(segments);
    let header_len = ip_header + u16::from(tcp.header_len());
    tcp.set_checksum(checksum::pseudo_header_v4(&source, &destination, IpProtocol::Tcp, len));
    VnetHdr {
        checksum: virtio::Checksum::Partial { start: ip_header, offset: 16 },
        segmentation: segment.map(|size| Segmentation {
            kind: SegmentationKind::Tcp4,
            size,
            header_len,
            ecn: false,
        }),
    }
}
