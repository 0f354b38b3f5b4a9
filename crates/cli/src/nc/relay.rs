//! Between stdin, stdout and the connection, until both directions have ended.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use polytcp::blocking::MptcpStream;

use super::stats::Subflows;
use crate::failure::Failure;

const PIECE_BYTES: usize = 128 * 1024;

/// How often subflows are looked at, so that one that closes early is in the statistics.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Returns at the first failure, even while stdin waits.
pub(super) fn run(stream: &MptcpStream, subflows: &mut Subflows<'_>) -> Result<(), Failure> {
    let failed = |error| Failure::setting_up::<io::Error>("stdin or stdout")(error);
    let clone = || stream.try_clone().map_err(failed);
    // Descriptors of their own: the standard library's handles buffer, stdout by lines.
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
    let (tell, ended) = mpsc::channel();
    let (outgoing, incoming, tell_too) = (clone()?, clone()?, tell.clone());
    // Not joined: whoever has nothing more to wait for is the main thread, which ends the process.
    thread::spawn(move || drop(tell.send(send(stdin, &outgoing))));
    thread::spawn(move || drop(tell_too.send(receive(&incoming, stdout))));
    loop {
        subflows.sample(stream);
        match ended.recv_timeout(SAMPLE_EVERY) {
            Ok(result) => result?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    subflows.sample(stream);
    Ok(())
}

fn send(mut stdin: File, mut stream: &MptcpStream) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match read_some(&mut stdin, &mut piece).map_err(Failure::running("reading stdin"))? {
            0 => break,
            len => stream.write_all(&piece[..len]).map_err(Failure::running("sending"))?,
        }
    }
    stream.shutdown(Shutdown::Write).map_err(Failure::running("ending the sending direction"))
}

fn receive(mut stream: &MptcpStream, mut stdout: File) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match stream.read(&mut piece).map_err(Failure::running("receiving"))? {
            0 => return Ok(()),
            len => stdout.write_all(&piece[..len]).map_err(Failure::running("writing to stdout"))?,
        }
    }
}

fn read_some(from: &mut File, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
