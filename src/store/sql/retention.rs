//! Retention: what is too old expires, loses its text, is forgotten. A few rows in each transaction, by one process at
//! a time; rows of a lane are deleted under its lock, like every write in it.

use std::sync::LazyLock;
use std::time::Duration;

use super::journal::{self, appended};
use super::leases::release;
use super::outbox::settle;
use super::turns::finish_turn;
use super::{Row, Sql, Tx, json_list, params, sql};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, LaneId, MessageId, Owner, TurnId};
use crate::store::column::parsed;
use crate::store::lane::Lane;
use crate::store::retention::{EXPIRED, EXPIRED_DETAIL, LANES_AT_ONCE, ROWS_AT_ONCE, emptied};
use crate::store::{AfterTurn, Lease, Next, Result, Retention, TurnEnd, WorkKind};

/// Some of what waits in channels that nobody works on. Fewer than [`ROWS_AT_ONCE`]: those were all.
pub(crate) async fn mark_dormant<T: Tx>(tx: &T, retention: &Retention) -> Result<u64> {
    let active = json_list(retention.active.iter().map(ChannelName::as_str))?;
    tx.run(
        sql!(
            sqlite: "UPDATE messages SET dormant = true WHERE seq IN (SELECT seq FROM messages
                    WHERE ended_at IS NULL AND state IN ('received', 'asking') AND NOT dormant
                        AND channel NOT IN (SELECT value FROM json_each(?1)) LIMIT ?2)",
            postgres: "UPDATE messages SET dormant = true WHERE seq IN (SELECT seq FROM messages
                    WHERE ended_at IS NULL AND state IN ('received', 'asking') AND NOT dormant
                        AND channel NOT IN (SELECT json_array_elements_text($1::json))
                    LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)",
        ),
        params![&active, ROWS_AT_ONCE],
    )
    .await
}

// ---------------------------------------------------------------------------------------------- expire

/// Some of the chats with something that may have expired, in the order of their ids.
pub(crate) async fn expiring<T: Tx>(tx: &T, retention: &Retention, behind: LaneId) -> Result<Vec<LaneId>> {
    tx.tell_time().await?;
    let before = |give_up_after| retention.expires_before(give_up_after, tx.now());
    let own: serde_json::Map<String, serde_json::Value> =
        retention.overrides.iter().map(|(name, own)| (name.as_str().to_owned(), before(*own).into())).collect();
    let own = crate::store::column::to_json(&own)?;
    let usual = before(retention.give_up_after);
    let messages = sql!(
        sqlite: "SELECT DISTINCT m.lane FROM messages AS m LEFT JOIN json_each(?2) AS own ON own.key = m.channel
            WHERE m.ended_at IS NULL AND m.state IN ('received', 'asking') AND m.lane > ?3
                AND m.waiting_since <= coalesce(own.value, ?1)
            ORDER BY m.lane LIMIT ?4",
        postgres: "SELECT DISTINCT m.lane FROM messages AS m
                LEFT JOIN json_each_text($2::json) AS own (key, value) ON own.key = m.channel
            WHERE m.ended_at IS NULL AND m.state IN ('received', 'asking') AND m.lane > $3
                AND m.waiting_since <= coalesce(own.value::bigint, $1)
            ORDER BY m.lane LIMIT $4",
    );
    let parts = sql!(
        sqlite: "SELECT DISTINCT p.lane FROM parts AS p JOIN turns AS t ON t.id = p.turn
                LEFT JOIN json_each(?2) AS own ON own.key = p.channel
            WHERE p.state IN ('pending', 'sending') AND p.lane > ?3 AND t.received_at <= coalesce(own.value, ?1)
            ORDER BY p.lane LIMIT ?4",
        postgres: "SELECT DISTINCT p.lane FROM parts AS p JOIN turns AS t ON t.id = p.turn
                LEFT JOIN json_each_text($2::json) AS own (key, value) ON own.key = p.channel
            WHERE p.state IN ('pending', 'sending') AND p.lane > $3
                AND t.received_at <= coalesce(own.value::bigint, $1)
            ORDER BY p.lane LIMIT $4",
    );
    let mut found: Vec<LaneId> = Vec::new();
    for sql in [messages, parts] {
        let values = params![usual, &own, behind, LANES_AT_ONCE];
        found.extend(tx.all(sql, values, |row| row.int(0).map(LaneId)).await?);
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(LANES_AT_ONCE);
    Ok(found)
}

/// Returns how many messages ended.
pub(crate) async fn expire<T: Tx>(tx: &T, retention: &Retention, lane: LaneId) -> Result<u64> {
    if !tx.is_alone().await? {
        return Ok(0);
    }
    let Some(mut locked) = tx.lock(lane).await? else { return Ok(0) };
    let give_up_after = retention.gives_up(locked.channel.as_str());
    let before = retention.expires_before(give_up_after, tx.now());
    let mut expired = 0;
    if locked.deliveries.owner.is_none() {
        expired += expire_parts(tx, &locked, before, tx.now().minus(give_up_after)).await?;
    }
    if locked.turns.owner.is_none() {
        // As a worker takes it.
        let lease = locked.take(WorkKind::Turns, &Owner::new("retention"));
        tx.save(&locked).await?;
        expired += expire_turn(tx, &lease, before).await?;
        expired += expire_waiting(tx, &lease, before).await?;
        release(tx, &lease, Next::WhenNeeded { merge_window: Duration::ZERO }).await?;
    }
    Ok(expired)
}

/// The lane's turn that has not ended.
async fn expire_turn<T: Tx>(tx: &T, lease: &Lease, before: i64) -> Result<u64> {
    let current = sql!(
        "SELECT id, (SELECT count(*) FROM messages AS m WHERE m.turn = t.id)
         FROM turns AS t WHERE lane = ?1 AND ended_at IS NULL AND received_at <= ?2"
    );
    let read = |row: &dyn Row| Ok((parsed::<TurnId>(row.text(0)?)?, row.int(1)?));
    let Some((turn, messages)) = tx.one(current, params![lease.lane, before], read).await? else { return Ok(0) };
    finish_turn(tx, lease, &TurnEnd::expired(turn, Vec::new()), AfterTurn::Keep).await?;
    Ok(u64::try_from(messages).unwrap_or_default())
}

/// Messages that have no turn get one, so that a person can try them again.
async fn expire_waiting<T: Tx>(tx: &T, lease: &Lease, before: i64) -> Result<u64> {
    let waiting = sql!(
        "SELECT id FROM messages WHERE lane = ?1 AND state = 'received' AND waiting_since <= ?2
         ORDER BY seq LIMIT ?3"
    );
    let values = params![lease.lane, before, ROWS_AT_ONCE];
    let members: Vec<MessageId> = tx.all(waiting, values, |row| parsed(row.text(0)?)).await?;
    let number = members.len();
    if number > 0 {
        finish_turn(tx, lease, &TurnEnd::expired(TurnId::generate(), members), AfterTurn::Keep).await?;
    }
    Ok(u64::try_from(number).unwrap_or_default())
}

/// Replies that are themselves older than `give_up_after`: a person may have asked for one again.
async fn expire_parts<T: Tx>(tx: &T, lane: &Lane, before: i64, answered: Timestamp) -> Result<u64> {
    let turns = sql!(
        "SELECT DISTINCT p.turn FROM parts AS p JOIN turns AS t ON t.id = p.turn
         WHERE p.lane = ?1 AND p.state IN ('pending', 'sending') AND t.received_at <= ?2 AND p.answered_at <= ?3"
    );
    let turns = tx.all(turns, params![lane.id, before, answered], |row| row.owned(0)).await?;
    let mut expired = 0;
    for turn in turns {
        tx.run(
            sql!(concat!(
                "UPDATE parts SET state = 'failed', reason = ?1, detail = ?2, journal = ",
                appended!("?4"),
                " WHERE turn = ?3 AND state IN ('pending', 'sending')"
            )),
            params![EXPIRED, EXPIRED_DETAIL, &turn, journal::part_failed(tx, EXPIRED)?],
        )
        .await?;
        let answered = sql!("SELECT count(*) FROM messages WHERE turn = ?1 AND state = 'answered'");
        expired += tx.one(answered, params![&turn], |row| row.int(0)).await?.unwrap_or_default();
        settle(tx, &turn).await?;
    }
    Ok(u64::try_from(expired).unwrap_or_default())
}

// ---------------------------------------------------------------------------------------------- prune

static PRUNE_MESSAGES: LazyLock<Sql> = LazyLock::new(|| {
    Sql::made(format!("UPDATE messages SET {}, pruned = true WHERE seq IN INTS(?1)", emptied("messages")))
});
static PRUNE_TURNS: LazyLock<Sql> =
    LazyLock::new(|| Sql::made(format!("UPDATE turns SET {}, pruned = true WHERE id IN TEXTS(?1)", emptied("turns"))));
static PRUNE_PARTS: LazyLock<Sql> = LazyLock::new(|| {
    Sql::made(format!(
        "UPDATE parts SET {} WHERE turn IN TEXTS(?1) AND state NOT IN ('pending', 'sending')",
        emptied("parts")
    ))
});

/// Some of the messages that ended before then. Fewer than [`ROWS_AT_ONCE`]: those were all.
pub(crate) async fn prune_messages<T: Tx>(tx: &T, keep: Duration) -> Result<u64> {
    if !tx.is_alone().await? {
        return Ok(0);
    }
    tx.tell_time().await?;
    let prunable = sql!(
        sqlite: "SELECT seq FROM messages
            WHERE ended_at IS NOT NULL AND pruned = 0 AND ended_at <= ?1 AND NOT EXISTS (SELECT 1 FROM parts
                WHERE parts.turn = messages.turn AND parts.state IN ('pending', 'sending'))
            ORDER BY ended_at LIMIT ?2",
        postgres: "SELECT m.seq FROM messages AS m
            WHERE m.ended_at IS NOT NULL AND NOT m.pruned AND m.ended_at <= $1 AND NOT EXISTS (SELECT 1 FROM parts AS p
                WHERE p.turn = m.turn AND p.state IN ('pending', 'sending'))
            ORDER BY m.ended_at LIMIT $2 FOR NO KEY UPDATE OF m SKIP LOCKED",
    );
    let found = tx.all(prunable, params![tx.now().minus(keep), ROWS_AT_ONCE], |row| row.int(0)).await?;
    if found.is_empty() {
        return Ok(0);
    }
    tx.run(&PRUNE_MESSAGES, params![&json_list(found)?]).await
}

/// A turn can be older than its messages' end (a delivery that was repeated), or have lost them (a retry).
pub(crate) async fn prune_turns<T: Tx>(tx: &T, keep: Duration) -> Result<u64> {
    if !tx.is_alone().await? {
        return Ok(0);
    }
    tx.tell_time().await?;
    let prunable = sql!(
        sqlite: "SELECT id FROM turns
            WHERE ended_at IS NOT NULL AND pruned = 0 AND ended_at <= ?1
                AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.turn = turns.id AND parts.state IN ('pending', 'sending'))
            ORDER BY ended_at LIMIT ?2",
        postgres: "SELECT t.id FROM turns AS t
            WHERE t.ended_at IS NOT NULL AND NOT t.pruned AND t.ended_at <= $1
                AND NOT EXISTS (SELECT 1 FROM parts AS p WHERE p.turn = t.id AND p.state IN ('pending', 'sending'))
            ORDER BY t.ended_at LIMIT $2 FOR NO KEY UPDATE OF t SKIP LOCKED",
    );
    let found = tx.all(prunable, params![tx.now().minus(keep), ROWS_AT_ONCE], |row| row.owned(0)).await?;
    if found.is_empty() {
        return Ok(0);
    }
    // Looked at once more: a delivery may have been asked for again before the turn was locked.
    let quiet = sql!(
        "SELECT id FROM turns WHERE id IN TEXTS(?1)
            AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.turn = turns.id AND parts.state IN ('pending', 'sending'))"
    );
    let quiet = json_list(tx.all(quiet, params![&json_list(&found)?], |row| row.owned(0)).await?)?;
    tx.run(&PRUNE_TURNS, params![&quiet]).await?;
    tx.run(&PRUNE_PARTS, params![&quiet]).await?;
    Ok(u64::try_from(found.len()).unwrap_or_default())
}

// ---------------------------------------------------------------------------------------------- forget

/// What one step of forgetting did.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) forgotten: u64,
    /// Where the next step goes on; `None`: what comes behind is not old enough.
    pub(crate) behind: Option<i64>,
}

/// The oldest messages behind this one, but those of chats that somebody writes in at this moment. They are numbered
/// in the order of their receipt, so the first that isn't old enough ends the walk. All messages of a turn go
/// together, when nothing of it is under way.
pub(crate) async fn forget_messages<T: Tx>(tx: &T, forget: Duration, behind: i64) -> Result<Step> {
    if !tx.is_alone().await? {
        return Ok(Step::default());
    }
    tx.keep_numbers().await?;
    tx.tell_time().await?;
    let before = tx.now().minus(forget);
    let oldest = sql!("SELECT seq, lane, received_at <= ?2 FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?3");
    let oldest = tx
        .all(oldest, params![behind, before, ROWS_AT_ONCE], |row| {
            Ok((row.int(0)?, row.optional_int(1)?.map(LaneId), row.flag(2)?))
        })
        .await?;
    let more = oldest.len() == ROWS_AT_ONCE && oldest.iter().all(|(_, _, is_old)| *is_old);
    let behind = oldest.last().map(|(seq, ..)| *seq).filter(|_| more);
    let old: Vec<(i64, Option<LaneId>)> =
        oldest.into_iter().take_while(|(_, _, is_old)| *is_old).map(|(seq, lane, _)| (seq, lane)).collect();
    if old.is_empty() {
        return Ok(Step::default());
    }
    let mut lanes: Vec<LaneId> = old.iter().filter_map(|(_, lane)| *lane).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let locked: Vec<LaneId> = tx.try_lock(&lanes).await?.into_iter().map(|lane| lane.id).collect();
    let seqs = old.iter().filter(|(_, lane)| lane.is_none_or(|lane| locked.contains(&lane))).map(|(seq, _)| *seq);
    let over = tx
        .all(
            sql!(
                "SELECT seq, turn FROM messages AS m WHERE m.seq IN INTS(?1) AND m.ended_at IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM messages AS o
                        WHERE o.turn = m.turn AND (o.ended_at IS NULL OR o.received_at > ?2))
                    AND NOT EXISTS (SELECT 1 FROM parts AS p
                        WHERE p.turn = m.turn AND p.state IN ('pending', 'sending'))"
            ),
            params![&json_list(seqs)?, before],
            |row| Ok((row.int(0)?, row.optional_owned(1)?)),
        )
        .await?;
    let turns = json_list(over.iter().filter_map(|(_, turn)| turn.as_deref()))?;
    let forgotten = json_list(over.iter().map(|(seq, _)| *seq))?;
    let forgotten = tx.run(sql!("DELETE FROM messages WHERE seq IN INTS(?1)"), params![&forgotten]).await?;
    for sql in [
        sql!(
            "DELETE FROM parts WHERE turn IN TEXTS(?1)
                AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.turn = parts.turn)"
        ),
        sql!(
            "DELETE FROM turns WHERE id IN TEXTS(?1)
                AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.turn = turns.id)"
        ),
    ] {
        tx.run(sql, params![&turns]).await?;
    }
    // Conversations before the chat's current one.
    tx.run(
        sql!(
            "DELETE FROM conversations WHERE lane IN INTS(?1) AND asked_at <= ?2
                AND generation < (SELECT generation FROM lanes WHERE lanes.id = conversations.lane)
                AND NOT EXISTS (SELECT 1 FROM turns
                    WHERE turns.lane = conversations.lane AND turns.generation = conversations.generation)"
        ),
        params![&json_list(locked.iter().map(|lane| lane.0))?, before],
    )
    .await?;
    Ok(Step { forgotten, behind })
}

/// Chats behind this one without a message, whose last turn is as old.
pub(crate) async fn empty_lanes<T: Tx>(tx: &T, forget: Duration, behind: LaneId) -> Result<Vec<LaneId>> {
    tx.tell_time().await?;
    tx.all(
        sql!(
            "SELECT id FROM lanes
             WHERE id > ?1 AND (last_turn_at IS NULL OR last_turn_at <= ?2)
                AND NOT EXISTS (SELECT 1 FROM turns
                    WHERE turns.lane = lanes.id AND EXISTS (SELECT 1 FROM messages WHERE messages.turn = turns.id))
                AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.lane = lanes.id AND messages.state = 'received')
             ORDER BY id LIMIT ?3"
        ),
        params![behind, tx.now().minus(forget), LANES_AT_ONCE],
        |row| row.int(0).map(LaneId),
    )
    .await
}

/// Looked at once more, under their locks: a message may have come since. One that comes from here on waits for the
/// lock, finds the chat gone, and makes it anew.
pub(crate) async fn forget_lanes<T: Tx>(tx: &T, lanes: &[LaneId]) -> Result<()> {
    if !tx.is_alone().await? {
        return Ok(());
    }
    let locked = tx.try_lock(lanes).await?;
    let idle = locked.iter().filter(|lane| lane.turns.owner.is_none() && lane.deliveries.owner.is_none());
    let empty = tx
        .all(
            sql!(
                "SELECT id FROM lanes WHERE id IN INTS(?1)
                    AND NOT EXISTS (SELECT 1 FROM messages
                        WHERE messages.lane = lanes.id AND messages.state = 'received')
                    AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.lane = lanes.id
                        AND (turns.ended_at IS NULL OR EXISTS (SELECT 1 FROM messages WHERE messages.turn = turns.id)))
                    AND NOT EXISTS (SELECT 1 FROM parts
                        WHERE parts.lane = lanes.id AND parts.state IN ('pending', 'sending'))"
            ),
            params![&json_list(idle.map(|lane| lane.id.0))?],
            |row| row.int(0),
        )
        .await?;
    let empty = json_list(empty)?;
    for sql in [
        sql!("DELETE FROM parts WHERE turn IN (SELECT id FROM turns WHERE lane IN INTS(?1))"),
        sql!("DELETE FROM turns WHERE lane IN INTS(?1)"),
        sql!("DELETE FROM conversations WHERE lane IN INTS(?1)"),
        sql!("DELETE FROM due_lanes WHERE lane IN INTS(?1)"),
        sql!("DELETE FROM lanes WHERE id IN INTS(?1)"),
    ] {
        tx.run(sql, params![&empty]).await?;
    }
    Ok(())
}
