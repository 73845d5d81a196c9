//! Commits and pages, read from SQLite's log as it lies on the disk.

use std::path::Path;

use super::{CHANNELS, World, answer, per_message, settled};

/// Of a message in a new chat, all that follows it included.
const COMMITS: f64 = 5.5;
const PAGES: f64 = 42.0;

/// The format is SQLite's: sqlite.org/fileformat2.html#walformat
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Log {
    commits: u64,
    pages: u64,
}

fn log(file: &Path) -> Log {
    let mut log = Log { commits: 0, pages: 0 };
    let bytes = std::fs::read(file.with_extension("db-wal")).unwrap();
    if bytes.len() < HEADER {
        return log;
    }
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let (page, salt) = (number(8) as usize, &bytes[16..24]);
    for frame in (HEADER..bytes.len()).step_by(FRAME_HEADER + page) {
        // Behind the end there may be frames of an earlier log.
        if bytes.get(frame + 8..frame + 16) != Some(salt) {
            break;
        }
        log.pages += 1;
        // The size of the database: only where a transaction ends.
        log.commits += u64::from(number(frame + 4) > 0);
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_costs_few_commits_on_sqlite() {
    let world = World::start(CHANNELS).await;
    let file = world.folder.path().join("bridge.db");
    // The log is not begun anew while somebody reads an old state.
    let reader = rusqlite::Connection::open(&file).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
    let before = settled(async || log(&file)).await;
    answer(&world).await;
    let after = settled(async || log(&file)).await;
    let (commits, pages) = (per_message(after.commits - before.commits), per_message(after.pages - before.pages));
    eprintln!("SQLite, a message in a new chat: {commits} commits, {pages} pages");
    assert!(commits <= COMMITS && pages <= PAGES, "{commits} commits, {pages} pages; at most {COMMITS} and {PAGES}");
}
