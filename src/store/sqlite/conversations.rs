//! Fini's conversations: one per chat and generation, and whose id is whose.

use rusqlite::params;

use super::lanes;
use super::tx::{Tx, corrupt, count, from_json, moment, to_json};
use crate::domain::id::{BotId, ChannelName, EventId, InteractionId, LaneId};
use crate::store::{Adopted, Asking, Conversation, Lease, Result, TurnEnd, Work};

/// Enough of a conversation's first events to find it by; a chat whose id is never found goes on for ever.
const FIRST_EVENTS: usize = 50;

pub(super) const GET: &str =
    "SELECT channel, bot_id, reference, interaction_id, asked_at, first_events, first_event_at,
        watermark, answered_at
    FROM conversations WHERE lane = ?1 AND generation = ?2";
pub(super) const ADOPT: &str =
    "UPDATE conversations SET interaction_id = ?1 WHERE lane = ?2 AND generation = ?3 AND interaction_id IS NULL";

pub(super) fn get(tx: &Tx<'_>, lane: LaneId, generation: u32) -> Result<Option<Conversation>> {
    let found = tx.one(GET, params![lane.0, generation], |row| {
        let first_events: String = row.get(5)?;
        let conversation = Conversation {
            lane,
            generation: count(generation.into()),
            channel: ChannelName::new(row.get::<_, String>(0)?),
            bot_id: BotId::new(row.get::<_, String>(1)?),
            reference: row.get(2)?,
            interaction_id: row.get::<_, Option<String>>(3)?.map(InteractionId::new),
            asked_at: moment(row.get(4)?),
            first_events: Vec::new(),
            first_event_at: moment(row.get(6)?),
            watermark: row.get::<_, Option<String>>(7)?.map(EventId::new),
            answered_at: moment(row.get(8)?),
        };
        Ok((conversation, first_events))
    })?;
    let Some((mut conversation, first_events)) = found else { return Ok(None) };
    conversation.first_events = from_json(&first_events)?;
    Ok(Some(conversation))
}

pub(super) fn asked(tx: &Tx<'_>, lease: &Lease, asking: &Asking) -> Result<()> {
    tx.run(
        "INSERT INTO conversations (lane, generation, channel, bot_id, reference, asked_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (lane, generation) DO UPDATE SET asked_at = coalesce(conversations.asked_at, excluded.asked_at)",
        params![
            lease.lane.0,
            asking.generation,
            lease.channel.as_str(),
            asking.bot_id.as_str(),
            asking.reference,
            tx.now(),
        ],
    )?;
    Ok(())
}

pub(super) fn answered(tx: &Tx<'_>, lane: LaneId, generation: u32, end: &TurnEnd) -> Result<()> {
    let known = get(tx, lane, generation)?.ok_or_else(|| corrupt("a turn without a conversation"))?;
    let mut first_events = known.first_events;
    if known.interaction_id.is_none() {
        first_events.extend(end.events.iter().cloned());
        first_events.truncate(FIRST_EVENTS);
    }
    let first_event_at = known.first_event_at.into_iter().chain(end.first_event_at).min();
    let watermark = end.events.last().or(known.watermark.as_ref());
    tx.run(
        "UPDATE conversations SET first_events = ?1, first_event_at = ?2, watermark = ?3,
            answered_at = coalesce(answered_at, ?4)
         WHERE lane = ?5 AND generation = ?6",
        params![
            to_json(&first_events)?,
            first_event_at.map(|at| at.as_millis()),
            watermark.map(EventId::as_str),
            tx.now(),
            lane.0,
            generation,
        ],
    )?;
    Ok(())
}

pub(super) fn adopt(tx: &Tx<'_>, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted> {
    let known = get(tx, lane, generation)?.ok_or_else(|| corrupt("no such conversation"))?;
    match known.interaction_id {
        Some(known) if known == *id => return Ok(Adopted::Yes),
        Some(_) => return Ok(Adopted::Known),
        None => {}
    }
    if !tx.run_if_unique(ADOPT, params![id.as_str(), lane.0, generation])? {
        return Ok(Adopted::HeldByAnother);
    }
    lanes::wake(tx, lane, Work::Turns, tx.now)?;
    Ok(Adopted::Yes)
}
