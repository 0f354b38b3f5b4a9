//! The benches beside the kernel, with little of everything: they run, and tell what they measured.

mod support;

use polytcp_lab::require_or_skip;
use serde_json::Value;
use support::run;

/// The report, where a lab can run.
fn report(args: &[&str]) -> Option<Value> {
    if !require_or_skip() {
        return None;
    }
    let ran = run(args);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{args:?}: {}", ran.stdout_text());
    Some(serde_json::from_str(ran.stdout_text()).expect("one JSON object"))
}

fn assert_positive(report: &Value, pointers: &[&str]) {
    for pointer in pointers {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{pointer} is {value:?}: {report}");
    }
}

const SPREAD: [&str; 3] = ["/p50_us/median", "/p99_us/median", "/p999_us/median"];

#[test]
fn latency_has_percentiles_of_both_exchanges_and_contestants() {
    let args = ["bench", "latency", "--rounds", "1", "--time", "30ms", "--unpinned", "--json"];
    let Some(report) = report(&args) else { return };
    assert_eq!((&report["pinned"], &report["loaded"]), (&Value::Bool(false), &Value::Null));
    for (exchange, octets) in [("ping", 1), ("request", 16 << 10)] {
        let figure = &report[exchange];
        assert_eq!(figure["answer_bytes"], octets);
        for contestant in ["polytcp", "kernel"] {
            assert_positive(&figure[contestant], &SPREAD);
            assert_positive(&figure[contestant], &["/samples"]);
        }
        assert_positive(&figure["ratio"], &["/p50", "/p99", "/p999"]);
    }
}

#[test]
fn latency_is_measured_beside_a_transfer_in_either_direction() {
    for way in ["up", "down"] {
        let args = ["bench", "latency", "--loaded", way, "--rounds", "1", "--time", "30ms", "--json"];
        let Some(report) = report(&args) else { return };
        assert_eq!(report["loaded"], way);
        assert_positive(&report, &["/ping/ratio/p99", "/request/ratio/p99"]);
    }
}

#[test]
fn no_short_connection_is_lost_whoever_connects() {
    for protocol in ["mptcp", "tcp"] {
        let args = [
            "bench",
            "conns",
            "--protocol",
            protocol,
            "--count",
            "60",
            "--parallel",
            "3",
            "--rounds",
            "1",
            "--json",
        ];
        let Some(report) = report(&args) else { return };
        assert_eq!((&report["protocol"], &report["lost"]), (&protocol.into(), &0.into()), "{report}");
        assert_positive(&report, &["/client/per_second/median", "/server/per_second/median"]);
        assert_positive(&report, &["/client/ratio", "/server/ratio", "/kernel_per_second/median"]);
    }
}

#[test]
fn idle_connections_are_weighed() {
    let args = ["bench", "conns", "--idle", "50", "--rounds", "1", "--json"];
    let Some(report) = report(&args) else { return };
    assert_eq!((&report["idle"], &report["paths"]), (&50.into(), &2.into()));
    // Resident memory of so few is what pages happen to be there.
    assert!(report["memory"]["resident_bytes"].is_number(), "{report}");
    if cfg!(target_env = "gnu") {
        assert_positive(&report, &["/memory/heap_bytes"]);
    }
    assert_positive(&report["beside"], &SPREAD);
    assert_positive(&report["alone"], &SPREAD);
    assert_positive(&report, &["/ratio/p99"]);
}

#[test]
fn short_flows_are_timed_with_each_scheduler() {
    let args = [
        "bench",
        "paths",
        "--sched",
        "default,roundrobin",
        "--rounds",
        "1",
        "--seconds",
        "0",
        "--flows",
        "1",
        "--flow",
        "16k",
        "--json",
    ];
    let Some(report) = report(&args) else { return };
    assert!(report["up"].is_null() && report["down"].is_null(), "{report}");
    let flows = report["flows"].as_array().expect("a list");
    assert_eq!(flows.len(), 2, "one size, two directions");
    for flow in flows {
        assert_eq!((&flow["bytes"], &flow["kernel"]["sched"]), (&16_384.into(), &"default".into()));
        assert_eq!(flow["polytcp"][1]["sched"], "roundrobin");
        assert_positive(flow, &["/polytcp/0/median_ms/median", "/polytcp/1/p95_ms", "/kernel/p95_ms"]);
    }
}

#[test]
fn goodput_over_slow_links_has_a_row_for_each_scheduler() {
    let args = [
        "bench",
        "paths",
        "--sched",
        "roundrobin",
        "--rounds",
        "1",
        "--seconds",
        "1",
        "--flows",
        "0",
        "--json",
    ];
    let Some(report) = report(&args) else { return };
    assert_eq!(report["flows"], Value::Array(Vec::new()));
    for way in ["up", "down"] {
        let way = &report[way];
        assert_eq!(way["polytcp"]["sched"], "roundrobin");
        assert_positive(way, &["/polytcp/goodput_mbps/median", "/kernel/share_of_sum", "/ratio"]);
    }
}
