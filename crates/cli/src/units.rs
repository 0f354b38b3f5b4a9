//! Sizes, rates, delays and shares, as people write them and as they read them.

use std::num::NonZeroU64;
use std::time::Duration;

use polytcp::io::Ratio;

/// Most that a link may hold a packet. Beyond, a handshake would fail before it is answered.
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Octets with a suffix: `4096`, `64k`, `48M`, `1G`, in powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let factor: u64 = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(format!("`{unit}` is not a unit of size: use k, M or G, as in 48M")),
    };
    let number: u64 = number.parse().map_err(|_| "not a whole number of bytes, as in 48M".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "more than 2^64 bytes".to_owned())
}

/// Bits per second with a unit: `20mbit`, `1gbit`, `800kbit`.
pub(crate) fn parse_rate(text: &str) -> Result<NonZeroU64, String> {
    let (number, unit) = split_unit(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err("a rate needs a unit: kbit, mbit or gbit, as in 20mbit".to_owned()),
    };
    let bits = positive(number)? * factor;
    // 1 Tbit/s: far beyond what passes a device here.
    if !(1.0..=1e12).contains(&bits) {
        return Err("a rate is from 1bit to 1000gbit".to_owned());
    }
    NonZeroU64::new(bits.round() as u64).ok_or_else(|| "a rate is from 1bit to 1000gbit".to_owned())
}

/// A duration with a unit: `20ms`, `1.5s`, `300us`.
pub(crate) fn parse_delay(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err("a delay needs a unit: us, ms or s, as in 20ms".to_owned()),
    };
    let seconds = positive(number)? * factor;
    if seconds > DELAY_MAX.as_secs_f64() {
        return Err(format!("a delay is at most {} s", DELAY_MAX.as_secs()));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A share of packets in percent: `0.5%`, `1%`; the sign may be left out.
pub(crate) fn parse_loss(text: &str) -> Result<Ratio, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let percent = positive(number)?;
    if percent >= 100.0 {
        return Err("a loss is from 0% to below 100%".to_owned());
    }
    Ok(Ratio::from_ppm((percent * 10_000.0).round() as u32))
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

fn positive(number: &str) -> Result<f64, String> {
    let parsed = number.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    parsed.ok_or_else(|| format!("`{number}` is not a number"))
}

/// Octets for people: `48.0 MiB`.
pub(crate) fn bytes(octets: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| octets >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", octets as f64 / *size as f64),
        None => format!("{octets} B"),
    }
}

/// 10^6 bits per second; 0 where no time has passed.
pub(crate) fn mbps(octets: u64, over: Duration) -> f64 {
    if over.is_zero() { 0.0 } else { octets as f64 * 8.0 / over.as_secs_f64() / 1e6 }
}

/// Milliseconds with their fraction.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// As many digits as a JSON reader wants to see.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The middle of the values, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_suffixes() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64k"), Ok(65_536));
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        for bad in ["", "M", "1.5M", "-1", "1T", "99999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_delays_need_units() {
        assert_eq!(parse_rate("20mbit").map(NonZeroU64::get), Ok(20_000_000));
        assert_eq!(parse_rate("1.5gbit").map(NonZeroU64::get), Ok(1_500_000_000));
        assert_eq!(parse_delay("1.5ms"), Ok(Duration::from_micros(1_500)));
        for bad in ["20", "0mbit", "mbit", "20mb", "-1mbit", "2000gbit", "1..2mbit"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
        for bad in ["20", "ms", "11s", "-1ms", "20m"] {
            assert!(parse_delay(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_loss_is_a_percentage_below_all() {
        assert_eq!(parse_loss("0.5%").map(Ratio::parts_per_million), Ok(5_000));
        assert_eq!(parse_loss("1").map(Ratio::parts_per_million), Ok(10_000));
        for bad in ["100%", "-1%", "%", "a", "nan", "inf"] {
            assert!(parse_loss(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }
}
