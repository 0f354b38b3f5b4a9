//! mptcp-rs: MPTCP over as many devices as there are.
//!
//! It knows no offload: a packet has at most the MTU and its whole checksum, both ways. Otherwise as it comes,
//! since its defaults are the largest buffers (16 MiB) and CUBIC.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mptcp_rs::{ConnectConfig, ConnectionHandle, Endpoint, Event, Instant, ReadError};
use polytcp_wire::virtio::VnetHdr;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::caller;
use crate::job::{Job, Path};
use crate::transfer::{self, Read, Sleep};
use crate::tun::{self, SPACE_BYTES, Tun};

/// Packets that are taken from a device before the others have their turn.
const BUDGET: usize = 64;
/// Longest sleep: a look at the caller.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// The stack with its connection.
pub struct Client {
    endpoint: Endpoint<ChaCha20Rng>,
    connection: ConnectionHandle,
    tuns: Vec<Tun>,
    paths: Vec<Path>,
    remote: SocketAddr,
    mtu: u16,
    space: Vec<u8>,
    /// Subflows that can carry data.
    up: usize,
}

impl Client {
    /// Begins to connect.
    pub fn connect(job: &Job) -> io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let mut endpoint = Endpoint::new(ChaCha20Rng::from_seed(seed));
        let mut config = ConnectConfig::default();
        config.mtu = job.mtu;
        let remote = job.remote.into();
        let connection = endpoint
            .connect_mptcp(now(), job.paths[0].local.into(), remote, config)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(Self {
            endpoint,
            connection,
            tuns: job.paths.iter().map(|path| Tun::inherit(path.fd)).collect(),
            paths: job.paths.clone(),
            remote,
            mtu: job.mtu,
            space: vec![0; SPACE_BYTES],
            up: 0,
        })
    }

    /// Takes what the devices have; how many packets.
    fn take(&mut self) -> io::Result<usize> {
        let mut taken = 0;
        for tun in &self.tuns {
            for _ in 0..BUDGET {
                let Some(len) = tun.read(&mut self.space)? else { break };
                self.endpoint.handle_packet(now(), &self.space[..len]);
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// Sends what is due; how many packets.
    fn send(&mut self) -> io::Result<usize> {
        let mut sent = 0;
        while let Some(len) = self.endpoint.poll_transmit(now(), &mut self.space) {
            let packet = &self.space[..len];
            let source = packet.get(12..16);
            let path = self.paths.iter().position(|path| source == Some(&path.local.octets()));
            self.tuns[path.unwrap_or(0)].write(&VnetHdr::default(), packet)?;
            sent += 1;
        }
        Ok(sent)
    }

    fn look_at_events(&mut self) -> io::Result<()> {
        while let Some((_, event)) = self.endpoint.poll_event() {
            match event {
                Event::Connected { mptcp: true } => {
                    self.up += 1;
                    for path in &self.paths[1..] {
                        let local = IpAddr::from(path.local);
                        self.endpoint
                            .add_subflow(now(), self.connection, local, self.remote, self.mtu, false)
                            .map_err(|error| io::Error::other(format!("{error:?}")))?;
                    }
                }
                Event::SubflowUp { .. } => self.up += 1,
                Event::Connected { mptcp: false } | Event::FellBack => {
                    return Err(io::Error::other("it fell back to TCP"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn connection(&mut self) -> io::Result<&mut mptcp_rs::Connection> {
        self.endpoint.connection(self.connection).ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }
}

impl transfer::Client for Client {
    fn turn(&mut self, sleep: Sleep) -> io::Result<()> {
        let moved = self.take()? + self.send()?;
        self.look_at_events()?;
        let due = self.endpoint.poll_timeout();
        let wait = due.map_or(SLEEP_MAX, |due| due - now());
        if wait.is_zero() {
            self.endpoint.handle_timeout(now());
            self.send()?;
            return self.look_at_events();
        }
        if sleep == Sleep::WhenIdle && moved == 0 {
            tun::wait(&self.tuns, wait.min(SLEEP_MAX))?;
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.up == self.paths.len()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection()?.write(bytes).map_err(|error| io::Error::other(format!("{error:?}")))
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<Read> {
        match self.connection()?.read(buf) {
            Ok(0) => Ok(Read::End),
            Ok(len) => Ok(Read::Octets(len)),
            Err(ReadError::WouldBlock) => Ok(Read::Nothing),
            Err(error) => Err(io::Error::other(format!("{error:?}"))),
        }
    }

    fn finish(&mut self) {
        // A connection that is gone is told by the next read.
        if let Ok(connection) = self.connection() {
            connection.close();
        }
    }
}

fn now() -> Instant {
    Instant::from_nanos(u64::try_from(caller::now().as_nanos()).unwrap_or(u64::MAX))
}
