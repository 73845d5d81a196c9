//! Which lanes are due, and what a start makes of those that were under way.

use super::tx::{SqliteTx, run};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, LaneId, Owner};
use crate::store::column::work as name;
use crate::store::sql::{Tx, clock, params, sql};
use crate::store::steps::HORIZON;
use crate::store::{Due, LeaseRequest, Result, WorkKind};

/// Whatever was under way when the last process ended is due: the lock on the file proves that it has. The clock may
/// have been set back meanwhile.
pub(super) fn recover(tx: &SqliteTx<'_>) -> Result<()> {
    for unfinished in [
        sql!(
            "INSERT INTO due_lanes (work, lane, channel, due_at)
             SELECT 'turns', id, channel, ?1 FROM lanes WHERE id IN (
                SELECT lane FROM messages WHERE state = 'received' AND dormant = 0
                UNION SELECT lane FROM turns WHERE ended_at IS NULL
                EXCEPT SELECT lane FROM due_lanes WHERE work = 'turns')"
        ),
        sql!(
            "INSERT INTO due_lanes (work, lane, channel, due_at)
             SELECT 'deliveries', id, channel, ?1 FROM lanes WHERE id IN (
                SELECT lane FROM parts WHERE state IN ('pending', 'sending')
                EXCEPT SELECT lane FROM due_lanes WHERE work = 'deliveries')"
        ),
    ] {
        tx.run(unfinished, params![tx.now()])?;
    }
    clock_stepped_back(tx)
}

/// The clock was set back: what was scheduled by the old time is due soon, and nothing lies ahead for long.
pub(super) fn clock_stepped_back(tx: &SqliteTx<'_>) -> Result<()> {
    run(clock::clamp(tx))?;
    let soon = tx.now().plus(HORIZON);
    if tx.run(sql!("UPDATE due_lanes SET due_at = ?1 WHERE due_at > ?1"), params![soon])? > 0 {
        tx.wakeups().due(WorkKind::Turns, tx.now());
        tx.wakeups().due(WorkKind::Deliveries, tx.now());
    }
    Ok(())
}

pub(super) fn lease(tx: &SqliteTx<'_>, work: WorkKind, owner: &Owner, requests: &[LeaseRequest]) -> Result<Due> {
    let mut leases = Vec::new();
    for request in requests {
        for lane in due(tx, work, request)? {
            let Some(mut lane) = tx.load(lane)? else { continue };
            if lane.slot(work).owner.is_some() {
                // A command asked for it meanwhile: its holder looks once more.
                lane.defer_to_holder(work);
            } else {
                leases.push(lane.take(work, owner));
            }
            tx.store(&lane)?;
        }
    }
    let next = if leases.is_empty() { next_due(tx, work, requests)? } else { None };
    Ok(Due { leases, next: next.map(|at| at.since(tx.now())) })
}

/// One short walk of the index per channel; one over all of them would sort everything that is due.
fn due(tx: &SqliteTx<'_>, work: WorkKind, request: &LeaseRequest) -> Result<Vec<LaneId>> {
    let sql = sql!(
        "SELECT due_at, lane FROM due_lanes WHERE work = ?1 AND channel = ?2 AND due_at <= ?3 ORDER BY due_at LIMIT ?4"
    );
    let mut found = Vec::new();
    for channel in &request.channels {
        let values = params![name(work), channel.as_str(), tx.now(), request.limit];
        found.extend(tx.all(sql, values, |row| Ok((row.int(0)?, LaneId(row.int(1)?))))?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found.into_iter().take(request.limit).map(|(_, lane)| lane).collect())
}

fn next_due(tx: &SqliteTx<'_>, work: WorkKind, requests: &[LeaseRequest]) -> Result<Option<Timestamp>> {
    let first = sql!("SELECT due_at FROM due_lanes WHERE work = ?1 AND channel = ?2 ORDER BY due_at LIMIT 1");
    let mut next = None;
    for channel in requests.iter().flat_map(|request| &request.channels) {
        let at = tx.one(first, params![name(work), ChannelName::as_str(channel)], |row| row.moment(0))?;
        next = next.into_iter().chain(at).min();
    }
    Ok(next)
}
