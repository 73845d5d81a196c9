//! The outbox: parts of replies on their way, and what became of them.

use super::journal::{self, appended};
use super::leases::{give_back, hold};
use super::{Row, Tx, json_list, params, sql};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, LaneId, PartId};
use crate::domain::message::{Address, Part, ReportOutcome, Reported};
use crate::store::column::{corrupt, from_json, parsed, to_json};
use crate::store::lane::{Lane, Woken};
use crate::store::{
    AfterSend, Head, LaneState, Lease, PendingPart, Result, SendEnd, SendState, StoreError, TurnEnd, WorkKind,
};

const PENDING_LIMIT: i64 = 50;

/// Of a part that was not sent because an earlier one of its reply failed, or is held.
const EARLIER_FAILED: &str = "earlier_part_failed";
const EARLIER_HELD: &str = "earlier_part_held";

/// A turn's parts, in the commit that ends it. Where this process can send the first of them at once, the commit says
/// so. `hold_until`: until then somebody waits for them in a response.
pub(crate) async fn put<T: Tx>(
    tx: &T,
    lane: &mut Lane,
    end: &TurnEnd,
    turn: &str,
    hold_until: Option<Timestamp>,
) -> Result<()> {
    if end.parts.is_empty() {
        return Ok(());
    }
    let now = tx.now();
    let leased = tx.wakeups().try_lease(lane, WorkKind::Deliveries, hold_until.unwrap_or(now), now);
    let address = to_json(&end.address)?;
    for (place, part) in end.parts.iter().enumerate() {
        let begun = leased.is_some() && place == 0;
        tx.run_later(
            sql!(
                sqlite: "INSERT INTO parts (seq, id, channel, lane, turn, reply, kind, part, address, answered_at,
                        hold_until, state, attempts, sending_since)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                postgres: "INSERT INTO parts (seq, id, channel, lane, turn, reply, kind, part, address, answered_at,
                        hold_until, state, attempts, sending_since) OVERRIDING USER VALUE
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            ),
            params![
                tx.next_part().await?,
                part.id.to_string(),
                lane.channel.as_str(),
                lane.id,
                turn,
                part.reply,
                part.kind.as_str(),
                to_json(&part.part)?,
                &address,
                now,
                hold_until,
                if begun { "sending" } else { "pending" },
                u32::from(begun),
                begun.then_some(now),
            ],
        )
        .await?;
    }
    if let Some((lease, permit)) = leased {
        let part = |(place, part): (usize, &crate::store::NewPart)| PendingPart {
            id: part.id,
            turn: end.turn,
            address: end.address.clone(),
            part: part.part.clone(),
            answered_at: now,
            state: if place == 0 { SendState::Begun } else { SendState::Pending },
            attempts: u32::from(place == 0),
        };
        let parts = end.parts.iter().enumerate().map(part).collect();
        tx.wakeups().start(lease, permit, Head::Parts { now, parts });
    }
    Ok(())
}

/// In order: what comes after a part that is held back waits too.
pub(crate) async fn pending_parts<T: Tx>(tx: &T, lease: &Lease) -> Result<(Timestamp, Vec<PendingPart>)> {
    if lease.work != WorkKind::Deliveries {
        return Err(StoreError::Fenced);
    }
    let lane = tx.check(lease).await?;
    let found = tx
        .all(
            sql!(
                "SELECT id, turn, address, part, answered_at, state, sending_since, attempts, hold_until
                 FROM parts WHERE lane = ?1 AND state IN ('pending', 'sending') ORDER BY seq LIMIT ?2"
            ),
            params![lane.id, PENDING_LIMIT],
            |row| Ok((read_pending(row)?, row.optional_moment(8)?)),
        )
        .await?;
    let now = tx.now();
    let is_free = |hold: &Option<Timestamp>| hold.is_none_or(|until| until <= now);
    Ok((now, found.into_iter().take_while(|(_, hold)| is_free(hold)).map(|(part, _)| part).collect()))
}

fn read_pending(row: &dyn Row) -> Result<PendingPart> {
    Ok(PendingPart {
        id: parsed(row.text(0)?)?,
        turn: parsed(row.text(1)?)?,
        address: Address(from_json(row.text(2)?)?),
        part: Part(from_json(row.text(3)?)?),
        answered_at: row.moment(4)?,
        state: match (row.text(5)?, row.optional_moment(6)?) {
            ("sending", Some(since)) => SendState::Sending { since },
            _ => SendState::Pending,
        },
        attempts: row.count(7)?,
    })
}

async fn begin<T: Tx>(tx: &T, lane: LaneId, part: PartId) -> Result<bool> {
    let begun = tx
        .run(
            sql!(concat!(
                "UPDATE parts SET state = 'sending', sending_since = ?1, attempts = attempts + 1,
                    journal = CASE WHEN state = 'pending' THEN journal ELSE ",
                appended!("?4"),
                " END
                 WHERE id = ?2 AND lane = ?3 AND state IN ('pending', 'sending')
                    AND (hold_until IS NULL OR hold_until <= ?1)"
            )),
            params![tx.now(), part.to_string(), lane, journal::part_retried(tx, "send_unknown")?],
        )
        .await?;
    Ok(begun == 1)
}

/// `Ok(Err(Fenced))`: the part is not to be sent any more, its answer went out in a response or an earlier
/// part failed. The lane is given back then: who asks to send it works from an old list.
pub(crate) async fn begin_send<T: Tx>(tx: &T, lease: &Lease, part: PartId) -> Result<Result<()>> {
    let lane = hold(tx, lease, WorkKind::Deliveries).await?;
    if begin(tx, lane.id, part).await? {
        return Ok(Ok(()));
    }
    give_back(tx, lane, WorkKind::Deliveries, Some(tx.now()), Woken::Counts).await?;
    Ok(Err(StoreError::Fenced))
}

/// A part as those see it who decide what became of it.
struct Sent {
    seq: i64,
    lane: LaneId,
    turn: String,
    reply: i64,
    state: String,
}

impl Sent {
    fn is_undecided(&self) -> bool {
        matches!(self.state.as_str(), "pending" | "sending")
    }
}

async fn by_id<T: Tx>(tx: &T, id: PartId, channel: &ChannelName) -> Result<Option<Sent>> {
    let sql = sql!("SELECT seq, lane, turn, reply, state FROM parts WHERE id = ?1 AND channel = ?2");
    tx.one(sql, params![id.to_string(), channel.as_str()], read_sent).await
}

fn read_sent(row: &dyn Row) -> Result<Sent> {
    Ok(Sent {
        seq: row.int(0)?,
        lane: LaneId(row.int(1)?),
        turn: row.owned(2)?,
        reply: row.int(3)?,
        state: row.owned(4)?,
    })
}

pub(crate) async fn finish_send<T: Tx>(
    tx: &T,
    lease: &Lease,
    id: PartId,
    end: &SendEnd,
    after: AfterSend,
) -> Result<LaneState> {
    let lane = hold(tx, lease, WorkKind::Deliveries).await?;
    let more_waits = match end {
        SendEnd::Sent(receipt) => taken(tx, &lane, id, receipt.0.as_deref()).await?,
        SendEnd::Failed { reason, detail } => {
            let part = own(tx, id, &lane).await?;
            if part.is_undecided() {
                fail(tx, &part, reason, Some(detail), &journal::part_failed(tx, reason)?).await?;
            }
            true
        }
        SendEnd::Held { reason, detail } => {
            let part = own(tx, id, &lane).await?;
            if part.is_undecided() {
                let hold = sql!("UPDATE parts SET state = 'held', reason = ?1, detail = ?2 WHERE seq = ?3");
                tx.run(hold, params![reason, detail, part.seq]).await?;
                let later = sql!(
                    "UPDATE parts SET state = 'held', reason = ?1
                     WHERE turn = ?2 AND seq > ?3 AND reply = ?4 AND state = 'pending'"
                );
                tx.run(later, params![EARLIER_HELD, &part.turn, part.seq, part.reply]).await?;
                settle(tx, &part.turn).await?;
            }
            true
        }
        SendEnd::Deferred { after, reason, detail } => {
            tx.run(
                sql!(concat!(
                    "UPDATE parts SET state = 'pending', reason = ?1, detail = ?2, journal = ",
                    appended!("?5"),
                    " WHERE id = ?3 AND lane = ?4 AND state IN ('pending', 'sending')"
                )),
                params![reason, detail.as_deref(), id.to_string(), lane.id, journal::part_retried(tx, reason)?],
            )
            .await?;
            let due_at = tx.now().plus(*after);
            give_back(tx, lane, WorkKind::Deliveries, Some(due_at), Woken::Ignored).await?;
            return Ok(LaneState::Released);
        }
    };
    match after {
        AfterSend::Keep => Ok(LaneState::Kept),
        AfterSend::Begin(next) => Ok(if begin(tx, lane.id, next).await? { LaneState::Begun } else { LaneState::Kept }),
        AfterSend::Release if more_waits => Ok(LaneState::Kept),
        AfterSend::Release => {
            give_back(tx, lane, WorkKind::Deliveries, None, Woken::Counts).await?;
            Ok(LaneState::Released)
        }
    }
}

async fn own<T: Tx>(tx: &T, id: PartId, lane: &Lane) -> Result<Sent> {
    by_id(tx, id, &lane.channel).await?.ok_or_else(|| corrupt("no such part in this channel"))
}

/// The platform has taken the part. A report may have come before this: what the platform said later counts. Tells
/// whether more waits in the lane.
async fn taken<T: Tx>(tx: &T, lane: &Lane, id: PartId, receipt: Option<&str>) -> Result<bool> {
    let (turn, is_last_of_turn, more_waits) = tx
        .one(
            sql!(concat!(
                "UPDATE parts SET receipt = coalesce(?1, receipt),
                    journal = CASE WHEN state IN ('pending', 'sending') THEN ",
                appended!("?5"),
                " ELSE journal END,
                    sent_at = CASE WHEN state IN ('pending', 'sending') THEN ?2 ELSE sent_at END,
                    reason = CASE WHEN state IN ('pending', 'sending') THEN NULL ELSE reason END,
                    detail = CASE WHEN state IN ('pending', 'sending') THEN NULL ELSE detail END,
                    state = CASE WHEN state IN ('pending', 'sending') THEN 'sent' ELSE state END
                 WHERE id = ?3 AND lane = ?4
                 RETURNING turn,
                    state = 'sent' AND NOT EXISTS (SELECT 1 FROM parts AS other
                        WHERE other.turn = parts.turn AND other.id <> ?3 AND other.state <> 'sent'),
                    EXISTS (SELECT 1 FROM parts AS other
                        WHERE other.lane = ?4 AND other.id <> ?3 AND other.state IN ('pending', 'sending'))"
            )),
            params![receipt, tx.now(), id.to_string(), lane.id, journal::part_sent(tx)?],
            |row| Ok((row.owned(0)?, row.flag(1)?, row.flag(2)?)),
        )
        .await?
        .ok_or_else(|| corrupt("no such part in this chat"))?;
    if is_last_of_turn {
        write_verdict(tx, &turn, &Verdict::done()).await?;
    } else {
        settle(tx, &turn).await?;
    }
    Ok(more_waits)
}

async fn mark_sent<T: Tx>(tx: &T, part: &Sent, line: &str) -> Result<()> {
    let sent = sql!(concat!(
        "UPDATE parts SET state = 'sent', reason = NULL, detail = NULL, sent_at = ?1, journal = ",
        appended!("?3"),
        " WHERE seq = ?2"
    ));
    tx.run(sent, params![tx.now(), part.seq, line]).await?;
    settle(tx, &part.turn).await
}

/// And the parts of the same reply that come after it and were not begun.
async fn fail<T: Tx>(tx: &T, part: &Sent, reason: &str, detail: Option<&str>, line: &str) -> Result<()> {
    tx.run(
        sql!(concat!(
            "UPDATE parts SET state = 'failed', reason = ?1, detail = CASE WHEN part IS NOT NULL THEN ?2 END,
                journal = ",
            appended!("?4"),
            " WHERE seq = ?3"
        )),
        params![reason, detail, part.seq, line],
    )
    .await?;
    tx.run(
        sql!(concat!(
            "UPDATE parts SET state = 'failed', reason = ?1, journal = ",
            appended!("?5"),
            " WHERE turn = ?2 AND seq > ?3 AND reply = ?4 AND state = 'pending'"
        )),
        params![EARLIER_FAILED, &part.turn, part.seq, part.reply, journal::part_failed(tx, EARLIER_FAILED)?],
    )
    .await?;
    settle(tx, &part.turn).await
}

/// What the parts of an answered turn make of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    state: String,
    reason: Option<String>,
    detail: Option<String>,
}

impl Verdict {
    fn done() -> Self {
        Self { state: "done".to_owned(), reason: None, detail: None }
    }

    /// The first that failed, else the first that is held, decides.
    fn of(parts: &[Self]) -> Self {
        let first = |wanted: &str| parts.iter().find(|part| part.state == wanted).cloned();
        first("failed").or_else(|| first("held")).unwrap_or_else(|| {
            let is_sent = parts.iter().all(|part| part.state == "sent");
            if is_sent { Self::done() } else { Self { state: "answered".to_owned(), ..Self::done() } }
        })
    }
}

pub(crate) async fn settle<T: Tx>(tx: &T, turn: &str) -> Result<()> {
    let parts = tx
        .all(sql!("SELECT state, reason, detail FROM parts WHERE turn = ?1 ORDER BY seq"), params![turn], |row| {
            Ok(Verdict { state: row.owned(0)?, reason: row.optional_owned(1)?, detail: row.optional_owned(2)? })
        })
        .await?;
    write_verdict(tx, turn, &Verdict::of(&parts)).await
}

/// A turn that failed says itself what became of its messages.
async fn write_verdict<T: Tx>(tx: &T, turn: &str, verdict: &Verdict) -> Result<()> {
    if let Some(line) = journal::verdict(tx, &verdict.state, verdict.reason.as_deref())? {
        let changed = sql!(concat!(
            "UPDATE messages SET journal = ",
            appended!("?3"),
            " WHERE turn = ?1 AND state <> ?2 AND EXISTS (SELECT 1 FROM turns WHERE id = ?1 AND state = 'answered')"
        ));
        tx.run(changed, params![turn, &verdict.state, line]).await?;
    }
    tx.run_later(
        sql!(
            "UPDATE messages SET state = ?1, reason = ?2, detail = CASE WHEN NOT pruned THEN ?3 END,
                ended_at = CASE WHEN ?1 = 'answered' THEN NULL ELSE coalesce(ended_at, ?4) END
             WHERE turn = ?5 AND EXISTS (SELECT 1 FROM turns WHERE id = ?5 AND state = 'answered')"
        ),
        params![&verdict.state, verdict.reason.as_deref(), verdict.detail.as_deref(), tx.now(), turn],
    )
    .await
}

/// What became of other parts that are being sent (by a response) is as unknown as before.
pub(crate) async fn moved<T: Tx>(tx: &T, lease: &Lease, part: PartId, address: &Address) -> Result<()> {
    let lane = hold(tx, lease, WorkKind::Deliveries).await?;
    tx.run(
        sql!("UPDATE parts SET address = ?1 WHERE lane = ?2 AND state IN ('pending', 'sending')"),
        params![to_json(address)?, lane.id],
    )
    .await?;
    tx.run(
        sql!(concat!(
            "UPDATE parts SET state = 'pending', sending_since = NULL, journal = ",
            appended!("?3"),
            " WHERE id = ?1 AND lane = ?2 AND state = 'sending'"
        )),
        params![part.to_string(), lane.id, journal::part_retried(tx, "moved")?],
    )
    .await?;
    Ok(())
}

pub(crate) async fn known_parts<T: Tx>(tx: &T, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>> {
    let ids = json_list(of.iter().map(|of| match of {
        Reported::Part(id) => Some(id.to_string()),
        Reported::Receipt(_) => None,
    }))?;
    let receipts = json_list(of.iter().map(|of| match of {
        Reported::Receipt(receipt) => Some(receipt.as_str()),
        Reported::Part(_) => None,
    }))?;
    tx.all(
        sql!(
            sqlite: "SELECT EXISTS (SELECT 1 FROM parts WHERE id = i.value AND channel = ?1)
                    OR EXISTS (SELECT 1 FROM parts WHERE receipt = r.value AND channel = ?1)
                FROM json_each(?2) AS i JOIN json_each(?3) AS r ON r.key = i.key ORDER BY i.key",
            postgres: "SELECT EXISTS (SELECT 1 FROM parts WHERE id = r.id AND channel = $1)
                    OR EXISTS (SELECT 1 FROM parts WHERE receipt = r.receipt AND channel = $1)
                FROM ROWS FROM (json_array_elements_text($2::json), json_array_elements_text($3::json))
                    WITH ORDINALITY AS r (id, receipt, place) ORDER BY r.place",
        ),
        params![channel.as_str(), &ids, &receipts],
        |row| row.flag(0),
    )
    .await
}

/// A report can come before the send's own answer, and can settle one whose outcome was never known.
pub(crate) async fn apply_report<T: Tx>(
    tx: &T,
    channel: &ChannelName,
    of: &Reported,
    outcome: &ReportOutcome,
) -> Result<bool> {
    let found = match of {
        Reported::Receipt(receipt) => {
            let sql = sql!("SELECT id, lane FROM parts WHERE receipt = ?1 AND channel = ?2 ORDER BY seq DESC LIMIT 1");
            tx.one(sql, params![receipt, channel.as_str()], read_place).await?
        }
        Reported::Part(id) => {
            let sql = sql!("SELECT id, lane FROM parts WHERE id = ?1 AND channel = ?2");
            tx.one(sql, params![id.to_string(), channel.as_str()], read_place).await?
        }
    };
    let Some((id, lane)) = found else { return Ok(false) };
    // Its chat may be forgotten at this moment.
    let Some(mut lane) = tx.lock(lane).await? else { return Ok(false) };
    let Some(part) = by_id(tx, id, channel).await?.filter(|part| part.lane == lane.id) else { return Ok(false) };
    if *outcome == ReportOutcome::Delivered {
        let delivered = sql!(concat!(
            "UPDATE parts SET delivered_at = ?1, journal = ",
            appended!("?3"),
            " WHERE seq = ?2 AND delivered_at IS NULL"
        ));
        tx.run(delivered, params![tx.now(), part.seq, journal::reported(tx, outcome)?]).await?;
    }
    match outcome {
        ReportOutcome::Taken | ReportOutcome::Delivered => {
            if matches!(part.state.as_str(), "pending" | "sending" | "held") {
                tx.run(
                    sql!(
                        "UPDATE parts SET state = 'pending', reason = NULL
                         WHERE turn = ?1 AND reply = ?2 AND seq > ?3 AND state = 'held' AND reason = ?4
                            AND part IS NOT NULL" // pruned: there is nothing left to send
                    ),
                    params![&part.turn, part.reply, part.seq, EARLIER_HELD],
                )
                .await?;
                mark_sent(tx, &part, &journal::sent_by_report(tx, outcome)?).await?;
                if part.state == "sending" {
                    // Perhaps the lane waits for this very word.
                    wake(tx, &mut lane, tx.now());
                }
                tx.wakeups().make_due(&mut lane, WorkKind::Deliveries, tx.now(), tx.now());
                tx.save(&lane).await?;
            }
        }
        ReportOutcome::Failed { reason } => {
            // What was delivered or read has not failed: that is about another member of a group, or comes late.
            let delivered = sql!("SELECT seq FROM parts WHERE seq = ?1 AND delivered_at IS NOT NULL");
            let delivered = tx.one(delivered, params![part.seq], |row| row.int(0)).await?.is_some();
            if part.state != "failed" && !delivered {
                fail(tx, &part, reason, None, &journal::failed_by_report(tx, outcome, reason)?).await?;
            }
        }
    }
    Ok(true)
}

fn read_place(row: &dyn Row) -> Result<(PartId, LaneId)> {
    Ok((parsed(row.text(0)?)?, LaneId(row.int(1)?)))
}

/// What the lane's deliveries were waiting for comes at that time.
pub(crate) fn wake<T: Tx>(tx: &T, lane: &mut Lane, at: Timestamp) {
    lane.wake(WorkKind::Deliveries, at, tx.now());
    if let Some(due_at) = lane.deliveries.due_at {
        tx.wakeups().due(WorkKind::Deliveries, due_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parts_make_of_their_messages_is_decided_by_the_worst_of_them() {
        for (states, expected) in [
            (&[][..], "done"),
            (&["sent", "sent"], "done"),
            (&["sent", "pending"], "answered"),
            (&["sent", "sending"], "answered"),
            (&["pending", "held"], "held"),
            (&["held", "failed", "pending"], "failed"),
        ] {
            let part = |state: &&str| Verdict { state: (*state).to_owned(), ..Verdict::done() };
            let parts: Vec<Verdict> = states.iter().map(part).collect();
            assert_eq!(Verdict::of(&parts).state, expected, "{states:?}");
        }
    }
}
