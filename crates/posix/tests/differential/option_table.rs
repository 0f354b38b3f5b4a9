//! Every option in three states: what is told in places of several lengths, what can be set, and what is told then.

use std::fmt::Write;

use polytcp_posix::libc;

use crate::compare::compare;
use crate::differences;
use crate::scene::{Kind, Scene, State};
use crate::told::told;
use crate::world::{Family, World};

/// Levels, and their options up to which number.
const LEVELS: &[(i32, &str, i32)] = &[
    (libc::SOL_SOCKET, "SOL_SOCKET", 85),
    (libc::SOL_IP, "SOL_IP", 64),
    (libc::SOL_IPV6, "SOL_IPV6", 82),
    (libc::SOL_TCP, "SOL_TCP", 47),
];

const STATES: [State; 3] = [State::Fresh, State::Listening, State::Accepted];

/// Lengths of places for a value.
const PLACES: [usize; 6] = [0, 1, 3, 4, 8, 20];

/// Numbers to be set.
const NUMBERS: [i32; 9] = [0, 1, 2, 100, 255, 256, 40_000, -1, i32::MAX];

/// Options whose values are chance, or tell of the kernel's insides.
const CHANCE: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_PEERNAME),
    (libc::SOL_SOCKET, libc::SO_INCOMING_CPU),
    (libc::SOL_SOCKET, libc::SO_MEMINFO),
    (libc::SOL_SOCKET, libc::SO_COOKIE),
    (libc::SOL_SOCKET, 71), // SO_NETNS_COOKIE
    (libc::SOL_TCP, libc::TCP_TIMESTAMP),
    (libc::SOL_TCP, libc::TCP_CC_INFO),
    (libc::SOL_TCP, libc::TCP_INFO),
];

/// One option of a socket in a state.
struct Cell {
    kind: Kind,
    state: State,
    level: (i32, &'static str),
    number: i32,
}

impl Cell {
    fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for protocol in [libc::IPPROTO_MPTCP, libc::IPPROTO_TCP] {
            for family in [Family::Inet, Family::Inet6] {
                for (level, name, last) in LEVELS {
                    // What the family does not change is tried once.
                    if family == Family::Inet6 && !matches!(*level, libc::SOL_IP | libc::SOL_IPV6) {
                        continue;
                    }
                    for state in STATES {
                        let kind = Kind { protocol, family, blocks: false };
                        let level = (*level, *name);
                        let numbers = (1..=*last).filter(|number| !CHANCE.contains(&(level.0, *number)));
                        cells.extend(numbers.map(|number| Self { kind, state, level, number }));
                    }
                }
            }
        }
        cells
    }

    fn name(&self) -> String {
        let protocol = if self.kind.protocol == libc::IPPROTO_TCP { "TCP" } else { "MPTCP" };
        let family = if self.kind.family == Family::Inet { "" } else { " IPv6" };
        format!("option {} {} {protocol}{family} {:?}", self.level.1, self.number, self.state)
    }

    fn run(&self, world: &World) -> String {
        let scene = Scene::new(world.sides(), self.kind, self.state);
        let side = scene.near();
        let mut text = String::new();
        let get = |len| told(side.getsockopt(scene.fd, self.level.0, self.number, len));
        for len in PLACES {
            let _ = writeln!(text, "  get {len}: {}", get(len));
        }
        let mut set = |what: &str, value: &[u8]| {
            let answer = told(side.setsockopt(scene.fd, self.level.0, self.number, value));
            let _ = writeln!(text, "  set {what}: {answer} {}", get(4));
        };
        for number in NUMBERS {
            set(&number.to_string(), &number.to_ne_bytes());
        }
        set("nothing", &[]);
        set("an octet", &[1]);
        set("three octets", &[1; 3]);
        set("16 octets", &[1; 16]);
        text
    }
}

#[test]
fn every_option_answers_as_on_linux() {
    if !polytcp_lab::require_or_skip() {
        return;
    }
    let cells = Cell::all();
    let found = compare(&cells, Cell::name, Cell::run);
    differences::judge(cells.iter().map(Cell::name), found);
}
