//! One listener as all its handles share it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use polytcp_proto::host::{CallError, ListenOptions, ListenerId};

use crate::error;
use crate::registration::Registration;
use crate::socket::Socket;
use crate::stack::{Handle, Stack};
use crate::waiters::{Interest, Source, WaiterKey};

/// See the module. Closes the listener when dropped; connections that wait in it are reset.
#[derive(Debug)]
pub(crate) struct Acceptor {
    handle: Arc<Handle>,
    id: ListenerId,
    local: SocketAddr,
}

impl Acceptor {
    pub(crate) fn listen(stack: &Stack, options: &ListenOptions) -> io::Result<Arc<Self>> {
        let handle = stack.handle();
        let listening = handle.shared.call(|core, _| {
            let id = core.host.listen(options)?;
            core.waiters.open(Source::Listener(id));
            Ok((id, core.host.listener_addr(id).unwrap_or(options.local)))
        });
        let (id, local) = listening.map_err(error::listen)?;
        Ok(Arc::new(Self { handle: Arc::clone(handle), id, local }))
    }

    pub(crate) fn registration(&self) -> Registration<'_> {
        Registration::new(&self.handle.shared, Source::Listener(self.id))
    }

    /// The next connection whose handshake is done.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>, key: WaiterKey) -> Poll<io::Result<Arc<Socket>>> {
        let (accepted, replaced) = self.handle.shared.call(|core, _| match core.host.accept(self.id) {
            Some(id) => {
                core.waiters.open(Source::Connection(id));
                (Some((id, core.host.info(id))), None)
            }
            None => {
                let source = Source::Listener(self.id);
                (None, core.waiters.register(source, key, Interest::Read, cx.waker()))
            }
        });
        drop(replaced);
        match accepted {
            Some((id, info)) => {
                let socket = Socket::new(&self.handle, id);
                // One that was reset meanwhile may be without addresses, and tells at the first read.
                match info {
                    Ok(info) => socket.set_ends(&info),
                    Err(
                        CallError::NotFound
                        | CallError::NotConnected
                        | CallError::WriteClosed
                        | CallError::Failed(_),
                    ) => {}
                }
                Poll::Ready(Ok(Arc::new(socket)))
            }
            None if self.handle.shared.has_failed() => Poll::Ready(Err(error::engine_failed())),
            None => Poll::Pending,
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        let wakers = self.handle.shared.call(|core, now| {
            core.host.close_listener(now, self.id);
            core.waiters.close(Source::Listener(self.id))
        });
        drop(wakers);
    }
}
