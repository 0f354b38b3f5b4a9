//! `polytcp nc`: stdin and stdout over one connection of a stack in the current network namespace.
//!
//! - [`path_spec`]: what `--path` says. [`link`]: what the kernel says about a device that exists.
//! - [`device`]: the devices of the paths. [`relay`]: stdin, stdout and the connection.
//! - [`stats`]: the subflows as JSON.

mod device;
mod link;
mod path_spec;
mod relay;
mod stats;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use polytcp::blocking::{MptcpListener, MptcpStream};
use polytcp::io::CaptureFile;
use polytcp::{HostConfig, Stack};

use self::path_spec::PathSpec;
use crate::Outcome;
use crate::bench::parse_cc;
use crate::failure::Failure;

/// How long delivery of what was written may take once both directions have ended.
const CLOSE_MAX: Duration = Duration::from_secs(30);

/// Netcat over Multipath TCP: stdin to the peer, what the peer sends to stdout.
///
/// The stack lives in this process and has the addresses of the paths; each path is a TUN device of this
/// network namespace, whose other end is the kernel. The end of stdin ends the sending direction; the
/// command ends when both directions have ended, with status 0 if they ended well. Needs root or
/// CAP_NET_ADMIN.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Waits for one connection instead of connecting.
    #[arg(short, long)]
    listen: bool,
    /// Where to connect to, or with -l to listen at: 10.9.0.1:5000 or [fd00::1]:5000.
    #[arg(value_name = "ADDR:PORT", value_parser = parse_destination)]
    destination: SocketAddr,
    /// A path of the stack, once or more; the first one of the peer's family begins the connection.
    ///
    /// NAME is the TUN device, which is made and taken away again unless it exists; one that exists is
    /// used as it is, and stays. ADDR/PREFIX is the stack's address. host=ADDR is the kernel's address
    /// on the device. gw=ADDR is the next hop, which must be on the path's network; a TUN device has
    /// one neighbour, and all packets go to it. mtu=N is 1280 to 65535. rate=20mbit, delay=20ms,
    /// jitter=5ms, loss=0.5% and queue=64k emulate a link in both directions. backup: used when no other path is left. signal:
    /// announced to the peer instead of connected from.
    #[arg(
        long = "path",
        value_name = "NAME=ADDR/PREFIX[,host=ADDR][,gw=ADDR][,mtu=N][,rate=R][,delay=T]\
          [,jitter=T][,loss=P][,queue=N][,backup][,signal]",
        required = true
    )]
    paths: Vec<PathSpec>,
    /// The congestion control.
    #[arg(long, value_name = "NAME", value_parser = parse_cc)]
    cc: Option<String>,
    /// Prints the subflows to stderr at the end.
    #[arg(long, value_enum, value_name = "FORMAT")]
    stats: Option<StatsFormat>,
    /// Writes every packet to a pcapng file.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum StatsFormat {
    /// One JSON object.
    Json,
}

fn parse_destination(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        "not a numeric address with a port, such as 10.9.0.1:5000 or [fd00::1]:5000".to_owned()
    })?;
    if address.port() == 0 { Err("the port must be 1 to 65535".to_owned()) } else { Ok(address) }
}

pub(crate) fn run(args: &Args) -> Outcome {
    check(args)?;
    let capture = args.pcap.as_ref().map(CaptureFile::create).transpose().map_err(|error| {
        let path = args.pcap.as_deref().unwrap_or("".as_ref()).display();
        Failure::setup(format!("cannot write {path}: {error}; give --pcap a file that can be written"))
    })?;
    let result = with_stack(args, capture.as_ref());
    let Some(file) = capture else { return result };
    let flushed = file.flush().map_err(Failure::running("the capture is not complete"));
    result.and(flushed)
}

fn with_stack(args: &Args, capture: Option<&CaptureFile>) -> Outcome {
    let mut config = HostConfig::default();
    if let Some(cc) = &args.cc {
        config.tcp.congestion_control.clone_from(cc);
    }
    let mut builder = Stack::builder().config(config).limits(8, 8);
    for spec in &args.paths {
        builder = builder.device(device::open(spec, capture)?, [spec.address]);
        builder = builder.endpoint(spec.address.address, spec.endpoint_flags());
    }
    let stack = builder.start().map_err(Failure::setting_up("the stack"))?;
    let listener = if args.listen { Some(listen(&stack, args.destination)?) } else { None };
    let stream = match &listener {
        Some(listener) => listener.accept().map_err(Failure::running("accepting"))?.0,
        None => MptcpStream::connect(&stack, args.destination)
            .map_err(Failure::running(format!("connecting to {}", args.destination)))?,
    };
    let mut subflows = stats::Subflows::new(&stack);
    let relayed = relay::run(&stream, &mut subflows);
    if args.stats.is_some() {
        subflows.print(&stream)?;
    }
    relayed?;
    drop(stream);
    drop(listener);
    if stack.wait_idle(CLOSE_MAX) {
        Ok(())
    } else {
        Err(Failure::run("the peer did not confirm the end within 30 s"))
    }
}

fn listen(stack: &Stack, address: SocketAddr) -> Result<MptcpListener, Failure> {
    let listener = MptcpListener::bind(stack, address)
        .map_err(Failure::setting_up(format!("listening at {address}")))?;
    eprintln!("polytcp: listening at {address}");
    Ok(listener)
}

/// What can be told wrong before anything is made.
fn check(args: &Args) -> Result<(), Failure> {
    for (index, spec) in args.paths.iter().enumerate() {
        let before = &args.paths[..index];
        if before.iter().any(|other| other.name == spec.name) {
            return Err(Failure::setup(format!(
                "two paths are called {}: give each a name of its own",
                spec.name
            )));
        }
        if before.iter().any(|other| other.address.address == spec.address.address) {
            let address = spec.address.address;
            return Err(Failure::setup(format!("two paths have {address}: give each an address of its own")));
        }
    }
    let destination = args.destination.ip();
    let own = |address: IpAddr| args.paths.iter().any(|spec| spec.address.address == address);
    if args.listen && !destination.is_unspecified() && !own(destination) {
        return Err(Failure::setup(format!(
            "{destination} is no address of the stack: listen at the address of a --path, or at 0.0.0.0"
        )));
    }
    if !args.listen && (own(destination) || destination.is_unspecified()) {
        return Err(Failure::setup(format!(
            "{destination} cannot be connected to: it is the stack's own; give the peer's address, or -l"
        )));
    }
    if !args.paths.iter().any(|spec| spec.address.address.is_ipv4() == destination.is_ipv4()) {
        let family = if destination.is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(Failure::setup(format!(
            "no --path has an {family} address to reach {destination} from: add one"
        )));
    }
    Ok(())
}
