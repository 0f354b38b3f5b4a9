//! How connections end with the kernel at the other end: half-closed, aborted, with unread bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use polytcp_lab::require_or_skip;

use crate::bounded::{bounded, wait_until};
use crate::transfer::{Manner, Way};
use crate::world::{Client, Ends, Family, Plan, World};

/// Runs `test` with both roles on two paths that are joined.
fn joined(name: &str, test: impl Fn(&World, Ends) + Copy + Send + 'static) {
    if !require_or_skip() {
        return;
    }
    for client in [Client::Stack, Client::Kernel] {
        bounded(&format!("{name}, {client:?} is client"), move || {
            let world = World::new(Plan::bare(client, Family::V4, 2));
            let ends = world.connect();
            let greeting = if client == Client::Stack { Way::Upload } else { Way::Download };
            world.transfer(&ends, greeting, Manner::new(1, 1));
            world.await_subflows(&ends, 2);
            test(&world, ends);
            world.await_quiet(0);
        });
    }
}

/// Waits until the kernel has counted `name`.
fn await_counter(world: &World, name: &str) {
    wait_until(|| world.counters().value(name) != 0, || format!("{name}\n{}", world.describe(None)));
}

#[test]
fn a_half_closed_connection_goes_on_the_other_way() {
    joined("half closed by the kernel", |world, ends| {
        ends.kernel.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!((&ends.stack).read(&mut [0; 8]).expect("read"), 0);
        world.transfer(&ends, Way::Upload, Manner::new(2, 8 << 20));
        world.assert_no_faults(&ends);
    });
    joined("half closed by the stack", |world, ends| {
        ends.stack.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!((&ends.kernel).read(&mut [0; 8]).expect("read"), 0);
        world.transfer(&ends, Way::Download, Manner::new(2, 8 << 20));
        world.assert_no_faults(&ends);
    });
}

#[test]
fn an_abort_of_the_stack_reaches_the_kernel_as_fastclose() {
    joined("the stack aborts", |world, ends| {
        ends.stack.abort();
        let error = (&ends.kernel).read(&mut [0; 8]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{}", world.describe(Some(&ends)));
        await_counter(world, "MPTcpExtMPFastcloseRx");
    });
}

#[test]
fn an_abort_of_the_kernel_resets_the_stacks_socket() {
    joined("the kernel aborts", |world, ends| {
        let Ends { stack, kernel, .. } = ends;
        kernel.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(kernel);
        let error = (&stack).read(&mut [0; 8]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{}", world.describe(None));
    });
}

#[test]
fn dropping_a_stream_with_unread_bytes_aborts_it() {
    joined("unread bytes", |world, ends| {
        let Ends { stack, kernel, .. } = ends;
        (&kernel).write_all(b"nobody reads this").expect("write");
        let arrived = || stack.info().is_ok_and(|info| info.recv_buffer_used >= 17);
        wait_until(arrived, || world.describe(None));
        drop(stack);
        let error = (&kernel).read(&mut [0; 8]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{}", world.describe(None));
        await_counter(world, "MPTcpExtMPFastcloseRx");
    });
}

#[test]
fn what_was_written_before_a_drop_is_delivered() {
    joined("dropped after a write", |world, ends| {
        let Ends { stack, kernel, .. } = ends;
        // Written before anybody reads: what the buffers hold at first.
        let bytes = vec![7; 64 << 10];
        (&stack).write_all(&bytes).expect("write");
        drop(stack);
        kernel.shutdown(Shutdown::Write).expect("shutdown");
        let mut got = Vec::new();
        (&kernel).read_to_end(&mut got).expect("read");
        assert!(got == bytes, "{} bytes came\n{}", got.len(), world.describe(None));
    });
}
