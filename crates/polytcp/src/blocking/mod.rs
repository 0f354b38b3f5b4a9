//! Sockets that block the thread, with `std::io::Read` and `Write`.

mod listener;
mod stream;

pub use listener::{Incoming, MptcpListener};
pub use stream::MptcpStream;
