//! Looking at messages, and figures. Changes nothing.

use rusqlite::types::ToSql;
use rusqlite::{Row, params};

use super::tx::{Tx, count, from_json, kind, moment, parsed, role, rows, state};
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, ChannelName, ChatKey, ChatRef, InteractionId, MessageId};
use crate::store::{Filter, MessageState, PartStory, Result, Stats, Story, TurnStory};

const STORY: &str = "SELECT m.id, m.channel, l.chat_ref, m.role, m.text, m.state, coalesce(m.reason, t.reason),
        coalesce(m.detail, t.detail), m.received_at, t.id, t.generation, t.bot_id, c.interaction_id, t.asked, t.asked_at,
        t.ended_at, t.event_kinds, l.chat
    FROM messages m
    LEFT JOIN lanes l ON l.id = m.lane
    LEFT JOIN turns t ON t.id = m.turn
    LEFT JOIN conversations c ON c.lane = t.lane AND c.generation = t.generation";
const PARTS: &str = "SELECT id, kind, state, reason, attempts, sent_at, part, detail, sending_since FROM parts WHERE turn = ?1 ORDER BY seq";

/// By the whole id, or by what stands between two of its colons: Slack's are `TEAM:CHANNEL`, `TEAM:CHANNEL:THREAD`.
const IN_CHAT: &str = "lane IN (SELECT id FROM lanes WHERE instr(':' || chat || ':', ':' || ?5 || ':') > 0)";

pub(super) fn story(tx: &Tx<'_>, message: MessageId) -> Result<Option<Story>> {
    let sql = format!("{STORY} WHERE m.id = ?1");
    match tx.one(&sql, params![message.to_string()], |row| Ok(read_story(row)))? {
        Some(story) => Ok(Some(with_parts(tx, story?)?)),
        None => Ok(None),
    }
}

pub(super) fn list(tx: &Tx<'_>, filter: &Filter) -> Result<Vec<Story>> {
    // One walk of the index per state. The condition of the partial index has to stand there literally.
    let walks: Vec<(&str, Option<MessageState>)> = if filter.states.is_empty() {
        vec![("", None)]
    } else {
        filter
            .states
            .iter()
            .map(|state| match state {
                MessageState::Done => ("AND state = ?6", Some(*state)),
                _ => ("AND state = ?6 AND state <> 'done'", Some(*state)),
            })
            .collect()
    };
    let channel = filter.channel.as_ref().map(ChannelName::as_str);
    let before = filter.older_than.map(|age| tx.now.minus(age).as_millis());
    let since = filter.since.map(Timestamp::as_millis);
    let chat = filter.chat.as_ref().map(ChatKey::as_str);
    let limit = rows(filter.limit);
    let mut found: Vec<i64> = Vec::new();
    for (condition, state) in walks {
        let in_channel = if channel.is_some() { "channel = ?1" } else { "?1 IS NULL" };
        let old = if before.is_some() { "received_at <= ?2" } else { "?2 IS NULL" };
        let young = if since.is_some() { "received_at >= ?4" } else { "?4 IS NULL" };
        let in_chat = if chat.is_some() { IN_CHAT } else { "?5 IS NULL" };
        let sql = format!(
            "SELECT seq FROM messages WHERE {in_channel} AND {old} AND {young} AND {in_chat} {condition}
             ORDER BY seq DESC LIMIT ?3"
        );
        let state = state.map(MessageState::as_str);
        let mut values: Vec<&dyn ToSql> = vec![&channel, &before, &limit, &since, &chat];
        if state.is_some() {
            values.push(&state);
        }
        found.extend(tx.all(&sql, values.as_slice(), |row| row.get::<_, i64>(0))?);
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup();
    found.truncate(filter.limit);
    let sql = format!("{STORY} WHERE m.seq = ?1");
    let mut stories = Vec::with_capacity(found.len());
    for seq in found {
        if let Some(story) = tx.one(&sql, params![seq], |row| Ok(read_story(row)))? {
            stories.push(with_parts(tx, story?)?);
        }
    }
    Ok(stories)
}

fn read_story(row: &Row<'_>) -> Result<Story> {
    read_columns(row).map_err(super::tx::failed)?
}

fn read_columns(row: &Row<'_>) -> rusqlite::Result<Result<Story>> {
    let turn = match row.get::<_, Option<String>>(9)? {
        None => None,
        Some(id) => Some((
            id,
            row.get::<_, i64>(10)?,
            row.get::<_, String>(11)?,
            row.get::<_, Option<String>>(12)?,
            row.get::<_, i64>(13)?,
            row.get::<_, Option<i64>>(14)?,
            row.get::<_, Option<i64>>(15)?,
            row.get::<_, String>(16)?,
        )),
    };
    let (id, of, at): (String, String, String) = (row.get(0)?, row.get(3)?, row.get(5)?);
    let channel = ChannelName::new(row.get::<_, String>(1)?);
    let chat = row.get(17)?;
    let chat_ref = row.get::<_, Option<String>>(2)?.map(ChatRef::new);
    let (text, reason, detail) = (row.get(4)?, row.get(6)?, row.get(7)?);
    let received_at = Timestamp::from_millis(row.get(8)?);
    Ok((|| {
        let turn = match turn {
            None => None,
            Some((id, generation, bot_id, interaction_id, asked, asked_at, ended_at, event_kinds)) => Some(TurnStory {
                id: parsed(&id)?,
                generation: count(generation),
                bot_id: BotId::new(bot_id),
                interaction_id: interaction_id.map(InteractionId::new),
                asked: count(asked),
                asked_at: moment(asked_at),
                ended_at: moment(ended_at),
                event_kinds: from_json(&event_kinds)?,
            }),
        };
        Ok(Story {
            id: parsed(&id)?,
            channel,
            chat,
            chat_ref,
            role: role(&of)?,
            text,
            state: state(&at)?,
            reason,
            detail,
            received_at,
            turn,
            parts: Vec::new(),
        })
    })())
}

fn with_parts(tx: &Tx<'_>, mut story: Story) -> Result<Story> {
    let Some(turn) = &story.turn else { return Ok(story) };
    let found = tx.all(PARTS, params![turn.id.to_string()], |row| {
        Ok((
            (row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?),
            (row.get(3)?, row.get(7)?, row.get::<_, Option<i64>>(8)?),
            (row.get::<_, i64>(4)?, row.get::<_, Option<i64>>(5)?, row.get::<_, Option<String>>(6)?),
        ))
    })?;
    story.parts = found
        .into_iter()
        .map(|((id, of, state), (reason, detail, tried_at), (attempts, sent_at, part))| {
            Ok(PartStory {
                id: parsed(&id)?,
                kind: kind(&of)?,
                state,
                reason,
                detail,
                attempts: count(attempts),
                tried_at: moment(tried_at),
                sent_at: moment(sent_at),
                part: part.as_deref().map(from_json).transpose()?,
            })
        })
        .collect::<Result<_>>()?;
    Ok(story)
}

/// Of everything that isn't done: those are as many as there ever were, and a counter's business.
pub(super) const BY_STATE: &str =
    "SELECT channel, state, count(*), min(CASE WHEN dormant = 0 THEN seq END) FROM messages WHERE state <> 'done'
     GROUP BY state, channel";
pub(super) const PENDING: &str =
    "SELECT channel, count(*) FROM parts WHERE state IN ('pending', 'sending') GROUP BY channel";

pub(super) fn stats(tx: &Tx<'_>) -> Result<Stats> {
    let found = tx.all(BY_STATE, [], |row| {
        let oldest: Option<i64> = row.get(3)?;
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, oldest))
    })?;
    let mut stats = Stats::default();
    let mut waiting = Vec::new();
    for (channel, at, number, first) in found {
        let at = state(&at)?;
        if at.is_waiting() {
            waiting.extend(first);
        }
        stats.by_state.push((ChannelName::new(channel), at, u64::try_from(number).unwrap_or_default()));
    }
    for seq in waiting {
        let since: Option<i64> =
            tx.one("SELECT waiting_since FROM messages WHERE seq = ?1", params![seq], |row| row.get(0))?;
        stats.oldest_waiting = stats.oldest_waiting.max(since.map(|since| tx.now.since(Timestamp::from_millis(since))));
    }
    stats.pending_parts = tx.all(PENDING, [], |row| {
        Ok((ChannelName::new(row.get::<_, String>(0)?), u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default()))
    })?;
    Ok(stats)
}
