//! `SOL_TCP`.

use polytcp::raw;
use rustix::io::Errno;

use super::TCP_IS_MPTCP;
use super::registry;
use super::value::{int, tell, tell_int, tell_octet};
use crate::socket::{Inner, Place, Socket, Stage, State};

/// Linux's `TCP_RTO_MAX`, seconds, with which `TCP_DEFER_ACCEPT` counts.
const RTO_MAX: u32 = 120;

/// Seconds in FIN-WAIT-2 (`net.ipv4.tcp_fin_timeout`), and what `TCP_LINGER2` can make of it.
const FIN_TIMEOUT: i32 = 60;
const FIN_TIMEOUT_MAX: i32 = 120;

/// The least that `TCP_WINDOW_CLAMP` keeps: half of the smallest receive buffer.
const WINDOW_CLAMP_MIN: i32 = 1_152;

/// What `TCP_MAXSEG` takes (Linux: `TCP_MIN_MSS`, `MAX_TCP_WINDOW`), and what it is at first.
const MAXSEG: std::ops::RangeInclusive<i32> = 88..=32_767;
const MAXSEG_DEFAULT: i32 = 536;

/// The timestamps option with its padding.
const TIMESTAMPS_BYTES: i32 = 12;

/// Names of congestion controls and of what is above TCP have 16 octets in Linux, the last of them zero.
const NAME_BYTES: usize = 16;

impl Socket {
    pub(super) fn set_tcp_option(
        &self,
        inner: &mut Inner,
        state: State,
        name: i32,
        value: &[u8],
    ) -> Result<(), Errno> {
        let is_idle = matches!(state, State::Close | State::Listen);
        match name {
            libc::TCP_CONGESTION => return set_congestion_control(inner, value),
            // On MPTCP it cannot fail, whatever the value is.
            libc::TCP_DEFER_ACCEPT if self.is_mptcp() && value.len() < size_of::<i32>() => return Ok(()),
            libc::TCP_ULP if self.is_mptcp() => return Err(Errno::NOPROTOOPT),
            libc::TCP_ULP if value.is_empty() => return Err(Errno::INVAL),
            libc::TCP_ULP => return Err(Errno::NOENT),
            TCP_IS_MPTCP => return Err(Errno::NOPROTOOPT),
            _ => {}
        }
        let number = int(value)?;
        match name {
            // On a connected MPTCP socket Linux forgets it.
            libc::TCP_DEFER_ACCEPT if self.is_mptcp() && !is_idle => {}
            libc::TCP_DEFER_ACCEPT => {
                inner.options.defer_accept = whole_timeouts(number.max(0).unsigned_abs())
            }
            libc::TCP_FASTOPEN if number < 0 || !is_idle => return Err(Errno::INVAL),
            libc::TCP_FASTOPEN => {
                let most = self.stack().look(|host| host.config().tcp.backlog_max);
                inner.options.fast_open = number.unsigned_abs().min(u32::try_from(most).unwrap_or(u32::MAX));
                if let Place::Listener(id) = inner.place {
                    let most = inner.options.fast_open as usize;
                    self.stack().call(|host, _| host.set_fast_open(id, most));
                }
            }
            _ => {
                let entry = registry::find(libc::SOL_TCP, name).ok_or(Errno::NOPROTOOPT)?;
                let kept = kept(state, name, number)?;
                self.keep(inner, entry, kept);
            }
        }
        Ok(())
    }

    pub(super) fn get_tcp_option(
        &self,
        inner: &mut Inner,
        mptcp: bool,
        name: i32,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        // These Linux asks of the first subflow, which it makes for that.
        let is_of_subflow = matches!(
            name,
            libc::TCP_DEFER_ACCEPT
                | libc::TCP_FASTOPEN
                | libc::TCP_FASTOPEN_CONNECT
                | libc::TCP_FASTOPEN_NO_COOKIE
                | libc::TCP_CONGESTION
                | libc::TCP_INFO
        );
        inner.first_subflow |= is_of_subflow;
        if name == libc::TCP_INFO {
            return Ok(self.tell_tcp_info(inner, out));
        }
        if name == libc::TCP_CC_INFO {
            return Ok(self.tell_cc_info(inner, out));
        }
        let options = &inner.options;
        let value = match name {
            libc::TCP_DEFER_ACCEPT => options.defer_accept as i32,
            libc::TCP_FASTOPEN => options.fast_open as i32,
            libc::TCP_CONGESTION => {
                let name = options.congestion_control.clone();
                let name = name.unwrap_or_else(|| {
                    self.stack().look(|host| host.config().tcp.congestion_control.clone())
                });
                return Ok(tell_name(out, &name));
            }
            libc::TCP_ULP if mptcp => return Ok(tell_name(out, "mptcp")),
            libc::TCP_ULP => return Ok(0),
            TCP_IS_MPTCP => self.info(&inner.place).map_or(self.is_mptcp(), |info| info.is_mptcp).into(),
            // Below zero: not at all; zero: the default (`net.ipv4.tcp_fin_timeout`).
            libc::TCP_LINGER2 => match options.value(libc::SOL_TCP, name) {
                None | Some(0) => FIN_TIMEOUT,
                Some(seconds) => seconds,
            },
            libc::TCP_THIN_DUPACK => 0,
            libc::TCP_MAXSEG => self.segment_size(inner),
            _ => options.value(libc::SOL_TCP, name).unwrap_or(0),
        };
        Ok(if mptcp && !is_of_subflow { tell_octet(out, value) } else { tell_int(out, value) })
    }
}

impl Socket {
    /// `TCP_MAXSEG`: what was set, until there is a connection; then what it has in a segment.
    fn segment_size(&self, inner: &Inner) -> i32 {
        let set = inner.options.value(libc::SOL_TCP, libc::TCP_MAXSEG).filter(|octets| *octets != 0);
        match self.first_flow(inner) {
            // As Linux: without timestamps, which each segment has, and with the room that MPTCP takes.
            Some(flow) => i32::from(flow.advmss) - if flow.timestamps { TIMESTAMPS_BYTES } else { 0 },
            None => set.unwrap_or(MAXSEG_DEFAULT),
        }
    }
}

/// What is kept of a number.
fn kept(state: State, name: i32, number: i32) -> Result<i32, Errno> {
    match name {
        libc::TCP_FASTOPEN_CONNECT | libc::TCP_FASTOPEN_NO_COOKIE
            if (0..=1).contains(&number) && matches!(state, State::Close) =>
        {
            Ok(number)
        }
        libc::TCP_FASTOPEN_NO_COOKIE if (0..=1).contains(&number) && state == State::Listen => Ok(number),
        libc::TCP_MAXSEG if number == 0 || MAXSEG.contains(&number) => Ok(number),
        libc::TCP_LINGER2 if number < 0 => Ok(-1),
        libc::TCP_LINGER2 => Ok(number.min(FIN_TIMEOUT_MAX)),
        libc::TCP_WINDOW_CLAMP if number == 0 && state != State::Close => Err(Errno::INVAL),
        libc::TCP_WINDOW_CLAMP if number == 0 => Ok(0),
        libc::TCP_WINDOW_CLAMP => Ok(number.max(WINDOW_CLAMP_MIN)),
        libc::TCP_THIN_DUPACK if (0..=1).contains(&number) => Ok(number),
        libc::TCP_MAXSEG
        | libc::TCP_FASTOPEN_CONNECT
        | libc::TCP_FASTOPEN_NO_COOKIE
        | libc::TCP_THIN_DUPACK => Err(Errno::INVAL),
        _ => Err(Errno::NOPROTOOPT),
    }
}

fn set_congestion_control(inner: &mut Inner, value: &[u8]) -> Result<(), Errno> {
    if value.is_empty() {
        return Err(Errno::INVAL);
    }
    let name = value.split(|octet| *octet == 0).next().unwrap_or_default();
    let name = std::str::from_utf8(name).map_err(|_| Errno::NOENT)?;
    if !raw::CONGESTION_CONTROLS.contains(&name) {
        return Err(Errno::NOENT);
    }
    if inner.stage != Stage::Unconnected {
        return Err(Errno::OPNOTSUPP);
    }
    inner.options.congestion_control = Some(name.to_owned());
    Ok(())
}

fn tell_name(out: &mut [u8], name: &str) -> usize {
    let mut value = [0; NAME_BYTES];
    tell(&mut value[..NAME_BYTES - 1], name.as_bytes());
    tell(out, &value)
}

/// The seconds of as many timeouts of a SYN/ACK as `seconds` reach into (Linux: `secs_to_retrans`, `retrans_to_secs`).
fn whole_timeouts(seconds: u32) -> u32 {
    if seconds == 0 {
        return 0;
    }
    let (mut timeout, mut period, mut count) = (1, 1, 1);
    while seconds > period && count < 255 {
        count += 1;
        timeout = (timeout * 2).min(RTO_MAX);
        period += timeout;
    }
    period
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_defer_is_told_in_whole_timeouts() {
        for (asked, told) in [(0, 0), (1, 1), (2, 3), (3, 3), (4, 7), (100, 127), (128, 247), (248, 367)] {
            assert_eq!(whole_timeouts(asked), told, "{asked}");
        }
    }
}
