//! What boxes remember of each flow, in a table that never exceeds a number of them.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;

/// Flows that a box remembers unless it is told otherwise.
pub(crate) const FLOWS_MAX: usize = 4_096;

/// The two ends of a TCP flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Flow {
    pub(crate) inside: SocketAddr,
    pub(crate) outside: SocketAddr,
}

/// A value for each flow, up to a number of flows; the one not used for the longest makes room.
#[derive(Clone, Debug)]
pub(crate) struct FlowTable<T> {
    flows: BTreeMap<Flow, Entry<T>>,
    /// Flows by their last use, which is counted and not timed.
    by_use: BTreeMap<u64, Flow>,
    uses: u64,
    max: usize,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    used: u64,
    value: T,
}

impl<T> FlowTable<T> {
    /// A table of at most `max` flows, and at least one.
    pub(crate) fn new(max: usize) -> Self {
        Self { flows: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, max: max.max(1) }
    }

    /// The value of a flow, which counts as used.
    pub(crate) fn use_flow(&mut self, flow: &Flow) -> Option<&mut T> {
        let entry = self.flows.get_mut(flow)?;
        self.by_use.remove(&entry.used);
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, *flow);
        Some(&mut entry.value)
    }

    /// The value of a flow, which does not count as used.
    pub(crate) fn peek(&self, flow: &Flow) -> Option<&T> {
        self.flows.get(flow).map(|entry| &entry.value)
    }

    /// Adds or replaces a flow, and returns what was replaced or had to make room.
    pub(crate) fn insert(&mut self, flow: Flow, value: T) -> Option<(Flow, T)> {
        let gone = match self.remove(&flow) {
            Some(old) => Some((flow, old)),
            None if self.flows.len() >= self.max => {
                let oldest = self.by_use.first_key_value().map(|(_, oldest)| *oldest);
                oldest.and_then(|oldest| Some((oldest, self.remove(&oldest)?)))
            }
            None => None,
        };
        self.uses += 1;
        self.by_use.insert(self.uses, flow);
        self.flows.insert(flow, Entry { used: self.uses, value });
        gone
    }

    pub(crate) fn remove(&mut self, flow: &Flow) -> Option<T> {
        let entry = self.flows.remove(flow)?;
        self.by_use.remove(&entry.used);
        Some(entry.value)
    }

    /// The flow at `index`, in an order that holds while none is added or removed.
    pub(crate) fn nth(&self, index: usize) -> Option<(&Flow, &T)> {
        self.flows.iter().nth(index).map(|(flow, entry)| (flow, &entry.value))
    }

    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Flow, &T)> {
        self.flows.iter().map(|(flow, entry)| (flow, &entry.value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Flow, &mut T)> {
        self.flows.iter_mut().map(|(flow, entry)| (flow, &mut entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Flow {
        Flow {
            inside: SocketAddr::from(([10, 0, 0, 1], port)),
            outside: SocketAddr::from(([10, 0, 0, 2], 80)),
        }
    }

    #[test]
    fn the_flow_not_used_for_the_longest_makes_room() {
        let mut table = FlowTable::new(3);
        for port in 1..=3 {
            assert_eq!(table.insert(flow(port), port), None);
        }
        assert_eq!(table.use_flow(&flow(1)), Some(&mut 1));
        assert_eq!(table.insert(flow(4), 4), Some((flow(2), 2)));
        assert_eq!(table.insert(flow(3), 33), Some((flow(3), 3)), "replaced");
        assert_eq!(table.insert(flow(5), 5), Some((flow(1), 1)));
        assert_eq!((table.len(), table.by_use.len()), (3, 3));
        assert_eq!(table.use_flow(&flow(2)), None);
        assert_eq!(table.remove(&flow(3)), Some(33));
        assert_eq!((table.len(), table.by_use.len()), (2, 2));
    }
}
