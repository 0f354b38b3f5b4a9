//! `docs/scenarios.md` tells all of the language of scenario files, and its example runs.

use polytcp_sim::boxes::BoxSpec;
use polytcp_sim::expect::Expect;
use polytcp_sim::scenario::{
    Action, EventSpec, HostSpec, LinkSpec, Load, Shape, TraceSpec, TraceStepSpec, TrafficSpec,
};
use polytcp_sim::sysctl::Sysctls;
use polytcp_sim::{Scenario, Watchers, run};
use serde::de::DeserializeOwned;

const TEXT: &str = include_str!("../../../docs/scenarios.md");

/// What may stand there, as the refusal of a word that may not says.
fn known<T: DeserializeOwned>(text: &str) -> Vec<String> {
    let fault = toml::from_str::<T>(text).err().expect("no such word").message().to_owned();
    // Behind "expected" are the names, each between backticks.
    let Some((_, list)) = fault.split_once("expected ") else { return Vec::new() };
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The part of the text from a heading to the next.
fn section(heading: &str) -> &'static str {
    let from = TEXT.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}")) + 1;
    let rest = &TEXT[from..];
    rest[2..].find("\n## ").map_or(rest, |end| &rest[..end + 2])
}

fn told(heading: &str, words: &[String]) {
    assert!(!words.is_empty(), "{heading}");
    let text = section(heading);
    for word in words {
        let is_told = text.contains(&format!("`{word}`"))
            || text.contains(&format!("`\"{word}\"`"))
            || text.contains(&format!("`{{ {word} ="));
        assert!(is_told, "`{word}` is not told under {heading}");
    }
}

#[test]
fn every_key_is_told() {
    told("The file", &known::<Scenario>("nokey = 1"));
    told("`[[host]]`", &known::<HostSpec>("nokey = 1"));
    told("`[[host]]`", &known::<Sysctls>("nokey = 1"));
    told("`[[link]]`", &known::<LinkSpec>("nokey = 1"));
    told("`[[link]]`", &known::<Shape>("nokey = 1"));
    told("`[[link]]`", &known::<TraceSpec>("nokey = 1"));
    told("`[[link]]`", &known::<TraceStepSpec>("nokey = 1"));
    told("`[[traffic]]`", &known::<TrafficSpec>("nokey = 1"));
    told("`[[event]]`", &known::<EventSpec>("nokey = 1"));
    told("`[expect]`", &known::<Expect>("nokey = 1"));
}

#[test]
fn every_kind_of_box_load_and_action_is_told_with_its_keys() {
    let boxes = known::<BoxSpec>("kind = \"nokind\"");
    told("Boxes", &boxes);
    for kind in boxes {
        let keys = known::<BoxSpec>(&format!("kind = \"{kind}\"\nnokey = 1"));
        let row = section("Boxes").lines().find(|line| line.starts_with(&format!("| `{kind}`")));
        let row = row.unwrap_or_else(|| panic!("no row of {kind}"));
        keys.iter().for_each(|key| assert!(row.contains(&format!("`{key}`")), "{kind}: {key}"));
    }
    let loads = known::<Load>("kind = \"nokind\"");
    for kind in loads {
        let keys = known::<Load>(&format!("kind = \"{kind}\"\nnokey = 1"));
        let row = section("`[[traffic]]`").lines().find(|line| line.starts_with(&format!("| `{kind}`")));
        let row = row.unwrap_or_else(|| panic!("no row of {kind}"));
        keys.iter().for_each(|key| assert!(row.contains(&format!("`{key}`")), "{kind}: {key}"));
    }
    #[derive(serde::Deserialize)]
    struct Of {
        #[allow(dead_code, reason = "only its refusal is looked at")]
        action: Action,
    }
    told("`[[event]]`", &known::<Of>("action = \"noaction\""));
}

#[test]
fn its_example_comes_out_as_it_expects() {
    let example =
        TEXT.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let scenario = Scenario::parse(example).expect("well formed");
    let (report, _) = run(&scenario, Watchers::default()).expect("a world");
    assert_eq!(scenario.expect.judge(&report), Vec::<String>::new());
}
