//! A transaction as the steps see it.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::wakeups::Wakeups;
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChatKey, LaneId};
use crate::store::lane::Lane;
use crate::store::{Lease, Result};

/// A statement: `?1`, `?2`, … are its values, and tables stand without their schema. `TEXTS(?1)` and `INTS(?1)` are
/// the values of a [`json_list`], for `IN`.
pub(crate) struct Sql {
    text: Cow<'static, str>,
    for_postgres: Option<Cow<'static, str>>,
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
}

impl Sql {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), for_postgres: None, sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    /// Where the two have to differ.
    pub(crate) const fn two(sqlite: &'static str, postgres: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(sqlite),
            for_postgres: Some(Cow::Borrowed(postgres)),
            sqlite: OnceLock::new(),
            postgres: OnceLock::new(),
        }
    }

    pub(crate) fn made(text: String) -> Self {
        Self { text: Cow::Owned(text), ..Self::new("") }
    }

    pub(crate) fn made_for(sqlite: String, postgres: String) -> Self {
        Self { for_postgres: Some(Cow::Owned(postgres)), ..Self::made(sqlite) }
    }

    pub(crate) fn sqlite(&self) -> &str {
        let values = "(SELECT value FROM json_each(?";
        self.sqlite.get_or_init(|| listed(&self.text, ["TEXTS(?", "INTS(?"], [values, values], ["))", "))"]))
    }

    pub(crate) fn postgres(&self) -> &str {
        let values = "(SELECT json_array_elements_text(?";
        self.postgres.get_or_init(|| {
            let text = self.for_postgres.as_ref().unwrap_or(&self.text);
            listed(text, ["TEXTS(?", "INTS(?"], [values, values], ["::json))", "::json)::bigint)"]).replace('?', "$")
        })
    }
}

/// Replaces each `NAME(?n)` by its beginning, the number and its end.
fn listed(text: &str, names: [&str; 2], begin: [&str; 2], end: [&str; 2]) -> String {
    let mut listed = text.to_owned();
    for ((name, begin), end) in names.into_iter().zip(begin).zip(end) {
        let mut parts = listed.split(name);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (number, rest) = part.split_once(')').unwrap_or((part, ""));
            whole.extend([begin, number, end, rest]);
        }
        listed = whole;
    }
    listed
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

impl From<Option<String>> for Param<'_> {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(Cow::Owned))
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

/// Several values as one.
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

    /// A change that nothing else in this transaction depends on: where a round trip costs something, it goes along
    /// with others, before the next statement or the commit.
    async fn run_later(&self, sql: &Sql, params: &[Param<'_>]) -> Result<()> {
        self.run(sql, params).await.map(drop)
    }

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

    /// Of these lanes those that nobody else writes in at this moment, locked.
    async fn try_lock(&self, lanes: &[LaneId]) -> Result<Vec<Lane>>;

    /// One transaction after the other, of all that name this key. SQLite has one writer.
    async fn serialize(&self, _key: &str) -> Result<()> {
        Ok(())
    }

    /// False: another process removes something at this moment. Two would be in each other's way.
    async fn is_alone(&self) -> Result<bool> {
        Ok(true)
    }

    /// A chat as the store keeps it.
    fn chat<'k>(&self, chat: &'k ChatKey) -> Cow<'k, str> {
        Cow::Borrowed(chat.as_str())
    }

    /// Writes back what has changed since the lane was locked.
    async fn save(&self, lane: &Lane) -> Result<()>;

    /// Before rows are deleted: what was the highest number never comes again.
    async fn keep_numbers(&self) -> Result<()> {
        Ok(())
    }

    /// The next number of a part.
    async fn next_part(&self) -> Result<i64>;

    /// What is to be told after the commit.
    fn wakeups(&self) -> &Wakeups;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_written_once_for_both() {
        let sql = Sql::new("DELETE FROM t WHERE a IN TEXTS(?12) AND b = ?2 AND c IN INTS(?3)");
        assert_eq!(
            sql.sqlite(),
            "DELETE FROM t WHERE a IN (SELECT value FROM json_each(?12)) AND b = ?2
                AND c IN (SELECT value FROM json_each(?3))"
                .replace("\n                ", " ")
        );
        assert_eq!(
            sql.postgres(),
            "DELETE FROM t WHERE a IN (SELECT json_array_elements_text($12::json)) AND b = $2
                AND c IN (SELECT json_array_elements_text($3::json)::bigint)"
                .replace("\n                ", " ")
        );
        assert_eq!(Sql::two("a ?1", "b $1").postgres(), "b $1");
    }
}
