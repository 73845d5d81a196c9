//! Turns with Fini: what a holder sees of its lane, and every step of a turn.

use std::time::Duration;

use futures::future::join;
use tokio_postgres::Row;

use super::lanes::{self, Wake, held};
use super::tx::{Param, Tx, corrupt, count, from_json, get, moment, params, parsed, role, texts, to_json};
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

pub(super) async fn look(tx: &Tx<'_>, lease: &Lease) -> Result<LaneView> {
    lanes::seems_held(tx, lease, Work::Turns).await?;
    let lane = lease.lane.0;
    let (generation, bot_id, last_turn_at) = tx
        .one("SELECT generation, bot_id, last_turn_at FROM fini_bridge.lanes WHERE id = $1", params![lane], |row| {
            Ok((get::<i64>(row, 0)?, get::<Option<String>>(row, 1)?, get(row, 2)?))
        })
        .await?
        .ok_or_else(|| corrupt("a lane is gone"))?;
    let current = "SELECT id, generation, bot_id, role, content, user_attributes, address, received_at,
            state, asked, asked_at, unknown_since, answered, looks,
            EXISTS (SELECT 1 FROM fini_bridge.messages AS m WHERE m.turn = turns.id AND m.dormant)
        FROM fini_bridge.turns WHERE lane = $1 AND ended_at IS NULL";
    let mut turn = tx.one(current, params![lane], read_turn).await?;
    if let Some(turn) = &mut turn {
        let members = "SELECT delivery_key FROM fini_bridge.messages WHERE turn = $1 ORDER BY place";
        let read = |row: &Row| Ok(DeliveryKey::new(get::<String>(row, 0)?));
        turn.in_reply_to = tx.all(members, params![turn.id.to_string()], read).await?;
    }
    let waiting = tx
        .all(
            "SELECT id, delivery_key, waiting_since, sort_at, sender, role, text, user_attributes, bot_id, address,
                too_long, dormant
             FROM fini_bridge.messages WHERE lane = $1 AND state = 'received' ORDER BY seq LIMIT $2",
            params![lane, WAITING_LIMIT],
            read_waiting,
        )
        .await?;
    Ok(LaneView {
        now: tx.now,
        generation: count(generation),
        bot_id: bot_id.map(BotId::new),
        last_turn_at: moment(last_turn_at),
        turn,
        waiting,
    })
}

/// Written before the call. The members of a turn that was begun before never change.
pub(super) async fn asking(tx: &Tx<'_>, lease: &Lease, asking: &Asking) -> Result<Admission> {
    held(tx, lease, Work::Turns).await?;
    if !asking.members.is_empty()
        && let Some(limit) = limit_reached(tx, lease, asking).await?
    {
        return Ok(Admission::LimitReached(limit));
    }
    let lane = lease.lane;
    let shared: bool = tx
        .one(
            "UPDATE fini_bridge.lanes SET generation = $1, bot_id = $2, last_turn_at = $3
             WHERE id = $4 AND generation <= $1 RETURNING shared",
            params![asking.generation, asking.bot_id.as_str(), tx.now(), lane.0],
            |row| get(row, 0),
        )
        .await?
        .ok_or_else(|| corrupt("a turn belongs to an earlier conversation than its chat's"))?;
    let user_attributes = if shared { "{}".to_owned() } else { to_json(&asking.user_attributes)? };
    let asked_again = tx
        .run(
            "UPDATE fini_bridge.turns SET state = 'asking', asked = asked + 1, asked_at = $1, unknown_since = NULL,
                answered = false, looks = 0, generation = $2, bot_id = $3, role = $4, content = $5,
                user_attributes = $6, address = $7
             WHERE id = $8 AND lane = $9 AND ended_at IS NULL",
            params![
                tx.now(),
                asking.generation,
                asking.bot_id.as_str(),
                asking.role.as_str(),
                &asking.content,
                &user_attributes,
                to_json(&asking.address)?,
                asking.turn.to_string(),
                lane.0,
            ],
        )
        .await?;
    if asked_again == 0 {
        begin(tx, lease, asking, &user_attributes).await?;
    }
    conversations::asked(tx, lease, asking).await?;
    Ok(Admission::Admitted { shared })
}

/// Whether so many turns began in a time. What a clock that was set back left in the future doesn't count.
const OF_LANE: &str = "SELECT 1 FROM fini_bridge.turns WHERE lane = $1 AND sender_ref IS NOT NULL
    AND begun_at >= $2 AND begun_at <= $3 ORDER BY begun_at LIMIT 1 OFFSET $4 - 1";
const OF_SENDER: &str = "SELECT 1 FROM fini_bridge.turns WHERE sender_ref = $1
    AND begun_at >= $2 AND begun_at <= $3 ORDER BY begun_at LIMIT 1 OFFSET $4 - 1";
const OF_CHANNEL: &str = "SELECT 1 FROM fini_bridge.turns WHERE channel = $1 AND sender_ref IS NOT NULL
    AND begun_at >= $2 AND begun_at <= $3 ORDER BY begun_at LIMIT 1 OFFSET $4 - 1";
/// Turns of one sender begin one after the other, on whatever replica: each counts those before it.
const ONE_AT_A_TIME: &str =
    "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('fini_bridge.sender:' || $1, 0))";

async fn limit_reached(tx: &Tx<'_>, lease: &Lease, asking: &Asking) -> Result<Option<Limit>> {
    let Some(sender) = &asking.sender_ref else { return Ok(None) };
    let Limits { per_chat, per_sender, per_channel } = asking.limits;
    if let Some(rate) = per_chat
        && is_reached(tx, OF_LANE, lease.lane.0.into(), rate).await?
    {
        return Ok(Some(Limit::Chat));
    }
    if let Some(rate) = per_sender {
        // A statement of its own: the next one's snapshot is taken when the lock is held. Sent without waiting.
        let alone = [sender.as_str().into()];
        let locking = tx.one(ONE_AT_A_TIME, &alone, |_| Ok(()));
        let (locked, reached) = join(locking, is_reached(tx, OF_SENDER, sender.as_str().into(), rate)).await;
        locked?;
        if reached? {
            return Ok(Some(Limit::Sender));
        }
    }
    if let Some(rate) = per_channel
        && is_reached(tx, OF_CHANNEL, lease.channel.as_str().into(), rate).await?
    {
        return Ok(Some(Limit::Channel));
    }
    Ok(None)
}

async fn is_reached(tx: &Tx<'_>, sql: &str, of: Param<'_>, rate: Rate) -> Result<bool> {
    let (from, to) = (tx.now.minus(rate.per).as_millis(), tx.now.plus(HORIZON).as_millis());
    let values = [of, from.into(), to.into(), rate.count.into()];
    Ok(tx.one(sql, &values, |_| Ok(())).await?.is_some())
}

async fn begin(tx: &Tx<'_>, lease: &Lease, asking: &Asking, user_attributes: &str) -> Result<()> {
    if asking.members.is_empty() {
        return Err(corrupt("a turn without messages"));
    }
    let turn = asking.turn.to_string();
    join_turn(tx, lease.lane, &turn, &asking.members).await?;
    tx.run(
        "INSERT INTO fini_bridge.turns (id, lane, generation, bot_id, role, content, user_attributes, address,
            received_at, begun_at, state, asked, asked_at, channel, sender_ref)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, min(waiting_since), $9, 'asking', 1, $9, $10, $11
         FROM fini_bridge.messages WHERE turn = $1",
        params![
            &turn,
            lease.lane.0,
            asking.generation,
            asking.bot_id.as_str(),
            asking.role.as_str(),
            &asking.content,
            user_attributes,
            to_json(&asking.address)?,
            tx.now(),
            lease.channel.as_str(),
            asking.sender_ref.as_ref().map(SenderRef::as_str),
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn reopen(tx: &Tx<'_>, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()> {
    let row = held(tx, lease, Work::Turns).await?;
    let changed = tx
        .run(
            "UPDATE fini_bridge.turns SET state = 'open', unknown_since = NULL, answered = false, looks = 0, reason = $1
             WHERE id = $2 AND lane = $3 AND ended_at IS NULL",
            params![reason, turn.to_string(), lease.lane.0],
        )
        .await?;
    current(changed)?;
    // Fini said when to come back: nothing that came meanwhile makes that sooner.
    lanes::free(tx, lease, &row, Some(tx.now.plus(after)), Wake::Ignored).await
}

pub(super) async fn unknown(
    tx: &Tx<'_>,
    lease: &Lease,
    turn: TurnId,
    doubt: Doubt,
    after: Duration,
    reason: &str,
) -> Result<()> {
    let row = held(tx, lease, Work::Turns).await?;
    let turn = turn.to_string();
    let changed = match doubt {
        Doubt::Begins { answered } => {
            tx.run(
                "UPDATE fini_bridge.turns SET state = 'unknown', reason = $1, answered = $2, unknown_since = $3,
                    looks = 0
                 WHERE id = $4 AND lane = $5 AND ended_at IS NULL",
                params![reason, answered, tx.now(), turn, lease.lane.0],
            )
            .await?
        }
        Doubt::Looked | Doubt::NotLooked => {
            tx.run(
                "UPDATE fini_bridge.turns SET reason = $1, looks = looks + $2
                 WHERE id = $3 AND lane = $4 AND ended_at IS NULL AND state = 'unknown'",
                params![reason, i64::from(doubt == Doubt::Looked), turn, lease.lane.0],
            )
            .await?
        }
    };
    current(changed)?;
    lanes::free(tx, lease, &row, Some(tx.now.plus(after)), Wake::Counts).await
}

/// The turn's end, its replies and what became known of the conversation: one commit.
pub(super) async fn end(tx: &Tx<'_>, lease: &Lease, end: &TurnEnd) -> Result<()> {
    held(tx, lease, Work::Turns).await?;
    let turn = end.turn.to_string();
    never_begun(tx, lease.lane, end).await?;
    let (generation, ended_at): (i64, Option<i64>) = tx
        .one(
            "SELECT generation, ended_at FROM fini_bridge.turns WHERE id = $1 AND lane = $2",
            params![&turn, lease.lane.0],
            |row| Ok((get(row, 0)?, get(row, 1)?)),
        )
        .await?
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
        "UPDATE fini_bridge.turns SET state = $1, reason = $2, detail = $3, ended_at = $4, event_kinds = $5
         WHERE id = $6",
        params![state, reason, detail, tx.now(), to_json(&end.event_kinds)?, &turn],
    )
    .await?;
    deliveries::put(tx, lease, end).await?;
    match end.outcome {
        TurnOutcome::Answered => deliveries::settle(tx, &turn).await?,
        TurnOutcome::Dropped { .. } | TurnOutcome::Failed { .. } | TurnOutcome::Held { .. } | TurnOutcome::Expired => {
            tx.run(
                "UPDATE fini_bridge.messages SET state = $1, reason = $2, detail = $3, ended_at = $4 WHERE turn = $5",
                params![state, reason, detail, tx.now(), &turn],
            )
            .await?;
        }
    }
    if end.outcome == TurnOutcome::Answered || !end.events.is_empty() {
        conversations::answered(tx, lease.lane, generation, end).await?;
    }
    let last_turn_at = (end.outcome != TurnOutcome::Expired).then(|| tx.now());
    tx.run(
        "UPDATE fini_bridge.lanes SET last_turn_at = coalesce($1, last_turn_at), generation = greatest(generation, $3)
         WHERE id = $2",
        params![last_turn_at, lease.lane.0, end.new_generation.unwrap_or_default()],
    )
    .await?;
    tx.ring_ended();
    Ok(())
}

/// A turn that ends before it was begun still has its row, so that its replies and its story have a place.
async fn never_begun(tx: &Tx<'_>, lane: LaneId, end: &TurnEnd) -> Result<()> {
    if end.members.is_empty() {
        return Ok(());
    }
    let turn = end.turn.to_string();
    let known = tx.one("SELECT 1 FROM fini_bridge.turns WHERE id = $1", params![&turn], |_| Ok(())).await?;
    if known.is_some() {
        return Ok(());
    }
    join_turn(tx, lane, &turn, &end.members).await?;
    // Of the message that has waited longest.
    tx.run(
        "INSERT INTO fini_bridge.turns (id, lane, generation, bot_id, role, received_at, begun_at, state)
         SELECT $1, $2, l.generation, m.bot_id, m.role, m.waiting_since, $3, 'open'
         FROM fini_bridge.messages AS m JOIN fini_bridge.lanes AS l ON l.id = $2
         WHERE m.turn = $1 ORDER BY m.waiting_since, m.place LIMIT 1",
        params![&turn, lane.0, tx.now()],
    )
    .await?;
    Ok(())
}

async fn join_turn(tx: &Tx<'_>, lane: LaneId, turn: &str, members: &[MessageId]) -> Result<()> {
    let ids: Vec<String> = members.iter().map(ToString::to_string).collect();
    let joined = tx
        .run(
            "UPDATE fini_bridge.messages AS m SET state = 'asking', turn = $1, place = n.place - 1
             FROM unnest($2::text[]) WITH ORDINALITY AS n (id, place)
             WHERE m.id = n.id AND m.lane = $3 AND m.state = 'received'",
            params![turn, texts(ids.iter().map(String::as_str)), lane.0],
        )
        .await?;
    if usize::try_from(joined) == Ok(members.len()) {
        Ok(())
    } else {
        Err(corrupt("a message of the turn doesn't wait in its chat"))
    }
}

fn current(changed: u64) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(corrupt("the turn isn't the current one of this chat")) }
}

fn read_waiting(row: &Row) -> Result<Waiting> {
    Ok(Waiting {
        id: parsed(get(row, 0)?)?,
        delivery_key: DeliveryKey::new(get::<String>(row, 1)?),
        received_at: Timestamp::from_millis(get(row, 2)?),
        sort_at: moment(get(row, 3)?),
        sender: get(row, 4)?,
        role: role(get(row, 5)?)?,
        text: get(row, 6)?,
        user_attributes: from_json(get(row, 7)?)?,
        bot_id: BotId::new(get::<String>(row, 8)?),
        address: from_json(get(row, 9)?)?,
        too_long: get(row, 10)?,
        dormant: get(row, 11)?,
    })
}

fn read_turn(row: &Row) -> Result<Turn> {
    let asked_at = Timestamp::from_millis(get::<Option<i64>>(row, 10)?.unwrap_or_default());
    let state = match get(row, 8)? {
        "open" => TurnState::Open,
        "asking" => TurnState::Asking { since: asked_at },
        "unknown" => TurnState::Unknown {
            asked_at,
            since: moment(get(row, 11)?).unwrap_or(asked_at),
            answered: get(row, 12)?,
            looks: count(get(row, 13)?),
        },
        _ => return Err(corrupt("an unknown state of a turn")),
    };
    Ok(Turn {
        id: parsed(get(row, 0)?)?,
        generation: count(get(row, 1)?),
        bot_id: BotId::new(get::<String>(row, 2)?),
        role: role(get(row, 3)?)?,
        content: get(row, 4)?,
        user_attributes: from_json(get(row, 5)?)?,
        address: from_json(get(row, 6)?)?,
        in_reply_to: Vec::new(),
        received_at: Timestamp::from_millis(get(row, 7)?),
        state,
        asked: count(get(row, 9)?),
        dormant: get(row, 14)?,
    })
}
