//! A message's timeline: the journals of its row, of its turns and of their parts as one list. What was never written
//! down, because it happened before there was a journal, or is removed with the text, is told from the rows themselves.

use std::collections::HashMap;

use serde_json::Value;

use super::journal::{self, code};
use super::{Row, Tx, json_list, params, sql};
use crate::domain::clock::Timestamp;
use crate::domain::id::MessageId;
use crate::store::{JournalEntry, JournalStep, Result};
use JournalStep::{
    Answered, Asked, Discarded, Failed, Held, PartFailed, PartSent, Received, Retried, Stored, Throttled, Waiting,
};

struct Message {
    received_at: Timestamp,
    state: String,
    reason: Option<String>,
    ended_at: Option<Timestamp>,
    turn: Option<String>,
    journal: Vec<JournalEntry>,
}

struct Turn {
    id: String,
    state: String,
    asked_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    journal: Vec<JournalEntry>,
}

struct Part {
    turn: String,
    id: String,
    state: String,
    reason: Option<String>,
    /// When it was sent, tried last, or could be sent first.
    at: Timestamp,
    journal: Vec<JournalEntry>,
}

/// Where an entry stands among others of the same moment: by the turn of its message, and by whose it is.
type Place = (usize, u8);
const OF_MESSAGE: u8 = 0;
const OF_TURN: u8 = 1;
const OF_PART: u8 = 2;
/// What its turn or its parts have made of a message.
const OF_END: u8 = 3;

pub(crate) async fn of<T: Tx>(tx: &T, message: MessageId) -> Result<Vec<JournalEntry>> {
    let sql = sql!("SELECT received_at, state, reason, ended_at, turn, journal FROM messages WHERE id = ?1");
    let Some(message) = tx.one(sql, params![message.to_string()], read_message).await? else { return Ok(Vec::new()) };
    let left = message.journal.iter().filter_map(|entry| entry.detail.get("turn")?.as_str());
    let ids: Vec<&str> = left.chain(message.turn.as_deref()).collect();
    let listed = json_list(&ids)?;
    let sql = sql!("SELECT id, state, asked_at, ended_at, journal FROM turns WHERE id IN TEXTS(?1)");
    let turns = tx.all(sql, params![&listed], read_turn).await?;
    let sql = sql!(
        "SELECT turn, id, state, reason, coalesce(sent_at, sending_since, answered_at), journal FROM parts
         WHERE turn IN TEXTS(?1) ORDER BY seq"
    );
    let parts = tx.all(sql, params![&listed], read_part).await?;
    let place: HashMap<&str, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let place = |turn: &str| place.get(turn).copied().unwrap_or_default();
    let mut all = Vec::new();
    let is_told = turns.iter().any(|turn| turn.journal.iter().any(|entry| matches!(entry.step, Failed | Held)));
    for turn in turns {
        let place = (place(&turn.id), OF_TURN);
        all.extend(in_order(place, of_turn(turn)));
    }
    for part in parts {
        let place = (place(&part.turn), OF_PART);
        all.extend(in_order(place, of_part(part)));
    }
    all.extend(of_message(message, is_told));
    all.sort_by_key(|(at, place, _)| (*at, *place));
    Ok(all.into_iter().map(|(_, _, entry)| entry).collect())
}

/// What one row says stays in its order, though its clock was set back.
fn in_order(place: Place, entries: Vec<JournalEntry>) -> impl Iterator<Item = (Timestamp, Place, JournalEntry)> {
    let mut latest = Timestamp::default();
    entries.into_iter().map(move |entry| {
        latest = latest.max(entry.at);
        (latest, place, entry)
    })
}

fn derived(at: Timestamp, step: JournalStep, reason: Option<&str>) -> JournalEntry {
    let reason = reason.map(|reason| ("reason".to_owned(), Value::from(code(reason))));
    JournalEntry { at, step, replica: String::new(), detail: reason.into_iter().collect() }
}

fn has(entries: &[JournalEntry], steps: &[JournalStep]) -> bool {
    entries.iter().any(|entry| steps.contains(&entry.step))
}

/// `is_told`: how its turn has ended stands in the turn's own journal.
fn of_message(message: Message, is_told: bool) -> Vec<(Timestamp, Place, JournalEntry)> {
    let mut entries = message.journal;
    if !has(&entries, &[Received]) {
        let at = message.received_at;
        entries.splice(0..0, [derived(at, Received, None), derived(at, Stored, None)]);
    }
    let end = match (message.state.as_str(), message.reason.as_deref()) {
        ("failed", _) if !is_told => Some(Failed),
        ("held", _) if !is_told => Some(Held),
        ("dropped", Some("discarded")) => Some(Discarded),
        _ => None,
    };
    if let (Some(step), Some(at)) = (end, message.ended_at)
        && !has(&entries, &[step])
    {
        let reason = message.reason.as_deref().filter(|_| step != Discarded);
        entries.push(derived(at, step, reason));
    }
    let mut place = (0, OF_MESSAGE);
    in_order(place, entries)
        .map(|(at, _, entry)| {
            if entry.step == Retried && entry.detail.contains_key("turn") {
                place = (place.0 + 1, OF_MESSAGE);
            } else if matches!(entry.step, Failed | Held | Retried | Discarded) {
                place.1 = OF_END;
            }
            (at, place, entry)
        })
        .collect()
}

fn of_turn(turn: Turn) -> Vec<JournalEntry> {
    let mut entries = turn.journal;
    if let Some(at) = turn.asked_at.filter(|_| !has(&entries, &[Asked])) {
        entries.insert(0, derived(at, Asked, None));
    }
    if let Some(at) = turn.ended_at.filter(|_| turn.state == "answered" && !has(&entries, &[Answered])) {
        entries.push(derived(at, Answered, None));
    }
    let (mut calls, mut reason) = (0_u32, None);
    for entry in &mut entries {
        match entry.step {
            Asked => {
                calls += 1;
                entry.detail.insert("call".to_owned(), calls.into());
                // Each call but the first is a retry: why is what became of the one before.
                if calls > 1 {
                    let unknown = || Value::from("unknown");
                    entry.detail.insert("reason".to_owned(), reason.take().unwrap_or_else(unknown));
                }
            }
            Waiting | Throttled => reason = entry.detail.get("reason").cloned(),
            _ => {}
        }
        entry.detail.insert("turn".to_owned(), turn.id.as_str().into());
    }
    entries
}

fn of_part(part: Part) -> Vec<JournalEntry> {
    let mut entries = part.journal;
    let missing = match part.state.as_str() {
        "sent" => Some((PartSent, None)),
        "failed" => Some((PartFailed, part.reason.as_deref())),
        _ => None,
    };
    if let Some((step, reason)) = missing.filter(|(step, _)| !has(&entries, &[*step])) {
        entries.push(derived(part.at, step, reason));
    }
    for entry in &mut entries {
        entry.detail.insert("part".to_owned(), part.id.as_str().into());
    }
    entries
}

fn read_message(row: &dyn Row) -> Result<Message> {
    Ok(Message {
        received_at: row.moment(0)?,
        state: row.owned(1)?,
        reason: row.optional_owned(2)?,
        ended_at: row.optional_moment(3)?,
        turn: row.optional_owned(4)?,
        journal: journal::read(row.text(5)?),
    })
}

fn read_turn(row: &dyn Row) -> Result<Turn> {
    Ok(Turn {
        id: row.owned(0)?,
        state: row.owned(1)?,
        asked_at: row.optional_moment(2)?,
        ended_at: row.optional_moment(3)?,
        journal: journal::read(row.text(4)?),
    })
}

fn read_part(row: &dyn Row) -> Result<Part> {
    Ok(Part {
        turn: row.owned(0)?,
        id: row.owned(1)?,
        state: row.owned(2)?,
        reason: row.optional_owned(3)?,
        at: row.moment(4)?,
        journal: journal::read(row.text(5)?),
    })
}
