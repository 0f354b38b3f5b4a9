//! Exchanges one after the other on one connection: a small request, an answer, the next request.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::arena::Match;
use super::cores::Cores;
use super::samples::Samples;
use crate::duplex::{Duplex, explain};
use crate::failure::Failure;

/// Not counted: windows, caches and the connection's memory find their size.
const WARM_UP: usize = 100;

/// A request of one octet, with which the client says that it was the last one.
const LAST: u8 = 0xff;

/// What is asked and answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Exchange {
    pub(super) answer_bytes: usize,
}

impl Exchange {
    pub(super) const PING: Self = Self { answer_bytes: 1 };
    pub(super) const REQUEST: Self = Self { answer_bytes: 16 << 10 };
}

/// Exchanges for `time`, with the server's thread on its core.
pub(super) fn ping(
    ends: &Match,
    exchange: Exchange,
    time: Duration,
    cores: Option<Cores>,
) -> Result<Samples, Failure> {
    let (client, server) = (&*ends.client, &*ends.server);
    for end in [client, server] {
        end.send_at_once().map_err(Failure::running("TCP_NODELAY"))?;
    }
    let failed =
        |side| move |error: io::Error| Failure::run(format!("exchange, {side}: {}", explain(&error)));
    thread::scope(|scope| {
        let answering = scope.spawn(move || {
            cores.map_or(Ok(()), Cores::pin_server)?;
            answer(server, exchange).map_err(failed("server"))
        });
        // A thread of its own, as the server's: neither has to share one with what goes on besides.
        let asking = scope.spawn(move || ask(client, exchange, time).map_err(failed("client")));
        let samples = join(asking);
        if samples.is_err() {
            client.abort();
            server.abort();
        }
        let answered = join(answering);
        let samples = samples?;
        answered.map(|()| samples)
    })
}

fn ask(stream: &dyn Duplex, exchange: Exchange, time: Duration) -> io::Result<Samples> {
    let mut answer = vec![0; exchange.answer_bytes];
    let mut samples = Samples::default();
    let mut deadline = Instant::now() + time;
    let mut asked = 0;
    loop {
        let begun = Instant::now();
        if asked == WARM_UP {
            deadline = begun + time;
        }
        let is_last = asked > WARM_UP && begun >= deadline;
        stream.send_all(&[if is_last { LAST } else { asked as u8 & 0x7f }])?;
        stream.receive_exact(&mut answer)?;
        if is_last {
            return Ok(samples);
        }
        if asked >= WARM_UP {
            samples.add(begun.elapsed());
        }
        if answer.first() != Some(&(asked as u8 & 0x7f)) {
            return Err(io::Error::other("an answer to another request"));
        }
        asked += 1;
    }
}

fn answer(stream: &dyn Duplex, exchange: Exchange) -> io::Result<()> {
    let mut answer = vec![0; exchange.answer_bytes];
    let mut request = [0];
    while request != [LAST] {
        stream.receive_exact(&mut request)?;
        answer[0] = request[0];
        stream.send_all(&answer)?;
    }
    Ok(())
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
