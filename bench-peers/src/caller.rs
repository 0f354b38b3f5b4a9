//! The talk with the caller: words on stdout, a line on stdin, and the end of stdin when it is over.

use std::io::{self, Read};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

/// What the caller has said so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    Nothing,
    Go,
    /// It is done, or gone.
    Over,
}

/// The next line of the caller, without waiting.
pub fn said() -> io::Result<Said> {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
        return Ok(Said::Nothing);
    }
    match stdin.lock().read(&mut [0; 16])? {
        0 => Ok(Said::Over),
        _ => Ok(Said::Go),
    }
}

/// Says that the connection is ready for the transfer.
pub fn tell_ready() {
    println!("ready");
}

/// Says when something happened, on the monotonic clock, which all processes share, or how long it took.
pub fn tell(word: &str, time: Duration) {
    println!("{word} {}", time.as_nanos());
}

/// The monotonic clock.
pub fn now() -> Duration {
    time_of(ClockId::Monotonic)
}

/// Processor time of this process so far.
pub fn processor_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
