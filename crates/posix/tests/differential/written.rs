//! Programs that were written by hand, by topic: `programs/*.txt`. Each runs for MPTCP and for TCP where it says `P`, with IPv4
//! and with IPv6.
//!
//! `open n0 f1` stands for a connection from `n0` to `f1`, over the listener `f0`; `serve n1 f1` for one from `f1` to `n1`, over
//! the listener `n0`.

use crate::compare::compare;
use crate::differences;
use crate::program::{Program, read};
use crate::world::Family;

const FILES: &[(&str, &str)] = &[
    ("opening", include_str!("programs/opening.txt")),
    ("binding", include_str!("programs/binding.txt")),
    ("transfer", include_str!("programs/transfer.txt")),
    ("ending", include_str!("programs/ending.txt")),
    ("options", include_str!("programs/options.txt")),
    ("fallback", include_str!("programs/fallback.txt")),
];

/// The steps that a shorthand stands for.
fn expanded(step: &str) -> Vec<String> {
    let words: Vec<&str> = step.split_whitespace().collect();
    match words[..] {
        ["open", near, far, ref more @ ..] => {
            let (ours, theirs) = protocols(more);
            vec![
                format!("f0 socket {theirs}"),
                String::from("f0 bind own"),
                String::from("f0 listen 5"),
                format!("{near} socket {ours}"),
                format!("{near} connect f0"),
                format!("{far} accept f0"),
            ]
        }
        ["serve", near, far, ref more @ ..] => {
            let (ours, theirs) = protocols(more);
            vec![
                format!("n0 socket {ours}"),
                String::from("n0 bind own"),
                String::from("n0 listen 5"),
                format!("{far} socket {theirs}"),
                format!("{far} connect n0"),
                format!("{near} accept n0"),
                // Now the client knows its server in any case.
                format!("{near} send 1"),
                format!("{far} recv 1"),
            ]
        }
        _ => vec![step.to_owned()],
    }
}

fn protocols(words: &[&str]) -> (String, String) {
    let ours = words.first().copied().unwrap_or("P");
    (ours.to_owned(), words.get(1).copied().unwrap_or(ours).to_owned())
}

fn programs() -> Vec<Program> {
    let mut all = Vec::new();
    for (topic, text) in FILES {
        for (family, family_name) in [(Family::Inet, "IPv4"), (Family::Inet6, "IPv6")] {
            for program in read(text, family) {
                let steps: Vec<String> = program.steps.iter().flat_map(|step| expanded(step)).collect();
                let is_for_both = steps.iter().any(|step| step.split_whitespace().any(|word| word == "P"));
                let protocols: &[&str] = if is_for_both { &["mptcp", "tcp"] } else { &[""] };
                for protocol in protocols {
                    let put = |step: &String| {
                        let words = step.split_whitespace();
                        words
                            .map(|word| if word == "P" { protocol } else { word })
                            .collect::<Vec<_>>()
                            .join(" ")
                    };
                    let title = format!("{topic}: {}, {family_name} {protocol}", program.title);
                    let title = title.trim_end().to_owned();
                    all.push(Program { title, family, steps: steps.iter().map(put).collect() });
                }
            }
        }
    }
    all
}

#[test]
fn written_programs_run_as_on_linux() {
    if !polytcp_lab::require_or_skip() {
        return;
    }
    let programs = programs();
    let found = compare(&programs, |program| program.title.clone(), Program::run);
    println!("{} programs", programs.len());
    differences::judge(programs.iter().map(|program| program.title.clone()), found);
}
