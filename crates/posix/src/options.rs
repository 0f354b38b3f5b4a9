//! `setsockopt` and `getsockopt`: the values, how they are read and written, and who takes which.
//!
//! Linux refuses many options on an MPTCP socket that it takes on a TCP socket. Here they are taken wherever they have a
//! meaning; [`Compat::Linux`] refuses them as Linux 6.18 does.

use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polytcp::Keepalive;
use polytcp::raw::{self, ConnectionId, Host, Instant};
use rustix::io::Errno;

use crate::Compat;
use crate::ports::Shares;
use crate::socket::{Domain, Place, Socket, Stage, State};

/// `TCP_IS_MPTCP`, which not every C library names.
pub const TCP_IS_MPTCP: i32 = 43;
/// `SOL_MPTCP`.
pub const SOL_MPTCP: i32 = 284;

/// Linux's limits of `TCP_KEEPIDLE` and `TCP_KEEPINTVL`, seconds, and of `TCP_KEEPCNT`, and their defaults.
const KEEP_SECONDS: RangeInclusive<i32> = 1..=32_767;
const KEEP_COUNT: RangeInclusive<i32> = 1..=127;
const KEEP_IDLE: u64 = 7_200;
const KEEP_INTERVAL: u64 = 75;
const KEEP_PROBES: u64 = 9;

/// The values of one socket's options.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    lingers: bool,
    /// Kept while it is off.
    linger_time: Duration,
    recv_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    /// `SO_RCVLOWAT`, octets.
    pub(crate) recv_lowat: u32,
    keepalive: bool,
    /// `TCP_KEEPIDLE` and `TCP_KEEPINTVL` (seconds) and `TCP_KEEPCNT`; 0 is the default.
    keep_idle: i32,
    keep_interval: i32,
    keep_count: i32,
    pub(crate) nodelay: bool,
    pub(crate) congestion_control: Option<String>,
    user_timeout_ms: u32,
    /// Seconds.
    defer_accept: u32,
    pub(crate) fast_open: u32,
    pub(crate) v6_only: bool,
    traffic_class: Option<u8>,
    hop_limit: Option<NonZeroU8>,
}

impl Options {
    /// Linux's defaults.
    pub(crate) fn new() -> Self {
        Self {
            reuse_address: false,
            reuse_port: false,
            lingers: false,
            linger_time: Duration::ZERO,
            recv_timeout: None,
            send_timeout: None,
            recv_lowat: 1,
            keepalive: false,
            keep_idle: 0,
            keep_interval: 0,
            keep_count: 0,
            nodelay: false,
            congestion_control: None,
            user_timeout_ms: 0,
            defer_accept: 0,
            fast_open: 0,
            v6_only: false,
            traffic_class: None,
            hop_limit: None,
        }
    }

    /// What a socket has that its listener's `accept` made.
    pub(crate) fn inherited(&self) -> Self {
        Self { defer_accept: 0, fast_open: 0, ..self.clone() }
    }

    /// `SO_LINGER`, where it is on.
    pub(crate) fn linger(&self) -> Option<Duration> {
        self.lingers.then_some(self.linger_time)
    }

    /// With whom a port may be shared.
    pub(crate) fn shares(&self) -> Shares {
        Shares { unless_listening: self.reuse_address, port: self.reuse_port }
    }

    /// What a plain TCP socket has that an MPTCP listener's `accept` made: Linux makes it of the listener's first subflow, which
    /// does not hear of what concerns waiting.
    pub(crate) fn of_first_subflow(self) -> Self {
        Self { recv_lowat: 1, recv_timeout: None, send_timeout: None, ..self }
    }

    pub(crate) fn recv_until(&self) -> Option<Instant> {
        self.recv_timeout.map(|timeout| raw::now() + timeout)
    }

    pub(crate) fn send_until(&self) -> Option<Instant> {
        self.send_timeout.map(|timeout| raw::now() + timeout)
    }

    pub(crate) fn defer_accept(&self) -> Option<Duration> {
        (self.defer_accept > 0).then(|| Duration::from_secs(self.defer_accept.into()))
    }

    /// Puts everything into effect on a new connection.
    pub(crate) fn apply(&self, host: &mut Host, now: Instant, id: ConnectionId) {
        let fresh = Self::new();
        // None of these fails on a connection that is there.
        if self.nodelay {
            let _ = host.set_nodelay(now, id, true);
        }
        if self.keepalive {
            let _ = host.set_keepalive(now, id, Some(self.keepalive_times()));
        }
        if self.user_timeout_ms != fresh.user_timeout_ms {
            let _ = host.set_user_timeout(now, id, self.user_timeout());
        }
        if self.lingers {
            let _ = host.set_linger(now, id, self.linger());
        }
        if let Some(traffic_class) = self.traffic_class {
            let _ = host.set_traffic_class(now, id, traffic_class);
        }
        if let Some(hop_limit) = self.hop_limit {
            let _ = host.set_hop_limit(now, id, hop_limit);
        }
    }

    fn keepalive_times(&self) -> Keepalive {
        let or = |value: i32, limits: RangeInclusive<i32>, default: u64| {
            if limits.contains(&value) { u64::from(value.unsigned_abs()) } else { default }
        };
        Keepalive {
            idle: Duration::from_secs(or(self.keep_idle, KEEP_SECONDS, KEEP_IDLE)),
            interval: Duration::from_secs(or(self.keep_interval, KEEP_SECONDS, KEEP_INTERVAL)),
            probes: or(self.keep_count, KEEP_COUNT, KEEP_PROBES) as u8,
        }
    }

    fn user_timeout(&self) -> Option<Duration> {
        (self.user_timeout_ms > 0).then(|| Duration::from_millis(self.user_timeout_ms.into()))
    }
}

/// An `int` of the caller.
fn int(value: &[u8]) -> Result<i32, Errno> {
    let bytes = value.first_chunk().ok_or(Errno::INVAL)?;
    Ok(i32::from_ne_bytes(*bytes))
}

/// An `int` within limits.
fn int_in(value: &[u8], limits: RangeInclusive<i32>) -> Result<u32, Errno> {
    let value = int(value)?;
    if limits.contains(&value) { u32::try_from(value).map_err(|_| Errno::INVAL) } else { Err(Errno::INVAL) }
}

/// Writes what fits, and says how much it was.
fn tell(out: &mut [u8], value: &[u8]) -> usize {
    let len = out.len().min(value.len());
    out[..len].copy_from_slice(&value[..len]);
    len
}

/// An `int`; one that fits an octet goes into a shorter place too (Linux: options of IPv4, and all of MPTCP).
fn tell_octet(out: &mut [u8], value: i32) -> usize {
    match (u8::try_from(value), out) {
        (Ok(octet), out @ ([_] | [_, _] | [_, _, _])) => tell(out, &[octet]),
        (_, out) => tell(out, &value.to_ne_bytes()),
    }
}

fn tell_int(mptcp: bool, out: &mut [u8], value: i32) -> usize {
    if mptcp { tell_octet(out, value) } else { tell(out, &value.to_ne_bytes()) }
}

/// A `struct timeval` as a timeout; zero and less is none (Linux: `sock_set_timeout`).
fn timeout(value: &[u8]) -> Result<Option<Duration>, Errno> {
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

fn tell_timeout(out: &mut [u8], timeout: Option<Duration>) -> usize {
    let timeout = timeout.unwrap_or_default();
    let mut value = [0; 16];
    value[..8].copy_from_slice(&(timeout.as_secs() as i64).to_ne_bytes());
    value[8..].copy_from_slice(&i64::from(timeout.subsec_micros()).to_ne_bytes());
    tell(out, &value)
}

impl Socket {
    /// MPTCP's options count: those below `SOL_SOCKET` are TCP's after a fallback, as in Linux.
    fn speaks_mptcp(&self) -> bool {
        self.is_mptcp() && self.info(&self.lock().place).is_none_or(|info| info.is_mptcp)
    }

    /// Linux refuses on MPTCP what it takes on TCP.
    fn refuses(&self, mptcp: bool) -> bool {
        mptcp && self.net.compat == Compat::Linux
    }

    pub(crate) fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        match level {
            libc::SOL_SOCKET => self.set_socket_option(name, value),
            libc::SOL_IP => self.set_ip_option(self.speaks_mptcp(), name, value),
            libc::SOL_IPV6 if self.domain == Domain::Inet6 || self.speaks_mptcp() => {
                self.set_ipv6_option(self.speaks_mptcp(), name, value)
            }
            libc::SOL_TCP => self.set_tcp_option(self.speaks_mptcp(), name, value),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn set_socket_option(&self, name: i32, value: &[u8]) -> Result<(), Errno> {
        let on = int(value)? != 0;
        let inner = &mut *self.lock();
        let id = connection_of(&inner.place);
        match name {
            libc::SO_REUSEADDR | libc::SO_REUSEPORT => {
                // Linux asks for the first subflow, which a socket in use does not lend.
                if self.refuses(self.is_mptcp())
                    && !matches!(self.view(inner).state, State::Close | State::Listen)
                {
                    return Err(Errno::INVAL);
                }
                if name == libc::SO_REUSEADDR {
                    inner.options.reuse_address = on;
                } else {
                    inner.options.reuse_port = on;
                }
                self.renew_shares(inner);
            }
            libc::SO_KEEPALIVE => {
                inner.options.keepalive = on;
                self.renew_keepalive(inner);
            }
            libc::SO_LINGER => {
                let seconds = int(value.get(4..).unwrap_or_default())?;
                inner.options.lingers = on;
                if on {
                    inner.options.linger_time = Duration::from_secs(u64::from(seconds.unsigned_abs()));
                }
                if let Some(id) = id {
                    let linger = inner.options.linger();
                    let _ = self.stack().call(|host, now| host.set_linger(now, id, linger));
                }
            }
            libc::SO_RCVTIMEO => inner.options.recv_timeout = timeout(value)?,
            libc::SO_SNDTIMEO => inner.options.send_timeout = timeout(value)?,
            libc::SO_RCVLOWAT => {
                let lowat = int(value)?;
                // At most half of what the buffer can become (Linux: `tcp_set_rcvlowat`).
                let most = self.stack().look(|host| host.config().tcp.recv_buffer_max_bytes()) / 2;
                let asked = if lowat < 0 { u32::MAX } else { lowat.unsigned_abs() };
                inner.options.recv_lowat = asked.min(most).max(1);
                self.ring();
            }
            // These concern datagrams, local sockets or the queue of errors; Linux takes them on MPTCP and does nothing.
            libc::SO_NO_CHECK
            | libc::SO_DONTROUTE
            | libc::SO_BROADCAST
            | libc::SO_BSDCOMPAT
            | libc::SO_PASSCRED
            | libc::SO_PASSSEC
            | libc::SO_RXQ_OVFL
            | libc::SO_WIFI_STATUS
            | libc::SO_NOFCS
            | libc::SO_SELECT_ERR_QUEUE => {}
            _ if self.is_mptcp() => return Err(Errno::OPNOTSUPP),
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    fn set_ip_option(&self, mptcp: bool, name: i32, value: &[u8]) -> Result<(), Errno> {
        // IP options may have one octet (Linux: `do_ip_setsockopt`).
        let number = match value {
            [] => 0,
            [octet, ..] if value.len() < 4 => i32::from(*octet),
            _ => int(value)?,
        };
        match name {
            libc::IP_TOS => self.set_traffic_class(number as u8),
            libc::IP_TTL if self.refuses(mptcp) => Err(Errno::OPNOTSUPP),
            libc::IP_TTL => match number {
                -1 => self.set_hop_limit(None),
                1..=255 => self.set_hop_limit(NonZeroU8::new(number as u8)),
                _ => Err(Errno::INVAL),
            },
            _ if mptcp => Err(Errno::OPNOTSUPP),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn set_ipv6_option(&self, mptcp: bool, name: i32, value: &[u8]) -> Result<(), Errno> {
        let number = int(value)?;
        match name {
            libc::IPV6_V6ONLY => {
                let inner = &mut *self.lock();
                let state = self.view(inner).state;
                if self.domain == Domain::Inet {
                    return match state {
                        State::Close | State::Listen => Err(Errno::NOPROTOOPT),
                        _ => Err(Errno::INVAL),
                    };
                }
                if state != State::Close || inner.claimed.is_some() {
                    return Err(Errno::INVAL);
                }
                inner.options.v6_only = number != 0;
                Ok(())
            }
            libc::IPV6_TCLASS | libc::IPV6_UNICAST_HOPS if self.refuses(mptcp) => Err(Errno::OPNOTSUPP),
            libc::IPV6_TCLASS => match number {
                -1 => self.set_traffic_class(0),
                0..=255 => self.set_traffic_class(number as u8),
                _ => Err(Errno::INVAL),
            },
            libc::IPV6_UNICAST_HOPS => match number {
                -1 => self.set_hop_limit(None),
                1..=255 => self.set_hop_limit(NonZeroU8::new(number as u8)),
                _ => Err(Errno::INVAL),
            },
            _ if mptcp => Err(Errno::OPNOTSUPP),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn set_traffic_class(&self, traffic_class: u8) -> Result<(), Errno> {
        // The lowest two bits are TCP's own (RFC 3168).
        let traffic_class = traffic_class & !0b11;
        let inner = &mut *self.lock();
        inner.options.traffic_class = Some(traffic_class);
        if let Some(id) = connection_of(&inner.place) {
            let _ = self.stack().call(|host, now| host.set_traffic_class(now, id, traffic_class));
        }
        Ok(())
    }

    fn set_hop_limit(&self, hop_limit: Option<NonZeroU8>) -> Result<(), Errno> {
        let inner = &mut *self.lock();
        inner.options.hop_limit = hop_limit;
        if let Some(id) = connection_of(&inner.place) {
            let hop_limit = hop_limit.unwrap_or(NonZeroU8::MIN.saturating_add(63));
            let _ = self.stack().call(|host, now| host.set_hop_limit(now, id, hop_limit));
        }
        Ok(())
    }

    fn set_tcp_option(&self, mptcp: bool, name: i32, value: &[u8]) -> Result<(), Errno> {
        if name == libc::TCP_CONGESTION {
            return self.set_congestion_control(value);
        }
        let number = int(value)?;
        let inner = &mut *self.lock();
        let id = connection_of(&inner.place);
        match name {
            libc::TCP_NODELAY => {
                let on = number != 0;
                inner.options.nodelay = on;
                if let Some(id) = id {
                    let _ = self.stack().call(|host, now| host.set_nodelay(now, id, on));
                }
            }
            libc::TCP_KEEPIDLE | libc::TCP_KEEPINTVL | libc::TCP_KEEPCNT => {
                let limits = if name == libc::TCP_KEEPCNT { KEEP_COUNT } else { KEEP_SECONDS };
                // Linux asks the subflows, and takes anything while there is none.
                let is_asked = !self.refuses(mptcp) || inner.first_subflow;
                if is_asked && !limits.contains(&number) {
                    return Err(Errno::INVAL);
                }
                match name {
                    libc::TCP_KEEPIDLE => inner.options.keep_idle = number,
                    libc::TCP_KEEPINTVL => inner.options.keep_interval = number,
                    _ => inner.options.keep_count = number,
                }
                self.renew_keepalive(inner);
            }
            libc::TCP_USER_TIMEOUT if self.refuses(mptcp) => return Err(Errno::NOPROTOOPT),
            libc::TCP_USER_TIMEOUT => {
                inner.options.user_timeout_ms = int_in(value, 0..=i32::MAX)?;
                let limit = inner.options.user_timeout();
                if let Some(id) = id {
                    let _ = self.stack().call(|host, now| host.set_user_timeout(now, id, limit));
                }
            }
            libc::TCP_DEFER_ACCEPT => inner.options.defer_accept = number.max(0) as u32,
            libc::TCP_FASTOPEN => {
                if number < 0 || !matches!(self.view(inner).state, State::Close | State::Listen) {
                    return Err(Errno::INVAL);
                }
                inner.options.fast_open = number as u32;
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    fn set_congestion_control(&self, value: &[u8]) -> Result<(), Errno> {
        if value.is_empty() {
            return Err(Errno::INVAL);
        }
        let name = value.split(|octet| *octet == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(|_| Errno::NOENT)?;
        if !raw::CONGESTION_CONTROLS.contains(&name) {
            return Err(Errno::NOENT);
        }
        let inner = &mut *self.lock();
        if inner.stage != Stage::Unconnected {
            return Err(Errno::OPNOTSUPP);
        }
        inner.options.congestion_control = Some(name.to_owned());
        Ok(())
    }

    fn renew_keepalive(&self, inner: &crate::socket::Inner) {
        if let Some(id) = connection_of(&inner.place) {
            let wanted = inner.options.keepalive.then(|| inner.options.keepalive_times());
            let _ = self.stack().call(|host, now| host.set_keepalive(now, id, wanted));
        }
    }

    /// Writes the value into `out` as far as it fits, and returns how many octets that were.
    pub(crate) fn get_option(&self, level: i32, name: i32, out: &mut [u8]) -> Result<usize, Errno> {
        match level {
            libc::SOL_SOCKET => self.get_socket_option(name, out),
            libc::SOL_IP => self.get_ip_option(self.speaks_mptcp(), name, out),
            libc::SOL_IPV6 if self.domain == Domain::Inet6 || self.speaks_mptcp() => {
                self.get_ipv6_option(self.speaks_mptcp(), name, out)
            }
            libc::SOL_TCP => self.get_tcp_option(self.speaks_mptcp(), name, out),
            SOL_MPTCP if self.is_mptcp() => Err(Errno::OPNOTSUPP),
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    fn get_socket_option(&self, name: i32, out: &mut [u8]) -> Result<usize, Errno> {
        let inner = &mut *self.lock();
        let options = &inner.options;
        let value = match name {
            libc::SO_REUSEADDR => options.reuse_address.into(),
            libc::SO_REUSEPORT => options.reuse_port.into(),
            libc::SO_KEEPALIVE => options.keepalive.into(),
            libc::SO_LINGER => {
                let seconds = options.linger_time.as_secs() as i32;
                let mut value = [0; 8];
                value[..4].copy_from_slice(&i32::from(options.lingers).to_ne_bytes());
                value[4..].copy_from_slice(&seconds.to_ne_bytes());
                return Ok(tell(out, &value));
            }
            libc::SO_RCVTIMEO => return Ok(tell_timeout(out, options.recv_timeout)),
            libc::SO_SNDTIMEO => return Ok(tell_timeout(out, options.send_timeout)),
            libc::SO_RCVLOWAT => options.recv_lowat as i32,
            libc::SO_SNDLOWAT => 1,
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
            libc::SO_SNDBUF | libc::SO_RCVBUF => {
                let Some(info) = self.info(&inner.place) else { return Err(Errno::NOPROTOOPT) };
                let bytes =
                    if name == libc::SO_SNDBUF { info.send_buffer_bytes } else { info.recv_buffer_bytes };
                i32::try_from(bytes).unwrap_or(i32::MAX)
            }
            _ => return Err(Errno::NOPROTOOPT),
        };
        Ok(tell(out, &value.to_ne_bytes()))
    }

    fn info(&self, place: &Place) -> Option<polytcp::ConnectionInfo> {
        let id = connection_of(place)?;
        self.stack().look(|host| host.info(id)).ok()
    }

    fn get_ip_option(&self, mptcp: bool, name: i32, out: &mut [u8]) -> Result<usize, Errno> {
        let inner = self.lock();
        match name {
            libc::IP_TOS => Ok(tell_octet(out, inner.options.traffic_class.unwrap_or(0).into())),
            libc::IP_TTL if !self.refuses(mptcp) => {
                Ok(tell_octet(out, inner.options.hop_limit.map_or(64, NonZeroU8::get).into()))
            }
            _ => Err(if mptcp { Errno::OPNOTSUPP } else { Errno::NOPROTOOPT }),
        }
    }

    fn get_ipv6_option(&self, mptcp: bool, name: i32, out: &mut [u8]) -> Result<usize, Errno> {
        let inner = self.lock();
        let options = &inner.options;
        let value = match name {
            libc::IPV6_V6ONLY => options.v6_only.into(),
            libc::IPV6_TCLASS if !self.refuses(mptcp) => options.traffic_class.unwrap_or(0).into(),
            libc::IPV6_UNICAST_HOPS if !self.refuses(mptcp) => {
                options.hop_limit.map_or(64, NonZeroU8::get).into()
            }
            _ => return Err(if mptcp { Errno::OPNOTSUPP } else { Errno::NOPROTOOPT }),
        };
        Ok(tell_int(mptcp, out, value))
    }

    fn get_tcp_option(&self, mptcp: bool, name: i32, out: &mut [u8]) -> Result<usize, Errno> {
        let inner = &mut *self.lock();
        let options = &inner.options;
        let or = |value: i32, default: u64| if value == 0 { default as i32 } else { value };
        let value = match name {
            libc::TCP_NODELAY => options.nodelay.into(),
            libc::TCP_KEEPIDLE => or(options.keep_idle, KEEP_IDLE),
            libc::TCP_KEEPINTVL => or(options.keep_interval, KEEP_INTERVAL),
            libc::TCP_KEEPCNT => or(options.keep_count, KEEP_PROBES),
            libc::TCP_DEFER_ACCEPT => options.defer_accept as i32,
            libc::TCP_FASTOPEN => options.fast_open as i32,
            libc::TCP_USER_TIMEOUT if !self.refuses(mptcp) => options.user_timeout_ms as i32,
            libc::TCP_CONGESTION => {
                let name = options.congestion_control.clone();
                let name = name.unwrap_or_else(|| {
                    self.stack().look(|host| host.config().tcp.congestion_control.clone())
                });
                // The kernel's names have 16 octets, the last of them zero.
                let mut value = [0; 16];
                tell(&mut value[..15], name.as_bytes());
                return Ok(tell(out, &value));
            }
            libc::TCP_ULP if mptcp => return Ok(tell(out, b"mptcp\0")),
            TCP_IS_MPTCP => self.info(&inner.place).map_or(self.is_mptcp(), |info| info.is_mptcp).into(),
            _ => return Err(if mptcp { Errno::OPNOTSUPP } else { Errno::NOPROTOOPT }),
        };
        Ok(tell_int(mptcp, out, value))
    }

    /// `O_NONBLOCK`.
    pub(crate) fn set_nonblocking(&self, on: bool) {
        self.nonblocking.store(on, Ordering::Relaxed);
    }
}

fn connection_of(place: &Place) -> Option<ConnectionId> {
    match place {
        Place::Connection(id) => Some(*id),
        Place::Nothing | Place::Listener(_) => None,
    }
}
