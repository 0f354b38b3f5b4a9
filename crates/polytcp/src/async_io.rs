//! `AsyncRead` and `AsyncWrite`, of `futures-io` and of tokio, for the stream and its halves.
//!
//! One macro for each direction, since the four traits say the same in two spellings.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cooperation::cooperate;
use crate::halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::socket::Socket;
use crate::stream::MptcpStream;

/// Reads into a slice by the waiter of the reading task.
fn read(socket: &Socket, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut filled = 0;
    cooperate(cx, |cx| {
        socket.poll_read(cx, socket.read_key, buf.len(), |part| {
            buf[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        })
    })
}

fn write(socket: &Socket, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
    cooperate(cx, |cx| socket.poll_write(cx, socket.write_key, buf))
}

macro_rules! async_read {
    ($stream:ty) => {
        impl futures_io::AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                read(self.socket(), cx, buf)
            }
        }

        #[cfg(feature = "tokio")]
        impl tokio::io::AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let socket = self.socket();
                // Into memory that may not be initialised, without initialising it first.
                cooperate(cx, |cx| {
                    socket.poll_read(cx, socket.read_key, buf.remaining(), |part| buf.put_slice(part))
                })
                .map_ok(|_| ())
            }
        }
    };
}

macro_rules! async_write {
    ($stream:ty) => {
        impl futures_io::AsyncWrite for $stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                write(self.socket(), cx, buf)
            }

            /// What was written is on its way already.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ends the sending direction; does not wait for the peer.
            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.socket().shut_write())
            }
        }

        #[cfg(feature = "tokio")]
        impl tokio::io::AsyncWrite for $stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                write(self.socket(), cx, buf)
            }

            /// What was written is on its way already.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ends the sending direction; does not wait for the peer.
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.socket().shut_write())
            }
        }
    };
}

async_read!(MptcpStream);
async_read!(&MptcpStream);
async_read!(ReadHalf<'_>);
async_read!(OwnedReadHalf);
async_write!(MptcpStream);
async_write!(&MptcpStream);
async_write!(WriteHalf<'_>);
async_write!(OwnedWriteHalf);
