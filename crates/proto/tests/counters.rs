//! Every counter is fed where its event is, or says why it stays 0; and a test looks at each.

use std::fs;
use std::path::Path;

struct Declared {
    field: String,
    /// Linux's name, without the group.
    name: String,
    /// The same with the group, as nstat prints it.
    full_name: String,
    doc: String,
    /// Another group has a counter of the same name: only the field tells them apart.
    is_shared: bool,
}

fn read_all(root: &Path, wanted: &dyn Fn(&Path) -> bool, into: &mut String) {
    let mut entries: Vec<_> =
        fs::read_dir(root).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_all(&path, wanted, into);
        } else if path.extension().is_some_and(|e| e == "rs") && wanted(&path) {
            into.push_str(&fs::read_to_string(&path).expect("text"));
        }
    }
}

fn declared() -> Vec<Declared> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/counters.rs");
    let text = fs::read_to_string(source).expect("the declarations");
    let mut found = Vec::new();
    let mut prefix = String::new();
    for line in text.lines().map(str::trim) {
        if let Some((_, group)) = line.strip_suffix("\" {").and_then(|rest| rest.split_once('"')) {
            group.clone_into(&mut prefix);
        }
        if !line.ends_with("\";") {
            continue;
        }
        let parts: Vec<&str> = line.splitn(5, '"').collect();
        let [field, name, gap, doc] = parts[..4] else { continue };
        if gap == " "
            && field.trim_end().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            let (field, name, doc) = (field.trim().to_owned(), name.to_owned(), doc.to_owned());
            let full_name = format!("{prefix}{name}");
            found.push(Declared { field, name, full_name, doc, is_shared: false });
        }
    }
    assert!(found.len() > 200, "{} declarations were read", found.len());
    let names: Vec<String> = found.iter().map(|d| d.name.clone()).collect();
    for counter in &mut found {
        counter.is_shared = names.iter().filter(|name| **name == counter.name).count() > 1;
    }
    found
}

/// `word` stands in `text` by itself.
fn mentions(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
    })
}

#[test]
fn a_counter_is_fed_or_says_why_it_stays_zero() {
    let mut sources = String::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read_all(&src, &|path| !path.ends_with("counters.rs") && !path.ends_with("tests.rs"), &mut sources);
    read_all(&src.join("host"), &|path| path.ends_with("ip_counters.rs"), &mut sources);
    for counter in declared() {
        let fed = mentions(&sources, &format!("counters.{}", counter.field));
        let silent = counter.doc.starts_with("Never incremented");
        assert!(fed != silent, "{}: fed {fed}, and described as \"{}\"", counter.field, counter.doc);
    }
}

#[test]
fn a_test_looks_at_every_counter_that_is_fed() {
    let mut tests = String::new();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let is_test = |path: &Path| {
        let text = path.to_string_lossy();
        (text.contains("/tests/") || text.ends_with("/tests.rs")) && !text.ends_with("tests/counters.rs")
    };
    read_all(&crates, &is_test, &mut tests);
    let looked_at = |counter: &Declared| {
        mentions(&tests, &counter.field)
            || tests.contains(&format!("\"{}\"", counter.full_name))
            || !counter.is_shared && tests.contains(&format!("\"{}\"", counter.name))
    };
    let none: Vec<String> = declared()
        .into_iter()
        .filter(|counter| !counter.doc.starts_with("Never incremented") && !looked_at(counter))
        .map(|counter| counter.field)
        .collect();
    assert!(none.is_empty(), "fed, and no test looks at them: {none:?}");
}
