//! The program at one end of a connection: what it may write and when, what it reads, how it ends.

use std::fmt;

use bytes::{Bytes, BytesMut};
use polytcp_proto::host::{CallError, ConnectionId, Host, Piece, ReadOutcome};
use polytcp_proto::time::{Duration, Instant};

use crate::pattern;
use crate::quantity::{Rate, Span};
use crate::scenario::{Load, TrafficSpec};

/// Largest piece of one write.
const WRITE_MAX: u64 = 65_536;
/// Writes below are copied into shared blocks, as those of a program are; larger ones hand over their block.
const FIXED_MIN: u64 = 4_096;

/// Octets that go with `connect` at most: more than fit a SYN.
const FIRST_MAX: u64 = 2_000;

/// What lets a program write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Script {
    /// All at once.
    All { total: u64 },
    /// All, once the peer has closed its direction.
    AfterPeer { total: u64 },
    /// A request when the answer to the one before is complete and the time to think is over.
    Requests { request: u64, response: u64, count: u64, think: Duration },
    /// An answer to each complete request.
    Answers { request: u64, response: u64, count: u64 },
    /// A chunk at every tick.
    Chunks { chunk: u64, interval: Duration, count: u64 },
}

/// How an end of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It never came to be, as the other end failed before.
    Absent,
    /// It is not over.
    Unfinished,
    /// It wrote all and read all.
    Complete,
    /// It aborted, as was its plan, or its peer's plan was.
    PlannedAbort,
    /// It was told an error.
    Failed(&'static str),
}

impl Outcome {
    /// All bytes were written and read.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }

    /// It ended by the abort that the scenario asks for.
    pub fn is_planned_abort(&self) -> bool {
        matches!(self, Self::PlannedAbort)
    }

    /// It ended, one way or the other.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Unfinished)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "never accepted",
            Self::Unfinished => "unfinished",
            Self::Complete => "complete",
            Self::PlannedAbort => "aborted as planned",
            Self::Failed(error) => error,
        })
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct Program {
    script: Script,
    /// Octets that it reads if all goes well.
    pub(crate) to_read: u64,
    read_rate: Option<Rate>,
    /// It aborts when it has read so much.
    abort_after: Option<u64>,
    /// Its end by a reset is what the scenario wants.
    is_victim: bool,
    opened_at: Instant,
    pub(crate) id: Option<ConnectionId>,
    pub(crate) outcome: Outcome,
    pub(crate) written: u64,
    pub(crate) read: u64,
    pub(crate) damaged_at: Option<u64>,
    pub(crate) fell_back: bool,
    is_shut: bool,
    saw_end: bool,
    last_read_at: Option<Instant>,
    pub(crate) longest_pause: Duration,
    /// When the present request may go, or went.
    request_at: Instant,
    /// Requests answered, or chunks read.
    rounds: u64,
    pub(crate) latencies: Vec<Span>,
    /// When it wants to be driven without an event.
    pub(crate) wake_at: Option<Instant>,
    /// What it found that must not be, in a line.
    pub(crate) violation: Option<String>,
}

/// The programs of a connection of `spec`: who connects, who listens.
pub(crate) fn pair(spec: &TrafficSpec, now: Instant) -> [Program; 2] {
    let scripts = match spec.load {
        Load::Bulk { up, down } => [Script::All { total: up.0 }, Script::All { total: down.0 }],
        Load::HalfClose { up, down } => [Script::All { total: up.0 }, Script::AfterPeer { total: down.0 }],
        Load::Abort { down, .. } => [Script::All { total: 0 }, Script::All { total: down.0 }],
        Load::Request { request, response, count, think } => [
            Script::Requests { request: request.0, response: response.0, count, think: think.duration() },
            Script::Answers { request: request.0, response: response.0, count },
        ],
        Load::Stream { rate, chunk, lasts } => {
            let nanos = u128::from(chunk.0) * 8 * 1_000_000_000 / u128::from(rate.0);
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).max(1);
            let interval = Duration::from_nanos(nanos);
            let count = (lasts.0 / nanos).max(1);
            [Script::All { total: 0 }, Script::Chunks { chunk: chunk.0, interval, count }]
        }
    };
    let abort_after = match spec.load {
        Load::Abort { after, .. } => Some(after.0),
        Load::Bulk { .. } | Load::HalfClose { .. } | Load::Request { .. } | Load::Stream { .. } => None,
    };
    [0, 1].map(|side| Program {
        script: scripts[side],
        to_read: scripts[1 - side].total(),
        read_rate: spec.read_rate,
        abort_after: abort_after.filter(|_| side == 0),
        is_victim: abort_after.is_some() && side == 1,
        opened_at: now,
        id: None,
        outcome: Outcome::Unfinished,
        written: 0,
        read: 0,
        damaged_at: None,
        fell_back: false,
        is_shut: false,
        saw_end: false,
        last_read_at: None,
        longest_pause: Duration::ZERO,
        request_at: now,
        rounds: 0,
        latencies: Vec::new(),
        wake_at: None,
        violation: None,
    })
}

impl Script {
    fn total(&self) -> u64 {
        match *self {
            Self::All { total } | Self::AfterPeer { total } => total,
            Self::Requests { request, count, .. } => request.saturating_mul(count),
            Self::Answers { response, count, .. } => response.saturating_mul(count),
            Self::Chunks { chunk, count, .. } => chunk.saturating_mul(count),
        }
    }
}

impl Program {
    /// Octets that it may have written by `now`; sets when there will be more without an event.
    fn allowed(&mut self, now: Instant) -> u64 {
        match self.script {
            Script::All { total } => total,
            Script::AfterPeer { total } => u64::from(self.saw_end) * total,
            Script::Requests { request, count, .. } => {
                if self.rounds >= count {
                    return count * request;
                }
                if self.request_at > now {
                    self.wake(self.request_at);
                    return self.rounds * request;
                }
                (self.rounds + 1) * request
            }
            Script::Answers { request, response, count } => (self.read / request).min(count) * response,
            Script::Chunks { chunk, interval, count } => {
                let due = now.since(self.opened_at).as_nanos() / interval.as_nanos();
                let due = u64::try_from(due).unwrap_or(u64::MAX).saturating_add(1).min(count);
                if due < count {
                    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
                    self.wake(self.opened_at + Duration::from_nanos(nanos.saturating_mul(due)));
                }
                due * chunk
            }
        }
    }

    fn wake(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Reads, writes, closes: what can be done now. `peer` is what the other end has written and what it
    /// writes in all, if that is known.
    pub(crate) fn drive(
        &mut self,
        now: Instant,
        host: &mut Host,
        peer_written: Option<u64>,
        peer: &PeerScript,
    ) {
        let Some(id) = self.id.filter(|_| !self.outcome.is_over()) else { return };
        self.wake_at = None;
        if let Ok(info) = host.info(id) {
            self.fell_back = !info.is_mptcp;
        }
        let result = self.read_all(now, host, id, peer).and_then(|()| self.write_all(now, host, id));
        if let Some(written) = peer_written.filter(|written| self.read > *written) {
            self.violation = Some(format!("{} octets read of {written} written", self.read));
        }
        match result {
            Ok(()) if self.abort_after.is_some_and(|after| self.read >= after) => {
                host.abort(now, id);
                self.outcome = Outcome::PlannedAbort;
            }
            Ok(()) if self.is_shut && self.saw_end => {
                self.check_ended(host, id);
                host.close(now, id);
                self.outcome = Outcome::Complete;
            }
            Ok(()) | Err(CallError::NotConnected) => {}
            Err(CallError::Failed(_) | CallError::NotFound | CallError::WriteClosed) if self.is_victim => {
                host.close(now, id);
                self.outcome = Outcome::PlannedAbort;
            }
            Err(error) => {
                host.close(now, id);
                self.outcome = Outcome::Failed(error_text(error));
            }
        }
    }

    fn read_all(
        &mut self,
        now: Instant,
        host: &mut Host,
        id: ConnectionId,
        peer: &PeerScript,
    ) -> Result<(), CallError> {
        while !self.saw_end {
            let max = match self.read_rate {
                None => usize::MAX,
                Some(Rate(bits)) => {
                    let nanos = now.since(self.opened_at).as_nanos();
                    let due = u128::from(bits) * nanos / 8_000_000_000;
                    let left = due.saturating_sub(u128::from(self.read));
                    if left == 0 {
                        // A tick of 5 ms, as a player or a slow disk would take data.
                        self.wake(now + Duration::from_millis(5));
                        return Ok(());
                    }
                    usize::try_from(left).unwrap_or(usize::MAX)
                }
            };
            match host.read(now, id, max)? {
                ReadOutcome::Data(data) => self.took(now, &data, peer),
                ReadOutcome::WouldBlock => return Ok(()),
                ReadOutcome::Finished => {
                    self.saw_end = true;
                    if self.read != self.to_read && self.violation.is_none() {
                        self.violation =
                            Some(format!("the stream ended after {} of {} octets", self.read, self.to_read));
                    }
                }
            }
        }
        Ok(())
    }

    fn took(&mut self, now: Instant, data: &[u8], peer: &PeerScript) {
        if self.damaged_at.is_none() {
            self.damaged_at = pattern::first_difference(self.read, data);
        }
        self.read += data.len() as u64;
        if let Some(last) = self.last_read_at {
            self.longest_pause = self.longest_pause.max(now.since(last));
        }
        self.last_read_at = Some(now);
        match (self.script, peer.0) {
            (Script::Requests { response, count, think, .. }, _) => {
                while self.rounds < count && self.read >= (self.rounds + 1) * response {
                    self.latencies.push(span(now.since(self.request_at)));
                    self.rounds += 1;
                    self.request_at = now + think;
                }
            }
            (_, Script::Chunks { chunk, interval, count }) => {
                while self.rounds < count && self.read >= (self.rounds + 1) * chunk {
                    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
                    let written_at = peer.1 + Duration::from_nanos(nanos.saturating_mul(self.rounds));
                    self.latencies.push(span(now.since(written_at)));
                    self.rounds += 1;
                }
            }
            (
                _,
                Script::All { .. }
                | Script::AfterPeer { .. }
                | Script::Answers { .. }
                | Script::Requests { .. },
            ) => {}
        }
    }

    fn write_all(&mut self, now: Instant, host: &mut Host, id: ConnectionId) -> Result<(), CallError> {
        if self.is_shut {
            return Ok(());
        }
        if !host.readiness(id).connected {
            return Ok(());
        }
        let allowed = self.allowed(now);
        while self.written < allowed {
            let room = host.write_room(id)? as u64;
            let len = room.min(allowed - self.written).min(WRITE_MAX);
            if len == 0 {
                return Ok(());
            }
            let data = pattern::at(self.written, len as usize);
            let piece =
                if len < FIXED_MIN { Piece::Growing(BytesMut::from(&data[..])) } else { Piece::Fixed(data) };
            host.write(now, id, piece)?;
            self.written += len;
        }
        if self.written == self.script.total() && self.abort_after.is_none() {
            host.shutdown(now, id)?;
            self.is_shut = true;
        }
        Ok(())
    }

    /// What the connection says of itself must be what happened.
    fn check_ended(&mut self, host: &Host, id: ConnectionId) {
        let Ok(info) = host.info(id) else { return };
        if info.bytes_written != self.written || info.bytes_received != self.read {
            self.violation = Some(format!(
                "it tells of {} octets written and {} received, and the program wrote {} and read {}",
                info.bytes_written, info.bytes_received, self.written, self.read
            ));
        }
    }

    /// What it has to say first, in the hands of `connect`.
    pub(crate) fn first_data(&mut self) -> Bytes {
        let first = match self.script {
            Script::All { total } => total,
            Script::Requests { request, .. } => request,
            Script::AfterPeer { .. } | Script::Answers { .. } | Script::Chunks { .. } => 0,
        };
        let data = pattern::at(0, first.min(FIRST_MAX) as usize);
        self.written = data.len() as u64;
        data
    }

    /// What the other end has to know of this one.
    pub(crate) fn peer_script(&self) -> PeerScript {
        PeerScript(self.script, self.opened_at)
    }

    /// Starts to count from now: the listener's end begins when it is accepted.
    pub(crate) fn open(&mut self, now: Instant, id: ConnectionId) {
        self.id = Some(id);
        self.opened_at = now;
        self.request_at = now;
    }
}

/// What an end knows of the other one's plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerScript(Script, Instant);

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn error_text(error: CallError) -> &'static str {
    use polytcp_proto::host::ConnectionError as E;
    match error {
        CallError::NotFound => "no such connection",
        CallError::NotConnected => "not connected yet",
        CallError::WriteClosed => "the sending direction is closed",
        CallError::Failed(E::Refused) => "connection refused",
        CallError::Failed(E::Reset) => "connection reset by peer",
        CallError::Failed(E::TimedOut) => "connection timed out",
        CallError::Failed(E::Unreachable) => "host is unreachable",
        CallError::Failed(E::AllPathsLost) => "all paths lost",
        CallError::Failed(E::Aborted) => "connection aborted",
    }
}
