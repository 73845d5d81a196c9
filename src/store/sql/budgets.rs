//! Ledgers of budgets. A ledger's row is its lock.

use std::time::Duration;

use super::{Tx, params, sql};
use crate::domain::id::ChannelName;
use crate::store::Result;
use crate::store::budgets::{Grant, Ledger, Spending};
use crate::store::column::{corrupt, from_json, to_json};

/// Before the name of a channel that is paused.
const PAUSE: &str = "pause/";

async fn lock<T: Tx>(tx: &T, key: &str) -> Result<Ledger> {
    let locked = sql!(
        "INSERT INTO budgets AS b (key, ledger) VALUES (?1, '[]')
         ON CONFLICT (key) DO UPDATE SET ledger = b.ledger RETURNING ledger"
    );
    let ledger = tx.one(locked, params![key], |row| from_json(row.text(0)?)).await?;
    // The transaction may have begun before a grant that it waited for: its time is that of the lock.
    tx.tell_time().await?;
    ledger.ok_or_else(|| corrupt("a ledger that was just written is missing"))
}

async fn write<T: Tx>(tx: &T, key: &str, ledger: &Ledger) -> Result<()> {
    tx.run_later(sql!("UPDATE budgets SET ledger = ?1 WHERE key = ?2"), params![to_json(ledger)?, key]).await
}

pub(crate) async fn spend<T: Tx>(tx: &T, spending: &Spending) -> Result<Vec<Grant>> {
    let key = spending.budget.as_str();
    let mut ledger = lock(tx, key).await?;
    let grants = ledger.spend(spending, tx.now());
    if grants.iter().any(|grant| grant.number > 0) {
        write(tx, key, &ledger).await?;
    }
    Ok(grants)
}

pub(crate) async fn pause<T: Tx>(tx: &T, channel: &ChannelName, time: Duration) -> Result<()> {
    let key = format!("{PAUSE}{channel}");
    let mut ledger = lock(tx, &key).await?;
    ledger.pause(tx.now().plus(time));
    write(tx, &key, &ledger).await
}

pub(crate) async fn pauses<T: Tx>(tx: &T) -> Result<Vec<(ChannelName, Duration)>> {
    tx.tell_time().await?;
    let all = tx
        .all(sql!("SELECT key, ledger FROM budgets WHERE key LIKE 'pause/%'"), &[], |row| {
            let channel = ChannelName::new(row.text(0)?.trim_start_matches(PAUSE));
            Ok((channel, from_json::<Ledger>(row.text(1)?)?))
        })
        .await?;
    let left = all.into_iter().map(|(channel, ledger)| (channel, ledger.paused_for(tx.now())));
    Ok(left.filter(|(_, left)| !left.is_zero()).collect())
}
