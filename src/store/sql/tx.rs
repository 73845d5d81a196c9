//! A transaction as the steps see it.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::wakeups::Wakeups;
use crate::domain::clock::Timestamp;
use crate::domain::id::LaneId;
use crate::store::lane::Lane;
use crate::store::{Lease, Result};

/// A statement: `?1`, `?2`, … are its values, and tables stand without their schema.
pub(crate) struct Sql {
    pub(crate) sqlite: &'static str,
    postgres: Postgres,
}

enum Postgres {
    /// The same, with `$1` for `?1`.
    Alike(OnceLock<String>),
    Other(&'static str),
}

impl Sql {
    pub(crate) const fn new(sqlite: &'static str) -> Self {
        Self { sqlite, postgres: Postgres::Alike(OnceLock::new()) }
    }

    /// Where the two have to differ.
    pub(crate) const fn two(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres: Postgres::Other(postgres) }
    }

    pub(crate) fn postgres(&self) -> &str {
        match &self.postgres {
            Postgres::Alike(text) => text.get_or_init(|| self.sqlite.replace('?', "$")),
            Postgres::Other(text) => text,
        }
    }
}

/// A statement in the place where it is run.
macro_rules! sql {
    ($text:expr $(,)?) => {{
        static SQL: $crate::store::sql::Sql = $crate::store::sql::Sql::new($text);
        &SQL
    }};
    (sqlite: $sqlite:expr, postgres: $postgres:expr $(,)?) => {{
        static SQL: $crate::store::sql::Sql = $crate::store::sql::Sql::two($sqlite, $postgres);
        &SQL
    }};
}
pub(crate) use sql;

/// A value of a statement.
#[derive(Debug)]
pub(crate) enum Param<'p> {
    Text(Option<Cow<'p, str>>),
    Int(Option<i64>),
    Bool(bool),
}

impl<'p> From<&'p str> for Param<'p> {
    fn from(value: &'p str) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl<'p> From<&'p String> for Param<'p> {
    fn from(value: &'p String) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl From<String> for Param<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(value)))
    }
}

impl<'p> From<Option<&'p str>> for Param<'p> {
    fn from(value: Option<&'p str>) -> Self {
        Self::Text(value.map(Cow::Borrowed))
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

impl From<usize> for Param<'_> {
    fn from(value: usize) -> Self {
        Self::Int(Some(crate::store::column::rows(value)))
    }
}

impl From<Option<i64>> for Param<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Timestamp> for Param<'_> {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.as_millis()))
    }
}

impl From<Option<Timestamp>> for Param<'_> {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::as_millis))
    }
}

impl From<LaneId> for Param<'_> {
    fn from(value: LaneId) -> Self {
        Self::Int(Some(value.0))
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::Param::from($value)),*] };
}
pub(crate) use params;

/// Several values as one: `json_each(?1)` and `json_array_elements_text(?1::json)` take them apart.
pub(crate) fn json_list<T: serde::Serialize>(values: impl IntoIterator<Item = T>) -> Result<String> {
    crate::store::column::to_json(&values.into_iter().collect::<Vec<_>>())
}

/// A row of a result.
pub(crate) trait Row {
    fn text(&self, column: usize) -> Result<&str>;
    fn optional_text(&self, column: usize) -> Result<Option<&str>>;
    fn int(&self, column: usize) -> Result<i64>;
    fn optional_int(&self, column: usize) -> Result<Option<i64>>;
    fn flag(&self, column: usize) -> Result<bool>;

    fn owned(&self, column: usize) -> Result<String> {
        self.text(column).map(ToOwned::to_owned)
    }

    fn optional_owned(&self, column: usize) -> Result<Option<String>> {
        Ok(self.optional_text(column)?.map(ToOwned::to_owned))
    }

    fn moment(&self, column: usize) -> Result<Timestamp> {
        self.int(column).map(Timestamp::from_millis)
    }

    fn optional_moment(&self, column: usize) -> Result<Option<Timestamp>> {
        Ok(self.optional_int(column)?.map(Timestamp::from_millis))
    }

    fn count(&self, column: usize) -> Result<u32> {
        self.int(column).map(crate::store::column::count)
    }
}

/// How a row is read. A function and no closure: what a future of PostgreSQL's holds has to be `Send`.
pub(crate) type Read<T> = fn(&dyn Row) -> Result<T>;

/// An open transaction.
#[allow(async_fn_in_trait)] // used with known types only, whose futures are seen to be `Send`
pub(crate) trait Tx {
    /// The store's clock, once for the whole of a transaction. A transaction that locks no lane first has to ask for
    /// it: [`Tx::tell_time`].
    fn now(&self) -> Timestamp;

    /// Before [`Tx::now`], where no lane is locked.
    async fn tell_time(&self) -> Result<()>;

    /// Returns how many rows it changed.
    async fn run(&self, sql: &Sql, params: &[Param<'_>]) -> Result<u64>;

    async fn all<T: Send>(&self, sql: &Sql, params: &[Param<'_>], read: Read<T>) -> Result<Vec<T>>;

    async fn one<T: Send>(&self, sql: &Sql, params: &[Param<'_>], read: Read<T>) -> Result<Option<T>> {
        Ok(self.all(sql, params, read).await?.into_iter().next())
    }

    /// Locks the lane until the transaction ends: whoever writes in a lane begins with this, and what is read
    /// afterwards is what is committed. `None`: the chat is forgotten.
    async fn lock(&self, lane: LaneId) -> Result<Option<Lane>>;

    /// Locks the lane of a lease that still holds.
    async fn hold(&self, lease: &Lease) -> Result<Lane>;

    /// For those that only read: the lane, unless the lease is lost.
    async fn check(&self, lease: &Lease) -> Result<Lane>;

    /// One transaction after the other, of all that name this key.
    async fn serialize(&self, _key: &str) -> Result<()> {
        Ok(())
    }

    /// Writes back what has changed since the lane was locked.
    async fn save(&self, lane: &Lane) -> Result<()>;

    /// The next number of a part.
    async fn next_part(&self) -> Result<i64>;

    /// What is to be told after the commit.
    fn wakeups(&self) -> &Wakeups;
}
