//! Idle MPTCP connections between the stack and a kernel, each with a subflow on every path.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use polytcp::blocking::MptcpStream;
use polytcp_lab::{KernelListener, KernelStream, PathConfig, Protocol};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bench::arena::{StackArena, greet};
use crate::failure::Failure;

/// Longest wait for the last join.
const JOINING_MAX: Duration = Duration::from_secs(20);
/// Descriptors beside the kernel's sockets, with room.
const DESCRIPTORS_BESIDE: u64 = 256;

/// See the module.
pub(super) struct Crowd {
    streams: Vec<MptcpStream>,
    peers: Vec<KernelStream>,
    subflows: usize,
    /// Needed for joins.
    _listener: KernelListener,
}

impl Crowd {
    /// Opens `count` connections, one after the other, each used for an octet each way.
    pub(super) fn open(arena: &StackArena, count: u32) -> Result<Self, Failure> {
        allow_descriptors(u64::from(count) + DESCRIPTORS_BESIDE)?;
        let at = SocketAddr::new(PathConfig::new(0).kernel_v4.into(), 0);
        let listener =
            arena.kernel().listen(at, Protocol::Mptcp).map_err(Failure::setting_up("listening"))?;
        let to = listener.local_addr().map_err(Failure::setting_up("listening"))?;
        let count = count as usize;
        let mut crowd = Self {
            streams: Vec::with_capacity(count),
            peers: Vec::with_capacity(count),
            subflows: arena.stack().paths().len(),
            _listener: listener,
        };
        for _ in 0..count {
            let stream = MptcpStream::connect(arena.stack(), to).map_err(Failure::running("connecting"))?;
            let peer = crowd._listener.accept_within(JOINING_MAX).map_err(Failure::running("accepting"))?;
            greet(&stream, &peer)?;
            crowd.streams.push(stream);
            crowd.peers.push(peer);
        }
        let deadline = Instant::now() + JOINING_MAX;
        while let Err(missing) = crowd.is_whole() {
            if Instant::now() > deadline {
                return Err(missing);
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(crowd)
    }

    /// Looks whether every connection has all its subflows, on both sides.
    pub(super) fn is_whole(&self) -> Result<(), Failure> {
        for (stream, peer) in self.streams.iter().zip(&self.peers) {
            let own = stream.subflows().map(|flows| flows.len());
            let theirs = peer.subflows().map(|flows| flows.len());
            for found in [own, theirs] {
                let found = found.map_err(Failure::running("asking for the subflows"))?;
                if found != self.subflows {
                    let wanted = self.subflows;
                    return Err(Failure::run(format!("a connection has {found} of {wanted} subflows")));
                }
            }
        }
        Ok(())
    }
}

/// Every connection has a socket of the kernel, which is a descriptor.
fn allow_descriptors(wanted: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|most| most.max(wanted)) };
    setrlimit(Resource::Nofile, raised)
        .map_err(Failure::setting_up(format!("{wanted} descriptors are needed: ulimit -n")))
}
