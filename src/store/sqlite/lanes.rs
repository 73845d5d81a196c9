//! Who may work in a lane, and when it is looked at next.

use std::time::Duration;

use rusqlite::params;

use super::tx::{Tx, rows, work as name};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, ChatRef, LaneId, Owner};
use crate::store::steps::{HORIZON, LONGEST_HOLD};
use crate::store::{Lease, Next, Renewed, Result, StoreError, Want, Work};

pub(super) const DUE: &str = "SELECT due_at, lane FROM schedule
    WHERE work = ?1 AND channel = ?2 AND due_at IS NOT NULL AND due_at <= ?3 ORDER BY due_at LIMIT ?4";
pub(super) const TAKE: &str = "UPDATE schedule SET owner = ?1, fence = fence + 1, due_at = ?2, woken = 0
    WHERE lane = ?3 AND work = ?4
    RETURNING fence, channel, (SELECT chat_ref FROM lanes WHERE id = schedule.lane)";
pub(super) const HELD: &str =
    "SELECT 1 FROM schedule WHERE lane = ?1 AND work = ?2 AND fence = ?3 AND owner IS NOT NULL";
pub(super) const NEXT_DUE: &str =
    "SELECT min(due_at) FROM schedule WHERE work = ?1 AND channel = ?2 AND due_at IS NOT NULL";
pub(super) const FIRST_WAITING: &str =
    "SELECT waiting_since FROM messages WHERE lane = ?1 AND state = 'received' ORDER BY seq LIMIT 1";
pub(super) const CURRENT_TURN: &str = "SELECT id FROM turns WHERE lane = ?1 AND ended_at IS NULL";
pub(super) const FIRST_PART: &str = "SELECT turn, hold_until FROM parts
    WHERE lane = ?1 AND state IN ('pending', 'sending') ORDER BY seq LIMIT 1";

/// Of all that has not ended: what began later than now began now.
pub(super) const BEGUN_AHEAD: [&str; 5] = [
    "UPDATE messages SET waiting_since = ?1 WHERE state = 'received' AND waiting_since > ?1",
    "UPDATE turns SET asked_at = ?1 WHERE ended_at IS NULL AND asked_at > ?1",
    "UPDATE turns SET unknown_since = ?1 WHERE ended_at IS NULL AND unknown_since > ?1",
    "UPDATE conversations SET asked_at = ?1
     WHERE (lane, generation) IN (SELECT lane, generation FROM turns WHERE ended_at IS NULL) AND asked_at > ?1",
    "UPDATE parts SET sending_since = ?1 WHERE state IN ('pending', 'sending') AND sending_since > ?1",
];
/// What is held back until later than that is held back until then.
pub(super) const HELD_AHEAD: [&str; 2] = [
    "UPDATE messages SET wait_until = ?1
     WHERE state <> 'done' AND state IN ('received', 'asking', 'answered') AND wait_until > ?1",
    "UPDATE parts SET hold_until = ?1 WHERE state IN ('pending', 'sending') AND hold_until > ?1",
];

/// Leases of earlier processes are void: the lock on the file proves that they are dead. The clock may have been
/// set back meanwhile.
pub(super) fn void_all(tx: &Tx<'_>) -> Result<()> {
    tx.run("UPDATE schedule SET owner = NULL, due_at = ?1 WHERE owner IS NOT NULL", params![tx.now()])?;
    set_back(tx)
}

/// The clock was set back: what was scheduled by the old time is due soon, and nothing lies ahead for long.
pub(super) fn set_back(tx: &Tx<'_>) -> Result<()> {
    for begun in BEGUN_AHEAD {
        tx.run(begun, params![tx.now()])?;
    }
    for held in HELD_AHEAD {
        tx.run(held, params![tx.now.plus(LONGEST_HOLD).as_millis()])?;
    }
    let soon = tx.now.plus(HORIZON).as_millis();
    let changed = tx.run("UPDATE schedule SET due_at = ?1 WHERE due_at > ?1", params![soon])?;
    if changed > 0 {
        tx.ring(Work::Turns);
        tx.ring(Work::Deliveries);
    }
    Ok(())
}

pub(super) fn lease(tx: &Tx<'_>, work: Work, owner: &Owner, wants: &[Want], ttl: Duration) -> Result<Vec<Lease>> {
    let mut leases = Vec::new();
    for want in wants {
        // One short walk of the index per channel; one over all of them would sort everything that is due.
        let mut due: Vec<(i64, i64)> = Vec::new();
        for channel in &want.channels {
            due.extend(tx.all(DUE, params![name(work), channel.as_str(), tx.now(), rows(want.limit)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?);
        }
        due.sort_unstable();
        due.dedup();
        for (_, lane) in due.into_iter().take(want.limit) {
            let taken =
                tx.one(TAKE, params![owner.as_str(), tx.now.plus(ttl).as_millis(), lane, name(work)], |row| {
                    Ok(Lease {
                        lane: LaneId(lane),
                        work,
                        fence: row.get(0)?,
                        channel: ChannelName::new(row.get::<_, String>(1)?),
                        chat_ref: ChatRef::new(row.get::<_, String>(2)?),
                    })
                })?;
            leases.extend(taken);
        }
    }
    Ok(leases)
}

pub(super) fn renew(tx: &Tx<'_>, owner: &Owner, leases: &[Lease], ttl: Duration) -> Result<Vec<Renewed>> {
    let until = tx.now.plus(ttl).as_millis();
    leases
        .iter()
        .map(|lease| {
            let changed = tx.run(
                "UPDATE schedule SET due_at = ?1 WHERE lane = ?2 AND work = ?3 AND fence = ?4 AND owner = ?5",
                params![until, lease.lane.0, name(lease.work), lease.fence, owner.as_str()],
            )?;
            Ok(if changed == 1 { Renewed::Yes } else { Renewed::Lost })
        })
        .collect()
}

/// Every write that follows from the work in a lane begins with this.
pub(super) fn held(tx: &Tx<'_>, lease: &Lease, work: Work) -> Result<()> {
    let held =
        lease.work == work && tx.one(HELD, params![lease.lane.0, name(work), lease.fence], |_| Ok(()))?.is_some();
    if held { Ok(()) } else { Err(StoreError::Fenced) }
}

pub(super) fn release(tx: &Tx<'_>, lease: &Lease, next: Next) -> Result<()> {
    held(tx, lease, lease.work)?;
    let due = match next {
        Next::WhenNeeded { merge_window } => needed(tx, lease.lane, lease.work, merge_window)?,
        Next::After(after) => Some(tx.now.plus(after)),
    };
    free(tx, lease, due, Wake::Counts)
}

/// Whether a lane that was woken while it was held is due at once, whatever its holder says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    Counts,
    Ignored,
}

pub(super) fn free(tx: &Tx<'_>, lease: &Lease, due: Option<Timestamp>, wake: Wake) -> Result<()> {
    tx.run(
        "UPDATE schedule SET owner = NULL, due_at = CASE WHEN woken AND ?4 THEN min(?3, coalesce(?1, ?3)) ELSE ?1 END
         WHERE lane = ?2 AND work = ?5",
        params![due.map(Timestamp::as_millis), lease.lane.0, tx.now(), wake == Wake::Counts, name(lease.work)],
    )?;
    tx.ring(lease.work);
    Ok(())
}

/// Never in the past: a lane with a long queue would otherwise always come before all others.
fn needed(tx: &Tx<'_>, lane: LaneId, work: Work, merge_window: Duration) -> Result<Option<Timestamp>> {
    let due = match work {
        Work::Turns => {
            if tx.one(CURRENT_TURN, params![lane.0], |_| Ok(()))?.is_some() {
                Some(tx.now)
            } else {
                let since: Option<i64> = tx.one(FIRST_WAITING, params![lane.0], |row| row.get(0))?;
                since.map(|since| Timestamp::from_millis(since).min(tx.now).plus(merge_window))
            }
        }
        Work::Deliveries => {
            let hold: Option<Option<i64>> = tx.one(FIRST_PART, params![lane.0], |row| row.get(1))?;
            hold.map(|until| until.map_or(tx.now, Timestamp::from_millis))
        }
    };
    Ok(due.map(|due| due.max(tx.now)))
}

/// Something came: the lane is due then, unless it is scheduled already; a backoff is not shortened.
pub(super) fn schedule(tx: &Tx<'_>, lane: LaneId, work: Work, at: Timestamp) -> Result<()> {
    let changed = tx.run(
        "UPDATE schedule SET due_at = ?1 WHERE lane = ?2 AND work = ?3 AND due_at IS NULL",
        params![at.as_millis(), lane.0, name(work)],
    )?;
    if changed > 0 {
        tx.ring(work);
    }
    Ok(())
}

/// What the lane was waiting for comes at that time: it is due then at the latest, if it is scheduled at all.
/// A holder may have looked before this, so its lane remembers.
pub(super) fn wake(tx: &Tx<'_>, lane: LaneId, work: Work, at: Timestamp) -> Result<()> {
    tx.run(
        "UPDATE schedule SET woken = woken OR (owner IS NOT NULL AND ?1 <= ?2),
            due_at = CASE WHEN owner IS NULL THEN min(due_at, ?1) ELSE due_at END
         WHERE lane = ?3 AND work = ?4",
        params![at.as_millis(), tx.now(), lane.0, name(work)],
    )?;
    tx.ring(work);
    Ok(())
}

pub(super) fn next_due(tx: &Tx<'_>, work: Work, channels: &[ChannelName]) -> Result<Option<Duration>> {
    let mut first: Option<i64> = None;
    for channel in channels {
        let due: Option<i64> = tx.one(NEXT_DUE, params![name(work), channel.as_str()], |row| row.get(0))?.flatten();
        first = first.into_iter().chain(due).min();
    }
    Ok(first.map(|due| Timestamp::from_millis(due).since(tx.now)))
}
