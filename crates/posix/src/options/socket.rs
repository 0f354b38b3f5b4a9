//! `SOL_SOCKET`.

use std::time::Duration;

use rustix::io::Errno;

use super::value::{int, tell, tell_int, tell_timeout, timeout};
use crate::socket::{Domain, Inner, Place, Socket};

/// `SO_TIMESTAMP`, `SO_TIMESTAMPNS` and their `_NEW` forms: the last that was switched on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timestamp {
    /// In nanoseconds.
    nanos: bool,
    /// With seconds of 64 bits.
    new: bool,
}

/// Linux's `net.core.wmem_max` and `rmem_max`, octets.
const BUFFER_MAX: u32 = 4 << 20;
const SNDBUF_MIN: i32 = 4_608;
const RCVBUF_MIN: i32 = 2_304;

const SO_COOKIE: i32 = 57;
const SO_TIMESTAMP_NEW: i32 = 63;
const SO_TIMESTAMPNS_NEW: i32 = 64;
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;

impl Timestamp {
    fn of(name: i32) -> Option<Self> {
        Some(match name {
            libc::SO_TIMESTAMP => Self { nanos: false, new: false },
            libc::SO_TIMESTAMPNS => Self { nanos: true, new: false },
            SO_TIMESTAMP_NEW => Self { nanos: false, new: true },
            SO_TIMESTAMPNS_NEW => Self { nanos: true, new: true },
            _ => return None,
        })
    }
}

impl Socket {
    /// An option that is more than a number.
    pub(super) fn set_socket_option(&self, inner: &mut Inner, name: i32, value: &[u8]) -> Result<(), Errno> {
        if name == libc::SO_BINDTODEVICE {
            return bind_to_device(value);
        }
        let number = int(value)?;
        let options = &mut inner.options;
        match name {
            libc::SO_LINGER => {
                let seconds = int(value.get(4..).unwrap_or_default())?;
                options.lingers = number != 0;
                if options.lingers {
                    options.linger_time = Duration::from_secs(u64::from(seconds.unsigned_abs()));
                }
                self.put_option(inner, libc::SOL_SOCKET, name);
            }
            libc::SO_RCVTIMEO | SO_RCVTIMEO_NEW => options.recv_timeout = timeout(value)?,
            libc::SO_SNDTIMEO | SO_SNDTIMEO_NEW => options.send_timeout = timeout(value)?,
            libc::SO_RCVLOWAT => {
                // At most half of what the buffer can become (Linux: `tcp_set_rcvlowat`).
                let most = self.stack().look(|host| host.config().tcp.recv_buffer_max_bytes()) / 2;
                let asked = if number < 0 { u32::MAX } else { number.unsigned_abs() };
                options.recv_lowat = asked.min(most).max(1);
            }
            libc::SO_BSDCOMPAT => {}
            libc::SO_SNDBUF => {
                options.send_buffer = Some(buffer_of(number, SNDBUF_MIN));
                self.put_option(inner, libc::SOL_SOCKET, name);
            }
            libc::SO_RCVBUF => {
                options.recv_buffer = Some(buffer_of(number, RCVBUF_MIN));
                self.put_option(inner, libc::SOL_SOCKET, name);
            }
            libc::SO_MAX_PACING_RATE => {
                options.pacing_rate = match value.first_chunk() {
                    Some(rate) => u64::from_ne_bytes(*rate),
                    None if number == -1 => u64::MAX,
                    None => u64::from(number as u32),
                };
            }
            _ => match Timestamp::of(name) {
                Some(kind) => options.timestamp = (number != 0).then_some(kind),
                None if self.is_mptcp() => return Err(Errno::OPNOTSUPP),
                None => return Err(Errno::NOPROTOOPT),
            },
        }
        Ok(())
    }

    pub(super) fn get_socket_option(
        &self,
        inner: &mut Inner,
        name: i32,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        let options = &inner.options;
        let value = match name {
            libc::SO_LINGER => {
                let seconds = options.linger_time.as_secs() as i32;
                return Ok(tell(
                    out,
                    &[i32::from(options.lingers).to_ne_bytes(), seconds.to_ne_bytes()].concat(),
                ));
            }
            libc::SO_RCVTIMEO | SO_RCVTIMEO_NEW => return Ok(tell_timeout(out, options.recv_timeout)),
            libc::SO_SNDTIMEO | SO_SNDTIMEO_NEW => return Ok(tell_timeout(out, options.send_timeout)),
            libc::SO_RCVLOWAT => options.recv_lowat as i32,
            libc::SO_TYPE => libc::SOCK_STREAM,
            libc::SO_PROTOCOL if self.is_mptcp() => libc::IPPROTO_MPTCP,
            libc::SO_PROTOCOL => libc::IPPROTO_TCP,
            libc::SO_DOMAIN => match self.domain {
                Domain::Inet => libc::AF_INET,
                Domain::Inet6 => libc::AF_INET6,
            },
            libc::SO_ERROR => {
                self.view(inner);
                inner.error.take().map_or(0, Errno::raw_os_error)
            }
            libc::SO_ACCEPTCONN => matches!(inner.place, Place::Listener(_)).into(),
            libc::SO_SNDBUF | libc::SO_RCVBUF => self.buffer_bytes(inner, name),
            libc::SO_MEMINFO => return Ok(self.tell_memory(inner, out)),
            libc::SO_BSDCOMPAT => 0,
            libc::SO_BINDTODEVICE => return Ok(0),
            // `struct ucred` of nobody.
            libc::SO_PEERCRED => return Ok(tell(out, &[0, -1, -1].map(i32::to_ne_bytes).concat())),
            SO_COOKIE if out.len() < 8 => return Err(Errno::INVAL),
            SO_COOKIE => return Ok(tell(out, &self.id.to_ne_bytes())),
            libc::SO_PEERNAME => return self.tell_peer(inner, out),
            libc::SO_MAX_PACING_RATE if out.len() >= 8 => {
                return Ok(tell(out, &options.pacing_rate.to_ne_bytes()));
            }
            libc::SO_MAX_PACING_RATE => u32::try_from(options.pacing_rate).unwrap_or(u32::MAX) as i32,
            _ => i32::from(options.timestamp.is_some() && options.timestamp == Timestamp::of(name)),
        };
        Ok(tell_int(out, value))
    }

    /// `SO_MEMINFO`: numbers of octets by Linux's `SK_MEMINFO_*`, those that mean nothing here being 0.
    fn tell_memory(&self, inner: &mut Inner, out: &mut [u8]) -> usize {
        let view = self.view(inner);
        let octets = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let mut numbers = [0; 9];
        numbers[0] = octets(view.readable_bytes as u64);
        numbers[1] = self.buffer_bytes(inner, libc::SO_RCVBUF).unsigned_abs();
        numbers[3] = self.buffer_bytes(inner, libc::SO_SNDBUF).unsigned_abs();
        numbers[5] = octets(view.unacked_bytes);
        tell(out, &numbers.map(u32::to_ne_bytes).concat())
    }

    /// What the buffers hold at most now, or will in the beginning.
    fn buffer_bytes(&self, inner: &Inner, name: i32) -> i32 {
        let is_send = name == libc::SO_SNDBUF;
        let set = if is_send { inner.options.send_buffer } else { inner.options.recv_buffer };
        if let Some(bytes) = set {
            return bytes;
        }
        let bytes = match self.info(&inner.place) {
            Some(info) if is_send => info.send_buffer_bytes,
            Some(info) => info.recv_buffer_bytes,
            None => self.stack().look(|host| match is_send {
                true => host.config().tcp.send_buffer_start_bytes(),
                false => host.config().tcp.recv_buffer_start_bytes(),
            }) as usize,
        };
        i32::try_from(bytes).unwrap_or(i32::MAX)
    }

    /// `SO_PEERNAME`: a `struct sockaddr`, which has to fit.
    fn tell_peer(&self, inner: &mut Inner, out: &mut [u8]) -> Result<usize, Errno> {
        let peer = self.peer_of(inner)?;
        let mut name = Vec::new();
        match peer {
            std::net::SocketAddr::V4(v4) => {
                name.extend_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                name.extend_from_slice(&v4.port().to_be_bytes());
                name.extend_from_slice(&v4.ip().octets());
                name.extend_from_slice(&[0; 8]);
            }
            std::net::SocketAddr::V6(v6) => {
                name.extend_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                name.extend_from_slice(&v6.port().to_be_bytes());
                name.extend_from_slice(&[0; 4]);
                name.extend_from_slice(&v6.ip().octets());
                name.extend_from_slice(&[0; 4]);
            }
        }
        // Linux asks for exactly what it has.
        if name.len() < out.len() { Err(Errno::INVAL) } else { Ok(tell(out, &name)) }
    }
}

/// What a buffer is told to be after it was set: twice what was asked for, which counts Linux's own expense.
fn buffer_of(asked: i32, least: i32) -> i32 {
    // Numbers below zero are large ones.
    let asked = u32::from_ne_bytes(asked.to_ne_bytes()).min(BUFFER_MAX);
    i32::try_from(asked * 2).unwrap_or(i32::MAX).max(least)
}

/// `SO_BINDTODEVICE`: only the empty name, since paths are chosen by addresses here.
fn bind_to_device(value: &[u8]) -> Result<(), Errno> {
    match value.split(|octet| *octet == 0).next() {
        None | Some([]) => Ok(()),
        Some(_) => Err(Errno::NODEV),
    }
}
