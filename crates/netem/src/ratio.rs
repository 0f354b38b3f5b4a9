//! A share of all packets, exact and without floating point.

/// A share of all packets, from none to all, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ratio {
    parts_per_million: u32,
}

impl Ratio {
    /// None.
    pub const ZERO: Self = Self::from_ppm(0);
    /// All.
    pub const ONE: Self = Self::from_ppm(Self::PARTS);
    /// What [`parts_per_million`](Self::parts_per_million) counts parts of.
    pub(crate) const PARTS: u32 = 1_000_000;

    /// `parts_per_million` of a million; more than a million means all.
    pub const fn from_ppm(parts_per_million: u32) -> Self {
        let parts_per_million = if parts_per_million > Self::PARTS { Self::PARTS } else { parts_per_million };
        Self { parts_per_million }
    }

    /// `percent` of a hundred; more than a hundred means all.
    pub const fn from_percent(percent: u32) -> Self {
        Self::from_ppm(percent.saturating_mul(Self::PARTS / 100))
    }

    /// Millionths, from 0 to 1,000,000.
    pub const fn parts_per_million(self) -> u32 {
        self.parts_per_million
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_never_exceeds_all() {
        assert_eq!(Ratio::from_percent(1).parts_per_million(), 10_000);
        assert_eq!(Ratio::from_percent(300), Ratio::ONE);
        assert_eq!(Ratio::from_ppm(u32::MAX), Ratio::ONE);
    }
}
