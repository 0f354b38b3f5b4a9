//! Bytes from one end of a connection to the other, judged at both.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::bounded::pause;
use crate::stream_data::{PIECE_BYTES, Seen, Source, Witness};
use crate::world::{Ends, World};

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// The stack sends.
    Upload,
    /// The kernel sends.
    Download,
}

/// How the ends behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) seed: u64,
    pub(crate) bytes: u64,
    /// Octets of each write.
    pub(crate) write_bytes: usize,
    /// The reader sleeps once, after so many bytes for so long.
    pub(crate) nap: Option<(u64, Duration)>,
}

impl Manner {
    pub(crate) fn new(seed: u64, bytes: u64) -> Self {
        Self { seed, bytes, write_bytes: PIECE_BYTES, nap: None }
    }
}

/// What came of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    /// Longest time between two reads that returned something, naps apart.
    pub(crate) longest_pause: Duration,
}

impl Outcome {
    pub(crate) fn mbit_per_sec(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / 1e6 / self.took.as_secs_f64()
    }
}

impl World {
    /// Sends `manner.bytes` one way and checks that they arrive; neither direction is closed.
    pub(crate) fn transfer(&self, ends: &Ends, way: Way, manner: Manner) -> Outcome {
        let started = Instant::now();
        let (written, read) = match way {
            Way::Upload => both(&ends.stack, &ends.kernel, manner),
            Way::Download => both(&ends.kernel, &ends.stack, manner),
        };
        let took = started.elapsed();
        let fail = |what: String| -> ! {
            panic!("{way:?} of {} bytes, {took:?}: {what}\n{}", manner.bytes, self.describe(Some(ends)))
        };
        match (&written, &read) {
            (Ok(written), Ok(read)) => {
                if let Some(at) = read.seen.first_wrong {
                    fail(format!("byte {at} is wrong"));
                }
                if read.seen != *written {
                    fail(format!("written {written:?}, read {:?}", read.seen));
                }
                Outcome { took, longest_pause: read.longest_pause }
            }
            _ => fail(format!(
                "written: {:?}; read: {:?}",
                written.as_ref().map(|seen| seen.bytes),
                read.as_ref().map(|read| read.seen.bytes)
            )),
        }
    }

    /// Closes both directions, `first` the stack's or the kernel's, and checks that both ends learn it.
    pub(crate) fn close(&self, ends: &Ends, first: Way) {
        let fail =
            |what: String| -> ! { panic!("close after {first:?}: {what}\n{}", self.describe(Some(ends))) };
        let close_stack = || {
            if let Err(error) = ends.stack.shutdown(Shutdown::Write) {
                fail(format!("the stack's shutdown: {error}"));
            }
            match (&ends.kernel).read(&mut [0; 16]) {
                Ok(0) => {}
                other => fail(format!("the kernel reads {other:?}, not the end")),
            }
        };
        let close_kernel = || {
            if let Err(error) = ends.kernel.shutdown(Shutdown::Write) {
                fail(format!("the kernel's shutdown: {error}"));
            }
            match (&ends.stack).read(&mut [0; 16]) {
                Ok(0) => {}
                other => fail(format!("the stack reads {other:?}, not the end")),
            }
        };
        match first {
            Way::Upload => {
                close_stack();
                close_kernel();
            }
            Way::Download => {
                close_kernel();
                close_stack();
            }
        }
    }
}

/// What a reader saw.
pub(crate) struct ReadBack {
    pub(crate) seen: Seen,
    pub(crate) longest_pause: Duration,
}

/// Failures of one end, with how far it had come.
#[derive(Debug)]
#[expect(dead_code, reason = "printed by failures")]
pub(crate) struct Broken {
    after_bytes: u64,
    error: io::Error,
}

/// Writes at one end and reads at the other at once.
pub(crate) fn both<W, R>(
    writer: W,
    reader: R,
    manner: Manner,
) -> (Result<Seen, Broken>, Result<ReadBack, Broken>)
where
    W: Write + Send,
    R: Read + Send,
{
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || write_all(writer, manner));
        let read = read_all(reader, manner);
        (writing.join().expect("a writer does not panic"), read)
    })
}

fn write_all(mut writer: impl Write, manner: Manner) -> Result<Seen, Broken> {
    let mut source = Source::new(manner.seed);
    let mut witness = Witness::new(manner.seed);
    let mut piece = vec![0; manner.write_bytes];
    let mut done = 0;
    while done < manner.bytes {
        let len = (manner.bytes - done).min(piece.len() as u64) as usize;
        source.fill(&mut piece[..len]);
        witness.see(&piece[..len]);
        writer.write_all(&piece[..len]).map_err(|error| Broken { after_bytes: done, error })?;
        done += len as u64;
    }
    Ok(witness.finish())
}

fn read_all(mut reader: impl Read, manner: Manner) -> Result<ReadBack, Broken> {
    let mut witness = Witness::new(manner.seed);
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0;
    let mut nap = manner.nap;
    let mut longest_pause = Duration::ZERO;
    let mut last = Instant::now();
    while done < manner.bytes {
        if let Some((after, length)) = nap
            && done >= after
        {
            pause(length);
            nap = None;
            last = Instant::now();
        }
        let want = (manner.bytes - done).min(piece.len() as u64) as usize;
        let len = match reader.read(&mut piece[..want]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            result => result,
        };
        let len = len.map_err(|error| Broken { after_bytes: done, error })?;
        longest_pause = longest_pause.max(last.elapsed());
        last = Instant::now();
        witness.see(&piece[..len]);
        done += len as u64;
    }
    Ok(ReadBack { seen: witness.finish(), longest_pause })
}
