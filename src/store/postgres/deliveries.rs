//! The outbox: parts of replies on their way, and what became of them.

use tokio_postgres::Row;

use super::lanes::{self, Wake, held};
use super::tx::{Tx, corrupt, count, from_json, get, ints, moment, optional_texts, params, parsed, texts, to_json};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, LaneId, PartId};
use crate::domain::message::{Address, ReportOutcome, Reported};
use crate::store::{Lease, Outgoing, OutgoingState, Result, SendEnd, StoreError, TurnEnd, Work};

const OUTGOING_LIMIT: i64 = 50;

/// Of a part that was not sent because an earlier one of its reply failed, or is held.
const EARLIER_FAILED: &str = "earlier_part_failed";
const EARLIER_HELD: &str = "earlier_part_held";

/// A turn's parts, in the commit that ends it.
pub(super) async fn put(tx: &Tx<'_>, lease: &Lease, end: &TurnEnd) -> Result<()> {
    if end.parts.is_empty() {
        return Ok(());
    }
    let turn = end.turn.to_string();
    let hold = held_back_until(tx, &turn).await?;
    let ids: Vec<String> = end.parts.iter().map(|part| part.id.to_string()).collect();
    let parts = end.parts.iter().map(|part| to_json(&part.part)).collect::<Result<Vec<_>>>()?;
    // Before seq is drawn.
    lanes::schedule(tx, lease.lane, Work::Deliveries, hold.map_or(tx.now, Timestamp::from_millis)).await?;
    tx.run(
        "INSERT INTO fini_bridge.parts (id, channel, lane, turn, reply, kind, part, address, answered_at, hold_until,
            state)
         SELECT id, $5, $6, $7, reply, kind, part, $8, $9, $10, 'pending'
         FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) WITH ORDINALITY
            AS n (id, reply, kind, part, place) ORDER BY place",
        params![
            texts(ids.iter().map(String::as_str)),
            ints(end.parts.iter().map(|part| i64::from(part.reply))),
            texts(end.parts.iter().map(|part| part.kind.as_str())),
            texts(parts.iter().map(String::as_str)),
            lease.channel.as_str(),
            lease.lane.0,
            turn,
            to_json(&end.address)?,
            tx.now(),
            hold,
        ],
    )
    .await?;
    Ok(())
}

/// Until when somebody waits for the answer to a message of this turn in a response.
pub(super) async fn held_back_until(tx: &Tx<'_>, turn: &str) -> Result<Option<i64>> {
    let latest = "SELECT max(wait_until) FROM fini_bridge.messages WHERE turn = $1";
    let until: Option<Option<i64>> = tx.one(latest, params![turn], |row| get(row, 0)).await?;
    Ok(until.flatten().filter(|until| *until > tx.now()))
}

/// In order: what comes after a part that is held back waits too.
pub(super) async fn outgoing(tx: &Tx<'_>, lease: &Lease) -> Result<(Timestamp, Vec<Outgoing>)> {
    lanes::seems_held(tx, lease, Work::Deliveries).await?;
    let found = tx
        .all(
            "SELECT id, turn, address, part, answered_at, state, sending_since, attempts, hold_until
             FROM fini_bridge.parts WHERE lane = $1 AND state IN ('pending', 'sending') ORDER BY seq LIMIT $2",
            params![lease.lane.0, OUTGOING_LIMIT],
            |row| Ok((read_outgoing(row)?, get::<Option<i64>>(row, 8)?)),
        )
        .await?;
    let free = |hold: &Option<i64>| hold.is_none_or(|until| until <= tx.now());
    Ok((tx.now, found.into_iter().take_while(|(_, hold)| free(hold)).map(|(part, _)| part).collect()))
}

fn read_outgoing(row: &Row) -> Result<Outgoing> {
    Ok(Outgoing {
        id: parsed(get(row, 0)?)?,
        turn: parsed(get(row, 1)?)?,
        address: from_json(get(row, 2)?)?,
        part: from_json(get(row, 3)?)?,
        answered_at: Timestamp::from_millis(get(row, 4)?),
        state: match (get(row, 5)?, moment(get(row, 6)?)) {
            ("sending", Some(since)) => OutgoingState::Sending { since },
            _ => OutgoingState::Pending,
        },
        attempts: count(get(row, 7)?),
    })
}

/// `Ok(Err(Fenced))`: the part is not to be sent any more, its answer went out in a response or an earlier
/// part failed. The lane is given back then: who asks to send it works from an old list.
pub(super) async fn sending(tx: &Tx<'_>, lease: &Lease, part: PartId) -> Result<Result<()>> {
    let row = held(tx, lease, Work::Deliveries).await?;
    let begun = tx
        .run(
            "UPDATE fini_bridge.parts SET state = 'sending', sending_since = $1, attempts = attempts + 1
             WHERE id = $2 AND lane = $3 AND state IN ('pending', 'sending') AND (hold_until IS NULL OR hold_until <= $1)",
            params![tx.now(), part.to_string(), lease.lane.0],
        )
        .await?;
    if begun == 1 {
        return Ok(Ok(()));
    }
    lanes::free(tx, lease, &row, Some(tx.now), Wake::Counts).await?;
    Ok(Err(StoreError::Fenced))
}

struct Part {
    seq: i64,
    turn: String,
    reply: i64,
    state: String,
}

fn read_part(row: &Row) -> Result<Part> {
    Ok(Part { seq: get(row, 0)?, turn: get(row, 1)?, reply: get(row, 2)?, state: get(row, 3)? })
}

async fn by_id(tx: &Tx<'_>, id: PartId, channel: &ChannelName) -> Result<Option<Part>> {
    let sql = "SELECT seq, turn, reply, state FROM fini_bridge.parts WHERE id = $1 AND channel = $2";
    tx.one(sql, params![id.to_string(), channel.as_str()], read_part).await
}

pub(super) async fn sent(tx: &Tx<'_>, lease: &Lease, id: PartId, end: &SendEnd) -> Result<()> {
    let row = held(tx, lease, Work::Deliveries).await?;
    let part = by_id(tx, id, &lease.channel).await?.ok_or_else(|| corrupt("no such part in this channel"))?;
    // A report may have come before this: what the platform said later counts.
    let undecided = matches!(part.state.as_str(), "pending" | "sending");
    match end {
        SendEnd::Sent(receipt) => {
            tx.run(
                "UPDATE fini_bridge.parts SET receipt = coalesce($1, receipt) WHERE seq = $2",
                params![receipt.0.as_deref(), part.seq],
            )
            .await?;
            if undecided {
                mark_sent(tx, &part).await?;
            }
        }
        SendEnd::Failed { reason, detail } if undecided => fail(tx, &part, reason, Some(detail)).await?,
        SendEnd::Held { reason, detail } if undecided => {
            tx.run(
                "UPDATE fini_bridge.parts SET state = 'held', reason = $1, detail = $2 WHERE seq = $3",
                params![reason, detail, part.seq],
            )
            .await?;
            later(tx, &part, "held", EARLIER_HELD).await?;
            settle(tx, &part.turn).await?;
        }
        SendEnd::Failed { .. } | SendEnd::Held { .. } => {}
        SendEnd::Deferred { after, reason, detail } => {
            if undecided {
                tx.run(
                    "UPDATE fini_bridge.parts SET state = 'pending', reason = $1, detail = $2 WHERE seq = $3",
                    params![reason, detail.as_deref(), part.seq],
                )
                .await?;
            }
            lanes::free(tx, lease, &row, Some(tx.now.plus(*after)), Wake::Ignored).await?;
        }
    }
    Ok(())
}

async fn mark_sent(tx: &Tx<'_>, part: &Part) -> Result<()> {
    tx.run(
        "UPDATE fini_bridge.parts SET state = 'sent', reason = NULL, detail = NULL, sent_at = $1 WHERE seq = $2",
        params![tx.now(), part.seq],
    )
    .await?;
    settle(tx, &part.turn).await
}

async fn fail(tx: &Tx<'_>, part: &Part, reason: &str, detail: Option<&str>) -> Result<()> {
    tx.run(
        "UPDATE fini_bridge.parts SET state = 'failed', reason = $1, detail = CASE WHEN part IS NOT NULL THEN $2 END
         WHERE seq = $3",
        params![reason, detail, part.seq],
    )
    .await?;
    later(tx, part, "failed", EARLIER_FAILED).await?;
    settle(tx, &part.turn).await
}

/// The parts of the same reply that come after this one and were not begun.
async fn later(tx: &Tx<'_>, part: &Part, state: &str, reason: &str) -> Result<()> {
    tx.run(
        "UPDATE fini_bridge.parts SET state = $1, reason = $2
         WHERE turn = $3 AND seq > $4 AND reply = $5 AND state = 'pending'",
        params![state, reason, &part.turn, part.seq, part.reply],
    )
    .await?;
    Ok(())
}

/// What the parts of an answered turn make of its messages: the first that failed, else the first that is
/// held. A turn that failed says so itself.
pub(super) async fn settle(tx: &Tx<'_>, turn: &str) -> Result<()> {
    tx.run(
        "WITH parts AS (SELECT seq, state, reason, detail FROM fini_bridge.parts WHERE turn = $1),
         verdict AS (
            SELECT * FROM (
                SELECT CASE state WHEN 'failed' THEN 0 ELSE 1 END AS rank, seq, state, reason, detail
                FROM parts WHERE state IN ('failed', 'held')
                UNION ALL
                SELECT 2, 0, CASE WHEN bool_and(state = 'sent') IS FALSE THEN 'answered' ELSE 'done' END, NULL, NULL
                FROM parts
            ) AS verdicts ORDER BY rank, seq LIMIT 1
         )
         UPDATE fini_bridge.messages AS m SET state = v.state, reason = v.reason,
            detail = CASE WHEN NOT m.pruned THEN v.detail END,
            ended_at = CASE WHEN v.state = 'answered' THEN NULL ELSE coalesce(m.ended_at, $2) END
         FROM verdict AS v
         WHERE m.turn = $1 AND EXISTS (SELECT 1 FROM fini_bridge.turns WHERE id = $1 AND state = 'answered')",
        params![turn, tx.now()],
    )
    .await?;
    Ok(())
}

/// What became of other parts that are being sent (by a response) is as unknown as before.
pub(super) async fn moved(tx: &Tx<'_>, lease: &Lease, part: PartId, address: &Address) -> Result<()> {
    held(tx, lease, Work::Deliveries).await?;
    tx.run(
        "UPDATE fini_bridge.parts SET address = $1 WHERE lane = $2 AND state IN ('pending', 'sending')",
        params![to_json(address)?, lease.lane.0],
    )
    .await?;
    tx.run(
        "UPDATE fini_bridge.parts SET state = 'pending', sending_since = NULL
         WHERE id = $1 AND lane = $2 AND state = 'sending'",
        params![part.to_string(), lease.lane.0],
    )
    .await?;
    Ok(())
}

/// A report can come before the send's own answer, and can settle one whose outcome was never known.
pub(super) async fn known_parts(tx: &Tx<'_>, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>> {
    let ids: Vec<Option<String>> = of.iter().map(|of| part_id(of).map(|id| id.to_string())).collect();
    let receipts = of.iter().map(|of| match of {
        Reported::Receipt(receipt) => Some(receipt.as_str()),
        Reported::Part(_) => None,
    });
    tx.all(
        "SELECT EXISTS (SELECT FROM fini_bridge.parts AS p WHERE p.id = r.id AND p.channel = $1)
             OR EXISTS (SELECT FROM fini_bridge.parts AS p WHERE p.receipt = r.receipt AND p.channel = $1)
         FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS r (id, receipt, place) ORDER BY r.place",
        params![channel.as_str(), optional_texts(ids.iter().map(Option::as_deref)), optional_texts(receipts)],
        |row| get(row, 0),
    )
    .await
}

fn part_id(of: &Reported) -> Option<PartId> {
    match of {
        Reported::Part(id) => Some(*id),
        Reported::Receipt(_) => None,
    }
}

pub(super) async fn report(tx: &Tx<'_>, channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> Result<bool> {
    let found = match of {
        Reported::Receipt(receipt) => {
            let sql = "SELECT id, lane FROM fini_bridge.parts
                WHERE receipt = $1 AND channel = $2 ORDER BY seq DESC LIMIT 1";
            tx.one(sql, params![receipt, channel.as_str()], read_place).await?
        }
        Reported::Part(id) => {
            let sql = "SELECT id, lane FROM fini_bridge.parts WHERE id = $1 AND channel = $2";
            tx.one(sql, params![id.to_string(), channel.as_str()], read_place).await?
        }
    };
    let Some((id, lane)) = found else { return Ok(false) };
    // Its chat may be forgotten at this moment.
    if lanes::find_and_lock(tx, lane, Work::Deliveries).await?.is_none() {
        return Ok(false);
    }
    let Some(part) = by_id(tx, id, channel).await? else { return Ok(false) };
    if *outcome == ReportOutcome::Delivered {
        tx.run(
            "UPDATE fini_bridge.parts SET delivered_at = $1 WHERE seq = $2 AND delivered_at IS NULL",
            params![tx.now(), part.seq],
        )
        .await?;
    }
    match outcome {
        ReportOutcome::Taken | ReportOutcome::Delivered => {
            if matches!(part.state.as_str(), "pending" | "sending" | "held") {
                tx.run(
                    "UPDATE fini_bridge.parts SET state = 'pending', reason = NULL
                     WHERE turn = $1 AND reply = $2 AND seq > $3 AND state = 'held' AND reason = $4
                        AND part IS NOT NULL",
                    params![&part.turn, part.reply, part.seq, EARLIER_HELD],
                )
                .await?;
                mark_sent(tx, &part).await?;
                lanes::schedule(tx, lane, Work::Deliveries, tx.now).await?;
                if part.state == "sending" {
                    // Perhaps the lane waits for this very word.
                    lanes::wake(tx, lane, Work::Deliveries, tx.now).await?;
                }
            }
        }
        ReportOutcome::Failed { reason } => {
            if part.state != "failed" {
                fail(tx, &part, reason, None).await?;
            }
        }
    }
    Ok(true)
}

fn read_place(row: &Row) -> Result<(PartId, LaneId)> {
    Ok((parsed(get(row, 0)?)?, LaneId(get(row, 1)?)))
}
