//! Times that lie ahead once the store's clock was set back.

use super::{Sql, Tx, params};
use crate::store::Result;
use crate::store::steps::LONGEST_HOLD;

/// Clamp to now when something began that has not ended.
static CLAMP_STARTED: [Sql; 5] = [
    Sql::new("UPDATE messages SET waiting_since = ?1 WHERE state = 'received' AND waiting_since > ?1"),
    Sql::new("UPDATE turns SET asked_at = ?1 WHERE ended_at IS NULL AND asked_at > ?1"),
    Sql::new("UPDATE turns SET unknown_since = ?1 WHERE ended_at IS NULL AND unknown_since > ?1"),
    Sql::new(
        "UPDATE conversations SET asked_at = ?1
         WHERE (lane, generation) IN (SELECT lane, generation FROM turns WHERE ended_at IS NULL) AND asked_at > ?1",
    ),
    Sql::new("UPDATE parts SET sending_since = ?1 WHERE state IN ('pending', 'sending') AND sending_since > ?1"),
];

/// Clamp holds to at most [`LONGEST_HOLD`] from now.
static CLAMP_HOLDS: [Sql; 2] = [
    Sql::new("UPDATE messages SET wait_until = ?1 WHERE ended_at IS NULL AND wait_until > ?1"),
    Sql::new("UPDATE parts SET hold_until = ?1 WHERE state IN ('pending', 'sending') AND hold_until > ?1"),
];

/// When a lane is due is the store's own to clamp.
pub(crate) async fn clamp<T: Tx>(tx: &T) -> Result<()> {
    for started in &CLAMP_STARTED {
        tx.run(started, params![tx.now()]).await?;
    }
    for hold in &CLAMP_HOLDS {
        tx.run(hold, params![tx.now().plus(LONGEST_HOLD)]).await?;
    }
    Ok(())
}
