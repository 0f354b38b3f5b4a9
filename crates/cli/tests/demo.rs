//! `polytcp demo` with little data.

mod support;

use polytcp_lab::require_or_skip;
use serde_json::Value;
use support::run;

fn succeeds(args: &[&str]) {
    let ran = run(args);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout_text());
    let report: Value = serde_json::from_str(ran.stdout_text()).expect("one JSON object");
    assert_eq!((&report["ok"], &report["mptcp"]), (&Value::Bool(true), &Value::Bool(true)), "{report}");
    assert_eq!(report["bytes"], 2 << 20);
    for number in ["seconds", "goodput_mbps", "link_sum_mbps", "longest_pause_ms"] {
        assert!(report[number].as_f64().is_some_and(|number| number > 0.0), "{number}: {report}");
    }
    let paths = report["paths"].as_array().expect("an array");
    assert_eq!(paths.len(), 2);
    assert!(paths.iter().all(|path| path["name"].is_string()), "{report}");
    let carried: u64 = paths.iter().map(|path| path["bytes"].as_u64().expect("a number")).sum();
    assert!(carried > 4 << 20, "{report}");
}

#[test]
fn two_stacks_in_memory_carry_all_data() {
    succeeds(&["demo", "--json", "--size", "2M"]);
}

#[test]
fn the_kernel_carries_all_data_too() {
    if require_or_skip() {
        succeeds(&["demo", "--json", "--size", "2M", "--peer", "linux"]);
    }
}

#[test]
fn the_summary_for_people_tells_what_json_tells() {
    let ran = run(&["demo", "--size", "1M", "--seed", "7"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for part in ["SHA-256", "equal in both directions", "goodput", "longest pause", "is cut", "wifi", "lte"] {
        assert!(ran.stdout_text().contains(part), "{part}: {}", ran.stdout_text());
    }
}

#[test]
fn the_capture_has_the_packets_of_both_hosts() {
    let file = std::env::temp_dir().join(format!("polytcp-demo-{}.pcapng", std::process::id()));
    let path = file.to_str().expect("a name in UTF-8");
    let ran = run(&["demo", "--json", "--size", "512k", "--pcap", path]);
    let captured = std::fs::read(&file).expect("the capture");
    std::fs::remove_file(&file).expect("removal");
    assert_eq!(ran.status, Some(0), "{ran:?}");
    // The section header of pcapng, then twice 512 KiB each way and more.
    assert_eq!(captured[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(captured.len() > 2 << 20, "{} bytes", captured.len());
}
