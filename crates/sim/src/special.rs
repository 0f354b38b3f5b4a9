//! Random worlds about one thing: what the general ones of [`random`](crate::random) hardly ever lead to.
//!
//! | kind | what it leads to |
//! | --- | --- |
//! | clean | paths without loss, which have to be filled |
//! | damage | a box that changes payload, and checksums that find it: MP_FAIL, the infinite mapping |
//! | fast open, cookies | data on the SYN; requests answered without a state |
//! | paths | addresses withdrawn, paths made backup, joins refused |
//! | marks | ECN asked for, and a path that marks every packet |
//! | proxy | a proxy that acknowledges for the receiver, on plain TCP |
//! | size | a router that drops large packets without a word, and hosts that try smaller ones |
//! | routers | a router that says what is too large, of packets that it gets a second time, long after |
//! | idle | long silence, and keepalive |
//! | shut | readers so slow that the window closes, and updates that are lost |
//! | ends | many short connections whose ends travel alone and are lost |

use polytcp_proto::{sched, tcp};

use crate::boxes::{BoxSpec, Ecn, StripFrom, Way};
use crate::expect::{Ending, Expect};
use crate::quantity::{Rate, Share, Size, Span};
use crate::random::{Draw, address};
use crate::scenario::{Action, EventSpec, HostSpec, LinkSpec, Load, Scenario, Shape, TrafficSpec};

/// One seed of so many is such a world.
const ONE_IN: u64 = 8;
/// Share of what its links can carry that a clean world has to reach, in percent: between 60 and 100 round trips long,
/// it spends some ten of them in slow start and in the handshake of its last path.
const FILLED_PERCENT: u64 = 70;
/// A slow reader has all within so many seconds.
const SLOW_READ_SECONDS: u64 = 45;
/// Headers of a full segment, in a thousandth of it: 20 + 20 octets, timestamps, the largest DSS.
const HEADERS_PERMILLE: u64 = 60;

/// The world of a seed, if it is a special one.
pub(crate) fn world(seed: u64) -> Option<Scenario> {
    if seed % ONE_IN != ONE_IN - 1 {
        return None;
    }
    let mut draw = Draw::new(seed ^ 0x7370_6563_6961_6c00);
    Some(match draw.rng.below(14) {
        0..=2 => clean(&mut draw, seed),
        3..=4 => damage(&mut draw, seed),
        5 => fast_open(&mut draw, seed),
        6 => cookies(&mut draw, seed),
        7..=8 => paths(&mut draw, seed),
        9 => marks(&mut draw, seed),
        10 if draw.chance(50) => proxy(&mut draw, seed),
        10 => idle(&mut draw, seed),
        11 => shut(&mut draw, seed),
        12 => ends_alone(&mut draw, seed),
        _ if draw.chance(50) => routers(&mut draw, seed),
        _ => size(&mut draw, seed),
    })
}

/// Links of `mbit` each; what is random in them is their delay.
fn links(draw: &mut Draw, mbits: &[u64]) -> Vec<LinkSpec> {
    let link = |(number, mbit): (u64, &u64)| LinkSpec {
        name: format!("path{number}"),
        between: ["client".to_owned(), "server".to_owned()],
        shape: Shape {
            rate: Some(Rate(mbit * 1_000_000)),
            delay: Some(Span::millis(draw.between(2, 30))),
            ..Shape::default()
        },
        ..LinkSpec::default()
    };
    (1..).zip(mbits).map(link).collect()
}

fn hosts(paths: u64) -> [HostSpec; 2] {
    let mut hosts = ["client", "server"].map(|name| HostSpec {
        name: name.to_owned(),
        // Lost SYNs alone must not take MPTCP from a world.
        syn_retrans_before_tcp_fallback: Some(128),
        ..HostSpec::default()
    });
    hosts[0].endpoints = (2..=paths).map(|number| format!("{} subflow", address(number, false, 2))).collect();
    hosts
}

fn traffic(load: Load) -> TrafficSpec {
    TrafficSpec {
        name: load.kind().to_owned(),
        from: "client".to_owned(),
        to: "server".to_owned(),
        address: None,
        port: None,
        start: Span::default(),
        connections: 1,
        every: Span::default(),
        tcp: false,
        fast_open: false,
        read_rate: None,
        load,
    }
}

/// Some loss, or none.
fn perhaps_lossy(draw: &mut Draw, links: &mut [LinkSpec]) {
    for link in links {
        link.shape.loss = draw.chance(50).then(|| Share(draw.between(0, 15_000) as u32));
    }
}

fn scenario(
    about: &str,
    seed: u64,
    hosts: [HostSpec; 2],
    links: Vec<LinkSpec>,
    traffic: Vec<TrafficSpec>,
    expect: Expect,
) -> Scenario {
    Scenario {
        about: format!("special world: {about}"),
        seed,
        limit: Span::millis(600_000),
        hosts: hosts.into(),
        links,
        traffic,
        events: Vec::new(),
        expect,
    }
}

fn ends(ending: Ending) -> Expect {
    Expect { ending, ..Expect::default() }
}

fn clean(draw: &mut Draw, seed: u64) -> Scenario {
    let count = draw.between(1, 3);
    let mbits: Vec<u64> = (0..count).map(|_| draw.one_of(&[2, 4, 8, 12])).collect();
    let links = links(draw, &mbits);
    let mut hosts = hosts(count);
    for host in &mut hosts {
        host.send_buffer = Some(Size(8 << 20));
        host.recv_buffer = Some(Size(8 << 20));
        host.congestion_control = draw.chance(70).then(|| draw.one_of(tcp::cc::AVAILABLE).to_owned());
        host.scheduler = draw.chance(50).then(|| draw.one_of(sched::AVAILABLE).to_owned());
        host.pacing = draw.chance(25).then_some(false);
        host.checksum = draw.chance(25).then_some(true);
        host.wrap_within = draw.chance(40).then_some(Size(256 << 10));
    }
    let bits_per_sec: u64 = mbits.iter().sum::<u64>() * 1_000_000;
    // Queues that are full double a round trip of at most 60 ms.
    let size = Size(bits_per_sec / 8 * draw.between(7, 12));
    let load = match draw.chance(50) {
        true => Load::Bulk { up: size, down: Size::default() },
        false => Load::Bulk { up: Size::default(), down: size },
    };
    let carried = bits_per_sec / 1_000 * (1_000 - HEADERS_PERMILLE);
    let expect = Expect { goodput_min: Some(Rate(carried * FILLED_PERCENT / 100)), ..ends(Ending::Complete) };
    scenario("clean paths are filled", seed, hosts, links, vec![traffic(load)], expect)
}

fn damage(draw: &mut Draw, seed: u64) -> Scenario {
    let count = draw.between(1, 2);
    let mut links = links(draw, &[4, 4][..count as usize]);
    perhaps_lossy(draw, &mut links);
    let mut hosts = hosts(count);
    let who = draw.between(0, 2) as usize;
    for (place, host) in hosts.iter_mut().enumerate() {
        // One that asks for checksums is enough (RFC 8684 §3.1).
        host.checksum = (place != who).then_some(true);
    }
    let direction = if draw.chance(50) { Way::Up } else { Way::Down };
    let offset = if draw.chance(30) { draw.between(0, 500) } else { draw.between(2_000, 150_000) };
    let last = count as usize - 1;
    links[last].boxes.push(if count == 2 && draw.chance(40) {
        // Data without a mapping, when it is too late to fall back.
        BoxSpec::StripMptcp { from: vec![StripFrom::Data] }
    } else {
        BoxSpec::FlipPayload { direction, offset }
    });
    if draw.chance(30) {
        // A gateway that finds nothing to replace.
        let word = |text: &str| text.to_owned();
        links[last].far_boxes.push(BoxSpec::Gateway {
            direction,
            find: word("polytcp!"),
            replace: word("!"),
        });
    }
    let size = |draw: &mut Draw| Size(draw.between(100_000, 600_000));
    let load = Load::Bulk { up: size(draw), down: size(draw) };
    // Where another path is, nothing that was changed is ever delivered; on the only one it is told.
    let expect = match count {
        1 => Expect { damaged_as_tcp: Some(true), ..ends(Ending::CompletePerhapsTcp) },
        _ => ends(Ending::Complete),
    };
    scenario("payload is changed, and checksums find it", seed, hosts, links, vec![traffic(load)], expect)
}

fn fast_open(draw: &mut Draw, seed: u64) -> Scenario {
    let mut links = links(draw, &[5]);
    // A SYN that was lost goes again without its data.
    links[0].shape.loss = draw.chance(60).then(|| Share(draw.between(0, 80_000) as u32));
    let mut hosts = hosts(1);
    let with = draw.between(0, 4);
    for (place, host) in (0..).zip(&mut hosts) {
        // Now and then one of them only.
        host.fast_open = (place != with).then_some(true);
    }
    if draw.chance(30) {
        // The client needs no cookie to send data (4), and the server one to take it.
        hosts[0].sysctl.tcp_fastopen = Some(5);
    }
    let load = match draw.chance(50) {
        true => Load::Bulk { up: Size(draw.between(1, 20_000)), down: Size(draw.between(0, 20_000)) },
        false => Load::Request {
            request: Size(draw.between(1, 1_000)),
            response: Size(draw.between(1, 5_000)),
            count: draw.between(1, 4),
            think: Span::millis(50),
        },
    };
    let mut traffic = traffic(load);
    traffic.fast_open = true;
    traffic.tcp = draw.chance(50);
    traffic.connections = draw.between(3, 12);
    traffic.every = Span::millis(draw.between(100, 500));
    scenario("data on the SYN", seed, hosts, links, vec![traffic], ends(Ending::CompletePerhapsTcp))
}

fn cookies(draw: &mut Draw, seed: u64) -> Scenario {
    let count = draw.between(1, 2);
    let mut links = links(draw, &[5, 5][..count as usize]);
    perhaps_lossy(draw, &mut links);
    if draw.chance(30) {
        links[0].boxes.push(BoxSpec::Inject { interval: Span::millis(20), packets: 300 });
    }
    let mut hosts = hosts(count);
    hosts[1].syncookies = Some(true);
    let mut traffic =
        traffic(Load::Bulk { up: Size(draw.between(0, 20_000)), down: Size(draw.between(0, 40_000)) });
    traffic.connections = draw.between(2, 30);
    traffic.every = Span::millis(draw.between(0, 100));
    traffic.tcp = draw.chance(30);
    scenario(
        "requests answered with cookies",
        seed,
        hosts,
        links,
        vec![traffic],
        // Who keeps no state resets what comes while the third ACK and the first data are lost, as Linux does.
        ends(Ending::MayFail),
    )
}

fn paths(draw: &mut Draw, seed: u64) -> Scenario {
    let count = draw.between(2, 3);
    let mut links = links(draw, &[2, 2, 2][..count as usize]);
    perhaps_lossy(draw, &mut links);
    let mut hosts = hosts(count);
    if draw.chance(25) {
        hosts[1].subflows = Some(draw.between(0, 1) as u32);
    }
    if draw.chance(25) {
        hosts[0].add_addr_accepted = Some(0);
    }
    if draw.chance(50) {
        hosts[1].endpoints.push(format!("{} signal", address(count, false, 1)));
    }
    if draw.chance(30) {
        hosts[0].endpoints[0].push_str(" backup");
    }
    let size = |draw: &mut Draw| Size(draw.between(200_000, 1_500_000));
    let mut traffic = traffic(Load::Bulk { up: size(draw), down: size(draw) });
    traffic.connections = draw.between(1, 2);
    let mut events = Vec::new();
    for number in 2..=count {
        let own = format!("10.0.{number}.2").parse().expect("an address");
        let action = match draw.rng.below(4) {
            0..=1 => Action::RemoveAddress(own),
            2 => Action::Backup(own),
            _ => continue,
        };
        let at = Span::millis(draw.between(300, 4_000));
        events.push(EventSpec { at, link: format!("path{number}"), action });
    }
    events.sort_by_key(|event| event.at);
    Scenario {
        events,
        ..scenario("paths come and go", seed, hosts, links, vec![traffic], ends(Ending::Complete))
    }
}

fn marks(draw: &mut Draw, seed: u64) -> Scenario {
    let count = draw.between(1, 2);
    let mut links = links(draw, &[3, 6][..count as usize]);
    for link in &mut links {
        link.boxes.push(BoxSpec::Ecn { change: Ecn::MarkAll });
    }
    let mut hosts = hosts(count);
    for host in &mut hosts {
        host.ecn = Some(1);
    }
    let load = Load::Bulk { up: Size(draw.between(0, 100_000)), down: Size(draw.between(20_000, 200_000)) };
    scenario("every packet is marked", seed, hosts, links, vec![traffic(load)], ends(Ending::Complete))
}

fn proxy(draw: &mut Draw, seed: u64) -> Scenario {
    let mut links = links(draw, &[8]);
    perhaps_lossy(draw, &mut links);
    links[0].boxes.push(BoxSpec::Pep { store: Size(draw.between(64 << 10, 512 << 10)) });
    let load = Load::Bulk { up: Size(draw.between(0, 500_000)), down: Size(draw.between(0, 500_000)) };
    let mut traffic = traffic(load);
    // A host that falls back alone does not keep the stream whole: the proxy's acknowledgements have no DATA_ACK.
    traffic.tcp = true;
    scenario("a proxy in between", seed, hosts(1), links, vec![traffic], ends(Ending::Complete))
}

fn idle(draw: &mut Draw, seed: u64) -> Scenario {
    let mut links = links(draw, &[5]);
    perhaps_lossy(draw, &mut links);
    let mut hosts = hosts(1);
    hosts[draw.between(0, 1) as usize].keepalive = Some(Span::millis(5_000));
    let load = Load::Request {
        request: Size(100),
        response: Size(5_000),
        count: draw.between(2, 4),
        think: Span::millis(draw.between(8_000, 180_000)),
    };
    let mut traffic = traffic(load);
    traffic.tcp = draw.chance(50);
    scenario("long silence", seed, hosts, links, vec![traffic], ends(Ending::Complete))
}

fn size(draw: &mut Draw, seed: u64) -> Scenario {
    let mut links = links(draw, &[5]);
    links[0].boxes.push(BoxSpec::BlackHole { mtu: draw.between(1_000, 1_400) as u16 });
    let mut hosts = hosts(1);
    for host in &mut hosts {
        host.mtu_probing = Some(true);
    }
    let load = Load::Bulk { up: Size(draw.between(0, 200_000)), down: Size(draw.between(0, 200_000)) };
    let mut traffic = traffic(load);
    traffic.tcp = draw.chance(50);
    scenario(
        "smaller segments are tried",
        seed,
        hosts,
        links,
        vec![traffic],
        ends(Ending::CompletePerhapsTcp),
    )
}

fn routers(draw: &mut Draw, seed: u64) -> Scenario {
    let mut links = links(draw, &[5]);
    links[0].boxes.push(BoxSpec::TooBig { mtu: draw.between(1_280, 1_450) as u16 });
    // On the way from the server it comes before the router.
    links[0].far_boxes.push(BoxSpec::Replay {
        share: Share(draw.between(100_000, 400_000) as u32),
        delay: Span::millis(draw.between(200, 2_000)),
        late_only: false,
    });
    let load = Load::Bulk { up: Size(draw.between(0, 50_000)), down: Size(draw.between(50_000, 300_000)) };
    let mut traffic = traffic(load);
    traffic.tcp = draw.chance(50);
    scenario("large packets come again, late", seed, hosts(1), links, vec![traffic], ends(Ending::Complete))
}

fn shut(draw: &mut Draw, seed: u64) -> Scenario {
    let count = draw.between(1, 2);
    let mut links = links(draw, &[8, 8][..count as usize]);
    for link in &mut links {
        link.shape.loss = Some(Share(draw.between(20_000, 60_000) as u32));
    }
    let mut hosts = hosts(count);
    for host in &mut hosts {
        host.recv_buffer = Some(Size(draw.between(16 << 10, 32 << 10)));
    }
    // Now and then so slow that the window stays shut until a probe is due.
    let is_slowest = draw.chance(40);
    let (sizes, rates) = if is_slowest { ([40, 80], [8, 40]) } else { ([100, 300], [200, 1_000]) };
    let drawn = draw.between(sizes[0], sizes[1]) * 1_000;
    let is_up = draw.chance(50);
    let is_tcp = draw.chance(30);
    let rate = draw.between(rates[0], rates[1]) * 1_000;
    // Who has closed gives up after 60 s, as Linux does, also when the peer reads on.
    let size = Size(drawn.min(rate / 8 * SLOW_READ_SECONDS));
    let load = match is_up {
        true => Load::Bulk { up: size, down: Size::default() },
        false => Load::Bulk { up: Size::default(), down: size },
    };
    let mut traffic = traffic(load);
    traffic.tcp = is_tcp;
    traffic.read_rate = Some(Rate(rate));
    // All updates of a while are lost, on every path: only a probe learns that the window is open again.
    let mut events = Vec::new();
    let cut = draw.between(200, 2_000);
    let back = cut + draw.between(1_000, 3_000);
    for (at, action) in [(cut, Action::Cut), (back, Action::Restore)] {
        for link in &links {
            events.push(EventSpec { at: Span::millis(at), link: link.name.clone(), action: action.clone() });
        }
    }
    Scenario {
        events,
        ..scenario("a window that closes", seed, hosts, links, vec![traffic], ends(Ending::Complete))
    }
}

fn ends_alone(draw: &mut Draw, seed: u64) -> Scenario {
    let mut links = links(draw, &[8]);
    links[0].shape.loss = Some(Share(draw.between(20_000, 50_000) as u32));
    // The end comes behind data that have left already, and the other host has nothing to send before it: no
    // acknowledgement of anything else brings it again.
    let size = |draw: &mut Draw| Size(draw.between(1, 3_000));
    let mut traffic = traffic(Load::HalfClose { up: size(draw), down: size(draw) });
    traffic.connections = draw.between(10, 30);
    traffic.every = Span::millis(draw.between(0, 50));
    traffic.tcp = draw.chance(15);
    scenario("ends that travel alone", seed, hosts(1), links, vec![traffic], ends(Ending::Complete))
}
