//! One transaction as the steps see it: cached statements, the time, errors as the store's own, and who works where.
//! Knows nothing of threads and commits.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, ToSql};

use super::numbers::Numbers;
use super::owners::{Owners, Undo};
use crate::domain::clock::Timestamp;
use crate::domain::id::LaneId;
use crate::store::column::corrupt;
use crate::store::lane::Lane;
use crate::store::sql::leases::{lane_columns, read_lane};
use crate::store::sql::wakeups::{Joined, Wakeups};
use crate::store::sql::{Param, Read, Row, Sql, Tx, params, sql};
use crate::store::{Lease, Result, StoreError, WorkKind};

/// What the transactions of one process share.
pub(super) struct Shared {
    pub(super) owners: Owners,
    pub(super) numbers: Numbers,
    pub(super) joined: OnceLock<Arc<Joined>>,
}

impl Shared {
    pub(super) fn new(numbers: Numbers, last_fence: u32) -> Self {
        Self { owners: Owners::new(last_fence), numbers, joined: OnceLock::new() }
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self::new(Numbers::default(), 0)
    }
}

pub(super) struct SqliteTx<'c> {
    pub(super) conn: &'c Connection,
    /// The store's clock, once for the whole of a step.
    now: Timestamp,
    shared: &'c Shared,
    /// As they were loaded.
    lanes: RefCell<Vec<Lane>>,
    undo: RefCell<Undo>,
    wakeups: Wakeups,
}

impl<'c> SqliteTx<'c> {
    pub(super) fn new(conn: &'c Connection, now: Timestamp, shared: &'c Shared) -> Self {
        let joined = shared.joined.get().cloned();
        let replica = joined.as_ref().map(|joined| joined.owner.clone());
        let wakeups = Wakeups::new(joined, replica);
        Self { conn, now, shared, lanes: RefCell::default(), undo: RefCell::default(), wakeups }
    }

    pub(super) fn numbers(&self) -> &Numbers {
        &self.shared.numbers
    }

    pub(super) fn take_undo(&self) -> Undo {
        self.undo.take()
    }

    pub(super) fn undo(&self) {
        self.shared.owners.undo(self.take_undo());
    }

    fn statement(&self, sql: &Sql) -> Result<CachedStatement<'_>> {
        #[cfg(test)]
        super::tests::record(sql.sqlite());
        self.conn.prepare_cached(sql.sqlite()).map_err(failed)
    }

    fn bound(&self, sql: &Sql, params: &[Param<'_>]) -> Result<CachedStatement<'_>> {
        let mut statement = self.statement(sql)?;
        for (index, param) in params.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, param).map_err(failed)?;
        }
        Ok(statement)
    }

    pub(super) fn run(&self, sql: &Sql, params: &[Param<'_>]) -> Result<u64> {
        let changed = self.bound(sql, params)?.raw_execute().map_err(failed)?;
        Ok(u64::try_from(changed).unwrap_or_default())
    }

    pub(super) fn all<T>(&self, sql: &Sql, params: &[Param<'_>], read: Read<T>) -> Result<Vec<T>> {
        let mut statement = self.bound(sql, params)?;
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            found.push(read(&SqliteRow(row))?);
        }
        Ok(found)
    }

    pub(super) fn one<T>(&self, sql: &Sql, params: &[Param<'_>], read: Read<T>) -> Result<Option<T>> {
        Ok(self.all(sql, params, read)?.pop())
    }

    /// A lane that was just read from its row.
    pub(super) fn loaded(&self, mut lane: Lane) -> Lane {
        self.shared.owners.fill(&mut lane);
        let mut lanes = self.lanes.borrow_mut();
        lanes.retain(|known| known.id != lane.id);
        lanes.push(lane.clone());
        lane
    }

    pub(super) fn load(&self, lane: LaneId) -> Result<Option<Lane>> {
        let sql = sql!(concat!("SELECT ", lane_columns!(), " FROM lanes WHERE id = ?1"));
        Ok(self.one(sql, params![lane], read_lane)?.map(|lane| self.loaded(lane)))
    }

    /// Writes back what has changed.
    pub(super) fn store(&self, lane: &Lane) -> Result<()> {
        let mut lanes = self.lanes.borrow_mut();
        let Some(before) = lanes.iter_mut().find(|known| known.id == lane.id) else {
            return Err(corrupt("a lane that was not locked"));
        };
        let rest = Lane { turns: before.turns.clone(), deliveries: before.deliveries.clone(), ..lane.clone() };
        if rest != *before {
            self.run(
                sql!(
                    "UPDATE lanes SET generation = ?1, bot_id = ?2, last_turn_at = ?3, shared = ?4, sender_ref = ?5,
                        attributes_ref = ?6, watermark = ?7
                     WHERE id = ?8"
                ),
                params![
                    lane.generation,
                    lane.bot_id.as_ref().map(|id| id.as_str()),
                    lane.last_turn_at,
                    lane.shared,
                    lane.sender_ref.as_deref(),
                    lane.attributes_ref.as_deref(),
                    lane.watermark.as_ref().map(|id| id.as_str()),
                    lane.id,
                ],
            )?;
        }
        for work in [WorkKind::Turns, WorkKind::Deliveries] {
            let (slot, known) = (lane.slot(work), before.slot(work));
            if slot == known {
                continue;
            }
            let name = crate::store::column::work(work);
            match (slot.due_at, known.due_at) {
                (at, known) if at == known => {}
                (Some(at), _) => {
                    let due = sql!(
                        "INSERT INTO due_lanes (work, lane, channel, due_at) VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT (work, lane) DO UPDATE SET due_at = excluded.due_at"
                    );
                    self.run(due, params![name, lane.id, lane.channel.as_str(), at])?;
                }
                (None, _) => {
                    self.run(sql!("DELETE FROM due_lanes WHERE work = ?1 AND lane = ?2"), params![name, lane.id])?;
                }
            }
            self.shared.owners.set(lane.id, work, slot, &mut self.undo.borrow_mut());
        }
        *before = lane.clone();
        Ok(())
    }
}

impl Tx for SqliteTx<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    async fn tell_time(&self) -> Result<()> {
        Ok(())
    }

    async fn run(&self, sql: &Sql, params: &[Param<'_>]) -> Result<u64> {
        self.run(sql, params)
    }

    async fn all<T: Send>(&self, sql: &Sql, params: &[Param<'_>], read: Read<T>) -> Result<Vec<T>> {
        self.all(sql, params, read)
    }

    async fn lock(&self, lane: LaneId) -> Result<Option<Lane>> {
        self.load(lane)
    }

    async fn hold(&self, lease: &Lease) -> Result<Lane> {
        let lane = self.load(lease.lane)?.ok_or(StoreError::Fenced)?;
        lane.check(lease)?;
        Ok(lane)
    }

    async fn check(&self, lease: &Lease) -> Result<Lane> {
        self.hold(lease).await
    }

    async fn save(&self, lane: &Lane) -> Result<()> {
        self.store(lane)
    }

    async fn try_lock(&self, lanes: &[LaneId]) -> Result<Vec<Lane>> {
        lanes.iter().filter_map(|lane| self.load(*lane).transpose()).collect()
    }

    async fn keep_numbers(&self) -> Result<()> {
        self.numbers().keep(self.conn).map_err(failed)
    }

    async fn next_part(&self) -> Result<i64> {
        Ok(self.numbers().part())
    }

    fn wakeups(&self) -> &Wakeups {
        &self.wakeups
    }
}

/// A step's future never waits here.
pub(super) fn run<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
    step.now_or_never().unwrap_or_else(|| Err(corrupt("a step that waits")))
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Text(Some(text)) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Int(Some(number)) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Bool(flag) => ToSqlOutput::Owned(Value::Integer(i64::from(*flag))),
            Self::Text(None) | Self::Int(None) => ToSqlOutput::Owned(Value::Null),
        })
    }
}

struct SqliteRow<'r, 's>(&'r rusqlite::Row<'s>);

impl SqliteRow<'_, '_> {
    fn value(&self, column: usize) -> Result<ValueRef<'_>> {
        self.0.get_ref(column).map_err(failed)
    }
}

fn unexpected<E>(_: E) -> StoreError {
    corrupt("a column doesn't hold what it should")
}

impl Row for SqliteRow<'_, '_> {
    fn text(&self, column: usize) -> Result<&str> {
        self.value(column)?.as_str().map_err(unexpected)
    }

    fn optional_text(&self, column: usize) -> Result<Option<&str>> {
        self.value(column)?.as_str_or_null().map_err(unexpected)
    }

    fn int(&self, column: usize) -> Result<i64> {
        self.value(column)?.as_i64().map_err(unexpected)
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>> {
        self.value(column)?.as_i64_or_null().map_err(unexpected)
    }

    fn flag(&self, column: usize) -> Result<bool> {
        Ok(self.int(column)? != 0)
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
