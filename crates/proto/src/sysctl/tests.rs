use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;

fn refusal(name: &str, value: &str) -> String {
    let mut config = HostConfig::default();
    let before = format!("{config:?}");
    let refusal = set(&mut config, name, value).expect_err(value).to_string();
    assert_eq!(format!("{config:?}"), before, "nothing is changed");
    assert!(!refusal.contains('\n'));
    refusal
}

#[test]
fn names_are_in_order_and_each_is_there_once() {
    let names: Vec<_> = ALL.iter().map(|sysctl| sysctl.name).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
}

/// Values other than the default arrive where they belong, and nowhere else.
#[test]
fn every_value_that_can_be_set_is_read_again_and_changes_one_thing() {
    let default = HostConfig::default();
    let mut changed = BTreeSet::new();
    for sysctl in ALL {
        let candidates = [
            "0",
            "1",
            "2",
            "77",
            "reno",
            "roundrobin",
            "4096\t5000\t6000",
            "a1a1a1a1-b2b2b2b2-c3c3c3c3-0000000d,00000001-00000002-00000003-00000004",
        ];
        for value in candidates {
            let mut config = default.clone();
            if set(&mut config, sysctl.name, value).is_ok() && sysctl.is_settable() {
                let read = sysctl.read(&config);
                assert!(
                    read == value || (sysctl.name, value) == ("net.ipv4.tcp_frto", "1"),
                    "{}: {read}",
                    sysctl.name
                );
                let others = ALL.iter().filter(|other| other.read(&config) != other.read(&default));
                assert!(others.map(|other| other.name).all(|name| name == sysctl.name), "{}", sysctl.name);
                if read != sysctl.read(&default) {
                    changed.insert(sysctl.name);
                }
            }
        }
        assert!(
            set(&mut default.clone(), sysctl.name, &sysctl.read(&default)).is_ok()
                || matches!(sysctl.kind, Kind::Words(_))
        );
    }
    // A choice that makes no difference.
    changed.insert("net.ipv4.tcp_early_retrans");
    let settable: BTreeSet<_> =
        ALL.iter().filter(|sysctl| sysctl.is_settable()).map(|sysctl| sysctl.name).collect();
    assert_eq!(changed, settable);
}

#[test]
fn names_and_numbers_may_be_written_in_linuxs_ways() {
    let mut config = HostConfig::default();
    for (name, value, read) in [
        ("net/ipv4/tcp_fastopen", "0x70403", "459779"),
        ("/proc/sys/net/ipv4/tcp_rmem", " 4096  540000 15728640\n", "4096\t540000\t15728640"),
        ("net.mptcp.scheduler", "roundrobin", "roundrobin"),
        ("net.ipv4.tcp_recovery", "0x1", "1"),
    ] {
        set(&mut config, name, value).expect("known");
        assert_eq!(get(&config, name).expect("known"), read);
    }
}

#[test]
fn what_is_wrong_is_told_in_one_line_with_the_name() {
    assert_eq!(
        refusal("net.ipv4.tcp_enc", "1"),
        "unknown sysctl `net.ipv4.tcp_enc`; docs/sysctls.md has all"
    );
    assert_eq!(refusal("net.ipv4.tcp_sack", "2"), "net.ipv4.tcp_sack: `2` is not 0 or 1");
    assert_eq!(refusal("net.ipv4.tcp_sack", ""), "net.ipv4.tcp_sack: `` is not 0 or 1");
    assert_eq!(
        refusal("net.ipv4.tcp_syn_retries", "0"),
        "net.ipv4.tcp_syn_retries: `0` is not a number of repetitions from 1 to 127"
    );
    for value in ["-1", "+1", "0x", "0x1g", "1e3", "99999999999999999999"] {
        assert!(refusal("net.ipv4.tcp_retries2", value).contains(value));
    }
    assert!(
        refusal("net.ipv4.tcp_ecn", "7")
            .contains("one of 0 (never), 1 (asked for and accepted), 2 (accepted)")
    );
    assert!(refusal("net.ipv4.tcp_congestion_control", "vegas").contains("bbr, cubic"));
    for value in ["1 2", "1 2 3 4", "0 1 2", "1 2 4294967295", "a b c"] {
        assert!(refusal("net.ipv4.tcp_wmem", value).contains("three sizes"));
    }
    for value in
        ["", "1-2-3", "1-2-3-4-5", "1-2-3-g", "1-2-3-123456789", "1-2-3-4,", "1-2-3-4,1-2-3-4,1-2-3-4"]
    {
        assert!(refusal("net.ipv4.tcp_fastopen_key", value).contains("8 hexadecimal digits"));
    }
    assert!(refusal("net.ipv4.tcp_dsack", "0").contains("its only value here"));
    assert!(refusal("net.mptcp.available_schedulers", "default").contains("is not to be set"));
}

/// `docs/sysctls.md`; `POLYTCP_WRITE_DOCS=1` writes it.
#[test]
fn all_of_them_are_documented() {
    let mut page = "# Sysctls\n\n\
        Linux's sysctls that a stack knows, by Linux's names and with Linux's units: in `pt_stack_new`, in packetdrill's flags, \
        `Host::set_sysctl` and `Stack::set_sysctl`. They are per stack, and count for what is opened later. What is not listed \
        is unknown and refused by name.\n\n\
        | Name | Value at first | Takes | Meaning |\n|---|---|---|---|\n"
        .to_owned();
    for sysctl in ALL {
        let value = sysctl.read(&HostConfig::default()).replace('\t', " ");
        let takes = if matches!(sysctl.kind, Kind::Words(_)) { "nothing".to_owned() } else { sysctl.takes() };
        page += &format!("| `{}` | `{value}` | {takes} | {} |\n", sysctl.name, sysctl.doc);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sysctls.md");
    if std::env::var_os("POLYTCP_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("docs can be written");
    }
    assert!(std::fs::read_to_string(&path).is_ok_and(|text| text == page), "run with POLYTCP_WRITE_DOCS=1");
}
