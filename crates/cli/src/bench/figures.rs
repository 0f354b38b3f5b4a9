//! Medians and ratios of the rounds.

use serde::Serialize;

use crate::units::{median, rounded};

/// The rounds of one figure of one contestant.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(Vec<f64>);

impl Rounds {
    pub(super) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(super) fn median(&self) -> f64 {
        median(&self.0)
    }

    /// The largest.
    pub(super) fn best(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// The smallest; 0 of none.
    pub(super) fn worst(&self) -> f64 {
        self.0.iter().copied().reduce(f64::min).unwrap_or(0.0)
    }

    pub(super) fn series(&self) -> Series {
        Series {
            median: rounded(self.median()),
            rounds: self.0.iter().map(|value| rounded(*value)).collect(),
        }
    }
}

/// As JSON.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    median: f64,
    rounds: Vec<f64>,
}

impl Series {
    pub(super) fn median(&self) -> f64 {
        self.median
    }

    /// The smallest and the largest round; zeros of none.
    pub(super) fn range(&self) -> (f64, f64) {
        let smallest = self.rounds.iter().copied().reduce(f64::min);
        let largest = self.rounds.iter().copied().reduce(f64::max);
        (smallest.unwrap_or(0.0), largest.unwrap_or(0.0))
    }
}

/// `a / b`, 0 where there is no `b`.
pub(super) fn ratio(a: &Rounds, b: &Rounds) -> f64 {
    let below = b.median();
    if below == 0.0 { 0.0 } else { a.median() / below }
}
