//! Who may work in a lane, and when it is looked at next.

use std::collections::HashSet;
use std::time::Duration;

use super::tx::{Tx, get, ints, params, rows, texts, work as name};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, ChatRef, LaneId, Owner};
use crate::store::steps::{HORIZON, LONGEST_HOLD};
use crate::store::{Lease, Next, Renewed, Result, StoreError, Want, Work};

/// One short walk of the index per channel; what another replica takes at the same time is left to it.
const TAKE: &str = "
    WITH due AS MATERIALIZED (
        SELECT found.lane, found.due_at
        FROM (SELECT DISTINCT unnest($2::text[]) AS channel) AS wanted
        CROSS JOIN LATERAL (
            SELECT lane, due_at FROM fini_bridge.schedule
            WHERE work = $1 AND channel = wanted.channel AND due_at IS NOT NULL AND due_at <= $3
            ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED
        ) AS found
        ORDER BY found.due_at, found.lane LIMIT $4
    )
    UPDATE fini_bridge.schedule AS s SET owner = $5, fence = s.fence + 1, due_at = $6, woken = false
    FROM due JOIN fini_bridge.lanes AS l ON l.id = due.lane
    WHERE s.lane = due.lane AND s.work = $1
    RETURNING due.due_at, s.lane, s.fence, s.channel, l.chat_ref";

/// What somebody else is writing in at this moment is not waited for.
const RENEW: &str = "
    WITH ours AS MATERIALIZED (
        SELECT s.lane, s.work FROM fini_bridge.schedule AS s
        JOIN unnest($1::bigint[], $2::text[], $3::bigint[]) AS lease (lane, work, fence)
            ON s.lane = lease.lane AND s.work = lease.work AND s.fence = lease.fence
        WHERE s.owner = $4 FOR UPDATE OF s SKIP LOCKED
    )
    UPDATE fini_bridge.schedule AS s SET due_at = $5 FROM ours WHERE s.lane = ours.lane AND s.work = ours.work
    RETURNING s.lane, s.work, s.fence";
const STILL_OURS: &str = "SELECT s.lane, s.work, s.fence FROM fini_bridge.schedule AS s
    JOIN unnest($1::bigint[], $2::text[], $3::bigint[]) AS lease (lane, work, fence)
        ON s.lane = lease.lane AND s.work = lease.work AND s.fence = lease.fence
    WHERE s.owner = $4";

/// Of all that has not ended: what began later than now began now.
const BEGUN_AHEAD: [&str; 5] = [
    "UPDATE fini_bridge.messages SET waiting_since = $1 WHERE state = 'received' AND waiting_since > $1",
    "UPDATE fini_bridge.turns SET asked_at = $1 WHERE ended_at IS NULL AND asked_at > $1",
    "UPDATE fini_bridge.turns SET unknown_since = $1 WHERE ended_at IS NULL AND unknown_since > $1",
    "UPDATE fini_bridge.conversations AS c SET asked_at = $1 FROM fini_bridge.turns AS t
     WHERE t.ended_at IS NULL AND c.lane = t.lane AND c.generation = t.generation AND c.asked_at > $1",
    "UPDATE fini_bridge.parts SET sending_since = $1 WHERE state IN ('pending', 'sending') AND sending_since > $1",
];
/// What is held back until later than that is held back until then.
const HELD_AHEAD: [&str; 2] = [
    "UPDATE fini_bridge.messages SET wait_until = $1
     WHERE state IN ('received', 'asking', 'answered') AND wait_until > $1",
    "UPDATE fini_bridge.parts SET hold_until = $1 WHERE state IN ('pending', 'sending') AND hold_until > $1",
];

pub(super) const FIRST_PART: &str = "SELECT turn, hold_until FROM fini_bridge.parts
    WHERE lane = $1 AND state IN ('pending', 'sending') ORDER BY seq LIMIT 1";

pub(super) async fn lease(tx: &Tx<'_>, work: Work, owner: &Owner, wants: &[Want], ttl: Duration) -> Result<Vec<Lease>> {
    let mut leases = Vec::new();
    let until = tx.now.plus(ttl).as_millis();
    for want in wants {
        if want.limit == 0 {
            continue;
        }
        let channels = texts(want.channels.iter().map(ChannelName::as_str));
        let values = params![name(work), channels, tx.now(), rows(want.limit), owner.as_str(), until];
        let mut taken = tx
            .all(TAKE, values, |row| {
                let lane: i64 = get(row, 1)?;
                let lease = Lease {
                    lane: LaneId(lane),
                    work,
                    fence: get(row, 2)?,
                    channel: ChannelName::new(get::<String>(row, 3)?),
                    chat_ref: ChatRef::new(get::<String>(row, 4)?),
                };
                Ok((get::<i64>(row, 0)?, lane, lease))
            })
            .await?;
        taken.sort_unstable_by_key(|(due_at, lane, _)| (*due_at, *lane));
        leases.extend(taken.into_iter().map(|(_, _, lease)| lease));
    }
    Ok(leases)
}

/// The clock was set back: what was scheduled by the old time is due soon, and nothing lies ahead for long. As
/// several replicas notice it, it must do no harm to do this twice.
pub(super) async fn set_back(tx: &Tx<'_>) -> Result<()> {
    // Rows of lanes first, as whoever writes in one.
    let soon = tx.now.plus(HORIZON).as_millis();
    tx.run("UPDATE fini_bridge.schedule SET due_at = $1 WHERE due_at > $1", params![soon]).await?;
    for begun in BEGUN_AHEAD {
        tx.run(begun, params![tx.now()]).await?;
    }
    for held in HELD_AHEAD {
        tx.run(held, params![tx.now.plus(LONGEST_HOLD).as_millis()]).await?;
    }
    tx.ring(Work::Turns);
    tx.ring(Work::Deliveries);
    Ok(())
}

pub(super) async fn renew(tx: &Tx<'_>, owner: &Owner, leases: &[Lease], ttl: Duration) -> Result<Vec<Renewed>> {
    let lanes = || ints(leases.iter().map(|lease| lease.lane.0));
    let works = || texts(leases.iter().map(|lease| name(lease.work)));
    let fences = || ints(leases.iter().map(|lease| lease.fence));
    let read = |row: &tokio_postgres::Row| Ok((get::<i64>(row, 0)?, get::<String>(row, 1)?, get::<i64>(row, 2)?));
    let until = tx.now.plus(ttl).as_millis();
    let values = params![lanes(), works(), fences(), owner.as_str(), until];
    let renewed: HashSet<_> = tx.all(RENEW, values, read).await?.into_iter().collect();
    let mut still_ours = HashSet::new();
    if renewed.len() < leases.len() {
        let values = params![lanes(), works(), fences(), owner.as_str()];
        still_ours.extend(tx.all(STILL_OURS, values, read).await?);
    }
    let outcome = |lease: &Lease| {
        let key = (lease.lane.0, name(lease.work).to_owned(), lease.fence);
        if renewed.contains(&key) {
            Renewed::Yes
        } else if still_ours.contains(&key) {
            // Nobody can take it before the transaction that writes in it has ended.
            Renewed::NotNow
        } else {
            Renewed::Lost
        }
    };
    Ok(leases.iter().map(outcome).collect())
}

/// A lane's row of the schedule, locked until the transaction ends.
pub(super) struct Scheduled {
    due_at: Option<i64>,
    owned: bool,
    fence: i64,
    woken: bool,
}

/// Whoever writes in a lane begins with this: what it then reads is what is committed.
pub(super) async fn lock(tx: &Tx<'_>, lane: LaneId, work: Work) -> Result<Scheduled> {
    find_and_lock(tx, lane, work).await?.ok_or_else(|| super::tx::corrupt("a lane is gone"))
}

/// `None`: the chat is forgotten.
pub(super) async fn find_and_lock(tx: &Tx<'_>, lane: LaneId, work: Work) -> Result<Option<Scheduled>> {
    tx.one(
        "SELECT due_at, owner IS NOT NULL, fence, woken FROM fini_bridge.schedule
         WHERE lane = $1 AND work = $2 FOR UPDATE",
        params![lane.0, name(work)],
        |row| Ok(Scheduled { due_at: get(row, 0)?, owned: get(row, 1)?, fence: get(row, 2)?, woken: get(row, 3)? }),
    )
    .await
}

/// Every write that follows from the work in a lane begins with this.
pub(super) async fn held(tx: &Tx<'_>, lease: &Lease, work: Work) -> Result<Scheduled> {
    if lease.work != work {
        return Err(StoreError::Fenced);
    }
    let row = lock(tx, lease.lane, work).await?;
    if row.owned && row.fence == lease.fence { Ok(row) } else { Err(StoreError::Fenced) }
}

/// For those that only look.
pub(super) async fn seems_held(tx: &Tx<'_>, lease: &Lease, work: Work) -> Result<()> {
    let held = tx
        .one(
            "SELECT 1 FROM fini_bridge.schedule WHERE lane = $1 AND work = $2 AND fence = $3 AND owner IS NOT NULL",
            params![lease.lane.0, name(work), lease.fence],
            |_| Ok(()),
        )
        .await?;
    if lease.work == work && held.is_some() { Ok(()) } else { Err(StoreError::Fenced) }
}

pub(super) async fn release(tx: &Tx<'_>, lease: &Lease, next: Next) -> Result<()> {
    let row = held(tx, lease, lease.work).await?;
    let due = match next {
        Next::WhenNeeded { merge_window } => needed(tx, lease.lane, lease.work, merge_window).await?,
        Next::After(after) => Some(tx.now.plus(after)),
    };
    free(tx, lease, &row, due, Wake::Counts).await
}

/// Whether a lane that was woken while it was held is due at once, whatever its holder says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    Counts,
    Ignored,
}

pub(super) async fn free(
    tx: &Tx<'_>,
    lease: &Lease,
    row: &Scheduled,
    due: Option<Timestamp>,
    wake: Wake,
) -> Result<()> {
    let due = if row.woken && wake == Wake::Counts { Some(due.map_or(tx.now, |due| due.min(tx.now))) } else { due };
    tx.run(
        "UPDATE fini_bridge.schedule SET owner = NULL, due_at = $1 WHERE lane = $2 AND work = $3",
        params![due.map(Timestamp::as_millis), lease.lane.0, name(lease.work)],
    )
    .await?;
    tx.ring(lease.work);
    Ok(())
}

/// Never in the past: a lane with a long queue would otherwise always come before all others.
async fn needed(tx: &Tx<'_>, lane: LaneId, work: Work, merge_window: Duration) -> Result<Option<Timestamp>> {
    let due = match work {
        Work::Turns => {
            let current = "SELECT 1 FROM fini_bridge.turns WHERE lane = $1 AND ended_at IS NULL";
            if tx.one(current, params![lane.0], |_| Ok(())).await?.is_some() {
                Some(tx.now)
            } else {
                let first = "SELECT waiting_since FROM fini_bridge.messages
                    WHERE lane = $1 AND state = 'received' ORDER BY seq LIMIT 1";
                let since: Option<i64> = tx.one(first, params![lane.0], |row| get(row, 0)).await?;
                since.map(|since| Timestamp::from_millis(since).min(tx.now).plus(merge_window))
            }
        }
        Work::Deliveries => {
            let hold: Option<Option<i64>> = tx.one(FIRST_PART, params![lane.0], |row| get(row, 1)).await?;
            hold.map(|until| until.map_or(tx.now, Timestamp::from_millis))
        }
    };
    Ok(due.map(|due| due.max(tx.now)))
}

/// Something came: the lane is due then, unless it is scheduled already; a backoff is not shortened.
pub(super) async fn schedule(tx: &Tx<'_>, lane: LaneId, work: Work, at: Timestamp) -> Result<()> {
    // Locked before it is looked at: its holder may be about to find that nothing is to be done.
    let row = lock(tx, lane, work).await?;
    if row.due_at.is_none() {
        tx.run(
            "UPDATE fini_bridge.schedule SET due_at = $1 WHERE lane = $2 AND work = $3",
            params![at.as_millis(), lane.0, name(work)],
        )
        .await?;
        tx.ring(work);
    }
    Ok(())
}

/// What the lane was waiting for comes at that time: it is due then at the latest, if it is scheduled at all.
/// A holder may have looked before this, so its lane remembers.
pub(super) async fn wake(tx: &Tx<'_>, lane: LaneId, work: Work, at: Timestamp) -> Result<()> {
    let row = lock(tx, lane, work).await?;
    let woken = row.woken || (row.owned && at <= tx.now);
    let due_at = if row.owned { row.due_at } else { row.due_at.map(|due| due.min(at.as_millis())) };
    if (woken, due_at) != (row.woken, row.due_at) {
        tx.run(
            "UPDATE fini_bridge.schedule SET woken = $1, due_at = $2 WHERE lane = $3 AND work = $4",
            params![woken, due_at, lane.0, name(work)],
        )
        .await?;
    }
    tx.ring(work);
    Ok(())
}

pub(super) async fn next_due(tx: &Tx<'_>, work: Work, channels: &[ChannelName]) -> Result<Option<Duration>> {
    let first: Option<i64> = tx
        .one(
            "SELECT min(first.due_at) FROM unnest($2::text[]) AS wanted (channel) CROSS JOIN LATERAL (
                SELECT due_at FROM fini_bridge.schedule
                WHERE work = $1 AND channel = wanted.channel AND due_at IS NOT NULL ORDER BY due_at LIMIT 1
             ) AS first",
            params![name(work), texts(channels.iter().map(ChannelName::as_str))],
            |row| get(row, 0),
        )
        .await?
        .flatten();
    Ok(first.map(|due| Timestamp::from_millis(due).since(tx.now)))
}
