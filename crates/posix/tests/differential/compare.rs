//! Things that are done on both sides, many at once, and what they answered differently.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::differences::Difference;
use crate::world::{World, with_patience};

/// What is done at once; it mostly waits.
const WORKERS: usize = 24;

/// How often as long as usual each attempt waits.
const PATIENCE: [u32; 3] = [1, 4, 16];

/// Runs each of `all` on Linux's sockets and on a stack's, and returns those that differ, in their order.
pub(crate) fn compare<T: Sync>(
    all: &[T],
    name: impl Fn(&T) -> String + Sync,
    run: impl Fn(&T, &World) -> String + Sync,
) -> Vec<Difference> {
    let (linux, stack) = (World::linux(), World::stack());
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(thing) = all.get(index) else { return };
                    // A machine that is busy may be late: only what stays different is.
                    let attempt = |patience: &u32| {
                        let (theirs, ours) =
                            with_patience(*patience, || (run(thing, &linux), run(thing, &stack)));
                        (theirs != ours).then(|| Difference { name: name(thing), theirs, ours })
                    };
                    if let Some(difference) = PATIENCE.iter().map_while(attempt).nth(PATIENCE.len() - 1) {
                        found.lock().expect("no panic").push((index, difference));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no panic");
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, difference)| difference).collect()
}
