//! How values are read from callers and written for them.

use std::time::Duration;

use rustix::io::Errno;

/// An `int` of the caller.
pub(super) fn int(value: &[u8]) -> Result<i32, Errno> {
    let bytes = value.first_chunk().ok_or(Errno::INVAL)?;
    Ok(i32::from_ne_bytes(*bytes))
}

/// An option of IPv4, which may have one octet, or none (Linux: `do_ip_setsockopt`).
pub(super) fn int_or_octet(value: &[u8]) -> i32 {
    match (value.first_chunk(), value.first()) {
        (Some(bytes), _) => i32::from_ne_bytes(*bytes),
        (None, Some(octet)) => i32::from(*octet),
        (None, None) => 0,
    }
}

/// Writes what fits, and says how much it was.
pub(super) fn tell(out: &mut [u8], value: &[u8]) -> usize {
    let len = out.len().min(value.len());
    out[..len].copy_from_slice(&value[..len]);
    len
}

/// An `int`, as far as it fits.
pub(super) fn tell_int(out: &mut [u8], value: i32) -> usize {
    tell(out, &value.to_ne_bytes())
}

/// An `int`; one that fits an octet goes into a shorter place too (Linux: options of IPv4, and all of MPTCP).
pub(super) fn tell_octet(out: &mut [u8], value: i32) -> usize {
    match (u8::try_from(value), out) {
        (Ok(octet), out @ ([_] | [_, _] | [_, _, _])) => tell(out, &[octet]),
        (_, out) => tell_int(out, value),
    }
}

/// A `struct timeval` as a timeout; zero and less is none (Linux: `sock_set_timeout`).
pub(super) fn timeout(value: &[u8]) -> Result<Option<Duration>, Errno> {
    let (seconds, micros) = value.split_first_chunk::<8>().ok_or(Errno::INVAL)?;
    let seconds = i64::from_ne_bytes(*seconds);
    let micros = i64::from_ne_bytes(*micros.first_chunk().ok_or(Errno::INVAL)?);
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::DOM);
    }
    let Ok(seconds) = u64::try_from(seconds) else { return Ok(Some(Duration::ZERO)) };
    let timeout = Duration::from_secs(seconds) + Duration::from_micros(micros.unsigned_abs());
    Ok((!timeout.is_zero()).then_some(timeout))
}

pub(super) fn tell_timeout(out: &mut [u8], timeout: Option<Duration>) -> usize {
    let timeout = timeout.unwrap_or_default();
    let mut value = [0; 16];
    value[..8].copy_from_slice(&(timeout.as_secs() as i64).to_ne_bytes());
    value[8..].copy_from_slice(&i64::from(timeout.subsec_micros()).to_ne_bytes());
    tell(out, &value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_place_gets_an_octet_where_the_value_fits() {
        let mut out = [9; 4];
        assert_eq!((tell_octet(&mut out[..3], 255), out), (1, [255, 9, 9, 9]));
        assert_eq!((tell_octet(&mut out[..2], 256), out), (2, [0, 1, 9, 9]));
        assert_eq!((tell_octet(&mut out, 1), out), (4, [1, 0, 0, 0]));
        assert_eq!(tell_octet(&mut [], 1), 0);
        assert_eq!((tell_int(&mut out[..1], 0x1234), out[0]), (1, 0x34));
    }

    #[test]
    fn a_timeout_is_told_as_it_was_set() {
        let value = [2_i64.to_ne_bytes(), 500_000_i64.to_ne_bytes()].concat();
        let told = timeout(&value).expect("valid");
        assert_eq!(told, Some(Duration::from_millis(2_500)));
        let mut out = [0; 16];
        assert_eq!(tell_timeout(&mut out, told), 16);
        assert_eq!(out, value[..]);
        assert_eq!(timeout(&[0; 16]), Ok(None));
        assert_eq!(timeout(&[0; 15]), Err(Errno::INVAL));
        let late = [0_i64.to_ne_bytes(), 1_000_000_i64.to_ne_bytes()].concat();
        assert_eq!(timeout(&late), Err(Errno::DOM));
        let below = [(-1_i64).to_ne_bytes(), 0_i64.to_ne_bytes()].concat();
        assert_eq!(timeout(&below), Ok(Some(Duration::ZERO)));
    }
}
