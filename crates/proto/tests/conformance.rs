//! The conformance tables in `docs/` name files, items and tests that exist.
//!
//! Whether a test shows what its line says, nobody but a reader can tell; a name that broke, this can.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const TABLES: [&str; 2] = ["rfc8684.md", "tcp.md"];
const COLUMNS: usize = 7;
const STATUSES: [&str; 5] = ["followed", "in part", "not followed", "not yet", "does not apply"];
const LEVELS: [&str; 8] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "SHLD-", "MAY-", "REC-"];
/// Fewer lines than this in a table mean that it was not read as it is meant.
const LINES_MIN: usize = 100;

struct Line {
    place: String,
    cells: Vec<String>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for table in TABLES {
        let path = repository().join("docs").join(table);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let before = lines.len();
        for (number, row) in text.lines().enumerate().filter(|(_, row)| row.starts_with("| ")) {
            if row.starts_with("| § |") || row.starts_with("| ---") {
                continue;
            }
            let cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
            lines.push(Line { place: format!("docs/{table}:{}", number + 1), cells });
        }
        assert!(lines.len() - before >= LINES_MIN, "{table} has {} lines", lines.len() - before);
    }
    lines
}

/// The pairs of file and name in a cell: "`file` `name`; `file` `name`".
fn pairs(cell: &str) -> Option<Vec<(String, String)>> {
    let pair = |part: &str| {
        let mut quoted = part.trim().split('`');
        let (start, file, gap, name, end) =
            (quoted.next()?, quoted.next()?, quoted.next()?, quoted.next()?, quoted.next()?);
        let well_formed = (start, gap, end) == ("", " ", "") && quoted.next().is_none();
        well_formed.then(|| (file.to_owned(), name.to_owned()))
    };
    cell.split(';').map(pair).collect()
}

/// The source defines an item or a field of that name.
fn defines(source: &str, name: &str) -> bool {
    source.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        let mut words =
            line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').filter(|w| !w.is_empty());
        let mut before = "";
        words.any(|word| {
            let is_item = matches!(before, "fn" | "struct" | "enum" | "const" | "static" | "trait" | "type")
                && word.trim_end_matches(':') == name;
            let is_field =
                word.strip_suffix(':') == Some(name) && matches!(before, "" | "pub" | "crate" | "super");
            before = word;
            is_item || is_field
        })
    })
}

/// The source has a function of that name with the attribute of a test above it.
fn has_test(source: &str, name: &str) -> bool {
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").is_some() {
            let line = line.strip_prefix("async ").unwrap_or(line);
            if marked && line.strip_prefix("fn ").is_some_and(|rest| rest.starts_with(&format!("{name}("))) {
                return true;
            }
            marked = false;
        }
    }
    false
}

#[test]
fn every_name_in_the_conformance_tables_exists() {
    let mut sources: HashMap<String, Option<String>> = HashMap::new();
    let mut source = |file: &str| {
        let read = || fs::read_to_string(repository().join("crates").join(file)).ok();
        sources.entry(file.to_owned()).or_insert_with(read).clone()
    };
    let mut faults = Vec::new();
    for Line { place, cells } in lines() {
        let [section, level, asked, status, code, test, why] = &cells[..] else {
            faults.push(format!("{place}: {} columns, not {COLUMNS}", cells.len()));
            continue;
        };
        let mut fault = |what: String| faults.push(format!("{place}: {what}"));
        let numbered = section
            .split_once('§')
            .is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
        if !numbered || asked.is_empty() {
            fault("no section, or nothing asked".into());
        }
        if !LEVELS.iter().any(|known| level.starts_with(known)) {
            fault(format!("no such level: {level}"));
        }
        if !STATUSES.contains(&status.as_str()) {
            fault(format!("no such status: {status}"));
        }
        if status != "followed" && why == "—" {
            fault(format!("{status}, and no word why"));
        }
        let done = matches!(status.as_str(), "followed" | "in part");
        if code == "—" {
            if done {
                fault(format!("{status}, and no code"));
            }
        } else {
            for (file, name) in pairs(code).unwrap_or_default() {
                match source(&file) {
                    None => fault(format!("no file {file}")),
                    Some(text) if !defines(&text, &name) => fault(format!("{file} defines no {name}")),
                    Some(_) => {}
                }
            }
            if pairs(code).is_none() {
                fault(format!("not a list of files and names: {code}"));
            }
        }
        if test != "no test" && (done || test != "—") {
            match pairs(test) {
                None => fault(format!("not a list of files and tests: {test}")),
                Some(tests) => {
                    for (file, name) in tests {
                        match source(&file) {
                            None => fault(format!("no file {file}")),
                            Some(text) if !has_test(&text, &name) => {
                                fault(format!("{file} has no test {name}"));
                            }
                            Some(_) => {}
                        }
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
