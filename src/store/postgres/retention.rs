//! Retention: what is too old expires, loses its text, is forgotten. A few rows in each transaction, by one replica at
//! a time; rows of a lane are deleted under the lane's locks, like every write in it.

use tokio_postgres::Row;

use super::tx::{Param, Tx, get, ints, params, parsed, rows, texts, work as name};
use super::{deliveries, lanes, turns};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, ChatRef, LaneId, MessageId, TurnId};
use crate::store::retention::{EXPIRED, EXPIRED_DETAIL, LANES_AT_ONCE, ROWS_AT_ONCE, emptied};
use crate::store::{Lease, Next, Result, Retention, TurnEnd, Work};

/// Any number that is only ours.
const ENFORCING: i64 = 0x0066_696e_695f_6b65;

/// Chats with something that may have expired. $1: the usual bound; $2, $3: others by channel; $4: go on behind.
const EXPIRING: &str = "
    SELECT m.lane FROM fini_bridge.messages AS m
        LEFT JOIN unnest($2::text[], $3::bigint[]) AS o (channel, before) ON o.channel = m.channel
    WHERE m.state IN ('received', 'asking') AND m.lane > $4 AND m.waiting_since <= coalesce(o.before, $1)
    UNION
    SELECT p.lane FROM fini_bridge.parts AS p JOIN fini_bridge.turns AS t ON t.id = p.turn
        LEFT JOIN unnest($2::text[], $3::bigint[]) AS o (channel, before) ON o.channel = p.channel
    WHERE p.state IN ('pending', 'sending') AND p.lane > $4 AND t.received_at <= coalesce(o.before, $1)
    ORDER BY 1 LIMIT $5";

/// False: another replica removes something at this moment, and will go on. Two would be in each other's way.
async fn is_alone(tx: &Tx<'_>) -> Result<bool> {
    let lock = "SELECT pg_catalog.pg_try_advisory_xact_lock($1)";
    Ok(tx.one(lock, params![ENFORCING], |row| get(row, 0)).await?.unwrap_or_default())
}

/// Some of what waits in channels that nobody works on. Fewer than [`ROWS_AT_ONCE`]: those were all.
pub(super) async fn mark_dormant(tx: &Tx<'_>, retention: &Retention) -> Result<u64> {
    tx.run(
        "UPDATE fini_bridge.messages SET dormant = true WHERE seq IN (
            SELECT seq FROM fini_bridge.messages
            WHERE state IN ('received', 'asking') AND NOT dormant AND channel <> ALL ($1)
            LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)",
        params![texts(retention.active.iter().map(ChannelName::as_str)), limit()],
    )
    .await
}

// ---------------------------------------------------------------------------------------------- expire

/// Some of the chats with something that may have expired, in the order of their ids.
pub(super) async fn expiring(tx: &Tx<'_>, retention: &Retention, behind: LaneId) -> Result<Vec<LaneId>> {
    let before = |give_up_after| retention.expires_before(give_up_after, tx.now);
    let values = params![
        before(retention.give_up_after),
        texts(retention.overrides.iter().map(|(channel, _)| channel.as_str())),
        ints(retention.overrides.iter().map(|(_, own)| before(*own))),
        behind.0,
        rows(LANES_AT_ONCE),
    ];
    tx.all(EXPIRING, values, |row| get(row, 0).map(LaneId)).await
}

/// Returns how many messages ended.
pub(super) async fn expire(tx: &Tx<'_>, retention: &Retention, lane: LaneId) -> Result<u64> {
    if !is_alone(tx).await? {
        return Ok(0);
    }
    let found = tx
        .one("SELECT channel, chat_ref FROM fini_bridge.lanes WHERE id = $1", params![lane.0], |row| {
            Ok((get::<String>(row, 0)?, get::<String>(row, 1)?))
        })
        .await?;
    let Some((channel, chat_ref)) = found else { return Ok(0) };
    let give_up_after = retention.gives_up(&channel);
    let before = retention.expires_before(give_up_after, tx.now);
    let mut expired = 0;
    if is_free(tx, lane, Work::Turns).await? {
        // As a worker takes it: whoever held it before and is late can't write any more.
        let take = "UPDATE fini_bridge.schedule SET owner = 'retention', fence = fence + 1, due_at = $3, woken = false
            WHERE lane = $1 AND work = $2 RETURNING fence";
        let fence = tx.one(take, params![lane.0, name(Work::Turns), tx.now()], |row| get(row, 0)).await?;
        let (channel, chat_ref) = (ChannelName::new(channel), ChatRef::new(chat_ref));
        let lease = Lease { lane, work: Work::Turns, fence: fence.unwrap_or_default(), channel, chat_ref };
        expired += expire_turn(tx, &lease, before).await?;
        expired += expire_waiting(tx, &lease, before).await?;
        lanes::release(tx, &lease, Next::WhenNeeded { merge_window: std::time::Duration::ZERO }).await?;
    }
    if is_free(tx, lane, Work::Deliveries).await? {
        expired += expire_parts(tx, lane, before, tx.now.minus(give_up_after)).await?;
    }
    Ok(expired)
}

/// Locked then until the transaction ends.
async fn is_free(tx: &Tx<'_>, lane: LaneId, work: Work) -> Result<bool> {
    let free = "SELECT 1 FROM fini_bridge.schedule
        WHERE lane = $1 AND work = $2 AND (owner IS NULL OR due_at <= $3) FOR UPDATE SKIP LOCKED";
    Ok(tx.one(free, params![lane.0, name(work), tx.now()], |_| Ok(())).await?.is_some())
}

/// The lane's turn that has not ended.
async fn expire_turn(tx: &Tx<'_>, lease: &Lease, before: i64) -> Result<u64> {
    let current = "SELECT id, (SELECT count(*) FROM fini_bridge.messages AS m WHERE m.turn = t.id)
        FROM fini_bridge.turns AS t WHERE lane = $1 AND ended_at IS NULL AND received_at <= $2";
    let read = |row: &Row| Ok((parsed::<TurnId>(get(row, 0)?)?, get::<i64>(row, 1)?));
    let Some((turn, messages)) = tx.one(current, params![lease.lane.0, before], read).await? else { return Ok(0) };
    turns::end(tx, lease, &TurnEnd::expired(turn, Vec::new())).await?;
    Ok(u64::try_from(messages).unwrap_or_default())
}

/// Messages that have no turn get one, so that a person can try them again.
async fn expire_waiting(tx: &Tx<'_>, lease: &Lease, before: i64) -> Result<u64> {
    let waiting = "SELECT id FROM fini_bridge.messages
        WHERE lane = $1 AND state = 'received' AND waiting_since <= $2 ORDER BY seq LIMIT $3";
    let members: Vec<MessageId> =
        tx.all(waiting, params![lease.lane.0, before, limit()], |row| parsed(get(row, 0)?)).await?;
    let number = members.len();
    if number > 0 {
        turns::end(tx, lease, &TurnEnd::expired(TurnId::generate(), members)).await?;
    }
    Ok(u64::try_from(number).unwrap_or_default())
}

/// Replies that are themselves older than `give_up_after`: a person may have asked for one again.
async fn expire_parts(tx: &Tx<'_>, lane: LaneId, before: i64, answered: Timestamp) -> Result<u64> {
    let turns: Vec<String> = tx
        .all(
            "SELECT DISTINCT p.turn FROM fini_bridge.parts AS p JOIN fini_bridge.turns AS t ON t.id = p.turn
             WHERE p.lane = $1 AND p.state IN ('pending', 'sending') AND t.received_at <= $2 AND p.answered_at <= $3",
            params![lane.0, before, answered.as_millis()],
            |row| get(row, 0),
        )
        .await?;
    let mut expired = 0;
    for turn in turns {
        tx.run(
            "UPDATE fini_bridge.parts SET state = 'failed', reason = $1, detail = $2
             WHERE turn = $3 AND state IN ('pending', 'sending')",
            params![EXPIRED, EXPIRED_DETAIL, &turn],
        )
        .await?;
        let answered = "SELECT count(*) FROM fini_bridge.messages WHERE turn = $1 AND state = 'answered'";
        expired += tx.one(answered, params![&turn], |row| get::<i64>(row, 0)).await?.unwrap_or_default();
        deliveries::settle(tx, &turn).await?;
    }
    Ok(u64::try_from(expired).unwrap_or_default())
}

// ---------------------------------------------------------------------------------------------- prune

/// Some of the messages that ended before then. Fewer than [`ROWS_AT_ONCE`]: those were all.
pub(super) async fn prune_messages(tx: &Tx<'_>, before: Timestamp) -> Result<u64> {
    if !is_alone(tx).await? {
        return Ok(0);
    }
    let prune = format!(
        "UPDATE fini_bridge.messages SET {}, pruned = true
         WHERE seq IN (
            SELECT m.seq FROM fini_bridge.messages AS m
            WHERE m.ended_at IS NOT NULL AND NOT m.pruned AND m.ended_at <= $1
                AND NOT EXISTS (SELECT 1 FROM fini_bridge.parts AS p
                    WHERE p.turn = m.turn AND p.state IN ('pending', 'sending'))
            ORDER BY m.ended_at LIMIT $2 FOR NO KEY UPDATE OF m SKIP LOCKED)",
        emptied("messages")
    );
    tx.run(&prune, params![before.as_millis(), limit()]).await
}

/// A turn can be older than its messages' end (a delivery that was repeated), or have lost them (a retry).
pub(super) async fn prune_turns(tx: &Tx<'_>, before: Timestamp) -> Result<u64> {
    if !is_alone(tx).await? {
        return Ok(0);
    }
    let found: Vec<String> = tx
        .all(
            "SELECT t.id FROM fini_bridge.turns AS t
             WHERE t.ended_at IS NOT NULL AND NOT t.pruned AND t.ended_at <= $1
                AND NOT EXISTS (SELECT 1 FROM fini_bridge.parts AS p
                    WHERE p.turn = t.id AND p.state IN ('pending', 'sending'))
             ORDER BY t.ended_at LIMIT $2 FOR NO KEY UPDATE OF t SKIP LOCKED",
            params![before.as_millis(), limit()],
            |row| get(row, 0),
        )
        .await?;
    if found.is_empty() {
        return Ok(0);
    }
    // Looked at once more: a delivery may have been asked for again before the turn was locked.
    let quiet: Vec<String> = tx
        .all(
            "SELECT turn FROM unnest($1::text[]) AS t (turn) WHERE NOT EXISTS (SELECT 1 FROM fini_bridge.parts AS p
                WHERE p.turn = t.turn AND p.state IN ('pending', 'sending'))",
            params![texts(found.iter().map(String::as_str))],
            |row| get(row, 0),
        )
        .await?;
    let quiet = || texts(quiet.iter().map(String::as_str));
    let prune = format!("UPDATE fini_bridge.turns SET {}, pruned = true WHERE id = ANY($1)", emptied("turns"));
    tx.run(&prune, params![quiet()]).await?;
    let prune = format!(
        "UPDATE fini_bridge.parts SET {} WHERE turn = ANY($1) AND state NOT IN ('pending', 'sending')",
        emptied("parts")
    );
    tx.run(&prune, params![quiet()]).await?;
    Ok(u64::try_from(found.len()).unwrap_or_default())
}

// ---------------------------------------------------------------------------------------------- forget

/// What one step of forgetting did.
#[derive(Default)]
pub(super) struct Step {
    pub(super) forgotten: u64,
    /// Where the next step goes on; `None`: what comes behind is not old enough.
    pub(super) behind: Option<i64>,
}

/// The oldest messages behind this one, but those of chats that somebody writes in at this moment. They are numbered
/// in the order of their receipt, so the first that isn't old enough ends the walk. All messages of a turn go
/// together, when nothing of it is under way.
pub(super) async fn forget_messages(tx: &Tx<'_>, before: Timestamp, behind: i64) -> Result<Step> {
    if !is_alone(tx).await? {
        return Ok(Step::default());
    }
    let before = before.as_millis();
    let oldest: Vec<(i64, Option<i64>, bool)> = tx
        .all(
            "SELECT seq, lane, received_at <= $2 FROM fini_bridge.messages WHERE seq > $1 ORDER BY seq LIMIT $3",
            params![behind, before, limit()],
            |row| Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?)),
        )
        .await?;
    let more = oldest.len() == ROWS_AT_ONCE && oldest.iter().all(|(_, _, is_old)| *is_old);
    let behind = oldest.last().map(|(seq, ..)| *seq).filter(|_| more);
    let old: Vec<_> = oldest.into_iter().take_while(|(_, _, is_old)| *is_old).collect();
    if old.is_empty() {
        return Ok(Step::default());
    }
    let locked = lock(tx, old.iter().filter_map(|(_, lane, _)| *lane)).await?;
    let forgotten: Vec<Option<String>> = tx
        .all(
            "DELETE FROM fini_bridge.messages AS m
             WHERE m.seq = ANY($1) AND (m.lane IS NULL OR m.lane = ANY($2)) AND m.ended_at IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM fini_bridge.messages AS o
                    WHERE o.turn = m.turn AND (o.ended_at IS NULL OR o.received_at > $3))
                AND NOT EXISTS (SELECT 1 FROM fini_bridge.parts AS p
                    WHERE p.turn = m.turn AND p.state IN ('pending', 'sending'))
             RETURNING m.turn",
            params![ints(old.iter().map(|(seq, ..)| *seq)), ints(locked.clone()), before],
            |row| get(row, 0),
        )
        .await?;
    let turns = || texts(forgotten.iter().flatten().map(String::as_str));
    for sql in [
        "DELETE FROM fini_bridge.parts AS p WHERE p.turn = ANY($1)
            AND NOT EXISTS (SELECT 1 FROM fini_bridge.messages AS m WHERE m.turn = p.turn)",
        "DELETE FROM fini_bridge.turns AS t WHERE t.id = ANY($1)
            AND NOT EXISTS (SELECT 1 FROM fini_bridge.messages AS m WHERE m.turn = t.id)",
    ] {
        tx.run(sql, params![turns()]).await?;
    }
    // Conversations before the chat's current one.
    tx.run(
        "DELETE FROM fini_bridge.conversations AS c USING fini_bridge.lanes AS l
         WHERE l.id = ANY($1) AND c.lane = l.id AND c.generation < l.generation AND c.asked_at <= $2
            AND NOT EXISTS (SELECT 1 FROM fini_bridge.turns AS t
                WHERE t.lane = c.lane AND t.generation = c.generation)",
        params![ints(locked), before],
    )
    .await?;
    Ok(Step { forgotten: u64::try_from(forgotten.len()).unwrap_or_default(), behind })
}

/// Those of these lanes that nobody writes in: turns before deliveries, as everybody does.
async fn lock(tx: &Tx<'_>, lanes: impl Iterator<Item = i64>) -> Result<Vec<i64>> {
    let mut lanes: Vec<i64> = lanes.collect();
    for work in [Work::Turns, Work::Deliveries] {
        let sql = "SELECT lane FROM fini_bridge.schedule WHERE lane = ANY($1) AND work = $2
            ORDER BY lane FOR UPDATE SKIP LOCKED";
        lanes = tx.all(sql, params![ints(lanes), name(work)], |row| get(row, 0)).await?;
    }
    Ok(lanes)
}

/// Chats behind this one without a message, whose last turn is as old.
pub(super) async fn empty_lanes(tx: &Tx<'_>, before: Timestamp, behind: LaneId) -> Result<Vec<LaneId>> {
    tx.all(
        "SELECT id FROM fini_bridge.lanes AS l
         WHERE id > $1 AND (last_turn_at IS NULL OR last_turn_at <= $2)
            AND NOT EXISTS (SELECT 1 FROM fini_bridge.messages AS m WHERE m.lane = l.id)
         ORDER BY id LIMIT $3",
        params![behind.0, before.as_millis(), rows(LANES_AT_ONCE)],
        |row| get(row, 0).map(LaneId),
    )
    .await
}

/// Looked at once more, under their locks: a message may have come since. One that comes from here on waits for the
/// lock, finds the chat gone, and makes it anew.
pub(super) async fn forget_lanes(tx: &Tx<'_>, lanes: &[LaneId]) -> Result<()> {
    if !is_alone(tx).await? {
        return Ok(());
    }
    let locked = lock(tx, lanes.iter().map(|lane| lane.0)).await?;
    let empty: Vec<i64> = tx
        .all(
            "SELECT l.id FROM unnest($1::bigint[]) AS l (id)
             WHERE NOT EXISTS (SELECT 1 FROM fini_bridge.messages AS m WHERE m.lane = l.id)
                AND NOT EXISTS (SELECT 1 FROM fini_bridge.parts AS p
                    WHERE p.lane = l.id AND p.state IN ('pending', 'sending'))
                AND NOT EXISTS (SELECT 1 FROM fini_bridge.turns AS t WHERE t.lane = l.id AND t.ended_at IS NULL)
                AND NOT EXISTS (SELECT 1 FROM fini_bridge.schedule AS s
                    WHERE s.lane = l.id AND s.owner IS NOT NULL AND s.due_at > $2)",
            params![ints(locked), tx.now()],
            |row| get(row, 0),
        )
        .await?;
    for sql in [
        "DELETE FROM fini_bridge.parts WHERE lane = ANY($1)",
        "DELETE FROM fini_bridge.turns WHERE lane = ANY($1)",
        "DELETE FROM fini_bridge.conversations WHERE lane = ANY($1)",
        "DELETE FROM fini_bridge.schedule WHERE lane = ANY($1)",
        "DELETE FROM fini_bridge.lanes WHERE id = ANY($1)",
    ] {
        tx.run(sql, params![ints(empty.clone())]).await?;
    }
    Ok(())
}

fn limit<'p>() -> Param<'p> {
    rows(ROWS_AT_ONCE).into()
}
