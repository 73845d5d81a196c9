//! One transaction as the SQL of this store sees it: cached statements, the time, errors as the store's own,
//! and domain types in columns. Knows nothing of threads and commits.

use std::cell::Cell;
use std::str::FromStr;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::clock::Timestamp;
use crate::domain::message::{ReplyKind, Role};
use crate::store::{MessageState, Result, StoreError, Work};

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

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|_| corrupt("a value can't be written as JSON"))
}

/// serde's own error would quote the value.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| corrupt("a column doesn't hold the JSON that it should"))
}

pub(super) fn parsed<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| corrupt("a column doesn't hold the id that it should"))
}

pub(super) fn moment(millis: Option<i64>) -> Option<Timestamp> {
    millis.map(Timestamp::from_millis)
}

pub(super) fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) const fn work(work: Work) -> &'static str {
    match work {
        Work::Turns => "turns",
        Work::Deliveries => "deliveries",
    }
}

pub(super) fn role(text: &str) -> Result<Role> {
    [Role::User, Role::Agent, Role::OtherBot]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| corrupt("an unknown role"))
}

pub(super) fn kind(text: &str) -> Result<ReplyKind> {
    [ReplyKind::Message, ReplyKind::NoReply, ReplyKind::Handoff, ReplyKind::Failed]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| corrupt("an unknown kind of reply"))
}

pub(super) fn state(text: &str) -> Result<MessageState> {
    use MessageState::{Answered, Asking, Done, Dropped, Failed, Held, Received};
    [Received, Asking, Answered, Done, Dropped, Failed, Held]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| corrupt("an unknown state of a message"))
}
