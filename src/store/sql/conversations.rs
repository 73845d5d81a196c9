//! Fini's conversations: one per chat and generation, and whose id is whose.

use super::{Row, Tx, params, sql};
use crate::domain::id::{BotId, ChannelName, EventId, InteractionId, LaneId};
use crate::store::column::{corrupt, from_json, to_json};
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
    let known = get(tx, lane, generation).await?.ok_or_else(|| corrupt("a turn without a conversation"))?;
    let mut first_events = known.first_events;
    if known.interaction_id.is_none() {
        first_events.extend(end.events.iter().cloned());
        first_events.truncate(FIRST_EVENTS);
    }
    let first_event_at = known.first_event_at.into_iter().chain(end.first_event_at).min();
    tx.run_later(
        sql!(
            "UPDATE conversations SET first_events = ?1, first_event_at = ?2, answered_at = coalesce(answered_at, ?3)
             WHERE lane = ?4 AND generation = ?5"
        ),
        params![to_json(&first_events)?, first_event_at, tx.now(), lane, generation],
    )
    .await
}

pub(crate) async fn adopt<T: Tx>(tx: &T, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted> {
    let mut locked = tx.lock(lane).await?.ok_or_else(|| corrupt("a lane is gone"))?;
    let known = get(tx, lane, generation).await?.ok_or_else(|| corrupt("no such conversation"))?;
    match known.interaction_id {
        Some(known) if known == *id => return Ok(Adopted::Yes),
        Some(_) => return Ok(Adopted::Known),
        None => {}
    }
    // Two chats that are given one id at the same time: the constraint lets one of them have it.
    let is_free = sql!(
        "UPDATE conversations SET interaction_id = ?1 WHERE lane = ?2 AND generation = ?3 AND interaction_id IS NULL
            AND NOT EXISTS (SELECT 1 FROM conversations WHERE interaction_id = ?1)"
    );
    if tx.run(is_free, params![id.as_str(), lane, generation]).await? == 0 {
        return Ok(Adopted::HeldByAnother);
    }
    locked.wake(WorkKind::Turns, tx.now(), tx.now());
    if let Some(due_at) = locked.turns.due_at {
        tx.wakeups().due(WorkKind::Turns, due_at);
    }
    tx.save(&locked).await?;
    Ok(Adopted::Yes)
}
