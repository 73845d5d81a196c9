//! Answers that somebody waits for in the response to a webhook.

use rusqlite::params;

use super::deliveries;
use super::lanes::{self, FIRST_PART};
use super::tx::{Tx, from_json, parsed, state};
use crate::domain::clock::Timestamp;
use crate::domain::id::{LaneId, MessageId};
use crate::store::{AnswerPart, AnswerState, MessageState, RESPONSE_WITHIN, Result, Work};

pub(super) const MESSAGE: &str = "SELECT state, turn, lane FROM messages WHERE id = ?1";
pub(super) const PARTS: &str = "SELECT id, address, part FROM parts
    WHERE turn = ?1 AND part IS NOT NULL ORDER BY seq";

struct Asked {
    ended: bool,
    turn: Option<String>,
    lane: Option<LaneId>,
}

fn asked(tx: &Tx<'_>, message: MessageId) -> Result<Option<Asked>> {
    let found = tx.one(MESSAGE, params![message.to_string()], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?))
    })?;
    let Some((now, turn, lane)) = found else { return Ok(None) };
    let ended = !matches!(state(&now)?, MessageState::Received | MessageState::Asking);
    Ok(Some(Asked { ended, turn, lane: lane.map(LaneId) }))
}

fn parts(tx: &Tx<'_>, turn: &str) -> Result<Vec<AnswerPart>> {
    let found = tx.all(PARTS, params![turn], |row| {
        Ok([row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?])
    })?;
    let part = |[id, address, part]: [String; 3]| {
        Ok(AnswerPart { id: parsed(&id)?, address: from_json(&address)?, part: from_json(&part)? })
    };
    found.into_iter().map(part).collect()
}

pub(super) fn answer(tx: &Tx<'_>, message: MessageId) -> Result<AnswerState> {
    Ok(match asked(tx, message)? {
        None => AnswerState::NoSuchMessage,
        Some(Asked { ended: false, .. }) => AnswerState::Waiting,
        Some(Asked { turn: None, .. }) => AnswerState::Ended(Vec::new()),
        Some(Asked { turn: Some(turn), .. }) => AnswerState::Ended(parts(tx, &turn)?),
    })
}

pub(super) fn has_ended(tx: &Tx<'_>, message: MessageId) -> Result<bool> {
    Ok(asked(tx, message)?.is_some_and(|asked| asked.ended))
}

pub(super) fn claim(tx: &Tx<'_>, message: MessageId) -> Result<Option<Vec<AnswerPart>>> {
    let Some(Asked { ended: true, turn, lane }) = asked(tx, message)? else { return Ok(None) };
    let (Some(turn), Some(lane)) = (turn, lane) else { return Ok(Some(Vec::new())) };
    let blocked = holds_up(tx, lane, &turn)?;
    let until = tx.now.plus(RESPONSE_WITHIN);
    let claimed = tx.run(
        "UPDATE parts SET state = 'sending', sending_since = ?1, attempts = attempts + 1, hold_until = ?2, reason = NULL
         WHERE turn = ?3 AND state = 'pending'",
        params![tx.now(), until.as_millis(), turn],
    )?;
    if claimed > 0 && blocked {
        lanes::wake(tx, lane, Work::Deliveries, until)?;
    }
    Ok(Some(parts(tx, &turn)?))
}

/// `wait_until` 0: the message has its answer. The rest of its turn wants it too.
pub(super) fn left(tx: &Tx<'_>, message: MessageId) -> Result<()> {
    let Some(Asked { ended: true, turn: Some(turn), lane: Some(lane) }) = asked(tx, message)? else { return Ok(()) };
    tx.run("UPDATE messages SET wait_until = 0 WHERE id = ?1", params![message.to_string()])?;
    let others = "SELECT 1 FROM messages WHERE turn = ?1 AND wait_until IS NOT 0 LIMIT 1";
    if tx.one(others, params![turn], |_| Ok(()))?.is_some() {
        return hand_over(tx, lane, &turn);
    }
    let blocked = holds_up(tx, lane, &turn)?;
    let sent = tx.run(
        "UPDATE parts SET state = 'sent', sent_at = ?1, reason = NULL WHERE turn = ?2 AND state IN ('pending', 'sending')",
        params![tx.now(), turn],
    )?;
    if sent > 0 {
        deliveries::settle(tx, &turn)?;
        if blocked {
            lanes::wake(tx, lane, Work::Deliveries, tx.now)?;
        }
    }
    Ok(())
}

pub(super) fn stop_waiting(tx: &Tx<'_>, message: MessageId) -> Result<()> {
    let id = message.to_string();
    tx.run("UPDATE messages SET wait_until = NULL WHERE id = ?1 AND wait_until > 0", params![id])?;
    let Some(Asked { turn: Some(turn), lane: Some(lane), .. }) = asked(tx, message)? else { return Ok(()) };
    hand_over(tx, lane, &turn)
}

/// To the deliveries, or to whoever still waits for the answer to another message of the same turn.
fn hand_over(tx: &Tx<'_>, lane: LaneId, turn: &str) -> Result<()> {
    let blocked = holds_up(tx, lane, turn)?;
    let hold = deliveries::held_back_until(tx, turn)?;
    let changed = tx.run(
        "UPDATE parts SET hold_until = ?1, state = 'pending'
         WHERE turn = ?2 AND (state = 'pending' AND hold_until IS NOT NULL OR state = 'sending' AND hold_until > ?3)",
        params![hold, turn, tx.now()],
    )?;
    if changed > 0 && blocked {
        lanes::wake(tx, lane, Work::Deliveries, hold.map_or(tx.now, Timestamp::from_millis))?;
    }
    Ok(())
}

/// Whether the lane's deliveries wait because an answer of this turn is held back. Otherwise the lane has
/// its own reason for when it is due, which is left alone.
fn holds_up(tx: &Tx<'_>, lane: LaneId, turn: &str) -> Result<bool> {
    let first =
        tx.one(FIRST_PART, params![lane.0], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    Ok(first.is_some_and(|(of, until)| of == turn && until.is_some_and(|until| until > tx.now())))
}
