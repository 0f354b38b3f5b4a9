//! What a byte costs on its way to the kernel: allocations, and packets written to the device.
//!
//! A binary of its own, since its allocator counts for the whole process.
#![allow(dead_code, reason = "the lab's parts are made for the lab's tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use polytcp_lab::require_or_skip;

#[path = "lab/bounded.rs"]
mod bounded;
#[path = "lab/spoiled.rs"]
mod spoiled;
#[path = "lab/stream_data.rs"]
mod stream_data;
#[path = "lab/transfer.rs"]
mod transfer;
#[path = "lab/watched.rs"]
mod watched;
#[path = "lab/world.rs"]
mod world;

use bounded::bounded;
use transfer::{Manner, Way};
use world::{Client, Family, Plan, World};

/// Until windows, buffers and pools have their size.
const WARM_UP_BYTES: u64 = 32 << 20;
const MEBIBYTES: u64 = 128;
const ALLOCATIONS_PER_MEBIBYTE_MAX: u64 = 64;
const WRITE_BYTES_MIN: u64 = 32 << 10;

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to `System` with the same arguments, which is an allocator; counting touches
// one atomic integer and never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are those of this very call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are those of this very call.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are those of this very call, and `ptr` came from `System`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are those of this very call, and `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Packets with data that the stack wrote so far, and their octets.
fn written(world: &World) -> (u64, u64) {
    let sent = || world.logs.iter().map(|log| &log.sent);
    (sent().map(|d| d.data_packets()).sum(), sent().map(|d| d.data_packet_bytes()).sum())
}

#[test]
fn an_upload_allocates_little_and_writes_large_packets() {
    if !require_or_skip() {
        return;
    }
    for paths in [1, 2] {
        bounded("an upload", move || {
            let world = World::new(Plan::bare(Client::Stack, Family::V4, paths));
            let ends = world.connect();
            world.transfer(&ends, Way::Upload, Manner::new(1, 1));
            world.await_subflows(&ends, paths);
            world.transfer(&ends, Way::Upload, Manner::new(2, WARM_UP_BYTES));
            let (allocations, (packets, bytes)) = (ALLOCATIONS.load(Ordering::Relaxed), written(&world));
            let outcome = world.transfer(&ends, Way::Upload, Manner::new(3, MEBIBYTES << 20));
            let allocations = (ALLOCATIONS.load(Ordering::Relaxed) - allocations) as f64 / MEBIBYTES as f64;
            let (packets_after, bytes_after) = written(&world);
            let mean = (bytes_after - bytes) / (packets_after - packets);
            let rate = outcome.mbit_per_sec(MEBIBYTES << 20);
            println!(
                "{paths} paths: {allocations:.1} allocations per MiB, {mean} octets per write, {rate:.0} Mbit/s"
            );
            assert!(allocations <= ALLOCATIONS_PER_MEBIBYTE_MAX as f64, "{allocations} allocations per MiB");
            assert!(mean >= WRITE_BYTES_MIN, "{mean} octets per write");
        });
    }
}
