//! This process as one of those that share the store: it says again and again that it lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::domain::id::Owner;
use crate::store::{Dispatcher, HEARTBEAT, Heartbeat, LEASE, Replica};

/// A call that begins takes so long to leave, at most.
const MARGIN: Duration = Duration::from_millis(500);

/// The time in which this process may hold lanes, under one name.
pub struct Membership {
    pub owner: Owner,
    /// Others have taken the lanes over.
    pub lost: CancellationToken,
    /// When the last heartbeat that was heard began.
    heard: watch::Sender<Option<Instant>>,
}

impl Membership {
    pub fn new() -> Arc<Self> {
        let owner = Owner::new(uuid::Uuid::new_v4().to_string());
        Arc::new(Self { owner, lost: CancellationToken::new(), heard: watch::Sender::new(None) })
    }

    /// Whether the lanes are still ours for long enough to begin a call. A process that was frozen finds here that it
    /// slept through its leases, before it does anything that can't be undone.
    pub fn is_fresh(&self) -> bool {
        !self.lost.is_cancelled() && self.heard.borrow().is_some_and(|heard| heard.elapsed() + MARGIN < LEASE)
    }

    /// Until that is so. Never, if the lanes are lost.
    pub async fn fresh(&self) {
        let mut heard = self.heard.subscribe();
        while !self.is_fresh() {
            if heard.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Says every second that this process lives, and joins the store when it has said so. A process that others took for
/// dead goes on under another name.
pub async fn keep_alive(
    store: Arc<dyn crate::store::Store>,
    current: watch::Sender<Arc<Membership>>,
    replicas: watch::Sender<u32>,
    dispatcher: impl Fn(Arc<Membership>) -> Arc<dyn Dispatcher>,
) {
    let mut tick = tokio::time::interval(HEARTBEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_joined = false;
    let mut is_away = false;
    loop {
        tick.tick().await;
        let membership = current.borrow().clone();
        let begun = Instant::now();
        match Replica::heartbeat(store.as_ref(), &membership.owner).await {
            Ok(Heartbeat::Alive { replicas: alive }) => {
                // Before the first lease: what is sent in it is within this process's share.
                replicas.send_if_modified(|known| std::mem::replace(known, alive) != alive);
                if !std::mem::replace(&mut has_joined, true) {
                    store.join(&membership.owner, dispatcher(membership.clone()));
                }
                membership.heard.send_replace(Some(begun));
                is_away = false;
            }
            Ok(Heartbeat::Lost) => {
                tracing::warn!("this replica was silent for too long: others have taken its chats over");
                membership.lost.cancel();
                current.send_replace(Membership::new());
                has_joined = false;
                tick.reset_immediately();
            }
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(%error, "the store can't be told that this replica lives");
                }
            }
        }
    }
}
