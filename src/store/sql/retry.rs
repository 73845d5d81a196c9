//! A person's decisions about failed and held messages.

use super::journal::{self, appended};
use super::outbox::settle;
use super::{Row, Tx, params, sql};
use crate::domain::id::{LaneId, MessageId};
use crate::store::column::{corrupt, state};
use crate::store::lane::Lane;
use crate::store::{Discarded, MessageState, Result, Retried, WorkKind};

/// `None`: no such message. `Some(None)`: it has no chat.
async fn lane_of<T: Tx>(tx: &T, message: &str) -> Result<Option<Option<Lane>>> {
    let sql = sql!("SELECT lane FROM messages WHERE id = ?1");
    match tx.one(sql, params![message], |row| row.optional_int(0)).await? {
        None => Ok(None),
        Some(None) => {
            tx.tell_time().await?;
            Ok(Some(None))
        }
        Some(Some(lane)) => Ok(Some(tx.lock(LaneId(lane)).await?)),
    }
}

pub(crate) async fn retry<T: Tx>(tx: &T, message: MessageId) -> Result<Retried> {
    let id = message.to_string();
    let Some(lane) = lane_of(tx, &id).await? else { return Ok(Retried::NoSuchMessage) };
    lock_text(tx, &id).await?;
    // pruned: of any message that would be asked again with this one.
    let found = tx
        .one(
            sql!(
                "SELECT m.state, m.turn, t.state, m.pruned
                    OR EXISTS (SELECT 1 FROM messages AS o WHERE o.turn = m.turn AND o.pruned)
                 FROM messages AS m LEFT JOIN turns AS t ON t.id = m.turn WHERE m.id = ?1"
            ),
            params![&id],
            |row: &dyn Row| Ok((row.owned(0)?, (row.optional_owned(1)?, row.optional_owned(2)?), row.flag(3)?)),
        )
        .await?;
    let Some((now, turn, pruned)) = found else { return Ok(Retried::NoSuchMessage) };
    if !matches!(state(&now)?, MessageState::Failed | MessageState::Held) {
        return Ok(Retried::Not(format!("it is {now}, neither failed nor held")));
    }
    let Some(lane) = lane else {
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

/// Pruning takes text away without the lane's lock. SQLite has one writer.
async fn lock_text<T: Tx>(tx: &T, message: &str) -> Result<()> {
    let turn = sql!(
        sqlite: "SELECT turn FROM messages WHERE id = ?1 AND turn IS NOT NULL",
        postgres: "SELECT t.id FROM turns AS t JOIN messages AS m ON m.turn = t.id
            WHERE m.id = $1 FOR NO KEY UPDATE OF t",
    );
    if let Some(turn) = tx.one(turn, params![message], |row| row.owned(0)).await? {
        let members = sql!(
            sqlite: "SELECT 1 WHERE ?1 IS NULL",
            postgres: "SELECT 1 FROM messages WHERE turn = $1 ORDER BY seq FOR NO KEY UPDATE",
        );
        tx.all(members, params![&turn], |_| Ok(())).await?;
    }
    Ok(())
}

/// Its messages keep their seq, so they are the lane's head again; their age counts from now.
async fn ask_again<T: Tx>(tx: &T, mut lane: Lane, turn: &str) -> Result<Retried> {
    tx.run(
        sql!(concat!(
            "UPDATE messages SET state = 'received', reason = NULL, detail = NULL, turn = NULL, place = NULL,
                wait_until = NULL, dormant = false, ended_at = NULL, waiting_since = ?1, journal = ",
            appended!("?3"),
            " WHERE turn = ?2"
        )),
        params![tx.now(), turn, journal::asked_again(tx, turn)?],
    )
    .await?;
    tx.wakeups().make_due(&mut lane, WorkKind::Turns, tx.now(), tx.now());
    tx.save(&lane).await?;
    Ok(Retried::Turn)
}

async fn deliver_again<T: Tx>(tx: &T, mut lane: Lane, turn: &str) -> Result<Retried> {
    let waiting = tx
        .run(
            sql!(
                "UPDATE parts SET state = 'pending', reason = NULL, detail = NULL, attempts = 0, hold_until = NULL,
                    sending_since = NULL, receipt = NULL, answered_at = ?1
                 WHERE turn = ?2 AND state IN ('failed', 'held') AND part IS NOT NULL"
            ),
            params![tx.now(), turn],
        )
        .await?;
    if waiting == 0 {
        return Ok(Retried::Not("its replies are not kept any more".to_owned()));
    }
    let retried = sql!(concat!("UPDATE messages SET journal = ", appended!("?2"), " WHERE turn = ?1"));
    tx.run(retried, params![turn, journal::delivered_again(tx)?]).await?;
    settle(tx, turn).await?;
    tx.wakeups().make_due(&mut lane, WorkKind::Deliveries, tx.now(), tx.now());
    tx.save(&lane).await?;
    Ok(Retried::Delivery)
}

/// As with a retry: of all messages of its turn. What the platform says later about a part still counts.
pub(crate) async fn discard<T: Tx>(tx: &T, message: MessageId) -> Result<Discarded> {
    let id = message.to_string();
    if lane_of(tx, &id).await?.is_none() {
        return Ok(Discarded::NoSuchMessage);
    }
    let discarded = tx
        .run(
            sql!(concat!(
                "UPDATE messages SET state = 'dropped', reason = 'discarded', journal = ",
                appended!("?2"),
                " WHERE state IN ('failed', 'held') AND (id = ?1 OR turn =
                    (SELECT turn FROM messages WHERE id = ?1 AND state IN ('failed', 'held')))"
            )),
            params![&id, journal::discarded(tx)?],
        )
        .await?;
    if discarded > 0 {
        return Ok(Discarded::Yes);
    }
    let now = tx.one(sql!("SELECT state FROM messages WHERE id = ?1"), params![&id], |row| row.owned(0)).await?;
    now.map_or(Ok(Discarded::NoSuchMessage), |now| Ok(Discarded::Not(state(&now)?)))
}
