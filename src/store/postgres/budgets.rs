//! Ledgers of budgets. A ledger's row is its lock.

use super::tx::{Tx, from_json, get, params, to_json};
use crate::domain::clock::Timestamp;
use crate::store::Result;
use crate::store::budgets::{Grant, Ledger, Spending};

pub(super) async fn spend(tx: &Tx<'_>, spending: &Spending) -> Result<Vec<Grant>> {
    let key = spending.budget.as_str();
    let read = "SELECT ledger FROM fini_bridge.budgets WHERE key = $1 FOR UPDATE";
    let mut kept: Option<String> = tx.one(read, params![key], |row| get(row, 0)).await?;
    if kept.is_none() {
        tx.run(
            "INSERT INTO fini_bridge.budgets (key, ledger) VALUES ($1, '[]') ON CONFLICT (key) DO NOTHING",
            params![key],
        )
        .await?;
        kept = tx.one(read, params![key], |row| get(row, 0)).await?;
    }
    let mut ledger: Ledger = kept.map(|kept| from_json(&kept)).transpose()?.unwrap_or_default();
    // The time of the transaction's begin may lie before that of a grant which it waited for.
    let now = tx.one("SELECT fini_bridge.now_ms()", params![], |row| get(row, 0)).await?;
    let grants = ledger.spend(spending, now.map_or(tx.now, Timestamp::from_millis));
    if grants.iter().any(|grant| grant.number > 0) {
        let ledger = to_json(&ledger)?;
        tx.run("UPDATE fini_bridge.budgets SET ledger = $1 WHERE key = $2", params![ledger, key]).await?;
    }
    Ok(grants)
}
