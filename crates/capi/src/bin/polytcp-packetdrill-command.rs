//! `ip`, `sysctl`, `nstat` and `ss` for the scripts of packetdrill, under whose names it is installed, to be found first in `PATH`.
//!
//! Gives its words to the stack that packetdrill has loaded. What is not for the stack, and everything where no stack is, goes to
//! the next program of that name in `PATH`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// As in the library.
const NAME_VARIABLE: &str = "POLYTCP_PACKETDRILL_CONTROL";

fn main() -> ExitCode {
    let mut words = env::args_os();
    let called = words.next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_owned();
    let arguments: Vec<_> = words.collect();
    match ask(&name, &arguments) {
        Ok(Some(code)) => ExitCode::from(code),
        Ok(None) => ExitCode::from(run_next(&name, &arguments)),
        Err(error) => {
            eprintln!("{}: the stack's socket: {error}", name.display());
            ExitCode::from(1)
        }
    }
}

/// What the stack answered with; `None` where it is not its matter.
fn ask(name: &OsStr, arguments: &[OsString]) -> io::Result<Option<u8>> {
    let Some(socket) = env::var_os(NAME_VARIABLE) else { return Ok(None) };
    let mut stack = UnixStream::connect_addr(&SocketAddr::from_abstract_name(socket.as_bytes())?)?;
    for word in [name].into_iter().chain(arguments.iter().map(OsString::as_os_str)) {
        stack.write_all(&[word.as_bytes(), b"\0"].concat())?;
    }
    stack.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stack.read_to_end(&mut answer)?;
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut off");
    match answer.split_first().ok_or_else(cut)? {
        (0, _) => Ok(None),
        (_, rest) => {
            let (&[code, a, b, c, d], text) = rest.split_first_chunk().ok_or_else(cut)?;
            let out_len = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| cut())?;
            let (out, error) = text.split_at_checked(out_len).ok_or_else(cut)?;
            io::stdout().write_all(out)?;
            io::stderr().write_all(error)?;
            Ok(Some(code))
        }
    }
}

/// Becomes the next program of that name; returns only when there is none.
fn run_next(name: &OsStr, arguments: &[OsString]) -> u8 {
    let own = env::current_exe().and_then(fs::canonicalize).ok();
    let path = env::var_os("PATH").unwrap_or_default();
    let is_other = |file: &PathBuf| fs::canonicalize(file).is_ok_and(|file| Some(file) != own);
    let Some(program) = env::split_paths(&path).map(|dir| dir.join(name)).find(is_other) else {
        eprintln!("{}: no program of this name in PATH", name.display());
        return 127;
    };
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("{}: {error}", program.display());
    126
}
