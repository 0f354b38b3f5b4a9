//! Heap octets, charged to whom they are for: an allocator that counts for the whole binary.
#![allow(unreachable_pub)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// The system's allocator; in front of each allocation it keeps who made it.
struct Charging;

#[global_allocator]
static ALLOCATOR: Charging = Charging;

/// Owners there can be in one binary, [`NOBODY`] among them.
const OWNERS: usize = 16;

/// Octets asked for and not given back, of each owner.
static HELD: [AtomicIsize; OWNERS] = [const { AtomicIsize::new(0) }; OWNERS];
/// The same as glibc's allocator takes them: 8 octets more each, in steps of 16.
static TAKEN: [AtomicIsize; OWNERS] = [const { AtomicIsize::new(0) }; OWNERS];

/// The owner of what no owner asked for.
pub const NOBODY: usize = 0;

thread_local! {
    static AT_WORK: Cell<usize> = const { Cell::new(NOBODY) };
}

fn charge(owner: usize, size: usize, sign: isize) {
    HELD[owner].fetch_add(sign * size as isize, Ordering::Relaxed);
    let taken = (size + 8).next_multiple_of(16).max(32);
    TAKEN[owner].fetch_add(sign * taken as isize, Ordering::Relaxed);
}

/// Octets in front of an allocation, in which its owner stands: they keep its alignment.
fn front_of(layout: Layout) -> usize {
    layout.align().max(size_of::<usize>())
}

fn with_front(layout: Layout) -> Option<Layout> {
    let front = front_of(layout);
    Layout::from_size_align(layout.size().checked_add(front)?, front).ok()
}

// SAFETY: every allocation comes from `System`, with a layout that has room for the owner in front of what was asked
// for and an alignment at least as large. Counting touches atomic integers and a thread-local without destructor, and
// never allocates.
unsafe impl GlobalAlloc for Charging {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(whole) = with_front(layout) else { return std::ptr::null_mut() };
        // SAFETY: `whole` is not empty, since it has room for the owner.
        let start = unsafe { System.alloc(whole) };
        if start.is_null() {
            return start;
        }
        let owner = AT_WORK.try_with(Cell::get).unwrap_or(NOBODY);
        charge(owner, layout.size(), 1);
        // SAFETY: the allocation begins with room for a `usize`, aligned for one.
        unsafe { start.cast::<usize>().write(owner) };
        // SAFETY: `front_of` octets are within the allocation.
        unsafe { start.add(front_of(layout)) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `alloc` gave out `ptr` for this layout, so many octets behind the start.
        let start = unsafe { ptr.sub(front_of(layout)) };
        // SAFETY: `alloc` wrote the owner there.
        let owner = unsafe { start.cast::<usize>().read() };
        charge(owner, layout.size(), -1);
        let Some(whole) = with_front(layout) else { return };
        // SAFETY: `alloc` asked `System` for this very layout, and got `start`.
        unsafe { System.dealloc(start, whole) }
    }
}

/// Runs `f`, and charges what it allocates to `owner`.
pub fn charged<R>(owner: usize, f: impl FnOnce() -> R) -> R {
    let before = AT_WORK.replace(owner);
    let result = f();
    AT_WORK.set(before);
    result
}

/// Octets that `owner` asked for and did not give back.
pub fn held_bytes(owner: usize) -> isize {
    HELD[owner].load(Ordering::Relaxed)
}

/// The same as an allocator rounds them.
pub fn taken_bytes(owner: usize) -> isize {
    TAKEN[owner].load(Ordering::Relaxed)
}
