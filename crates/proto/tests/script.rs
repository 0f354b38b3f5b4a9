//! Packet scripts of one host: handshakes, resets, windows, timers, loss, MPTCP's options. See `script/dsl` for
//! the language.

#[path = "script/dsl/mod.rs"]
mod dsl;

#[path = "script/backlog.rs"]
mod backlog;
#[path = "script/close.rs"]
mod close;
#[path = "script/cookies.rs"]
mod cookies;
#[path = "script/counters_ip.rs"]
mod counters_ip;
#[path = "script/counters_tcp.rs"]
mod counters_tcp;
#[path = "script/ecn.rs"]
mod ecn;
#[path = "script/fast_open.rs"]
mod fast_open;
#[path = "script/fast_open_passive.rs"]
mod fast_open_passive;
#[path = "script/giving_up.rs"]
mod giving_up;
#[path = "script/handshake.rs"]
mod handshake;
#[path = "script/header_fields.rs"]
mod header_fields;
#[path = "script/icmp.rs"]
mod icmp;
#[path = "script/loss.rs"]
mod loss;
#[path = "script/mptcp_announce.rs"]
mod mptcp_announce;
#[path = "script/mptcp_blackhole.rs"]
mod mptcp_blackhole;
#[path = "script/mptcp_checksum.rs"]
mod mptcp_checksum;
#[path = "script/mptcp_close.rs"]
mod mptcp_close;
#[path = "script/mptcp_counters.rs"]
mod mptcp_counters;
#[path = "script/mptcp_data.rs"]
mod mptcp_data;
#[path = "script/mptcp_deny_join.rs"]
mod mptcp_deny_join;
#[path = "script/mptcp_fail.rs"]
mod mptcp_fail;
#[path = "script/mptcp_ignored.rs"]
mod mptcp_ignored;
#[path = "script/mptcp_join.rs"]
mod mptcp_join;
#[path = "script/mptcp_keys.rs"]
mod mptcp_keys;
#[path = "script/mptcp_mesh.rs"]
mod mptcp_mesh;
#[path = "script/mptcp_one_sided.rs"]
mod mptcp_one_sided;
#[path = "script/mptcp_stale.rs"]
mod mptcp_stale;
#[path = "script/mptcp_stall.rs"]
mod mptcp_stall;
#[path = "script/mptcp_user_timeout.rs"]
mod mptcp_user_timeout;
#[path = "script/socket_options.rs"]
mod socket_options;
#[path = "script/spurious.rs"]
mod spurious;
#[path = "script/standards.rs"]
mod standards;
#[path = "script/unused_window.rs"]
mod unused_window;
#[path = "script/validation.rs"]
mod validation;
#[path = "script/window.rs"]
mod window;
