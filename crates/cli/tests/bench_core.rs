//! `polytcp bench core`: every case runs, compares what arrives, and is told.

mod support;

use serde_json::Value;
use support::run;

#[test]
fn each_protocol_and_size_of_segments_has_a_figure() {
    for (only, names) in [("mptcp-2-64k-loss1", 1), ("tcp-1448-loss1", 1), ("checksums", 4)] {
        let ran = run(&["bench", "core", "--size", "1M", "--only", only, "--json"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{only}: {ran:?}");
        let report: Value = serde_json::from_str(ran.stdout_text()).expect("one JSON object");
        assert_eq!(report["compared"], true);
        let cases = report["cases"].as_array().expect("a list");
        assert_eq!(cases.len(), names, "{only}");
        for case in cases {
            let figure = |name: &str| case[name].as_f64().expect("a number");
            assert!(case["name"].as_str().expect("a name").contains(only));
            assert!(case["gbps"]["median"].as_f64().expect("a number") > 0.0);
            assert!(figure("copy_ratio") > 0.0 && figure("nanos_per_segment") > 0.0, "{case}");
            // A segment has up to 64 KiB, or fits the MTU.
            let least = if only.contains("1448") { (1 << 20) / 1_448 } else { (1 << 20) / 65_536 };
            assert!(figure("segments") >= f64::from(least), "{case}");
        }
    }
}

#[test]
fn one_transfer_tells_its_segments() {
    let ran = run(&["bench", "core", "--once", "tcp-64k", "--size", "2M"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let segments = ran.stdout_text().strip_prefix("segments ").map(|rest| rest.trim().parse::<u64>());
    assert!(matches!(segments, Some(Ok(32..=400))), "{ran:?}");
}
