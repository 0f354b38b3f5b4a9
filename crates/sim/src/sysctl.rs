//! A host's settings under Linux's sysctl names: the table `[host.sysctl]` of a scenario file.
//!
//! Times are written as everywhere in a scenario (`500ms`), the rest as Linux has it: numbers, and true or false for 1
//! and 0 where Linux knows nothing else. What has a key of its own in `[[host]]` is not repeated here.

use polytcp_proto::config::{Ecn, HostConfig, MtuProbing, SynCookies};
use serde::{Deserialize, Serialize};

use crate::quantity::Span;

/// Declares the table: each key with its type and text, and where its value goes. Keys are optional; what is not given
/// is the stack's default.
macro_rules! sysctls {
    ($($(#[$text:meta])* $key:ident: $kind:ty => $place:expr;)+) => {
        /// Settings of a host; see [`HostConfig`] for each.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Sysctls {
            $(
                $(#[$text])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $key: Option<$kind>,
            )+
        }

        impl Sysctls {
            /// Nothing is given.
            pub fn is_empty(&self) -> bool {
                *self == Self::default()
            }

            /// Puts what is given into `config`.
            ///
            /// # Errors
            /// One line that names the key.
            pub fn apply(&self, config: &mut HostConfig) -> Result<(), String> {
                $(
                    if let Some(value) = self.$key {
                        let set: fn(&mut HostConfig, $kind) -> Result<(), String> = $place;
                        set(config, value).map_err(|fault| format!(concat!(stringify!($key), ": {}"), fault))?;
                    }
                )+
                Ok(())
            }
        }
    };
}

fn one_of<T>(value: u32, known: &[(u32, T)]) -> Result<T, String>
where
    T: Copy,
{
    let found = known.iter().find(|(number, _)| *number == value).map(|(_, meaning)| *meaning);
    let numbers: Vec<String> = known.iter().map(|(number, _)| number.to_string()).collect();
    found.ok_or_else(|| format!("{value} is none of {}", numbers.join(", ")))
}

sysctls! {
    /// 0 never, 1 asked for, 2 accepted.
    tcp_ecn: u32 => |config, value| {
        config.tcp.ecn = one_of(value, &[(0, Ecn::Off), (1, Ecn::Request), (2, Ecn::Accept)])?;
        Ok(())
    };
    /// 0 never, 1 where large packets vanish.
    tcp_mtu_probing: u32 => |config, value| {
        config.tcp.mtu_probing = one_of(value, &[(0, MtuProbing::Off), (1, MtuProbing::OnBlackHole)])?;
        Ok(())
    };
    /// Octets.
    tcp_base_mss: u16 => |config, value| { config.tcp.base_mss = value; Ok(()) };
    /// Octets.
    tcp_mtu_probe_floor: u16 => |config, value| { config.tcp.mtu_probe_floor = value; Ok(()) };
    /// Octets (`net.ipv4.route.min_pmtu`).
    min_pmtu: u16 => |config, value| { config.tcp.min_pmtu = value; Ok(()) };
    /// `net.ipv4.route.mtu_expires`.
    mtu_expires: Span => |config, value| { config.tcp.mtu_expires = value.duration(); Ok(()) };
    /// Repetitions.
    tcp_syn_retries: u8 => |config, value| { config.tcp.syn_retries = value; Ok(()) };
    /// Repetitions.
    tcp_synack_retries: u8 => |config, value| { config.tcp.synack_retries = value; Ok(()) };
    /// Timeouts.
    tcp_retries1: u8 => |config, value| { config.tcp.retries1 = value; Ok(()) };
    /// Timeouts.
    tcp_retries2: u8 => |config, value| { config.tcp.retries2 = value; Ok(()) };
    /// Selective acknowledgements.
    tcp_sack: bool => |config, value| { config.tcp.sack = value; Ok(()) };
    /// Timestamps.
    tcp_timestamps: bool => |config, value| { config.tcp.timestamps = value; Ok(()) };
    /// Spurious timeouts are found out.
    tcp_frto: bool => |config, value| { config.tcp.frto = value; Ok(()) };
    /// An unused window shrinks.
    tcp_slow_start_after_idle: bool => |config, value| { config.tcp.slow_start_after_idle = value; Ok(()) };
    /// Between two answers to what is not acceptable.
    tcp_invalid_ratelimit: Span => |config, value| { config.tcp.invalid_ratelimit = value.duration(); Ok(()) };
    /// Entries in TIME-WAIT.
    tcp_max_tw_buckets: u32 => |config, value| { config.tcp.time_wait_max = value as usize; Ok(()) };
    /// How long an orphan waits for the peer's FIN.
    tcp_fin_timeout: Span => |config, value| { config.tcp.fin_timeout = value.duration(); Ok(()) };
    /// Between two keepalive probes; that they are sent is `keepalive` of the host.
    tcp_keepalive_intvl: Span => |config, value| { config.tcp.keepalive_interval = value.duration(); Ok(()) };
    /// Unanswered keepalive probes.
    tcp_keepalive_probes: u8 => |config, value| { config.tcp.keepalive_probes = value; Ok(()) };
    /// Connections that wait for `accept` (`net.core.somaxconn`).
    somaxconn: u32 => |config, value| { config.tcp.backlog_max = value as usize; Ok(()) };
    /// 0 never, 1 beyond the backlog, 2 always.
    tcp_syncookies: u32 => |config, value| {
        let known = [(0, SynCookies::Off), (1, SynCookies::WhenFull), (2, SynCookies::Always)];
        config.tcp.syncookies = one_of(value, &known)?;
        Ok(())
    };
    /// Requests without cookies.
    tcp_max_syn_backlog: u32 => |config, value| { config.tcp.max_syn_backlog = value as usize; Ok(()) };
    /// A full accept queue resets.
    tcp_abort_on_overflow: bool => |config, value| { config.tcp.abort_on_overflow = value; Ok(()) };
    /// Bits: 1 client, 2 server, 4 client without cookie, 512 server without cookie.
    tcp_fastopen: u32 => |config, value| {
        if value & !0x207 != 0 {
            return Err(format!("{value} has bits beyond 1, 2, 4 and 512"));
        }
        config.tcp.fastopen = value;
        Ok(())
    };
    /// The peer may join at its first address and port.
    allow_join_initial_addr_port: bool => |config, value| {
        config.mptcp.allow_join_initial_addr_port = value;
        Ok(())
    };
    /// How long new connections are plain TCP where MP_CAPABLE is swallowed.
    blackhole_timeout: Span => |config, value| { config.mptcp.blackhole_timeout = value.duration(); Ok(()) };
    /// Timeouts after which a silent subflow is stale.
    stale_loss_cnt: u32 => |config, value| { config.mptcp.stale_loss_cnt = value; Ok(()) };
    /// How long a connection lives without a subflow.
    close_timeout: Span => |config, value| { config.mptcp.close_timeout = value.duration(); Ok(()) };
    /// Longest wait before an ADD_ADDR is repeated.
    add_addr_timeout: Span => |config, value| { config.mptcp.add_addr_timeout = value.duration(); Ok(()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HostConfig, String> {
        let table: Sysctls = toml::from_str(text).map_err(|fault| fault.message().to_owned())?;
        let mut config = HostConfig::default();
        table.apply(&mut config)?;
        let again: Sysctls = toml::from_str(&toml::to_string(&table).expect("written")).expect("read");
        assert_eq!(table, again);
        Ok(config)
    }

    /// A value that is not the default arrives where it belongs; every field that a scenario could want has a key.
    #[test]
    fn every_key_reaches_its_setting() {
        let config = read(
            "tcp_ecn = 1\ntcp_mtu_probing = 1\ntcp_base_mss = 1000\ntcp_mtu_probe_floor = 100\nmin_pmtu = 600\n\
             mtu_expires = \"1s\"\ntcp_syn_retries = 1\ntcp_synack_retries = 2\ntcp_retries1 = 4\ntcp_retries2 = 5\n\
             tcp_frto = false\ntcp_sack = false\ntcp_timestamps = false\ntcp_slow_start_after_idle = false\ntcp_invalid_ratelimit = \"2s\"\n\
             tcp_max_tw_buckets = 6\ntcp_fin_timeout = \"3s\"\ntcp_keepalive_intvl = \"4s\"\n\
             tcp_keepalive_probes = 7\nsomaxconn = 8\ntcp_syncookies = 2\ntcp_max_syn_backlog = 10\n\
             tcp_abort_on_overflow = true\ntcp_fastopen = 3\nallow_join_initial_addr_port = false\n\
             blackhole_timeout = \"5s\"\nstale_loss_cnt = 9\nclose_timeout = \"6s\"\nadd_addr_timeout = \"7s\"\n",
        )
        .expect("all known");
        let seconds = std::time::Duration::from_secs;
        let mut expected = HostConfig::default();
        let (tcp, mptcp) = (&mut expected.tcp, &mut expected.mptcp);
        (tcp.ecn, tcp.mtu_probing, tcp.syncookies) =
            (Ecn::Request, MtuProbing::OnBlackHole, SynCookies::Always);
        (tcp.base_mss, tcp.mtu_probe_floor, tcp.min_pmtu) = (1000, 100, 600);
        (tcp.syn_retries, tcp.synack_retries, tcp.retries1, tcp.retries2) = (1, 2, 4, 5);
        (tcp.sack, tcp.timestamps) = (false, false);
        (tcp.frto, tcp.slow_start_after_idle, tcp.abort_on_overflow) = (false, false, true);
        (tcp.mtu_expires, tcp.invalid_ratelimit) = (seconds(1), seconds(2));
        (tcp.fin_timeout, tcp.keepalive_interval) = (seconds(3), seconds(4));
        (tcp.time_wait_max, tcp.keepalive_probes, tcp.backlog_max, tcp.max_syn_backlog) = (6, 7, 8, 10);
        tcp.fastopen = 3;
        (mptcp.allow_join_initial_addr_port, mptcp.stale_loss_cnt) = (false, 9);
        (mptcp.blackhole_timeout, mptcp.close_timeout) = (seconds(5), seconds(6));
        mptcp.add_addr_timeout = seconds(7);
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
    }

    #[test]
    fn what_is_unknown_is_named() {
        let fault = |text: &str| read(text).expect_err("refused");
        let unknown = fault("tcp_enc = 1");
        assert!(unknown.contains("`tcp_enc`") && unknown.contains("`tcp_ecn`"), "{unknown}");
        assert_eq!(fault("tcp_ecn = 7"), "tcp_ecn: 7 is none of 0, 1, 2");
        assert_eq!(fault("tcp_mtu_probing = 2"), "tcp_mtu_probing: 2 is none of 0, 1");
        assert_eq!(fault("tcp_fastopen = 8"), "tcp_fastopen: 8 has bits beyond 1, 2, 4 and 512");
    }
}
