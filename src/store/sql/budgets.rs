//! Ledgers of budgets. A ledger's row is its lock.

use super::{Tx, params, sql};
use crate::store::Result;
use crate::store::budgets::{Grant, Ledger, Spending};
use crate::store::column::{corrupt, from_json, to_json};

pub(crate) async fn spend<T: Tx>(tx: &T, spending: &Spending) -> Result<Vec<Grant>> {
    let key = spending.budget.as_str();
    let locked = sql!(
        "INSERT INTO budgets AS b (key, ledger) VALUES (?1, '[]')
         ON CONFLICT (key) DO UPDATE SET ledger = b.ledger RETURNING ledger"
    );
    let ledger = tx.one(locked, params![key], |row| from_json(row.text(0)?)).await?;
    let mut ledger: Ledger = ledger.ok_or_else(|| corrupt("a ledger that was just written is missing"))?;
    // The transaction may have begun before a grant that it waited for: its time is that of the lock.
    tx.tell_time().await?;
    let grants = ledger.spend(spending, tx.now());
    if grants.iter().any(|grant| grant.number > 0) {
        tx.run_later(sql!("UPDATE budgets SET ledger = ?1 WHERE key = ?2"), params![to_json(&ledger)?, key]).await?;
    }
    Ok(grants)
}
