//! The structures that tell about connections: their sizes, what stays within a caller's place, and the fields that do not depend
//! on chance.

use std::fmt::Write;

use polytcp_posix::{Errno, SOL_MPTCP, libc};

use crate::compare::compare;
use crate::differences;
use crate::scene::{Kind, Scene, State};
use crate::told::told;
use crate::world::{Family, World, settle};

const MPTCP_INFO: i32 = 1;
const MPTCP_TCPINFO: i32 = 2;
const MPTCP_SUBFLOW_ADDRS: i32 = 3;

/// Fields of `struct mptcp_info` that are compared: offset, length, name. The others are keys, numbers from them, and times.
const MPTCP_FIELDS: &[(usize, usize, &str)] = &[
    (0, 6, "subflows and limits"),
    (8, 4, "flags"),
    (41, 2, "endpoints and checksums"),
    (44, 4, "retransmits"),
    (48, 8, "bytes_retrans"),
    (56, 8, "bytes_sent"),
    (64, 8, "bytes_received"),
    (72, 8, "bytes_acked"),
    (80, 2, "subflows_total"),
];

/// Fields of `struct tcp_info` that are compared.
const TCP_FIELDS: &[(usize, usize, &str)] = &[
    (0, 5, "state, ca_state, retransmits, probes, backoff"),
    (24, 4, "unacked"),
    (28, 4, "sacked"),
    (32, 4, "lost"),
    (36, 4, "retrans"),
    (100, 4, "total_retrans"),
    (128, 8, "bytes_received"),
    (144, 4, "notsent_bytes"),
    (200, 8, "bytes_sent"),
    (208, 8, "bytes_retrans"),
];

const STATES: [State; 8] = [
    State::Fresh,
    State::Listening,
    State::Connecting,
    State::Connected,
    State::Accepted,
    State::Unread,
    State::PeerShut,
    State::ShutWrite,
];

struct Cell {
    kind: Kind,
    state: State,
}

impl Cell {
    fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for protocol in [libc::IPPROTO_MPTCP, libc::IPPROTO_TCP] {
            for family in [Family::Inet, Family::Inet6, Family::Mapped] {
                let kind = Kind { protocol, family, blocks: false };
                cells.extend(STATES.map(|state| Self { kind, state }));
            }
        }
        cells
    }

    fn name(&self) -> String {
        let protocol = if self.kind.protocol == libc::IPPROTO_TCP { "TCP" } else { "MPTCP" };
        format!("infos {protocol} {:?} {:?}", self.kind.family, self.state)
    }

    fn run(&self, world: &World) -> String {
        let scene = Scene::new(world.sides(), self.kind, self.state);
        // Data has come and gone, where that is possible.
        let _ = scene.near().send(scene.fd, &[1; 700], 0);
        settle();
        let mut text = String::new();
        let get = |level, name, place: &[u8]| {
            let mut place = place.to_vec();
            scene.near().getsockopt_in(scene.fd, level, name, &mut place).map(|len| (len, place))
        };
        for len in [0, 1, 50, 95, 96, 97, 200] {
            let answer = get(SOL_MPTCP, MPTCP_INFO, &vec![0xee; len]);
            let _ = writeln!(text, "  MPTCP_INFO {len}: {}", fields(answer, MPTCP_FIELDS));
        }
        for len in [0, 1, 8, 100, 280, 281, 400] {
            let answer = get(libc::SOL_TCP, libc::TCP_INFO, &vec![0xee; len]);
            let _ = writeln!(text, "  TCP_INFO {len}: {}", fields(answer, TCP_FIELDS));
        }
        for (name, whole) in [(MPTCP_TCPINFO, 280_u32), (MPTCP_SUBFLOW_ADDRS, 256)] {
            for (len, header, user) in places(whole) {
                let mut place = [[header, 0, 0, user].map(u32::to_ne_bytes).concat(), vec![0; 600]].concat();
                place.truncate(len);
                let answer = get(SOL_MPTCP, name, &place);
                let _ =
                    writeln!(text, "  {name} of {len}, {header}, {user}: {}", array(name, header, answer));
            }
        }
        for place in [[16_u32, 1, 0, 8], [16, 0, 1, 8]] {
            let _ =
                writeln!(text, "  bad: {}", told(get(SOL_MPTCP, 2, &place.map(u32::to_ne_bytes).concat())));
        }
        let _ = writeln!(text, "  unknown: {}", told(get(SOL_MPTCP, 99, &[0; 16])));
        text
    }
}

/// Places that callers may give: how long, where the array begins, and how large its elements are to be.
fn places(whole: u32) -> Vec<(usize, u32, u32)> {
    let end = 16 + whole as usize;
    vec![
        (0, 0, 0),
        (15, 15, 8),
        (16, 15, 8),
        (16, 17, 8),
        (16, 16, 0),
        (16, 16, whole),
        (end - 1, 16, whole),
        (end, 16, whole),
        (end, 16, 8),
        (end, 24, 8),
        (616, 16, whole + 8),
        (616, 40, whole),
        (616, 16, u32::MAX),
    ]
}

/// The fields that fit, in words.
fn fields(answer: Result<(usize, Vec<u8>), Errno>, fields: &[(usize, usize, &str)]) -> String {
    let (len, place) = match answer {
        Ok(answer) => answer,
        Err(error) => return format!("E{}", error.raw_os_error()),
    };
    let mut text = format!("{len}");
    for (offset, size, name) in fields {
        if let Some(value) = place.get(*offset..offset + size).filter(|_| offset + size <= len) {
            let _ = write!(text, " {name} {value:?}");
        }
    }
    // What lies behind is not touched.
    let beyond = place.get(len..).unwrap_or_default();
    let _ = write!(text, " beyond {}", beyond.iter().all(|octet| *octet == 0xee));
    text
}

/// The header, and the elements without ports and times.
fn array(name: i32, header: u32, answer: Result<(usize, Vec<u8>), Errno>) -> String {
    let (len, place) = match answer {
        Ok(answer) => answer,
        Err(error) => return format!("E{}", error.raw_os_error()),
    };
    let mut text = format!("{len} {:?}", place.get(..16));
    let element = place.get(header as usize..len).unwrap_or_default();
    if name == MPTCP_SUBFLOW_ADDRS {
        for end in element.chunks(128) {
            let _ = write!(text, " {:?} {:?}", end.get(..2), end.get(4..32));
        }
    } else {
        let _ = write!(text, " {:?}", element.get(..1));
    }
    text
}

#[test]
fn infos_have_linuxs_layout() {
    if !polytcp_lab::require_or_skip() {
        return;
    }
    let cells = Cell::all();
    let found = compare(&cells, Cell::name, Cell::run);
    differences::judge(cells.iter().map(Cell::name), found);
}
