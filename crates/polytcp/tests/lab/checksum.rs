//! DSS checksums: asked for by either side, and what they find when a path changes payload (RFC 8684 §3.1, §3.3, §3.7).

use polytcp_lab::require_or_skip;

use crate::bounded::{bounded, wait_until};
use crate::transfer::{Manner, Way, both};
use crate::world::{Client, Ends, Family, Plan, World};

const BYTES: u64 = 16 << 20;
/// Of a transfer in which something is changed.
const SPOILED_BYTES: u64 = 8 << 20;

/// Which sides ask for checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Kernel,
    Stack,
    Both,
}

fn world(client: Client, family: Family, paths: usize, wish: Wish) -> World {
    let mut plan = Plan::bare(client, family, paths);
    plan.config.mptcp.checksum_enabled = wish != Wish::Kernel;
    if wish != Wish::Stack {
        plan.sysctls.push(("net.mptcp.checksum_enabled", "1"));
    }
    World::new(plan)
}

/// Connects, and lets both ends say something that counts as a right checksum.
fn connect(world: &World) -> Ends {
    let ends = world.connect();
    let greetings = match world.plan.client {
        Client::Stack => [Way::Upload, Way::Download],
        Client::Kernel => [Way::Download, Way::Upload],
    };
    for way in greetings {
        world.transfer(&ends, way, Manner::new(1, 1_000));
    }
    world.await_subflows(&ends, world.plan.links.len());
    let info = ends.kernel.mptcp_info().expect("MPTCP_INFO");
    assert!(info.csum_enabled, "the kernel has no checksums\n{}", world.describe(Some(&ends)));
    assert!(ends.stack.info().expect("info").checksums, "{}", world.describe(Some(&ends)));
    ends
}

fn sound(wish: Wish) {
    if !require_or_skip() {
        return;
    }
    for (client, family) in [(Client::Stack, Family::V4), (Client::Kernel, Family::V6)] {
        for paths in [1, 2] {
            let name = format!("checksums, {wish:?} asks, {client:?} is client, {family:?}, {paths} paths");
            bounded(&name.clone(), move || {
                let world = world(client, family, paths, wish);
                let ends = connect(&world);
                let up = world.transfer(&ends, Way::Upload, Manner::new(2, BYTES));
                let down = world.transfer(&ends, Way::Download, Manner::new(3, BYTES));
                std::thread::scope(|scope| {
                    let up = scope.spawn(|| world.transfer(&ends, Way::Upload, Manner::new(4, BYTES)));
                    world.transfer(&ends, Way::Download, Manner::new(5, BYTES));
                    up.join().expect("no panic");
                });
                world.assert_sound(&ends);
                world.close(&ends, Way::Upload);
                let rates = [up, down].map(|outcome| outcome.mbit_per_sec(BYTES) as u64);
                println!("{name}: {rates:?} Mbit/s up and down");
            });
        }
    }
}

#[test]
fn a_kernel_that_wants_checksums_gets_them() {
    sound(Wish::Kernel);
}

#[test]
fn a_stack_that_wants_checksums_gets_them() {
    sound(Wish::Stack);
}

#[test]
fn both_may_want_checksums() {
    sound(Wish::Both);
}

/// One side's counters of MPTCP.
#[derive(Clone, Copy)]
struct Counts<'a> {
    world: &'a World,
    of_kernel: bool,
}

impl<'a> Counts<'a> {
    /// Those of the receiver and of the sender.
    fn of_both(world: &'a World, way: Way) -> [Self; 2] {
        let kernel_receives = way == Way::Upload;
        [kernel_receives, !kernel_receives].map(|of_kernel| Self { world, of_kernel })
    }

    fn get(self, name: &str) -> i64 {
        let name = format!("MPTcpExt{name}");
        if self.of_kernel {
            self.world.counters().value(&name)
        } else {
            self.world.stack.counters().get(&name).expect("a counter") as i64
        }
    }
}

/// An octet changes on one path of two: its subflow is reset with MP_FAIL, and the data comes on the other.
fn spoiled_on_one_of_two(client: Client) {
    if !require_or_skip() {
        return;
    }
    for way in [Way::Upload, Way::Download] {
        for doomed in [0, 1] {
            let name = format!("path {doomed} of 2 changes an octet, {client:?} is client, {way:?}");
            bounded(&name, move || {
                let world = world(client, Family::V4, 2, Wish::Kernel);
                let ends = connect(&world);
                world.transfer(&ends, way, Manner::new(2, SPOILED_BYTES));
                world.spoilers[doomed].spoil(way, 1);
                world.transfer(&ends, way, Manner::new(3, SPOILED_BYTES));
                let describe = || world.describe(Some(&ends));
                assert_eq!(world.spoilers[doomed].left(way), 0, "nothing was changed\n{}", describe());
                let [receiver, sender] = Counts::of_both(&world, way);
                wait_until(|| sender.get("MPRstRx") >= 1, describe);
                for (name, expected) in
                    [("DataCsumErr", 1), ("MPFailTx", 1), ("DssFallback", 0), ("FallbackFailed", 0)]
                {
                    assert_eq!(receiver.get(name), expected, "the receiver's {name}\n{}", describe());
                }
                assert!(receiver.get("MPRstTx") >= 1, "{}", describe());
                assert_eq!(sender.get("MPFailRx"), 1, "{}", describe());
                assert!(ends.stack.is_mptcp().expect("info"), "{}", describe());
                assert!(!ends.kernel.mptcp_info().expect("MPTCP_INFO").is_fallback(), "{}", describe());
                // The other subflow goes on, both ways.
                world.transfer(&ends, Way::Upload, Manner::new(4, SPOILED_BYTES));
                world.transfer(&ends, Way::Download, Manner::new(5, SPOILED_BYTES));
                world.close(&ends, way);
            });
        }
    }
}

#[test]
fn a_client_loses_a_path_that_changes_payload_and_reads_no_changed_octet() {
    spoiled_on_one_of_two(Client::Stack);
}

#[test]
fn a_server_loses_a_path_that_changes_payload_and_reads_no_changed_octet() {
    spoiled_on_one_of_two(Client::Kernel);
}

/// An octet changes on the only path: both sides say MP_FAIL, and it goes on as plain TCP. `bytes` are what goes with
/// the change and what the infinite mapping comes with.
fn spoiled_on_the_only_path(client: Client, way: Way, bytes: u64) {
    if !require_or_skip() {
        return;
    }
    let name = format!("the only path changes an octet of {bytes}, {client:?} is client, {way:?}");
    bounded(&name, move || {
        let world = world(client, Family::V4, 1, Wish::Kernel);
        let ends = connect(&world);
        world.spoilers[0].spoil(way, 1);
        let manner = Manner::new(2, bytes);
        let (written, read) = match way {
            Way::Upload => both(&ends.stack, &ends.kernel, manner),
            Way::Download => both(&ends.kernel, &ends.stack, manner),
        };
        let describe = || world.describe(Some(&ends));
        let (Ok(written), Ok(read)) = (written, read) else { panic!("{}", describe()) };
        assert_eq!(written.bytes, read.seen.bytes);
        assert!(read.seen.first_wrong.is_some(), "nobody else could send it\n{}", describe());
        let [receiver, sender] = Counts::of_both(&world, way);
        wait_until(|| receiver.get("MPFailRx") == 1, describe);
        world.transfer(&ends, way, Manner::new(3, bytes));
        for (name, expected) in [("DataCsumErr", 1), ("MPFailTx", 1), ("MPFailRx", 1), ("InfiniteMapRx", 1)] {
            assert_eq!(receiver.get(name), expected, "the receiver's {name}\n{}", describe());
        }
        for (name, expected) in [("MPFailRx", 1), ("MPFailTx", 1), ("InfiniteMapTx", 1)] {
            assert_eq!(sender.get(name), expected, "the sender's {name}\n{}", describe());
        }
        assert!(!ends.stack.is_mptcp().expect("info"), "{}", describe());
        assert!(!ends.kernel.tcp_is_mptcp().expect("TCP_IS_MPTCP"), "{}", describe());
        world.transfer(&ends, Way::Upload, Manner::new(4, SPOILED_BYTES));
        world.transfer(&ends, Way::Download, Manner::new(5, SPOILED_BYTES));
        world.close(&ends, way);
    });
}

/// Linux 6.18 sizes the segment with the infinite mapping as if it had no option: a full one exceeds its own MTU and
/// never leaves. So the kernel sends little there.
const LITTLE: u64 = 1_000;

#[test]
fn a_client_goes_on_as_plain_tcp_when_its_only_path_changes_payload() {
    spoiled_on_the_only_path(Client::Stack, Way::Upload, SPOILED_BYTES);
    spoiled_on_the_only_path(Client::Stack, Way::Upload, LITTLE);
    spoiled_on_the_only_path(Client::Stack, Way::Download, LITTLE);
}

#[test]
fn a_server_goes_on_as_plain_tcp_when_its_only_path_changes_payload() {
    spoiled_on_the_only_path(Client::Kernel, Way::Upload, SPOILED_BYTES);
    spoiled_on_the_only_path(Client::Kernel, Way::Upload, LITTLE);
    spoiled_on_the_only_path(Client::Kernel, Way::Download, LITTLE);
}
