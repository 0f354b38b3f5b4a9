//! What the application does.

use bytes::Bytes;
use polytcp_proto::config::Keepalive;
use polytcp_proto::host::{ConnectionId, Piece, ReadOutcome};

use super::octets;
use super::script::Script;

impl Script {
    #[track_caller]
    pub fn id(&self) -> ConnectionId {
        self.conn.expect("the script has a connection")
    }

    #[track_caller]
    pub fn accepts(&mut self) -> &mut Self {
        let listener = self.listener.expect("the script listens");
        match self.host.accept(listener) {
            Some(id) => self.conn = Some(id),
            None => self.fail(format_args!("nothing to accept")),
        }
        self
    }

    #[track_caller]
    pub fn accepts_nothing(&mut self) -> &mut Self {
        let listener = self.listener.expect("the script listens");
        if self.host.accept(listener).is_some() {
            self.fail(format_args!("there was something to accept"));
        }
        self
    }

    #[track_caller]
    pub fn writes(&mut self, octets: &[u8]) -> &mut Self {
        self.note(format_args!("  write {} octets", octets.len()));
        let (now, id) = (self.now, self.id());
        self.host.write(now, id, Piece::Fixed(Bytes::copy_from_slice(octets))).unwrap();
        self.collect();
        self
    }

    /// Writes that many octets of the stream's pattern, from `offset`.
    #[track_caller]
    pub fn writes_bulk(&mut self, offset: u32, len: usize) -> &mut Self {
        self.writes(&octets(offset, len))
    }

    #[track_caller]
    pub fn nodelay(&mut self) -> &mut Self {
        let (now, id) = (self.now, self.id());
        self.host.set_nodelay(now, id, true).unwrap();
        self.collect();
        self
    }

    #[track_caller]
    pub fn user_timeout(&mut self, limit: super::Duration) -> &mut Self {
        let (now, id) = (self.now, self.id());
        self.host.set_user_timeout(now, id, Some(limit)).unwrap();
        self.collect();
        self
    }

    #[track_caller]
    pub fn keepalive(&mut self, keepalive: Option<Keepalive>) -> &mut Self {
        let (now, id) = (self.now, self.id());
        self.host.set_keepalive(now, id, keepalive).unwrap();
        self.collect();
        self
    }

    #[track_caller]
    pub fn lingers(&mut self, linger: super::Duration) -> &mut Self {
        let (now, id) = (self.now, self.id());
        self.host.set_linger(now, id, Some(linger)).unwrap();
        self
    }

    /// All that can be read.
    #[track_caller]
    pub fn read(&mut self) -> Vec<u8> {
        let (now, id) = (self.now, self.id());
        let mut all = Vec::new();
        while let Ok(ReadOutcome::Data(data)) = self.host.read(now, id, usize::MAX) {
            all.extend_from_slice(&data);
        }
        self.collect();
        all
    }

    #[track_caller]
    pub fn reads(&mut self, expected: &[u8]) -> &mut Self {
        let all = self.read();
        if all != expected {
            self.fail(format_args!(
                "read {} octets {:02x?}, not {:02x?}",
                all.len(),
                head(&all),
                head(expected)
            ));
        }
        self
    }

    #[track_caller]
    pub fn reads_end(&mut self) -> &mut Self {
        let (now, id) = (self.now, self.id());
        let outcome = self.host.read(now, id, usize::MAX);
        if outcome != Ok(ReadOutcome::Finished) {
            self.fail(format_args!("read {outcome:?}, not the end"));
        }
        self
    }

    #[track_caller]
    pub fn reads_error(&mut self, error: polytcp_proto::host::CallError) -> &mut Self {
        let (now, id) = (self.now, self.id());
        let outcome = self.host.read(now, id, usize::MAX);
        if outcome != Err(error) {
            self.fail(format_args!("read {outcome:?}, not {error:?}"));
        }
        self
    }

    #[track_caller]
    pub fn shuts_down(&mut self) -> &mut Self {
        self.note(format_args!("  shutdown"));
        let (now, id) = (self.now, self.id());
        self.host.shutdown(now, id).unwrap();
        self.collect();
        self
    }

    #[track_caller]
    pub fn closes(&mut self) -> &mut Self {
        self.note(format_args!("  close"));
        let (now, id) = (self.now, self.id());
        self.host.close(now, id);
        self.collect();
        self
    }

    #[track_caller]
    pub fn aborts(&mut self) -> &mut Self {
        self.note(format_args!("  abort"));
        let (now, id) = (self.now, self.id());
        self.host.abort(now, id);
        self.collect();
        self
    }

    #[track_caller]
    pub fn command(&mut self, command: &polytcp_proto::pm::command::PmCommand) -> &mut Self {
        let now = self.now;
        self.host.command(now, command).unwrap();
        self.collect();
        self
    }

    #[track_caller]
    pub fn is_open(&self) -> bool {
        !self.host.readiness(self.id()).error
    }

    #[track_caller]
    pub fn is_mptcp(&self) -> bool {
        self.host.info(self.id()).unwrap().is_mptcp
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(32)]
}
