//! Getting a connection ready: a listener, the handshake, an octet each way, the joins.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use polytcp_lab::{Kernel, KernelListener, KernelStream, PathConfig, Protocol};

use super::{Begin, Family};
use crate::duplex::Duplex;
use crate::failure::Failure;

const OPENING_MAX: Duration = Duration::from_secs(20);
/// Longest wait of one read or write.
pub(in crate::bench) const STALL_MAX: Duration = Duration::from_secs(30);

/// Listens at the server's address on the first path.
pub(in crate::bench) fn listen(
    kernel: &Kernel,
    family: Family,
    protocol: Protocol,
    cc: &str,
) -> Result<(SocketAddr, KernelListener), Failure> {
    // Any port: a second connection has its listener beside the first one's.
    let at = SocketAddr::new(family.server(&PathConfig::new(0)), 0);
    let listener = kernel.listen(at, protocol).map_err(Failure::setting_up("listening"))?;
    listener.set_congestion(cc).map_err(Failure::setting_up(format!("the kernel's {cc}")))?;
    let to = listener.local_addr().map_err(Failure::setting_up("listening"))?;
    Ok((to, listener))
}

pub(in crate::bench) fn accept(listener: &KernelListener, cc: &str) -> Result<KernelStream, Failure> {
    let stream = listener.accept_within(OPENING_MAX).map_err(Failure::running("accepting"))?;
    stream.set_congestion(cc).map_err(Failure::setting_up(format!("the kernel's {cc}")))?;
    Ok(stream)
}

/// Has the connection ready for both. The subflows are counted by the server, which is a kernel in either
/// arena: it lists one when its handshake is over, a client that connects when it begins.
pub(in crate::bench) fn open(
    begin: Begin,
    client: &dyn Duplex,
    server: &KernelStream,
    paths: usize,
) -> Result<(), Failure> {
    greet(client, server)?;
    match begin {
        Begin::AtOnce => Ok(()),
        Begin::Joined => await_joined(server, paths),
    }
}

/// Waits until the server lists a subflow for each path.
pub(in crate::bench) fn await_joined(server: &KernelStream, paths: usize) -> Result<(), Failure> {
    await_count(paths, || {
        server.subflows().map(|flows| flows.len()).map_err(Failure::running("asking for the subflows"))
    })
}

/// An octet each way: a client joins once the server has answered.
pub(in crate::bench) fn greet(client: &dyn Duplex, server: &dyn Duplex) -> Result<(), Failure> {
    let failed = |error| Failure::running::<std::io::Error>("the connection does not open")(error);
    client.limit_waits(STALL_MAX).map_err(failed)?;
    server.limit_waits(STALL_MAX).map_err(failed)?;
    client.send_all(b"?").map_err(failed)?;
    server.receive_exact(&mut [0]).map_err(failed)?;
    server.send_all(b"!").map_err(failed)?;
    client.receive_exact(&mut [0]).map_err(failed)
}

fn await_count(wanted: usize, count: impl Fn() -> Result<usize, Failure>) -> Result<(), Failure> {
    let deadline = Instant::now() + OPENING_MAX;
    loop {
        let found = count()?;
        if found >= wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::run(format!("{found} of {wanted} subflows within 20 s")));
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
