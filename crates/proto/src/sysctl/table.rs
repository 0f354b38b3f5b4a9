//! The table: each sysctl with what it means here. In Linux's order, which is the alphabet's.

use super::{Kind, Sysctl};
use crate::config::{Ecn, MtuProbing, SynCookies};
use crate::sched;
use crate::tcp::cc;
use crate::time::Duration;

use Kind::{Choice, Fixed, Number, Sizes, Switch, Word, Words};

/// Linux's largest `int`.
const INT_MAX: u64 = i32::MAX as u64;

const fn sysctl(name: &'static str, doc: &'static str, kind: Kind) -> Sysctl {
    Sysctl { name, doc, kind }
}

/// A whole number of some unit in a field of a numeric type.
macro_rules! number {
    ($range:expr, $unit:literal, $($field:ident).+) => {
        Number {
            range: $range,
            unit: $unit,
            get: |config| config.$($field).+ as u64,
            set: |config, value| config.$($field).+ = value.try_into().unwrap_or(0),
        }
    };
}

/// A duration, in whole seconds.
macro_rules! seconds {
    ($range:expr, $($field:ident).+) => {
        Number {
            range: $range,
            unit: "seconds",
            get: |config| config.$($field).+.as_secs(),
            set: |config, value| config.$($field).+ = Duration::from_secs(value),
        }
    };
}

/// An enum of the TCP settings, each of whose values stands for a number.
macro_rules! choice {
    ($field:ident, $($number:literal $meaning:literal $value:path),+) => {
        Choice {
            values: &[$(($number, $meaning)),+],
            get: |config| match config.tcp.$field { $($value => $number),+ },
            set: |config, number| match number {
                $($number => config.tcp.$field = $value,)+
                _ => (),
            },
        }
    };
}

/// All sysctls that are known here.
pub const ALL: &[Sysctl] = &[
    sysctl(
        "net.core.somaxconn",
        "Connections that wait in one listener for accept, at most.",
        number!((0, INT_MAX), "connections", tcp.backlog_max),
    ),
    sysctl(
        "net.ipv4.ip_default_ttl",
        "Time to live or hop limit of connections that do not choose another one.",
        Number {
            range: (1, 255),
            unit: "hops",
            get: |config| config.ip.hop_limit.get().into(),
            set: |config, value| {
                if let Some(hops) = u8::try_from(value).ok().and_then(core::num::NonZeroU8::new) {
                    config.ip.hop_limit = hops;
                }
            },
        },
    ),
    sysctl(
        "net.ipv4.route.min_pmtu",
        "The smallest packet that ICMP can lead an IPv4 flow to.",
        number!((68, 65_535), "octets", tcp.min_pmtu),
    ),
    sysctl(
        "net.ipv4.route.mtu_expires",
        "How long a path's MTU is remembered that ICMP told.",
        seconds!((0, INT_MAX), tcp.mtu_expires),
    ),
    sysctl(
        "net.ipv4.tcp_abort_on_overflow",
        "A third ACK that finds the accept queue full is answered with a reset.",
        Switch(|config| &mut config.tcp.abort_on_overflow),
    ),
    sysctl(
        "net.ipv4.tcp_available_congestion_control",
        "What tcp_congestion_control takes.",
        Words(cc::AVAILABLE),
    ),
    sysctl("net.ipv4.tcp_available_ulp", "Upper layer protocols (TCP_ULP).", Words(&["mptcp"])),
    sysctl(
        "net.ipv4.tcp_base_mss",
        "The first smaller segment that packetization-layer path MTU discovery tries.",
        number!((0, 65_535), "octets", tcp.base_mss),
    ),
    sysctl(
        "net.ipv4.tcp_congestion_control",
        "The congestion control of new connections.",
        Word { words: cc::AVAILABLE, place: |config| &mut config.tcp.congestion_control },
    ),
    sysctl(
        "net.ipv4.tcp_dsack",
        "Duplicates are told by SACK (RFC 2883).",
        Fixed("1", "they are told wherever SACK is"),
    ),
    sysctl(
        "net.ipv4.tcp_early_retrans",
        "Tail loss probes.",
        Choice {
            values: &[(3, "probes"), (4, "the same: that early retransmissions wait is history")],
            get: |_| 3,
            set: |_, _| (),
        },
    ),
    sysctl(
        "net.ipv4.tcp_ecn",
        "Explicit congestion notification (RFC 3168).",
        choice!(ecn, 0 "never" Ecn::Off, 1 "asked for and accepted" Ecn::Request, 2 "accepted" Ecn::Accept),
    ),
    sysctl(
        "net.ipv4.tcp_ecn_option",
        "Options of Accurate ECN.",
        Fixed("2", "Accurate ECN is not spoken, so there is nothing to tell"),
    ),
    sysctl(
        "net.ipv4.tcp_fack",
        "History, without meaning in Linux too.",
        Fixed("0", "RACK has taken its place"),
    ),
    sysctl(
        "net.ipv4.tcp_fastopen",
        "TCP Fast Open (RFC 7413), bits: 1 client, 2 server, 4 client without a cookie, 0x200 server without a cookie, \
         0x400 every listener.",
        number!((0, INT_MAX), "bits", tcp.fastopen),
    ),
    sysctl(
        "net.ipv4.tcp_fastopen_blackhole_timeout_sec",
        "How long Fast Open is off after a path swallowed its SYNs.",
        Fixed("0", "a destination alone is remembered for it"),
    ),
    sysctl(
        "net.ipv4.tcp_fastopen_key",
        "Keys of the cookies that listeners give; zeros: one was drawn.",
        Kind::FastOpenKeys,
    ),
    sysctl(
        "net.ipv4.tcp_fin_timeout",
        "How long a flow whose socket is closed waits for the peer's FIN.",
        seconds!((0, INT_MAX / 1000), tcp.fin_timeout),
    ),
    sysctl(
        "net.ipv4.tcp_frto",
        "A retransmission timeout that was spurious is found out (RFC 5682).",
        Choice {
            values: &[(0, "off"), (1, "on"), (2, "on, as Linux's default reads")],
            get: |config| if config.tcp.frto { 2 } else { 0 },
            set: |config, value| config.tcp.frto = value != 0,
        },
    ),
    sysctl(
        "net.ipv4.tcp_invalid_ratelimit",
        "Segments without data that are not acceptable are answered at most so often.",
        Number {
            range: (0, INT_MAX),
            unit: "milliseconds",
            get: |config| u64::try_from(config.tcp.invalid_ratelimit.as_millis()).unwrap_or(u64::MAX),
            set: |config, value| config.tcp.invalid_ratelimit = Duration::from_millis(value),
        },
    ),
    sysctl(
        "net.ipv4.tcp_keepalive_intvl",
        "Time between keepalive probes.",
        seconds!((1, 32_767), tcp.keepalive_interval),
    ),
    sysctl(
        "net.ipv4.tcp_keepalive_probes",
        "Unanswered keepalive probes before a flow is given up.",
        number!((1, 127), "probes", tcp.keepalive_probes),
    ),
    sysctl(
        "net.ipv4.tcp_keepalive_time",
        "Silence before the first keepalive probe of a socket that asks for them (SO_KEEPALIVE).",
        seconds!((1, 32_767), tcp.keepalive_time),
    ),
    sysctl(
        "net.ipv4.tcp_max_syn_backlog",
        "Requests of one listener at most while SYN cookies are off.",
        number!((0, INT_MAX), "requests", tcp.max_syn_backlog),
    ),
    sysctl(
        "net.ipv4.tcp_max_tw_buckets",
        "Entries in TIME-WAIT at most.",
        number!((0, INT_MAX), "entries", tcp.time_wait_max),
    ),
    sysctl(
        "net.ipv4.tcp_min_tso_segs",
        "Segments that a packet for segmentation offload has at least, however slow its flow is paced.",
        number!((1, 255), "segments", tcp.min_tso_segs),
    ),
    sysctl(
        "net.ipv4.tcp_moderate_rcvbuf",
        "A receive buffer that is not set grows.",
        Switch(|config| &mut config.tcp.moderate_rcvbuf),
    ),
    sysctl(
        "net.ipv4.tcp_mtu_probe_floor",
        "The smallest segment that packetization-layer path MTU discovery goes down to.",
        number!((48, 65_535), "octets", tcp.mtu_probe_floor),
    ),
    sysctl(
        "net.ipv4.tcp_mtu_probing",
        "Packetization-layer path MTU discovery (RFC 4821).",
        choice!(mtu_probing,
            0 "never" MtuProbing::Off, 1 "where large packets vanish" MtuProbing::OnBlackHole, 2 "always" MtuProbing::Always
        ),
    ),
    sysctl(
        "net.ipv4.tcp_no_metrics_save",
        "What a connection learned of its path is not kept for the next one.",
        Fixed("1", "nothing is kept beside path MTUs and Fast Open cookies"),
    ),
    sysctl(
        "net.ipv4.tcp_notsent_lowat",
        "Bytes that may be written and not sent.",
        number!((0, u32::MAX as u64), "bytes", tcp.notsent_lowat),
    ),
    sysctl(
        "net.ipv4.tcp_pacing_ca_ratio",
        "The pacing rate after slow start, in percent of the window per round trip.",
        Fixed("120", "it is part of the pacing"),
    ),
    sysctl(
        "net.ipv4.tcp_pacing_ss_ratio",
        "The pacing rate in slow start, in percent of the window per round trip.",
        Fixed("200", "it is part of the pacing"),
    ),
    sysctl(
        "net.ipv4.tcp_probe_interval",
        "How long after one search for larger segments the next begins.",
        seconds!((0, INT_MAX), tcp.mtu_probe_interval),
    ),
    sysctl(
        "net.ipv4.tcp_probe_threshold",
        "A search for larger segments ends when less than this is left.",
        number!((0, 65_535), "octets", tcp.mtu_probe_threshold),
    ),
    sysctl("net.ipv4.tcp_recovery", "RACK (RFC 8985).", Fixed("1", "losses are found by RACK")),
    sysctl(
        "net.ipv4.tcp_reordering",
        "Duplicate acknowledgements that tell a loss at first.",
        Fixed("3", "it is RFC 5681's number"),
    ),
    sysctl(
        "net.ipv4.tcp_retries1",
        "Timeouts in a row after which the path is suspected.",
        number!((0, 255), "timeouts", tcp.retries1),
    ),
    sysctl(
        "net.ipv4.tcp_retries2",
        "Timeouts in a row before a flow is given up.",
        number!((0, 255), "timeouts", tcp.retries2),
    ),
    sysctl(
        "net.ipv4.tcp_rmem",
        "Sizes of a receive buffer that is not set.",
        Sizes(|config| &mut config.tcp.rmem),
    ),
    sysctl(
        "net.ipv4.tcp_rto_max_ms",
        "The longest retransmission timeout.",
        Fixed("120000", "it is Linux's default"),
    ),
    sysctl(
        "net.ipv4.tcp_rto_min_us",
        "The shortest retransmission timeout.",
        Fixed("200000", "it is Linux's default"),
    ),
    sysctl(
        "net.ipv4.tcp_sack",
        "Selective acknowledgements are offered and accepted (RFC 2018).",
        Switch(|config| &mut config.tcp.sack),
    ),
    sysctl(
        "net.ipv4.tcp_slow_start_after_idle",
        "A window that was not used for a retransmission timeout shrinks.",
        Switch(|config| &mut config.tcp.slow_start_after_idle),
    ),
    sysctl(
        "net.ipv4.tcp_syn_linear_timeouts",
        "SYNs that are repeated after the same time before it doubles.",
        Fixed("4", "it is Linux's default"),
    ),
    sysctl(
        "net.ipv4.tcp_syn_retries",
        "SYNs that are repeated before a connect fails, the linear ones not counted.",
        number!((1, 127), "repetitions", tcp.syn_retries),
    ),
    sysctl(
        "net.ipv4.tcp_synack_retries",
        "SYN/ACKs that are repeated before a request is dropped.",
        number!((0, 255), "repetitions", tcp.synack_retries),
    ),
    sysctl(
        "net.ipv4.tcp_syncookies",
        "SYN cookies.",
        choice!(syncookies,
            0 "never" SynCookies::Off, 1 "beyond the backlog" SynCookies::WhenFull, 2 "always" SynCookies::Always
        ),
    ),
    sysctl(
        "net.ipv4.tcp_timestamps",
        "Timestamps are offered and accepted (RFC 7323).",
        Switch(|config| &mut config.tcp.timestamps),
    ),
    sysctl(
        "net.ipv4.tcp_tso_win_divisor",
        "The part of the window that must be free before Linux sends a packet that is not full. Kept, and without effect: what \
         may go does not wait to be more.",
        number!((0, INT_MAX), "packets", tcp.tso_win_divisor),
    ),
    sysctl(
        "net.ipv4.tcp_window_scaling",
        "Windows beyond 64 KiB (RFC 7323).",
        Fixed("1", "the scale is offered always, and used where the peer has it"),
    ),
    sysctl(
        "net.ipv4.tcp_wmem",
        "Sizes of a send buffer that is not set.",
        Sizes(|config| &mut config.tcp.wmem),
    ),
    sysctl(
        "net.mptcp.add_addr_timeout",
        "The longest wait before an ADD_ADDR is repeated; 0: it is not.",
        seconds!((0, INT_MAX), mptcp.add_addr_timeout),
    ),
    sysctl(
        "net.mptcp.allow_join_initial_addr_port",
        "The peer may join at the address and port of the first subflow.",
        Switch(|config| &mut config.mptcp.allow_join_initial_addr_port),
    ),
    sysctl("net.mptcp.available_path_managers", "What path_manager takes.", Words(&["kernel"])),
    sysctl("net.mptcp.available_schedulers", "What scheduler takes.", Words(sched::AVAILABLE)),
    sysctl(
        "net.mptcp.blackhole_timeout",
        "How long new connections are plain TCP where MP_CAPABLE is swallowed; 0: for no time.",
        seconds!((0, INT_MAX), mptcp.blackhole_timeout),
    ),
    sysctl(
        "net.mptcp.checksum_enabled",
        "DSS checksums are asked for.",
        Switch(|config| &mut config.mptcp.checksum_enabled),
    ),
    sysctl(
        "net.mptcp.close_timeout",
        "How long a connection lives without a subflow.",
        seconds!((0, INT_MAX), mptcp.close_timeout),
    ),
    sysctl("net.mptcp.enabled", "New sockets may be MPTCP.", Switch(|config| &mut config.mptcp.enabled)),
    sysctl(
        "net.mptcp.path_manager",
        "The path manager of new connections.",
        Fixed("kernel", "another one is not there"),
    ),
    sysctl(
        "net.mptcp.pm_type",
        "The path manager by number: 0 is the kernel's.",
        Fixed("0", "another one is not there"),
    ),
    sysctl(
        "net.mptcp.scheduler",
        "The packet scheduler of new connections.",
        Word { words: sched::AVAILABLE, place: |config| &mut config.mptcp.scheduler },
    ),
    sysctl(
        "net.mptcp.stale_loss_cnt",
        "Timeouts in a row after which a silent subflow is stale while another one works; 0: never.",
        number!((0, u32::MAX as u64), "timeouts", mptcp.stale_loss_cnt),
    ),
    sysctl(
        "net.mptcp.syn_retrans_before_tcp_fallback",
        "MP_CAPABLE SYNs that are repeated before plain ones are tried; 128 and more: plain ones are not.",
        number!((0, 255), "repetitions", mptcp.syn_retrans_before_tcp_fallback),
    ),
];
