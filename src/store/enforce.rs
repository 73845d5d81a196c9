//! Enforces retention: the same steps in the same order on every store, a few rows in each transaction.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use super::retention::{ROWS_AT_ONCE, Removed, Retention};
use super::sql::retention::Step;
use crate::domain::id::LaneId;

const ROWS: u64 = ROWS_AT_ONCE as u64;

/// One transaction each.
#[async_trait]
pub(super) trait RetentionSteps: Send + Sync {
    async fn mark_dormant(&self, of: &Arc<Retention>) -> Result<u64>;
    async fn expiring(&self, of: &Arc<Retention>, behind: LaneId) -> Result<Vec<LaneId>>;
    async fn expire(&self, of: &Arc<Retention>, lane: LaneId) -> Result<u64>;
    async fn prune_messages(&self, keep: Duration) -> Result<u64>;
    async fn prune_turns(&self, keep: Duration) -> Result<u64>;
    async fn forget_messages(&self, forget: Duration, behind: i64) -> Result<Step>;
    async fn empty_lanes(&self, forget: Duration, behind: LaneId) -> Result<Vec<LaneId>>;
    async fn forget_lanes(&self, lanes: &[LaneId]) -> Result<()>;
}

pub(super) async fn all(store: &impl RetentionSteps, retention: &Retention) -> Result<Removed> {
    Ok(Removed {
        expired: expire(store, &Arc::new(retention.clone())).await?,
        pruned: prune(store, retention.keep).await?,
        forgotten: forget(store, retention.forget).await?,
    })
}

async fn expire(store: &impl RetentionSteps, retention: &Arc<Retention>) -> Result<u64> {
    while store.mark_dormant(retention).await? == ROWS {}
    let (mut expired, mut behind) = (0, LaneId(0));
    loop {
        let lanes = store.expiring(retention, behind).await?;
        let Some(last) = lanes.last() else { return Ok(expired) };
        behind = *last;
        for lane in lanes {
            loop {
                let ended = store.expire(retention, lane).await?;
                expired += ended;
                if ended < ROWS {
                    break;
                }
            }
        }
    }
}

async fn prune(store: &impl RetentionSteps, keep: Duration) -> Result<u64> {
    let mut pruned = 0;
    loop {
        let some = store.prune_messages(keep).await?;
        pruned += some;
        if some < ROWS {
            break;
        }
    }
    while store.prune_turns(keep).await? == ROWS {}
    Ok(pruned)
}

async fn forget(store: &impl RetentionSteps, forget: Duration) -> Result<u64> {
    let (mut forgotten, mut next) = (0, Some(0));
    while let Some(behind) = next {
        let step = store.forget_messages(forget, behind).await?;
        forgotten += step.forgotten;
        next = step.behind;
    }
    let mut behind = LaneId(0);
    loop {
        let empty = store.empty_lanes(forget, behind).await?;
        let Some(last) = empty.last() else { return Ok(forgotten) };
        behind = *last;
        store.forget_lanes(&empty).await?;
    }
}
