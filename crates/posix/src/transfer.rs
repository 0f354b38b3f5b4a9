//! Data: `send` and `recv` in all their forms.

use std::io::{IoSlice, IoSliceMut};
use std::sync::PoisonError;

use polytcp::raw::{self, ConnectionId, Instant, ReadOutcome};
use rustix::io::Errno;

use crate::socket::{Inner, Place, Socket, State, View};

/// Octets detached at most in one hold of the host's lock.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Where received octets go: the parts of the caller's buffer in turn, or nowhere (`MSG_TRUNC`).
struct Sink<'a, 'b> {
    parts: &'a mut [IoSliceMut<'b>],
    /// The part that is filled next, and how far it is.
    at: (usize, usize),
    len: usize,
    discard: bool,
}

impl<'a, 'b> Sink<'a, 'b> {
    fn new(parts: &'a mut [IoSliceMut<'b>], discard: bool) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        Self { parts, at: (0, 0), len, discard }
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !self.discard && !bytes.is_empty() {
            let Some(part) = self.parts.get_mut(self.at.0) else { return };
            let room = &mut part[self.at.1..];
            let len = room.len().min(bytes.len());
            room[..len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            self.at = if len == room.len() { (self.at.0 + 1, 0) } else { (self.at.0, self.at.1 + len) };
        }
    }

    fn rewind(&mut self) {
        self.at = (0, 0);
    }
}

impl Socket {
    /// Receives, and returns how many octets.
    pub(crate) fn receive(&self, parts: &mut [IoSliceMut<'_>], flags: i32) -> Result<usize, Errno> {
        if flags & libc::MSG_ERRQUEUE != 0 {
            // Nothing is ever queued there.
            return Err(Errno::AGAIN);
        }
        if flags & libc::MSG_OOB != 0 && !self.is_mptcp() {
            return Err(self.no_urgent_data());
        }
        let peek = flags & libc::MSG_PEEK != 0;
        let mut sink = Sink::new(parts, flags & libc::MSG_TRUNC != 0);
        let len = sink.len;
        let waits = !self.is_nonblocking() && flags & libc::MSG_DONTWAIT == 0;
        let (target, until) = {
            let inner = self.lock();
            if matches!(inner.place, Place::Listener(_)) {
                return Err(Errno::NOTCONN);
            }
            let lowat = match flags & libc::MSG_WAITALL {
                0 => (inner.options.recv_lowat as usize).min(len),
                _ => len,
            };
            (lowat.max(1), if waits { inner.options.recv_until() } else { Some(raw::now()) })
        };
        if len == 0 && self.is_mptcp() {
            return Ok(0);
        }
        let mut received = 0;
        let answer = self.wait(until, || {
            if peek {
                sink.rewind();
                received = self.peek(&mut sink, len);
            } else {
                received += self.take(&mut sink, len - received);
            }
            if received >= target || (len == 0 && self.has_data()) {
                return Some(Ok(received));
            }
            match self.why_no_more(received, peek) {
                Some(Err(error)) if received == 0 => Some(Err(error)),
                Some(_) => Some(Ok(received)),
                None => None,
            }
        });
        match answer {
            Some(answer) => answer,
            None if received > 0 => Ok(received),
            // Linux's TCP waits once when nothing is wanted.
            None if len == 0 && waits => Ok(0),
            None => Err(Errno::AGAIN),
        }
    }

    fn connection(&self) -> Option<ConnectionId> {
        match self.lock().place {
            Place::Connection(id) => Some(id),
            _ => None,
        }
    }

    fn has_data(&self) -> bool {
        self.view(&mut self.lock()).readable_bytes > 0
    }

    /// Reads at most `max` octets that are there.
    fn take(&self, sink: &mut Sink<'_, '_>, max: usize) -> usize {
        let Some(id) = self.connection() else { return 0 };
        let mut taken = 0;
        while taken < max {
            let wanted = (max - taken).min(PIECE_BYTES_MAX);
            // Copied after the host's lock.
            let pieces = self.stack().call(|host, now| {
                let mut pieces = Vec::new();
                let mut detached = 0;
                while detached < wanted
                    && let Ok(ReadOutcome::Data(bytes)) = host.read(now, id, wanted - detached)
                {
                    detached += bytes.len();
                    pieces.push(bytes);
                }
                pieces
            });
            if pieces.is_empty() {
                break;
            }
            for piece in pieces {
                taken += piece.len();
                sink.put(&piece);
            }
        }
        taken
    }

    fn peek(&self, sink: &mut Sink<'_, '_>, max: usize) -> usize {
        let Some(id) = self.connection() else { return 0 };
        let pieces = self.stack().call(|host, _| host.peek(id, max)).unwrap_or_default();
        pieces.iter().for_each(|piece| sink.put(piece));
        pieces.iter().map(|piece| piece.len()).sum()
    }

    /// Why a read of `received` octets so far need not wait for more; `Ok` is the end of the stream.
    fn why_no_more(&self, received: usize, peek: bool) -> Option<Result<(), Errno>> {
        let inner = &mut *self.lock();
        let view = self.view(inner);
        // What has come since it was looked for rings the queue.
        if view.readable_bytes > 0 && !peek {
            return None;
        }
        // TCP tells the peer's end of stream even where an error came after it.
        if !self.is_mptcp() && view.peer_finished {
            return Some(Ok(()));
        }
        if inner.error.is_some() {
            return Some(match received {
                // It is kept for the next call.
                1.. => Ok(()),
                0 => Err(inner.error.take().unwrap_or(Errno::CONNRESET)),
            });
        }
        match view {
            View { shut, .. } if shut.read => Some(Ok(())),
            View { state: State::Close, .. } => Some(Err(Errno::NOTCONN)),
            _ => None,
        }
    }

    /// `MSG_OOB` on TCP (Linux: `tcp_recv_urg`); urgent data is read in line here.
    fn no_urgent_data(&self) -> Errno {
        match self.lock().place {
            Place::Listener(_) => Errno::NOTCONN,
            _ => Errno::INVAL,
        }
    }

    /// Sends, and returns how many octets were accepted.
    pub(crate) fn transmit(&self, parts: &[IoSlice<'_>], flags: i32) -> Result<usize, Errno> {
        let until = {
            let now = self.is_nonblocking() || flags & libc::MSG_DONTWAIT != 0;
            if now { Some(raw::now()) } else { self.lock().options.send_until() }
        };
        let id = self.wait(until, || self.may_send()).unwrap_or(Err(Errno::AGAIN))?;
        let mut sent = 0;
        let last = parts.iter().rposition(|part| !part.is_empty()).unwrap_or(0);
        for (index, part) in parts.iter().enumerate() {
            let more = flags & libc::MSG_MORE != 0 || index < last;
            match self.transmit_part(id, part, more, until) {
                (len, None) => sent += len,
                (len, Some(error)) if sent + len == 0 => return Err(error),
                (len, Some(_)) => return Ok(sent + len),
            }
        }
        Ok(sent)
    }

    /// The connection, once data may be sent on it.
    fn may_send(&self) -> Option<Result<ConnectionId, Errno>> {
        let inner = &mut *self.lock();
        let view = self.view(inner);
        match (&inner.place, view.state) {
            (_, State::SynSent) if inner.error.is_none() => None,
            (Place::Connection(id), State::Open) if inner.error.is_none() && !view.shut.write => {
                Some(Ok(*id))
            }
            _ => Some(Err(broken_pipe(inner))),
        }
    }

    /// Sends one part of a message; how much of it went, and what ended it before.
    fn transmit_part(
        &self,
        id: ConnectionId,
        part: &[u8],
        more: bool,
        until: Option<Instant>,
    ) -> (usize, Option<Errno>) {
        let mut sent = 0;
        while sent < part.len() {
            let attempt = || {
                let mut block = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
                match block.write(self.stack(), id, &part[sent..], more) {
                    Ok(0) => match self.may_send() {
                        Some(Err(error)) => Some(Err(error)),
                        _ => {
                            self.want_room(id);
                            None
                        }
                    },
                    Ok(len) => Some(Ok(len)),
                    Err(_) => {
                        let inner = &mut *self.lock();
                        self.view(inner);
                        Some(Err(broken_pipe(inner)))
                    }
                }
            };
            match self.wait(until, attempt) {
                Some(Ok(len)) => sent += len,
                Some(Err(error)) => return (sent, Some(error)),
                None => return (sent, Some(Errno::AGAIN)),
            }
        }
        (sent, None)
    }
}

/// What a send that cannot be answers: the error that was not told yet, else EPIPE (Linux: `sk_stream_error`).
fn broken_pipe(inner: &mut Inner) -> Errno {
    inner.error.take().unwrap_or(Errno::PIPE)
}
