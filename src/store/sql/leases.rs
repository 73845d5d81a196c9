//! Giving lanes back.

use std::time::Duration;

use super::{Row, Tx, params, sql};
use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, ChannelName, ChatRef, EventId, LaneId};
use crate::store::lane::{Lane, Slot, Woken};
use crate::store::{Lease, Next, Result, StoreError, WorkKind};

/// A lane's row without its leases, as [`read_lane`] reads it.
macro_rules! lane_columns {
    () => {
        "lanes.id, lanes.channel, lanes.chat_ref, lanes.generation, lanes.bot_id, lanes.last_turn_at, lanes.shared,
            lanes.sender_ref, lanes.attributes_ref, lanes.watermark,
            (SELECT due_at FROM due_lanes WHERE work = 'turns' AND lane = lanes.id),
            (SELECT due_at FROM due_lanes WHERE work = 'deliveries' AND lane = lanes.id)"
    };
}
pub(crate) use lane_columns;

pub(crate) fn read_lane(row: &dyn Row) -> Result<Lane> {
    let due = |due_at| Slot { due_at, ..Slot::default() };
    Ok(Lane {
        id: LaneId(row.int(0)?),
        channel: ChannelName::new(row.text(1)?),
        chat_ref: ChatRef::new(row.text(2)?),
        generation: row.count(3)?,
        bot_id: row.optional_text(4)?.map(BotId::new),
        last_turn_at: row.optional_moment(5)?,
        shared: row.flag(6)?,
        sender_ref: row.optional_owned(7)?,
        attributes_ref: row.optional_owned(8)?,
        watermark: row.optional_text(9)?.map(EventId::new),
        turns: due(row.optional_moment(10)?),
        deliveries: due(row.optional_moment(11)?),
    })
}

/// Locks the lane of a lease for this kind of work.
pub(crate) async fn hold<T: Tx>(tx: &T, lease: &Lease, work: WorkKind) -> Result<Lane> {
    if lease.work == work { tx.hold(lease).await } else { Err(StoreError::Fenced) }
}

pub(crate) async fn release<T: Tx>(tx: &T, lease: &Lease, next: Next) -> Result<()> {
    let lane = tx.hold(lease).await?;
    let due_at = match next {
        Next::WhenNeeded { merge_window } => when_needed(tx, &lane, lease.work, merge_window).await?,
        Next::After(after) => Some(tx.now().plus(after)),
    };
    give_back(tx, lane, lease.work, due_at, Woken::Counts).await
}

/// The lane is nobody's from here on; due at that time, or when something comes.
pub(crate) async fn give_back<T: Tx>(
    tx: &T,
    mut lane: Lane,
    work: WorkKind,
    due_at: Option<Timestamp>,
    woken: Woken,
) -> Result<()> {
    lane.release(work, due_at, woken, tx.now());
    if let Some(due_at) = lane.slot(work).due_at {
        tx.wakeups().due(work, due_at);
    }
    tx.save(&lane).await
}

/// Never in the past: a lane with a long queue would otherwise always come before all others.
async fn when_needed<T: Tx>(tx: &T, lane: &Lane, work: WorkKind, merge_window: Duration) -> Result<Option<Timestamp>> {
    let now = tx.now();
    let due_at = match work {
        WorkKind::Turns => {
            let current = sql!("SELECT 1 FROM turns WHERE lane = ?1 AND ended_at IS NULL");
            if tx.one(current, params![lane.id], |_| Ok(())).await?.is_some() {
                Some(now)
            } else {
                let first = sql!(
                    "SELECT waiting_since FROM messages WHERE lane = ?1 AND state = 'received' ORDER BY seq LIMIT 1"
                );
                let since = tx.one(first, params![lane.id], |row| row.moment(0)).await?;
                since.map(|since| merged_at(since, merge_window, now))
            }
        }
        WorkKind::Deliveries => first_part(tx, lane).await?.map(|first| first.hold_until.unwrap_or(now)),
    };
    Ok(due_at.map(|due_at| due_at.max(now)))
}

/// When the merge window of a message ends that has waited since then.
pub(crate) fn merged_at(since: Timestamp, merge_window: Duration, now: Timestamp) -> Timestamp {
    since.min(now).plus(merge_window)
}

/// What the lane's deliveries begin with.
pub(crate) struct FirstPart {
    pub(crate) turn: String,
    pub(crate) hold_until: Option<Timestamp>,
}

pub(crate) async fn first_part<T: Tx>(tx: &T, lane: &Lane) -> Result<Option<FirstPart>> {
    let first = sql!(
        "SELECT turn, hold_until FROM parts WHERE lane = ?1 AND state IN ('pending', 'sending') ORDER BY seq LIMIT 1"
    );
    tx.one(first, params![lane.id], |row: &dyn Row| {
        Ok(FirstPart { turn: row.owned(0)?, hold_until: row.optional_moment(1)? })
    })
    .await
}
