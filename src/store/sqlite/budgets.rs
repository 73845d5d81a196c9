//! Ledgers of budgets.

use rusqlite::params;

use super::tx::{Tx, from_json, to_json};
use crate::store::Result;
use crate::store::budgets::{Grant, Ledger, Spending};

pub(super) fn spend(tx: &Tx<'_>, spending: &Spending) -> Result<Vec<Grant>> {
    let key = spending.budget.as_str();
    let kept = tx.one("SELECT ledger FROM budgets WHERE key = ?1", [key], |row| row.get::<_, String>(0))?;
    let mut ledger: Ledger = kept.map(|kept| from_json(&kept)).transpose()?.unwrap_or_default();
    let grants = ledger.spend(spending, tx.now);
    if grants.iter().any(|grant| grant.number > 0) {
        tx.run(
            "INSERT INTO budgets (key, ledger) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET ledger = excluded.ledger",
            params![key, to_json(&ledger)?],
        )?;
    }
    Ok(grants)
}
