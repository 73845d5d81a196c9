//! One transaction: statements, the database's time, the lanes that it has locked, errors as the store's own.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};

use super::link::Pooled;
pub(super) use super::values::{Param, get, ints, optional_texts, params, texts};
use crate::domain::clock::Timestamp;
pub(super) use crate::store::column::{corrupt, parsed, to_json, work};
use crate::store::lane::Lane;
use crate::store::sql::wakeups::Wakeups;
use crate::store::{Lease, Result, StoreError};

/// Why a transaction failed that may succeed if it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Obstacle {
    None,
    /// Others at the same time.
    Others,
    /// Somebody else holds a lock for longer than this transaction waits.
    Lock,
    /// What this connection has prepared doesn't fit the schema any more.
    Stale,
}

/// An open transaction on a connection of the pool. `'a`: what its work borrows.
/// Dropped before its end, it takes the connection with it: the server undoes what it did.
pub(super) struct Tx<'a> {
    client: Option<Pooled>,
    statements: Statements,
    /// The database's clock, once for the whole of a method. 0: not asked yet.
    now: AtomicI64,
    /// As they were when they were locked, or written last.
    locked: Mutex<Vec<Lane>>,
    later: Mutex<Vec<Later>>,
    /// Whose turns begin one after the other: locked together with the next lane.
    serialized: Mutex<Option<String>>,
    wakeups: Wakeups,
    /// Lanes that it has leased for its caller.
    taken: Mutex<Vec<Lease>>,
    obstacle: AtomicU8,
    borrowed: PhantomData<&'a ()>,
}

/// A change that waits for others to go along with.
struct Later {
    sql: String,
    params: Vec<Param<'static>>,
}

/// All of them in one statement. Nobody may say in which order they happen, so no two are the same.
fn combined(later: Vec<Later>) -> (String, Vec<Param<'static>>) {
    let (mut text, mut params) = (String::new(), Vec::new());
    let last = later.len().saturating_sub(1);
    for (place, one) in later.into_iter().enumerate() {
        let sql = renumbered(&one.sql, params.len());
        text.push_str(match place {
            0 if last > 0 => "WITH ",
            0 => "",
            _ if place < last => ", ",
            _ => " ",
        });
        text.push_str(&if place < last { format!("step_{place} AS ({sql})") } else { sql });
        params.extend(one.params);
    }
    (text, params)
}

/// `$1` becomes `$4` behind three values.
fn renumbered(sql: &str, behind: usize) -> String {
    let mut parts = sql.split('$');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(digits);
        match number.parse::<usize>() {
            Ok(number) => whole.push_str(&format!("${}{rest}", number + behind)),
            Err(_) => whole.extend(["$", part]),
        }
    }
    whole
}

/// Whether statements are prepared by name, once for each connection. PgBouncer in transaction mode would lose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statements {
    Prepared,
    Unnamed,
}

impl Tx<'_> {
    pub(super) fn new(client: Pooled, statements: Statements, wakeups: Wakeups) -> Self {
        Self {
            client: Some(client),
            statements,
            now: AtomicI64::new(0),
            locked: Mutex::default(),
            later: Mutex::default(),
            serialized: Mutex::default(),
            wakeups,
            taken: Mutex::default(),
            obstacle: AtomicU8::new(Obstacle::None as u8),
            borrowed: PhantomData,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    /// What this transaction was told of the database's clock, if anything.
    pub(super) fn told(&self) -> Option<Timestamp> {
        Some(self.now()).filter(|now| now.as_millis() != 0)
    }

    /// The first time that is told counts.
    pub(super) fn tell(&self, now: i64) {
        let _ = self.now.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn wakeups(&self) -> &Wakeups {
        &self.wakeups
    }

    /// The lane as its row says it.
    pub(super) fn remember(&self, lane: &Lane) {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        match locked.iter_mut().find(|known| known.id == lane.id) {
            Some(known) => known.clone_from(lane),
            None => locked.push(lane.clone()),
        }
    }

    pub(super) fn remembered(&self, lane: &Lane) -> Result<Lane> {
        let locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = locked.iter().find(|known| known.id == lane.id).cloned();
        known.ok_or_else(|| corrupt("a lane is written that was not locked"))
    }

    pub(super) fn took(&self, leases: impl IntoIterator<Item = Lease>) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).extend(leases);
    }

    pub(super) fn taken(&self) -> Vec<Lease> {
        std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn obstacle(&self) -> Obstacle {
        match self.obstacle.load(Ordering::Relaxed) {
            1 => Obstacle::Others,
            2 => Obstacle::Lock,
            3 => Obstacle::Stale,
            _ => Obstacle::None,
        }
    }

    fn failed(&self, error: &Error) -> StoreError {
        let obstacle = match error.code() {
            Some(
                &SqlState::T_R_SERIALIZATION_FAILURE
                | &SqlState::T_R_DEADLOCK_DETECTED
                | &SqlState::UNIQUE_VIOLATION
                | &SqlState::FOREIGN_KEY_VIOLATION,
            ) => Obstacle::Others,
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Obstacle::Lock,
            // "cached plan must not change result type"
            Some(&SqlState::FEATURE_NOT_SUPPORTED) if self.statements == Statements::Prepared => Obstacle::Stale,
            _ => Obstacle::None,
        };
        if obstacle != Obstacle::None {
            self.obstacle.store(obstacle as u8, Ordering::Relaxed);
        }
        failed(error)
    }

    /// A transaction that has to be tried again, though no statement failed.
    pub(super) fn hindered(&self, by: Obstacle, why: &str) -> StoreError {
        self.obstacle.store(by as u8, Ordering::Relaxed);
        StoreError::Unavailable(why.to_owned())
    }

    fn client(&self) -> Result<&Pooled> {
        self.client.as_ref().ok_or_else(|| corrupt("a transaction that has ended"))
    }

    /// Goes along with others. Nothing else in this transaction depends on it.
    pub(super) async fn run_later(&self, sql: &str, params: Vec<Param<'static>>) -> Result<()> {
        let is_there = |later: &Vec<Later>| later.iter().any(|other| other.sql == sql);
        if is_there(&self.later.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.flush().await?;
        }
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        later.push(Later { sql: sql.to_owned(), params });
        Ok(())
    }

    /// Before any other statement, and before the commit.
    pub(super) async fn flush(&self) -> Result<()> {
        let later = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
        if later.is_empty() {
            return Ok(());
        }
        let (sql, params) = combined(later);
        self.execute(&sql, &params).await.map(drop)
    }

    /// From the next statement on nobody else is beyond it who names this key.
    pub(super) fn serialize(&self, key: &str) {
        *self.serialized.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.to_owned());
    }

    pub(super) fn serialized(&self) -> Option<String> {
        self.serialized.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns how many rows it changed.
    pub(super) async fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        self.flush().await?;
        self.execute(sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        let params: Vec<_> = params.iter().map(Param::typed).collect();
        let client = self.client()?;
        let outcome = match self.statements {
            Statements::Unnamed => client.execute_typed(sql, &params).await,
            Statements::Prepared => {
                let (values, types): (Vec<_>, Vec<_>) = params.into_iter().unzip();
                match client.prepare_typed_cached(sql, &types).await {
                    Ok(statement) => client.execute(&statement, &values).await,
                    Err(error) => Err(error),
                }
            }
        };
        outcome.map_err(|error| self.failed(&error))
    }

    pub(super) async fn one<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnOnce(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        self.query(sql, params).await?.first().map(read).transpose()
    }

    pub(super) async fn all<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.query(sql, params).await?.iter().map(read).collect()
    }

    async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        self.flush().await?;
        let params: Vec<_> = params.iter().map(Param::typed).collect();
        let client = self.client()?;
        let outcome = match self.statements {
            Statements::Unnamed => client.query_typed(sql, &params).await,
            Statements::Prepared => {
                let (values, types): (Vec<_>, Vec<_>) = params.into_iter().unzip();
                match client.prepare_typed_cached(sql, &types).await {
                    Ok(statement) => client.query(&statement, &values).await,
                    Err(error) => Err(error),
                }
            }
        };
        outcome.map_err(|error| self.failed(&error))
    }

    /// Several statements without parameters, in one message.
    pub(super) async fn batch(&self, sql: &str) -> Result<()> {
        self.client()?.batch_execute(sql).await.map_err(|error| self.failed(&error))
    }

    /// An error doesn't tell whether it is committed.
    pub(super) async fn commit(mut self) -> Result<()> {
        self.client()?.batch_execute("COMMIT").await.map_err(|error| failed(&error))?;
        drop(self.client.take());
        Ok(())
    }

    pub(super) async fn rollback(mut self) {
        let rolled_back = match &self.client {
            Some(client) if !client.is_closed() && self.obstacle() != Obstacle::Stale => {
                client.batch_execute("ROLLBACK").await.is_ok()
            }
            _ => false,
        };
        if rolled_back {
            drop(self.client.take());
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            client.discard();
        }
    }
}

/// What a caller can do about it. The text names no value of a row.
pub(super) fn failed(error: &Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        // Without an answer of the server only a value of ours can be wrong; all else is the connection.
        let why =
            std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        return StoreError::Unavailable(why);
    };
    let code = db.code().code();
    // 22: the message would quote a value.
    let why =
        if code.starts_with("22") { format!("SQLSTATE {code}") } else { format!("{} (SQLSTATE {code})", db.message()) };
    match code.get(..2) {
        // A prepared statement that is not there, or there already.
        _ if ["26000", "42P05"].contains(&code) => StoreError::Unavailable(format!(
            "{why}: something between here and the server changes sessions; with PgBouncer add pgbouncer=true to the URL"
        )),
        // Connection, authentication, no such database, no right, retry, no resources, state, intervention, system.
        Some("08" | "28" | "3D" | "40" | "53" | "57" | "58") => StoreError::Unavailable(why),
        _ if ["25006", "25P02", "25P03", "25P04", "55P03", "55006"].contains(&code) => StoreError::Unavailable(why),
        _ => StoreError::Corrupt(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_wait_go_along_in_one_statement() {
        let later = |sql: &str, params: Vec<Param<'static>>| Later { sql: sql.to_owned(), params };
        let (sql, params) = combined(vec![
            later("UPDATE a SET b = $2 WHERE c = $1", vec![1_i64.into(), 2_i64.into()]),
            later("DELETE FROM d WHERE e = $1", vec![3_i64.into()]),
            later("INSERT INTO f VALUES ($1, '$')", vec![4_i64.into()]),
        ]);
        assert_eq!(
            sql,
            "WITH step_0 AS (UPDATE a SET b = $2 WHERE c = $1), step_1 AS (DELETE FROM d WHERE e = $3) \
             INSERT INTO f VALUES ($4, '$')"
        );
        assert_eq!(params.len(), 4);
        let (sql, _) = combined(vec![later("DELETE FROM d WHERE e = $1", vec![3_i64.into()])]);
        assert_eq!(sql, "DELETE FROM d WHERE e = $1");
    }
}
