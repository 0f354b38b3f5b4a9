//! `setsockopt` and `getsockopt`.
//!
//! Linux refuses many options on an MPTCP socket that it takes on a TCP socket. Here they are taken wherever they have a
//! meaning; [`Compat::Linux`] refuses them as Linux 6.18 does.
//!
//! [`registry`]: all options and what Linux does with them. [`value`]: how values are written. [`socket`], [`ip`], [`tcp`]: the
//! options of each level that are more than a number that is kept. [`infos`]: structures that tell about connections.

mod infos;
mod ip;
pub(crate) mod registry;
mod socket;
mod tcp;
mod value;

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::sync::atomic::Ordering;
use std::time::Duration;

use polytcp::raw::{self, ConnectionId, Host, Instant};
use polytcp::{BufferLimits, Keepalive, TcpConfig};
use rustix::io::Errno;

use self::registry::{Entry, Kind, OnMptcp};
use crate::Compat;
use crate::ports::Shares;
use crate::socket::{Domain, Inner, Place, Socket, State};

/// `TCP_IS_MPTCP`, which not every C library names.
pub const TCP_IS_MPTCP: i32 = 43;
/// `SOL_MPTCP`.
pub const SOL_MPTCP: i32 = 284;

/// The values of one socket's options.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Numbers that were set, by level and option.
    values: BTreeMap<(i32, i32), i32>,
    lingers: bool,
    /// Kept while it is off.
    linger_time: Duration,
    recv_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    /// `SO_RCVLOWAT`, octets.
    pub(crate) recv_lowat: u32,
    /// `SO_SNDBUF` and `SO_RCVBUF`, as they are told.
    send_buffer: Option<i32>,
    recv_buffer: Option<i32>,
    /// `SO_TIMESTAMP` and its kin.
    timestamp: Option<socket::Timestamp>,
    /// `SO_MAX_PACING_RATE`, octets per second.
    pacing_rate: u64,
    pub(crate) congestion_control: Option<String>,
    /// `TCP_DEFER_ACCEPT`, seconds.
    defer_accept: u32,
    pub(crate) fast_open: u32,
    pub(crate) v6_only: bool,
}

/// What a sysctl says of a TCP option that was not set.
fn host_default(config: &TcpConfig, number: i32) -> Option<i32> {
    let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
    match number {
        libc::TCP_KEEPIDLE => Some(seconds(config.keepalive_time)),
        libc::TCP_KEEPINTVL => Some(seconds(config.keepalive_interval)),
        libc::TCP_KEEPCNT => Some(config.keepalive_probes.into()),
        _ => None,
    }
}

impl Options {
    /// Linux's defaults.
    pub(crate) fn new() -> Self {
        Self {
            values: BTreeMap::new(),
            lingers: false,
            linger_time: Duration::ZERO,
            recv_timeout: None,
            send_timeout: None,
            recv_lowat: 1,
            send_buffer: None,
            recv_buffer: None,
            timestamp: None,
            pacing_rate: u64::MAX,
            congestion_control: None,
            defer_accept: 0,
            fast_open: 0,
            v6_only: false,
        }
    }

    /// What a socket has that its listener's `accept` made.
    pub(crate) fn inherited(&self) -> Self {
        Self { defer_accept: 0, fast_open: 0, ..self.clone() }
    }

    /// What a plain TCP socket has that an MPTCP listener's `accept` made: Linux makes it of the listener's first subflow, which
    /// does not hear of what concerns waiting.
    pub(crate) fn of_first_subflow(self) -> Self {
        Self { recv_lowat: 1, recv_timeout: None, send_timeout: None, ..self }
    }

    /// A number that was set.
    fn value(&self, level: i32, number: i32) -> Option<i32> {
        self.values.get(&(level, number)).copied()
    }

    fn is_on(&self, level: i32, number: i32) -> bool {
        self.value(level, number).is_some_and(|value| value != 0)
    }

    /// With whom a port may be shared.
    pub(crate) fn shares(&self) -> Shares {
        Shares { unless_listening: self.is_on(libc::SOL_SOCKET, libc::SO_REUSEADDR), port: self.reuse_port() }
    }

    pub(crate) fn reuse_port(&self) -> bool {
        self.is_on(libc::SOL_SOCKET, libc::SO_REUSEPORT)
    }

    pub(crate) fn nodelay(&self) -> bool {
        self.is_on(libc::SOL_TCP, libc::TCP_NODELAY)
    }

    /// `SO_LINGER`, where it is on.
    pub(crate) fn linger(&self) -> Option<Duration> {
        self.lingers.then_some(self.linger_time)
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

    /// Sizes of the buffers, where they were set. What is told is twice what was asked for; the window is to hold that.
    pub(crate) fn buffers(&self) -> BufferLimits {
        let asked = |told: i32| told.unsigned_abs() / 2;
        let send = self.send_buffer.and_then(|told| NonZeroU32::new(told.unsigned_abs()));
        let recv = self.recv_buffer.and_then(|told| NonZeroU32::new(asked(told) + asked(told).div_ceil(7)));
        let segment =
            self.value(libc::SOL_TCP, libc::TCP_MAXSEG).and_then(|octets| u16::try_from(octets).ok());
        BufferLimits { send, recv, segment: segment.and_then(NonZeroU16::new) }
    }

    /// What was set of it, and the host's settings for the rest.
    fn keepalive(&self, config: &TcpConfig) -> Option<Keepalive> {
        let number = |number| {
            let entry = registry::find(libc::SOL_TCP, number);
            let limits = entry.map_or(1..=1, |entry| match entry.kind {
                Kind::Number(min, max) => min..=max,
                _ => 1..=1,
            });
            let value = self.value(libc::SOL_TCP, number).filter(|value| limits.contains(value));
            value.or(host_default(config, number)).unwrap_or(1).unsigned_abs()
        };
        self.is_on(libc::SOL_SOCKET, libc::SO_KEEPALIVE).then(|| Keepalive {
            idle: Duration::from_secs(number(libc::TCP_KEEPIDLE).into()),
            interval: Duration::from_secs(number(libc::TCP_KEEPINTVL).into()),
            probes: u8::try_from(number(libc::TCP_KEEPCNT)).unwrap_or(u8::MAX),
        })
    }

    fn user_timeout(&self) -> Option<Duration> {
        let millis = self.value(libc::SOL_TCP, libc::TCP_USER_TIMEOUT).unwrap_or(0);
        (millis > 0).then(|| Duration::from_millis(millis.unsigned_abs().into()))
    }

    /// The option of the packets' family.
    fn of_family(&self, ipv4: bool, v4: i32, v6: i32) -> Option<i32> {
        if ipv4 { self.value(libc::SOL_IP, v4) } else { self.value(libc::SOL_IPV6, v6) }
    }

    /// Puts what was set into effect on a new connection.
    pub(crate) fn apply(&self, host: &mut Host, now: Instant, id: ConnectionId) {
        let set = self.values.keys().copied();
        let mut all: Vec<(i32, i32)> = set.collect();
        if self.lingers {
            all.push((libc::SOL_SOCKET, libc::SO_LINGER));
        }
        all.into_iter().for_each(|(level, number)| self.put(host, now, id, level, number));
    }

    /// Puts one option into effect on a connection. None of the calls fails on a connection that is there.
    fn put(&self, host: &mut Host, now: Instant, id: ConnectionId, level: i32, number: i32) {
        let ipv4 = host.info(id).is_ok_and(|info| info.remote.is_ipv4());
        let _ = match (level, number) {
            (libc::SOL_SOCKET, libc::SO_LINGER) => host.set_linger(now, id, self.linger()),
            (libc::SOL_SOCKET, libc::SO_SNDBUF | libc::SO_RCVBUF) => host.set_buffers(id, self.buffers()),
            (libc::SOL_TCP, libc::TCP_NODELAY) => host.set_nodelay(now, id, self.nodelay()),
            (libc::SOL_TCP, libc::TCP_CORK) => {
                host.set_cork(now, id, self.is_on(libc::SOL_TCP, libc::TCP_CORK))
            }
            (libc::SOL_TCP, libc::TCP_NOTSENT_LOWAT) => {
                // Linux: 0 for what the sysctl says.
                let set = self.value(libc::SOL_TCP, libc::TCP_NOTSENT_LOWAT).filter(|bytes| *bytes != 0);
                let bytes = set.map_or(host.config().tcp.notsent_lowat, |bytes| bytes as u32);
                host.set_notsent_lowat(id, bytes)
            }
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE)
            | (libc::SOL_TCP, libc::TCP_KEEPIDLE | libc::TCP_KEEPINTVL | libc::TCP_KEEPCNT) => {
                let keepalive = self.keepalive(&host.config().tcp);
                host.set_keepalive(now, id, keepalive)
            }
            (libc::SOL_TCP, libc::TCP_USER_TIMEOUT) => host.set_user_timeout(now, id, self.user_timeout()),
            (libc::SOL_IP, libc::IP_TOS) | (libc::SOL_IPV6, libc::IPV6_TCLASS) => {
                match self.of_family(ipv4, libc::IP_TOS, libc::IPV6_TCLASS) {
                    Some(class) => host.set_traffic_class(now, id, class as u8),
                    None => Ok(()),
                }
            }
            (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_UNICAST_HOPS) => {
                let limit = self.of_family(ipv4, libc::IP_TTL, libc::IPV6_UNICAST_HOPS);
                let limit = limit.and_then(|limit| u8::try_from(limit).ok()).and_then(NonZeroU8::new);
                let limit = limit.unwrap_or(host.config().ip.hop_limit);
                host.set_hop_limit(now, id, limit)
            }
            _ => Ok(()),
        };
    }
}

const SO_BUSY_POLL_BUDGET: i32 = 70;
const SO_TXREHASH: i32 = 74;

/// Linux reads a number before it looks what it is for.
fn reads_number_first(level: i32, name: i32, mptcp: bool) -> bool {
    match level {
        libc::SOL_SOCKET => !mptcp && name != libc::SO_BINDTODEVICE,
        // Those that MPTCP knows.
        libc::SOL_TCP if mptcp => {
            matches!(name, 1..=8 | 10 | 12 | 16..=18 | 23..=25 | 27 | 30 | 34 | 36 | 37)
        }
        libc::SOL_TCP => !matches!(name, libc::TCP_CONGESTION | libc::TCP_ULP | libc::TCP_FASTOPEN_KEY),
        _ => false,
    }
}

/// An option of IPv4 that Linux does not set to zero by an empty value.
fn needs_octet(name: i32) -> bool {
    const IP_MULTICAST_ALL: i32 = 49;
    matches!(
        name,
        libc::IP_FREEBIND
            | libc::IP_TRANSPARENT
            | libc::IP_MINTTL
            | libc::IP_MULTICAST_LOOP
            | IP_MULTICAST_ALL
    )
}

/// An option of IPv6 that Linux does not set to zero by a short value.
fn needs_int(name: i32) -> bool {
    const IPV6_RECVFRAGSIZE: i32 = 77;
    !matches!(name, libc::IPV6_DONTFRAG | libc::IPV6_AUTOFLOWLABEL | IPV6_RECVFRAGSIZE)
}

/// Whose options count.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Face {
    /// MPTCP's; below `SOL_SOCKET` they are TCP's after a fallback, as in Linux.
    mptcp: bool,
    /// MPTCP's, and those that Linux refuses are refused.
    strict: bool,
}

impl Socket {
    fn face(&self, level: i32) -> Face {
        let fell_back = || self.info(&self.lock().place).is_some_and(|info| !info.is_mptcp);
        let mptcp = self.is_mptcp() && (level == libc::SOL_SOCKET || !fell_back());
        Face { mptcp, strict: mptcp && self.net.compat == Compat::Linux }
    }

    /// Sets an option.
    pub(crate) fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let face = self.face(level);
        let is_short = value.len() < size_of::<i32>();
        if is_short && reads_number_first(level, name, face.mptcp) {
            return Err(Errno::INVAL);
        }
        let Some(entry) = registry::find(level, name).filter(|_| self.has_level(face, level)) else {
            return Err(match level {
                libc::SOL_SOCKET if face.mptcp => Errno::OPNOTSUPP,
                _ => Errno::NOPROTOOPT,
            });
        };
        let inner = &mut *self.lock();
        let state = self.view(inner).state;
        let is_idle = matches!(state, State::Close | State::Listen);
        let is_foreign = level == libc::SOL_IPV6 && self.domain == Domain::Inet;
        if is_foreign && matches!(entry.mptcp, OnMptcp::Unconnected) {
            return Err(if is_idle { Errno::NOPROTOOPT } else { Errno::INVAL });
        }
        let mut afterwards = Ok(());
        match entry.mptcp {
            _ if !face.strict => {}
            OnMptcp::Same | OnMptcp::Unchecked => {}
            OnMptcp::Forgotten => return Ok(()),
            OnMptcp::Unconnected if !is_idle => return Err(Errno::INVAL),
            OnMptcp::UnconnectedKept if !is_idle => afterwards = Err(Errno::INVAL),
            OnMptcp::Unconnected | OnMptcp::UnconnectedKept => inner.first_subflow = true,
            OnMptcp::NotSet(error) | OnMptcp::Refused(error, _) => return Err(error),
        }
        match entry.kind {
            Kind::Own => match level {
                libc::SOL_SOCKET => self.set_socket_option(inner, name, value)?,
                libc::SOL_TCP => self.set_tcp_option(inner, state, name, value)?,
                _ => self.set_ip_option(inner, state, entry, value)?,
            },
            Kind::ToldEmpty(_) if level == libc::SOL_IPV6 && value.is_empty() => {}
            Kind::Told(error) | Kind::ToldEmpty(error) | Kind::Refused(error, _) => return Err(error),
            Kind::Taken(_) if name == SO_BUSY_POLL_BUDGET && u16::try_from(value::int(value)?).is_err() => {
                return Err(Errno::INVAL);
            }
            Kind::Taken(_) => {
                value::int(value)?;
            }
            Kind::TakenEmpty => {}
            Kind::Flag | Kind::Number(..) => {
                let number = match level {
                    libc::SOL_IP if value.is_empty() && needs_octet(name) => return Err(Errno::INVAL),
                    libc::SOL_IP => value::int_or_octet(value),
                    libc::SOL_IPV6 if !needs_int(name) => value::int(value).unwrap_or(0),
                    _ => value::int(value)?,
                };
                let is_asked = !(face.strict && entry.mptcp == OnMptcp::Unchecked) || inner.first_subflow;
                let kept = match entry.kind {
                    Kind::Number(min, max) if is_asked && !(min..=max).contains(&number) => {
                        return Err(Errno::INVAL);
                    }
                    Kind::Number(..) => number,
                    _ => i32::from(number != 0),
                };
                self.keep(inner, entry, kept);
            }
        }
        afterwards
    }

    /// Keeps a number, and puts it into effect.
    fn keep(&self, inner: &mut Inner, entry: &Entry, value: i32) {
        match value {
            // The default again.
            -1 if entry.number == SO_TXREHASH && entry.level == libc::SOL_SOCKET => {
                inner.options.values.remove(&(entry.level, entry.number));
            }
            _ => {
                inner.options.values.insert((entry.level, entry.number), value);
            }
        }
        if entry.level == libc::SOL_SOCKET && matches!(entry.number, libc::SO_REUSEADDR | libc::SO_REUSEPORT)
        {
            self.renew_shares(inner);
        }
        self.put_option(inner, entry.level, entry.number);
    }

    fn put_option(&self, inner: &Inner, level: i32, number: i32) {
        match inner.place {
            Place::Connection(id) => {
                self.stack().call(|host, now| inner.options.put(host, now, id, level, number));
            }
            Place::Listener(id) => {
                let sizes = inner.options.buffers();
                self.stack().call(|host, _| host.set_listener_buffers(id, sizes));
            }
            _ => {}
        }
    }

    /// The level is one of the socket's.
    fn has_level(&self, face: Face, level: i32) -> bool {
        level != libc::SOL_IPV6 || self.domain == Domain::Inet6 || face.mptcp
    }

    /// Writes the value into `out` as far as it fits, and returns how many octets that were.
    pub(crate) fn get_option(&self, level: i32, name: i32, out: &mut [u8]) -> Result<usize, Errno> {
        let face = self.face(level);
        if level == SOL_MPTCP && self.is_mptcp() {
            return match face.mptcp {
                true => self.get_mptcp_option(name, out),
                // After a fallback the option is one that TCP does not know.
                false if self.domain == Domain::Inet => Err(Errno::OPNOTSUPP),
                false => Err(Errno::NOPROTOOPT),
            };
        }
        let known = matches!(level, libc::SOL_SOCKET | libc::SOL_IP | libc::SOL_IPV6 | libc::SOL_TCP);
        if !known || !self.has_level(face, level) {
            return Err(match self.domain {
                Domain::Inet => Errno::OPNOTSUPP,
                Domain::Inet6 => Errno::NOPROTOOPT,
            });
        }
        let Some(entry) = registry::find(level, name) else {
            let is_below = level != libc::SOL_SOCKET;
            return Err(if face.mptcp && is_below { Errno::OPNOTSUPP } else { Errno::NOPROTOOPT });
        };
        let inner = &mut *self.lock();
        let default = match level {
            libc::SOL_TCP => self.stack().look(|host| host_default(&host.config().tcp, name)),
            _ => None,
        };
        let default = default.unwrap_or(entry.default);
        let number = inner.options.value(level, name).unwrap_or(default);
        let number = match entry.mptcp {
            OnMptcp::Refused(_, error) if face.strict => return Err(error),
            OnMptcp::NotSet(_) | OnMptcp::Forgotten if face.strict && entry.kind != Kind::Own => {
                entry.default
            }
            _ => number,
        };
        let number = match entry.kind {
            Kind::Own => match level {
                libc::SOL_SOCKET => return self.get_socket_option(inner, name, out),
                libc::SOL_TCP => return self.get_tcp_option(inner, face.mptcp, name, out),
                _ => self.get_ip_option(inner, entry, number),
            },
            Kind::Refused(_, error) | Kind::Taken(error) => return Err(error),
            Kind::ToldEmpty(_) | Kind::TakenEmpty => return Ok(0),
            // A default that was set expressly is told as such.
            _ if number == 0 && face.mptcp && entry.mptcp == OnMptcp::Unchecked => default,
            _ => number,
        };
        Ok(match level {
            libc::SOL_SOCKET => value::tell_int(out, number),
            libc::SOL_IP => value::tell_octet(out, number),
            _ if face.mptcp => value::tell_octet(out, number),
            _ => value::tell_int(out, number),
        })
    }

    fn info(&self, place: &Place) -> Option<polytcp::ConnectionInfo> {
        let Place::Connection(id) = place else { return None };
        self.stack().look(|host| host.info(*id)).ok()
    }

    /// `O_NONBLOCK`.
    pub(crate) fn set_nonblocking(&self, on: bool) {
        self.nonblocking.store(on, Ordering::Relaxed);
    }
}
