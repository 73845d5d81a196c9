//! Turns with Fini: what a holder sees of its lane, and every step of a turn.

use std::time::Duration;

use rusqlite::{Row, ToSql, params};

use super::lanes::{self, Wake, held};
use super::tx::{self, Tx, corrupt, count, from_json, moment, parsed, role, to_json};
use super::{conversations, deliveries};
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, DeliveryKey, LaneId, MessageId, SenderRef, TurnId};
use crate::domain::span::Rate;
use crate::store::retention::{EXPIRED, EXPIRED_DETAIL};
use crate::store::steps::HORIZON;
use crate::store::{
    Admission, Asking, Doubt, LaneView, Lease, Limit, Limits, Result, Turn, TurnEnd, TurnOutcome, TurnState, Waiting,
    Work,
};

const WAITING_LIMIT: i64 = 200;

pub(super) const WAITING: &str = "SELECT id, delivery_key, waiting_since, sort_at, sender, role, text, user_attributes,
        bot_id, address, too_long, dormant
    FROM messages WHERE lane = ?1 AND state = 'received' ORDER BY seq LIMIT ?2";
pub(super) const CURRENT: &str = "SELECT id, generation, bot_id, role, content, user_attributes, address, received_at,
        state, asked, asked_at, unknown_since, answered, looks,
        EXISTS (SELECT 1 FROM messages m WHERE m.turn = turns.id AND m.dormant)
    FROM turns WHERE lane = ?1 AND ended_at IS NULL";
pub(super) const MEMBERS: &str = "SELECT delivery_key FROM messages WHERE turn = ?1 ORDER BY place";
/// Whether so many turns began in a time. What a clock that was set back left in the future doesn't count.
pub(super) const OF_LANE: &str = "SELECT 1 FROM turns WHERE lane = ?1 AND sender_ref IS NOT NULL
    AND begun_at >= ?2 AND begun_at <= ?3 ORDER BY begun_at LIMIT 1 OFFSET ?4 - 1";
pub(super) const OF_SENDER: &str = "SELECT 1 FROM turns WHERE sender_ref = ?1
    AND begun_at >= ?2 AND begun_at <= ?3 ORDER BY begun_at LIMIT 1 OFFSET ?4 - 1";
pub(super) const OF_CHANNEL: &str = "SELECT 1 FROM turns WHERE channel = ?1 AND sender_ref IS NOT NULL
    AND begun_at >= ?2 AND begun_at <= ?3 ORDER BY begun_at LIMIT 1 OFFSET ?4 - 1";
pub(super) const CURRENT_CONVERSATION: &str = "UPDATE lanes SET generation = ?1, bot_id = ?2, last_turn_at = ?3
    WHERE id = ?4 AND generation <= ?1 RETURNING shared";
pub(super) const JOIN: &str = "UPDATE messages SET state = 'asking', turn = ?1, place = ?2
    WHERE id = ?3 AND lane = ?4 AND state = 'received'";

pub(super) fn look(tx: &Tx<'_>, lease: &Lease) -> Result<LaneView> {
    held(tx, lease, Work::Turns)?;
    let lane = lease.lane.0;
    let (generation, bot_id, last_turn_at) = tx
        .one("SELECT generation, bot_id, last_turn_at FROM lanes WHERE id = ?1", params![lane], |row| {
            Ok((row.get(0)?, row.get::<_, Option<String>>(1)?, row.get(2)?))
        })?
        .ok_or_else(|| corrupt("a lane is gone"))?;
    let turn = tx.one(CURRENT, params![lane], |row| Ok(read_turn(row)))?;
    let turn = match turn {
        Some(turn) => Some(with_members(tx, turn?)?),
        None => None,
    };
    let waiting = tx.all(WAITING, params![lane, WAITING_LIMIT], |row| Ok(read_waiting(row)))?;
    Ok(LaneView {
        now: tx.now,
        generation: count(generation),
        bot_id: bot_id.map(BotId::new),
        last_turn_at: moment(last_turn_at),
        turn,
        waiting: waiting.into_iter().collect::<Result<_>>()?,
    })
}

/// Written before the call. The members of a turn that was begun before never change.
pub(super) fn asking(tx: &Tx<'_>, lease: &Lease, asking: &Asking) -> Result<Admission> {
    held(tx, lease, Work::Turns)?;
    if !asking.members.is_empty()
        && let Some(limit) = limit_reached(tx, lease, asking)?
    {
        return Ok(Admission::LimitReached(limit));
    }
    let lane = lease.lane;
    let shared: bool = tx
        .one(CURRENT_CONVERSATION, params![asking.generation, asking.bot_id.as_str(), tx.now(), lane.0], |row| {
            row.get(0)
        })?
        .ok_or_else(|| corrupt("a turn belongs to an earlier conversation than its chat's"))?;
    let user_attributes = if shared { "{}".to_owned() } else { to_json(&asking.user_attributes)? };
    let asked_again = tx.run(
        "UPDATE turns SET state = 'asking', asked = asked + 1, asked_at = ?1, unknown_since = NULL, answered = 0,
            looks = 0, generation = ?2, bot_id = ?3, role = ?4, content = ?5, user_attributes = ?6, address = ?7
         WHERE id = ?8 AND lane = ?9 AND ended_at IS NULL",
        params![
            tx.now(),
            asking.generation,
            asking.bot_id.as_str(),
            asking.role.as_str(),
            asking.content,
            user_attributes,
            to_json(&asking.address)?,
            asking.turn.to_string(),
            lane.0,
        ],
    )?;
    if asked_again == 0 {
        begin(tx, lease, asking, &user_attributes)?;
    }
    conversations::asked(tx, lease, asking)?;
    Ok(Admission::Admitted { shared })
}

fn limit_reached(tx: &Tx<'_>, lease: &Lease, asking: &Asking) -> Result<Option<Limit>> {
    let Some(sender) = &asking.sender_ref else { return Ok(None) };
    let Limits { per_chat, per_sender, per_channel } = asking.limits;
    let reached = |rate: Option<Rate>, sql: &str, of: &dyn ToSql| -> Result<bool> {
        let Some(rate) = rate else { return Ok(false) };
        let (from, to) = (tx.now.minus(rate.per).as_millis(), tx.now.plus(HORIZON).as_millis());
        Ok(tx.one(sql, params![of, from, to, rate.count], |_| Ok(()))?.is_some())
    };
    Ok(if reached(per_chat, OF_LANE, &lease.lane.0)? {
        Some(Limit::Chat)
    } else if reached(per_sender, OF_SENDER, &sender.as_str())? {
        Some(Limit::Sender)
    } else if reached(per_channel, OF_CHANNEL, &lease.channel.as_str())? {
        Some(Limit::Channel)
    } else {
        None
    })
}

fn begin(tx: &Tx<'_>, lease: &Lease, asking: &Asking, user_attributes: &str) -> Result<()> {
    if asking.members.is_empty() {
        return Err(corrupt("a turn without messages"));
    }
    let turn = asking.turn.to_string();
    join(tx, lease.lane, &turn, &asking.members)?;
    tx.run(
        "INSERT INTO turns (id, lane, generation, bot_id, role, content, user_attributes, address, received_at,
            begun_at, state, asked, asked_at, channel, sender_ref)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, min(waiting_since), ?9, 'asking', 1, ?9, ?10, ?11
         FROM messages WHERE turn = ?1",
        params![
            turn,
            lease.lane.0,
            asking.generation,
            asking.bot_id.as_str(),
            asking.role.as_str(),
            asking.content,
            user_attributes,
            to_json(&asking.address)?,
            tx.now(),
            lease.channel.as_str(),
            asking.sender_ref.as_ref().map(SenderRef::as_str),
        ],
    )?;
    Ok(())
}

pub(super) fn reopen(tx: &Tx<'_>, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()> {
    held(tx, lease, Work::Turns)?;
    let changed = tx.run(
        "UPDATE turns SET state = 'open', unknown_since = NULL, answered = 0, looks = 0, reason = ?1
         WHERE id = ?2 AND lane = ?3 AND ended_at IS NULL",
        params![reason, turn.to_string(), lease.lane.0],
    )?;
    current(changed)?;
    // Fini said when to come back: nothing that came meanwhile makes that sooner.
    lanes::free(tx, lease, Some(tx.now.plus(after)), Wake::Ignored)
}

pub(super) fn unknown(
    tx: &Tx<'_>,
    lease: &Lease,
    turn: TurnId,
    doubt: Doubt,
    after: Duration,
    reason: &str,
) -> Result<()> {
    held(tx, lease, Work::Turns)?;
    let turn = turn.to_string();
    let changed = match doubt {
        Doubt::Begins { answered } => tx.run(
            "UPDATE turns SET state = 'unknown', reason = ?1, answered = ?2, unknown_since = ?3, looks = 0
             WHERE id = ?4 AND lane = ?5 AND ended_at IS NULL",
            params![reason, answered, tx.now(), turn, lease.lane.0],
        )?,
        Doubt::Looked | Doubt::NotLooked => tx.run(
            "UPDATE turns SET reason = ?1, looks = looks + ?2
             WHERE id = ?3 AND lane = ?4 AND ended_at IS NULL AND state = 'unknown'",
            params![reason, doubt == Doubt::Looked, turn, lease.lane.0],
        )?,
    };
    current(changed)?;
    lanes::free(tx, lease, Some(tx.now.plus(after)), Wake::Counts)
}

/// The turn's end, its replies and what became known of the conversation: one commit.
pub(super) fn end(tx: &Tx<'_>, lease: &Lease, end: &TurnEnd) -> Result<()> {
    held(tx, lease, Work::Turns)?;
    let turn = end.turn.to_string();
    never_begun(tx, lease.lane, end)?;
    let (generation, ended_at): (u32, Option<i64>) = tx
        .one(
            "SELECT generation, ended_at FROM turns WHERE id = ?1 AND lane = ?2",
            params![turn, lease.lane.0],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .ok_or_else(|| corrupt("no such turn in this chat"))?;
    if ended_at.is_some() {
        return Ok(()); // said twice, because the first answer was lost
    }
    let (state, reason, detail) = match &end.outcome {
        TurnOutcome::Answered => ("answered", None, None),
        TurnOutcome::Dropped { reason } => ("dropped", Some(reason.as_str()), None),
        TurnOutcome::Failed { reason, detail } => ("failed", Some(reason.as_str()), Some(detail.as_str())),
        TurnOutcome::Held { reason, detail } => ("held", Some(reason.as_str()), Some(detail.as_str())),
        TurnOutcome::Expired => ("failed", Some(EXPIRED), Some(EXPIRED_DETAIL)),
    };
    tx.run(
        "UPDATE turns SET state = ?1, reason = ?2, detail = ?3, ended_at = ?4, event_kinds = ?5 WHERE id = ?6",
        params![state, reason, detail, tx.now(), to_json(&end.event_kinds)?, turn],
    )?;
    deliveries::put(tx, lease, end)?;
    match end.outcome {
        TurnOutcome::Answered => deliveries::settle(tx, &turn)?,
        TurnOutcome::Dropped { .. } | TurnOutcome::Failed { .. } | TurnOutcome::Held { .. } | TurnOutcome::Expired => {
            tx.run(
                "UPDATE messages SET state = ?1, reason = ?2, detail = ?3, ended_at = ?4 WHERE turn = ?5",
                params![state, reason, detail, tx.now(), turn],
            )?;
        }
    }
    if end.outcome == TurnOutcome::Answered || !end.events.is_empty() {
        conversations::answered(tx, lease.lane, generation, end)?;
    }
    let last_turn_at = (end.outcome != TurnOutcome::Expired).then(|| tx.now());
    tx.run(
        "UPDATE lanes SET last_turn_at = coalesce(?1, last_turn_at), generation = max(generation, ?3) WHERE id = ?2",
        params![last_turn_at, lease.lane.0, end.new_generation.unwrap_or_default()],
    )?;
    tx.ring_ended();
    Ok(())
}

/// A turn that ends before it was begun still has its row, so that its replies and its story have a place.
fn never_begun(tx: &Tx<'_>, lane: LaneId, end: &TurnEnd) -> Result<()> {
    let turn = end.turn.to_string();
    let known = tx.one("SELECT 1 FROM turns WHERE id = ?1", params![turn], |_| Ok(()))?;
    if end.members.is_empty() || known.is_some() {
        return Ok(());
    }
    join(tx, lane, &turn, &end.members)?;
    tx.run(
        "INSERT INTO turns (id, lane, generation, bot_id, role, received_at, begun_at, state)
         SELECT ?1, ?2, (SELECT generation FROM lanes WHERE id = ?2), bot_id, role, min(waiting_since), ?3, 'open'
         FROM messages WHERE turn = ?1",
        params![turn, lane.0, tx.now()],
    )?;
    Ok(())
}

fn join(tx: &Tx<'_>, lane: LaneId, turn: &str, members: &[MessageId]) -> Result<()> {
    for (place, member) in members.iter().enumerate() {
        if tx.run(JOIN, params![turn, tx::rows(place), member.to_string(), lane.0])? == 0 {
            return Err(corrupt("a message of the turn doesn't wait in its chat"));
        }
    }
    Ok(())
}

fn current(changed: usize) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(corrupt("the turn isn't the current one of this chat")) }
}

fn read_waiting(row: &Row<'_>) -> Result<Waiting> {
    Ok(Waiting {
        id: parsed(&text(row, 0)?)?,
        delivery_key: DeliveryKey::new(text(row, 1)?),
        received_at: Timestamp::from_millis(row.get(2).map_err(tx::failed)?),
        sort_at: moment(row.get(3).map_err(tx::failed)?),
        sender: row.get(4).map_err(tx::failed)?,
        role: role(&text(row, 5)?)?,
        text: text(row, 6)?,
        user_attributes: from_json(&text(row, 7)?)?,
        bot_id: BotId::new(text(row, 8)?),
        address: from_json(&text(row, 9)?)?,
        too_long: row.get(10).map_err(tx::failed)?,
        dormant: row.get(11).map_err(tx::failed)?,
    })
}

fn read_turn(row: &Row<'_>) -> Result<Turn> {
    let asked_at = Timestamp::from_millis(row.get::<_, Option<i64>>(10).map_err(tx::failed)?.unwrap_or_default());
    let state = match text(row, 8)?.as_str() {
        "open" => TurnState::Open,
        "asking" => TurnState::Asking { since: asked_at },
        "unknown" => TurnState::Unknown {
            asked_at,
            since: moment(row.get(11).map_err(tx::failed)?).unwrap_or(asked_at),
            answered: row.get(12).map_err(tx::failed)?,
            looks: count(row.get(13).map_err(tx::failed)?),
        },
        _ => return Err(corrupt("an unknown state of a turn")),
    };
    Ok(Turn {
        id: parsed(&text(row, 0)?)?,
        generation: count(row.get(1).map_err(tx::failed)?),
        bot_id: BotId::new(text(row, 2)?),
        role: role(&text(row, 3)?)?,
        content: text(row, 4)?,
        user_attributes: from_json(&text(row, 5)?)?,
        address: from_json(&text(row, 6)?)?,
        in_reply_to: Vec::new(),
        received_at: Timestamp::from_millis(row.get(7).map_err(tx::failed)?),
        state,
        asked: count(row.get(9).map_err(tx::failed)?),
        dormant: row.get(14).map_err(tx::failed)?,
    })
}

fn with_members(tx: &Tx<'_>, mut turn: Turn) -> Result<Turn> {
    turn.in_reply_to =
        tx.all(MEMBERS, params![turn.id.to_string()], |row| Ok(DeliveryKey::new(row.get::<_, String>(0)?)))?;
    Ok(turn)
}

fn text(row: &Row<'_>, column: usize) -> Result<String> {
    row.get(column).map_err(tx::failed)
}
