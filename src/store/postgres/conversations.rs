//! Fini's conversations: one per chat and generation, and whose id is whose.

use super::lanes;
use super::tx::{Tx, corrupt, count, from_json, get as column, moment, params, to_json};
use crate::domain::id::{BotId, ChannelName, EventId, InteractionId, LaneId};
use crate::store::{Adopted, Asking, Conversation, Lease, Result, TurnEnd, Work};

/// Enough of a conversation's first events to find it by; a chat whose id is never found goes on for ever.
const FIRST_EVENTS: usize = 50;

pub(super) async fn get(tx: &Tx<'_>, lane: LaneId, generation: u32) -> Result<Option<Conversation>> {
    tx.one(
        "SELECT channel, bot_id, reference, interaction_id, asked_at, first_events, first_event_at,
            watermark, answered_at
         FROM fini_bridge.conversations WHERE lane = $1 AND generation = $2",
        params![lane.0, generation],
        |row| {
            Ok(Conversation {
                lane,
                generation,
                channel: ChannelName::new(column::<String>(row, 0)?),
                bot_id: BotId::new(column::<String>(row, 1)?),
                reference: column(row, 2)?,
                interaction_id: column::<Option<String>>(row, 3)?.map(InteractionId::new),
                asked_at: moment(column(row, 4)?),
                first_events: from_json(column(row, 5)?)?,
                first_event_at: moment(column(row, 6)?),
                watermark: column::<Option<String>>(row, 7)?.map(EventId::new),
                answered_at: moment(column(row, 8)?),
            })
        },
    )
    .await
}

pub(super) async fn asked(tx: &Tx<'_>, lease: &Lease, asking: &Asking) -> Result<()> {
    tx.run(
        "INSERT INTO fini_bridge.conversations AS c (lane, generation, channel, bot_id, reference, asked_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (lane, generation) DO UPDATE SET asked_at = coalesce(c.asked_at, excluded.asked_at)
         WHERE c.asked_at IS NULL",
        params![
            lease.lane.0,
            asking.generation,
            lease.channel.as_str(),
            asking.bot_id.as_str(),
            &asking.reference,
            tx.now(),
        ],
    )
    .await?;
    Ok(())
}

/// Under the lock of the lane's turns, as [`adopt`] is.
pub(super) async fn answered(tx: &Tx<'_>, lane: LaneId, generation: i64, end: &TurnEnd) -> Result<()> {
    let known = get(tx, lane, count(generation)).await?.ok_or_else(|| corrupt("a turn without a conversation"))?;
    let mut first_events = known.first_events;
    if known.interaction_id.is_none() {
        first_events.extend(end.events.iter().cloned());
        first_events.truncate(FIRST_EVENTS);
    }
    let first_event_at = known.first_event_at.into_iter().chain(end.first_event_at).min();
    let watermark = end.events.last().or(known.watermark.as_ref());
    tx.run(
        "UPDATE fini_bridge.conversations SET first_events = $1, first_event_at = $2, watermark = $3,
            answered_at = coalesce(answered_at, $4)
         WHERE lane = $5 AND generation = $6",
        params![
            to_json(&first_events)?,
            first_event_at.map(|at| at.as_millis()),
            watermark.map(EventId::as_str),
            tx.now(),
            lane.0,
            generation,
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn adopt(tx: &Tx<'_>, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted> {
    lanes::lock(tx, lane, Work::Turns).await?;
    let known = get(tx, lane, generation).await?.ok_or_else(|| corrupt("no such conversation"))?;
    match known.interaction_id {
        Some(known) if known == *id => return Ok(Adopted::Yes),
        Some(_) => return Ok(Adopted::Known),
        None => {}
    }
    // Should another chat take the id between this and the update, the constraint fails and all is looked at again.
    let another = "SELECT 1 FROM fini_bridge.conversations WHERE interaction_id = $1";
    if tx.one(another, params![id.as_str()], |_| Ok(())).await?.is_some() {
        return Ok(Adopted::HeldByAnother);
    }
    tx.run(
        "UPDATE fini_bridge.conversations SET interaction_id = $1
         WHERE lane = $2 AND generation = $3 AND interaction_id IS NULL",
        params![id.as_str(), lane.0, generation],
    )
    .await?;
    lanes::wake(tx, lane, Work::Turns, tx.now).await?;
    Ok(Adopted::Yes)
}
