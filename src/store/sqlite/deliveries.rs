//! The outbox: parts of replies on their way, and what became of them.

use rusqlite::params;

use super::lanes::{self, Wake, held};
use super::tx::{self, Tx, corrupt, count, from_json, moment, parsed, to_json};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, LaneId, PartId};
use crate::domain::message::{Address, ReportOutcome, Reported};
use crate::store::{Lease, Outgoing, OutgoingState, Result, SendEnd, StoreError, TurnEnd, Work};

const OUTGOING_LIMIT: i64 = 50;

/// Of a part that was not sent because an earlier one of its reply failed, or is held.
const EARLIER_FAILED: &str = "earlier_part_failed";
const EARLIER_HELD: &str = "earlier_part_held";

pub(super) const OUTGOING: &str =
    "SELECT id, turn, address, part, answered_at, state, sending_since, attempts, hold_until
    FROM parts WHERE lane = ?1 AND state IN ('pending', 'sending') ORDER BY seq LIMIT ?2";
pub(super) const BY_ID: &str = "SELECT seq, turn, reply, state FROM parts WHERE id = ?1 AND channel = ?2";
pub(super) const BY_RECEIPT: &str =
    "SELECT seq, turn, reply, state FROM parts WHERE receipt = ?1 AND channel = ?2 ORDER BY seq DESC LIMIT 1";
pub(super) const SENDING: &str = "UPDATE parts SET state = 'sending', sending_since = ?1, attempts = attempts + 1
    WHERE id = ?2 AND lane = ?3 AND state IN ('pending', 'sending') AND (hold_until IS NULL OR hold_until <= ?1)";
pub(super) const SETTLE: &str = "SELECT state, reason, detail FROM parts WHERE turn = ?1 ORDER BY seq";

/// A turn's parts, in the commit that ends it.
pub(super) fn put(tx: &Tx<'_>, lease: &Lease, end: &TurnEnd) -> Result<()> {
    let turn = end.turn.to_string();
    let address = to_json(&end.address)?;
    let hold = held_back_until(tx, &turn)?;
    for part in &end.parts {
        tx.run(
            "INSERT INTO parts (seq, id, channel, lane, turn, reply, kind, part, address, answered_at, hold_until, state)
             VALUES (?11, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending')",
            params![
                part.id.to_string(),
                lease.channel.as_str(),
                lease.lane.0,
                turn,
                part.reply,
                part.kind.as_str(),
                to_json(&part.part)?,
                address,
                tx.now(),
                hold,
                tx.next_number("parts")?,
            ],
        )?;
    }
    if !end.parts.is_empty() {
        lanes::schedule(tx, lease.lane, Work::Deliveries, hold.map_or(tx.now, Timestamp::from_millis))?;
    }
    Ok(())
}

/// Until when somebody waits for the answer to a message of this turn in a response.
pub(super) fn held_back_until(tx: &Tx<'_>, turn: &str) -> Result<Option<i64>> {
    let until: Option<Option<i64>> =
        tx.one("SELECT max(wait_until) FROM messages WHERE turn = ?1", params![turn], |row| row.get(0))?;
    Ok(until.flatten().filter(|until| *until > tx.now()))
}

/// In order: what comes after a part that is held back waits too.
pub(super) fn outgoing(tx: &Tx<'_>, lease: &Lease) -> Result<(Timestamp, Vec<Outgoing>)> {
    held(tx, lease, Work::Deliveries)?;
    let found = tx.all(OUTGOING, params![lease.lane.0, OUTGOING_LIMIT], |row| {
        let texts: [String; 5] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(5)?];
        let numbers: (i64, Option<i64>, i64, Option<i64>) = (row.get(4)?, row.get(6)?, row.get(7)?, row.get(8)?);
        Ok((texts, numbers))
    })?;
    let mut parts = Vec::new();
    for ([id, turn, address, part, state], (answered_at, since, attempts, hold)) in found {
        if hold.is_some_and(|until| until > tx.now()) {
            break;
        }
        parts.push(Outgoing {
            id: parsed(&id)?,
            turn: parsed(&turn)?,
            address: from_json(&address)?,
            part: from_json(&part)?,
            answered_at: Timestamp::from_millis(answered_at),
            state: match (state.as_str(), moment(since)) {
                ("sending", Some(since)) => OutgoingState::Sending { since },
                _ => OutgoingState::Pending,
            },
            attempts: count(attempts),
        });
    }
    Ok((tx.now, parts))
}

/// `Ok(Err(Fenced))`: the part is not to be sent any more, its answer went out in a response or an earlier
/// part failed. The lane is given back then: who asks to send it works from an old list.
pub(super) fn sending(tx: &Tx<'_>, lease: &Lease, part: PartId) -> Result<Result<()>> {
    held(tx, lease, Work::Deliveries)?;
    if tx.run(SENDING, params![tx.now(), part.to_string(), lease.lane.0])? == 1 {
        return Ok(Ok(()));
    }
    lanes::free(tx, lease, Some(tx.now), Wake::Counts)?;
    Ok(Err(StoreError::Fenced))
}

struct Part {
    seq: i64,
    turn: String,
    reply: i64,
    state: String,
}

fn part(tx: &Tx<'_>, sql: &str, key: &str, channel: &ChannelName) -> Result<Option<Part>> {
    tx.one(sql, params![key, channel.as_str()], |row| {
        Ok(Part { seq: row.get(0)?, turn: row.get(1)?, reply: row.get(2)?, state: row.get(3)? })
    })
}

pub(super) fn sent(tx: &Tx<'_>, lease: &Lease, id: PartId, end: &SendEnd) -> Result<()> {
    held(tx, lease, Work::Deliveries)?;
    let part =
        part(tx, BY_ID, &id.to_string(), &lease.channel)?.ok_or_else(|| corrupt("no such part in this channel"))?;
    // A report may have come before this: what the platform said later counts.
    let undecided = matches!(part.state.as_str(), "pending" | "sending");
    match end {
        SendEnd::Sent(receipt) => {
            tx.run("UPDATE parts SET receipt = coalesce(?1, receipt) WHERE seq = ?2", params![receipt.0, part.seq])?;
            if undecided {
                mark_sent(tx, &part)?;
            }
        }
        SendEnd::Failed { reason, detail } if undecided => fail(tx, &part, reason, Some(detail))?,
        SendEnd::Held { reason, detail } if undecided => {
            tx.run(
                "UPDATE parts SET state = 'held', reason = ?1, detail = ?2 WHERE seq = ?3",
                params![reason, detail, part.seq],
            )?;
            later(tx, &part, "held", EARLIER_HELD)?;
            settle(tx, &part.turn)?;
        }
        SendEnd::Failed { .. } | SendEnd::Held { .. } => {}
        SendEnd::Deferred { after, reason, detail } => {
            if undecided {
                tx.run(
                    "UPDATE parts SET state = 'pending', reason = ?1, detail = ?2 WHERE seq = ?3",
                    params![reason, detail, part.seq],
                )?;
            }
            lanes::free(tx, lease, Some(tx.now.plus(*after)), Wake::Ignored)?;
        }
    }
    Ok(())
}

fn mark_sent(tx: &Tx<'_>, part: &Part) -> Result<()> {
    tx.run(
        "UPDATE parts SET state = 'sent', reason = NULL, detail = NULL, sent_at = ?1 WHERE seq = ?2",
        params![tx.now(), part.seq],
    )?;
    settle(tx, &part.turn)
}

fn fail(tx: &Tx<'_>, part: &Part, reason: &str, detail: Option<&String>) -> Result<()> {
    tx.run(
        "UPDATE parts SET state = 'failed', reason = ?1, detail = CASE WHEN part IS NOT NULL THEN ?2 END WHERE seq = ?3",
        params![reason, detail, part.seq],
    )?;
    later(tx, part, "failed", EARLIER_FAILED)?;
    settle(tx, &part.turn)
}

/// The parts of the same reply that come after this one and were not begun.
fn later(tx: &Tx<'_>, part: &Part, state: &str, reason: &str) -> Result<()> {
    tx.run(
        "UPDATE parts SET state = ?1, reason = ?2 WHERE turn = ?3 AND seq > ?4 AND reply = ?5 AND state = 'pending'",
        params![state, reason, part.turn, part.seq, part.reply],
    )?;
    Ok(())
}

/// What the parts of an answered turn make of its messages. A turn that failed says so itself.
pub(super) fn settle(tx: &Tx<'_>, turn: &str) -> Result<()> {
    let parts = tx.all(SETTLE, params![turn], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(2)?))
    })?;
    let first = |wanted: &str| parts.iter().find(|(state, _, _)| state == wanted).cloned();
    let (state, reason, detail) = match (first("failed"), first("held")) {
        (Some(failed), _) => failed,
        (None, Some(held)) => held,
        (None, None) if parts.iter().all(|(state, _, _)| state == "sent") => ("done".to_owned(), None, None),
        (None, None) => ("answered".to_owned(), None, None),
    };
    tx.run(
        "UPDATE messages SET state = ?1, reason = ?2, detail = CASE WHEN pruned = 0 THEN ?3 END,
            ended_at = CASE WHEN ?1 = 'answered' THEN NULL ELSE coalesce(ended_at, ?4) END
         WHERE turn = ?5 AND EXISTS (SELECT 1 FROM turns WHERE id = ?5 AND state = 'answered')",
        params![state, reason, detail, tx.now(), turn],
    )?;
    Ok(())
}

/// What became of other parts that are being sent (by a response) is as unknown as before.
pub(super) fn moved(tx: &Tx<'_>, lease: &Lease, part: PartId, address: &Address) -> Result<()> {
    held(tx, lease, Work::Deliveries)?;
    tx.run(
        "UPDATE parts SET address = ?1 WHERE lane = ?2 AND state IN ('pending', 'sending')",
        params![to_json(address)?, lease.lane.0],
    )?;
    tx.run(
        "UPDATE parts SET state = 'pending', sending_since = NULL WHERE id = ?1 AND lane = ?2 AND state = 'sending'",
        params![part.to_string(), lease.lane.0],
    )?;
    Ok(())
}

/// A report can come before the send's own answer, and can settle one whose outcome was never known.
fn reported(tx: &Tx<'_>, channel: &ChannelName, of: &Reported) -> Result<Option<Part>> {
    match of {
        Reported::Receipt(receipt) => part(tx, BY_RECEIPT, receipt, channel),
        Reported::Part(id) => part(tx, BY_ID, &id.to_string(), channel),
    }
}

pub(super) fn known_parts(tx: &Tx<'_>, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>> {
    of.iter().map(|of| Ok(reported(tx, channel, of)?.is_some())).collect()
}

pub(super) fn report(tx: &Tx<'_>, channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> Result<bool> {
    let Some(part) = reported(tx, channel, of)? else { return Ok(false) };
    if *outcome == ReportOutcome::Delivered {
        tx.run(
            "UPDATE parts SET delivered_at = coalesce(delivered_at, ?1) WHERE seq = ?2",
            params![tx.now(), part.seq],
        )?;
    }
    match outcome {
        ReportOutcome::Taken | ReportOutcome::Delivered => {
            if matches!(part.state.as_str(), "pending" | "sending" | "held") {
                tx.run(
                    "UPDATE parts SET state = 'pending', reason = NULL
                     WHERE turn = ?1 AND reply = ?2 AND seq > ?3 AND state = 'held' AND reason = ?4
                        AND part IS NOT NULL", // pruned: there is nothing left to send
                    params![part.turn, part.reply, part.seq, EARLIER_HELD],
                )?;
                mark_sent(tx, &part)?;
                let lane = lane_of(tx, &part.turn)?;
                lanes::schedule(tx, lane, Work::Deliveries, tx.now)?;
                if part.state == "sending" {
                    // Perhaps the lane waits for this very word.
                    lanes::wake(tx, lane, Work::Deliveries, tx.now)?;
                }
            }
        }
        ReportOutcome::Failed { reason } => {
            if part.state != "failed" {
                fail(tx, &part, reason, None)?;
            }
        }
    }
    Ok(true)
}

pub(super) fn schedule_turn(tx: &Tx<'_>, turn: &str) -> Result<()> {
    lanes::schedule(tx, lane_of(tx, turn)?, Work::Deliveries, tx.now)
}

fn lane_of(tx: &Tx<'_>, turn: &str) -> Result<LaneId> {
    let lane = tx.one("SELECT lane FROM turns WHERE id = ?1", params![turn], |row| row.get(0))?;
    lane.map(LaneId).ok_or_else(|| tx::corrupt("a part without its turn"))
}
