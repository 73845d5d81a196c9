//! Looking at messages, and figures. Changes nothing.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::intake::chat;
use super::tx::{Tx, count, from_json, get, ints, kind, moment, params, parsed, role, rows, state, texts};
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, ChannelName, ChatRef, InteractionId, MessageId, TurnId};
use crate::store::{Filter, PartStory, Result, Stats, Story, TurnStory};

const STORY: &str = "SELECT m.id, m.channel, l.chat_ref, m.role, m.text, m.state, coalesce(m.reason, t.reason),
        coalesce(m.detail, t.detail), m.received_at, t.id, t.generation, t.bot_id, c.interaction_id, t.asked, t.asked_at,
        t.ended_at, t.event_kinds, l.chat
    FROM fini_bridge.messages AS m
    LEFT JOIN fini_bridge.lanes AS l ON l.id = m.lane
    LEFT JOIN fini_bridge.turns AS t ON t.id = m.turn
    LEFT JOIN fini_bridge.conversations AS c ON c.lane = t.lane AND c.generation = t.generation";

pub(super) async fn story(tx: &Tx<'_>, message: MessageId) -> Result<Option<Story>> {
    let stories = tx.all(&format!("{STORY} WHERE m.id = $1"), params![message.to_string()], read_story).await?;
    Ok(with_parts(tx, stories).await?.pop())
}

pub(super) async fn list(tx: &Tx<'_>, filter: &Filter) -> Result<Vec<Story>> {
    let channel = filter.channel.as_ref().map(ChannelName::as_str);
    let before = filter.older_than.map_or(i64::MAX, |age| tx.now.minus(age).as_millis());
    let since = filter.since.map_or(i64::MIN, Timestamp::as_millis);
    let chat = filter.chat.as_ref().map(chat);
    let limit = rows(filter.limit);
    // A chat by the whole id, or by what stands between two of its colons: Slack's are `TEAM:CHANNEL:THREAD`.
    let matching = "($1::text IS NULL OR channel = $1) AND received_at <= $2 AND received_at >= $4
        AND ($5::text IS NULL OR lane IN (SELECT id FROM fini_bridge.lanes
            WHERE strpos(':' || chat || ':', ':' || $5 || ':') > 0))";
    let read = |row: &Row| get::<i64>(row, 0);
    let mut found: Vec<i64> = Vec::new();
    if filter.states.is_empty() {
        let sql = format!("SELECT seq FROM fini_bridge.messages WHERE {matching} ORDER BY seq DESC LIMIT $3");
        found = tx.all(&sql, params![channel, before, limit, since, chat.as_deref()], read).await?;
    }
    for state in &filter.states {
        let sql =
            format!("SELECT seq FROM fini_bridge.messages WHERE {matching} AND state = $6 ORDER BY seq DESC LIMIT $3");
        let values = params![channel, before, limit, since, chat.as_deref(), state.as_str()];
        found.extend(tx.all(&sql, values, read).await?);
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup();
    found.truncate(filter.limit);
    let sql = format!("{STORY} WHERE m.seq = ANY($1) ORDER BY m.seq DESC");
    let stories = tx.all(&sql, params![ints(found)], read_story).await?;
    with_parts(tx, stories).await
}

fn read_story(row: &Row) -> Result<Story> {
    let turn = match get::<Option<&str>>(row, 9)? {
        None => None,
        Some(id) => Some(TurnStory {
            id: parsed(id)?,
            generation: count(get(row, 10)?),
            bot_id: BotId::new(get::<String>(row, 11)?),
            interaction_id: get::<Option<String>>(row, 12)?.map(InteractionId::new),
            asked: count(get(row, 13)?),
            asked_at: moment(get(row, 14)?),
            ended_at: moment(get(row, 15)?),
            event_kinds: from_json(get(row, 16)?)?,
        }),
    };
    Ok(Story {
        id: parsed(get(row, 0)?)?,
        channel: ChannelName::new(get::<String>(row, 1)?),
        chat: get(row, 17)?,
        chat_ref: get::<Option<String>>(row, 2)?.map(ChatRef::new),
        role: role(get(row, 3)?)?,
        text: get(row, 4)?,
        state: state(get(row, 5)?)?,
        reason: get(row, 6)?,
        detail: get(row, 7)?,
        received_at: Timestamp::from_millis(get(row, 8)?),
        turn,
        parts: Vec::new(),
    })
}

async fn with_parts(tx: &Tx<'_>, mut stories: Vec<Story>) -> Result<Vec<Story>> {
    let turns: Vec<String> =
        stories.iter().filter_map(|story| story.turn.as_ref()).map(|turn| turn.id.to_string()).collect();
    if turns.is_empty() {
        return Ok(stories);
    }
    let found = tx
        .all(
            "SELECT turn, id, kind, state, reason, attempts, sent_at, part, detail, sending_since FROM fini_bridge.parts
             WHERE turn = ANY($1) ORDER BY seq",
            params![texts(turns.iter().map(String::as_str))],
            |row| Ok((parsed::<TurnId>(get(row, 0)?)?, read_part(row)?)),
        )
        .await?;
    let mut parts: HashMap<TurnId, Vec<PartStory>> = HashMap::new();
    for (turn, part) in found {
        parts.entry(turn).or_default().push(part);
    }
    for story in &mut stories {
        if let Some(of) = story.turn.as_ref().and_then(|turn| parts.get(&turn.id)) {
            story.parts.clone_from(of);
        }
    }
    Ok(stories)
}

fn read_part(row: &Row) -> Result<PartStory> {
    Ok(PartStory {
        id: parsed(get(row, 1)?)?,
        kind: kind(get(row, 2)?)?,
        state: get(row, 3)?,
        reason: get(row, 4)?,
        detail: get(row, 8)?,
        attempts: count(get(row, 5)?),
        tried_at: moment(get(row, 9)?),
        sent_at: moment(get(row, 6)?),
        part: get::<Option<&str>>(row, 7)?.map(from_json).transpose()?,
    })
}

/// Of everything that isn't done: those are as many as there ever were, and a counter's business.
pub(super) async fn stats(tx: &Tx<'_>) -> Result<Stats> {
    let mut stats = Stats::default();
    let mut waiting = Vec::new();
    let found = tx
        .all(
            "SELECT channel, state, count(*), min(seq) FILTER (WHERE NOT dormant) FROM fini_bridge.messages
             WHERE state <> 'done' GROUP BY state, channel",
            params![],
            |row| {
                let (channel, number) = (ChannelName::new(get::<String>(row, 0)?), get::<i64>(row, 2)?);
                Ok((channel, state(get(row, 1)?)?, number, get::<Option<i64>>(row, 3)?))
            },
        )
        .await?;
    for (channel, at, number, first) in found {
        if at.is_waiting() {
            waiting.extend(first);
        }
        stats.by_state.push((channel, at, u64::try_from(number).unwrap_or_default()));
    }
    let sql = "SELECT min(waiting_since) FROM fini_bridge.messages WHERE seq = ANY($1)";
    let since = tx.one(sql, params![ints(waiting)], |row| get::<Option<i64>>(row, 0)).await?.flatten();
    stats.oldest_waiting = since.map(|since| tx.now.since(Timestamp::from_millis(since)));
    let sql = "SELECT channel, count(*) FROM fini_bridge.parts WHERE state IN ('pending', 'sending') GROUP BY channel";
    stats.pending_parts = tx
        .all(sql, params![], |row| {
            let number: i64 = get(row, 1)?;
            Ok((ChannelName::new(get::<String>(row, 0)?), u64::try_from(number).unwrap_or_default()))
        })
        .await?;
    Ok(stats)
}
