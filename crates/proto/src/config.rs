//! What a host can be told: one plain struct with a default for every field, checked once.

use alloc::string::String;
use core::num::{NonZeroU8, NonZeroU32};

use crate::time::Duration;

/// Settings of one host, for all its connections.
///
/// Names that Linux has as sysctls are kept letter for letter and given in each field's text.
#[derive(Clone, Debug, Default)]
pub struct HostConfig {
    /// What every TCP flow does, subflows included.
    pub tcp: TcpConfig,
    /// What MPTCP adds.
    pub mptcp: MptcpConfig,
    /// What IP headers say of connections that do not choose otherwise, and of segments that belong to none.
    pub ip: IpFields,
}

/// What the IP headers of a connection say (RFC 9293 §3.9.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpFields {
    /// Type of service or traffic class (`IP_TOS`, `IPV6_TCLASS`): six bits of DSCP (RFC 2474); the low two are
    /// ECN's and are ignored. Default 0.
    pub traffic_class: u8,
    /// Time to live or hop limit (`IP_TTL`, `IPV6_UNICAST_HOPS`; `net.ipv4.ip_default_ttl`). Default 64.
    pub hop_limit: NonZeroU8,
}

impl Default for IpFields {
    fn default() -> Self {
        Self { traffic_class: 0, hop_limit: const { NonZeroU8::new(64).unwrap() } }
    }
}

/// When an idle connection is probed (RFC 9293 §3.8.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// Silence before the first probe (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Time between probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// Unanswered probes before a flow is given up (`TCP_KEEPCNT`).
    pub probes: u8,
}

/// Settings of TCP.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Send buffer of one connection in bytes (`SO_SNDBUF`): accepted from the application, not yet acknowledged at
    /// data level, by whole blocks of memory. Default `None`: it follows the windows of the subflows within
    /// [`wmem`](Self::wmem). A size is kept as it is; Linux doubles what `setsockopt` is told, this is the result.
    pub send_buffer_bytes: Option<NonZeroU32>,
    /// Receive buffer of one connection in bytes (`SO_RCVBUF`), shared by its subflows: what is held for it, by the
    /// memory that it pins. The announced window promises seven eighths of it at most
    /// ([`recv_window_bytes`](Self::recv_window_bytes)). Default `None`: it follows what the application reads
    /// within [`rmem`](Self::rmem).
    pub recv_buffer_bytes: Option<NonZeroU32>,
    /// Sizes of a send buffer that is not set (`net.ipv4.tcp_wmem`). Default 4096, 16384 and 4 MiB; at its largest it
    /// fills 335 Mbit/s at 100 ms. The maximum is that of the connection; Linux's is that of each subflow.
    pub wmem: BufferSizes,
    /// Sizes of a receive buffer that is not set (`net.ipv4.tcp_rmem`). Default 4096, 131072 and 6 MiB.
    pub rmem: BufferSizes,
    /// Whether a receive buffer that is not set grows (`net.ipv4.tcp_moderate_rcvbuf`). Default true.
    pub moderate_rcvbuf: bool,
    /// Name of the congestion control of new flows, one of [`crate::tcp::cc::AVAILABLE`]
    /// (`net.ipv4.tcp_congestion_control`). Default `cubic`.
    pub congestion_control: String,
    /// Whether segments are spread over the round trip. Default true. Rate: twice the window per
    /// smoothed round trip in slow start, 1.2 times after it, as Linux's `tcp_pacing_ss_ratio` and
    /// `tcp_pacing_ca_ratio`. A congestion control with a rate of its own (`bbr`) is paced in any case.
    pub pacing: bool,
    /// SYN retransmissions before a connect fails (`net.ipv4.tcp_syn_retries`), the four that are not backed off not
    /// counted. Default 6: a connect that nobody answers fails after 131 s.
    pub syn_retries: u8,
    /// SYN/ACK retransmissions before a request is dropped (`net.ipv4.tcp_synack_retries`). Default 5.
    pub synack_retries: u8,
    /// Consecutive retransmission timeouts before a flow is given up (`net.ipv4.tcp_retries2`).
    /// Default 15, at least 100 s as RFC 9293 §3.8.3 (R2) asks.
    pub retries2: u8,
    /// Whether selective acknowledgements are offered and accepted (RFC 2018; `net.ipv4.tcp_sack`). Default true. Without
    /// them losses are repaired as RFC 6582 has it, one each round trip.
    pub sack: bool,
    /// Whether timestamps are offered and accepted (RFC 7323; `net.ipv4.tcp_timestamps`). Default true. Without them old
    /// duplicates are told by their numbers alone, and SYN cookies know neither window scale nor SACK.
    pub timestamps: bool,
    /// Whether a flow finds out that a retransmission timeout was spurious (F-RTO, RFC 5682;
    /// `net.ipv4.tcp_frto`). Default true.
    pub frto: bool,
    /// Timeouts in a row after which the path is suspected (`net.ipv4.tcp_retries1`). Default 3.
    pub retries1: u8,
    /// Whether flows find out by themselves how large packets may be (`net.ipv4.tcp_mtu_probing`). Default off, as
    /// Linux.
    pub mtu_probing: MtuProbing,
    /// The first smaller segment that is tried, in octets beside the smallest headers (`net.ipv4.tcp_base_mss`).
    /// Default 1024.
    pub base_mss: u16,
    /// The smallest one (`net.ipv4.tcp_mtu_probe_floor`). Default 48, at least 88 is used.
    pub mtu_probe_floor: u16,
    /// How long after the last search for larger segments the next one begins (`net.ipv4.tcp_probe_interval`). Default
    /// 10 min.
    pub mtu_probe_interval: Duration,
    /// A search ends when what is left between known and impossible is less than so many octets
    /// (`net.ipv4.tcp_probe_threshold`). Default 8.
    pub mtu_probe_threshold: u16,
    /// The smallest packet that ICMP can lead an IPv4 flow to, in octets (`net.ipv4.route.min_pmtu`). Default 552;
    /// 1280 for IPv6, always.
    pub min_pmtu: u16,
    /// How long a path's MTU is remembered that ICMP told (`net.ipv4.route.mtu_expires`). Default 10 min.
    pub mtu_expires: Duration,
    /// Whether a window that was not used for a retransmission timeout shrinks
    /// (`net.ipv4.tcp_slow_start_after_idle`). Default true. Else it is kept for five minutes at a time, and a loss
    /// goes by what was used of it (RFC 7661); Linux keeps it for ever.
    pub slow_start_after_idle: bool,
    /// Segments without data that are not acceptable are answered at most this often, per flow
    /// (`net.ipv4.tcp_invalid_ratelimit`), so that two hosts do not acknowledge each other's acknowledgements for
    /// ever. Default 500 ms.
    pub invalid_ratelimit: Duration,
    /// Explicit congestion notification (`net.ipv4.tcp_ecn`). Default [`Ecn::Accept`].
    pub ecn: Ecn,
    /// How long a closed four-tuple is remembered. Default 60 s as Linux (RFC 9293 says 2 MSL = 4 min).
    pub time_wait: Duration,
    /// Entries in TIME-WAIT at most; at the limit the oldest goes (`net.ipv4.tcp_max_tw_buckets`).
    /// Default 65536.
    pub time_wait_max: usize,
    /// How long an orphaned flow waits for the peer's FIN (`net.ipv4.tcp_fin_timeout`). Default 60 s.
    pub fin_timeout: Duration,
    /// Octets that may be written and not sent (`net.ipv4.tcp_notsent_lowat`, `TCP_NOTSENT_LOWAT`). Default `u32::MAX`: no limit but
    /// the send buffer.
    pub notsent_lowat: u32,
    /// Segments that a packet for segmentation offload has at least, however slow its flow is paced
    /// (`net.ipv4.tcp_min_tso_segs`). Default 2.
    pub min_tso_segs: u32,
    /// `net.ipv4.tcp_tso_win_divisor`, kept for who reads it: it changes nothing here. Default 3.
    pub tso_win_divisor: u32,
    /// Silence before the first probe of a socket that asks for them without saying when (`SO_KEEPALIVE`;
    /// `net.ipv4.tcp_keepalive_time`). Default 2 h.
    pub keepalive_time: Duration,
    /// Silence before any flow is probed, asked for or not. Default `None`, never
    /// (RFC 9293 §3.8.4, MUST-25); a connection may ask for it by itself
    /// ([`set_keepalive`](crate::host::Host::set_keepalive)).
    pub keepalive_idle: Option<Duration>,
    /// Time between keepalive probes (`tcp_keepalive_intvl`). Default 75 s.
    pub keepalive_interval: Duration,
    /// Unanswered keepalive probes before the flow is given up (`tcp_keepalive_probes`). Default 9.
    pub keepalive_probes: u8,
    /// Largest delay of an acknowledgement. Default 40 ms, Linux's `TCP_DELACK_MIN`.
    pub delayed_ack: Duration,
    /// Connections that may wait in one listener for their `accept`, half-open ones apart. Default
    /// 4096 (`net.core.somaxconn`).
    pub backlog_max: usize,
    /// Whether requests beyond a listener's backlog are answered with SYN cookies
    /// (`net.ipv4.tcp_syncookies`). Default [`SynCookies::WhenFull`].
    pub syncookies: SynCookies,
    /// Requests of one listener at most while SYN cookies are off (`net.ipv4.tcp_max_syn_backlog`); the last
    /// quarter is kept for peers that are known, of which there are none. Default 4096.
    pub max_syn_backlog: usize,
    /// Whether a third ACK that finds the accept queue full is answered with a reset instead of being
    /// dropped (`net.ipv4.tcp_abort_on_overflow`). Default false: the peer repeats.
    pub abort_on_overflow: bool,
    /// Which sides of TCP Fast Open are on (`net.ipv4.tcp_fastopen`), bits of [`fastopen`]. Default 1 as
    /// Linux, the client's side for connects that bring data.
    pub fastopen: u32,
    /// Keys of the cookies that listeners give (`net.ipv4.tcp_fastopen_key`); hosts with the same keys take each other's.
    /// Default `None`: one is drawn.
    pub fastopen_keys: Option<FastOpenKeys>,
    /// Only for tests: initial sequence numbers lie within this many bytes before their wrap. Default
    /// `None`.
    pub isn_near_wrap_bytes: Option<core::num::NonZeroU32>,
    /// Only for tests: the initial sequence number of every flow. Default `None`: RFC 6528's.
    pub isn: Option<u32>,
}

/// Sizes of a buffer that follows its connection, in bytes: Linux's triples of `tcp_rmem` and `tcp_wmem`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferSizes {
    /// Never less than this, whatever the others say.
    pub min: NonZeroU32,
    /// The size at first.
    pub default: NonZeroU32,
    /// The largest size.
    pub max: NonZeroU32,
}

impl BufferSizes {
    fn start(self) -> u32 {
        self.default.min(self.max).max(self.min).get()
    }

    fn most(self) -> u32 {
        self.max.max(self.min).get()
    }
}

/// Whether flows use explicit congestion notification (RFC 3168; `net.ipv4.tcp_ecn`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ecn {
    /// Never (0).
    Off,
    /// Where both sides have it (1).
    Request,
    /// Where the peer asks for it (2).
    #[default]
    Accept,
}

/// When packetization-layer path MTU discovery begins (RFC 4821; `net.ipv4.tcp_mtu_probing`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MtuProbing {
    /// Never (0).
    #[default]
    Off,
    /// When a path seems to drop large packets without a word (1). What it takes is then searched for from below.
    OnBlackHole,
    /// From the start (2): segments begin with [`TcpConfig::base_mss`] and grow as probes arrive.
    Always,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
            wmem: BufferSizes {
                min: const { NonZeroU32::new(4 << 10).unwrap() },
                default: const { NonZeroU32::new(16 << 10).unwrap() },
                max: const { NonZeroU32::new(4 << 20).unwrap() },
            },
            rmem: BufferSizes {
                min: const { NonZeroU32::new(4 << 10).unwrap() },
                default: const { NonZeroU32::new(128 << 10).unwrap() },
                max: const { NonZeroU32::new(6 << 20).unwrap() },
            },
            moderate_rcvbuf: true,
            congestion_control: String::from("cubic"),
            pacing: true,
            syn_retries: 6,
            synack_retries: 5,
            retries2: 15,
            sack: true,
            timestamps: true,
            frto: true,
            slow_start_after_idle: true,
            invalid_ratelimit: Duration::from_millis(500),
            ecn: Ecn::Accept,
            retries1: 3,
            mtu_probing: MtuProbing::Off,
            base_mss: 1024,
            mtu_probe_floor: 48,
            mtu_probe_interval: Duration::from_secs(600),
            mtu_probe_threshold: 8,
            min_pmtu: 552,
            mtu_expires: Duration::from_secs(600),
            time_wait: Duration::from_secs(60),
            time_wait_max: 65_536,
            fin_timeout: Duration::from_secs(60),
            notsent_lowat: u32::MAX,
            min_tso_segs: 2,
            tso_win_divisor: 3,
            keepalive_time: Duration::from_secs(7200),
            keepalive_idle: None,
            keepalive_interval: Duration::from_secs(75),
            keepalive_probes: 9,
            delayed_ack: Duration::from_millis(40),
            backlog_max: 4_096,
            syncookies: SynCookies::WhenFull,
            max_syn_backlog: 4_096,
            abort_on_overflow: false,
            fastopen: fastopen::CLIENT_ENABLE,
            fastopen_keys: None,
            isn_near_wrap_bytes: None,
            isn: None,
        }
    }
}

/// Keys of TCP Fast Open cookies: 16 octets each, those of Linux's text from left to right, every group of four last octet first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FastOpenKeys {
    /// Cookies are given by it.
    pub present: [u8; 16],
    /// Cookies that it gave are taken still.
    pub before: Option<[u8; 16]>,
}

impl core::fmt::Debug for FastOpenKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // They are secrets.
        f.write_str("FastOpenKeys")
    }
}

/// Bits of [`TcpConfig::fastopen`], with Linux's meaning.
pub mod fastopen {
    /// Data that `connect` brings may go on the SYN.
    pub const CLIENT_ENABLE: u32 = 0x1;
    /// Listeners that ask for it take data on a SYN.
    pub const SERVER_ENABLE: u32 = 0x2;
    /// Data goes on the SYN to any peer, without a cookie: only where the network keeps spoofed SYNs out.
    pub const CLIENT_NO_COOKIE: u32 = 0x4;
    /// Data on a SYN without a cookie is taken: only where the network keeps spoofed SYNs out.
    pub const SERVER_COOKIE_NOT_REQD: u32 = 0x200;
    /// Listeners that do not ask for it take data on a SYN too, as many as their backlog.
    pub const SERVER_WITHOUT_OPTION: u32 = 0x400;
}

/// When SYN cookies are sent; each stands for the value of Linux's sysctl.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SynCookies {
    /// 0: never; requests beyond the backlog are dropped.
    Off,
    /// 1: for requests beyond the backlog.
    #[default]
    WhenFull,
    /// 2: for every request.
    Always,
}

impl TcpConfig {
    /// The keepalive of connections that do not choose otherwise.
    pub fn keepalive(&self) -> Option<Keepalive> {
        let idle = self.keepalive_idle?;
        Some(Keepalive { idle, interval: self.keepalive_interval, probes: self.keepalive_probes })
    }

    /// Bytes of a new connection's send buffer.
    pub fn send_buffer_start_bytes(&self) -> u32 {
        self.send_buffer_bytes.map_or_else(|| self.wmem.start(), NonZeroU32::get)
    }

    /// Bytes of a send buffer at most: what it is set to, or what it can grow to.
    pub fn send_buffer_max_bytes(&self) -> u32 {
        self.send_buffer_bytes.map_or_else(|| self.wmem.most(), NonZeroU32::get)
    }

    /// Bytes of a new connection's receive buffer.
    pub fn recv_buffer_start_bytes(&self) -> u32 {
        self.recv_buffer_bytes.map_or_else(|| self.rmem.start(), NonZeroU32::get)
    }

    /// Bytes of a receive buffer at most: what it is set to, or what it can grow to.
    pub fn recv_buffer_max_bytes(&self) -> u32 {
        match self.recv_buffer_bytes {
            None if self.moderate_rcvbuf => self.rmem.most(),
            _ => self.recv_buffer_start_bytes(),
        }
    }

    /// Octets of payload that a new connection's window promises at most.
    pub fn recv_window_bytes(&self) -> u32 {
        window_within(self.recv_buffer_start_bytes())
    }

    /// Octets of payload that any window promises at most, for which its scale has to do.
    pub fn recv_window_max_bytes(&self) -> u32 {
        window_within(self.recv_buffer_max_bytes())
    }
}

/// Octets of payload that the window of a receive buffer promises at most. The rest is for what memory costs beyond
/// payload: headers that a payload pins, and a peer that sends a little more.
pub(crate) fn window_within(buffer_bytes: u32) -> u32 {
    buffer_bytes - buffer_bytes / 8
}

/// Settings of MPTCP; each is Linux's sysctl `net.mptcp.<name>` with Linux's default.
#[derive(Clone, Debug)]
pub struct MptcpConfig {
    /// Whether new sockets may be MPTCP (`enabled`). Default true.
    pub enabled: bool,
    /// Whether DSS checksums are asked for (`checksum_enabled`); they are used when either side does. Default
    /// false as Linux: they cost a pass over all data, and help where middleboxes change it.
    pub checksum_enabled: bool,
    /// Whether the peer may join at the address and port that it connected to, or that we connected from
    /// (`allow_join_initial_addr_port`). Default true; false sets flag C of MP_CAPABLE (RFC 8684 §3.1), as behind
    /// a load balancer that would send the join elsewhere, and refuses such joins.
    pub allow_join_initial_addr_port: bool,
    /// MP_CAPABLE SYNs that are repeated before plain ones are tried
    /// (`syn_retrans_before_tcp_fallback`). Default 2; 128 and above mean never.
    pub syn_retrans_before_tcp_fallback: u8,
    /// For how long new connections are plain TCP after SYNs with MP_CAPABLE were swallowed on the way
    /// (`blackhole_timeout`); doubled each time in a row, up to 64 times this. Default 3600 s; zero switches the
    /// detection off.
    pub blackhole_timeout: Duration,
    /// Retransmission timeouts in a row after which a silent subflow is stale while another one works
    /// (`stale_loss_cnt`): what it held goes to the others for good, as a suspicion's hedge does not. Default 4;
    /// 0 means never.
    pub stale_loss_cnt: u32,
    /// How long a connection lives without a subflow (`close_timeout`). Default 60 s.
    pub close_timeout: Duration,
    /// The longest wait before an ADD_ADDR is repeated (`add_addr_timeout`); the shortest is the largest
    /// retransmission timeout of the connection. Default 120 s; zero means no repetition, and that the next
    /// address waits for the echo.
    pub add_addr_timeout: Duration,
    /// Name of the packet scheduler of new connections, one of [`crate::sched::AVAILABLE`]
    /// (`scheduler`). Default `default`.
    pub scheduler: String,
    /// Further subflows per connection (`ip mptcp limits set subflows`). Default 2 as Linux, whose largest value is 8;
    /// more than 31 count as 31. A command changes it within Linux's range only.
    pub subflows: u32,
    /// ADD_ADDRs of the peer that are acted upon (`ip mptcp limits set add_addr_accepted`). Default 0 as Linux; its range
    /// is that of `subflows`.
    pub add_addr_accepted: u32,
    /// Only for tests: keys are drawn until the low half of the initial data sequence number lies
    /// within this many bytes before its wrap. Default `None`.
    pub idsn_near_wrap_bytes: Option<u32>,
}

impl Default for MptcpConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            checksum_enabled: false,
            allow_join_initial_addr_port: true,
            syn_retrans_before_tcp_fallback: 2,
            blackhole_timeout: Duration::from_secs(3600),
            stale_loss_cnt: 4,
            close_timeout: Duration::from_secs(60),
            add_addr_timeout: Duration::from_secs(120),
            scheduler: String::from("default"),
            subflows: 2,
            add_addr_accepted: 0,
            idsn_near_wrap_bytes: None,
        }
    }
}
