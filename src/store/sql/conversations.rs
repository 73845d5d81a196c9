//! Fini's conversations: one per chat and generation, and whose id is whose.

use super::{Row, Tx, json_list, params, sql};
use crate::domain::id::{BotId, ChannelName, EventId, InteractionId, LaneId};
use crate::store::column::{corrupt, from_json};
use crate::store::{Adopted, Conversation, Lease, Result, Turn, TurnEnd, WorkKind};

/// Enough of a conversation's first events to find it by; a chat whose id is never found goes on for ever.
const FIRST_EVENTS: usize = 50;

pub(crate) async fn get<T: Tx>(tx: &T, lane: LaneId, generation: u32) -> Result<Option<Conversation>> {
    let found = tx
        .one(
            sql!(
                "SELECT c.channel, c.bot_id, c.reference, c.interaction_id, c.asked_at, c.first_events,
                    c.first_event_at, CASE WHEN l.generation = c.generation THEN l.watermark END, c.answered_at
                 FROM conversations AS c JOIN lanes AS l ON l.id = c.lane WHERE c.lane = ?1 AND c.generation = ?2"
            ),
            params![lane, generation],
            |row: &dyn Row| {
                Ok(Conversation {
                    lane: LaneId(0),
                    generation: 0,
                    channel: ChannelName::new(row.text(0)?),
                    bot_id: BotId::new(row.text(1)?),
                    reference: row.owned(2)?,
                    interaction_id: row.optional_text(3)?.map(InteractionId::new),
                    asked_at: row.optional_moment(4)?,
                    first_events: from_json(row.text(5)?)?,
                    first_event_at: row.optional_moment(6)?,
                    watermark: row.optional_text(7)?.map(EventId::new),
                    answered_at: row.optional_moment(8)?,
                })
            },
        )
        .await?;
    Ok(found.map(|found| Conversation { lane, generation, ..found }))
}

pub(crate) async fn asked<T: Tx>(tx: &T, lease: &Lease, turn: &Turn, reference: &str) -> Result<()> {
    tx.run_later(
        sql!(
            "INSERT INTO conversations (lane, generation, channel, bot_id, reference, asked_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (lane, generation) DO UPDATE SET asked_at = coalesce(conversations.asked_at, excluded.asked_at)"
        ),
        params![
            lease.lane,
            turn.generation,
            lease.channel.as_str(),
            turn.bot_id.as_str(),
            reference,
            tx.now()
        ],
    )
    .await
}

/// What it can be found by, until its id is known.
pub(crate) async fn answered<T: Tx>(tx: &T, lane: LaneId, generation: u32, end: &TurnEnd) -> Result<()> {
    tx.run_later(
        sql!(
            sqlite: "UPDATE conversations SET
                    first_events = CASE WHEN interaction_id IS NOT NULL THEN first_events ELSE (
                        SELECT json_group_array(value) FROM (
                            SELECT 0 AS place, key, value FROM json_each(conversations.first_events)
                            UNION ALL SELECT 1, key, value FROM json_each(?1) ORDER BY place, key LIMIT ?2)) END,
                    first_event_at = CASE WHEN first_event_at < ?3 THEN first_event_at
                        ELSE coalesce(?3, first_event_at) END,
                    answered_at = coalesce(answered_at, ?4)
                WHERE lane = ?5 AND generation = ?6",
            postgres: "UPDATE conversations SET
                    first_events = CASE WHEN interaction_id IS NOT NULL THEN first_events ELSE (
                        SELECT coalesce(json_agg(value ORDER BY list, place)::text, '[]') FROM (
                            SELECT list, place, value FROM (
                                SELECT 0 AS list, place, value FROM
                                    json_array_elements_text(conversations.first_events::json)
                                    WITH ORDINALITY AS f (value, place)
                                UNION ALL SELECT 1, place, value FROM
                                    json_array_elements_text($1::json) WITH ORDINALITY AS n (value, place)) AS listed
                            ORDER BY list, place LIMIT $2) AS first) END,
                    first_event_at = least(first_event_at, $3),
                    answered_at = coalesce(answered_at, $4)
                WHERE lane = $5 AND generation = $6",
        ),
        params![&json_list(&end.events)?, FIRST_EVENTS, end.first_event_at, tx.now(), lane, generation],
    )
    .await
}

pub(crate) async fn adopt<T: Tx>(tx: &T, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted> {
    let mut locked = tx.lock(lane).await?.ok_or_else(|| corrupt("a lane is gone"))?;
    // Two chats that are given one id at the same time: the constraint lets one of them have it.
    let if_free = sql!(
        "UPDATE conversations SET interaction_id = ?1 WHERE lane = ?2 AND generation = ?3 AND interaction_id IS NULL
            AND NOT EXISTS (SELECT 1 FROM conversations WHERE interaction_id = ?1)"
    );
    if tx.run(if_free, params![id.as_str(), lane, generation]).await? == 0 {
        let known = get(tx, lane, generation).await?.ok_or_else(|| corrupt("no such conversation"))?;
        return Ok(match known.interaction_id {
            Some(known) if known == *id => Adopted::Yes,
            Some(_) => Adopted::Known,
            None => Adopted::HeldByAnother,
        });
    }
    locked.wake(WorkKind::Turns, tx.now(), tx.now());
    if let Some(due_at) = locked.turns.due_at {
        tx.wakeups().due(WorkKind::Turns, due_at);
    }
    tx.save(&locked).await?;
    Ok(Adopted::Yes)
}
