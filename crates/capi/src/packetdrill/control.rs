//! The socket by which commands of a script reach the stack.
//!
//! It is a Unix socket with an abstract name, which is the network namespace's and goes with the process. The name is in the
//! environment ([`NAME_VARIABLE`]), which commands inherit from packetdrill. A request is a command's words, each ended by a
//! zero, up to the end of what the client writes; [`Outcome::encode`] tells the answer.

use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::commands::{Commands, Outcome};
use crate::stack::Net;

/// Where commands are told the socket's name.
const NAME_VARIABLE: &str = "POLYTCP_PACKETDRILL_CONTROL";

/// Octets of a request at most: what Linux lets a command line have.
const REQUEST_BYTES_MAX: u64 = 128 << 10;

/// A client that does not say what it wants keeps others waiting no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the socket and serves it on a thread of its own, as long as the stack is there.
///
/// # Errors
/// When there is no descriptor, thread or memory left.
pub(super) fn serve(net: &Arc<Net>) -> io::Result<()> {
    let name = format!("polytcp-packetdrill-{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    // SAFETY: packetdrill has one thread when it loads a library.
    unsafe { std::env::set_var(NAME_VARIABLE, &name) };
    let mut commands = Commands::default();
    let net = Arc::downgrade(net);
    std::thread::Builder::new().name("polytcp-control".to_owned()).spawn(move || {
        for client in listener.incoming().filter_map(Result::ok) {
            if !may_command(&client) {
                continue;
            }
            let Some(net) = Weak::upgrade(&net) else { break };
            // Who went away before the answer wanted none.
            let _ = answer(client, |words| commands.run(&net, words));
        }
    })?;
    Ok(())
}

/// An abstract name has no permissions: whoever is this process's user may, and root.
fn may_command(client: &UnixStream) -> bool {
    // SAFETY: all zeros are a value of it.
    let mut peer: libc::ucred = unsafe { mem::zeroed() };
    let mut len = size_of_val(&peer) as libc::socklen_t;
    let room = (&raw mut peer).cast();
    // SAFETY: there is as much room as is said.
    let told =
        unsafe { libc::getsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, room, &mut len) };
    // SAFETY: it takes nothing.
    told == 0 && (peer.uid == 0 || peer.uid == unsafe { libc::geteuid() })
}

fn answer(mut client: UnixStream, run: impl FnOnce(&[&str]) -> Outcome) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    (&client).take(REQUEST_BYTES_MAX).read_to_end(&mut request)?;
    let request = String::from_utf8_lossy(&request);
    let words: Vec<_> = request.split_terminator('\0').collect();
    client.write_all(&run(&words).encode())
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;

    use super::*;

    #[test]
    fn a_request_is_words_and_gets_an_answer() {
        let (mut ours, theirs) = UnixStream::pair().expect("descriptors");
        assert!(may_command(&theirs), "it is this process");
        ours.write_all(b"ip\0mptcp\0\0endpoint\0").expect("a pair");
        ours.shutdown(Shutdown::Write).expect("a pair");
        answer(theirs, |words| {
            assert_eq!(words, ["ip", "mptcp", "", "endpoint"]);
            Outcome::Done { code: 3, out: "told".to_owned(), error: String::new() }
        })
        .expect("a pair");
        let mut answered = Vec::new();
        ours.read_to_end(&mut answered).expect("a pair");
        assert_eq!(answered, b"\x01\x03\x04\0\0\0told");
    }
}
