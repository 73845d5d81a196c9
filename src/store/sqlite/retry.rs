//! Manual retries of failed and held messages.

use rusqlite::params;

use super::tx::{Tx, corrupt, state};
use super::{deliveries, lanes};
use crate::domain::id::{LaneId, MessageId};
use crate::store::{Discarded, MessageState, Result, Retried, Work};

pub(super) fn retry(tx: &Tx<'_>, message: MessageId) -> Result<Retried> {
    let found = tx.one(
        "SELECT m.state, m.lane, m.turn, t.state,
            m.pruned OR EXISTS (SELECT 1 FROM messages o WHERE o.turn = m.turn AND o.pruned)
         FROM messages m LEFT JOIN turns t ON t.id = m.turn WHERE m.id = ?1",
        params![message.to_string()],
        |row| {
            let now: (String, Option<i64>) = (row.get(0)?, row.get(1)?);
            let turn: (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
            Ok((now, turn, row.get::<_, bool>(4)?))
        },
    )?;
    let Some(((now, lane), turn, pruned)) = found else { return Ok(Retried::NoSuchMessage) };
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
        (Some(turn), Some(outcome)) if outcome == "answered" => deliver_again(tx, &turn),
        (Some(turn), Some(_)) => ask_again(tx, lane, &turn),
        _ => Err(corrupt("a failed message without a turn")),
    }
}

/// Its messages keep their seq, so they are the lane's head again; their age counts from now.
fn ask_again(tx: &Tx<'_>, lane: LaneId, turn: &str) -> Result<Retried> {
    tx.run(
        "UPDATE messages SET state = 'received', reason = NULL, detail = NULL, turn = NULL, place = NULL,
            wait_until = NULL, dormant = 0, ended_at = NULL, waiting_since = ?1
         WHERE turn = ?2",
        params![tx.now(), turn],
    )?;
    lanes::schedule(tx, lane, Work::Turns, tx.now)?;
    Ok(Retried::Turn)
}

fn deliver_again(tx: &Tx<'_>, turn: &str) -> Result<Retried> {
    let waiting = tx.run(
        "UPDATE parts SET state = 'pending', reason = NULL, detail = NULL, attempts = 0, hold_until = NULL,
            sending_since = NULL, receipt = NULL, answered_at = ?1
         WHERE turn = ?2 AND state IN ('failed', 'held') AND part IS NOT NULL",
        params![tx.now(), turn],
    )?;
    if waiting == 0 {
        return Ok(Retried::Not("its replies are not kept any more".to_owned()));
    }
    deliveries::settle(tx, turn)?;
    deliveries::schedule_turn(tx, turn)?;
    Ok(Retried::Delivery)
}

/// As with a retry: of all messages of its turn. What the platform says later about a part still counts.
pub(super) fn discard(tx: &Tx<'_>, message: MessageId) -> Result<Discarded> {
    let id = message.to_string();
    let Some(now) = tx.one("SELECT state FROM messages WHERE id = ?1", params![id], |row| row.get::<_, String>(0))?
    else {
        return Ok(Discarded::NoSuchMessage);
    };
    let discarded = tx.run(
        "UPDATE messages SET state = 'dropped', reason = 'discarded'
         WHERE state IN ('failed', 'held')
            AND (id = ?1 OR turn = (SELECT turn FROM messages WHERE id = ?1 AND state IN ('failed', 'held')))",
        params![id],
    )?;
    Ok(if discarded > 0 { Discarded::Yes } else { Discarded::Not(state(&now)?) })
}
