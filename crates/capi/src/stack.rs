//! `pt_stack`: stacks of the process, which of them is the default, and how each ends.

use std::ffi::{CStr, c_char, c_int};
use std::io::{self, ErrorKind};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use polytcp::io::{Tun, TunConfig};
use polytcp::pm::PmCommand;
use polytcp::{Stack, StackBuilder};
use polytcp_posix::Sockets;
use rustix::io::Errno;

use crate::boundary::answer;
use crate::config::{AskedForTcp, Config, TunDevice, TunSpec};
use crate::descriptors;
use crate::epoll;
use crate::memory;

/// A Multipath TCP host of its own: its addresses, devices and connections, none of which the kernel knows.
///
/// It works on a thread of its own until `pt_stack_free`. Any thread may use it at any time.
#[allow(non_camel_case_types, reason = "it is a type of C's")]
pub struct pt_stack {
    _opaque: [u8; 0],
}

/// What is behind a `pt_stack`. The program's pointer is only compared, so that one that is not valid any more is found out.
pub(crate) struct Net {
    pub(crate) sockets: Sockets,
    pub(crate) tcp: AskedForTcp,
    devices: Vec<Weak<Tun>>,
    linger: Duration,
    /// The process that made it; a child that was forked has no thread to drive it.
    process: u32,
}

/// Ends that take longer than what was written are ended by force after so much more.
const END_MARGIN: Duration = Duration::from_secs(1);

/// Where the default stack of a program that makes none is told.
const CONFIG_VARIABLE: &str = "POLYTCP_CONFIG";

struct Stacks {
    all: Vec<Arc<Net>>,
    default: Option<Arc<Net>>,
    /// `POLYTCP_CONFIG` was looked at.
    asked: bool,
}

static STACKS: Mutex<Stacks> = Mutex::new(Stacks { all: Vec::new(), default: None, asked: false });

fn stacks() -> MutexGuard<'static, Stacks> {
    STACKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a stack was not made.
struct Refusal {
    errno: Errno,
    text: String,
}

impl Refusal {
    fn of(error: &io::Error) -> Self {
        let errno = match (error.raw_os_error(), error.kind()) {
            (Some(errno), _) => Errno::from_raw_os_error(errno),
            (None, ErrorKind::PermissionDenied) => Errno::PERM,
            (None, ErrorKind::NotFound) => Errno::NOENT,
            (None, ErrorKind::ResourceBusy) => Errno::BUSY,
            (None, ErrorKind::AlreadyExists) => Errno::EXIST,
            (None, ErrorKind::InvalidInput) => Errno::INVAL,
            (None, _) => Errno::IO,
        };
        Self { errno, text: error.to_string() }
    }

    fn invalid(text: String) -> Self {
        Self { errno: Errno::INVAL, text }
    }
}

impl Net {
    fn start(text: &str) -> Result<Arc<Self>, Refusal> {
        let config: Config = text.parse().map_err(Refusal::invalid)?;
        let mut builder = Stack::builder();
        let mut devices = Vec::new();
        for spec in &config.tuns {
            let tun = Arc::new(open_tun(spec).map_err(|error| Refusal::of(&error))?);
            devices.push(Arc::downgrade(&tun));
            builder = builder.device(tun, &spec.addresses);
        }
        Self::run(builder, devices, config)
    }

    /// Starts a stack that has its devices already.
    fn run(builder: StackBuilder, devices: Vec<Weak<Tun>>, config: Config) -> Result<Arc<Self>, Refusal> {
        let Config { tuns: _, endpoints, host, compat, tcp, linger } = config;
        let builder = builder.config(host).linger(linger);
        let stack = builder.start().map_err(|error| Refusal::of(&error))?;
        for endpoint in endpoints {
            stack
                .command(&PmCommand::AddAddr(endpoint))
                .map_err(|error| Refusal::invalid(format!("endpoint {}: {error}", endpoint.address)))?;
        }
        let sockets = Sockets::with_compat(stack, compat);
        Ok(Arc::new(Self { sockets, tcp, devices, linger, process: std::process::id() }))
    }

    /// Makes the default stack of the process, which has none yet, with devices that are the caller's matter.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub(crate) fn make_default(builder: StackBuilder, config: Config) -> Result<Arc<Self>, String> {
        let net = Self::run(builder, Vec::new(), config).map_err(|refusal| refusal.text)?;
        Arc::clone(&net).add(&mut stacks());
        Ok(net)
    }

    fn add(self: Arc<Self>, stacks: &mut Stacks) -> *mut pt_stack {
        let handle = Arc::as_ptr(&self).cast_mut().cast();
        if stacks.default.is_none() {
            stacks.default = Some(Arc::clone(&self));
        }
        stacks.all.push(self);
        static AT_EXIT: Once = Once::new();
        AT_EXIT.call_once(|| {
            // SAFETY: the function may run at any time and does not unwind.
            unsafe { libc::atexit(end_all) };
        });
        handle
    }

    /// Closes what is open and waits until the devices are given back; false where that took too long.
    fn end(self: Arc<Self>) -> bool {
        epoll::forget(&self);
        for descriptor in descriptors::remove_all(&self) {
            // A call that another thread makes on it ends now; the socket is closed after it.
            if Arc::strong_count(&descriptor) > 1 {
                let _ = self.sockets.shutdown(descriptor.fd, libc::SHUT_RDWR);
            }
        }
        let Self { devices, linger, .. } = &*self;
        let (devices, until) = (devices.clone(), Instant::now() + *linger + END_MARGIN);
        drop(self);
        let is_gone = || devices.iter().all(|device| device.strong_count() == 0);
        // At the end of a process a thread can sleep in no other way: what it would wake by is gone already.
        while !is_gone() && Instant::now() < until {
            // SAFETY: no descriptor is given.
            unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
        }
        is_gone()
    }
}

fn open_tun(spec: &TunSpec) -> io::Result<Tun> {
    let mut config = TunConfig::default();
    config.mtu = spec.mtu.unwrap_or(config.mtu);
    match &spec.device {
        TunDevice::Named(name) => Tun::open(Some(name), config),
        TunDevice::Open(fd) => {
            // SAFETY: it takes a number, and gives another descriptor or an error.
            let copy = unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, 0) };
            if copy < 0 {
                let error = io::Error::last_os_error();
                return Err(io::Error::new(error.kind(), format!("TUN descriptor {fd}: {error}")));
            }
            // SAFETY: it was opened above, and nobody else knows it.
            Tun::adopt(unsafe { OwnedFd::from_raw_fd(copy) }, config)
        }
    }
}

/// The stack of a pointer.
///
/// # Errors
/// `EINVAL` where it is none, or not any more.
pub(crate) fn of(stack: *mut pt_stack) -> Result<Arc<Net>, Errno> {
    find(&stacks(), stack).ok_or(Errno::INVAL)
}

fn find(stacks: &Stacks, stack: *mut pt_stack) -> Option<Arc<Net>> {
    stacks.all.iter().find(|net| Arc::as_ptr(net).cast() == stack.cast_const()).map(Arc::clone)
}

/// The default stack; made from the environment where the program has made none.
///
/// # Errors
/// `ENETDOWN` where there is none; what its configuration is refused with, once.
pub(crate) fn default() -> Result<Arc<Net>, Errno> {
    let stacks = &mut *stacks();
    if let Some(net) = &stacks.default {
        return Ok(Arc::clone(net));
    }
    if std::mem::replace(&mut stacks.asked, true) {
        return Err(Errno::NETDOWN);
    }
    // SAFETY: it asks for a number that the kernel gave the process at its start.
    let is_privileged = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    // Whoever starts a program with more privileges than he has must not choose its network.
    let text = std::env::var(CONFIG_VARIABLE).ok().filter(|_| !is_privileged).ok_or(Errno::NETDOWN)?;
    let net = Net::start(&text).map_err(|refusal| {
        eprintln!("libpolytcp: POLYTCP_CONFIG: {}", refusal.text);
        refusal.errno
    })?;
    Arc::clone(&net).add(stacks);
    Ok(net)
}

extern "C" fn end_all() {
    let end = || {
        descriptors::leave_numbers_to_the_kernel();
        let ended = {
            let stacks = &mut *stacks();
            stacks.default = None;
            std::mem::take(&mut stacks.all)
        };
        for net in ended {
            // In a child that was forked it is a copy, of which nobody may tell the parent's peers anything.
            if net.process == std::process::id() {
                net.end();
            } else {
                std::mem::forget(net);
            }
        }
        Ok(0)
    };
    let _: c_int = answer(end);
}

/// Makes a stack and starts it. The first one of the process becomes the default, on which pt_socket() makes its sockets.
///
/// config says what it is made of: settings, one in each line or separated by ';'. From '#' to the end of a line is comment.
///
///     tun NAME ADDRESS/PREFIX... [mtu OCTETS]
///         A path, at least one: the TUN device NAME, which is made unless it exists (needs CAP_NET_ADMIN), and the stack's
///         addresses on it. The kernel is at the other end; its address there is the administrator's matter. "fd:N" instead of
///         NAME: the open descriptor N of a TUN device that was set up with IFF_NO_PI and IFF_VNET_HDR; the stack uses a
///         duplicate of it. mtu is 1280 to 65535, default 1500.
///     endpoint add ADDRESS [port N] [id N] [signal] [subflow] [backup] [fullmesh] [laminar]
///         As "ip mptcp endpoint add" of Linux. Give "subflow" to each address that further subflows are to come from.
///     limits set [subflows N] [add_addr_accepted N]
///         As "ip mptcp limits set", 0 to 8. Default 2 and 0.
///     net.mptcp.enabled = 0|1
///         1, the default: sockets may be MPTCP. 0: IPPROTO_MPTCP is refused with ENOPROTOOPT.
///     net.ipv4.tcp_congestion_control = NAME
///         Default cubic; balia, bbr, lia, olia and reno are there too.
///     net.ipv4.tcp_rmem = BYTES BYTES BYTES, and all others of docs/sysctls.md of the project
///         As the sysctls of Linux of these names.
///     compat extended|linux
///         Which options an MPTCP socket takes: all that mean something, the default; or those of Linux 6.18, with its errors.
///     mptcpize
///         pt_socket() makes MPTCP sockets for programs that ask for TCP.
///     linger SECONDS
///         How long pt_stack_free() and exit() wait until what was written is delivered. Default 5.
///
/// error, unless it is NULL, is room for error_len octets that takes one line, cut to what fits, which says what was wrong; the
/// empty text if nothing was. 256 octets are enough for most.
///
/// Returns the stack, or NULL and errno: EFAULT (config is NULL), EINVAL (config is wrong), EPERM, EBUSY (a device is not to
/// be had), and what the system says when it has no descriptor, thread or memory left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pt_stack_new(
    config: *const c_char,
    error: *mut c_char,
    error_len: usize,
) -> *mut pt_stack {
    answer(|| {
        let made = if config.is_null() {
            Err(Refusal { errno: Errno::FAULT, text: "the configuration is a null pointer".to_owned() })
        } else {
            // SAFETY: by the header's contract it ends with a zero.
            let text = unsafe { CStr::from_ptr(config) };
            match text.to_str() {
                Ok(text) => Net::start(text),
                Err(_) => Err(Refusal::invalid("the configuration is not UTF-8".to_owned())),
            }
        };
        let text = made.as_ref().err().map_or("", |refusal| &refusal.text);
        // SAFETY: by the header's contract there is that much room.
        if let Some(room) = unsafe { memory::room(error.cast(), error_len) } {
            tell(text, room);
        }
        let net = made.map_err(|refusal| refusal.errno)?;
        Ok(net.add(&mut stacks()))
    })
}

/// Writes a text that ends with a zero, as much of it as fits, on one line.
fn tell(text: &str, room: &mut [u8]) {
    let Some(last) = room.len().checked_sub(1) else { return };
    let mut len = text.len().min(last);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    room[..len].copy_from_slice(&text.as_bytes()[..len]);
    room[..len].iter_mut().filter(|octet| octet.is_ascii_control()).for_each(|octet| *octet = b' ');
    room[len] = 0;
}

/// Ends a stack: closes its sockets, waits until their peers have what was written (the setting "linger"), and gives its
/// devices back. Calls that other threads make on its sockets end. The pointer is not valid any more; if it was the default,
/// there is none now. NULL is no stack, and nothing is done.
///
/// exit() and a return from main() do this for every stack that is left; a process that ends otherwise leaves its peers alone.
///
/// Returns 0, or -1 and errno: EINVAL (not a stack), ETIMEDOUT (something was not delivered, or a thread still uses it).
#[unsafe(no_mangle)]
pub extern "C" fn pt_stack_free(stack: *mut pt_stack) -> c_int {
    answer(|| {
        if stack.is_null() {
            return Ok(0);
        }
        let net = {
            let stacks = &mut *stacks();
            let net = find(stacks, stack).ok_or(Errno::INVAL)?;
            stacks.all.retain(|other| !Arc::ptr_eq(other, &net));
            stacks.default.take_if(|default| Arc::ptr_eq(default, &net));
            net
        };
        if net.end() { Ok(0) } else { Err(Errno::TIMEDOUT) }
    })
}

/// Makes a stack the default, on which pt_socket() makes its sockets. NULL: none is.
///
/// Returns 0, or -1 and errno: EINVAL (not a stack).
#[unsafe(no_mangle)]
pub extern "C" fn pt_stack_set_default(stack: *mut pt_stack) -> c_int {
    answer(|| {
        let stacks = &mut *stacks();
        let net = match stack.is_null() {
            true => None,
            false => Some(find(stacks, stack).ok_or(Errno::INVAL)?),
        };
        stacks.default = net;
        // The program knows what it does: the environment is not asked any more.
        stacks.asked = true;
        Ok(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, len: usize) -> Vec<u8> {
        let mut room = vec![0xff; len];
        tell(text, &mut room);
        room
    }

    #[test]
    fn a_text_is_cut_to_its_room() {
        assert_eq!(told("wrong", 8), b"wrong\0\xff\xff");
        assert_eq!(told("wrong", 4), b"wro\0");
        assert_eq!(told("w\u{e9}", 3), b"w\0\xff");
        assert_eq!(told("a\nb", 4), b"a b\0");
        assert_eq!(told("wrong", 0), b"");
    }

    #[test]
    fn a_wrong_configuration_is_told_with_errno() {
        let mut error: [c_char; 64] = [0x7f; 64];
        // SAFETY: the text ends with a zero, and the room is as long as said.
        let stack = unsafe { pt_stack_new(c"turbo".as_ptr(), error.as_mut_ptr(), error.len()) };
        assert!(stack.is_null());
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
        // SAFETY: what was told ends with a zero.
        let text = unsafe { CStr::from_ptr(error.as_ptr()) }.to_str().expect("text");
        assert!(text.starts_with("`turbo`: `turbo` is none of"), "{text}");
        // SAFETY: null pointers are allowed.
        assert!(unsafe { pt_stack_new(std::ptr::null(), std::ptr::null_mut(), 0) }.is_null());
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EFAULT));
    }

    #[test]
    fn what_is_no_stack_is_refused() {
        let nothing = std::ptr::without_provenance_mut(0x1000);
        assert_eq!(pt_stack_free(nothing), -1);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(pt_stack_set_default(nothing), -1);
        assert_eq!(pt_stack_free(std::ptr::null_mut()), 0);
    }
}
