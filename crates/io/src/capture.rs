//! A device whose packets are written to a pcapng file, as they pass between host and device.
//!
//! Raw IP packets (`LINKTYPE_RAW`) with nanoseconds of wall-clock time, the interface's name, and the
//! direction. A packet with segmentation is written as the one packet that it is here; a partial
//! checksum is completed on the written copy, so that no reader takes it for damaged.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};
use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::{Duration, Instant};
use polytcp_wire::virtio::Checksum;

use crate::clock::WallAnchor;
use crate::device::{Capabilities, Device, SendOutcome};
use crate::links::lock;
use crate::rx_pool::RxPool;
use crate::segment;

/// Octets of the file's buffer; some thirty of the largest packets, so that a burst is one write.
const BUFFER_BYTES: usize = 2 << 20;

/// More than what a packet's block takes beside the packet.
const BLOCK_BYTES: usize = 128;

/// `if_tsresol`: timestamps count in 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// `epb_flags`, bits 0 and 1 (pcapng §4.3.1).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A pcapng file that any number of devices write to. Clones are handles of the same file.
///
/// What is buffered is written when the last handle goes, or by [`flush`](Self::flush). Once writing
/// has failed the capture ends, with one warning in the log, and the devices go on without it.
#[derive(Clone)]
pub struct CaptureFile {
    state: Arc<Mutex<State>>,
}

struct State {
    anchor: WallAnchor,
    output: Output,
    interfaces: u32,
    /// Where a packet is put together.
    scratch: Vec<u8>,
    packets: u64,
}

enum Output {
    Open(Box<PcapNgWriter<BufWriter<Box<dyn Write + Send>>>>),
    Failed(io::ErrorKind),
}

impl fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureFile").field("packets", &self.packets()).finish_non_exhaustive()
    }
}

impl CaptureFile {
    /// Creates, or empties, the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::to_writer(File::create(path)?)
    }

    /// A capture that goes to `writer` instead of a file.
    ///
    /// # Errors
    /// When the capture's header cannot be written.
    pub fn to_writer(writer: impl Write + Send + 'static) -> io::Result<Self> {
        let writer: Box<dyn Write + Send> = Box::new(writer);
        let writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
        let writer = PcapNgWriter::new(writer).map_err(io_error)?;
        let state = State {
            anchor: WallAnchor::take(),
            output: Output::Open(Box::new(writer)),
            interfaces: 0,
            scratch: Vec::new(),
            packets: 0,
        };
        Ok(Self { state: Arc::new(Mutex::new(state)) })
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// When writing fails or has failed before.
    pub fn flush(&self) -> io::Result<()> {
        lock(&self.state).write(|writer| writer.get_mut().flush())
    }

    /// Packets written so far, buffered ones included.
    pub fn packets(&self) -> u64 {
        lock(&self.state).packets
    }

    /// The kind of error that ended the capture, if one did.
    pub fn failure(&self) -> Option<io::ErrorKind> {
        match lock(&self.state).output {
            Output::Open(_) => None,
            Output::Failed(kind) => Some(kind),
        }
    }

    /// Declares an interface; the number is what its packets refer to.
    fn add_interface(&self, name: &str) -> u32 {
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        // No limit to the length of packets.
        let block = InterfaceDescriptionBlock { linktype: DataLink::RAW, snaplen: 0, options };
        let mut state = lock(&self.state);
        let number = state.interfaces;
        state.interfaces += 1;
        // A failure is kept and reported by `write`.
        let _ = state.write(|writer| writer.write_pcapng_block(block).map(drop).map_err(io_error));
        number
    }

    fn add_packet(&self, interface: u32, flags: u32, now: Instant, checksum: Checksum, parts: [&[u8]; 2]) {
        let mut state = lock(&self.state);
        if let Output::Failed(_) = state.output {
            return;
        }
        let mut packet = std::mem::take(&mut state.scratch);
        packet.clear();
        parts.iter().for_each(|part| packet.extend_from_slice(part));
        if let Checksum::Partial { start, offset } = checksum {
            // One that does not fit its packet is shown as it is.
            let _ = segment::fill_checksum(&mut packet, start, offset);
        }
        let block = EnhancedPacketBlock {
            interface_id: interface,
            timestamp: Duration::from_nanos(state.anchor.unix_nanos(now)),
            original_len: packet.len() as u32,
            data: Cow::Borrowed(&packet),
            options: vec![EnhancedPacketOption::Flags(flags)],
        };
        let room_wanted = packet.len() + BLOCK_BYTES;
        let written = state.write(|writer| {
            // The file always ends with a whole packet, also when the process ends without flushing.
            let buffer = writer.get_mut();
            if buffer.capacity() - buffer.buffer().len() < room_wanted {
                buffer.flush()?;
            }
            writer.write_pcapng_block(block).map(drop).map_err(io_error)
        });
        if written.is_ok() {
            state.packets += 1;
        }
        state.scratch = packet;
    }
}

type Writer = PcapNgWriter<BufWriter<Box<dyn Write + Send>>>;

impl State {
    /// Writes with `write`; its first failure is logged, and the end of the capture.
    fn write(&mut self, write: impl FnOnce(&mut Writer) -> io::Result<()>) -> io::Result<()> {
        match &mut self.output {
            Output::Failed(kind) => Err((*kind).into()),
            Output::Open(writer) => {
                let result = write(writer);
                if let Err(error) = &result {
                    tracing::warn!(%error, "the capture ends, its file cannot be written");
                    self.output = Output::Failed(error.kind());
                }
                result
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // `write` has logged the failure; nobody is left to tell it to.
        let _ = self.write(|writer| writer.get_mut().flush());
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// A device whose packets are captured: those that it accepts, and those that it receives.
#[derive(Debug)]
pub struct Captured<D> {
    inner: D,
    file: CaptureFile,
    interface: u32,
}

impl<D: Device> Captured<D> {
    /// Captures the packets of `inner` in `file`, as an interface of the device's name.
    pub fn new(inner: D, file: &CaptureFile) -> Self {
        let interface = file.add_interface(inner.name());
        Self { inner, file: file.clone(), interface }
    }

    /// The device itself.
    pub fn inner(&self) -> &D {
        &self.inner
    }

    /// The file.
    pub fn file(&self) -> &CaptureFile {
        &self.file
    }
}

impl<D: Device> Device for Captured<D> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, now: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
        let outcome = self.inner.send(now, packet)?;
        if outcome == SendOutcome::Sent {
            let parts = [packet.header.as_slice(), &packet.payload[..]];
            self.file.add_packet(self.interface, OUTBOUND, now, packet.vnet.checksum, parts);
        }
        Ok(outcome)
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
        for packet in &out[before..] {
            self.file.add_packet(
                self.interface,
                INBOUND,
                now,
                packet.vnet.checksum,
                [&packet.bytes[..], &[]],
            );
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

#[cfg(test)]
mod tests;
