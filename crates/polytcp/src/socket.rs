//! One connection as all its handles share it: streams, halves and clones, async and blocking.
//!
//! Everything that can wait is a poll function with the key of a waiter. Async handles poll with their
//! task's waker, blocking ones with their thread's, so there is one implementation of each call.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use polytcp_proto::config::Keepalive;
use polytcp_proto::host::{
    CallError, ConnectOptions, ConnectionId, ConnectionInfo, Host, Piece, ReadOutcome, SubflowInfo,
};
use polytcp_proto::time::Instant;

use crate::block::{Block, PIECE_BYTES_MAX};
use crate::error;
use crate::mutex::lock;
use crate::readiness::SocketReadiness;
use crate::registration::Registration;
use crate::shared::{Core, Shared};
use crate::stack::{Handle, Stack};
use crate::waiters::{Interest, Source, WaiterKey};

/// Bytes that a read detaches even when it asks for less, so that small reads take the lock rarely.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Bytes that one read detaches at most, and slices: it bounds the time under the lock.
const READ_BYTES_MAX: usize = 1024 * 1024;
const READ_SLICES_MAX: usize = 64;

/// Writes up to this size are copied before it is known that there is room, to take the lock once.
const EAGER_BYTES_MAX: usize = 8 * 1024;

/// A `Bytes` below this size is copied: a slice costs more to carry than so few bytes.
const CHUNK_BYTES_MIN: usize = 2 * 1024;

/// See the module. Closes the connection when dropped.
pub(crate) struct Socket {
    handle: Arc<Handle>,
    id: ConnectionId,
    /// Local and remote address, known when the handshake is over.
    ends: OnceLock<(SocketAddr, SocketAddr)>,
    inbox: Mutex<VecDeque<Bytes>>,
    block: Mutex<Block>,
    nodelay: AtomicBool,
    linger: Mutex<Option<Duration>>,
    read_shut: AtomicBool,
    /// Waiters of the async traits: one task may read and one may write.
    pub(crate) read_key: WaiterKey,
    pub(crate) write_key: WaiterKey,
}

impl Socket {
    /// Sends the first SYN.
    pub(crate) fn connect(stack: &Stack, options: &ConnectOptions) -> io::Result<Arc<Self>> {
        let handle = stack.handle();
        let opened = handle.shared.call(|core, now| {
            let id = core.host.connect(now, options)?;
            core.waiters.open(Source::Connection(id));
            Ok(id)
        });
        let socket = Self::new(handle, opened.map_err(error::connect)?);
        socket.nodelay.store(options.nodelay, Ordering::Relaxed);
        Ok(Arc::new(socket))
    }

    /// The socket of a connection whose waiters' list is open already.
    pub(crate) fn new(handle: &Arc<Handle>, id: ConnectionId) -> Self {
        Self {
            handle: Arc::clone(handle),
            id,
            ends: OnceLock::new(),
            inbox: Mutex::default(),
            block: Mutex::new(Block::new()),
            nodelay: AtomicBool::new(false),
            linger: Mutex::default(),
            read_shut: AtomicBool::new(false),
            read_key: handle.shared.waiter_key(),
            write_key: handle.shared.waiter_key(),
        }
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    fn source(&self) -> Source {
        Source::Connection(self.id)
    }

    /// One wait of its own.
    pub(crate) fn registration(&self) -> Registration<'_> {
        Registration::new(self.shared(), self.source())
    }

    /// Ready once the handshake is over.
    pub(crate) fn poll_connected(&self, cx: &mut Context<'_>, key: WaiterKey) -> Poll<io::Result<()>> {
        let info = ready!(self.poll_call(cx, key, Interest::Connect, |host, _| {
            let readiness = host.readiness(self.id);
            if !readiness.connected && !readiness.error {
                return Ok(None);
            }
            // Asked for its error only: a failed handshake shows here.
            match host.write_room(self.id) {
                Err(CallError::Failed(error)) => Err(CallError::Failed(error)),
                Ok(_) | Err(CallError::NotFound | CallError::NotConnected | CallError::WriteClosed) => {
                    host.info(self.id).map(Some)
                }
            }
        }))?;
        self.set_ends(&info);
        Poll::Ready(Ok(()))
    }

    pub(crate) fn set_ends(&self, info: &ConnectionInfo) {
        self.ends.get_or_init(|| (info.local, info.remote));
    }

    /// Passes up to `max` bytes to `out`, in one or more slices; 0 at the end of the stream.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        key: WaiterKey,
        max: usize,
        mut out: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if max == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut inbox = lock(&self.inbox);
        ready!(self.poll_fill(cx, key, &mut inbox, max))?;
        // Copied here, without the host's lock.
        let mut taken = 0;
        while taken < max
            && let Some(chunk) = inbox.front_mut()
        {
            let len = chunk.len().min(max - taken);
            out(&chunk[..len]);
            taken += len;
            chunk.advance(len);
            if chunk.is_empty() {
                inbox.pop_front();
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// The next slice as the network delivered it; `None` at the end of the stream.
    pub(crate) fn poll_read_chunk(
        &self,
        cx: &mut Context<'_>,
        key: WaiterKey,
    ) -> Poll<io::Result<Option<Bytes>>> {
        let mut inbox = lock(&self.inbox);
        ready!(self.poll_fill(cx, key, &mut inbox, READ_AHEAD_BYTES))?;
        Poll::Ready(Ok(inbox.pop_front()))
    }

    /// Ready once `inbox` holds something, or the stream has ended.
    fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        key: WaiterKey,
        inbox: &mut VecDeque<Bytes>,
        wanted: usize,
    ) -> Poll<io::Result<()>> {
        if !inbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let wanted = wanted.clamp(READ_AHEAD_BYTES, READ_BYTES_MAX);
        self.poll_call(cx, key, Interest::Read, |host, now| {
            // Under the lock, so that `shut_read` finds who waits.
            if self.read_shut.load(Ordering::Relaxed) {
                return Ok(Some(()));
            }
            let mut detached = 0;
            while detached < wanted && inbox.len() < READ_SLICES_MAX {
                let outcome = host.read(now, self.id, wanted - detached);
                match outcome {
                    Ok(ReadOutcome::Data(bytes)) => {
                        detached += bytes.len();
                        inbox.push_back(bytes);
                    }
                    // What came before the end or the error is delivered first; the next read meets it again.
                    _ if detached > 0 => break,
                    Ok(ReadOutcome::WouldBlock) => return Ok(None),
                    Ok(ReadOutcome::Finished) => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(Some(()))
        })
    }

    /// Accepts a small write while more are waited for: it takes neither a waiter nor the time.
    pub(crate) fn gather(&self, bytes: &[u8]) -> bool {
        if bytes.is_empty() || bytes.len() > EAGER_BYTES_MAX {
            return false;
        }
        let mut block = lock(&self.block);
        let piece = Piece::Growing(block.fill(bytes, &self.shared().blocks));
        match self.shared().look(|core| core.host.gather(self.id, piece)) {
            Ok(()) => true,
            Err(returned) => {
                if let Piece::Growing(unused) = returned {
                    block.take_back(unused);
                }
                false
            }
        }
    }

    /// Accepts some of `bytes`, and returns how many.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        key: WaiterKey,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gather(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_write_through(cx, key, bytes)
    }

    /// The same for what does not [`gather`](Self::gather).
    pub(crate) fn poll_write_through(
        &self,
        cx: &mut Context<'_>,
        key: WaiterKey,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut block = lock(&self.block);
        // Copied here, without the host's lock. A small write is copied before asking; what exceeds the room
        // is not used.
        let len = if bytes.len() <= EAGER_BYTES_MAX {
            bytes.len()
        } else {
            let room = ready!(self.poll_room(cx, key))?;
            bytes.len().min(room).min(PIECE_BYTES_MAX)
        };
        let mut piece = Some(Piece::Growing(block.fill(&bytes[..len], &self.shared().blocks)));
        let answer = self.poll_call(cx, key, Interest::Write, |host, now| {
            let room = host.write_room(self.id)?;
            if room == 0 {
                return Ok(None);
            }
            let Some(mut piece) = piece.take() else { return Ok(None) };
            piece.truncate(room);
            host.write(now, self.id, piece).map(|()| Some(len.min(room)))
        });
        if let Some(Piece::Growing(unused)) = piece {
            block.take_back(unused);
        }
        answer
    }

    /// Accepts some of `chunk` without copying, and removes it from `chunk`. Ready when some was taken.
    pub(crate) fn poll_write_chunk(
        &self,
        cx: &mut Context<'_>,
        key: WaiterKey,
        chunk: &mut Bytes,
    ) -> Poll<io::Result<()>> {
        if chunk.len() < CHUNK_BYTES_MIN {
            let len = ready!(self.poll_write(cx, key, chunk))?;
            chunk.advance(len);
            return Poll::Ready(Ok(()));
        }
        // Keeps other writers out between asking for room and using it.
        let _block = lock(&self.block);
        self.poll_call(cx, key, Interest::Write, |host, now| {
            let room = host.write_room(self.id)?;
            if room == 0 {
                return Ok(None);
            }
            let piece = chunk.split_to(chunk.len().min(room));
            host.write(now, self.id, Piece::Fixed(piece)).map(Some)
        })
    }

    fn poll_room(&self, cx: &mut Context<'_>, key: WaiterKey) -> Poll<io::Result<usize>> {
        let room = self.shared().look(|core| core.host.write_room(self.id));
        match room.map_err(error::call)? {
            0 => self.poll_call(cx, key, Interest::Write, |host, _| {
                host.write_room(self.id).map(|room| (room > 0).then_some(room))
            }),
            room => Poll::Ready(Ok(room)),
        }
    }

    /// Ready with the readiness once it has any of what `interest` asks for.
    pub(crate) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        key: WaiterKey,
        interest: Interest,
    ) -> Poll<io::Result<()>> {
        if interest == Interest::Read && !lock(&self.inbox).is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.poll_call(cx, key, interest, |host, _| {
            Ok(interest.is_met_by(&host.readiness(self.id)).then_some(()))
        })
    }

    /// One attempt of a call; where it answers `None` the waiter is entered, all under one lock.
    fn poll_call<T>(
        &self,
        cx: &mut Context<'_>,
        key: WaiterKey,
        interest: Interest,
        attempt: impl FnOnce(&mut Host, Instant) -> Result<Option<T>, CallError>,
    ) -> Poll<io::Result<T>> {
        let (answer, replaced) = self.shared().call(|core, now| match attempt(&mut core.host, now) {
            Ok(Some(value)) => (Poll::Ready(Ok(value)), None),
            Ok(None) => (Poll::Pending, core.waiters.register(self.source(), key, interest, cx.waker())),
            Err(error) => (Poll::Ready(Err(error::call(error))), None),
        });
        drop(replaced);
        if answer.is_pending() && self.shared().has_failed() {
            return Poll::Ready(Err(error::engine_failed()));
        }
        answer
    }

    /// Ends the sending direction after what was written.
    pub(crate) fn shut_write(&self) -> io::Result<()> {
        // Behind a writer that holds room.
        let _block = lock(&self.block);
        match self.shared().call(|core, now| core.host.shutdown(now, self.id)) {
            // Once is enough.
            Ok(()) | Err(CallError::WriteClosed) => Ok(()),
            Err(error) => Err(error::call(error)),
        }
    }

    /// Lets all reads, blocked ones as well, return the end of the stream.
    pub(crate) fn shut_read(&self) {
        let wakers = self.shared().look(|core| {
            self.read_shut.store(true, Ordering::Relaxed);
            let mut wakers = Vec::new();
            core.waiters.take_all(self.source(), &mut wakers);
            wakers
        });
        lock(&self.inbox).clear();
        self.shared().wake(wakers);
    }

    pub(crate) fn abort(&self) {
        self.shared().call(|core, now| core.host.abort(now, self.id));
    }

    pub(crate) fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.shared().call(|core, now| core.host.set_nodelay(now, self.id, on)).map_err(error::call)?;
        self.nodelay.store(on, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.shared().call(|core, now| core.host.set_keepalive(now, self.id, keepalive)).map_err(error::call)
    }

    pub(crate) fn set_user_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.shared().call(|core, now| core.host.set_user_timeout(now, self.id, limit)).map_err(error::call)
    }

    pub(crate) fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.shared().call(|core, now| core.host.set_linger(now, self.id, linger)).map_err(error::call)?;
        *lock(&self.linger) = linger;
        Ok(())
    }

    pub(crate) fn linger(&self) -> Option<Duration> {
        *lock(&self.linger)
    }

    pub(crate) fn set_traffic_class(&self, traffic_class: u8) -> io::Result<()> {
        let set = |core: &mut Core, now| core.host.set_traffic_class(now, self.id, traffic_class);
        self.shared().call(set).map_err(error::call)
    }

    pub(crate) fn set_hop_limit(&self, hop_limit: u8) -> io::Result<()> {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "hop limit: 1 to 255");
        let hop_limit = NonZeroU8::new(hop_limit).ok_or_else(none)?;
        self.shared().call(|core, now| core.host.set_hop_limit(now, self.id, hop_limit)).map_err(error::call)
    }

    pub(crate) fn nodelay(&self) -> bool {
        self.nodelay.load(Ordering::Relaxed)
    }

    pub(crate) fn info(&self) -> io::Result<ConnectionInfo> {
        self.shared().look(|core| core.host.info(self.id)).map_err(error::call)
    }

    pub(crate) fn subflows(&self) -> io::Result<Vec<SubflowInfo>> {
        self.shared().look(|core| core.host.subflows(self.id)).map_err(error::call)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.ends.get().map(|ends| ends.0).ok_or_else(not_connected)
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.ends.get().map(|ends| ends.1).ok_or_else(not_connected)
    }

    pub(crate) fn readiness(&self) -> SocketReadiness {
        let holds_data = !lock(&self.inbox).is_empty();
        let (host, edges) =
            self.shared().look(|core| (core.host.readiness(self.id), core.waiters.edges(self.source())));
        let shut = self.read_shut.load(Ordering::Relaxed);
        SocketReadiness::new(host, holds_data || shut, edges)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let unread = !lock(&self.inbox).is_empty();
        let wakers = self.shared().call(|core, now| {
            // What was detached and not delivered is unread data too, which means an abort.
            if unread {
                core.host.abort(now, self.id);
            }
            core.host.close(now, self.id);
            core.waiters.close(self.source())
        });
        drop(wakers);
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("id", &self.id).field("ends", &self.ends.get()).finish_non_exhaustive()
    }
}

fn not_connected() -> io::Error {
    error::call(CallError::NotConnected)
}
