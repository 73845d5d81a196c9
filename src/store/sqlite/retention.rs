//! Retention: what is too old expires, loses its text, is forgotten. A few rows in each transaction.

use rusqlite::params;
use serde_json::json;

use super::tx::{Tx, parsed, rows, work as name};
use super::{deliveries, lanes, turns};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, ChatRef, LaneId, TurnId};
use crate::store::retention::{EXPIRED, EXPIRED_DETAIL, LANES_AT_ONCE, ROWS_AT_ONCE, emptied};
use crate::store::{Lease, Next, Result, Retention, TurnEnd, Work};

/// Chats with something that may have expired. ?1: the usual bound, ?2: others by channel, as JSON; ?3: go on behind.
const EXPIRING_MESSAGES: &str = "SELECT DISTINCT m.lane FROM messages m LEFT JOIN json_each(?2) o ON o.key = m.channel
    WHERE m.state <> 'done' AND m.state IN ('received', 'asking') AND m.lane > ?3
        AND m.waiting_since <= coalesce(o.value, ?1)
    ORDER BY m.lane LIMIT ?4";
const EXPIRING_PARTS: &str = "SELECT DISTINCT p.lane FROM parts p JOIN turns t ON t.id = p.turn
        LEFT JOIN json_each(?2) o ON o.key = p.channel
    WHERE p.state IN ('pending', 'sending') AND p.lane > ?3 AND t.received_at <= coalesce(o.value, ?1)
    ORDER BY p.lane LIMIT ?4";
pub(super) const PRUNABLE_MESSAGES: &str = "SELECT seq FROM messages
    WHERE ended_at IS NOT NULL AND pruned = 0 AND ended_at <= ?1 AND NOT EXISTS (SELECT 1 FROM parts
        WHERE parts.turn = messages.turn AND parts.state IN ('pending', 'sending'))
    ORDER BY ended_at LIMIT ?2";
pub(super) const PRUNABLE_TURNS: &str = "SELECT id FROM turns
    WHERE ended_at IS NOT NULL AND pruned = 0 AND ended_at <= ?1
        AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.turn = turns.id AND parts.state IN ('pending', 'sending'))
    ORDER BY ended_at LIMIT ?2";
/// From the oldest on. All messages of a turn go together, when nothing of it is under way.
pub(super) const OLDEST: &str = "SELECT seq, lane, turn, received_at <= ?2, ended_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM messages o
            WHERE o.turn = m.turn AND (o.ended_at IS NULL OR o.received_at > ?2))
        AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.turn = m.turn AND parts.state IN ('pending', 'sending'))
    FROM messages m WHERE seq > ?1 ORDER BY seq LIMIT ?3";
const EMPTY_LANES: &str = "SELECT id FROM lanes
    WHERE id > ?1 AND (last_turn_at IS NULL OR last_turn_at <= ?2)
        AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.lane = lanes.id)
    ORDER BY id LIMIT ?3";
pub(super) const LEFT: &str = "SELECT 1 FROM messages WHERE lane = ?1
    UNION ALL SELECT 1 FROM parts WHERE lane = ?1 AND state IN ('pending', 'sending')
    UNION ALL SELECT 1 FROM turns WHERE lane = ?1 AND ended_at IS NULL
    UNION ALL SELECT 1 FROM schedule WHERE lane = ?1 AND owner IS NOT NULL";

/// Some of what waits in channels that nobody works on. Fewer than [`ROWS_AT_ONCE`]: those were all.
pub(super) fn mark_dormant(tx: &Tx<'_>, retention: &Retention) -> Result<usize> {
    let active: Vec<&str> = retention.active.iter().map(ChannelName::as_str).collect();
    tx.run(
        "UPDATE messages SET dormant = 1 WHERE seq IN (SELECT seq FROM messages
            WHERE state <> 'done' AND state IN ('received', 'asking') AND dormant = 0
                AND channel NOT IN (SELECT value FROM json_each(?1))
            LIMIT ?2)",
        params![json!(active).to_string(), rows(ROWS_AT_ONCE)],
    )
}

// ---------------------------------------------------------------------------------------------- expire

/// Some of the chats with something that may have expired, in the order of their ids.
pub(super) fn expiring(tx: &Tx<'_>, retention: &Retention, behind: LaneId) -> Result<Vec<LaneId>> {
    let before = |give_up_after| retention.expires_before(give_up_after, tx.now);
    let overrides: serde_json::Map<String, serde_json::Value> =
        retention.overrides.iter().map(|(name, own)| (name.as_str().to_owned(), json!(before(*own)))).collect();
    let overrides = json!(overrides).to_string();
    let mut found: Vec<LaneId> = Vec::new();
    for sql in [EXPIRING_MESSAGES, EXPIRING_PARTS] {
        let values = params![before(retention.give_up_after), overrides, behind.0, rows(LANES_AT_ONCE)];
        found.extend(tx.all(sql, values, |row| row.get(0).map(LaneId))?);
    }
    found.sort_unstable_by_key(|lane| lane.0);
    found.dedup();
    found.truncate(LANES_AT_ONCE);
    Ok(found)
}

/// Returns the number of messages that ended, and the chats that have more.
pub(super) fn expire_in(tx: &Tx<'_>, retention: &Retention, lanes: &[LaneId]) -> Result<(usize, Vec<LaneId>)> {
    let (mut expired, mut more) = (0, Vec::new());
    for lane in lanes {
        let ended = expire(tx, retention, *lane)?;
        expired += ended;
        if ended >= ROWS_AT_ONCE {
            more.push(*lane);
        }
    }
    Ok((expired, more))
}

fn expire(tx: &Tx<'_>, retention: &Retention, lane: LaneId) -> Result<usize> {
    let found = tx.one("SELECT channel, chat_ref FROM lanes WHERE id = ?1", params![lane.0], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    let Some((channel, chat_ref)) = found else { return Ok(0) };
    let give_up_after = retention.gives_up(&channel);
    let before = retention.expires_before(give_up_after, tx.now);
    let mut expired = 0;
    if let Some(fence) = take_if_free(tx, lane, Work::Turns)? {
        let (channel, chat_ref) = (ChannelName::new(channel), ChatRef::new(chat_ref));
        let lease = Lease { lane, work: Work::Turns, fence, channel, chat_ref };
        expired += expire_turn(tx, &lease, before)?;
        expired += expire_waiting(tx, &lease, before)?;
        lanes::release(tx, &lease, Next::WhenNeeded { merge_window: std::time::Duration::ZERO })?;
    }
    if is_free(tx, lane, Work::Deliveries)? {
        expired += expire_parts(tx, lane, before, tx.now.minus(give_up_after))?;
    }
    Ok(expired)
}

fn is_free(tx: &Tx<'_>, lane: LaneId, work: Work) -> Result<bool> {
    let free = "SELECT 1 FROM schedule WHERE lane = ?1 AND work = ?2 AND (owner IS NULL OR due_at <= ?3)";
    Ok(tx.one(free, params![lane.0, name(work), tx.now()], |_| Ok(()))?.is_some())
}

/// As a worker takes it: whoever held it before and is late can't write any more.
fn take_if_free(tx: &Tx<'_>, lane: LaneId, work: Work) -> Result<Option<i64>> {
    tx.one(
        "UPDATE schedule SET owner = 'retention', fence = fence + 1, due_at = ?3, woken = 0
         WHERE lane = ?1 AND work = ?2 AND (owner IS NULL OR due_at <= ?3) RETURNING fence",
        params![lane.0, name(work), tx.now()],
        |row| row.get(0),
    )
}

/// The lane's turn that has not ended.
fn expire_turn(tx: &Tx<'_>, lease: &Lease, before: i64) -> Result<usize> {
    let current = "SELECT id, (SELECT count(*) FROM messages WHERE turn = turns.id) FROM turns
        WHERE lane = ?1 AND ended_at IS NULL AND received_at <= ?2";
    let found =
        tx.one(current, params![lease.lane.0, before], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let Some((turn, messages)) = found else { return Ok(0) };
    turns::end(tx, lease, &TurnEnd::expired(parsed(&turn)?, Vec::new()))?;
    Ok(usize::try_from(messages).unwrap_or_default())
}

/// Messages that have no turn get one, so that a person can try them again.
fn expire_waiting(tx: &Tx<'_>, lease: &Lease, before: i64) -> Result<usize> {
    let waiting = "SELECT id FROM messages WHERE lane = ?1 AND state = 'received' AND waiting_since <= ?2
        ORDER BY seq LIMIT ?3";
    let found = tx.all(waiting, params![lease.lane.0, before, rows(ROWS_AT_ONCE)], |row| row.get::<_, String>(0))?;
    let members = found.iter().map(|id| parsed(id)).collect::<Result<Vec<_>>>()?;
    let number = members.len();
    if number > 0 {
        turns::end(tx, lease, &TurnEnd::expired(TurnId::generate(), members))?;
    }
    Ok(number)
}

/// Replies that are themselves older than `give_up_after`: a person may have asked for one again.
fn expire_parts(tx: &Tx<'_>, lane: LaneId, before: i64, answered: Timestamp) -> Result<usize> {
    let turns = tx.all(
        "SELECT DISTINCT p.turn FROM parts p JOIN turns t ON t.id = p.turn
         WHERE p.lane = ?1 AND p.state IN ('pending', 'sending') AND t.received_at <= ?2 AND p.answered_at <= ?3",
        params![lane.0, before, answered.as_millis()],
        |row| row.get::<_, String>(0),
    )?;
    let mut expired = 0;
    for turn in turns {
        tx.run(
            "UPDATE parts SET state = 'failed', reason = ?1, detail = ?2
             WHERE turn = ?3 AND state IN ('pending', 'sending')",
            params![EXPIRED, EXPIRED_DETAIL, turn],
        )?;
        let answered = "SELECT count(*) FROM messages WHERE turn = ?1 AND state = 'answered'";
        expired += tx.one(answered, params![turn], |row| row.get::<_, i64>(0))?.unwrap_or_default();
        deliveries::settle(tx, &turn)?;
    }
    Ok(usize::try_from(expired).unwrap_or_default())
}

// ---------------------------------------------------------------------------------------------- prune

/// Some of the messages that ended before then. Fewer than [`ROWS_AT_ONCE`]: those were all.
pub(super) fn prune_messages(tx: &Tx<'_>, before: Timestamp) -> Result<usize> {
    let found =
        tx.all(PRUNABLE_MESSAGES, params![before.as_millis(), rows(ROWS_AT_ONCE)], |row| row.get::<_, i64>(0))?;
    let prune = format!("UPDATE messages SET {}, pruned = 1 WHERE seq = ?1", emptied("messages"));
    for seq in &found {
        tx.run(&prune, params![seq])?;
    }
    Ok(found.len())
}

/// A turn can be older than its messages' end (a delivery that was repeated), or have lost them (a retry).
pub(super) fn prune_turns(tx: &Tx<'_>, before: Timestamp) -> Result<usize> {
    let found =
        tx.all(PRUNABLE_TURNS, params![before.as_millis(), rows(ROWS_AT_ONCE)], |row| row.get::<_, String>(0))?;
    let prune = format!("UPDATE turns SET {}, pruned = 1 WHERE id = ?1", emptied("turns"));
    let prune_parts = format!("UPDATE parts SET {} WHERE turn = ?1", emptied("parts"));
    for turn in &found {
        tx.run(&prune, params![turn])?;
        tx.run(&prune_parts, params![turn])?;
    }
    Ok(found.len())
}

// ---------------------------------------------------------------------------------------------- forget

/// What one step of forgetting did.
pub(super) struct Step {
    pub(super) forgotten: usize,
    /// Where the next step goes on; `None`: what comes behind is not old enough.
    pub(super) behind: Option<i64>,
}

/// The oldest messages behind this one. They are numbered in the order of their receipt, so the first that isn't old
/// enough ends the walk.
pub(super) fn forget_messages(tx: &Tx<'_>, before: Timestamp, behind: i64) -> Result<Step> {
    let before = before.as_millis();
    let oldest = tx.all(OLDEST, params![behind, before, rows(ROWS_AT_ONCE)], |row| {
        let place: (i64, Option<i64>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((place, row.get::<_, bool>(3)?, row.get::<_, bool>(4)?))
    })?;
    let more = oldest.len() == ROWS_AT_ONCE && oldest.iter().all(|(_, is_old, _)| *is_old);
    let last = oldest.last().map(|((seq, ..), ..)| *seq).filter(|_| more);
    let mut forgotten = 0;
    for ((seq, lane, turn), _, _) in
        oldest.into_iter().take_while(|(_, is_old, _)| *is_old).filter(|(_, _, is_over)| *is_over)
    {
        forgotten += tx.run("DELETE FROM messages WHERE seq = ?1", params![seq])?;
        if let Some(turn) = turn {
            forget_turn(tx, &turn)?;
        }
        if let Some(lane) = lane {
            forget_conversations(tx, lane, before)?;
        }
    }
    Ok(Step { forgotten, behind: last })
}

/// Once its last message is gone.
fn forget_turn(tx: &Tx<'_>, turn: &str) -> Result<()> {
    if tx.one("SELECT 1 FROM messages WHERE turn = ?1", params![turn], |_| Ok(()))?.is_none() {
        tx.run("DELETE FROM parts WHERE turn = ?1", params![turn])?;
        tx.run("DELETE FROM turns WHERE id = ?1", params![turn])?;
    }
    Ok(())
}

/// Those before the chat's current one.
fn forget_conversations(tx: &Tx<'_>, lane: i64, before: i64) -> Result<()> {
    tx.run(
        "DELETE FROM conversations AS c WHERE lane = ?1 AND asked_at <= ?2
            AND generation < (SELECT generation FROM lanes WHERE id = ?1)
            AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.lane = c.lane AND t.generation = c.generation)",
        params![lane, before],
    )?;
    Ok(())
}

/// Chats behind this one without a message, whose last turn is as old.
pub(super) fn empty_lanes(tx: &Tx<'_>, before: Timestamp, behind: LaneId) -> Result<Vec<LaneId>> {
    let values = params![behind.0, before.as_millis(), rows(LANES_AT_ONCE)];
    tx.all(EMPTY_LANES, values, |row| row.get(0).map(LaneId))
}

/// Looked at once more: a message may have come since.
pub(super) fn forget_lane(tx: &Tx<'_>, lane: LaneId) -> Result<()> {
    if tx.one(LEFT, params![lane.0], |_| Ok(()))?.is_some() {
        return Ok(());
    }
    for sql in [
        "DELETE FROM parts WHERE lane = ?1",
        "DELETE FROM turns WHERE lane = ?1",
        "DELETE FROM conversations WHERE lane = ?1",
        "DELETE FROM schedule WHERE lane = ?1",
        "DELETE FROM lanes WHERE id = ?1",
    ] {
        tx.run(sql, params![lane.0])?;
    }
    Ok(())
}
