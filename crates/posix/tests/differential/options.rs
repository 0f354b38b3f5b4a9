//! Options by their names, for programs.

use polytcp_posix::{TCP_IS_MPTCP, libc};

/// How a number becomes an option's value.
#[derive(Clone, Copy)]
enum Form {
    Int,
    /// One octet.
    Octet,
    /// `struct linger`: seconds; below zero is off.
    Linger,
    /// `struct timeval`: milliseconds.
    Time,
}

/// One option.
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) level: i32,
    pub(crate) number: i32,
    form: Form,
}

/// Options whose values do not depend on chance.
pub(crate) const ALL: &[Named] = &[
    named("SO_KEEPALIVE", libc::SOL_SOCKET, libc::SO_KEEPALIVE, Form::Int),
    named("SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR, Form::Int),
    named("SO_REUSEPORT", libc::SOL_SOCKET, libc::SO_REUSEPORT, Form::Int),
    named("SO_LINGER", libc::SOL_SOCKET, libc::SO_LINGER, Form::Linger),
    named("SO_RCVLOWAT", libc::SOL_SOCKET, libc::SO_RCVLOWAT, Form::Int),
    named("SO_SNDLOWAT", libc::SOL_SOCKET, libc::SO_SNDLOWAT, Form::Int),
    named("SO_RCVTIMEO", libc::SOL_SOCKET, libc::SO_RCVTIMEO, Form::Time),
    named("SO_SNDTIMEO", libc::SOL_SOCKET, libc::SO_SNDTIMEO, Form::Time),
    named("SO_ERROR", libc::SOL_SOCKET, libc::SO_ERROR, Form::Int),
    named("SO_TYPE", libc::SOL_SOCKET, libc::SO_TYPE, Form::Int),
    named("SO_PROTOCOL", libc::SOL_SOCKET, libc::SO_PROTOCOL, Form::Int),
    named("SO_DOMAIN", libc::SOL_SOCKET, libc::SO_DOMAIN, Form::Int),
    named("SO_ACCEPTCONN", libc::SOL_SOCKET, libc::SO_ACCEPTCONN, Form::Int),
    named("TCP_NODELAY", libc::SOL_TCP, libc::TCP_NODELAY, Form::Int),
    named("TCP_KEEPIDLE", libc::SOL_TCP, libc::TCP_KEEPIDLE, Form::Int),
    named("TCP_KEEPINTVL", libc::SOL_TCP, libc::TCP_KEEPINTVL, Form::Int),
    named("TCP_KEEPCNT", libc::SOL_TCP, libc::TCP_KEEPCNT, Form::Int),
    named("TCP_IS_MPTCP", libc::SOL_TCP, TCP_IS_MPTCP, Form::Int),
    named("IP_TOS", libc::SOL_IP, libc::IP_TOS, Form::Int),
    named("IP_TOS_octet", libc::SOL_IP, libc::IP_TOS, Form::Octet),
    named("IPV6_V6ONLY", libc::SOL_IPV6, libc::IPV6_V6ONLY, Form::Int),
];

const fn named(name: &'static str, level: i32, number: i32, form: Form) -> Named {
    Named { name, level, number, form }
}

impl Named {
    /// The option of that name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|option| option.name == name)
    }

    /// The value as `setsockopt` takes it.
    pub(crate) fn value(&self, number: i32) -> Vec<u8> {
        match self.form {
            Form::Int => number.to_ne_bytes().to_vec(),
            Form::Octet => vec![number as u8],
            Form::Linger => [i32::from(number >= 0).to_ne_bytes(), number.max(0).to_ne_bytes()].concat(),
            Form::Time => {
                let (seconds, rest) =
                    (i64::from(number).div_euclid(1000), i64::from(number).rem_euclid(1000));
                [seconds.to_ne_bytes(), (rest * 1000).to_ne_bytes()].concat()
            }
        }
    }

    /// The length that `getsockopt` is given.
    pub(crate) fn len(&self) -> usize {
        self.value(0).len()
    }
}
