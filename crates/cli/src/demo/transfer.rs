//! The data of the demo: generated, sent, received and hashed.

use std::io;

use sha2::{Digest, Sha256};

use crate::delivery::{Flow, Outage};
use crate::duplex::Duplex;
use crate::pattern::Generator;

/// Octets of one write or read: small enough that progress is smooth at some Mbit/s.
const PIECE_BYTES: usize = 32 * 1024;

/// The SHA-256 of a direction's data, at one end of it.
pub(super) type Hash = [u8; 32];

/// Sends `size` octets that follow from `seed` and ends the direction.
pub(super) fn send(stream: &dyn Duplex, size: u64, seed: u64) -> io::Result<Hash> {
    let mut generator = Generator::new(seed);
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = size;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        generator.fill(&mut piece[..len]);
        hasher.update(&piece[..len]);
        stream.send_all(&piece[..len])?;
        left -= len as u64;
    }
    stream.finish()?;
    Ok(hasher.finalize().into())
}

/// Receives up to the end of the direction.
pub(super) fn receive(stream: &dyn Duplex, flow: &Flow, outage: &Outage) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let len = stream.receive(&mut piece)?;
        if len == 0 {
            return Ok(hasher.finalize().into());
        }
        flow.deliver(len, outage);
        hasher.update(&piece[..len]);
    }
}
