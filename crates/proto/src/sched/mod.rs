//! Packet schedulers: which subflow takes the next run of bytes (RFC 8684 §3.3.5 leaves it open).
//!
//! A scheduler sees a read-only [`View`] and answers with a [`Decision`]; it cannot corrupt a connection,
//! and swapping it on a live one loses only its private state. It is asked again and again until it says
//! [`Decision::Wait`]. Schedulers are found by name, as `net.mptcp.scheduler` selects them.

pub mod default;
pub mod roundrobin;

use alloc::boxed::Box;

use crate::ranges::Span;
use crate::seq::Dsn;
use crate::time::{Duration, Instant};

/// One subflow, as a scheduler sees it.
#[derive(Clone, Copy, Debug)]
pub struct SubflowView {
    /// Names it in a [`Decision`].
    pub index: usize,
    /// Smoothed round-trip time; zero before the first sample.
    pub srtt: Duration,
    /// Its variation.
    pub rttvar: Duration,
    /// Congestion window in bytes.
    pub cwnd_bytes: u32,
    /// Bytes on the way.
    pub in_flight_bytes: u32,
    /// Bytes given to it and not sent.
    pub queued_bytes: u32,
    /// Bytes that it could send at this moment; 0 when window or pacing hold it back.
    pub room_bytes: u32,
    /// Pacing rate in bytes per second; 0 before the first round trip.
    pub pacing_rate: u64,
    /// Confirmed delivery rate in bytes per second; 0 before the first sample.
    pub delivery_rate: u64,
    /// Payload bytes of a full segment.
    pub mss: u16,
    /// Either side declared it a backup.
    pub backup: bool,
    /// Its path does not answer at the moment.
    pub suspect: bool,
}

/// Data that blocks the connection: nothing new can go before the peer has it.
#[derive(Clone, Copy, Debug)]
pub struct BlockingHead {
    /// The first range that was not helped yet and is on a subflow much slower than one with room.
    pub span: Span<Dsn>,
    /// The subflow that carries it.
    pub holder: usize,
}

/// A connection, as a scheduler sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Subflows that may carry data, in order of creation.
    pub subflows: &'a [SubflowView],
    /// Bytes that were never sent.
    pub unsent_bytes: u64,
    /// How many of them the peer's window allows.
    pub window_left_bytes: u64,
    /// Bytes that can still be sent before what is under way must be acknowledged: the peer's window or
    /// the largest send buffer, whichever ends first.
    pub ahead_bytes: u64,
    /// The first range that waits to be sent again, on another subflow than the one that failed it.
    pub reinject: Option<Span<Dsn>>,
    /// Present when the window is exhausted, or the send buffer full with all of it sent.
    pub blocking_head: Option<BlockingHead>,
}

/// Which bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// The next ones that were never sent.
    Unsent,
    /// A copy of bytes in flight, from this number on.
    Again {
        /// Their first data sequence number.
        from: Dsn,
    },
}

/// A scheduler's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// This subflow takes at most `max_bytes` of that run.
    Send {
        /// [`SubflowView::index`].
        subflow: usize,
        /// Which bytes.
        run: Run,
        /// Not more than this; the connection also keeps to the subflow's burst.
        max_bytes: u32,
    },
    /// Nothing goes now.
    Wait {
        /// Ask again then, even if nothing happens before.
        until: Option<Instant>,
    },
}

/// A packet scheduler.
pub trait Scheduler: Send {
    /// Its name in the registry.
    fn name(&self) -> &'static str;

    /// What goes next.
    fn next(&mut self, view: &View<'_>, now: Instant) -> Decision;

    /// `subflow` was chosen and took `bytes`.
    fn on_sent(&mut self, _subflow: usize, _bytes: u32) {}

    /// The list of subflows changed: indices of before mean nothing any more.
    fn on_subflows_changed(&mut self) {}
}

/// Names of the built-in schedulers, as in `net.mptcp.available_schedulers`.
pub const AVAILABLE: &[&str] = &["default", "roundrobin"];

/// A new scheduler called `name`, or `None` when there is none.
pub fn by_name(name: &str) -> Option<Box<dyn Scheduler>> {
    match name {
        "default" => Some(Box::new(default::Default)),
        "roundrobin" => Some(Box::new(roundrobin::RoundRobin::new())),
        _ => None,
    }
}

/// How much a subflow is preferred before its speed is looked at; the lowest class present is used.
///
/// As Linux: backups serve only while there is no active non-backup at all. A suspect path comes after
/// all that answer, so that a backup takes over before the retransmission timeout has run its course.
pub(crate) fn class(subflow: &SubflowView) -> u8 {
    u8::from(subflow.backup) + 2 * u8::from(subflow.suspect)
}

/// A holder this many times slower than the helper is helped.
const MUCH_SLOWER: u32 = 2;
/// Less than this is not worth a copy: round trips of microseconds differ by more than that by chance.
const WORTH_HELPING: Duration = Duration::from_millis(5);

/// What `holder` has under way would come much sooner if `helper` sent it again.
pub(crate) fn is_much_faster(helper: &SubflowView, holder: &SubflowView) -> bool {
    helper.index != holder.index
        && class(helper) <= class(holder)
        && helper.srtt * MUCH_SLOWER < holder.srtt
        && helper.srtt + WORTH_HELPING < holder.srtt
}

/// The subflows of the best class present.
pub(crate) fn best_class<'a>(view: &View<'a>) -> impl Iterator<Item = &'a SubflowView> + use<'a> {
    best_class_of(view.subflows)
}

/// Those of the best class among them.
pub(crate) fn best_class_of(subflows: &[SubflowView]) -> impl Iterator<Item = &SubflowView> {
    let best = subflows.iter().map(class).min();
    subflows.iter().filter(move |s| Some(class(s)) == best)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A subflow with 10 kB of room, 1 MB/s and nothing on the way.
    pub(crate) fn subflow(index: usize) -> SubflowView {
        SubflowView {
            index,
            srtt: Duration::from_millis(10),
            rttvar: Duration::ZERO,
            cwnd_bytes: 10_000,
            in_flight_bytes: 0,
            queued_bytes: 0,
            room_bytes: 10_000,
            pacing_rate: 1_000_000,
            delivery_rate: 0,
            mss: 1000,
            backup: false,
            suspect: false,
        }
    }

    /// A connection with unsent data and an open window.
    pub(crate) fn view(subflows: &[SubflowView]) -> View<'_> {
        View {
            subflows,
            unsent_bytes: 100_000,
            window_left_bytes: 100_000,
            ahead_bytes: 100_000,
            reinject: None,
            blocking_head: None,
        }
    }
}
