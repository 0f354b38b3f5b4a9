//! One round of short connections: opened, 64 octets each way, closed by the client first.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Spoken;
use super::hosts::{Contest, Door, Side};
use crate::bench::cores::Cores;
use crate::duplex::{Duplex, explain};
use crate::failure::Failure;

const EXCHANGE_BYTES: usize = 64;
/// First octet of a request: an ordinary one, or one that ends the thread that serves it.
const ASK: u8 = 1;
const GOODBYE: u8 = 2;
/// Longest wait of one read or write: what takes longer is lost.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How often a server's thread is told to end before the round is given up.
const GOODBYES: usize = 3;

pub(super) struct Round {
    pub(super) protocol: Spoken,
    pub(super) count: u32,
    pub(super) parallel: u16,
    pub(super) cores: Option<Cores>,
}

/// What became of a round.
pub(super) struct Done {
    finished: u64,
    elapsed: Duration,
    pub(super) lost: u64,
    /// What the first lost one failed with.
    pub(super) fault: Option<String>,
}

/// What the threads of both sides count.
#[derive(Default)]
struct Tally {
    begun: AtomicU32,
    finished: AtomicU64,
    served: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Done {
    pub(super) fn per_second(&self) -> f64 {
        self.finished as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Opens, uses and closes that many connections.
pub(super) fn turnover(contest: &Contest<'_>, round: &Round) -> Result<Done, Failure> {
    let door = contest.listen(round.protocol)?;
    let to = door.address().map_err(Failure::setting_up("listening"))?;
    let tally = Tally::default();
    let elapsed = thread::scope(|scope| {
        let servers: Vec<_> = (0..round.parallel)
            .map(|_| scope.spawn(|| contest.work(Side::Server, round.cores, || tally.serve(&door))))
            .collect();
        let begun = Instant::now();
        let clients: Vec<_> = (0..round.parallel)
            .map(|_| {
                let work = || tally.use_up(contest, to, round);
                scope.spawn(move || contest.work(Side::Client, round.cores, work))
            })
            .collect();
        let worked: Result<Vec<()>, Failure> = clients.into_iter().map(join).collect();
        let elapsed = begun.elapsed();
        let dismissal = || (0..round.parallel).try_for_each(|_| dismiss(contest, to, round.protocol));
        let dismissed = scope.spawn(move || contest.work(Side::Client, round.cores, dismissal));
        join(dismissed)?.map_err(|error| Failure::run(format!("ending the round: {}", explain(&error))))?;
        servers.into_iter().try_for_each(join)?;
        worked.map(|_| elapsed)
    })?;
    drop(door);
    contest.settle()?;
    let finished = tally.finished.into_inner();
    // One that either side saw fail, or of which the other side never heard.
    let lost = u64::from(round.count) - finished.min(tally.served.into_inner());
    let faults = tally.faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Done { finished, elapsed, lost, fault: faults.into_iter().next() })
}

impl Tally {
    /// A client's thread: one connection after the other while there are any left.
    fn use_up(&self, contest: &Contest<'_>, to: SocketAddr, round: &Round) {
        let mut is_first = true;
        while self.begun.fetch_add(1, Ordering::Relaxed) < round.count {
            let used = contest.connect(to, round.protocol).and_then(|stream| {
                ask(&*stream, ASK)?;
                // Asked once for each thread, since it is a system call with one of the contestants.
                if std::mem::take(&mut is_first)
                    && stream.is_multipath()? != (round.protocol == Spoken::Mptcp)
                {
                    return Err(io::Error::other("not the protocol that was asked for"));
                }
                close(&*stream)
            });
            match used {
                Ok(()) => drop(self.finished.fetch_add(1, Ordering::Relaxed)),
                Err(error) => self.note("client", &error),
            }
        }
    }

    /// A server's thread: until it is told to end.
    fn serve(&self, door: &Door) {
        loop {
            match door.accept().and_then(|stream| answer(&*stream)) {
                Ok(GOODBYE) => return,
                Ok(_) => drop(self.served.fetch_add(1, Ordering::Relaxed)),
                Err(error) => self.note("server", &error),
            }
        }
    }

    fn note(&self, side: &str, error: &io::Error) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(format!("{side}: {}", explain(error)));
    }
}

fn ask(stream: &dyn Duplex, first: u8) -> io::Result<()> {
    stream.limit_waits(STALL_MAX)?;
    let mut request = [0; EXCHANGE_BYTES];
    request[0] = first;
    stream.send_all(&request)?;
    let mut answer = [0; EXCHANGE_BYTES];
    stream.receive_exact(&mut answer)?;
    if answer == request { Ok(()) } else { Err(io::Error::other("an answer to another request")) }
}

/// Ends both directions in order.
fn close(stream: &dyn Duplex) -> io::Result<()> {
    stream.finish()?;
    end(stream)
}

fn end(stream: &dyn Duplex) -> io::Result<()> {
    match stream.receive(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more than one answer")),
    }
}

/// Serves one connection; returns what it was for.
fn answer(stream: &dyn Duplex) -> io::Result<u8> {
    stream.limit_waits(STALL_MAX)?;
    let mut request = [0; EXCHANGE_BYTES];
    stream.receive_exact(&mut request)?;
    stream.send_all(&request)?;
    end(stream)?;
    stream.finish()?;
    Ok(request[0])
}

/// Ends one thread of the server.
fn dismiss(contest: &Contest<'_>, to: SocketAddr, protocol: Spoken) -> io::Result<()> {
    let goodbye = || {
        let stream = contest.connect(to, protocol)?;
        ask(&*stream, GOODBYE)?;
        close(&*stream)
    };
    let mut result = goodbye();
    for _ in 1..GOODBYES {
        if result.is_ok() {
            break;
        }
        result = goodbye();
    }
    result
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
