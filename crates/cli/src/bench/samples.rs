//! How long each of many exchanges took, and what share of them took how long at most.

use std::time::Duration;

use serde::Serialize;

use super::figures::{Rounds, Series, ratio};
use crate::units;

/// Every exchange of one round.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<Duration>);

/// The rounds of one contestant.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    p50: Rounds,
    p99: Rounds,
    p999: Rounds,
    samples: usize,
}

/// As JSON, in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct SpreadReport {
    p50_us: Series,
    p99_us: Series,
    p999_us: Series,
    /// Of all rounds.
    samples: usize,
}

/// One contestant by another, of the medians.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct SpreadRatio {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

impl Samples {
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// What `per_mille` of a thousand did not exceed; zero of none.
    pub(super) fn percentile(&mut self, per_mille: usize) -> Duration {
        let Some(last) = self.0.len().checked_sub(1) else { return Duration::ZERO };
        let at = (self.0.len() * per_mille / 1_000).min(last);
        *self.0.select_nth_unstable(at).1
    }
}

impl Spread {
    pub(super) fn add(&mut self, mut samples: Samples) {
        let mut micros = |per_mille| samples.percentile(per_mille).as_secs_f64() * 1e6;
        self.p50.add(micros(500));
        self.p99.add(micros(990));
        self.p999.add(micros(999));
        self.samples += samples.0.len();
    }

    pub(super) fn report(&self) -> SpreadReport {
        SpreadReport {
            p50_us: self.p50.series(),
            p99_us: self.p99.series(),
            p999_us: self.p999.series(),
            samples: self.samples,
        }
    }

    pub(super) fn by(&self, other: &Self) -> SpreadRatio {
        let by = |a, b| units::rounded(ratio(a, b));
        SpreadRatio {
            p50: by(&self.p50, &other.p50),
            p99: by(&self.p99, &other.p99),
            p999: by(&self.p999, &other.p999),
        }
    }
}

impl SpreadReport {
    /// For a table: each median with its range.
    pub(super) fn cells(&self) -> [String; 3] {
        [&self.p50_us, &self.p99_us, &self.p999_us].map(|series| {
            let (least, most) = series.range();
            format!("{:.1} [{least:.1}..{most:.1}]", series.median())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_sample_that_so_many_do_not_exceed() {
        let mut samples = Samples::default();
        assert_eq!(samples.percentile(500), Duration::ZERO);
        (1..=1_000).rev().map(Duration::from_micros).for_each(|took| samples.add(took));
        assert_eq!(samples.percentile(500), Duration::from_micros(501));
        assert_eq!(samples.percentile(990), Duration::from_micros(991));
        assert_eq!(samples.percentile(999), Duration::from_micros(1_000));
        assert_eq!(samples.percentile(1_000), Duration::from_micros(1_000));
    }
}
