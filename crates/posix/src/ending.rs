//! `shutdown`, and what happens when the last descriptor of a socket is closed.

use polytcp::raw;
use rustix::io::Errno;

use crate::socket::{Place, Socket, Stage, State};

impl Socket {
    /// `how` is `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`.
    pub(crate) fn shutdown(&self, how: i32) -> Result<(), Errno> {
        let (read, write) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno::INVAL),
        };
        let inner = &mut *self.lock();
        let view = self.view(inner);
        // A connect that has succeeded and was not asked about since counts as told.
        if inner.stage == Stage::Connecting && view.state == State::Open {
            inner.stage = Stage::Connected;
        }
        match view.state {
            // The write direction of a listener is not open anyway.
            State::Listen if !read => self.ring(),
            State::Listen | State::SynSent => {
                self.abandon(inner);
                self.ring();
            }
            State::Close => {
                // A connect that failed, and was not asked about since.
                if inner.stage == Stage::Connecting {
                    inner.stage = Stage::Disconnecting;
                }
                inner.shut.read |= read;
                inner.shut.write |= write;
                self.ring();
                return Err(Errno::NOTCONN);
            }
            State::Open => {
                inner.shut.read |= read;
                if let Place::Connection(id) = inner.place
                    && read
                {
                    self.stack().call(|host, _| host.shutdown_read(id));
                }
                // Also where it is shut since before the connect.
                if write {
                    inner.shut.write = true;
                    if let Place::Connection(id) = inner.place {
                        // A connection that failed meanwhile tells so at the next call.
                        let _ = self.stack().call(|host, now| host.shutdown(now, id));
                    }
                }
                self.ring();
            }
        }
        Ok(())
    }

    /// Closes what the socket has: gracefully, or at once where data is unread or `SO_LINGER` says so. With a time to linger
    /// it waits until the peer has everything, unless the socket does not block.
    pub(crate) fn release(&self) {
        let inner = &mut *self.lock();
        match inner.place {
            Place::Connection(id) => {
                if let Some(time) = inner.options.linger().filter(|time| !time.is_zero()) {
                    let until = raw::now() + time;
                    let _ = self.stack().call(|host, now| host.shutdown(now, id));
                    let delivered = || {
                        self.stack().look(|host| {
                            let is_done = host.info(id).is_ok_and(|info| {
                                info.bytes_acked >= info.bytes_written && !info.data_fin_outstanding
                            });
                            (host.readiness(id).closed || is_done).then_some(())
                        })
                    };
                    if !self.is_nonblocking() && self.view(inner).readable_bytes == 0 {
                        self.wait(Some(until), delivered);
                    }
                }
                self.vacate(inner);
                self.stack().call(|host, now| host.close(now, id));
            }
            _ => self.leave(inner),
        }
        self.release_port(inner);
    }
}
