//! The reading and the writing half of a stream, borrowed or owned.

use std::fmt;
use std::ops::Deref;

use crate::socket::Socket;
use crate::stream::MptcpStream;

/// The reading half of a stream, by [`MptcpStream::split`]. Derefs to the stream for everything else.
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a MptcpStream);

/// The writing half of a stream, by [`MptcpStream::split`]. Derefs to the stream for everything else.
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a MptcpStream);

/// The reading half of a stream, by [`MptcpStream::into_split`]. Derefs to the stream for everything else.
#[derive(Debug)]
pub struct OwnedReadHalf(MptcpStream);

/// The writing half of a stream, by [`MptcpStream::into_split`]. Derefs to the stream for everything else.
///
/// Dropping it ends the sending direction, as [`MptcpStream::close_write`] does.
#[derive(Debug)]
pub struct OwnedWriteHalf(MptcpStream, OnDrop);

/// Whether a writing half ends the sending direction when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OnDrop {
    CloseWrite,
    Nothing,
}

impl<'a> ReadHalf<'a> {
    pub(crate) fn new(stream: &'a MptcpStream) -> Self {
        Self(stream)
    }
}

impl<'a> WriteHalf<'a> {
    pub(crate) fn new(stream: &'a MptcpStream) -> Self {
        Self(stream)
    }
}

impl OwnedReadHalf {
    pub(crate) fn new(stream: MptcpStream) -> Self {
        Self(stream)
    }

    /// The stream again, from its two halves.
    ///
    /// # Errors
    /// Gives the halves back when they are of different streams.
    pub fn reunite(self, mut write: OwnedWriteHalf) -> Result<MptcpStream, ReuniteError> {
        if !self.0.is_same_connection(&write.0) {
            return Err(ReuniteError { read: self, write });
        }
        write.1 = OnDrop::Nothing;
        Ok(self.0)
    }
}

impl OwnedWriteHalf {
    pub(crate) fn new(stream: MptcpStream) -> Self {
        Self(stream, OnDrop::CloseWrite)
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.1 == OnDrop::CloseWrite {
            // A connection that has failed is closed already.
            let _ = self.0.close_write();
        }
    }
}

/// Two halves that are not of one stream.
#[derive(Debug)]
pub struct ReuniteError {
    /// The reading half.
    pub read: OwnedReadHalf,
    /// The writing half.
    pub write: OwnedWriteHalf,
}

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are of different streams")
    }
}

impl std::error::Error for ReuniteError {}

macro_rules! half {
    ([$($lifetime:tt)*] $half:ty) => {
        impl $($lifetime)* Deref for $half {
            type Target = MptcpStream;

            fn deref(&self) -> &MptcpStream {
                &self.0
            }
        }

        impl $($lifetime)* $half {
            pub(crate) fn socket(&self) -> &Socket {
                self.0.socket()
            }
        }
    };
}

half!([<'a>] ReadHalf<'a>);
half!([<'a>] WriteHalf<'a>);
half!([] OwnedReadHalf);
half!([] OwnedWriteHalf);
