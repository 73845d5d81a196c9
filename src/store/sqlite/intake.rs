//! What is kept before a webhook is acknowledged.

use rusqlite::params;

use super::lanes;
use super::tx::{Tx, parsed, to_json};
use crate::domain::id::{LaneId, MessageId, SenderRef};
use crate::domain::message::Role;
use crate::store::{Accepted, NewItem, NewMessage, NewUnusable, Result, Work};

pub(super) const KNOWN: &str = "SELECT id FROM messages WHERE channel = ?1 AND delivery_key = ?2";
pub(super) const LANE: &str = "SELECT id FROM lanes WHERE channel = ?1 AND chat = ?2";
/// Senders are compared where both are known, else the user attributes. Without either there is nothing to tell by.
pub(super) const WROTE: &str = "UPDATE lanes SET attributes_ref = ?3, sender_ref = coalesce(sender_ref, ?2),
        shared = CASE WHEN sender_ref IS NOT NULL AND ?2 IS NOT NULL THEN sender_ref <> ?2
            ELSE coalesce(attributes_ref <> ?3, 0) END
    WHERE id = ?1 AND shared = 0
        AND (attributes_ref IS NOT ?3 OR ?2 IS NOT NULL AND sender_ref IS NOT ?2)";

pub(super) fn accept(tx: &Tx<'_>, items: &[NewItem]) -> Result<Vec<Accepted>> {
    items
        .iter()
        .map(|item| match item {
            NewItem::Message(message) => accept_message(tx, message),
            NewItem::Unusable(unusable) => accept_unusable(tx, unusable),
        })
        .collect()
}

pub(super) fn find(tx: &Tx<'_>, channel: &str, key: &str) -> Result<Option<MessageId>> {
    let id: Option<String> = tx.one(KNOWN, params![channel, key], |row| row.get(0))?;
    id.as_deref().map(parsed).transpose()
}

fn accept_message(tx: &Tx<'_>, message: &NewMessage) -> Result<Accepted> {
    if let Some(first) = find(tx, message.channel.as_str(), message.delivery_key.as_str())? {
        return Ok(Accepted::Duplicate(first));
    }
    let known = tx.one(LANE, params![message.channel.as_str(), message.chat.as_str()], |row| row.get(0))?;
    let lane = match known {
        Some(lane) => LaneId(lane),
        None if message.only_if_known => return Ok(Accepted::UnknownChat),
        None => new_lane(tx, message)?,
    };
    tx.run(
        "INSERT INTO messages (seq, id, channel, delivery_key, lane, role, sender, text, user_attributes, bot_id, address,
            dormant, sort_at, received_at, waiting_since, wait_until, too_long, state)
         VALUES (?15, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14, ?16, 'received')",
        params![
            message.id.to_string(),
            message.channel.as_str(),
            message.delivery_key.as_str(),
            lane.0,
            message.role.as_str(),
            message.sender,
            message.text,
            to_json(&message.user_attributes)?,
            message.bot_id.as_str(),
            to_json(&message.address)?,
            message.dormant,
            message.sort_at.map(|at| at.as_millis()),
            tx.now(),
            message.wait.map(|wait| tx.now.plus(wait).as_millis()),
            tx.next_number("messages")?,
            message.too_long,
        ],
    )?;
    if message.role == Role::User {
        let sender = message.sender_ref.as_ref().map(SenderRef::as_str);
        tx.run(WROTE, params![lane.0, sender, message.attributes_ref.as_str()])?;
    }
    if !message.dormant {
        lanes::schedule(tx, lane, Work::Turns, tx.now.plus(message.merge_window))?;
    }
    Ok(Accepted::New(message.id))
}

fn new_lane(tx: &Tx<'_>, message: &NewMessage) -> Result<LaneId> {
    let lane = tx.next_number("lanes")?;
    tx.run(
        "INSERT INTO lanes (id, channel, chat, chat_ref) VALUES (?1, ?2, ?3, ?4)",
        params![lane, message.channel.as_str(), message.chat.as_str(), message.chat_ref.as_str()],
    )?;
    tx.run(
        "INSERT INTO schedule (lane, work, channel) VALUES (?1, 'turns', ?2), (?1, 'deliveries', ?2)",
        params![lane, message.channel.as_str()],
    )?;
    Ok(LaneId(lane))
}

fn accept_unusable(tx: &Tx<'_>, unusable: &NewUnusable) -> Result<Accepted> {
    if let Some(first) = find(tx, unusable.channel.as_str(), unusable.delivery_key.as_str())? {
        return Ok(Accepted::Duplicate(first));
    }
    tx.run(
        "INSERT INTO messages (seq, id, channel, delivery_key, role, text, received_at, waiting_since, state, reason,
            detail, ended_at)
         VALUES (?9, ?1, ?2, ?3, ?4, ?5, ?6, ?6, 'failed', ?7, ?8, ?6)",
        params![
            unusable.id.to_string(),
            unusable.channel.as_str(),
            unusable.delivery_key.as_str(),
            Role::User.as_str(),
            unusable.raw,
            tx.now(),
            unusable.reason,
            unusable.detail,
            tx.next_number("messages")?,
        ],
    )?;
    Ok(Accepted::New(unusable.id))
}
