//! A short path beside a very long one, with a receive buffer that the long one alone would fill.

use std::num::NonZeroU32;
use std::time::Duration;

use polytcp::io::LinkConfig;
use polytcp_lab::require_or_skip;

use crate::bounded::bounded;
use crate::transfer::{Manner, Way};
use crate::world::{Client, Family, Plan, World};

const BYTES: u64 = 6 << 20;
const RECV_BUFFER_BYTES: u32 = 256 << 10;
/// A whole window per round trip of the long path would take 7.2 s.
const LIMIT: Duration = Duration::from_secs(15);

/// Round trips of 1 ms and 300 ms.
fn links() -> [LinkConfig; 2] {
    [500, 150_000].map(|micros| LinkConfig::new(100_000_000, Duration::from_micros(micros)))
}

fn run(way: Way, long_first: bool) {
    let order = if long_first { "the long path first" } else { "the short path first" };
    let name = format!("1 ms beside 300 ms, {order}, {way:?}");
    bounded(&name.clone(), move || {
        let mut links = links();
        if long_first {
            links.reverse();
        }
        let mut plan = Plan::emulated(Client::Stack, Family::V4, links);
        plan.config.tcp.recv_buffer_bytes = NonZeroU32::new(RECV_BUFFER_BYTES);
        let world = World::new(plan);
        let ends = world.connect();
        // The kernel doubles it.
        ends.kernel.set_receive_buffer(RECV_BUFFER_BYTES as usize / 2).expect("SO_RCVBUF");
        world.transfer(&ends, Way::Upload, Manner::new(1, 1));
        world.await_subflows(&ends, 2);
        let outcome = world.transfer(&ends, way, Manner::new(2, BYTES));
        world.assert_no_faults(&ends);
        let (took, pause) = (outcome.took, outcome.longest_pause.as_millis());
        let carried: Vec<_> = match way {
            Way::Upload => world.logs.iter().map(|log| log.sent.payload_bytes()).collect(),
            Way::Download => world.logs.iter().map(|log| log.received.payload_bytes()).collect(),
        };
        println!("{name}: {took:?}, longest pause {pause} ms, {carried:?}");
        assert!(took <= LIMIT, "took {took:?}\n{}", world.describe(Some(&ends)));
        world.close(&ends, way);
    });
}

#[test]
fn a_long_path_does_not_stall_what_the_stack_sends() {
    if require_or_skip() {
        run(Way::Upload, false);
        run(Way::Upload, true);
    }
}

#[test]
fn a_long_path_does_not_stall_what_the_kernel_sends() {
    if require_or_skip() {
        run(Way::Download, false);
        run(Way::Download, true);
    }
}
