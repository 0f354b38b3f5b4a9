//! Rates, times, sizes and shares as a scenario file writes them, exact: no floating point decides anything.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use polytcp_netem::Ratio;
use serde::{Deserialize, Serialize};

/// Bits per second: `20mbit`, `1.5gbit`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(pub u64);

/// A time in nanoseconds: `20ms`, `1.5s`, `2min`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub u64);

/// Octets: `1460B`, `64k`, `10M`, in powers of 1024.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

/// A share in millionths: `0.5%`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(pub u32);

type Units = &'static [(&'static str, u64)];

const RATES: Units = &[("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
const TIMES: Units =
    &[("min", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];
const SIZES: Units = &[("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10), ("B", 1)];
const SHARES: Units = &[("%", 10_000)];

/// Least rate of a link: below it one packet takes minutes, and handshakes end before they are answered.
const RATE_MIN: u64 = 1_000;
const RATE_MAX: u64 = 1_000_000_000_000;
/// Longest time: a day.
const TIME_MAX: u64 = 86_400_000_000_000;

impl Span {
    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(n * 1_000_000)
    }
}

impl Share {
    /// As a link takes it.
    pub const fn ratio(self) -> Ratio {
        Ratio::from_ppm(self.0)
    }
}

/// A decimal number and a unit, multiplied exactly.
fn parse(text: &str, what: &str, units: Units, example: &str) -> Result<u64, String> {
    let fault = || {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        format!("`{text}` is not a {what}: a number and one of {}, as in {example}", names.join(", "))
    };
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or_else(fault)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| fault())?;
    if fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return Err(fault());
    }
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().map_err(|_| fault())? };
    let part = u128::from(part) * u128::from(*factor) / 10u128.pow(fraction.len() as u32);
    let value = u128::from(whole) * u128::from(*factor) + part;
    u64::try_from(value).map_err(|_| fault())
}

/// `value` in the largest unit that divides it.
fn write(f: &mut fmt::Formatter<'_>, value: u64, units: Units) -> fmt::Result {
    let smallest = units[units.len() - 1];
    let (name, factor) =
        units.iter().find(|(_, factor)| value > 0 && value.is_multiple_of(*factor)).unwrap_or(&smallest);
    write!(f, "{}{name}", value / factor)
}

macro_rules! as_text {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}
as_text!(Rate);
as_text!(Span);
as_text!(Size);
as_text!(Share);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bits = parse(text, "rate", RATES, "20mbit")?;
        if (RATE_MIN..=RATE_MAX).contains(&bits) {
            Ok(Self(bits))
        } else {
            Err(format!("`{text}`: a rate is from 1kbit to 1000gbit"))
        }
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let nanos = parse(text, "time", TIMES, "20ms")?;
        if nanos <= TIME_MAX { Ok(Self(nanos)) } else { Err(format!("`{text}`: a time is at most a day")) }
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, "size", SIZES, "10M").map(Self)
    }
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match parse(text, "share", SHARES, "0.5%")? {
            parts @ 0..=1_000_000 => Ok(Self(parts as u32)),
            _ => Err(format!("`{text}`: a share is from 0% to 100%")),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, RATES)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, TIMES)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, SIZES)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}%", self.0 / 10_000, self.0 % 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_print_as_what_reads_back() {
        assert_eq!("1.5ms".parse(), Ok(Span(1_500_000)));
        assert_eq!("0.1gbit".parse(), Ok(Rate(100_000_000)));
        assert_eq!("0.25%".parse(), Ok(Share(2_500)));
        assert_eq!("64k".parse(), Ok(Size(65_536)));
        for span in [0, 1, 1_000, 60_000_000_000, 61_000_000_000, 1_234_567] {
            assert_eq!(Span(span).to_string().parse(), Ok(Span(span)));
        }
        assert_eq!(Share(333).to_string().parse(), Ok(Share(333)));
        assert_eq!(Size(1_460).to_string().parse(), Ok(Size(1_460)));
    }

    #[test]
    fn a_number_needs_a_unit_and_a_range() {
        for bad in ["", "20", "ms", "1..5s", "1.s", "-1s", "1 s", "1.0000000001s", "99999min"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert!("0mbit".parse::<Rate>().is_err());
        assert!("101%".parse::<Share>().is_err());
        let text = "20".parse::<Rate>().expect_err("no unit");
        assert_eq!(text, "`20` is not a rate: a number and one of gbit, mbit, kbit, bit, as in 20mbit");
    }
}
