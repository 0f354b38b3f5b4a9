//! Which differences are meant: those that `docs/differences.md` lists.

use std::collections::BTreeMap;
use std::fmt::Write;

const LISTED: &str = include_str!("../../../../docs/differences.md");

/// One call, or one program, that both sides answer differently.
#[derive(Debug)]
pub(crate) struct Difference {
    /// As the document names it.
    pub(crate) name: String,
    pub(crate) theirs: String,
    pub(crate) ours: String,
}

impl Difference {
    /// Tells what both sides said alike, and where they part.
    fn report(&self, out: &mut String) {
        let _ = writeln!(out, "{}", self.name);
        for (theirs, ours) in self.theirs.lines().zip(self.ours.lines()) {
            if theirs != ours {
                let _ = writeln!(out, "  Linux {theirs}\n  stack {ours}");
                return;
            }
            let _ = writeln!(out, "        {theirs}");
        }
    }
}

/// Names in the first columns of the document's tables.
fn listed() -> impl Iterator<Item = &'static str> {
    LISTED.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next())
}

/// True when `pattern`, in which `*` stands for any text, is the name.
fn is_named(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|left| {
            (0..=left.len()).any(|at| left.is_char_boundary(at) && is_named(rest, &left[at..]))
        }),
    }
}

/// Fails for differences that are not listed, and for rows that name some of `all` and no difference.
pub(crate) fn judge(all: impl Iterator<Item = String>, found: Vec<Difference>) {
    let mut found: BTreeMap<String, Difference> =
        found.into_iter().map(|difference| (difference.name.clone(), difference)).collect();
    // Which rows name something that was tried, and which of them something that differs.
    let mut rows: Vec<(&str, bool, bool)> = listed().map(|pattern| (pattern, false, false)).collect();
    let mut report = String::new();
    let mut count = 0;
    for name in all {
        count += 1;
        let difference = found.remove(&name);
        let mut is_listed = false;
        for (_, is_tried, differs) in rows.iter_mut().filter(|(pattern, ..)| is_named(pattern, &name)) {
            *is_tried = true;
            *differs |= difference.is_some();
            is_listed = true;
        }
        if let Some(difference) = difference.filter(|_| !is_listed) {
            difference.report(&mut report);
        }
    }
    for (pattern, is_tried, differs) in rows {
        if is_tried && !differs {
            let _ = writeln!(report, "{pattern}\n  is listed as different, and is not");
        }
    }
    assert!(report.is_empty(), "of {count}:\n{report}");
}
