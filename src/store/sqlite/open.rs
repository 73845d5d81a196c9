//! The file: its folder, its lock, its schema, and connections to it with the right settings.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use crate::store::Mode;
use crate::store::sql::Sql;

/// Older ones can corrupt a file in WAL mode that has two connections or more.
const OLDEST_SQLITE: i32 = 3_051_003;
pub(super) const BUSY: Duration = Duration::from_secs(5);
const STATEMENTS: usize = 256;

mod embedded {
    refinery::embed_migrations!("src/store/sqlite/migrations");
}

pub(super) fn migrations() -> refinery::Runner {
    embedded::migrations::runner()
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another gateway is running on {0}: one file serves one process; several share a PostgreSQL")]
    Locked(PathBuf),
    #[error("there is no store at {0}: `fini-bridge serve` makes it")]
    Missing(PathBuf),
    #[error("the store at {path} was made by another version of fini-bridge; {advice}")]
    Version { path: PathBuf, advice: &'static str },
    #[error("this binary carries SQLite {0}, which can corrupt its file; 3.51.3 or newer is needed")]
    OldSqlite(&'static str),
    #[error("can't use {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("can't open the store at {path}: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("can't bring the store at {path} to this version: {source}")]
    Migration { path: PathBuf, source: Box<refinery::Error> },
    #[error("can't make a key for the store: the system gives no random bytes")]
    Random,
}

/// Opens connections. Holds the lock for as long as anything may still write.
pub(super) struct Opener {
    path: PathBuf,
    _lock: Option<File>,
}

impl Opener {
    pub(super) fn new(path: &Path, mode: Mode) -> Result<Self, OpenError> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(OpenError::OldSqlite(rusqlite::version()));
        }
        let lock = match mode {
            Mode::Serve => {
                let lock = make(path)?;
                Some(lock)
            }
            Mode::Tool if path.is_file() => None,
            Mode::Tool => return Err(OpenError::Missing(path.to_owned())),
        };
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The schema, and the key of this installation.
    pub(super) fn prepare(&self, connection: &mut Connection, mode: Mode) -> Result<[u8; 32], OpenError> {
        let runner = migrations();
        let migration = |source| OpenError::Migration { path: self.path.clone(), source: Box::new(source) };
        let newest = runner.get_migrations().iter().map(refinery::Migration::version).max();
        let version = |advice| OpenError::Version { path: self.path.clone(), advice };
        let applied = match runner.get_last_applied_migration(connection) {
            Ok(applied) => applied.map(|migration| migration.version()),
            Err(_) if mode == Mode::Serve => None, // a new file: there is no such table
            Err(_) => return Err(version("start the gateway first")),
        };
        if applied > newest {
            return Err(version("use that version, or a newer one"));
        }
        match mode {
            Mode::Serve => {
                runner.run(connection).map_err(migration)?;
            }
            Mode::Tool if applied < newest => return Err(version("start the gateway of this version first")),
            Mode::Tool => {}
        }
        self.installation_key(connection)
    }

    fn installation_key(&self, connection: &Connection) -> Result<[u8; 32], OpenError> {
        let failed = |source| OpenError::Sqlite { path: self.path.clone(), source };
        let mut fresh = [0u8; 32];
        getrandom::fill(&mut fresh).map_err(|_| OpenError::Random)?;
        connection
            .execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('installation_key', ?1)", params![fresh])
            .map_err(failed)?;
        connection
            .query_row("SELECT value FROM meta WHERE key = 'installation_key'", [], |row| row.get(0))
            .map_err(failed)
    }

    pub(super) fn writer(&self) -> rusqlite::Result<Connection> {
        let connection = self.connection()?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "cache_size", -16_384)?;
        // What is pruned is gone from the file, too. FAST would leave it in pages that are free by then: all that a
        // long text needs beyond its first page.
        connection.pragma_update(None, "secure_delete", "ON")?;
        Ok(connection)
    }

    /// Files of earlier versions hold what these removed and did not overwrite. Tried again at the next start if it
    /// fails: it takes twice the file's size in free space for a while.
    pub(super) fn vacuum_once(&self, connection: Connection) -> Result<Connection, OpenError> {
        let due: bool = connection
            .query_row("SELECT EXISTS (SELECT 1 FROM meta WHERE key = 'vacuum_due')", [], |row| row.get(0))
            .map_err(|e| self.failed(e))?;
        if !due {
            return Ok(connection);
        }
        tracing::info!("the store's file is written anew, once: this takes a while, and as much space again");
        match self.vacuum(&connection) {
            Ok(()) => {
                tracing::info!("the store's file is written anew");
                Ok(connection)
            }
            Err(error) => {
                tracing::warn!(%error, "the store's file can't be written anew: it may hold text that was removed; tried again at the next start");
                drop(connection);
                self.writer().map_err(|e| self.failed(e))
            }
        }
    }

    fn vacuum(&self, connection: &Connection) -> rusqlite::Result<()> {
        // The copy is as large as the file: not into memory, and not onto another file system.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        connection.pragma_update(None, "temp_store", "FILE")?;
        connection.pragma_update(None, "temp_store_directory", folder.to_string_lossy())?;
        let outcome = connection.execute_batch("VACUUM; DELETE FROM meta WHERE key = 'vacuum_due'");
        connection.pragma_update(None, "temp_store_directory", "")?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        outcome
    }

    /// After the disk has failed: a connection that has written something.
    pub(super) fn reopen(&self) -> rusqlite::Result<Connection> {
        let connection = self.writer()?;
        probe(&connection)?;
        tracing::info!("the store can be written to again");
        Ok(connection)
    }

    pub(super) fn reader(&self) -> rusqlite::Result<Connection> {
        let connection = self.connection()?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    pub(super) fn checkpointer(&self) -> rusqlite::Result<Connection> {
        let connection = self.connection()?;
        // A reader that stays in the log must not hold up the writer, which waits while this one does.
        connection.busy_timeout(Duration::from_millis(100))?;
        Ok(connection)
    }

    fn connection(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(connection)
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> OpenError {
        OpenError::Sqlite { path: self.path.clone(), source }
    }

    pub(super) fn io(&self, source: std::io::Error) -> OpenError {
        OpenError::File { path: self.path.clone(), source }
    }
}

/// A write that changes a page, so that it has to reach the disk.
pub(super) static PROBE: Sql = Sql::new(
    "INSERT INTO meta (key, value) VALUES ('probe', 1) ON CONFLICT (key) DO UPDATE SET value = meta.value + 1",
);

fn probe(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(PROBE.sqlite(), []).map(|_| ())
}

/// The folder (for us alone if it has to be made), the lock, the file (for us alone).
fn make(path: &Path) -> Result<File, OpenError> {
    let file = |at: &Path| {
        let at = at.to_owned();
        move |source| OpenError::File { path: at, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(file(folder))?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let open = |at: &Path| {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(at).map_err(file(at))
    };
    let lock = open(&beside)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(path.to_owned())),
        Err(TryLockError::Error(source)) => return Err(OpenError::File { path: beside, source }),
    }
    // The log and its index take this file's mode.
    let made = open(path)?;
    let permissions = std::fs::Permissions::from_mode(0o600);
    made.set_permissions(permissions).map_err(file(path))?;
    Ok(lock)
}
