//! Random programs, each from a seed.
//!
//! `POLYTCP_DIFFERENTIAL_SEEDS=A..B` says which; a difference names its seed.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::compare::compare;
use crate::differences;
use crate::options;
use crate::program::{Program, SLOTS};
use crate::world::Family;

/// Those that are run when nobody says which.
const SEEDS: Range<u64> = 0..500;

/// What the generator believes of a socket: it prefers calls that mean something there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Belief {
    Nothing,
    Fresh,
    Listening,
    Open,
}

struct Generator {
    rng: ChaCha8Rng,
    family: Family,
    /// Near and far.
    beliefs: [[Belief; SLOTS]; 2],
    /// Sockets of the side under test that sent, and were connected at the beginning only: of others Linux's answer to SIOCOUTQ is off by one
    /// after a fallback, and chance after `connect` to `AF_UNSPEC` (docs/differences.md).
    sent: [bool; SLOTS],
    connected_anew: [bool; SLOTS],
    /// One side speaks MPTCP, the other TCP.
    is_mixed: bool,
    steps: Vec<String>,
}

impl Generator {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let family = match rng.next_u32() % 6 {
            0 => Family::Inet6,
            1 => Family::Mapped,
            _ => Family::Inet,
        };
        Self {
            rng,
            family,
            beliefs: [[Belief::Nothing; SLOTS]; 2],
            sent: [false; SLOTS],
            connected_anew: [false; SLOTS],
            is_mixed: false,
            steps: Vec::new(),
        }
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.rng.next_u32() % limit
    }

    fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    fn say(&mut self, step: String) {
        self.steps.push(step);
    }

    fn protocol(&mut self) -> &'static str {
        if self.one_in(4) { "tcp" } else { "mptcp" }
    }

    /// A connection, most times: `n0` and `f1` or `n1` and `f0`.
    fn open(&mut self) {
        let (ours, theirs) = (self.protocol(), self.protocol());
        self.is_mixed = ours != theirs;
        let blocking = if self.one_in(5) { " blocking" } else { "" };
        let (client, server) = match self.below(8) {
            0 => return,
            1..=4 => ('n', 'f'),
            _ => ('f', 'n'),
        };
        let kind = |side| if side == 'n' { format!("{ours}{blocking}") } else { theirs.to_owned() };
        self.say(format!("{server}0 socket {}", kind(server)));
        self.some_options(server);
        self.say(format!("{server}0 bind own"));
        self.say(format!("{server}0 listen 5"));
        self.say(format!("{client}0 socket {}", kind(client)));
        self.some_options(client);
        self.say(format!("{client}0 connect {server}0"));
        self.say(format!("{server}1 accept {server}0"));
        let at = usize::from(server == 'f');
        self.beliefs[at][0] = Belief::Listening;
        self.beliefs[at][1] = Belief::Open;
        self.beliefs[1 - at][0] = Belief::Open;
    }

    fn some_options(&mut self, side: char) {
        if self.one_in(3) {
            self.option(side, 0);
        }
    }

    fn option(&mut self, side: char, slot: usize) {
        let option = self.pick(&options::ALL.iter().map(|option| option.name).collect::<Vec<_>>());
        // Linux's listener hands its own SO_RCVLOWAT of 0 to a TCP socket (docs/differences.md).
        if self.one_in(2) && !(self.is_mixed && option == "SO_RCVLOWAT") {
            let len = self.pick(&["", "", "", " 0", " 1", " 2", " 3", " 5", " 8", " 20"]);
            return self.say(format!("{side}{slot} get {option}{len}"));
        }
        let value = match option {
            // Long times would make later calls wait, and a long one lingers on close.
            "SO_LINGER" => self.pick(&[-1, 0]),
            // What the kernel's clock can tell.
            "SO_RCVTIMEO" | "SO_SNDTIMEO" => self.pick(&[20, 40]),
            _ => self.pick(&[0, 1, 2, 7, 100, 255, 1000, 40_000, -1, i32::MIN, i32::MAX]),
        };
        self.say(format!("{side}{slot} set {option} {value}"));
    }

    fn step(&mut self) {
        let is_near = !self.one_in(3);
        let (side, at) = if is_near { ('n', 0) } else { ('f', 1) };
        let slot = self.slot(at);
        let odd = self.one_in(12);
        match self.beliefs[at][slot] {
            Belief::Nothing => self.fill(side, at, slot),
            _ if odd => self.any_call(side, at, slot),
            Belief::Fresh => self.fresh_call(side, at, slot),
            Belief::Listening => self.listener_call(side, at, slot),
            Belief::Open => self.open_call(side, at, slot),
        }
    }

    /// A slot, one in use most times.
    fn slot(&mut self, at: usize) -> usize {
        let used: Vec<usize> = (0..SLOTS).filter(|slot| self.beliefs[at][*slot] != Belief::Nothing).collect();
        if used.is_empty() || self.one_in(10) { self.below(SLOTS as u32) as usize } else { self.pick(&used) }
    }

    fn fill(&mut self, side: char, at: usize, slot: usize) {
        let listeners: Vec<usize> =
            (0..SLOTS).filter(|slot| self.beliefs[at][*slot] == Belief::Listening).collect();
        if !listeners.is_empty() && self.one_in(2) {
            let listener = self.pick(&listeners);
            self.say(format!("{side}{slot} accept {side}{listener}"));
            self.beliefs[at][slot] = Belief::Open;
        } else {
            let protocol = self.protocol();
            let blocking = if side == 'n' && self.one_in(5) { " blocking" } else { "" };
            self.say(format!("{side}{slot} socket {protocol}{blocking}"));
            self.beliefs[at][slot] = Belief::Fresh;
            if side == 'n' {
                self.sent[slot] = false;
                self.connected_anew[slot] = false;
            }
        }
    }

    fn fresh_call(&mut self, side: char, at: usize, slot: usize) {
        match self.below(6) {
            0 => self.bind(side, slot),
            1 => {
                self.say(format!("{side}{slot} listen 5"));
                self.beliefs[at][slot] = Belief::Listening;
            }
            2 => self.option(side, slot),
            _ => self.connect(side, at, slot),
        }
    }

    fn bind(&mut self, side: char, slot: usize) {
        let other = self.below(SLOTS as u32);
        let to = self.pick(&["own", "own", "any", "foreign", "other"]);
        let to = if to == "other" { format!("{side}{other}") } else { to.to_owned() };
        self.say(format!("{side}{slot} bind {to}"));
    }

    fn connect(&mut self, side: char, at: usize, slot: usize) {
        let listeners: Vec<usize> =
            (0..SLOTS).filter(|slot| self.beliefs[1 - at][*slot] == Belief::Listening).collect();
        let to = match self.below(10) {
            0 => String::from("refused"),
            1 if side == 'n' => String::from("silent"),
            2 => String::from("other"),
            3 => String::from("unspec"),
            _ if listeners.is_empty() => String::from("refused"),
            _ => format!("{}{}", if side == 'n' { 'f' } else { 'n' }, self.pick(&listeners)),
        };
        self.say(format!("{side}{slot} connect {to}"));
        if side == 'n' {
            self.sent[slot] = false;
            self.connected_anew[slot] = true;
        }
        self.beliefs[at][slot] = Belief::Open;
    }

    fn listener_call(&mut self, side: char, at: usize, slot: usize) {
        match self.below(8) {
            0 => self.say(format!("{side}{slot} listen 1")),
            1 => self.close(side, at, slot),
            2 => self.option(side, slot),
            3 => self.shutdown(side, slot),
            _ => {
                let free = (0..SLOTS).find(|slot| self.beliefs[at][*slot] == Belief::Nothing);
                match free {
                    Some(free) => {
                        self.say(format!("{side}{free} accept {side}{slot}"));
                        self.beliefs[at][free] = Belief::Open;
                    }
                    None => self.close(side, at, slot),
                }
            }
        }
    }

    fn open_call(&mut self, side: char, at: usize, slot: usize) {
        match self.below(20) {
            0..=5 => self.send(side, slot),
            6..=11 => self.recv(side, slot),
            12..=13 => self.shutdown(side, slot),
            14 => self.close(side, at, slot),
            15..=16 => self.option(side, slot),
            17 => self.ask(side, slot),
            18 => self.connect(side, at, slot),
            _ => {
                let on = self.pick(&["on", "on", "off"]);
                // The peer's calls never wait.
                let on = if side == 'f' { "on" } else { on };
                self.say(format!("{side}{slot} nonblock {on}"));
            }
        }
    }

    fn send(&mut self, side: char, slot: usize) {
        let len = self.pick(&[0, 1, 1, 5, 100, 1000, 2000]);
        let flags = self.pick(&["", "", "", "", " nosignal", " dontwait", " eor"]);
        self.say(format!("{side}{slot} send {len}{flags}"));
        if side == 'n' && len > 0 && !self.connected_anew[slot] {
            self.sent[slot] = true;
        }
    }

    fn recv(&mut self, side: char, slot: usize) {
        let len = self.pick(&[0, 1, 3, 50, 100, 1000, 5000]);
        let flags = self.pick(&[
            "",
            "",
            "",
            " peek",
            " peek",
            " waitall",
            " trunc",
            " dontwait",
            " peek trunc",
            " peek waitall",
            " oob",
            " errqueue",
        ]);
        self.say(format!("{side}{slot} recv {len}{flags}"));
    }

    fn shutdown(&mut self, side: char, slot: usize) {
        let how = self.pick(&["rd", "wr", "wr", "rdwr", "bad"]);
        self.say(format!("{side}{slot} shutdown {how}"));
    }

    fn close(&mut self, side: char, at: usize, slot: usize) {
        // After a fallback Linux does not reset because of data that nobody reads (docs/differences.md).
        if side == 'n' && self.is_mixed {
            self.say(format!("{side}{slot} set SO_LINGER 0"));
        }
        self.say(format!("{side}{slot} close"));
        self.beliefs[at][slot] = Belief::Nothing;
    }

    fn ask(&mut self, side: char, slot: usize) {
        let ask = match self.below(6) {
            0 => "name",
            1 => "peer",
            2 => "ioctl inq",
            3 => "ioctl atmark",
            _ if side == 'n' && !self.sent[slot] => "get SO_ERROR",
            4 => "ioctl outq",
            _ => "ioctl outqnsd",
        };
        self.say(format!("{side}{slot} {ask}"));
    }

    /// Whatever the socket is.
    fn any_call(&mut self, side: char, at: usize, slot: usize) {
        match self.below(7) {
            0 => self.bind(side, slot),
            1 => self.say(format!("{side}{slot} listen 3")),
            2 => self.connect(side, at, slot),
            3 => self.send(side, slot),
            4 => self.recv(side, slot),
            5 => self.shutdown(side, slot),
            _ => self.ask(side, slot),
        }
    }

    fn program(mut self, seed: u64) -> Program {
        self.open();
        let count = 4 + self.below(14);
        (0..count).for_each(|_| self.step());
        Program { title: format!("random {seed}"), family: self.family, steps: self.steps }
    }
}

/// Those that were asked for.
fn seeds() -> Range<u64> {
    let Ok(asked) = std::env::var("POLYTCP_DIFFERENTIAL_SEEDS") else { return SEEDS };
    let (first, end) = asked.split_once("..").expect("POLYTCP_DIFFERENTIAL_SEEDS is A..B");
    first.parse().expect("a number")..end.parse().expect("a number")
}

#[test]
fn random_programs_run_as_on_linux() {
    if !polytcp_lab::require_or_skip() {
        return;
    }
    let programs: Vec<Program> = seeds().map(|seed| Generator::new(seed).program(seed)).collect();
    let found = compare(&programs, |program| program.title.clone(), Program::run);
    differences::judge(programs.iter().map(|program| program.title.clone()), found);
}
