//! The proof that the core needs nothing of the system.
//!
//! `cargo build --manifest-path no-std-proof/Cargo.toml --release`
//!
//! This library defines the panic handler and the global allocator itself. If `std` came in through any dependency,
//! there would be two of each and the build would fail; if the core called into the system, `check.sh`, which also links a
//! program without any library, would find the name among what is not defined here. The C symbols below drive a host through its whole contract, so that nothing of
//! it can be left out.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::String;
use core::alloc::{GlobalAlloc, Layout};
use core::convert::Infallible;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use polytcp_proto::config::HostConfig;
use polytcp_proto::host::{Cidr, ConnectOptions, Host, InterfaceConfig, ListenOptions, Piece};
use polytcp_proto::packet::{InterfaceId, Received};
use polytcp_proto::pm::command::PmCommand;
use polytcp_proto::time::Instant;
use polytcp_wire::virtio::VnetHdr;
use rand_core::{TryCryptoRng, TryRng};

const ARENA_BYTES: usize = 1 << 20;

/// Memory that is given out once and never taken back: enough to link.
struct Arena {
    bytes: core::cell::UnsafeCell<[u8; ARENA_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: each octet of the arena is given out at most once, by an atomic addition.
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena =
    Arena { bytes: core::cell::UnsafeCell::new([0; ARENA_BYTES]), used: AtomicUsize::new(0) };

// SAFETY: blocks do not overlap, are aligned as asked, and live as long as the program.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size().saturating_add(layout.align());
        let start = self.used.fetch_add(size, Ordering::Relaxed);
        if start.saturating_add(size) > ARENA_BYTES {
            return core::ptr::null_mut();
        }
        // SAFETY: `start + size` lies within the arena.
        let block = unsafe { self.bytes.get().cast::<u8>().add(start) };
        let skip = block.align_offset(layout.align());
        // SAFETY: `skip` is less than the alignment, which was added to the size.
        unsafe { block.add(skip) }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    loop {}
}

/// A source of secrets that has none: this program is linked, not run.
struct Counter(u64);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|n| n as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = self.try_next_u64()? as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for Counter {}

/// A host with one interface and a listener; `None` when the addresses are wrong.
#[unsafe(no_mangle)]
pub extern "C" fn polytcp_host_new(now_nanos: u64) -> *mut Host {
    let now = Instant::from_nanos(now_nanos);
    let mut host = Host::new(HostConfig::default(), Box::new(Counter(1)), now);
    let address: Result<Cidr, _> = "10.0.0.1/24".parse();
    let Ok(address) = address else { return core::ptr::null_mut() };
    host.add_interface(
        now,
        InterfaceConfig {
            name: String::from("path0"),
            mtu: 1500,
            segment_bytes_max: 65_535,
            checksum_offload: true,
            addresses: alloc::vec![address],
        },
    );
    let any = core::net::SocketAddr::from(([0, 0, 0, 0], 80));
    if host.listen(&ListenOptions::new(any)).is_err() {
        return core::ptr::null_mut();
    }
    Box::into_raw(Box::new(host))
}

/// One round of the contract: a packet in, a connection out, packets, events and deadline.
///
/// # Safety
/// `host` comes from [`polytcp_host_new`] and is used by nobody else; `packet` points to `len` octets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn polytcp_host_turn(
    host: *mut Host,
    now_nanos: u64,
    packet: *const u8,
    len: usize,
) -> u64 {
    // SAFETY: the caller's promise.
    let (host, packet) = unsafe { (&mut *host, core::slice::from_raw_parts(packet, len)) };
    let now = Instant::from_nanos(now_nanos);
    let bytes = Bytes::copy_from_slice(packet);
    let buffer_bytes = len as u32;
    host.handle_packet(now, InterfaceId(0), Received { vnet: VnetHdr::default(), bytes, buffer_bytes });
    host.handle_timeout(now);
    let remote = core::net::SocketAddr::from(([10, 0, 0, 2], 80));
    if let Ok(id) = host.connect(now, &ConnectOptions::new(remote)) {
        let _ = host.write(now, id, Piece::Fixed(Bytes::from_static(b"hello")));
        let _ = host.read(now, id, usize::MAX);
        let _ = host.shutdown(now, id);
        host.close(now, id);
    }
    let _ = host.command(now, &PmCommand::GetLimits);
    let mut sent = 0;
    while let Some(packet) = host.poll_transmit(now) {
        sent += packet.len() as u64;
    }
    while host.poll_event().is_some() {}
    while host.poll_pm_event().is_some() {}
    sent + host.poll_timeout().map_or(0, Instant::as_nanos)
}
