//! Looking at messages, and figures. Changes nothing.

use std::collections::HashMap;

use super::{Row, Sql, Tx, json_list, params, sql};
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, ChannelName, ChatRef, InteractionId, MessageId, TurnId};
use crate::domain::message::Part;
use crate::store::column::{from_json, kind, parsed, role, state};
use crate::store::{Filter, MessageDetails, MessageState, PartDetails, Result, Stats, TurnDetails};

const DETAILS: &str = "SELECT m.id, m.channel, l.chat_ref, m.role, m.text, m.state, coalesce(m.reason, t.reason),
        coalesce(m.detail, t.detail), m.received_at, t.id, t.generation, t.bot_id, c.interaction_id, t.asked, t.asked_at,
        t.ended_at, t.event_kinds, l.chat
    FROM messages AS m
    LEFT JOIN lanes AS l ON l.id = m.lane
    LEFT JOIN turns AS t ON t.id = m.turn
    LEFT JOIN conversations AS c ON c.lane = t.lane AND c.generation = t.generation";

pub(crate) async fn details<T: Tx>(tx: &T, message: MessageId) -> Result<Option<MessageDetails>> {
    let sql = Sql::made(format!("{DETAILS} WHERE m.id = ?1"));
    let found = tx.all(&sql, params![message.to_string()], read_details).await?;
    Ok(with_parts(tx, found).await?.pop())
}

pub(crate) async fn list<T: Tx>(tx: &T, filter: &Filter) -> Result<Vec<MessageDetails>> {
    tx.tell_time().await?;
    let channel = filter.channel.as_ref().map(ChannelName::as_str);
    let before = filter.older_than.map(|age| tx.now().minus(age));
    let chat = filter.chat.as_ref().map(|chat| tx.chat(chat));
    // One walk of an index per state. What doesn't filter has to stand there all the same: each value is used.
    let states: Vec<Option<MessageState>> =
        if filter.states.is_empty() { vec![None] } else { filter.states.iter().copied().map(Some).collect() };
    let mut found: Vec<i64> = Vec::new();
    for state in states {
        let in_channel = if channel.is_some() { "channel = ?1" } else { "?1 IS NULL" };
        let old = if before.is_some() { "received_at <= ?2" } else { "?2 IS NULL" };
        let young = if filter.since.is_some() { "received_at >= ?4" } else { "?4 IS NULL" };
        // The conditions of the partial indices have to stand there literally.
        let of_state = match state {
            None => "?6 IS NULL",
            Some(MessageState::Received | MessageState::Asking | MessageState::Answered) => {
                "state = ?6 AND ended_at IS NULL"
            }
            Some(MessageState::Failed | MessageState::Held) => "state = ?6 AND state IN ('failed', 'held')",
            Some(MessageState::Done | MessageState::Dropped) => "state = ?6",
        };
        // By the whole id, or by what stands between two of its colons: Slack's are `TEAM:CHANNEL:THREAD`.
        let select = |position: &str| {
            let in_chat = match &chat {
                Some(_) => {
                    format!("lane IN (SELECT id FROM lanes WHERE {position}(':' || chat || ':', ':' || ?5 || ':') > 0)")
                }
                None => "?5 IS NULL".to_owned(),
            };
            format!(
                "SELECT seq FROM messages WHERE {in_channel} AND {old} AND {young} AND {in_chat} AND {of_state}
                 ORDER BY seq DESC LIMIT ?3"
            )
        };
        let sql = Sql::made_for(select("instr"), select("strpos"));
        let state = state.map(MessageState::as_str);
        let values = params![channel, before, filter.limit, filter.since, chat.as_deref(), state];
        found.extend(tx.all(&sql, values, |row| row.int(0)).await?);
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup();
    found.truncate(filter.limit);
    let sql = Sql::made(format!("{DETAILS} WHERE m.seq IN INTS(?1) ORDER BY m.seq DESC"));
    let found = tx.all(&sql, params![&json_list(found)?], read_details).await?;
    with_parts(tx, found).await
}

fn read_details(row: &dyn Row) -> Result<MessageDetails> {
    let turn = match row.optional_text(9)? {
        None => None,
        Some(id) => Some(TurnDetails {
            id: parsed(id)?,
            generation: row.count(10)?,
            bot_id: BotId::new(row.text(11)?),
            interaction_id: row.optional_text(12)?.map(InteractionId::new),
            asked: row.count(13)?,
            asked_at: row.optional_moment(14)?,
            ended_at: row.optional_moment(15)?,
            event_kinds: from_json(row.text(16)?)?,
        }),
    };
    Ok(MessageDetails {
        id: parsed(row.text(0)?)?,
        channel: ChannelName::new(row.text(1)?),
        chat: row.optional_owned(17)?,
        chat_ref: row.optional_text(2)?.map(ChatRef::new),
        role: role(row.text(3)?)?,
        text: row.optional_owned(4)?,
        state: state(row.text(5)?)?,
        reason: row.optional_owned(6)?,
        detail: row.optional_owned(7)?,
        received_at: row.moment(8)?,
        turn,
        parts: Vec::new(),
    })
}

async fn with_parts<T: Tx>(tx: &T, mut messages: Vec<MessageDetails>) -> Result<Vec<MessageDetails>> {
    let turns = json_list(messages.iter().filter_map(|message| message.turn.as_ref()).map(|turn| turn.id.to_string()))?;
    let found = tx
        .all(
            sql!(
                "SELECT turn, id, kind, state, reason, attempts, sent_at, part, detail, sending_since FROM parts
                 WHERE turn IN TEXTS(?1) ORDER BY seq"
            ),
            params![&turns],
            |row| Ok((parsed::<TurnId>(row.text(0)?)?, read_part(row)?)),
        )
        .await?;
    let mut parts: HashMap<TurnId, Vec<PartDetails>> = HashMap::new();
    for (turn, part) in found {
        parts.entry(turn).or_default().push(part);
    }
    for message in &mut messages {
        if let Some(of) = message.turn.as_ref().and_then(|turn| parts.get(&turn.id)) {
            message.parts.clone_from(of);
        }
    }
    Ok(messages)
}

fn read_part(row: &dyn Row) -> Result<PartDetails> {
    Ok(PartDetails {
        id: parsed(row.text(1)?)?,
        kind: kind(row.text(2)?)?,
        state: row.owned(3)?,
        reason: row.optional_owned(4)?,
        detail: row.optional_owned(8)?,
        attempts: row.count(5)?,
        tried_at: row.optional_moment(9)?,
        sent_at: row.optional_moment(6)?,
        part: row.optional_text(7)?.map(from_json).transpose()?.map(Part),
    })
}

/// Of what has not ended: what has is as much as there ever was, and a counter's business.
pub(crate) async fn stats<T: Tx>(tx: &T) -> Result<Stats> {
    tx.tell_time().await?;
    let found = tx
        .all(
            sql!(
                "SELECT channel, state, count(*), min(CASE WHEN NOT dormant THEN seq END) FROM messages
                 WHERE ended_at IS NULL GROUP BY state, channel"
            ),
            &[],
            |row| Ok((ChannelName::new(row.text(0)?), state(row.text(1)?)?, row.count(2)?, row.optional_int(3)?)),
        )
        .await?;
    let mut stats = Stats::default();
    let mut oldest = Vec::new();
    for (channel, state, number, first) in found {
        oldest.extend(first);
        stats.by_state.push((channel, state, number.into()));
    }
    let since = sql!("SELECT min(waiting_since) FROM messages WHERE seq IN INTS(?1)");
    let since: Option<Timestamp> =
        tx.one(since, params![&json_list(oldest)?], |row| row.optional_moment(0)).await?.flatten();
    stats.oldest_waiting = since.map(|since| tx.now().since(since));
    let pending = sql!("SELECT channel, count(*) FROM parts WHERE state IN ('pending', 'sending') GROUP BY channel");
    stats.pending_parts =
        tx.all(pending, &[], |row| Ok((ChannelName::new(row.text(0)?), row.count(1)?.into()))).await?;
    Ok(stats)
}
