//! Overwrites what SQLite leaves behind in pages that are in use.
//!
//! `secure_delete` overwrites rows that are deleted and pages that become free. But when rows move between pages
//! because one is full, copies of them stay in the unused middle of the old page, and nothing overwrites them when the
//! row itself is pruned later: about one text in a thousand. So after each pruning that middle is overwritten in every
//! page that has something in it. <https://www.sqlite.org/fileformat2.html#b_tree_pages>

use std::ops::Range;

use rusqlite::{OptionalExtension, params};

use super::tx::{SqliteTx, failed};
use crate::store::Result;

/// Pages looked at in one snapshot, and written in one transaction.
pub(super) const LOOKED_AT_ONCE: i64 = 4096;
pub(super) const WRITTEN_AT_ONCE: usize = 200;

/// A page that holds a long text's rest begins with the number of the next one: with fewer pages than this (128 GiB)
/// its first byte is none of a row page's kinds.
const MOST_PAGES: i64 = 0x0200_0000;

const PAGE: &str = "SELECT data FROM sqlite_dbpage WHERE pgno = ?1";

/// Whether this SQLite can show its pages: it has to be built for that (`.cargo/config.toml`).
pub(super) fn is_possible(tx: &SqliteTx<'_>) -> Result<bool> {
    let is_built_in = "SELECT EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'sqlite_dbpage')";
    let is_built_in: bool = tx.conn.query_row(is_built_in, [], |row| row.get(0)).map_err(failed)?;
    Ok(is_built_in && pages(tx)? < MOST_PAGES)
}

pub(super) fn pages(tx: &SqliteTx<'_>) -> Result<i64> {
    tx.conn.query_row("SELECT page_count FROM pragma_page_count", [], |row| row.get(0)).map_err(failed)
}

/// Those of some pages from this one on that have something in their unused middle.
pub(super) fn dirty(tx: &SqliteTx<'_>, from: i64) -> Result<Vec<i64>> {
    let last = pages(tx)?.min(from + LOOKED_AT_ONCE - 1);
    let mut page = tx.conn.prepare_cached(PAGE).map_err(failed)?;
    let mut found = Vec::new();
    for number in from..=last {
        let is_dirty = page
            .query_row(params![number], |row| Ok(residue(row.get_ref(0)?.as_blob()?, number).is_some()))
            .optional()
            .map_err(failed)?;
        if is_dirty == Some(true) {
            found.push(number);
        }
    }
    Ok(found)
}

/// Looked at once more: the pages may be others by now.
pub(super) fn clean(tx: &SqliteTx<'_>, numbers: &[i64]) -> Result<()> {
    let mut read = tx.conn.prepare_cached(PAGE).map_err(failed)?;
    let mut write = tx.conn.prepare_cached("UPDATE sqlite_dbpage SET data = ?1 WHERE pgno = ?2").map_err(failed)?;
    for number in numbers {
        let page = read.query_row(params![number], |row| row.get::<_, Vec<u8>>(0)).optional().map_err(failed)?;
        let Some(mut page) = page else { continue };
        let Some(unused) = residue(&page, *number) else { continue };
        if let Some(unused) = page.get_mut(unused) {
            unused.fill(0);
        }
        write.execute(params![page, number]).map_err(failed)?;
    }
    Ok(())
}

/// The unused middle of a page with rows, between the pointers to them and the first of them, if anything but zeros
/// stands there. `None` also for a page of another kind.
fn residue(page: &[u8], number: i64) -> Option<Range<usize>> {
    // The first page begins with the file's own header.
    let header = if number == 1 { 100 } else { 0 };
    let pointers = header
        + match page.get(header)? {
            0x0a | 0x0d => 8,
            0x02 | 0x05 => 12,
            _ => return None,
        };
    let two = |at: usize| Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])));
    let rows = two(header + 3)?;
    let first = match two(header + 5)? {
        0 => 0x1_0000,
        first => first,
    };
    let unused = pointers + 2 * rows..first;
    for row in 0..rows {
        let at = two(pointers + 2 * row)?;
        if at < first || at >= page.len() {
            return None;
        }
    }
    page.get(unused.clone())?.iter().any(|byte| *byte != 0).then_some(unused)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::tx::Shared;
    use super::*;
    use crate::domain::clock::Timestamp;

    fn count(connection: &Connection, text: &str) -> usize {
        let pages = connection
            .prepare("SELECT data FROM sqlite_dbpage")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(|page| page.unwrap())
            .collect::<Vec<Vec<u8>>>();
        pages.iter().map(|page| page.windows(text.len()).filter(|window| *window == text.as_bytes()).count()).sum()
    }

    /// Rows grow until their pages are full, and lose their text later.
    fn used(seed: u64) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "PRAGMA secure_delete = ON; CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT, more TEXT); BEGIN",
            )
            .unwrap();
        let mut random = seed;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for id in 0..3000_u64 {
            let text = "CANARY ".repeat([1, 2, 5, 20, 60, 200, 600, 3000][usize::try_from(next(8)).unwrap()]);
            connection.execute("INSERT INTO t (id, text) VALUES (?1, ?2)", params![id.cast_signed(), text]).unwrap();
            connection
                .execute("UPDATE t SET more = 'a longer state' WHERE id = ?1", params![next(id + 1).cast_signed()])
                .unwrap();
        }
        connection.execute_batch("UPDATE t SET text = NULL; COMMIT").unwrap();
        connection
    }

    #[test]
    fn what_sqlite_leaves_in_pages_that_are_in_use_is_overwritten_and_no_row_is_touched() {
        let mut left = 0;
        for seed in 0..4 {
            let connection = used(seed);
            left += count(&connection, "CANARY");
            let rows = "SELECT group_concat(id || coalesce(more, '')) FROM t";
            let before: String = connection.query_row(rows, [], |row| row.get(0)).unwrap();
            let shared = Shared::for_tests();
            let tx = SqliteTx::new(&connection, Timestamp::default(), &shared);
            assert!(is_possible(&tx).unwrap(), "built without LIBSQLITE3_FLAGS of .cargo/config.toml");
            connection.execute_batch("BEGIN").unwrap();
            clean(&tx, &dirty(&tx, 1).unwrap()).unwrap();
            connection.execute_batch("COMMIT").unwrap();
            assert_eq!(dirty(&tx, 1).unwrap(), [0; 0]);
            assert_eq!(count(&connection, "CANARY"), 0);
            let after: String = connection.query_row(rows, [], |row| row.get(0)).unwrap();
            assert_eq!(before, after);
            let health: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(health, "ok");
        }
        assert!(left > 0, "SQLite leaves nothing by itself any more: this module can go");
    }

    #[test]
    fn pages_of_other_kinds_are_left_alone() {
        for first in [0_u8, 1, 3, 0xff] {
            let mut page = vec![7_u8; 4096];
            page[0] = first;
            assert_eq!(residue(&page, 2), None);
        }
        assert_eq!(residue(&[], 2), None);
        assert_eq!(residue(&[13], 2), None);
    }
}
