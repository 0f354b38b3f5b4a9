//! What commands of a script do with the stack: `ip`, `sysctl`, `nstat` and `ss`, as far as they concern it.
//!
//! Everything else that these programs can do is the kernel's matter: it is [`Outcome::Foreign`], and the program of that name is run.

mod ip;
mod nstat;
mod ss;
mod sysctl;

use polytcp::Counters;

use super::wire;
use crate::stack::Net;
use std::sync::Arc;

/// What a command came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It is not for the stack.
    Foreign,
    /// It was done, or refused.
    Done {
        /// What the process is to end with.
        code: u8,
        /// For its standard output.
        out: String,
        /// For its standard error.
        error: String,
    },
}

impl Outcome {
    fn told(out: String) -> Self {
        Self::Done { code: 0, out, error: String::new() }
    }

    fn refused(code: u8, error: String) -> Self {
        Self::Done { code, out: String::new(), error: error + "\n" }
    }

    /// 0 for what is foreign; else 1, the code, the length of the output as 4 octets, least significant first, the output, and
    /// the error up to the end.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self::Done { code, out, error } = self else { return vec![0] };
        let len = (out.len() as u32).to_le_bytes();
        [&[1, *code][..], &len, out.as_bytes(), error.as_bytes()].concat()
    }
}

/// What commands remember of each other.
#[derive(Default)]
pub(super) struct Commands {
    /// What `nstat` told last.
    counters: Counters,
}

impl Commands {
    /// Runs a command: its name and its arguments.
    pub(super) fn run(&mut self, net: &Arc<Net>, words: &[&str]) -> Outcome {
        let Some((name, arguments)) = words.split_first() else { return Outcome::Foreign };
        match *name {
            "ip" => ip::run(net, arguments),
            "sysctl" => sysctl::run(net, arguments),
            // The device has no queue: what a script asks of it is so already.
            "tc" if matches!(arguments, ["qdisc", _, "dev", wire::DEVICE_NAME, ..]) => {
                Outcome::told(String::new())
            }
            "nstat" => nstat::run(&net.sockets.stack().counters(), &mut self.counters, arguments),
            "ss" => ss::run(net, arguments),
            _ => Outcome::Foreign,
        }
    }
}
