//! Turns with Fini: what a holder sees of its lane, and every step of a turn.

use std::time::Duration;

use super::journal::{self, appended};
use super::leases::{give_back, hold, merged_at};
use super::{Row, Tx, conversations, outbox, params, sql};
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, DeliveryKey, LaneId, MessageId, SenderRef, TurnId};
use crate::domain::message::Address;
use crate::domain::span::Rate;
use crate::store::column::{corrupt, from_json, parsed, role, to_json};
use crate::store::lane::{Lane, Woken};
use crate::store::retention::{EXPIRED, EXPIRED_DETAIL};
use crate::store::steps::HORIZON;
use crate::store::{
    Admission, AfterTurn, Call, Head, LaneView, Lease, Limit, LookupNote, Result, StoreError, Turn, TurnEnd,
    TurnOutcome, TurnState, Waiting, WorkKind,
};

const WAITING_LIMIT: usize = 200;

pub(crate) async fn lane_view<T: Tx>(tx: &T, lease: &Lease) -> Result<LaneView> {
    if lease.work != WorkKind::Turns {
        return Err(StoreError::Fenced);
    }
    let lane = tx.check(lease).await?;
    let mut turn = tx
        .one(
            sql!(
                "SELECT id, generation, bot_id, role, content, user_attributes, address, received_at, state, asked,
                    asked_at, unknown_since, answered, looks,
                    EXISTS (SELECT 1 FROM messages AS m WHERE m.turn = turns.id AND m.dormant)
                 FROM turns WHERE lane = ?1 AND ended_at IS NULL"
            ),
            params![lane.id],
            read_turn,
        )
        .await?;
    if let Some(turn) = &mut turn {
        let members = sql!("SELECT delivery_key FROM messages WHERE turn = ?1 ORDER BY place");
        turn.in_reply_to =
            tx.all(members, params![turn.id.to_string()], |row| Ok(DeliveryKey::new(row.text(0)?))).await?;
    }
    let waiting = waiting(tx, lane.id).await?;
    Ok(LaneView { turn, waiting, ..view(&lane, tx.now()) })
}

/// Without what waits.
fn view(lane: &Lane, now: Timestamp) -> LaneView {
    LaneView {
        now,
        generation: lane.generation,
        bot_id: lane.bot_id.clone(),
        last_turn_at: lane.last_turn_at,
        turn: None,
        waiting: Vec::new(),
    }
}

/// All that there is to do in a lane in which nothing waited before.
pub(crate) fn head(lane: &Lane, waiting: impl Iterator<Item = Waiting>, now: Timestamp) -> Head {
    let waiting = waiting.take(WAITING_LIMIT).collect();
    Head::Turns(Box::new(LaneView { waiting, ..view(lane, now) }))
}

async fn waiting<T: Tx>(tx: &T, lane: LaneId) -> Result<Vec<Waiting>> {
    tx.all(
        sql!(
            "SELECT id, delivery_key, waiting_since, sort_at, sender, role, text, user_attributes, bot_id, address,
                too_long, dormant
             FROM messages WHERE lane = ?1 AND state = 'received' ORDER BY seq LIMIT ?2"
        ),
        params![lane, WAITING_LIMIT],
        read_waiting,
    )
    .await
}

/// The members of a turn that was begun before never change.
pub(crate) async fn begin_call<T: Tx>(tx: &T, lease: &Lease, turn: &Turn, call: &Call) -> Result<Admission> {
    let is_new = turn.state == TurnState::New;
    let counted = call.sender_ref.as_ref().filter(|_| is_new);
    if let Some(sender) = counted.filter(|_| call.limits.per_sender.is_some()) {
        tx.serialize(sender.as_str()).await?;
    }
    let mut lane = hold(tx, lease, WorkKind::Turns).await?;
    if let Some(sender) = counted
        && let Some(limit) = limit_reached(tx, lease, sender, call).await?
    {
        return Ok(Admission::LimitReached(limit));
    }
    if turn.generation < lane.generation {
        return Err(corrupt("a turn belongs to an earlier conversation than its chat's"));
    }
    let user_attributes = if lane.shared { "{}".to_owned() } else { to_json(&turn.user_attributes)? };
    if is_new {
        begin(tx, lease, turn, call, &user_attributes).await?;
    } else {
        let changed = tx
            .run(
                sql!(concat!(
                    "UPDATE turns SET state = 'asking', asked = asked + 1, asked_at = ?1, unknown_since = NULL,
                        answered = false, looks = 0, generation = ?2, bot_id = ?3, user_attributes = ?4, journal = ",
                    appended!("CASE WHEN state = 'unknown' THEN ?7 ELSE ?8 END"),
                    " WHERE id = ?5 AND lane = ?6 AND ended_at IS NULL"
                )),
                params![
                    tx.now(),
                    turn.generation,
                    turn.bot_id.as_str(),
                    user_attributes,
                    turn.id.to_string(),
                    lane.id,
                    journal::asked_after_looking(tx)?,
                    journal::asked(tx)?,
                ],
            )
            .await?;
        is_current(changed)?;
    }
    if let Some(reference) = &call.reference {
        conversations::asked(tx, lease, turn, reference).await?;
    }
    if turn.generation > lane.generation {
        lane.last_turn_at = Some(tx.now());
    }
    lane.goes_on_in(turn.generation, &turn.bot_id);
    tx.save(&lane).await?;
    Ok(Admission::Admitted { shared: lane.shared })
}

/// Whether so many turns began in a time. What a clock that was set back left in the future doesn't count.
async fn limit_reached<T: Tx>(tx: &T, lease: &Lease, sender: &SenderRef, call: &Call) -> Result<Option<Limit>> {
    // Without a limit the time is one in which nothing has begun.
    let since = |rate: Option<Rate>| rate.map_or(i64::MAX, |rate| tx.now().minus(rate.per).as_millis());
    let before_last = |rate: Option<Rate>| rate.map_or(0, |rate| i64::from(rate.count) - 1);
    let limits = &call.limits;
    let reached = tx
        .one(
            sql!(
                "SELECT
                    EXISTS (SELECT 1 FROM turns WHERE lane = ?1 AND begun_at >= ?2 AND begun_at <= ?8
                        AND sender_ref IS NOT NULL ORDER BY begun_at LIMIT 1 OFFSET ?3),
                    EXISTS (SELECT 1 FROM turns WHERE sender_ref = ?4 AND begun_at >= ?5 AND begun_at <= ?8
                        ORDER BY begun_at LIMIT 1 OFFSET ?6),
                    EXISTS (SELECT 1 FROM turns WHERE channel = ?7 AND begun_at >= ?9 AND begun_at <= ?8
                        AND sender_ref IS NOT NULL ORDER BY begun_at LIMIT 1 OFFSET ?10)"
            ),
            params![
                lease.lane,
                since(limits.per_chat),
                before_last(limits.per_chat),
                sender.as_str(),
                since(limits.per_sender),
                before_last(limits.per_sender),
                lease.channel.as_str(),
                tx.now().plus(HORIZON),
                since(limits.per_channel),
                before_last(limits.per_channel),
            ],
            |row| Ok([row.flag(0)?, row.flag(1)?, row.flag(2)?]),
        )
        .await?
        .unwrap_or_default();
    let limits = [Limit::Chat, Limit::Sender, Limit::Channel];
    Ok(limits.into_iter().zip(reached).find(|(_, is_reached)| *is_reached).map(|(limit, _)| limit))
}

async fn begin<T: Tx>(tx: &T, lease: &Lease, turn: &Turn, call: &Call, user_attributes: &str) -> Result<()> {
    if turn.members.is_empty() {
        return Err(corrupt("a turn without messages"));
    }
    let id = turn.id.to_string();
    join(tx, lease.lane, &id, &turn.members).await?;
    tx.run_later(
        sql!(
            "INSERT INTO turns (id, lane, generation, bot_id, role, content, user_attributes, address, received_at,
                begun_at, state, asked, asked_at, channel, sender_ref, journal)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'asking', 1, ?10, ?11, ?12, ?13)"
        ),
        params![
            &id,
            lease.lane,
            turn.generation,
            turn.bot_id.as_str(),
            turn.role.as_str(),
            &turn.content,
            user_attributes,
            to_json(&turn.address)?,
            turn.received_at,
            tx.now(),
            lease.channel.as_str(),
            call.sender_ref.as_ref().map(SenderRef::as_str),
            journal::asked(tx)?,
        ],
    )
    .await
}

async fn join<T: Tx>(tx: &T, lane: LaneId, turn: &str, members: &[MessageId]) -> Result<()> {
    for (place, member) in members.iter().enumerate() {
        let joined = tx
            .run(
                sql!(
                    "UPDATE messages SET state = 'asking', turn = ?1, place = ?2
                     WHERE id = ?3 AND lane = ?4 AND state = 'received'"
                ),
                params![turn, place, member.to_string(), lane],
            )
            .await?;
        if joined == 0 {
            return Err(corrupt("a message of the turn doesn't wait in its chat"));
        }
    }
    Ok(())
}

pub(crate) async fn reopen<T: Tx>(tx: &T, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()> {
    let lane = hold(tx, lease, WorkKind::Turns).await?;
    let changed = tx
        .run(
            sql!(concat!(
                "UPDATE turns SET state = 'open', unknown_since = NULL, answered = false, looks = 0, reason = ?1,
                    journal = ",
                appended!("?4"),
                " WHERE id = ?2 AND lane = ?3 AND ended_at IS NULL"
            )),
            params![reason, turn.to_string(), lane.id, journal::not_answered(tx, reason)?],
        )
        .await?;
    is_current(changed)?;
    // Fini said when to come back: nothing that came meanwhile makes that sooner.
    give_back(tx, lane, WorkKind::Turns, Some(tx.now().plus(after)), Woken::Ignored).await
}

pub(crate) async fn mark_unknown<T: Tx>(
    tx: &T,
    lease: &Lease,
    turn: TurnId,
    note: LookupNote,
    after: Duration,
    reason: &str,
) -> Result<()> {
    let lane = hold(tx, lease, WorkKind::Turns).await?;
    let turn = turn.to_string();
    let changed = match note {
        LookupNote::Started { answered } => {
            let sql = sql!(concat!(
                "UPDATE turns SET state = 'unknown', reason = ?1, answered = ?2, unknown_since = ?3, looks = 0,
                    journal = ",
                appended!("?6"),
                " WHERE id = ?4 AND lane = ?5 AND ended_at IS NULL"
            ));
            let line = journal::not_answered(tx, reason)?;
            tx.run(sql, params![reason, answered, tx.now(), &turn, lane.id, line]).await?
        }
        LookupNote::Missed => {
            let sql = sql!(concat!(
                "UPDATE turns SET reason = ?1, looks = looks + 1, journal = ",
                appended!("?4"),
                " WHERE id = ?2 AND lane = ?3 AND ended_at IS NULL AND state = 'unknown'"
            ));
            tx.run(sql, params![reason, &turn, lane.id, journal::looked_up(tx)?]).await?
        }
        LookupNote::Unchanged => {
            let sql = sql!(
                "UPDATE turns SET reason = ?1 WHERE id = ?2 AND lane = ?3 AND ended_at IS NULL AND state = 'unknown'"
            );
            tx.run(sql, params![reason, &turn, lane.id]).await?
        }
    };
    is_current(changed)?;
    give_back(tx, lane, WorkKind::Turns, Some(tx.now().plus(after)), Woken::Counts).await
}

/// How a turn has ended, as its row says it and those of its messages: state, reason, detail.
fn ended_as(outcome: &TurnOutcome) -> (&'static str, Option<&str>, Option<&str>) {
    match outcome {
        TurnOutcome::Answered => ("answered", None, None),
        TurnOutcome::Dropped { reason } => ("dropped", Some(reason), None),
        TurnOutcome::Failed { reason, detail } => ("failed", Some(reason), Some(detail)),
        TurnOutcome::Held { reason, detail } => ("held", Some(reason), Some(detail)),
        TurnOutcome::Expired => ("failed", Some(EXPIRED), Some(EXPIRED_DETAIL)),
    }
}

/// The turn's end, its replies and what became known of the conversation: one commit.
pub(crate) async fn finish_turn<T: Tx>(
    tx: &T,
    lease: &Lease,
    end: &TurnEnd,
    after: AfterTurn,
) -> Result<Option<Box<LaneView>>> {
    let mut lane = hold(tx, lease, WorkKind::Turns).await?;
    let turn = end.turn.to_string();
    never_begun(tx, &lane, end).await?;
    let (state, reason, detail) = ended_as(&end.outcome);
    // What waits is looked for under the lane's lock: nothing is stranded.
    let ended = tx
        .one(
            sql!(concat!(
                "UPDATE turns SET state = ?1, reason = ?2, detail = ?3, ended_at = ?4, event_kinds = ?5, journal = ",
                appended!("CASE WHEN state = 'unknown' THEN ?8 ELSE ?9 END"),
                " WHERE id = ?6 AND lane = ?7 AND ended_at IS NULL
                 RETURNING generation, EXISTS (SELECT 1 FROM messages WHERE lane = ?7 AND state = 'received')"
            )),
            params![
                state,
                reason,
                detail,
                tx.now(),
                to_json(&end.event_kinds)?,
                &turn,
                lane.id,
                journal::ended_after_looking(tx, end)?,
                journal::ended(tx, end)?,
            ],
            |row| Ok((row.count(0)?, row.flag(1)?)),
        )
        .await?;
    let something_waits = match ended {
        Some((generation, something_waits)) => {
            let hold_until = end_messages(tx, end, &turn).await?;
            if !end.is_discovered && (end.outcome == TurnOutcome::Answered || !end.events.is_empty()) {
                conversations::answered(tx, lane.id, generation, end).await?;
            }
            outbox::put(tx, &mut lane, end, &turn, hold_until).await?;
            if generation == lane.generation
                && let Some(last) = end.events.last()
            {
                lane.watermark = Some(last.clone());
            }
            if end.outcome != TurnOutcome::Expired {
                lane.last_turn_at = Some(tx.now());
            }
            if let Some(new) = end.new_generation.filter(|new| *new > lane.generation) {
                lane.generation = new;
                lane.watermark = None;
            }
            something_waits
        }
        // Said twice, because the first answer was lost.
        None => {
            let known = sql!("SELECT 1 FROM turns WHERE id = ?1 AND lane = ?2");
            tx.one(known, params![&turn, lane.id], |_| Ok(()))
                .await?
                .ok_or_else(|| corrupt("no such turn in this chat"))?;
            true
        }
    };
    let next = match after {
        AfterTurn::Keep => None,
        AfterTurn::Release { merge_window } => {
            let waiting = if something_waits { waiting(tx, lane.id).await? } else { Vec::new() };
            let merged = waiting.first().map(|first| merged_at(first.received_at, merge_window, tx.now()));
            if merged.is_some_and(|at| at <= tx.now()) {
                Some(Box::new(LaneView { waiting, ..view(&lane, tx.now()) }))
            } else {
                give_back(tx, lane, WorkKind::Turns, merged, Woken::Counts).await?;
                return Ok(None);
            }
        }
    };
    tx.save(&lane).await?;
    Ok(next)
}

/// The turn's messages. Until when somebody waits for its replies in a response.
async fn end_messages<T: Tx>(tx: &T, end: &TurnEnd, turn: &str) -> Result<Option<Timestamp>> {
    let (state, reason, detail) = match ended_as(&end.outcome) {
        ("answered", ..) if end.parts.is_empty() => ("done", None, None),
        ended => ended,
    };
    let ended_at = (state != "answered").then(|| tx.now());
    let messages = tx
        .all(
            sql!(
                "UPDATE messages SET state = ?1, reason = ?2, detail = ?3, ended_at = ?4 WHERE turn = ?5
                 RETURNING id, wait_until"
            ),
            params![state, reason, detail, ended_at, turn],
            |row| Ok((parsed::<MessageId>(row.text(0)?)?, row.optional_moment(1)?)),
        )
        .await?;
    let hold_until = messages.iter().filter_map(|(_, until)| *until).max().filter(|until| *until > tx.now());
    tx.wakeups().turn_ended(messages.into_iter().map(|(id, _)| id));
    Ok(hold_until)
}

/// A turn that ends before it was begun still has its row, so that its replies and its story have a place.
async fn never_begun<T: Tx>(tx: &T, lane: &Lane, end: &TurnEnd) -> Result<()> {
    if end.members.is_empty() {
        return Ok(());
    }
    let turn = end.turn.to_string();
    let known = sql!("SELECT 1 FROM turns WHERE id = ?1");
    if tx.one(known, params![&turn], |_| Ok(())).await?.is_some() {
        return Ok(());
    }
    join(tx, lane.id, &turn, &end.members).await?;
    // Of the message that has waited longest.
    tx.run(
        sql!(
            "INSERT INTO turns (id, lane, generation, bot_id, role, received_at, begun_at, state)
             SELECT ?1, ?2, ?3, bot_id, role, waiting_since, ?4, 'open'
             FROM messages WHERE turn = ?1 ORDER BY waiting_since, place LIMIT 1"
        ),
        params![&turn, lane.id, lane.generation, tx.now()],
    )
    .await?;
    Ok(())
}

fn is_current(changed: u64) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(corrupt("the turn isn't the current one of this chat")) }
}

fn read_waiting(row: &dyn Row) -> Result<Waiting> {
    Ok(Waiting {
        id: parsed(row.text(0)?)?,
        delivery_key: DeliveryKey::new(row.text(1)?),
        received_at: row.moment(2)?,
        sort_at: row.optional_moment(3)?,
        sender: row.optional_owned(4)?,
        role: role(row.text(5)?)?,
        text: row.owned(6)?,
        user_attributes: from_json(row.text(7)?)?,
        bot_id: BotId::new(row.text(8)?),
        address: Address(from_json(row.text(9)?)?),
        too_long: row.flag(10)?,
        dormant: row.flag(11)?,
    })
}

fn read_turn(row: &dyn Row) -> Result<Turn> {
    let asked_at = row.optional_moment(10)?.unwrap_or_default();
    let state = match row.text(8)? {
        "open" => TurnState::Open,
        "asking" => TurnState::Asking { since: asked_at },
        "unknown" => TurnState::Unknown {
            asked_at,
            since: row.optional_moment(11)?.unwrap_or(asked_at),
            answered: row.flag(12)?,
            looks: row.count(13)?,
        },
        _ => return Err(corrupt("an unknown state of a turn")),
    };
    Ok(Turn {
        id: parsed(row.text(0)?)?,
        members: Vec::new(),
        in_reply_to: Vec::new(),
        sender: None,
        role: role(row.text(3)?)?,
        content: row.owned(4)?,
        user_attributes: from_json(row.text(5)?)?,
        address: Address(from_json(row.text(6)?)?),
        bot_id: BotId::new(row.text(2)?),
        generation: row.count(1)?,
        received_at: row.moment(7)?,
        state,
        asked: row.count(9)?,
        dormant: row.flag(14)?,
    })
}
