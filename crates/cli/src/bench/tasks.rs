//! A stream of the stack whose data tasks of a multi-threaded tokio runtime carry.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polytcp::{MptcpStream, OwnedReadHalf, OwnedWriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::end::{End, Receiver};
use super::pump::{Load, PIECE_BYTES, Reception};
use crate::failure::Failure;
use crate::pattern::Pattern;

/// Longest time that a load may take.
const LOAD_MAX: Duration = Duration::from_secs(600);

/// A runtime with two threads, which run where the calling thread may.
pub(super) fn runtime() -> Result<Arc<Runtime>, Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("tasks").enable_all().build();
    runtime.map(Arc::new).map_err(Failure::setting_up("a tokio runtime"))
}

/// See the module. Each direction carries one load.
pub(super) struct TaskEnd {
    runtime: Arc<Runtime>,
    /// Taken by the load.
    read: Mutex<Option<OwnedReadHalf>>,
    write: Mutex<Option<OwnedWriteHalf>>,
}

impl TaskEnd {
    pub(super) fn new(runtime: Arc<Runtime>, stream: MptcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self { runtime, read: Mutex::new(Some(read)), write: Mutex::new(Some(write)) }
    }

    /// Runs a task to its end.
    fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let task = async { timeout(LOAD_MAX, task).await? };
        self.runtime.block_on(self.runtime.spawn(task)).map_err(io::Error::other)?
    }
}

impl End for TaskEnd {
    fn send_pattern(&self, load: Load, pattern: &Arc<Pattern>) -> io::Result<()> {
        let mut write = take(&self.write)?;
        let pattern = Arc::clone(pattern);
        self.run(async move {
            let mut sent = 0;
            while let Some(piece) = load.piece(&pattern, sent) {
                write.write_all(piece).await?;
                sent += piece.len() as u64;
            }
            write.shutdown().await
        })
    }

    fn receive_pattern(&self, load: Load, pattern: &Arc<Pattern>) -> io::Result<Reception> {
        let mut read = take(&self.read)?;
        let pattern = Arc::clone(pattern);
        self.run(async move {
            let mut receiver = Receiver::new(load);
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let len = read.read(&mut piece).await?;
                if let Some(reception) = receiver.take(&piece[..len], &pattern)? {
                    return Ok(reception);
                }
            }
        })
    }

    fn end(&self) -> io::Result<()> {
        let mut write = take(&self.write)?;
        self.run(async move { write.shutdown().await })
    }
}

fn take<T>(half: &Mutex<Option<T>>) -> io::Result<T> {
    half.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
        .ok_or_else(|| io::Error::other("each direction carries one load"))
}
