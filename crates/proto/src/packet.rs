//! Packets as they pass between a host and its devices.

use bytes::Bytes;
use polytcp_wire::virtio::VnetHdr;

/// An interface of a host, by the order in which interfaces were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InterfaceId(pub u32);

/// Octets that the largest header may take: IPv6 (40) and TCP with full options (60).
pub const HEADER_LEN_MAX: usize = 100;

/// The headers of one outgoing packet, held inline.
#[derive(Clone)]
pub struct HeaderBuf {
    bytes: [u8; HEADER_LEN_MAX],
    len: u8,
}

impl HeaderBuf {
    /// An empty buffer.
    pub const EMPTY: Self = Self { bytes: [0; HEADER_LEN_MAX], len: 0 };

    /// A copy of `bytes`, or `None` when they exceed [`HEADER_LEN_MAX`].
    pub fn copy_from(bytes: &[u8]) -> Option<Self> {
        let mut buf = Self::EMPTY;
        buf.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        buf.len = bytes.len() as u8;
        Some(buf)
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The whole storage, to write headers into before [`set_len`](Self::set_len).
    pub fn storage(&mut self) -> &mut [u8; HEADER_LEN_MAX] {
        &mut self.bytes
    }

    /// Declares how many octets of the storage are header.
    ///
    /// # Panics
    /// When `len` exceeds [`HEADER_LEN_MAX`]: a mistake of the caller, no input leads here.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= HEADER_LEN_MAX, "header length {len}");
        self.len = len as u8;
    }
}

impl core::fmt::Debug for HeaderBuf {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// One packet on its way out: headers, the payload that follows them, and what the device finishes.
///
/// Up to 64 KiB long when `vnet.segmentation` is present; else it fits the interface's MTU.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// The interface that it leaves through.
    pub interface: InterfaceId,
    /// What the device has to finish.
    pub vnet: VnetHdr,
    /// IP and transport headers (or a whole small packet).
    pub header: HeaderBuf,
    /// Payload, shared with the send buffer; empty for a pure acknowledgement.
    pub payload: Bytes,
}

impl Transmit {
    /// Octets of the packet, without the virtio header.
    pub fn len(&self) -> usize {
        self.header.as_slice().len() + self.payload.len()
    }

    /// True when there is nothing to send, which a host never emits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One packet that a device received: IP header first, up to 64 KiB.
#[derive(Clone, Debug)]
pub struct Received {
    /// What the device left undone or did already.
    pub vnet: VnetHdr,
    /// The whole packet; the host keeps slices of it and never copies it as a whole.
    pub bytes: Bytes,
    /// Octets of the buffer that `bytes` pins in memory; at least `bytes.len()`.
    pub buffer_bytes: u32,
}
