//! Which thread runs where, and the processor time it takes.

use std::fmt;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};

use crate::failure::Failure;

/// Which threads run where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pinning {
    /// Each side on a core of its own.
    Pinned(Cores),
    /// Wherever the system likes.
    Free,
}

impl Pinning {
    /// Each side on a core of its own, unless it is to be `unpinned` or there is but one core. Moves the calling thread, and
    /// those that it starts, to the client's.
    pub(super) fn choose(unpinned: bool) -> Result<Self, Failure> {
        if unpinned {
            return Ok(Self::Free);
        }
        match Cores::choose()? {
            Some(cores) => {
                cores.pin_client()?;
                Ok(Self::Pinned(cores))
            }
            None => {
                eprintln!("polytcp: only one core may be used: both sides share it, expect lower figures");
                Ok(Self::Free)
            }
        }
    }

    pub(super) fn cores(self) -> Option<Cores> {
        match self {
            Self::Pinned(cores) => Some(cores),
            Self::Free => None,
        }
    }
}

impl fmt::Display for Pinning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pinned(_) => "each side on a core of its own",
            Self::Free => "no thread pinned",
        })
    }
}

/// In a report: whether there was any.
impl Serialize for Pinning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.cores().is_some())
    }
}

/// Two cores, one for each side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cores {
    client: usize,
    server: usize,
}

impl Cores {
    /// The first two cores that this process may use; `None` when it has only one.
    pub(super) fn choose() -> Result<Option<Self>, Failure> {
        let allowed = sched_getaffinity(None).map_err(Failure::setting_up("asking for the cores"))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Ok(cores.next().zip(cores.next()).map(|(client, server)| Self { client, server }))
    }

    /// The client's core as a mask for the kernel.
    pub(super) fn client_mask(self) -> String {
        mask(self.client)
    }

    /// The server's core as a mask for the kernel.
    pub(super) fn server_mask(self) -> String {
        mask(self.server)
    }

    /// Puts the calling thread, and those that it starts, on the client's core.
    pub(super) fn pin_client(self) -> Result<(), Failure> {
        pin(self.client)
    }

    /// Puts the calling thread on the server's core.
    pub(super) fn pin_server(self) -> Result<(), Failure> {
        pin(self.server)
    }
}

/// Words of 32 bits, as the kernel reads them.
fn mask(core: usize) -> String {
    format!("{:x}{}", 1_u32 << (core % 32), ",00000000".repeat(core / 32))
}

fn pin(core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(Failure::setting_up(format!("moving to core {core}")))
}

/// Processor time of all threads so far.
pub(super) fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

/// Processor time of the calling thread so far.
pub(super) fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_words_of_32_bits() {
        assert_eq!(
            [0, 1, 31, 32, 69].map(mask),
            ["1", "2", "80000000", "1,00000000", "20,00000000,00000000"]
        );
    }
}
