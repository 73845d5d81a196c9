//! One transaction as the SQL of this store sees it: typed parameters, the database's time, errors as the
//! store's own. Statements are never prepared by name: PgBouncer in transaction mode would lose them.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Error, Row};

use super::bells;
use super::link::Pooled;
use crate::domain::clock::Timestamp;
pub(super) use crate::store::column::{
    corrupt, count, from_json, kind, moment, parsed, role, rows, state, to_json, work,
};
use crate::store::{Result, StoreError, Work};

/// A value of a statement, with the type that it has there.
pub(super) enum Param<'p> {
    Text(Option<Cow<'p, str>>),
    Int(Option<i64>),
    Bool(bool),
    Bytes(&'p [u8]),
    Texts(Vec<Option<Cow<'p, str>>>),
    Ints(Vec<Option<i64>>),
    Bools(Vec<bool>),
    Blobs(Vec<Vec<u8>>),
}

impl Param<'_> {
    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Text(value) => (value, Type::TEXT),
            Self::Int(value) => (value, Type::INT8),
            Self::Bool(value) => (value, Type::BOOL),
            Self::Bytes(value) => (value, Type::BYTEA),
            Self::Texts(values) => (values, Type::TEXT_ARRAY),
            Self::Ints(values) => (values, Type::INT8_ARRAY),
            Self::Bools(values) => (values, Type::BOOL_ARRAY),
            Self::Blobs(values) => (values, Type::BYTEA_ARRAY),
        }
    }
}

/// PostgreSQL's text can't hold U+0000; nobody can see one.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

impl<'p> From<&'p str> for Param<'p> {
    fn from(value: &'p str) -> Self {
        Self::Text(Some(text(value)))
    }
}

impl<'p> From<&'p String> for Param<'p> {
    fn from(value: &'p String) -> Self {
        Self::Text(Some(text(value)))
    }
}

impl From<String> for Param<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(text(&value).into_owned())))
    }
}

impl<'p> From<Option<&'p str>> for Param<'p> {
    fn from(value: Option<&'p str>) -> Self {
        Self::Text(value.map(text))
    }
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Param<'_> {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<Option<i64>> for Param<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'p> From<&'p [u8]> for Param<'p> {
    fn from(value: &'p [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl From<Vec<Vec<u8>>> for Param<'_> {
    fn from(values: Vec<Vec<u8>>) -> Self {
        Self::Blobs(values)
    }
}

impl From<Vec<bool>> for Param<'_> {
    fn from(values: Vec<bool>) -> Self {
        Self::Bools(values)
    }
}

pub(super) fn texts<'p>(values: impl IntoIterator<Item = &'p str>) -> Param<'p> {
    Param::Texts(values.into_iter().map(|value| Some(text(value))).collect())
}

pub(super) fn optional_texts<'p>(values: impl IntoIterator<Item = Option<&'p str>>) -> Param<'p> {
    Param::Texts(values.into_iter().map(|value| value.map(text)).collect())
}

pub(super) fn ints<'p, N: Into<Option<i64>>>(values: impl IntoIterator<Item = N>) -> Param<'p> {
    Param::Ints(values.into_iter().map(Into::into).collect())
}

macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::store::postgres::tx::Param::from($value)),*] };
}
pub(super) use params;

/// An open transaction on a connection of the pool. `'a`: what its work borrows.
/// Dropped before its end, it takes the connection with it: the server undoes what it did.
pub(super) struct Tx<'a> {
    client: Option<Pooled>,
    /// The database's clock, once for the whole of a method.
    pub(super) now: Timestamp,
    rings: AtomicU8,
    again: AtomicBool,
    borrowed: PhantomData<&'a ()>,
}

impl Tx<'_> {
    pub(super) fn new(client: Pooled, now: Timestamp) -> Self {
        Self {
            client: Some(client),
            now,
            rings: AtomicU8::new(0),
            again: AtomicBool::new(false),
            borrowed: PhantomData,
        }
    }

    pub(super) fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    pub(super) fn now(&self) -> i64 {
        self.now.as_millis()
    }

    pub(super) fn ring(&self, work: Work) {
        self.rings.fetch_or(bells::bit(work), Ordering::Relaxed);
    }

    pub(super) fn ring_ended(&self) {
        self.rings.fetch_or(bells::ENDED, Ordering::Relaxed);
    }

    /// Whether it failed only because of others at the same time.
    pub(super) fn again(&self) -> bool {
        self.again.load(Ordering::Relaxed)
    }

    fn failed(&self, error: &Error) -> StoreError {
        if matches!(
            error.code(),
            Some(
                &SqlState::T_R_SERIALIZATION_FAILURE
                    | &SqlState::T_R_DEADLOCK_DETECTED
                    | &SqlState::UNIQUE_VIOLATION
                    | &SqlState::FOREIGN_KEY_VIOLATION
            )
        ) {
            self.again.store(true, Ordering::Relaxed);
        }
        failed(error)
    }

    fn client(&self) -> Result<&Pooled> {
        self.client.as_ref().ok_or_else(|| corrupt("a transaction that has ended"))
    }

    /// Returns how many rows it changed.
    pub(super) async fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<u64> {
        let params: Vec<_> = params.iter().map(Param::typed).collect();
        self.client()?.execute_typed(sql, &params).await.map_err(|error| self.failed(&error))
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
        let params: Vec<_> = params.iter().map(Param::typed).collect();
        self.client()?.query_typed(sql, &params).await.map_err(|error| self.failed(&error))
    }

    /// Several statements without parameters, in one message.
    pub(super) async fn batch(&self, sql: &str) -> Result<()> {
        self.client()?.batch_execute(sql).await.map_err(|error| self.failed(&error))
    }

    /// Returns which bells to ring. An error doesn't tell whether it is committed.
    pub(super) async fn commit(mut self) -> Result<u8> {
        self.client()?.batch_execute("COMMIT").await.map_err(|error| failed(&error))?;
        drop(self.client.take());
        Ok(self.rings.load(Ordering::Relaxed))
    }

    pub(super) async fn rollback(mut self) {
        let rolled_back = match &self.client {
            Some(client) if !client.is_closed() => client.batch_execute("ROLLBACK").await.is_ok(),
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

pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|_| corrupt("a column doesn't hold what it should"))
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
        // Connection, authentication, no such database, no right, retry, no resources, state, intervention, system.
        Some("08" | "28" | "3D" | "40" | "53" | "57" | "58") => StoreError::Unavailable(why),
        _ if ["25006", "25P02", "25P03", "25P04", "55P03", "55006"].contains(&code) => StoreError::Unavailable(why),
        _ => StoreError::Corrupt(why),
    }
}
