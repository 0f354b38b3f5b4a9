//! Links that follow a trace: steps in the scenario, or a recording beside it.

use std::path::PathBuf;

use polytcp_sim::quantity::{Rate, Span};
use polytcp_sim::scenario::TraceStepSpec;
use polytcp_sim::{Report, Scenario, Watchers, run};

/// A download over one link with `trace`.
fn download(link: &str, octets: &str) -> String {
    format!(
        "about = \"a trace\"\nlimit = \"60s\"\n\n[[host]]\nname = \"a\"\n\n[[host]]\nname = \"b\"\n\n\
         [[link]]\nname = \"l\"\nbetween = [\"a\", \"b\"]\n{link}\n\n\
         [[traffic]]\nname = \"t\"\nfrom = \"a\"\nto = \"b\"\nload = {{ kind = \"bulk\", down = \"{octets}\" }}\n"
    )
}

fn outcome(scenario: &Scenario) -> Report {
    let (report, _) = run(scenario, Watchers::default()).expect("a world");
    assert_eq!(scenario.expect.judge(&report), Vec::<String>::new());
    assert_eq!(report.violations, Vec::<String>::new());
    report
}

#[test]
fn the_rate_is_that_of_the_step_and_the_steps_come_again() {
    // On average 6 Mbit/s.
    let link = "shape = { delay = \"5ms\" }\ntrace = { every = \"1s\", steps = [\
                { at = \"0s\", rate = \"10mbit\" }, { at = \"500ms\", rate = \"2mbit\" }] }";
    let report = outcome(&Scenario::parse(&download(link, "6M")).expect("well formed"));
    let mbit = report.goodput_bits_per_sec as f64 / 1e6;
    assert!((4.8..6.0).contains(&mbit), "{mbit}");
}

#[test]
fn each_direction_can_have_a_trace_of_its_own_with_its_delay() {
    // Nothing comes in the first second: the handshake takes at least so long.
    let link = "trace = { every = \"10min\", steps = [{ at = \"0s\", rate = \"10mbit\", delay = \"20ms\" }] }\n\
                down_trace = { every = \"10min\", steps = [{ at = \"0s\" }, { at = \"1s\", rate = \"10mbit\" }] }";
    let report = outcome(&Scenario::parse(&download(link, "10k")).expect("well formed"));
    assert!(report.took >= Span::millis(1_020), "{:?}", report.took);
    let one_way = link.replace("down_trace", "up_trace").replace("10mbit\" }] }", "1gbit\" }] }");
    let other = outcome(&Scenario::parse(&download(&one_way, "10k")).expect("well formed"));
    assert!(other.took >= Span::millis(1_000), "the SYN waits: {:?}", other.took);
}

#[test]
fn a_recording_is_looked_for_beside_the_scenario() {
    let folder = std::env::temp_dir().join(format!("polytcp-traces-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let write = |name: &str, text: &str| {
        let path: PathBuf = folder.join(name);
        std::fs::write(&path, text).expect("a writable folder");
        path
    };
    // 1,500 octets each 2 ms: 6 Mbit/s.
    write("six.trace", &(1..=500).map(|at| format!("{}\n", 2 * at)).collect::<String>());
    let file =
        write("one.toml", &download("shape = { delay = \"5ms\" }\ntrace = { file = \"six.trace\" }", "3M"));
    let scenario = Scenario::read(&file).expect("well formed");
    let trace = scenario.links[0].trace.clone().expect("a trace");
    assert_eq!((trace.file, trace.every), (None, Some(Span::millis(1_000))));
    assert_eq!(
        trace.steps[1],
        TraceStepSpec { at: Span::millis(1), rate: Some(Rate(12_000_000)), delay: None }
    );
    let mbit = outcome(&scenario).goodput_bits_per_sec as f64 / 1e6;
    assert!((5.0..6.0).contains(&mbit), "{mbit}");
    // What was read stands in the scenario: it is whole without its file.
    assert_eq!(Scenario::parse(&scenario.to_toml()).as_ref(), Ok(&scenario));

    let fault = |trace: &str| {
        let file = write("bad.toml", &download(&format!("trace = {{ {trace} }}"), "1k"));
        let fault = Scenario::read(&file).expect_err(trace);
        assert!(!fault.contains('\n'), "{fault}");
        fault.replace(&folder.display().to_string(), "FOLDER")
    };
    write("bad.trace", "1\nnoon\n");
    assert_eq!(
        fault("file = \"bad.trace\""),
        "link `l`: trace: FOLDER/bad.trace: line 2: not a whole number of milliseconds within a day"
    );
    write("back.trace", "5\n4\n");
    assert_eq!(
        fault("file = \"back.trace\""),
        "link `l`: trace: FOLDER/back.trace: line 2: before the time of the line above"
    );
    write("empty.trace", "0\n");
    assert_eq!(
        fault("file = \"empty.trace\""),
        "link `l`: trace: FOLDER/empty.trace: nothing leaves after time 0"
    );
    assert!(fault("file = \"none.trace\"").starts_with("link `l`: trace: FOLDER/none.trace: No such file"));
    assert_eq!(
        fault("file = \"six.trace\", every = \"1s\""),
        "link `l`: trace: either `file`, or `steps` and `every`"
    );
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn what_is_wrong_with_steps_is_one_line() {
    let fault =
        |trace: &str| Scenario::parse(&download(&format!("trace = {{ {trace} }}"), "1k")).expect_err(trace);
    assert_eq!(
        fault("file = \"x\""),
        "link 1 (`l`): trace: `x` was not read, as only a scenario file can name it"
    );
    assert_eq!(
        fault("steps = [{ at = \"0s\", rate = \"1mbit\" }]"),
        "link 1 (`l`): trace: it needs `every`, after which its steps begin again"
    );
    assert_eq!(fault("every = \"1s\""), "link 1 (`l`): trace: no step has a rate");
    assert_eq!(
        fault("steps = [{ at = \"1s\", rate = \"1mbit\" }], every = \"2s\""),
        "link 1 (`l`): trace: the first step is at 0s"
    );
    assert_eq!(
        fault("steps = [{ at = \"0s\", rate = \"1mbit\" }, { at = \"0s\" }], every = \"2s\""),
        "link 1 (`l`): trace: step 2 is at least 1ms after the one before it"
    );
    assert_eq!(
        fault("steps = [{ at = \"0s\", rate = \"1mbit\" }, { at = \"2s\" }], every = \"2s\""),
        "link 1 (`l`): trace: `every` is at least 1ms after the last step"
    );
}
