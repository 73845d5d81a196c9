//! The one statement that keeps what came, and says in whose hands its lanes are.

use std::collections::HashSet;

use super::intake::{Item, Plan, Plans};
use super::tx::{Tx, get, ints, optional_texts, params, parsed, texts, to_json};
use crate::domain::clock::Timestamp;
use crate::domain::id::{MessageId, Owner};
use crate::domain::message::Role;
use crate::store::sql::journal;
use crate::store::{NewItem, NewMessage, NewUnusable, Result};

/// Messages, then lanes. A lane changes only where all that was told of it is new. Then the messages that were kept,
/// and the lanes in which nothing else is to be done: the statement sees what was there before it.
const INSERT: &str = "
    WITH kept AS (
        INSERT INTO messages (id, channel, delivery_key, key_digest, lane, role, sender, text, user_attributes, bot_id,
            address, dormant, sort_at, wait_until, reason, detail, too_long, journal, received_at, waiting_since, state,
            ended_at)
        SELECT id, channel, delivery_key, key_digest, lane, role, sender, text, user_attributes, bot_id, address,
            dormant, sort_at, wait_until, reason, detail, too_long, journal, $18, $18,
            CASE WHEN lane IS NULL THEN 'failed' ELSE 'received' END, CASE WHEN lane IS NULL THEN $18 END
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::boolean[], $13::bigint[], $14::bigint[], $15::text[],
            $16::text[], $17::boolean[], $28::text[]) WITH ORDINALITY AS n (id, channel, delivery_key, key_digest,
            lane, role, sender, text, user_attributes, bot_id, address, dormant, sort_at, wait_until, reason, detail,
            too_long, journal, place)
        ORDER BY place ON CONFLICT (channel, key_digest) DO NOTHING RETURNING id, lane),
    whole AS MATERIALIZED (
        SELECT w.* FROM unnest($19::bigint[], $20::bigint[], $21::boolean[], $22::text[], $23::text[], $24::text[],
            $25::bigint[], $26::bigint[], $27::boolean[]) AS w (lane, number, shared, sender_ref, attributes_ref, owner,
            fence, due_at, is_leased)
        JOIN (SELECT lane, count(*) AS number FROM kept GROUP BY lane) AS k ON k.lane = w.lane AND k.number = w.number),
    received AS (
        UPDATE lanes AS l SET shared = w.shared, sender_ref = w.sender_ref, attributes_ref = w.attributes_ref,
            turns_owner = w.owner, turns_fence = w.fence, turns_due_at = w.due_at
        FROM whole AS w WHERE l.id = w.lane
        RETURNING l.id, l.channel, l.turns_due_at),
    due AS (
        INSERT INTO due_lanes (work, lane, channel, due_at)
        SELECT 'turns', id, channel, turns_due_at FROM received WHERE turns_due_at IS NOT NULL
        ON CONFLICT (work, lane) DO NOTHING)
    SELECT id, NULL::bigint FROM kept
    UNION ALL
    SELECT NULL, w.lane FROM whole AS w
    WHERE w.is_leased AND NOT EXISTS (SELECT 1 FROM turns AS t WHERE t.lane = w.lane AND t.ended_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.lane = w.lane AND m.state = 'received')";

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) ids: HashSet<MessageId>,
    /// Lanes leased by this commit in which nothing waited and nothing was asked.
    pub(super) quiet: HashSet<i64>,
}

fn unusable<'i>(item: &Item<'i>) -> Option<&'i NewUnusable> {
    match item.item {
        NewItem::Message(_) => None,
        NewItem::Unusable(unusable) => Some(unusable),
    }
}

fn key<'i>(item: &Item<'i>) -> &'i str {
    match item.item {
        NewItem::Message(message) => message.delivery_key.as_str(),
        NewItem::Unusable(unusable) => unusable.delivery_key.as_str(),
    }
}

fn text<'i>(item: &Item<'i>) -> &'i str {
    match item.item {
        NewItem::Message(message) => &message.text,
        NewItem::Unusable(unusable) => &unusable.raw,
    }
}

pub(super) async fn insert(tx: &Tx<'_>, new: &[&Item<'_>], plans: &Plans<'_>) -> Result<Kept> {
    let mut kept = Kept::default();
    if new.is_empty() {
        return Ok(kept);
    }
    let (mut attributes, mut addresses) = (Vec::new(), Vec::new());
    for item in new {
        let message = item.message();
        attributes.push(message.map(|message| to_json(&message.user_attributes)).transpose()?);
        addresses.push(message.map(|message| to_json(&message.address)).transpose()?);
    }
    let journal = new
        .iter()
        .map(|item| match item.item {
            NewItem::Message(message) => journal::received(tx, message.secret.as_deref()),
            NewItem::Unusable(unusable) => journal::unusable(tx, unusable),
        })
        .collect::<Result<Vec<String>>>()?;
    let ids: Vec<String> = new.iter().map(|item| item.id.to_string()).collect();
    let messages = || new.iter().map(|item| item.message());
    let unusable = || new.iter().map(|item| unusable(item));
    let until = |message: &NewMessage| message.wait.map(|wait| tx.now().plus(wait).as_millis());
    let lanes = plans.by_message();
    let changed: Vec<&Plan<'_>> = plans.0.values().filter(|plan| plan.has_changed(tx)).collect();
    let changed = || changed.iter();
    let number = |plan: &&Plan<'_>| i64::try_from(plan.messages.len()).unwrap_or(i64::MAX);
    let rows = tx
        .all(
            INSERT,
            params![
                texts(ids.iter().map(String::as_str)),
                texts(new.iter().map(|item| item.key.0)),
                texts(new.iter().map(|item| key(item))),
                new.iter().map(|item| item.key.1.clone()).collect::<Vec<_>>(),
                ints(new.iter().map(|item| lanes.get(&item.id).copied())),
                texts(messages().map(|message| message.map_or(Role::User, |message| message.role).as_str())),
                optional_texts(messages().map(|message| message.and_then(|message| message.sender.as_deref()))),
                texts(new.iter().map(|item| text(item))),
                optional_texts(attributes.iter().map(Option::as_deref)),
                optional_texts(messages().map(|message| message.map(|message| message.bot_id.as_str()))),
                optional_texts(addresses.iter().map(Option::as_deref)),
                messages().map(|message| message.is_some_and(|message| message.dormant)).collect::<Vec<bool>>(),
                ints(messages().map(|message| message.and_then(|message| message.sort_at).map(Timestamp::as_millis))),
                ints(messages().map(|message| message.and_then(until))),
                optional_texts(unusable().map(|unusable| unusable.map(|unusable| unusable.reason.as_str()))),
                optional_texts(unusable().map(|unusable| unusable.map(|unusable| unusable.detail.as_str()))),
                messages().map(|message| message.is_some_and(|message| message.too_long)).collect::<Vec<bool>>(),
                tx.now(),
                ints(changed().map(|plan| plan.lane.id.0)),
                ints(changed().map(number)),
                changed().map(|plan| plan.lane.shared).collect::<Vec<bool>>(),
                optional_texts(changed().map(|plan| plan.lane.sender_ref.as_deref())),
                optional_texts(changed().map(|plan| plan.lane.attributes_ref.as_deref())),
                optional_texts(changed().map(|plan| plan.lane.turns.owner.as_ref().map(Owner::as_str))),
                ints(changed().map(|plan| plan.lane.turns.fence)),
                ints(changed().map(|plan| plan.lane.turns.due_at.map(Timestamp::as_millis))),
                changed().map(|plan| plan.is_leased).collect::<Vec<bool>>(),
                texts(journal.iter().map(String::as_str)),
            ],
            |row| Ok((get::<Option<String>>(row, 0)?, get::<Option<i64>>(row, 1)?)),
        )
        .await?;
    for (id, lane) in rows {
        if let Some(id) = id {
            kept.ids.insert(parsed(&id)?);
        }
        kept.quiet.extend(lane);
    }
    Ok(kept)
}
