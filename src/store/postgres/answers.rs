//! Answers that somebody waits for in the response to a webhook.

use super::deliveries;
use super::lanes::{self, FIRST_PART};
use super::tx::{Tx, from_json, get, params, parsed, state};
use crate::domain::clock::Timestamp;
use crate::domain::id::{LaneId, MessageId};
use crate::store::{AnswerPart, AnswerState, MessageState, RESPONSE_WITHIN, Result, Work};

struct Asked {
    ended: bool,
    turn: Option<String>,
    lane: Option<LaneId>,
}

async fn asked(tx: &Tx<'_>, message: MessageId) -> Result<Option<Asked>> {
    let sql = "SELECT state, turn, lane FROM fini_bridge.messages WHERE id = $1";
    tx.one(sql, params![message.to_string()], |row| {
        let ended = !matches!(state(get(row, 0)?)?, MessageState::Received | MessageState::Asking);
        Ok(Asked { ended, turn: get(row, 1)?, lane: get::<Option<i64>>(row, 2)?.map(LaneId) })
    })
    .await
}

/// Between the end of its turn and its delivery nothing moves then.
async fn asked_locked(tx: &Tx<'_>, message: MessageId) -> Result<Option<Asked>> {
    if let Some(Asked { lane: Some(lane), .. }) = asked(tx, message).await? {
        lanes::lock(tx, lane, Work::Turns).await?;
        lanes::lock(tx, lane, Work::Deliveries).await?;
    }
    asked(tx, message).await
}

async fn parts(tx: &Tx<'_>, turn: &str) -> Result<Vec<AnswerPart>> {
    let sql = "SELECT id, address, part FROM fini_bridge.parts WHERE turn = $1 AND part IS NOT NULL ORDER BY seq";
    tx.all(sql, params![turn], |row| {
        Ok(AnswerPart { id: parsed(get(row, 0)?)?, address: from_json(get(row, 1)?)?, part: from_json(get(row, 2)?)? })
    })
    .await
}

pub(super) async fn answer(tx: &Tx<'_>, message: MessageId) -> Result<AnswerState> {
    Ok(match asked(tx, message).await? {
        None => AnswerState::NoSuchMessage,
        Some(Asked { ended: false, .. }) => AnswerState::Waiting,
        Some(Asked { turn: None, .. }) => AnswerState::Ended(Vec::new()),
        Some(Asked { turn: Some(turn), .. }) => AnswerState::Ended(parts(tx, &turn).await?),
    })
}

/// All who wait try it whenever any turn ends: nothing is locked before their own has.
pub(super) async fn claim(tx: &Tx<'_>, message: MessageId) -> Result<Option<Vec<AnswerPart>>> {
    let Some(Asked { ended: true, .. }) = asked(tx, message).await? else { return Ok(None) };
    let Some(Asked { ended: true, turn, lane }) = asked_locked(tx, message).await? else { return Ok(None) };
    let (Some(turn), Some(lane)) = (turn, lane) else { return Ok(Some(Vec::new())) };
    let blocked = holds_up(tx, lane, &turn).await?;
    let until = tx.now.plus(RESPONSE_WITHIN);
    let claimed = tx
        .run(
            "UPDATE fini_bridge.parts
             SET state = 'sending', sending_since = $1, attempts = attempts + 1, hold_until = $2, reason = NULL
             WHERE turn = $3 AND state = 'pending'",
            params![tx.now(), until.as_millis(), &turn],
        )
        .await?;
    if claimed > 0 && blocked {
        lanes::wake(tx, lane, Work::Deliveries, until).await?;
    }
    Ok(Some(parts(tx, &turn).await?))
}

/// `wait_until` 0: the message has its answer. The rest of its turn wants it too.
pub(super) async fn left(tx: &Tx<'_>, message: MessageId) -> Result<()> {
    let found = asked_locked(tx, message).await?;
    let Some(Asked { ended: true, turn: Some(turn), lane: Some(lane) }) = found else { return Ok(()) };
    tx.run("UPDATE fini_bridge.messages SET wait_until = 0 WHERE id = $1", params![message.to_string()]).await?;
    let others = "SELECT 1 FROM fini_bridge.messages WHERE turn = $1 AND wait_until IS DISTINCT FROM 0 LIMIT 1";
    if tx.one(others, params![&turn], |_| Ok(())).await?.is_some() {
        return hand_over(tx, lane, &turn).await;
    }
    let blocked = holds_up(tx, lane, &turn).await?;
    let sent = tx
        .run(
            "UPDATE fini_bridge.parts SET state = 'sent', sent_at = $1, reason = NULL
             WHERE turn = $2 AND state IN ('pending', 'sending')",
            params![tx.now(), &turn],
        )
        .await?;
    if sent > 0 {
        deliveries::settle(tx, &turn).await?;
        if blocked {
            lanes::wake(tx, lane, Work::Deliveries, tx.now).await?;
        }
    }
    Ok(())
}

pub(super) async fn stop_waiting(tx: &Tx<'_>, message: MessageId) -> Result<()> {
    let found = asked_locked(tx, message).await?;
    tx.run(
        "UPDATE fini_bridge.messages SET wait_until = NULL WHERE id = $1 AND wait_until > 0",
        params![message.to_string()],
    )
    .await?;
    let Some(Asked { turn: Some(turn), lane: Some(lane), .. }) = found else { return Ok(()) };
    hand_over(tx, lane, &turn).await
}

/// To the deliveries, or to whoever still waits for the answer to another message of the same turn.
async fn hand_over(tx: &Tx<'_>, lane: LaneId, turn: &str) -> Result<()> {
    let blocked = holds_up(tx, lane, turn).await?;
    let hold = deliveries::held_back_until(tx, turn).await?;
    let changed = tx
        .run(
            "UPDATE fini_bridge.parts SET hold_until = $1, state = 'pending'
             WHERE turn = $2
                AND (state = 'pending' AND hold_until IS NOT NULL OR state = 'sending' AND hold_until > $3)",
            params![hold, turn, tx.now()],
        )
        .await?;
    if changed > 0 && blocked {
        lanes::wake(tx, lane, Work::Deliveries, hold.map_or(tx.now, Timestamp::from_millis)).await?;
    }
    Ok(())
}

/// Whether the lane's deliveries wait because an answer of this turn is held back. Otherwise the lane has
/// its own reason for when it is due, which is left alone.
async fn holds_up(tx: &Tx<'_>, lane: LaneId, turn: &str) -> Result<bool> {
    let first =
        tx.one(FIRST_PART, params![lane.0], |row| Ok((get::<String>(row, 0)?, get::<Option<i64>>(row, 1)?))).await?;
    Ok(first.is_some_and(|(of, until)| of == turn && until.is_some_and(|until| until > tx.now())))
}
