//! Every file of `scenarios/` runs, and comes out as its `[expect]` says.

use std::path::PathBuf;

use polytcp_proto::config::Ecn;
use polytcp_sim::{Scenario, Watchers, run};

fn files() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of scenarios")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files
}

fn read(path: &PathBuf) -> Scenario {
    let text = std::fs::read_to_string(path).expect("a readable file");
    Scenario::parse(&text).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

#[test]
fn every_scenario_comes_out_as_its_file_expects() {
    let mut faults = Vec::new();
    for path in files() {
        let scenario = read(&path);
        let (report, _) = run(&scenario, Watchers::default()).expect("a world");
        println!("{}\n{}", path.display(), report.to_text());
        for fault in scenario.expect.judge(&report) {
            faults.push(format!("{}: {fault}", path.display()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_scenario_that_is_written_reads_back_as_it_was() {
    for path in files() {
        let scenario = read(&path);
        let again = Scenario::parse(&scenario.to_toml());
        assert_eq!(again.as_ref(), Ok(&scenario), "{}\n{}", path.display(), scenario.to_toml());
    }
}

#[test]
fn a_seed_replays_a_run_and_another_seed_gives_another() {
    let mut scenario = read(&files()[0]);
    let hash = |scenario: &Scenario| run(scenario, Watchers::default()).expect("a world").0.hash;
    let first = hash(&scenario);
    assert_eq!(first, hash(&scenario));
    scenario.seed += 1;
    assert_ne!(first, hash(&scenario));
}

#[test]
fn what_is_wrong_with_a_file_is_one_line_with_the_place() {
    let text = std::fs::read_to_string(&files()[0]).expect("a readable file");
    for (from, to, said) in [
        ("limit =", "limitt =", "unknown field `limitt`"),
        ("delay = \"", "delay = \"x", "is not a time"),
        ("kind = \"bulk\"", "kind = \"bulk\", uphill = 1", "unknown field `uphill`"),
        ("from = \"", "from = \"nobody", "there is no host `nobody"),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from}");
        let fault = Scenario::parse(&broken).expect_err(to);
        assert!(fault.contains(said) && !fault.contains('\n'), "{fault}");
        let has_place = fault.starts_with("line ") || fault.starts_with("traffic 1 (");
        assert!(has_place, "{fault}");
    }
}

#[test]
fn a_run_is_captured_and_drawn() {
    let scenario =
        read(&files().into_iter().find(|path| path.ends_with("backup.toml")).expect("the scenario"));
    let folder = std::env::temp_dir().join(format!("polytcp-sim-{}", std::process::id()));
    let mut watchers = Watchers::default();
    watchers.capture(&folder, &scenario).expect("a writable folder");
    watchers.plot();
    let (report, mut watchers) = run(&scenario, watchers).expect("a world");
    watchers.finish().expect("a whole capture");
    let picture = folder.join("plot.svg");
    watchers.draw(&picture, &scenario).expect("a writable file");
    let svg = std::fs::read_to_string(&picture).expect("the picture");
    for text in ["main", "backup", "main cut", "main restore", "data sequence", "rate of arrival", "queue"] {
        assert!(svg.contains(text), "{text}");
    }
    let octets =
        |host: &str| std::fs::metadata(folder.join(format!("{host}.pcapng"))).expect("a capture").len();
    // Each packet of data is in both files.
    assert!(octets("client") > report.read_bytes && octets("server") > report.read_bytes);
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_hosts_sysctls_reach_its_stack_and_a_wrong_one_is_named_with_its_place() {
    let file = |sysctl: &str| {
        format!(
            "about = \"two hosts\"\nlimit = \"1s\"\n\n[[host]]\nname = \"a\"\n[host.sysctl]\n{sysctl}\n\n\
             [[host]]\nname = \"b\"\n\n[[link]]\nname = \"l\"\nbetween = [\"a\", \"b\"]\n"
        )
    };
    let scenario = Scenario::parse(&file("tcp_ecn = 1")).expect("well formed");
    let ecn = |host: usize| scenario.hosts[host].config().expect("well formed").tcp.ecn;
    assert_eq!((ecn(0), ecn(1)), (Ecn::Request, Ecn::Accept));
    let fault = |sysctl: &str| Scenario::parse(&file(sysctl)).expect_err("refused");
    assert_eq!(fault("tcp_ecn = 5"), "host 1 (`a`): sysctl: tcp_ecn: 5 is none of 0, 1, 2");
    let unknown = fault("tcp_enc = 1");
    assert!(unknown.starts_with("line 7: unknown field `tcp_enc`") && !unknown.contains('\n'), "{unknown}");
}
