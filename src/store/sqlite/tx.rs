//! One transaction as the SQL of this store sees it: cached statements, the time, errors as the store's own,
//! and domain types in columns. Knows nothing of threads and commits.

use std::cell::Cell;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};

use crate::domain::clock::Timestamp;
pub(super) use crate::store::column::{
    corrupt, count, from_json, kind, moment, parsed, role, rows, state, to_json, work,
};
use crate::store::{Result, StoreError, Work};

/// Which bells to ring once the transaction is committed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rings {
    pub(super) turns: bool,
    pub(super) deliveries: bool,
    pub(super) ended: bool,
}

impl Rings {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            turns: self.turns || other.turns,
            deliveries: self.deliveries || other.deliveries,
            ended: self.ended || other.ended,
        }
    }
}

pub(super) struct Tx<'c> {
    conn: &'c Connection,
    /// The store's clock, once for the whole of a method.
    pub(super) now: Timestamp,
    rings: Cell<Rings>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection, now: Timestamp) -> Self {
        Self { conn, now, rings: Cell::default() }
    }

    pub(super) fn now(&self) -> i64 {
        self.now.as_millis()
    }

    pub(super) fn ring(&self, work: Work) {
        let rung = match work {
            Work::Turns => Rings { turns: true, ..Rings::default() },
            Work::Deliveries => Rings { deliveries: true, ..Rings::default() },
        };
        self.rings.set(self.rings.get().and(rung));
    }

    pub(super) fn ring_ended(&self) {
        self.rings.set(self.rings.get().and(Rings { ended: true, ..Rings::default() }));
    }

    pub(super) fn rings(&self) -> Rings {
        self.rings.get()
    }

    /// Returns how many rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.conn.prepare_cached(sql).map_err(failed)?.execute(params).map_err(failed)
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.conn.prepare_cached(sql).map_err(failed)?.query_row(params, read).optional().map_err(failed)
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.conn.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(params, read).map_err(failed)?;
        rows.collect::<rusqlite::Result<Vec<T>>>().map_err(failed)
    }

    /// The next number of a table's rows. It never comes again, whatever is deleted.
    pub(super) fn next_number(&self, table: &str) -> Result<i64> {
        let sql = "UPDATE sequences SET last = last + 1 WHERE name = ?1 RETURNING last";
        self.one(sql, [table], |row| row.get(0))?.ok_or_else(|| corrupt("a sequence is gone"))
    }

    /// Like [`Tx::run`], where a UNIQUE constraint is the question: false, and nothing changed, if it says no.
    pub(super) fn run_if_unique(&self, sql: &str, params: impl Params) -> Result<bool> {
        match self.conn.prepare_cached(sql).map_err(failed)?.execute(params) {
            Ok(_) => Ok(true),
            Err(rusqlite::Error::SqliteFailure(e, _)) if e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE => {
                Ok(false)
            }
            Err(e) => Err(failed(e)),
        }
    }
}

/// What a caller can do about it. The text names no value of a row.
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::FileLockingProtocolFailed,
        ) => StoreError::Unavailable(error.to_string()),
        _ => StoreError::Corrupt(error.to_string()),
    }
}

/// The disk itself failed: nothing that this connection believes to be written can be relied on.
pub(super) fn disk_failed(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen))
}
