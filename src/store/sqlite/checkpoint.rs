//! Moves what is committed from the write-ahead log into the file, beside the writer: a checkpoint in the
//! writer's path is what makes the slowest commits slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::open::Opener;

const EVERY: Duration = Duration::from_secs(1);
/// Pages of 4 KiB. Under constant writing the log never becomes free by itself: beyond 64 MiB the writer
/// waits for the moment that it takes to begin it anew.
const BOUND: i64 = 16_384;

pub(super) const NOT_WRITTEN_BACK: &str = "the store's log could not be written back";

pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(opener: Arc<Opener>, commits: Arc<AtomicU64>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .spawn(move || run(&opener, &commits, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(opener: &Opener, commits: &AtomicU64, stopped: &Receiver<()>) {
    let mut connection: Option<Connection> = None;
    let mut seen = 0;
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let now = commits.load(Ordering::Relaxed);
        if now == seen {
            continue;
        }
        let outcome = match connection.take().map_or_else(|| opener.checkpointer(), Ok) {
            Ok(fresh) => checkpoint(connection.insert(fresh)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => seen = now,
            Err(error) => {
                tracing::warn!(%error, NOT_WRITTEN_BACK);
                connection = None;
            }
        }
    }
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    if pages(connection, "PASSIVE")? > BOUND {
        // Its file keeps its size: a commit that makes it longer costs the disk twice as much.
        pages(connection, "RESTART")?;
    }
    Ok(())
}

/// At the start, before anybody reads or writes: a process that dies again and again before its first checkpoint
/// would leave an ever longer log, and take ever longer to read it.
pub(super) fn whole(connection: &Connection) {
    if let Err(error) = pages(connection, "TRUNCATE") {
        tracing::warn!(%error, NOT_WRITTEN_BACK);
    }
}

/// Writes all of the log back and empties its file. False: somebody still reads what is older.
pub(super) fn truncate(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

fn pages(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
}
