//! The stack's sysctls beside those of a network namespace that nobody has changed.

use std::fs;

use polytcp_lab::{Lab, LabConfig, require_or_skip};
use polytcp_proto::config::HostConfig;
use polytcp_proto::sysctl;

/// Linux's own values go by the machine's memory and by what it was built with; the others are decisions of the stack.
const DIFFER: [&str; 9] = [
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_no_metrics_save",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.mptcp.available_path_managers",
    "net.mptcp.available_schedulers",
];

#[test]
fn values_at_first_are_linuxs() {
    if !require_or_skip() {
        return;
    }
    let lab = Lab::start(LabConfig::with_paths(1)).expect("lab");
    let ours = HostConfig::default();
    let mut compared = 0;
    for sysctl in sysctl::ALL {
        let path = format!("/proc/sys/{}", sysctl.name.replace('.', "/"));
        // Older kernels lack some.
        let Ok(value) = lab.kernel().run(move || fs::read_to_string(path)) else { continue };
        compared += 1;
        let agree = sysctl.read(&ours) == value.trim();
        assert!(agree || DIFFER.contains(&sysctl.name), "{}: Linux has {}", sysctl.name, value.trim());
    }
    assert!(compared > sysctl::ALL.len() / 2, "{compared}");
}
