//! What is kept before a webhook is acknowledged.

use super::tx::SqliteTx;
use crate::domain::id::{LaneId, MessageId};
use crate::domain::message::Role;
use crate::store::column::{parsed, to_json};
use crate::store::lane::Lane;
use crate::store::sql::leases::{lane_columns, read_lane};
use crate::store::sql::{Tx, journal, params, sql, turns};
use crate::store::{Accepted, Head, NewItem, NewMessage, NewUnusable, Result, Waiting};

/// A lane that something came for in this webhook.
struct Touched<'m> {
    lane: Lane,
    /// Nothing waited in it and nothing was asked, so that what came is all that there is to do.
    is_quiet: bool,
    new: Vec<&'m NewMessage>,
}

pub(super) fn accept(tx: &SqliteTx<'_>, items: &[NewItem]) -> Result<Vec<Accepted>> {
    let mut touched = Vec::new();
    let accepted = items
        .iter()
        .map(|item| match item {
            NewItem::Message(message) => accept_message(tx, message, &mut touched),
            NewItem::Unusable(unusable) => accept_unusable(tx, unusable),
        })
        .collect::<Result<_>>()?;
    for touched in touched {
        schedule(tx, touched)?;
    }
    Ok(accepted)
}

pub(super) fn find(tx: &SqliteTx<'_>, channel: &str, key: &str) -> Result<Option<MessageId>> {
    let known = sql!("SELECT id FROM messages WHERE channel = ?1 AND delivery_key = ?2");
    tx.one(known, params![channel, key], |row| parsed(row.text(0)?))
}

fn duplicate(tx: &SqliteTx<'_>, channel: &str, key: &str) -> Result<Accepted> {
    let first = find(tx, channel, key)?;
    first.map(Accepted::Duplicate).ok_or_else(|| crate::store::column::corrupt("a message is neither new nor known"))
}

fn accept_message<'m>(tx: &SqliteTx<'_>, message: &'m NewMessage, touched: &mut Vec<Touched<'m>>) -> Result<Accepted> {
    let (channel, key) = (message.channel.as_str(), message.delivery_key.as_str());
    let (lane, is_quiet) = match lane_of(tx, message)? {
        Some(known) => known,
        None => match find(tx, channel, key)? {
            Some(first) => return Ok(Accepted::Duplicate(first)),
            None if message.only_if_known => return Ok(Accepted::UnknownChat),
            None => (new_lane(tx, message)?, true),
        },
    };
    let kept = tx.run(
        sql!(
            "INSERT INTO messages (seq, id, channel, delivery_key, lane, role, sender, text, user_attributes, bot_id,
                address, dormant, sort_at, received_at, waiting_since, wait_until, too_long, journal, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14, ?15, ?16, ?17, 'received')
             ON CONFLICT (channel, delivery_key) DO NOTHING"
        ),
        params![
            tx.numbers().message(),
            message.id.to_string(),
            channel,
            key,
            lane.id,
            message.role.as_str(),
            message.sender.as_deref(),
            &message.text,
            to_json(&message.user_attributes)?,
            message.bot_id.as_str(),
            to_json(&message.address)?,
            message.dormant,
            message.sort_at,
            tx.now(),
            message.wait.map(|wait| tx.now().plus(wait)),
            message.too_long,
            journal::received(tx, message.secret.as_deref())?,
        ],
    )?;
    if kept == 0 {
        return duplicate(tx, channel, key);
    }
    match touched.iter_mut().find(|touched| touched.lane.id == lane.id) {
        Some(touched) => touched.new.push(message),
        None => touched.push(Touched { lane, is_quiet, new: vec![message] }),
    }
    Ok(Accepted::New(message.id))
}

fn lane_of(tx: &SqliteTx<'_>, message: &NewMessage) -> Result<Option<(Lane, bool)>> {
    let sql = sql!(concat!(
        "SELECT ",
        lane_columns!(),
        ", NOT EXISTS (SELECT 1 FROM turns WHERE turns.lane = lanes.id AND turns.ended_at IS NULL)
            AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.lane = lanes.id AND messages.state = 'received')
         FROM lanes WHERE channel = ?1 AND chat = ?2"
    ));
    let values = params![message.channel.as_str(), message.chat.as_str()];
    let found = tx.one(sql, values, |row| Ok((read_lane(row)?, row.flag(12)?)))?;
    Ok(found.map(|(lane, is_quiet)| (tx.loaded(lane), is_quiet)))
}

fn new_lane(tx: &SqliteTx<'_>, message: &NewMessage) -> Result<Lane> {
    let lane = LaneId(tx.numbers().lane());
    tx.run(
        sql!("INSERT INTO lanes (id, channel, chat, chat_ref) VALUES (?1, ?2, ?3, ?4)"),
        params![lane, message.channel.as_str(), message.chat.as_str(), message.chat_ref.as_str()],
    )?;
    Ok(tx.loaded(Lane::new(lane, message.channel.clone(), message.chat_ref.clone())))
}

fn schedule(tx: &SqliteTx<'_>, touched: Touched<'_>) -> Result<()> {
    let Touched { mut lane, is_quiet, new } = touched;
    let now = tx.now();
    if let Some((lease, permit)) = tx.wakeups().receive(&mut lane, &new, now) {
        let waiting = || new.iter().map(|message| Waiting::new(message, now));
        let head = if is_quiet { turns::head(&lane, waiting(), now) } else { Head::Unread };
        tx.wakeups().start(lease, permit, head);
    }
    tx.store(&lane)
}

fn accept_unusable(tx: &SqliteTx<'_>, unusable: &NewUnusable) -> Result<Accepted> {
    let (channel, key) = (unusable.channel.as_str(), unusable.delivery_key.as_str());
    let kept = tx.run(
        sql!(
            "INSERT INTO messages (seq, id, channel, delivery_key, role, text, received_at, waiting_since, state, reason,
                detail, ended_at, journal)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 'failed', ?8, ?9, ?7, ?10)
             ON CONFLICT (channel, delivery_key) DO NOTHING"
        ),
        params![
            tx.numbers().message(),
            unusable.id.to_string(),
            channel,
            key,
            Role::User.as_str(),
            &unusable.raw,
            tx.now(),
            &unusable.reason,
            &unusable.detail,
            journal::unusable(tx, unusable)?,
        ],
    )?;
    if kept == 0 { duplicate(tx, channel, key) } else { Ok(Accepted::New(unusable.id)) }
}
