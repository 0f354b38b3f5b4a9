//! What the command says of flags that it cannot use, and of itself.

mod support;

use support::run;

/// Arguments, and what the message names.
const BAD: &[(&[&str], &str)] = &[
    (&[], "polytcp demo"),
    (&["dance"], "dance"),
    (&["--speed"], "--speed"),
    (&["demo", "extra"], "extra"),
    (&["demo", "--size"], "--size"),
    (&["demo", "--size", "10"], "256k"),
    (&["demo", "--size", "1T"], "unit of size"),
    (&["demo", "--size", "65G"], "64G"),
    (&["demo", "--size", "-1"], "-1"),
    (&["demo", "--seed", "x"], "--seed"),
    (&["demo", "--peer", "windows"], "linux"),
    (&["demo", "--pcap", "/no/such/directory/file"], "--pcap"),
    (&["bench", "--peer", "windows"], "linux"),
    (&["bench", "--peer", "smoltcp", "--bench-peers", "/no/such/folder"], "/no/such/folder/Cargo.toml"),
    (&["bench", "--peer", "mptcp-rs", "--bench-peers", "/no/such/folder"], "/no/such/folder/Cargo.toml"),
    (&["bench", "--paths", "0"], "1..=8"),
    (&["bench", "--paths", "9"], "1..=8"),
    (&["bench", "--mtu", "1279"], "1280"),
    (&["bench", "--mtu", "65536"], "65535"),
    (&["bench", "--mtu", "1500,100"], "1280"),
    (&["bench", "--family", "ipx"], "ipv6"),
    (&["bench", "--checksums", "maybe"], "on"),
    (&["bench", "--sockets", "raw"], "tokio"),
    (&["bench", "--steering", "maybe"], "on"),
    (&["bench", "--steering", "on", "--unpinned"], "--unpinned"),
    (&["bench", "--connections", "0"], "1..=1000"),
    (&["bench", "--way", "sideways"], "both"),
    (&["bench", "--peer", "smoltcp", "--way", "up"], "--way"),
    (&["bench", "--rounds", "4"], "5..=100"),
    (&["bench", "--size", "1k"], "1M"),
    (&["bench", "--cc", "vegas"], "cubic"),
    (&["bench", "core", "--rounds", "4"], "5..=100"),
    (&["bench", "core", "--size", "1k"], "1M"),
    (&["bench", "core", "--only", "sctp"], "tcp-64k"),
    (&["bench", "core", "--once", "sctp"], "sctp"),
    (&["bench", "paths", "--cc", "vegas"], "cubic"),
    (&["bench", "paths", "--rounds", "0"], "1..=100"),
    (&["bench", "paths", "--seconds", "601"], "..=600"),
    (&["bench", "paths", "--link", "20mbit"], "rate="),
    (&["bench", "paths", "--link", "delay=20ms"], "its rate"),
    (&["bench", "paths", "--link", "rate=20mbit,loss=100%"], "below 100%"),
    (&["bench", "paths", "--link", "rate=20mbit,loss"], "needs a value"),
    (&["bench", "paths", "--link", "rate=20mbit,colour=red"], "colour"),
    (&["bench", "paths", "--sched", "default,redundancy"], "roundrobin"),
    (&["bench", "paths", "--flows", "1001"], "--flows"),
    (&["bench", "paths", "--flow", "17M"], "16M"),
    (&["bench", "latency", "--time", "2"], "unit"),
    (&["bench", "latency", "--loaded", "sideways"], "down"),
    (&["bench", "latency", "--rounds", "0"], "1..=100"),
    (&["bench", "latency", "--paths", "9"], "1..=8"),
    (&["bench", "conns", "--protocol", "sctp"], "mptcp"),
    (&["bench", "conns", "--count", "0"], "1..=20000"),
    (&["bench", "conns", "--parallel", "0"], "1..=256"),
    (&["bench", "conns", "--idle", "0"], "1..=25000"),
    (&["bench", "conns", "--idle", "10", "--parallel", "2"], "--parallel"),
    (&["bench", "grid", "--cc", "vegas"], "cubic"),
    (&["bench", "grid", "--rounds", "0"], "1..=100"),
    (&["bench", "grid", "--seconds", "601"], "1..=600"),
    (&["bench", "grid", "--cell", "nowhere"], "shallow"),
    (&["bench", "grid", "--pcap", "/no/such/directory"], "--pcap"),
    (&["bench", "paths", "--loss", "1%"], "--loss"),
    (&["bench", "--rounds", "5", "paths"], "paths"),
    (&["sim"], "FILE"),
    (&["sim", "--random"], "--seeds"),
    (&["sim", "/no/such/file.toml"], "/no/such/file.toml"),
    (&["sim", "--random", "--seeds", "4..4"], "A..B"),
    (&["sim", "--random", "--seeds", "1..4", "--plot", "x.svg"], "--plot"),
    (&["nc"], "--path"),
    (&["nc", "10.9.0.1:5000"], "--path"),
    (&["nc", "--path", "a=10.9.0.2/24"], "ADDR:PORT"),
    (&["nc", "example.org:80", "--path", "a=10.9.0.2/24"], "numeric"),
    (&["nc", "10.9.0.1", "--path", "a=10.9.0.2/24"], "numeric"),
    (&["nc", "10.9.0.1:0", "--path", "a=10.9.0.2/24"], "port"),
    (&["nc", "10.9.0.1:5000", "--path", "10.9.0.2/24"], "NAME="),
    (&["nc", "10.9.0.1:5000", "--path", "a=10.9.0.2"], "prefix"),
    (&["nc", "10.9.0.1:5000", "--path", "a=10.9.0.2/24,rate=20"], "mbit"),
    (&["nc", "10.9.0.1:5000", "--path", "a=10.9.0.2/24,host=10.8.0.1"], "not in"),
    (&["nc", "10.9.0.1:5000", "--path", "a/b=10.9.0.2/24"], "a/b"),
    (&["nc", "10.9.0.1:5000", "--path", "a=10.9.0.2/24", "--path", "a=10.9.1.2/24"], "two paths"),
    (&["nc", "10.9.0.1:5000", "--path", "a=10.9.0.2/24", "--path", "b=10.9.0.2/24"], "10.9.0.2"),
    (&["nc", "10.9.0.2:5000", "--path", "a=10.9.0.2/24"], "own"),
    (&["nc", "[fd00::1]:5000", "--path", "a=10.9.0.2/24"], "IPv6"),
    (&["nc", "-l", "10.9.0.1:5000", "--path", "a=10.9.0.2/24"], "--path"),
    (&["nc", "10.9.0.1:5000", "--path", "a=10.9.0.2/24", "--cc", "vegas"], "cubic"),
    (&["nc", "10.9.0.1:5000", "--path", "a=10.9.0.2/24", "--stats", "xml"], "json"),
    (&["nc", "10.9.0.1:5000", "--path", "a=10.9.0.2/24", "--pcap", "/no/such/dir/f"], "--pcap"),
];

#[test]
fn bad_flags_are_one_line_that_names_them_and_exit_2() {
    for (args, named) in BAD {
        let ran = run(args);
        assert_eq!(ran.status, Some(2), "{args:?}: {ran:?}");
        assert!(ran.only_line().contains(named), "{args:?}: {:?} does not name {named:?}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{args:?}: {ran:?}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for args in [
        &["--help"][..],
        &["demo", "--help"],
        &["nc", "--help"],
        &["bench", "paths", "--help"],
        &["bench", "grid", "--help"],
        &["bench", "core", "--help"],
        &["bench", "latency", "--help"],
        &["bench", "conns", "--help"],
    ] {
        let ran = run(args);
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(ran.stdout_text().contains("Usage:"), "{args:?}");
    }
    let ran = run(&["--version"]);
    assert_eq!(ran.status, Some(0));
    assert_eq!(ran.stdout_text(), format!("polytcp {}\n", env!("CARGO_PKG_VERSION")));
}
