//! `SOL_IP` and `SOL_IPV6`.

use rustix::io::Errno;

use super::registry::Entry;
use super::value::{int, int_or_octet};
use crate::socket::{Domain, Inner, Socket, State};

/// The bits of the traffic class that are TCP's own (RFC 3168).
const ECN_MASK: i32 = 0b11;

/// Two ports, the lower one in the lower half.
const IP_LOCAL_PORT_RANGE: i32 = 51;

impl Socket {
    pub(super) fn set_ip_option(
        &self,
        inner: &mut Inner,
        state: State,
        entry: &Entry,
        value: &[u8],
    ) -> Result<(), Errno> {
        let kept = match (entry.level, entry.number) {
            (libc::SOL_IP, libc::IP_TOS) => int_or_octet(value) & 0xff & !ECN_MASK,
            (libc::SOL_IP, libc::IP_TTL) => match int_or_octet(value) {
                limit @ (-1 | 1..=255) if !value.is_empty() => limit,
                _ => return Err(Errno::INVAL),
            },
            (libc::SOL_IPV6, libc::IPV6_TCLASS) => match int(value)? {
                class @ -1..=255 => class.max(0) & !ECN_MASK,
                _ => return Err(Errno::INVAL),
            },
            (libc::SOL_IPV6, libc::IPV6_UNICAST_HOPS) => match int(value)? {
                limit @ -1..=255 => limit,
                _ => return Err(Errno::INVAL),
            },
            (libc::SOL_IPV6, libc::IPV6_V6ONLY) => return self.set_v6_only(inner, state, value),
            (libc::SOL_IP, IP_LOCAL_PORT_RANGE) => {
                let range = int(value)?;
                let (low, high) = (range & 0xffff, (range >> 16) & 0xffff);
                if value.len() != size_of::<i32>() || (low != 0 && high != 0 && low > high) {
                    return Err(Errno::INVAL);
                }
                range
            }
            _ => return Err(Errno::NOPROTOOPT),
        };
        self.keep(inner, entry, kept);
        Ok(())
    }

    fn set_v6_only(&self, inner: &mut Inner, state: State, value: &[u8]) -> Result<(), Errno> {
        let is_idle = matches!(state, State::Close | State::Listen);
        match self.domain {
            Domain::Inet if is_idle => Err(Errno::NOPROTOOPT),
            Domain::Inet => Err(Errno::INVAL),
            Domain::Inet6 if value.len() < size_of::<i32>() => Err(Errno::INVAL),
            Domain::Inet6 if state != State::Close || inner.claimed.is_some() => Err(Errno::INVAL),
            Domain::Inet6 => {
                inner.options.v6_only = int(value)? != 0;
                Ok(())
            }
        }
    }

    /// What is told of an option for which `kept` is what was set, or the default.
    pub(super) fn get_ip_option(&self, inner: &Inner, entry: &Entry, kept: i32) -> i32 {
        match (entry.level, entry.number) {
            (libc::SOL_IPV6, libc::IPV6_V6ONLY) => inner.options.v6_only.into(),
            (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_UNICAST_HOPS) if kept < 0 => {
                entry.default
            }
            _ => kept,
        }
    }
}
