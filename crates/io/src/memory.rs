//! Two devices joined in memory: what one sends, the other receives, at once and in order.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use polytcp_proto::packet::{Received, Transmit};
use polytcp_proto::time::Instant;
use polytcp_wire::virtio::Checksum;
use rustix::event::{EventfdFlags, eventfd};

use crate::device::{Capabilities, Device, SendOutcome};
use crate::rx_pool::RxPool;
use crate::segment;

/// How two joined devices behave, both alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryConfig {
    /// What the devices take. A partial checksum passes as it is where offload is declared. Default:
    /// 1,500 octets with full offload, as a TUN device has it.
    pub capabilities: Capabilities,
    /// Octets that may wait in one direction; a packet beyond finds the device busy, except that an
    /// empty queue takes any one packet. Default 4 MiB: 64 packets of the largest size.
    pub queue_bytes: usize,
    /// Packets that may wait in one direction. Default 10,000, as the TUN devices of this crate.
    pub queue_packets: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { capabilities: Capabilities::offload(1_500), queue_bytes: 4 << 20, queue_packets: 10_000 }
    }
}

/// One end of a pair.
#[derive(Debug)]
pub struct MemoryDevice {
    name: String,
    config: MemoryConfig,
    incoming: Arc<Lane>,
    outgoing: Arc<Lane>,
}

/// One direction of a pair.
#[derive(Debug)]
struct Lane {
    state: Mutex<LaneState>,
    /// Readable while a packet waits.
    doorbell: OwnedFd,
}

#[derive(Debug, Default)]
struct LaneState {
    packets: VecDeque<Received>,
    bytes: usize,
}

impl MemoryDevice {
    /// Two joined devices, named `memory-a` and `memory-b`.
    ///
    /// # Errors
    /// When the process has no descriptor left for an eventfd.
    pub fn pair(config: MemoryConfig) -> io::Result<(Self, Self)> {
        let ab = Arc::new(Lane::new()?);
        let ba = Arc::new(Lane::new()?);
        let end = |name: &str, incoming: &Arc<Lane>, outgoing: &Arc<Lane>| Self {
            name: name.to_owned(),
            config,
            incoming: Arc::clone(incoming),
            outgoing: Arc::clone(outgoing),
        };
        Ok((end("memory-a", &ba, &ab), end("memory-b", &ab, &ba)))
    }

    /// The same device under another name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl Device for MemoryDevice {
    fn capabilities(&self) -> Capabilities {
        self.config.capabilities
    }

    /// A packet that does not fit the capabilities is dropped, as is every packet once the other end
    /// is gone: a cable that is unplugged.
    fn send(&self, _now: Instant, packet: &Transmit) -> io::Result<SendOutcome> {
        let capabilities = self.config.capabilities;
        let limit = match packet.vnet.segmentation {
            Some(_) if !capabilities.segmentation_offload() => return Ok(SendOutcome::Dropped),
            Some(_) => capabilities.segment_bytes_max as usize,
            None => usize::from(capabilities.mtu),
        };
        if packet.len() > limit || Arc::strong_count(&self.outgoing) == 1 {
            return Ok(SendOutcome::Dropped);
        }
        if !self.outgoing.has_room(&self.config, packet.len()) {
            return Ok(SendOutcome::Busy);
        }
        let received = match packet.vnet.checksum {
            Checksum::Partial { .. } if !capabilities.checksum_offload => {
                let mut packet = packet.clone();
                match segment::complete(&mut packet) {
                    Ok(()) => join(&packet),
                    Err(_) => return Ok(SendOutcome::Dropped),
                }
            }
            _ => join(packet),
        };
        self.outgoing.push(&self.config, received)
    }

    fn receive(
        &self,
        _now: Instant,
        budget: usize,
        _pool: &mut RxPool,
        out: &mut Vec<Received>,
    ) -> io::Result<usize> {
        self.incoming.pop(budget, out)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.incoming.doorbell.as_fd())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Header and payload in one buffer.
fn join(packet: &Transmit) -> Received {
    let mut bytes = BytesMut::with_capacity(packet.len());
    bytes.extend_from_slice(packet.header.as_slice());
    bytes.extend_from_slice(&packet.payload);
    Received { vnet: packet.vnet, buffer_bytes: bytes.len() as u32, bytes: bytes.freeze() }
}

impl Lane {
    fn new() -> io::Result<Self> {
        let doorbell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { state: Mutex::default(), doorbell })
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, config: &MemoryConfig, len: usize) -> bool {
        let state = self.lock();
        state.packets.is_empty()
            || (state.bytes + len <= config.queue_bytes && state.packets.len() < config.queue_packets)
    }

    /// Another sender may have taken the room meanwhile, so it is checked again.
    fn push(&self, config: &MemoryConfig, packet: Received) -> io::Result<SendOutcome> {
        let mut state = self.lock();
        let len = packet.bytes.len();
        let was_empty = state.packets.is_empty();
        if !was_empty
            && (state.bytes + len > config.queue_bytes || state.packets.len() >= config.queue_packets)
        {
            return Ok(SendOutcome::Busy);
        }
        state.bytes += len;
        state.packets.push_back(packet);
        if was_empty {
            // Under the lock, so that ringing and silencing happen in the order of the queue's states.
            rustix::io::write(&self.doorbell, &1u64.to_ne_bytes())?;
        }
        Ok(SendOutcome::Sent)
    }

    fn pop(&self, budget: usize, out: &mut Vec<Received>) -> io::Result<usize> {
        let mut state = self.lock();
        let taken = budget.min(state.packets.len());
        if taken == 0 {
            return Ok(0);
        }
        let before = out.len();
        out.extend(state.packets.drain(..taken));
        state.bytes -= out[before..].iter().map(|packet| packet.bytes.len()).sum::<usize>();
        if state.packets.is_empty() {
            rustix::io::read(&self.doorbell, &mut [0; 8])?;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
