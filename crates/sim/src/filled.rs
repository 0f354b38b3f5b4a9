//! Random worlds that have to fill their links: which ones, and how far.
//!
//! Any world that must complete and has nothing that rightly slows a transfer down is judged; few drawn by chance are
//! like that, so some are made so.

use std::num::NonZeroU64;

use polytcp_netem::{LinkConfig, Order, QueueDiscipline, Ratio};
use polytcp_proto::pm::command::EndpointFlags;

use crate::boxes::BoxSpec;
use crate::expect::Ending;
use crate::quantity::{Rate, Size, Span};
use crate::random::Draw;
use crate::scenario::{Load, Scenario, Shape, TrafficSpec, parse_endpoint};

/// Share of what its links can carry that such a world has to reach, in percent: what else there is, slow start, the
/// handshake of its last path, and the last data on the slowest one, is a small part of [`NANOS_MIN`].
const FILLED_PERCENT: u64 = 70;
/// Headers of a full segment, in a thousandth of it: 40 + 20 octets, timestamps, the largest DSS, in 1,280 octets.
const HEADERS_PERMILLE: u64 = 80;
/// A transfer lasts so many round trips without queues, and so many full queues.
const NANOS_MIN: [u64; 2] = [60, 10];
/// Acknowledgements take at most this part of what they acknowledge, in octets.
const ACKS_ONE_IN: u64 = 10;
/// What may go the other way meanwhile, in octets.
const OTHER_WAY_MAX: u64 = 20_000;
/// Rates of links that are made for this.
const MBITS: [u64; 4] = [1, 2, 4, 6];

/// What the paths of a transfer have to offer.
struct Paths {
    /// Of those that it has to use, without headers.
    bits_per_sec: u64,
    /// The longest round trip without queues.
    round_trip_nanos: u64,
    /// The longest wait in full queues, both ways.
    queue_nanos: u64,
    /// What all links and queues hold together.
    octets: u64,
}

/// Nothing but the rate limits a flow there.
fn is_even(config: &LinkConfig) -> bool {
    let LinkConfig {
        rate_bits_per_sec,
        delay: _,
        jitter: _,
        order,
        loss,
        burst_loss,
        duplicate,
        corrupt,
        discipline,
        queue_bytes,
        packets_max: _,
    } = config;
    rate_bits_per_sec.is_some()
        && [loss, duplicate, corrupt].iter().all(|share| **share == Ratio::ZERO)
        && *order == Order::Kept
        && burst_loss.is_none()
        && matches!(discipline, QueueDiscipline::TailDrop)
        && queue_bytes.is_none()
}

/// Boxes that cost nothing worth mentioning.
fn is_free(spec: &BoxSpec) -> bool {
    match spec {
        BoxSpec::Nat { .. }
        | BoxSpec::RewriteIsn {}
        | BoxSpec::Ecn { .. }
        | BoxSpec::TooBig { .. }
        | BoxSpec::Inject { .. }
        | BoxSpec::Coalesce { same_options: true, .. } => true,
        BoxSpec::Coalesce { .. }
        | BoxSpec::Split { .. }
        | BoxSpec::StripMptcp { .. }
        | BoxSpec::StripUnknown {}
        | BoxSpec::DropMptcpSyn {}
        | BoxSpec::BlackHole { .. }
        | BoxSpec::Pep { .. }
        | BoxSpec::Replay { .. }
        | BoxSpec::FlipPayload { .. }
        | BoxSpec::Gateway { .. } => false,
    }
}

/// Paths for data to the first hosts of the links, or from them.
fn paths(world: &Scenario, is_down: bool, is_tcp: bool) -> Option<Paths> {
    let endpoints: Vec<_> = world.hosts[0].endpoints.iter().filter_map(|e| parse_endpoint(e).ok()).collect();
    let mut all = Paths { bits_per_sec: 0, round_trip_nanos: 0, queue_nanos: 0, octets: 0 };
    for (place, link) in world.links.iter().enumerate() {
        let configs = link.configs(link.shape);
        let rates = configs.map(|config| config.rate_bits_per_sec.map_or(0, NonZeroU64::get));
        let [data, acks] = if is_down { [rates[1], rates[0]] } else { rates };
        let is_judged = configs.iter().all(is_even)
            && link.traces().is_ok_and(|traces| traces == [None, None])
            && link.boxes.iter().chain(&link.far_boxes).all(is_free)
            && acks >= data / ACKS_ONE_IN;
        if !is_judged {
            return None;
        }
        let own = world.addresses(place).ok()?[0].address;
        let is_joined =
            endpoints.iter().any(|e| e.address == own && !e.flags.contains(EndpointFlags::BACKUP));
        if place == 0 || is_joined && !is_tcp {
            all.bits_per_sec += data / 1_000 * (1_000 - HEADERS_PERMILLE);
        }
        let nanos = |config: &LinkConfig| u64::try_from((config.delay + config.jitter).as_nanos()).ok();
        let round_trip = nanos(&configs[0])? + nanos(&configs[1])?;
        let waits = configs.iter().zip(rates).map(|(config, rate)| {
            u128::from(config.queue_limit_bytes()) * 8_000_000_000 / u128::from(rate.max(1))
        });
        let queue = u64::try_from(waits.sum::<u128>()).ok()?;
        all.round_trip_nanos = all.round_trip_nanos.max(round_trip);
        all.queue_nanos = all.queue_nanos.max(queue);
        all.octets += (u128::from(data) * u128::from(round_trip + queue) / 8_000_000_000) as u64;
    }
    Some(all)
}

impl Paths {
    /// How long a transfer has to last.
    fn nanos_min(&self) -> u64 {
        NANOS_MIN[0] * self.round_trip_nanos + NANOS_MIN[1] * self.queue_nanos
    }
}

/// What a world has to reach, if its links and nothing else limit it.
pub(crate) fn goodput_min(world: &Scenario) -> Option<Rate> {
    let [TrafficSpec { load: Load::Bulk { up, down }, connections: 1, read_rate: None, start, tcp, .. }] =
        &world.traffic[..]
    else {
        return None;
    };
    if world.expect.ending != Ending::Complete || !world.events.is_empty() {
        return None;
    }
    // Taking turns, uneven paths get the same, as far as buffers hold it.
    let takes_turns = world.hosts.iter().any(|host| host.scheduler.as_deref() == Some("roundrobin"));
    if takes_turns && world.links.len() > 1 && !tcp {
        return None;
    }
    if world.hosts.iter().any(|host| host.sysctl.tcp_sack == Some(false)) {
        // Several losses of one window take as many round trips.
        return None;
    }
    let (size, other) = (up.0.max(down.0), up.0.min(down.0));
    let paths = paths(world, down.0 > up.0, *tcp)?;
    let buffers = world.hosts.iter().flat_map(|host| [host.send_buffer, host.recv_buffer]).flatten();
    // A lost segment holds back what comes in the round trip in which it is sent again.
    let is_roomy = buffers.map(|size| size.0).all(|octets| octets >= 2 * paths.octets);
    let at_best = u128::from(size) * 8_000_000_000 / u128::from(paths.bits_per_sec.max(1));
    if !is_roomy || other > OTHER_WAY_MAX || at_best < u128::from(paths.nanos_min()) {
        return None;
    }
    // Goodput counts from the start of the world on.
    let nanos = u128::from(start.0) + at_best * 100 / u128::from(FILLED_PERCENT);
    u64::try_from(u128::from(size) * 8_000_000_000 / nanos).ok().map(Rate)
}

/// Takes from a world what rightly slows a transfer down, and gives it one that is long enough.
pub(crate) fn make(draw: &mut Draw, world: &mut Scenario) {
    for link in &mut world.links {
        let rate = draw.one_of(&MBITS) * 1_000_000;
        link.shape = Shape {
            rate: Some(Rate(rate)),
            delay: Some(Span::millis(draw.between(0, 40))),
            jitter: link.shape.jitter.filter(|_| link.shape.reorder.is_none()),
            ..Shape::default()
        };
        link.trace = None;
        // Whichever way the data goes.
        link.up = link
            .up
            .filter(|up| up.rate.is_some_and(|up| up.0 >= rate / ACKS_ONE_IN && up.0 / ACKS_ONE_IN <= rate));
        link.boxes.retain(is_free);
        link.far_boxes.retain(is_free);
    }
    for host in &mut world.hosts {
        let size = draw.chance(50).then_some(Size(8 << 20));
        (host.send_buffer, host.recv_buffer) = (size, size);
    }
    world.events.clear();
    world.traffic.truncate(1);
    let traffic = &mut world.traffic[0];
    (traffic.connections, traffic.read_rate) = (1, None);
    traffic.every = Span::default();
    let is_down = draw.chance(50);
    let is_tcp = traffic.tcp;
    if let Some(paths) = paths(world, is_down, is_tcp) {
        let nanos = u128::from(paths.nanos_min()) + u128::from(draw.between(1, 3_000)) * 1_000_000;
        let size = u64::try_from(u128::from(paths.bits_per_sec) * nanos / 8_000_000_000).unwrap_or_default();
        let [up, down] = if is_down { [0, size] } else { [size, 0] };
        world.traffic[0].load = Load::Bulk { up: Size(up), down: Size(down) };
        world.traffic[0].name = "bulk 1".to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn some_worlds_have_to_fill_their_links_and_a_lossy_one_does_not() {
        let judged = |seed: &u64| seed % 8 != 7 && random::world(*seed).expect.goodput_min.is_some();
        let seeds: Vec<u64> = (0..1_000).filter(judged).collect();
        assert!(seeds.len() >= 10, "{seeds:?}");
        let mut world = random::world(seeds[0]);
        assert_eq!(goodput_min(&world), world.expect.goodput_min);
        world.links[0].shape.loss = Some(crate::quantity::Share(100));
        assert_eq!(goodput_min(&world), None);
    }
}
