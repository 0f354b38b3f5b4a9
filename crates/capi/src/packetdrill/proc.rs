//! What scripts write to `/proc/sys` themselves.
//!
//! The namespace's values are read when the library is loaded, and again before each call that could go by them: what has changed
//! is set in the stack. What the stack does not take stays the kernel's; the script's author has asked the kernel.

use std::fs;

use polytcp::Stack;
use polytcp::sysctl::{self, Sysctl};

/// The values of the namespace that were read last.
pub(super) struct Namespace {
    seen: Vec<(&'static Sysctl, String)>,
}

fn read(sysctl: &Sysctl) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{}", sysctl.name.replace('.', "/"))).ok()
}

impl Namespace {
    /// The values now; what the stack has in another way is left out.
    pub(super) fn now() -> Self {
        let settable = sysctl::ALL.iter().filter(|sysctl| sysctl.is_settable());
        Self { seen: settable.filter_map(|sysctl| Some((sysctl, read(sysctl)?))).collect() }
    }

    /// Sets in the stack what has changed since.
    pub(super) fn take_over(&mut self, stack: &Stack) {
        for (sysctl, seen) in &mut self.seen {
            if let Some(value) = read(sysctl).filter(|value| value != seen) {
                let _ = stack.set_sysctl(sysctl.name, &value);
                *seen = value;
            }
        }
    }
}
