//! Manual retries of failed and held messages.

use super::tx::{Tx, corrupt, get, params, state};
use super::{deliveries, lanes};
use crate::domain::id::{LaneId, MessageId};
use crate::store::{Discarded, MessageState, Result, Retried, Work};

const LANE: &str = "SELECT lane FROM fini_bridge.messages WHERE id = $1";

pub(super) async fn retry(tx: &Tx<'_>, message: MessageId) -> Result<Retried> {
    let id = message.to_string();
    let Some(lane) = tx.one(LANE, params![&id], |row| get::<Option<i64>>(row, 0)).await? else {
        return Ok(Retried::NoSuchMessage);
    };
    if let Some(lane) = lane {
        lanes::lock(tx, LaneId(lane), Work::Turns).await?;
        lanes::lock(tx, LaneId(lane), Work::Deliveries).await?;
        lock_text(tx, &id).await?;
    }
    // pruned: of any message that would be asked again with this one.
    let found = tx
        .one(
            "SELECT m.state, m.turn, t.state, m.pruned
                OR EXISTS (SELECT 1 FROM fini_bridge.messages AS o WHERE o.turn = m.turn AND o.pruned)
             FROM fini_bridge.messages AS m LEFT JOIN fini_bridge.turns AS t ON t.id = m.turn WHERE m.id = $1",
            params![&id],
            |row| {
                let turn: (Option<String>, Option<String>) = (get(row, 1)?, get(row, 2)?);
                Ok((get::<String>(row, 0)?, turn, get::<bool>(row, 3)?))
            },
        )
        .await?;
    let Some((now, turn, pruned)) = found else { return Ok(Retried::NoSuchMessage) };
    if !matches!(state(&now)?, MessageState::Failed | MessageState::Held) {
        return Ok(Retried::Not(format!("it is {now}, neither failed nor held")));
    }
    let Some(lane) = lane.map(LaneId) else {
        return Ok(Retried::Not("it could not be read when it came".to_owned()));
    };
    if pruned {
        return Ok(Retried::Not("its text is not kept any more".to_owned()));
    }
    match turn {
        (Some(turn), Some(outcome)) if outcome == "answered" => deliver_again(tx, lane, &turn).await,
        (Some(turn), Some(_)) => ask_again(tx, lane, &turn).await,
        _ => Err(corrupt("a failed message without a turn")),
    }
}

/// As with a retry: of all messages of its turn. What the platform says later about a part still counts.
pub(super) async fn discard(tx: &Tx<'_>, message: MessageId) -> Result<Discarded> {
    let id = message.to_string();
    let Some(lane) = tx.one(LANE, params![&id], |row| get::<Option<i64>>(row, 0)).await? else {
        return Ok(Discarded::NoSuchMessage);
    };
    if let Some(lane) = lane {
        lanes::lock(tx, LaneId(lane), Work::Turns).await?;
        lanes::lock(tx, LaneId(lane), Work::Deliveries).await?;
    }
    let discarded = tx
        .run(
            "UPDATE fini_bridge.messages SET state = 'dropped', reason = 'discarded'
             WHERE state IN ('failed', 'held') AND (id = $1 OR turn =
                (SELECT turn FROM fini_bridge.messages WHERE id = $1 AND state IN ('failed', 'held')))",
            params![&id],
        )
        .await?;
    if discarded > 0 {
        return Ok(Discarded::Yes);
    }
    let now = tx
        .one("SELECT state FROM fini_bridge.messages WHERE id = $1", params![&id], |row| get::<String>(row, 0))
        .await?;
    now.map_or(Ok(Discarded::NoSuchMessage), |now| Ok(Discarded::Not(state(&now)?)))
}

/// Pruning takes text away without the lane's lock.
async fn lock_text(tx: &Tx<'_>, message: &str) -> Result<()> {
    let turn = "SELECT t.id FROM fini_bridge.turns AS t JOIN fini_bridge.messages AS m ON m.turn = t.id
        WHERE m.id = $1 FOR NO KEY UPDATE OF t";
    if let Some(turn) = tx.one(turn, params![message], |row| get::<String>(row, 0)).await? {
        let members = "SELECT 1 FROM fini_bridge.messages WHERE turn = $1 ORDER BY seq FOR NO KEY UPDATE";
        tx.all(members, params![turn], |_| Ok(())).await?;
    }
    Ok(())
}

/// Its messages keep their seq, so they are the lane's head again; their age counts from now.
async fn ask_again(tx: &Tx<'_>, lane: LaneId, turn: &str) -> Result<Retried> {
    tx.run(
        "UPDATE fini_bridge.messages SET state = 'received', reason = NULL, detail = NULL, turn = NULL, place = NULL,
            wait_until = NULL, dormant = false, ended_at = NULL, waiting_since = $1
         WHERE turn = $2",
        params![tx.now(), turn],
    )
    .await?;
    lanes::schedule(tx, lane, Work::Turns, tx.now).await?;
    Ok(Retried::Turn)
}

async fn deliver_again(tx: &Tx<'_>, lane: LaneId, turn: &str) -> Result<Retried> {
    let waiting = tx
        .run(
            "UPDATE fini_bridge.parts SET state = 'pending', reason = NULL, detail = NULL, attempts = 0,
                hold_until = NULL, sending_since = NULL, receipt = NULL, answered_at = $1
             WHERE turn = $2 AND state IN ('failed', 'held') AND part IS NOT NULL",
            params![tx.now(), turn],
        )
        .await?;
    if waiting == 0 {
        return Ok(Retried::Not("its replies are not kept any more".to_owned()));
    }
    deliveries::settle(tx, turn).await?;
    lanes::schedule(tx, lane, Work::Deliveries, tx.now).await?;
    Ok(Retried::Delivery)
}
