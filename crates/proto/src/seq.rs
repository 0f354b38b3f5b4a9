//! The three sequence spaces, as three types that never mix.
//!
//! [`SeqNum`] counts a TCP stream as its headers do (RFC 9293 §3.4), [`Ssn`] counts the same stream
//! from its initial sequence number as mappings do (RFC 8684 §3.3), and [`Dsn`] counts the bytes of an
//! MPTCP connection. A number of one space becomes one of another only through a mapping.
//!
//! Modular order is not total, so none of them implements `Ord`; they offer [`before`](SeqNum::before),
//! [`after`](SeqNum::after) and [`since`](SeqNum::since).

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

macro_rules! sequence_space {
    ($(#[$doc:meta])* $name:ident, $int:ty, $signed:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub $int);

        impl $name {
            /// True when `self` comes earlier than `other` in the half circle around it.
            pub const fn before(self, other: Self) -> bool {
                (self.0.wrapping_sub(other.0) as $signed) < 0
            }

            /// True when `self` comes later than `other` in the half circle around it.
            pub const fn after(self, other: Self) -> bool {
                other.before(self)
            }

            /// How far `self` is past `earlier`, or `None` when it is before it.
            pub const fn since(self, earlier: Self) -> Option<$int> {
                if self.before(earlier) { None } else { Some(self.0.wrapping_sub(earlier.0)) }
            }

            /// Distance from `earlier`, zero when `self` is before it.
            pub const fn saturating_since(self, earlier: Self) -> $int {
                if self.before(earlier) { 0 } else { self.0.wrapping_sub(earlier.0) }
            }

            /// True for `start <= self < start + len`.
            pub const fn within(self, start: Self, len: $int) -> bool {
                self.0.wrapping_sub(start.0) < len
            }

            /// The later of the two.
            pub const fn max(self, other: Self) -> Self {
                if self.before(other) { other } else { self }
            }

            /// The earlier of the two.
            pub const fn min(self, other: Self) -> Self {
                if self.before(other) { self } else { other }
            }
        }

        impl Add<$int> for $name {
            type Output = Self;
            fn add(self, rhs: $int) -> Self {
                Self(self.0.wrapping_add(rhs))
            }
        }

        impl AddAssign<$int> for $name {
            fn add_assign(&mut self, rhs: $int) {
                *self = *self + rhs;
            }
        }

        impl Sub<$int> for $name {
            type Output = Self;
            fn sub(self, rhs: $int) -> Self {
                Self(self.0.wrapping_sub(rhs))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

sequence_space!(
    /// A 32-bit TCP sequence number, as on the wire.
    SeqNum, u32, i32
);
sequence_space!(
    /// A subflow sequence number: relative to the initial sequence number, as in a mapping.
    Ssn, u32, i32
);
sequence_space!(
    /// A 64-bit data sequence number of an MPTCP connection.
    Dsn, u64, i64
);

impl SeqNum {
    /// This number relative to the initial sequence number `iss` (the SYN is 0, the first octet 1).
    pub const fn relative_to(self, iss: Self) -> Ssn {
        Ssn(self.0.wrapping_sub(iss.0))
    }
}

impl Ssn {
    /// The number on the wire, given the initial sequence number `iss`.
    pub const fn absolute(self, iss: SeqNum) -> SeqNum {
        SeqNum(iss.0.wrapping_add(self.0))
    }
}

impl Dsn {
    /// The 64-bit number nearest to `reference` whose low half is `low`.
    ///
    /// RFC 8684 §3.3.1: a 32-bit data sequence number or DATA_ACK stands for the value that lies in
    /// the window around what the receiver knows.
    pub const fn from_low(low: u32, reference: Self) -> Self {
        let ahead = low.wrapping_sub(reference.0 as u32) as i32;
        Self(reference.0.wrapping_add(ahead as i64 as u64))
    }

    /// The low half, as a 4-octet field carries it.
    pub const fn low(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        let a = SeqNum(u32::MAX - 1);
        let b = a + 4;
        assert_eq!(b, SeqNum(2));
        assert!(a.before(b) && b.after(a) && !b.before(a));
        assert_eq!(b.since(a), Some(4));
        assert_eq!(a.since(b), None);
        assert!(b.within(a, 5) && !b.within(a, 4));
        assert_eq!(a.max(b), b);
        assert_eq!(a.min(b), a);
    }

    #[test]
    fn a_low_half_is_read_beside_the_reference() {
        let reference = Dsn(0x1_0000_0005);
        assert_eq!(Dsn::from_low(0xffff_fff0, reference), Dsn(0xffff_fff0));
        assert_eq!(Dsn::from_low(0x10, reference), Dsn(0x1_0000_0010));
        assert_eq!(Dsn::from_low(2, Dsn(0xffff_ffff)), Dsn(0x1_0000_0002));
        assert_eq!(Dsn::from_low(u32::MAX, Dsn(0)), Dsn(u64::MAX));
    }

    #[test]
    fn relative_and_absolute_are_inverse() {
        let iss = SeqNum(u32::MAX - 3);
        let seq = iss + 10;
        assert_eq!(seq.relative_to(iss), Ssn(10));
        assert_eq!(seq.relative_to(iss).absolute(iss), seq);
    }
}
