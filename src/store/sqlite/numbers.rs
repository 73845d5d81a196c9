//! The numbers of rows, counted in the memory of the one process that makes rows. A number never comes again, whatever
//! is deleted: what was the highest is written down before rows are.

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, params};

#[derive(Debug, Default)]
pub(super) struct Numbers {
    lanes: AtomicI64,
    messages: AtomicI64,
    parts: AtomicI64,
}

impl Numbers {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let last = |table: &str, column: &str| {
            let sql = format!(
                "SELECT max(coalesce((SELECT last FROM sequences WHERE name = ?1), 0),
                    coalesce((SELECT max({column}) FROM {table}), 0))"
            );
            connection.query_row(&sql, [table], |row| row.get(0)).map(AtomicI64::new)
        };
        Ok(Self { lanes: last("lanes", "id")?, messages: last("messages", "seq")?, parts: last("parts", "seq")? })
    }

    fn all(&self) -> [(&'static str, &AtomicI64); 3] {
        [("lanes", &self.lanes), ("messages", &self.messages), ("parts", &self.parts)]
    }

    /// In the transaction that deletes rows.
    pub(super) fn keep(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (table, last) in self.all() {
            let mut keep = connection.prepare_cached("UPDATE sequences SET last = ?1 WHERE name = ?2 AND last < ?1")?;
            keep.execute(params![last.load(Ordering::Relaxed), table])?;
        }
        Ok(())
    }

    pub(super) fn lane(&self) -> i64 {
        self.lanes.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn message(&self) -> i64 {
        self.messages.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn part(&self) -> i64 {
        self.parts.fetch_add(1, Ordering::Relaxed) + 1
    }
}
