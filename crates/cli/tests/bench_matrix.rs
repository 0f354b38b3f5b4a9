//! `polytcp bench`: a matrix has a figure for each combination and way, and compares what arrives.

mod support;

use serde_json::Value;
use support::run;

/// What such a bench tells; `None` where there is no lab and none is required.
fn report(args: &[&str]) -> Option<Value> {
    let ran = run(args);
    if ran.status == Some(2) && std::env::var_os("POLYTCP_REQUIRE_LAB").is_none() {
        eprintln!("skipped: {}", ran.stderr);
        return None;
    }
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    Some(serde_json::from_str(ran.stdout_text()).expect("one JSON object"))
}

#[test]
fn each_combination_has_a_figure() {
    let report = report(&[
        "bench",
        "--size",
        "2M",
        "--paths",
        "1,2",
        "--family",
        "ipv6",
        "--checksums",
        "off,on",
        "--way",
        "up,both",
        "--connections",
        "2",
        "--sockets",
        "tokio",
        "--unpinned",
        "--json",
    ]);
    let Some(report) = report else { return };
    assert_eq!((&report["compared"], &report["pinned"]), (&true.into(), &false.into()));
    let figures = report["figures"].as_array().expect("a list");
    assert_eq!(figures.len(), 8);
    for figure in figures {
        assert_eq!((&figure["family"], &figure["sockets"]), (&"ipv6".into(), &"tokio".into()));
        for name in ["polytcp_gbps", "kernel_gbps", "polytcp_cpu_seconds_per_gib", "kernel_longest_pause_ms"]
        {
            let rounds = figure[name]["rounds"].as_array().expect("a list");
            assert_eq!(rounds.len(), 5, "{name} {figure}");
        }
        assert!(figure["ratio"].as_f64().expect("a number") > 0.0, "{figure}");
    }
    let ways: Vec<_> = figures.iter().map(|figure| figure["way"].as_str().expect("a way")).collect();
    assert_eq!(ways[..2], ["up", "both"]);
}

#[test]
fn chunks_and_steering_have_figures_of_their_own() {
    let report = report(&[
        "bench",
        "--size",
        "4M",
        "--way",
        "up,down",
        "--sockets",
        "blocking,chunks",
        "--steering",
        "off,on",
        "--json",
    ]);
    let Some(report) = report else { return };
    let figures = report["figures"].as_array().expect("a list").iter();
    let names: Vec<_> = figures
        .map(|figure| ["steering", "sockets", "way"].map(|name| figure[name].as_str().expect("a name")))
        .collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[2..4], [["off", "chunks", "up"], ["off", "chunks", "down"]]);
    assert_eq!(names[7], ["on", "chunks", "down"]);
}
