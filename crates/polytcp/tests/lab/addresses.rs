//! Addresses, with the kernel at the other end: ports, flag C, withdrawals, priorities.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use polytcp::pm::{AddressId, Endpoint, FlagsTarget, PmCommand};
use polytcp::{EndpointFlags, SubflowState};
use polytcp_lab::require_or_skip;

use crate::bounded::{bounded, wait_until};
use crate::transfer::{Manner, Way};
use crate::world::{Client, Ends, Family, PORT, Plan, World};

const BYTES: u64 = 4 << 20;
const SECOND_PORT: u16 = PORT + 1;

fn run(name: &str, plan: Plan, test: impl FnOnce(&World) + Send + 'static) {
    if require_or_skip() {
        bounded(name, move || test(&World::new(plan)));
    }
}

fn command(world: &World, command: &PmCommand) {
    world.stack.command(command).expect("the stack takes it");
}

/// The endpoint that every world gives its stack for the second path goes.
fn forget_endpoint(world: &World) {
    command(world, &PmCommand::DelAddr { id: AddressId(1), address: None });
}

fn with_port(address: IpAddr) -> Endpoint {
    Endpoint { port: NonZeroU16::new(SECOND_PORT), ..Endpoint::new(address, EndpointFlags::SIGNAL) }
}

/// Connects, lets both sides join, and waits for two subflows.
fn joined(world: &World) -> Ends {
    let ends = world.connect();
    let greeting = match world.plan.client {
        Client::Stack => Way::Upload,
        Client::Kernel => Way::Download,
    };
    world.transfer(&ends, greeting, Manner::new(1, 1));
    world.await_subflows(&ends, 2);
    ends
}

fn works(world: &World, ends: &Ends) {
    world.transfer(ends, Way::Upload, Manner::new(2, BYTES));
    world.transfer(ends, Way::Download, Manner::new(3, BYTES));
    world.assert_sound(ends);
}

fn await_kernel(world: &World, name: &str) {
    wait_until(|| world.counters().value(name) != 0, || format!("{name}\n{}", world.describe(None)));
}

#[test]
fn the_kernel_joins_at_the_port_that_the_stack_announces() {
    run("port of the stack", Plan::bare(Client::Kernel, Family::V4, 2), |world| {
        forget_endpoint(world);
        command(world, &PmCommand::AddAddr(with_port(world.lab.path(1).stack_v4.into())));
        let ends = joined(world);
        let ports: Vec<u16> =
            ends.stack.subflows().expect("subflows").iter().map(|s| s.local.port()).collect();
        assert_eq!(ports, [PORT, SECOND_PORT]);
        assert_eq!(world.counters().value("MPTcpExtMPJoinPortSynAckRx"), 1);
        let ours = world.stack.counters();
        assert_eq!((ours.mp_join_port_syn_rx, ours.mp_join_port_ack_rx), (1, 1));
        assert_eq!((ours.add_addr_tx, ours.echo_add), (1, 1), "{}", world.describe(Some(&ends)));
        works(world, &ends);
    });
}

#[test]
fn the_stack_joins_at_the_port_that_the_kernel_announces() {
    run("port of the kernel", Plan::bare(Client::Stack, Family::V4, 2), |world| {
        forget_endpoint(world);
        let endpoint = with_port(world.lab.path(1).kernel_v4.into());
        world.lab.kernel().endpoint_add(endpoint).expect("the kernel takes it");
        let ends = joined(world);
        let ports: Vec<u16> =
            ends.stack.subflows().expect("subflows").iter().map(|s| s.remote.port()).collect();
        assert_eq!(ports, [PORT, SECOND_PORT]);
        assert_eq!(world.counters().value("MPTcpExtMPJoinPortAckRx"), 1);
        assert_eq!(world.stack.counters().mp_join_port_syn_ack_rx, 1);
        works(world, &ends);
    });
}

/// The stack's endpoint waits for the kernel's announcement and goes there, although its limit is 0.
#[test]
fn the_stack_obeys_the_kernels_flag_c() {
    let mut plan = Plan::bare(Client::Stack, Family::V4, 2);
    plan.sysctls.push(("net.mptcp.allow_join_initial_addr_port", "0"));
    run("flag C of the kernel", plan, |world| {
        command(world, &PmCommand::SetLimits { subflows: Some(8), add_addr_accepted: Some(0) });
        let path = world.lab.path(1).clone();
        let endpoint = Endpoint::new(path.kernel_v4.into(), EndpointFlags::SIGNAL);
        world.lab.kernel().endpoint_add(endpoint).expect("the kernel takes it");
        let ends = joined(world);
        let subflows = ends.stack.subflows().expect("subflows");
        let second = (subflows[1].local.ip(), subflows[1].remote.ip());
        assert_eq!(second, (path.stack_v4.into(), path.kernel_v4.into()));
        assert_eq!(world.stack.counters().mp_join_syn_tx, 1, "none to the initial address");
        works(world, &ends);
    });
}

#[test]
fn the_kernel_obeys_the_stacks_flag_c() {
    let mut plan = Plan::bare(Client::Kernel, Family::V4, 2);
    plan.config.mptcp.allow_join_initial_addr_port = false;
    run("flag C of the stack", plan, |world| {
        let path = world.lab.path(1).clone();
        let endpoint = Endpoint::new(path.kernel_v4.into(), EndpointFlags::SUBFLOW);
        world.lab.kernel().endpoint_add(endpoint).expect("the kernel takes it");
        let ends = joined(world);
        let subflows = ends.stack.subflows().expect("subflows");
        assert_eq!(subflows[1].local.ip(), IpAddr::from(path.stack_v4));
        let ours = world.stack.counters();
        assert_eq!((ours.mp_join_syn_rx, ours.mp_join_rejected), (1, 0));
        works(world, &ends);
    });
}

/// The stack's address becomes a backup, and then goes; the kernel follows.
#[test]
fn the_kernel_follows_a_changed_priority_and_a_withdrawal() {
    run("priority and withdrawal", Plan::bare(Client::Stack, Family::V4, 2), |world| {
        let ends = joined(world);
        let target = FlagsTarget::Id(AddressId(1));
        command(world, &PmCommand::SetFlags { target, flags: EndpointFlags::BACKUP });
        await_kernel(world, "MPTcpExtMPPrioRx");
        works(world, &ends);
        forget_endpoint(world);
        await_kernel(world, "MPTcpExtRmAddr");
        world.await_subflows_of_kernel(&ends, 1);
        world.transfer(&ends, Way::Upload, Manner::new(4, BYTES));
        world.transfer(&ends, Way::Download, Manner::new(5, BYTES));
    });
}

/// Waits until both ends have `total` subflows that are not closed.
fn await_live(world: &World, ends: &Ends, total: usize) {
    world.await_subflows_of_kernel(ends, total);
    let live = || {
        let subflows = ends.stack.subflows().expect("subflows");
        subflows.iter().filter(|s| s.state == SubflowState::Established).count()
    };
    wait_until(|| live() == total, || format!("{total} live subflows\n{}", world.describe(Some(ends))));
}

fn initial(address: Ipv4Addr) -> Endpoint {
    Endpoint { id: Some(AddressId(9)), ..Endpoint::new(address.into(), EndpointFlags::SIGNAL) }
}

/// The initial address goes and comes back: as identifier 0, which no limit counts.
#[test]
fn the_stack_joins_the_kernels_initial_address_that_comes_back() {
    run("initial address of the kernel", Plan::bare(Client::Stack, Family::V4, 2), |world| {
        forget_endpoint(world);
        let kernel = world.lab.kernel();
        let second = Endpoint::new(world.lab.path(1).kernel_v4.into(), EndpointFlags::SIGNAL);
        kernel.endpoint_add(second).expect("the kernel takes it");
        let ends = joined(world);
        let first = initial(world.lab.path(0).kernel_v4);
        kernel.endpoint_add(first).expect("the kernel takes it");
        await_kernel(world, "MPTcpExtEchoAdd");
        kernel.endpoint_delete(AddressId(9)).expect("the kernel forgets it");
        await_live(world, &ends, 1);
        kernel.endpoint_add(first).expect("the kernel takes it again");
        await_live(world, &ends, 2);
        let subflows = ends.stack.subflows().expect("subflows");
        assert!(subflows.iter().any(|s| s.remote.ip() == first.address && s.id > 2), "{subflows:?}");
        world.transfer(&ends, Way::Upload, Manner::new(2, BYTES));
        world.transfer(&ends, Way::Download, Manner::new(3, BYTES));
    });
}

#[test]
fn the_kernel_joins_the_stacks_initial_address_that_comes_back() {
    run("initial address of the stack", Plan::bare(Client::Kernel, Family::V4, 2), |world| {
        let ends = joined(world);
        let first = initial(world.lab.path(0).stack_v4);
        let echoes = world.stack.counters().echo_add;
        command(world, &PmCommand::AddAddr(first));
        let echoed = || world.stack.counters().echo_add > echoes;
        wait_until(echoed, || format!("an echo\n{}", world.describe(Some(&ends))));
        command(world, &PmCommand::DelAddr { id: AddressId(9), address: None });
        await_live(world, &ends, 1);
        command(world, &PmCommand::AddAddr(first));
        await_live(world, &ends, 2);
        world.transfer(&ends, Way::Upload, Manner::new(2, BYTES));
        world.transfer(&ends, Way::Download, Manner::new(3, BYTES));
    });
}
