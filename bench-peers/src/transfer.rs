//! One transfer, the same for every stack: as `polytcp bench` does it with its own, a write or a read at a
//! time.

use std::io;
use std::time::Duration;

use crate::caller::{self, Said};
use crate::job::{Job, Way};
use crate::pattern::Pattern;

/// Octets of one read, as with polytcp.
const PIECE_BYTES: usize = 256 * 1024;
/// How long a stack goes on after the caller has seen its end, so that its last acknowledgement leaves.
const LINGER: Duration = Duration::from_millis(20);

/// What a read gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    Octets(usize),
    Nothing,
    End,
}

/// Whether a turn may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sleep {
    Never,
    /// When there is nothing to be done, until there is.
    WhenIdle,
}

/// A stack with one connection, and the loop that drives it.
pub trait Client {
    /// Takes what the devices have, sends what is due, and sleeps.
    fn turn(&mut self, sleep: Sleep) -> io::Result<()>;
    /// Whether every subflow can carry data.
    fn is_ready(&self) -> bool;
    /// Takes the front of `bytes`, as much as there is room for.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Fills the front of `buf`.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<Read>;
    /// Ends the sending direction.
    fn finish(&mut self);
}

/// Carries what `job` says and tells the caller.
pub fn run(job: &Job, mut client: impl Client) -> io::Result<()> {
    let pattern = Pattern::new(1);
    let mut piece = vec![0; PIECE_BYTES];
    write_all(&mut client, b"?")?;
    match next(&mut client, &mut piece)? {
        1 if piece[0] == b'!' => {}
        _ => return Err(io::Error::other("another greeting came")),
    }
    while !client.is_ready() {
        client.turn(Sleep::WhenIdle)?;
    }
    caller::tell_ready();
    while caller::said()? == Said::Nothing {
        client.turn(Sleep::WhenIdle)?;
    }
    let processor = caller::processor_time();
    caller::tell("started", caller::now());
    match job.way {
        Way::Up => {
            send(&mut client, job, &pattern)?;
            if next(&mut client, &mut piece)? != 0 {
                return Err(io::Error::other("data came the wrong way"));
            }
        }
        Way::Down => {
            receive(&mut client, job, &pattern, &mut piece)?;
            caller::tell("ended", caller::now());
            client.finish();
            client.turn(Sleep::Never)?;
        }
    }
    caller::tell("processor", caller::processor_time() - processor);
    while caller::said()? != Said::Over {
        match client.turn(Sleep::WhenIdle) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            result => result?,
        }
    }
    let until = caller::now() + LINGER;
    while caller::now() < until {
        client.turn(Sleep::Never)?;
    }
    Ok(())
}

fn send(client: &mut impl Client, job: &Job, pattern: &Pattern) -> io::Result<()> {
    let mut sent = 0;
    while sent < job.size {
        let len = usize::try_from(job.size - sent).unwrap_or(usize::MAX).min(job.write_bytes);
        write_all(client, pattern.at(sent, len))?;
        sent += len as u64;
    }
    client.finish();
    client.turn(Sleep::Never)
}

fn receive(client: &mut impl Client, job: &Job, pattern: &Pattern, piece: &mut [u8]) -> io::Result<()> {
    let mut received = 0;
    loop {
        let len = next(client, piece)?;
        if len == 0 {
            break;
        }
        if job.compares && piece[..len] != *pattern.at(received, len) {
            return Err(io::Error::other(format!("wrong data after {received} bytes")));
        }
        received += len as u64;
    }
    if received == job.size {
        Ok(())
    } else {
        Err(io::Error::other(format!("{received} of {} bytes came", job.size)))
    }
}

fn write_all(client: &mut impl Client, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = client.write(bytes)?;
        bytes = &bytes[written..];
        client.turn(if written == 0 { Sleep::WhenIdle } else { Sleep::Never })?;
    }
    Ok(())
}

/// The length of the next piece; 0 at the end.
fn next(client: &mut impl Client, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match client.read(piece)? {
            Read::Octets(len) => return Ok(len),
            Read::End => return Ok(0),
            Read::Nothing => client.turn(Sleep::WhenIdle)?,
        }
    }
}
