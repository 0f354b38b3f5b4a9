//! The kernel's counters, as `nstat` names them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Bound;

use crate::error::{Context, LabError};

/// `/proc/net` would show the namespace of the process's first thread.
const FILES: [&str; 2] = ["/proc/thread-self/net/netstat", "/proc/thread-self/net/snmp"];

/// Counters by name (`MPTcpExtMPJoinSynRx`, `TcpExtTCPTimeouts`, `TcpRetransSegs`), or their changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    values: BTreeMap<String, i64>,
}

impl Counters {
    /// Reads the counters of the calling thread's network namespace.
    pub fn read() -> Result<Self, LabError> {
        let mut values = BTreeMap::new();
        for file in FILES {
            let text = fs::read_to_string(file).context(|| format!("reading {file}"))?;
            parse(&text, &mut values);
        }
        Ok(Self { values })
    }

    /// A counter's value, 0 for one that this kernel does not have.
    pub fn value(&self, name: &str) -> i64 {
        self.values.get(name).copied().unwrap_or(0)
    }

    /// What changed since `earlier`; unchanged ones are left out. Gauges may go down.
    pub fn since(&self, earlier: &Self) -> Self {
        let values = self.values.iter().filter_map(|(name, value)| {
            let change = value - earlier.value(name);
            (change != 0).then(|| (name.clone(), change))
        });
        Self { values: values.collect() }
    }

    /// Those whose name starts with `prefix` (`MPTcpExt`), by name.
    pub fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, i64)> {
        let from = self.values.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(move |(name, _)| name.starts_with(prefix)).map(|(n, v)| (n.as_str(), *v))
    }
}

/// One counter per line.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.values {
            writeln!(f, "{name} {value}")?;
        }
        Ok(())
    }
}

/// Pairs of lines: `Prefix: Name Name …` and `Prefix: value value …`.
fn parse(text: &str, values: &mut BTreeMap<String, i64>) {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let Some((prefix, names)) = names.split_once(':') else { continue };
        let Some((_, numbers)) = numbers.split_once(':') else { continue };
        for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
            // A few TcpExt and IpExt counters are unsigned and may pass i64::MAX only in theory.
            values.insert(format!("{prefix}{name}"), number.parse().unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(text: &str) -> Counters {
        let mut values = BTreeMap::new();
        parse(text, &mut values);
        Counters { values }
    }

    #[test]
    fn names_and_numbers_are_paired_and_compared() {
        let before = counters("TcpExt: A B\nTcpExt: 1 2\nMPTcpExt: MPRstTx\nMPTcpExt: 4\n");
        let after = counters("TcpExt: A B\nTcpExt: 1 7\nMPTcpExt: MPRstTx\nMPTcpExt: 3\n");
        let change = after.since(&before);
        assert_eq!(change.value("TcpExtB"), 5);
        assert_eq!(change.value("MPTcpExtMPRstTx"), -1);
        assert_eq!(change.to_string(), "MPTcpExtMPRstTx -1\nTcpExtB 5\n");
        assert_eq!(before.starting_with("TcpExt").count(), 2);
        assert_eq!(before.value("no such counter"), 0);
    }
}
