//! One end of a connection that is measured: how it sends and receives a whole load.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pump::{Check, Load, PIECE_BYTES, Reception};
use crate::duplex::Duplex;
use crate::pattern::Pattern;

/// A stream that carries loads.
pub(super) trait End: Send + Sync {
    /// Sends a load, and ends the direction.
    fn send_pattern(&self, load: Load, pattern: &Arc<Pattern>) -> io::Result<()>;
    /// Receives a load and the end of the direction.
    fn receive_pattern(&self, load: Load, pattern: &Arc<Pattern>) -> io::Result<Reception>;
    /// Ends the sending direction.
    fn end(&self) -> io::Result<()>;
}

/// By a thread that blocks.
impl End for Box<dyn Duplex> {
    fn send_pattern(&self, load: Load, pattern: &Arc<Pattern>) -> io::Result<()> {
        send(&**self, load, pattern)
    }

    fn receive_pattern(&self, load: Load, pattern: &Arc<Pattern>) -> io::Result<Reception> {
        receive(&**self, load, pattern)
    }

    fn end(&self) -> io::Result<()> {
        self.finish()
    }
}

/// Sends a load, and ends the direction.
pub(super) fn send(stream: &dyn Duplex, load: Load, pattern: &Pattern) -> io::Result<()> {
    let mut sent = 0;
    while let Some(piece) = load.piece(pattern, sent) {
        stream.send_all(piece)?;
        sent += piece.len() as u64;
    }
    stream.finish()
}

/// Receives a load and the end of the direction.
pub(super) fn receive(stream: &dyn Duplex, load: Load, pattern: &Pattern) -> io::Result<Reception> {
    let mut receiver = Receiver::new(load);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let len = stream.receive(&mut piece)?;
        if let Some(reception) = receiver.take(&piece[..len], pattern)? {
            return Ok(reception);
        }
    }
}

impl Load {
    /// What to write after `sent` octets; `None` when all are sent.
    pub(super) fn piece<'a>(&self, pattern: &'a Pattern, sent: u64) -> Option<&'a [u8]> {
        let left = usize::try_from(self.size - sent).unwrap_or(usize::MAX);
        (left > 0).then(|| pattern.at(sent, left.min(self.write_bytes)))
    }
}

/// Counts, and if asked compares, what comes.
pub(super) struct Receiver {
    load: Load,
    received: u64,
    last: Option<Instant>,
    longest_pause: Duration,
}

impl Receiver {
    pub(super) fn new(load: Load) -> Self {
        Self { load, received: 0, last: None, longest_pause: Duration::ZERO }
    }

    /// Takes what one read gave. At the end of the stream, which is an empty read, says how it went.
    pub(super) fn take(&mut self, mut octets: &[u8], pattern: &Pattern) -> io::Result<Option<Reception>> {
        let now = Instant::now();
        let pause = self.last.map_or(Duration::ZERO, |last| now - last);
        self.longest_pause = self.longest_pause.max(pause);
        if octets.is_empty() {
            if self.received != self.load.size {
                let text = format!("{} of {} bytes came", self.received, self.load.size);
                return Err(io::Error::other(text));
            }
            return Ok(Some(Reception { ended: now, longest_pause: self.longest_pause }));
        }
        self.last = Some(now);
        if self.load.check == Check::LengthOnly {
            self.received += octets.len() as u64;
            return Ok(None);
        }
        while !octets.is_empty() {
            let expected = pattern.at(self.received, octets.len());
            let (piece, rest) = octets.split_at(expected.len());
            if piece != expected {
                return Err(io::Error::other(format!("wrong data after {} bytes", self.received)));
            }
            self.received += piece.len() as u64;
            octets = rest;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(size: u64) -> Load {
        Load { size, write_bytes: 1 << 20, check: Check::EveryOctet }
    }

    #[test]
    fn pieces_are_the_whole_load_whatever_the_writes() {
        let pattern = Pattern::shared(1);
        let (load, mut sent, mut receiver) = (load(5 << 20), 0, Receiver::new(load(5 << 20)));
        while let Some(piece) = load.piece(&pattern, sent) {
            assert!(receiver.take(piece, &pattern).expect("right so far").is_none());
            sent += piece.len() as u64;
        }
        assert_eq!(sent, 5 << 20);
        assert!(receiver.take(&[], &pattern).expect("the end").is_some());
    }

    #[test]
    fn wrong_octets_and_a_wrong_length_are_told() {
        let pattern = Pattern::shared(1);
        let mut receiver = Receiver::new(load(100));
        assert!(receiver.take(&[0; 10], &pattern).is_err());
        let mut receiver = Receiver::new(load(100));
        assert!(receiver.take(pattern.at(0, 99), &pattern).is_ok());
        assert!(receiver.take(&[], &pattern).is_err(), "one is missing");
    }
}
