//! A smaller scenario that still goes wrong in the same way.

use crate::boxes::BoxSpec;
use crate::quantity::Size;
use crate::scenario::{Action, HostSpec, Load, Scenario, Shape, parse_endpoint};

/// Takes parts away from `scenario` as long as `fails` holds for what is left, with at most `runs` tries.
///
/// Only such parts go whose absence cannot make a world fail rightly: a restore goes with its cut, and the
/// first link, which connections begin on, stays.
pub fn shrink(scenario: &Scenario, runs: usize, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut best = scenario.clone();
    let mut left = runs;
    loop {
        let mut is_smaller = false;
        for change in changes(&best) {
            if left == 0 {
                return best;
            }
            let mut smaller = best.clone();
            change(&mut smaller);
            if smaller == best || smaller.check().is_err() {
                continue;
            }
            left -= 1;
            if fails(&smaller) {
                best = smaller;
                is_smaller = true;
                // Places have moved: what else can go is asked anew.
                break;
            }
        }
        if !is_smaller {
            return best;
        }
    }
}

/// What two runs have to have in common to fail in the same way: the line without its numbers.
pub fn kind_of_fault(fault: &str) -> String {
    fault.chars().filter(|c| !c.is_ascii_digit()).collect()
}

type Change = Box<dyn Fn(&mut Scenario)>;

/// Everything that can be taken away, the largest first.
fn changes(scenario: &Scenario) -> Vec<Change> {
    let mut list: Vec<Change> = Vec::new();
    if scenario.traffic.len() > 1 {
        for place in 0..scenario.traffic.len() {
            list.push(Box::new(move |s| {
                s.traffic.remove(place);
            }));
        }
    }
    for place in 1..scenario.links.len() {
        list.push(Box::new(move |s| drop_link(s, place)));
    }
    for place in 0..scenario.events.len() {
        list.push(Box::new(move |s| drop_event(s, place)));
    }
    for link in 0..scenario.links.len() {
        for (is_far, boxes) in [(false, &scenario.links[link].boxes), (true, &scenario.links[link].far_boxes)]
        {
            for place in 0..boxes.len() {
                list.push(Box::new(move |s| {
                    boxes_of(s, link, is_far).remove(place);
                }));
            }
        }
        list.push(Box::new(move |s| s.links[link].up = None));
        list.push(Box::new(move |s| s.links[link].trace = None));
        list.push(Box::new(move |s| s.links[link].mtu = None));
        list.push(Box::new(move |s| s.links[link].offload = None));
        list.push(Box::new(move |s| {
            let Shape { rate, delay, .. } = s.links[link].shape;
            s.links[link].shape = Shape { rate, delay, ..Shape::default() };
        }));
        let fields: [fn(&mut Shape); 9] = [
            |s| s.jitter = None,
            |s| s.reorder = None,
            |s| s.loss = None,
            |s| s.bursts = None,
            |s| s.duplicate = None,
            |s| s.corrupt = None,
            |s| s.queue = None,
            |s| s.codel = None,
            |s| s.delay = None,
        ];
        for clear in fields {
            list.push(Box::new(move |s| clear(&mut s.links[link].shape)));
        }
    }
    for place in 0..scenario.traffic.len() {
        list.push(Box::new(move |s| s.traffic[place].connections = 1));
        list.push(Box::new(move |s| s.traffic[place].connections = s.traffic[place].connections.div_ceil(2)));
        list.push(Box::new(move |s| s.traffic[place].read_rate = None));
        list.push(Box::new(move |s| s.traffic[place].start = Default::default()));
        list.push(Box::new(move |s| halve(&mut s.traffic[place].load)));
    }
    for host in 0..scenario.hosts.len() {
        let fields: [fn(&mut HostSpec); 8] = [
            |h| h.checksum = None,
            |h| h.endpoints.clear(),
            |h| h.congestion_control = None,
            |h| h.scheduler = None,
            |h| (h.send_buffer, h.recv_buffer) = (None, None),
            |h| h.pacing = None,
            |h| h.wrap_within = None,
            |h| h.mptcp = None,
        ];
        for clear in fields {
            list.push(Box::new(move |s| clear(&mut s.hosts[host])));
        }
    }
    list
}

fn boxes_of(scenario: &mut Scenario, link: usize, is_far: bool) -> &mut Vec<BoxSpec> {
    let link = &mut scenario.links[link];
    if is_far { &mut link.far_boxes } else { &mut link.boxes }
}

/// A link goes with its events and the endpoints of its addresses. The others keep their addresses.
fn drop_link(scenario: &mut Scenario, place: usize) {
    for link in 0..scenario.links.len() {
        if let Ok(addresses) = scenario.addresses(link) {
            scenario.links[link].addresses = Some(addresses.map(|cidr| cidr.to_string()));
        }
    }
    let Ok(gone) = scenario.addresses(place) else { return };
    let link = scenario.links.remove(place);
    scenario.events.retain(|event| event.link != link.name);
    for host in &mut scenario.hosts {
        host.endpoints.retain(|text| {
            parse_endpoint(text)
                .is_ok_and(|endpoint| gone.iter().all(|cidr| cidr.address != endpoint.address))
        });
    }
}

/// An event goes; what ends something goes only with its beginning.
fn drop_event(scenario: &mut Scenario, place: usize) {
    let closing = match scenario.events[place].action {
        Action::Cut => Action::Restore,
        Action::Down => Action::Up,
        Action::Restore | Action::Up => return,
        Action::AddAddress(_)
        | Action::RemoveAddress(_)
        | Action::Backup(_)
        | Action::Roam(_)
        | Action::Shape(_)
        | Action::Mtu(_) => {
            scenario.events.remove(place);
            return;
        }
    };
    let event = scenario.events.remove(place);
    let end = scenario.events[place..].iter().position(|e| e.link == event.link && e.action == closing);
    if let Some(end) = end {
        scenario.events.remove(place + end);
    }
}

fn halve(load: &mut Load) {
    let half = |size: &mut Size| size.0 /= 2;
    match load {
        Load::Bulk { up, down } | Load::HalfClose { up, down } => {
            half(up);
            half(down);
        }
        Load::Abort { after, .. } => half(after),
        Load::Request { count, .. } => *count = count.div_ceil(2),
        Load::Stream { lasts, .. } => lasts.0 /= 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn what_does_not_matter_goes_and_what_matters_stays() {
        let has_nat = |s: &Scenario| {
            s.links.iter().any(|l| l.boxes.iter().chain(&l.far_boxes).any(|b| b.kind() == "nat"))
        };
        let world = (0..).map(random::world).find(|w| has_nat(w) && w.events.len() > 1).expect("one of many");
        let small = shrink(&world, 1_000, has_nat);
        assert!(has_nat(&small));
        assert_eq!((small.events.len(), small.traffic.len()), (0, 1));
        assert!(small.links.len() <= 2);
        let boxes: usize = small.links.iter().map(|l| l.boxes.len() + l.far_boxes.len()).sum();
        assert_eq!(boxes, 1);
        assert_eq!(Scenario::parse(&small.to_toml()), Ok(small));
    }

    #[test]
    fn a_cut_never_loses_its_restore() {
        for seed in 0..200 {
            let world = random::world(seed);
            for place in 0..world.events.len() {
                let mut less = world.clone();
                drop_event(&mut less, place);
                let count = |s: &Scenario, action| s.events.iter().filter(|e| e.action == action).count();
                let open = |s: &Scenario| count(s, Action::Cut) as i64 - count(s, Action::Restore) as i64;
                assert!(open(&less) <= open(&world), "seed {seed}");
            }
        }
    }
}
