//! A stream of the stack whose data is passed in chunks, without a copy.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use bytes::Bytes;
use polytcp::blocking::MptcpStream;

use super::end::{End, Receiver};
use super::pump::{Load, Reception};
use crate::pattern::Pattern;

/// See the module. What is sent is memory that the program keeps; what is received is the device's buffers, which nobody
/// looks at unless octets are compared.
pub(super) struct ChunkEnd(pub(super) MptcpStream);

/// Memory that its chunks share.
struct Shared(Arc<Pattern>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl End for ChunkEnd {
    fn send_pattern(&self, load: Load, pattern: &Arc<Pattern>) -> io::Result<()> {
        let whole = Bytes::from_owner(Shared(Arc::clone(pattern)));
        let mut sent = 0;
        while let Some(piece) = load.piece(pattern, sent) {
            self.0.write_chunk(whole.slice_ref(piece))?;
            sent += piece.len() as u64;
        }
        self.0.shutdown(Shutdown::Write)
    }

    fn receive_pattern(&self, load: Load, pattern: &Arc<Pattern>) -> io::Result<Reception> {
        let mut receiver = Receiver::new(load);
        loop {
            let chunk = self.0.read_chunk()?.unwrap_or_default();
            if let Some(reception) = receiver.take(&chunk, pattern)? {
                return Ok(reception);
            }
        }
    }

    fn end(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}
