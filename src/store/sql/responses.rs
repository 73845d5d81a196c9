//! Answers that somebody waits for in the response to a webhook.

use super::journal::{self, appended};
use super::leases::first_part;
use super::outbox::{settle, wake};
use super::{Row, Tx, json_list, params, sql};
use crate::domain::clock::Timestamp;
use crate::domain::id::{LaneId, MessageId};
use crate::domain::message::{Address, Part};
use crate::store::column::{from_json, parsed, state};
use crate::store::lane::Lane;
use crate::store::{AnswerPart, MessageState, RESPONSE_WITHIN, Result};

struct Asked {
    has_ended: bool,
    turn: Option<String>,
    lane: Option<LaneId>,
}

async fn asked<T: Tx>(tx: &T, message: MessageId) -> Result<Option<Asked>> {
    let sql = sql!("SELECT state, turn, lane FROM messages WHERE id = ?1");
    tx.one(sql, params![message.to_string()], |row: &dyn Row| {
        let has_ended = !matches!(state(row.text(0)?)?, MessageState::Received | MessageState::Asking);
        Ok(Asked { has_ended, turn: row.optional_owned(1)?, lane: row.optional_int(2)?.map(LaneId) })
    })
    .await
}

/// Of a message whose turn has ended: between that and its delivery nothing moves then.
async fn ended<T: Tx>(tx: &T, message: MessageId) -> Result<Option<(Lane, String)>> {
    // Who only waits doesn't wait for whoever writes in the chat, too.
    let Some(Asked { has_ended: true, lane: Some(lane), .. }) = asked(tx, message).await? else { return Ok(None) };
    let Some(lane) = tx.lock(lane).await? else { return Ok(None) };
    let asked = asked(tx, message).await?.filter(|asked| asked.has_ended);
    Ok(asked.and_then(|asked| asked.turn).map(|turn| (lane, turn)))
}

async fn parts<T: Tx>(tx: &T, turn: &str) -> Result<Vec<AnswerPart>> {
    let sql = sql!("SELECT id, address, part FROM parts WHERE turn = ?1 AND part IS NOT NULL ORDER BY seq");
    tx.all(sql, params![turn], |row| {
        Ok(AnswerPart {
            id: parsed(row.text(0)?)?,
            address: Address(from_json(row.text(1)?)?),
            part: Part(from_json(row.text(2)?)?),
        })
    })
    .await
}

pub(crate) async fn have_ended<T: Tx>(tx: &T, messages: &[MessageId]) -> Result<Vec<MessageId>> {
    let ids = json_list(messages.iter().map(ToString::to_string))?;
    tx.all(
        sql!("SELECT id FROM messages WHERE id IN TEXTS(?1) AND state NOT IN ('received', 'asking')"),
        params![&ids],
        |row| parsed(row.text(0)?),
    )
    .await
}

pub(crate) async fn claim<T: Tx>(tx: &T, message: MessageId) -> Result<Option<Vec<AnswerPart>>> {
    let Some((mut lane, turn)) = ended(tx, message).await? else {
        // Without a turn it never gets an answer.
        let is_over = asked(tx, message).await?.is_some_and(|asked| asked.has_ended);
        return Ok(is_over.then(Vec::new));
    };
    let is_blocked = holds_up(tx, &lane, &turn).await?;
    let until = tx.now().plus(RESPONSE_WITHIN);
    let claimed = tx
        .run(
            sql!(
                "UPDATE parts SET state = 'sending', sending_since = ?1, attempts = attempts + 1, hold_until = ?2,
                    reason = NULL
                 WHERE turn = ?3 AND state = 'pending'"
            ),
            params![tx.now(), until, &turn],
        )
        .await?;
    if claimed > 0 && is_blocked {
        wake(tx, &mut lane, until);
        tx.save(&lane).await?;
    }
    parts(tx, &turn).await.map(Some)
}

/// `wait_until` 0: the message has its answer. The rest of its turn wants it too.
pub(crate) async fn sent<T: Tx>(tx: &T, message: MessageId) -> Result<()> {
    let Some((mut lane, turn)) = ended(tx, message).await? else { return Ok(()) };
    tx.run(sql!("UPDATE messages SET wait_until = 0 WHERE id = ?1"), params![message.to_string()]).await?;
    let others = sql!("SELECT 1 FROM messages WHERE turn = ?1 AND (wait_until IS NULL OR wait_until <> 0) LIMIT 1");
    if tx.one(others, params![&turn], |_| Ok(())).await?.is_some() {
        return hand_over(tx, lane, &turn).await;
    }
    let is_blocked = holds_up(tx, &lane, &turn).await?;
    let sent = tx
        .run(
            sql!(concat!(
                "UPDATE parts SET state = 'sent', sent_at = ?1, reason = NULL, journal = ",
                appended!("?3"),
                " WHERE turn = ?2 AND state IN ('pending', 'sending')"
            )),
            params![tx.now(), &turn, journal::part_sent_in_response(tx)?],
        )
        .await?;
    if sent > 0 {
        settle(tx, &turn).await?;
        if is_blocked {
            wake(tx, &mut lane, tx.now());
            tx.save(&lane).await?;
        }
    }
    Ok(())
}

pub(crate) async fn release<T: Tx>(tx: &T, message: MessageId) -> Result<()> {
    let Some(Asked { lane: Some(lane), .. }) = asked(tx, message).await? else { return Ok(()) };
    let Some(lane) = tx.lock(lane).await? else { return Ok(()) };
    let free = sql!("UPDATE messages SET wait_until = NULL WHERE id = ?1 AND wait_until > 0");
    tx.run(free, params![message.to_string()]).await?;
    match asked(tx, message).await? {
        Some(Asked { turn: Some(turn), .. }) => hand_over(tx, lane, &turn).await,
        _ => Ok(()),
    }
}

/// To the deliveries, or to whoever still waits for the answer to another message of the same turn.
async fn hand_over<T: Tx>(tx: &T, mut lane: Lane, turn: &str) -> Result<()> {
    let is_blocked = holds_up(tx, &lane, turn).await?;
    let latest = sql!("SELECT max(wait_until) FROM messages WHERE turn = ?1");
    let hold_until = tx.one(latest, params![turn], |row| row.optional_moment(0)).await?.flatten();
    let hold_until: Option<Timestamp> = hold_until.filter(|until| *until > tx.now());
    let changed = tx
        .run(
            sql!(
                "UPDATE parts SET hold_until = ?1, state = 'pending' WHERE turn = ?2
                    AND (state = 'pending' AND hold_until IS NOT NULL OR state = 'sending' AND hold_until > ?3)"
            ),
            params![hold_until, turn, tx.now()],
        )
        .await?;
    if changed > 0 && is_blocked {
        wake(tx, &mut lane, hold_until.unwrap_or(tx.now()));
        tx.save(&lane).await?;
    }
    Ok(())
}

/// Whether the lane's deliveries wait because an answer of this turn is held back. Otherwise the lane has
/// its own reason for when it is due, which is left alone.
async fn holds_up<T: Tx>(tx: &T, lane: &Lane, turn: &str) -> Result<bool> {
    let first = first_part(tx, lane).await?;
    Ok(first.is_some_and(|first| first.turn == turn && first.hold_until.is_some_and(|until| until > tx.now())))
}
