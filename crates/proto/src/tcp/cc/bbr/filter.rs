//! Maxima over a sliding window, and stretches of a flow's life.

/// The largest value of the current and the previous slot of time; the owner says when a slot is over.
#[derive(Default, Debug)]
pub(super) struct MaxFilter {
    previous: u64,
    current: u64,
}

impl MaxFilter {
    /// Takes a value.
    pub(super) fn update(&mut self, value: u64) {
        self.current = self.current.max(value);
    }

    /// The slot is over. One without a value does not count, so that what is known is not forgotten.
    pub(super) fn advance(&mut self) {
        if self.current > 0 {
            self.previous = core::mem::take(&mut self.current);
        }
    }

    /// The largest value.
    pub(super) fn max(&self) -> u64 {
        self.previous.max(self.current)
    }
}

/// A stretch of a flow's life, by the octets that were delivered when it began and when it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    from: u64,
    until: u64,
}

impl Stretch {
    /// None yet.
    pub(super) const NEVER: Self = Self { from: 1, until: 0 };

    /// It begins, and has no end yet.
    pub(super) fn beginning(delivered: u64) -> Self {
        Self { from: delivered, until: u64::MAX }
    }

    /// It lasts until `delivered`; one that ended before stays as it is.
    pub(super) fn end(&mut self, delivered: u64) {
        self.until = self.until.min(delivered);
    }

    /// It lasts until `delivered`, even if that was thought of as earlier.
    pub(super) fn extend(&mut self, delivered: u64) {
        self.until = delivered;
    }

    /// Whether it was going on when so much was delivered.
    pub(super) fn contains(&self, delivered: u64) -> bool {
        (self.from..=self.until).contains(&delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_its_slot_and_the_next() {
        let mut filter = MaxFilter::default();
        filter.update(7);
        filter.update(5);
        filter.advance();
        assert_eq!(filter.max(), 7);
        filter.advance();
        assert_eq!(filter.max(), 7, "nothing came in between");
        filter.update(3);
        filter.advance();
        assert_eq!(filter.max(), 3);
    }
}
