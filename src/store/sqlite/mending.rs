//! Once more, by a person's decision; and forgetting what need not be kept.

use std::time::Duration;

use rusqlite::params;

use super::tx::{Tx, corrupt, rows, state};
use super::{deliveries, lanes};
use crate::domain::id::{LaneId, MessageId};
use crate::store::{Discarded, MessageState, Result, Retried, Work};

/// So that forgetting a month at once holds up nobody.
pub(super) const PRUNED_AT_ONCE: usize = 200;

pub(super) const PRUNABLE_MESSAGES: &str = "SELECT seq FROM messages
    WHERE ended_at IS NOT NULL AND pruned = 0 AND ended_at <= ?1 AND NOT EXISTS (SELECT 1 FROM parts
        WHERE parts.turn = messages.turn AND parts.state IN ('pending', 'sending'))
    ORDER BY ended_at LIMIT ?2";
pub(super) const PRUNABLE_TURNS: &str = "SELECT id FROM turns
    WHERE ended_at IS NOT NULL AND pruned = 0 AND ended_at <= ?1
        AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.turn = turns.id AND parts.state IN ('pending', 'sending'))
    ORDER BY ended_at LIMIT ?2";

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
            wait_until = NULL, ended_at = NULL, waiting_since = ?1
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

/// Some of the messages that ended before then. Fewer than [`PRUNED_AT_ONCE`]: those were all.
pub(super) fn prune_messages(tx: &Tx<'_>, keep: Duration) -> Result<usize> {
    let found = tx.all(PRUNABLE_MESSAGES, params![tx.now.minus(keep).as_millis(), rows(PRUNED_AT_ONCE)], |row| {
        row.get::<_, i64>(0)
    })?;
    for seq in &found {
        tx.run(
            "UPDATE messages SET text = NULL, user_attributes = NULL, address = NULL, sender = NULL, pruned = 1
             WHERE seq = ?1",
            params![seq],
        )?;
    }
    Ok(found.len())
}

/// A turn can be older than its messages' end (a delivery that was repeated), or have lost them (a retry).
pub(super) fn prune_turns(tx: &Tx<'_>, keep: Duration) -> Result<usize> {
    let found = tx.all(PRUNABLE_TURNS, params![tx.now.minus(keep).as_millis(), rows(PRUNED_AT_ONCE)], |row| {
        row.get::<_, String>(0)
    })?;
    for turn in &found {
        tx.run(
            "UPDATE turns SET content = NULL, user_attributes = NULL, address = NULL, pruned = 1 WHERE id = ?1",
            params![turn],
        )?;
        tx.run("UPDATE parts SET part = NULL, address = NULL WHERE turn = ?1", params![turn])?;
    }
    Ok(found.len())
}
