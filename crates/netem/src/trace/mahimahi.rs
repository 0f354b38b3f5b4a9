//! Traces in the format of mahimahi (Netravali et al., USENIX ATC 2015): one line per opportunity to
//! deliver a packet of 1,500 octets, with its time in milliseconds; the last time is the period.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Trace, TraceStep};

const BITS_PER_OPPORTUNITY: u64 = 1_500 * 8;
/// Bits per second of one opportunity in a millisecond.
const RATE_OF_ONE: u64 = BITS_PER_OPPORTUNITY * 1_000;
/// A trace of a day.
const MILLIS_MAX: u64 = 24 * 3_600 * 1_000;

/// Why a text is no mahimahi trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MahimahiError {
    /// This line, counted from 1, is not a whole number of milliseconds within a day.
    NotANumber(usize),
    /// This line's time is before that of the line above.
    NotInOrder(usize),
    /// No opportunity after time zero.
    Empty,
}

impl Trace {
    /// Reads a mahimahi trace; `delay` holds throughout.
    ///
    /// The opportunities of a time are spread over the millisecond that ends with it, so that packets
    /// leave no later than in mahimahi. As there, small packets share an opportunity.
    ///
    /// # Errors
    /// [`MahimahiError`] names the first line that is wrong.
    pub fn from_mahimahi(text: &str, delay: Duration) -> Result<Self, MahimahiError> {
        let mut steps: Vec<TraceStep> = Vec::new();
        // Of the millisecond that is being counted: when it begins, and its opportunities.
        let (mut start, mut count, mut last) = (0, 0, 0);
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let time = line.parse().ok().filter(|time| *time <= MILLIS_MAX);
            let time: u64 = time.ok_or(MahimahiError::NotANumber(number))?;
            if time < last {
                return Err(MahimahiError::NotInOrder(number));
            }
            last = time;
            let begin = time.saturating_sub(1);
            if begin != start {
                close(&mut steps, start, begin, count, delay);
                (start, count) = (begin, 0);
            }
            count += 1;
        }
        if last == 0 {
            return Err(MahimahiError::Empty);
        }
        close(&mut steps, start, last, count, delay);
        let period = Duration::from_millis(last);
        Ok(Self::new(steps, period).expect("steps start at zero and are whole milliseconds"))
    }
}

/// Appends the millisecond from `start` with `count` opportunities, and silence from there to `end`.
fn close(steps: &mut Vec<TraceStep>, start: u64, end: u64, count: u64, delay: Duration) {
    let mut step = |millis: u64, rate_bits_per_sec: u64| {
        if steps.last().is_none_or(|last| last.rate_bits_per_sec != rate_bits_per_sec) {
            steps.push(TraceStep { at: Duration::from_millis(millis), rate_bits_per_sec, delay });
        }
    };
    step(start, count.saturating_mul(RATE_OF_ONE));
    if end > start + 1 {
        step(start + 1, 0);
    }
}
