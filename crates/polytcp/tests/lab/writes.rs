//! Small writes and a reader that pauses, within the configured memory.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use polytcp_lab::require_or_skip;

use crate::bounded::{Raised, bounded, pause};
use crate::stream_data::PIECE_BYTES;
use crate::transfer::{Manner, Outcome, Way};
use crate::world::{Client, Ends, Family, Plan, World};

const NAP: Duration = Duration::from_secs(3);

/// Runs the transfer, and checks what the stack held meanwhile.
fn within_memory(world: &World, ends: &Ends, way: Way, manner: Manner) -> (Outcome, usize) {
    let (over, peak) = (AtomicBool::new(false), AtomicUsize::new(0));
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(world.stack.accounting().buffered_bytes, Ordering::Relaxed);
                pause(Duration::from_millis(2));
            }
        });
        // A transfer that fails must not leave the scope waiting.
        let over = Raised(&over);
        let outcome = world.transfer(ends, way, manner);
        drop(over);
        outcome
    });
    let peak = peak.load(Ordering::Relaxed);
    let tcp = &world.plan.config.tcp;
    let limit = match way {
        Way::Upload => tcp.send_buffer_max_bytes() as usize,
        Way::Download => tcp.recv_buffer_max_bytes() as usize,
    };
    assert!(peak <= limit, "held {peak} bytes of {limit}\n{}", world.describe(Some(ends)));
    (outcome, peak)
}

fn small_writes(way: Way) {
    if !require_or_skip() {
        return;
    }
    for paths in [1, 2] {
        for (write_bytes, bytes) in [(1, 128 << 10), (100, 4 << 20), (1_400, 16 << 20)] {
            let name = format!("{way:?} by writes of {write_bytes}, {paths} paths");
            bounded(&name.clone(), move || {
                let world = World::new(Plan::bare(Client::Stack, Family::V4, paths));
                let ends = world.connect();
                let manner = Manner { write_bytes, ..Manner::new(7, bytes) };
                let (outcome, peak) = within_memory(&world, &ends, way, manner);
                world.assert_no_faults(&ends);
                world.close(&ends, way);
                println!("{name}: {:.0} Mbit/s, held at most {peak}", outcome.mbit_per_sec(bytes));
            });
        }
    }
}

#[test]
fn small_writes_of_the_stack_arrive() {
    small_writes(Way::Upload);
}

#[test]
fn small_writes_of_the_kernel_arrive() {
    small_writes(Way::Download);
}

fn paused_reader(way: Way) {
    if !require_or_skip() {
        return;
    }
    for (paths, write_bytes) in [(1, PIECE_BYTES), (2, 1_400)] {
        let name = format!("{way:?} to a reader that pauses, {paths} paths");
        bounded(&name.clone(), move || {
            let world = World::new(Plan::bare(Client::Stack, Family::V4, paths));
            let ends = world.connect();
            let bytes = 48 << 20;
            let manner = Manner { write_bytes, nap: Some((1 << 20, NAP)), ..Manner::new(8, bytes) };
            let (outcome, peak) = within_memory(&world, &ends, way, manner);
            world.assert_no_faults(&ends);
            world.close(&ends, way);
            let pause = outcome.longest_pause.as_millis();
            println!("{name}: {:?}, longest pause {pause} ms, held at most {peak}", outcome.took);
        });
    }
}

#[test]
fn the_stack_outlasts_a_kernel_that_does_not_read() {
    paused_reader(Way::Upload);
}

#[test]
fn the_kernel_outlasts_a_stack_that_does_not_read() {
    paused_reader(Way::Download);
}
