//! Tells this process at once, and the others soon, that there may be something new. Nothing depends on it:
//! whoever isn't told looks by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio_postgres::AsyncMessage;

use super::link::{Connector, Pool};
use crate::store::{Bells, Work};

pub(super) const TURNS: u8 = 1;
pub(super) const DELIVERIES: u8 = 2;
pub(super) const ENDED: u8 = 4;
const ALL: u8 = TURNS | DELIVERIES | ENDED;

/// Not `fini_bridge`: by that name `older_replicas` knows the versions before.
const CHANNEL: &str = "fini_bridge_wake";
/// A NOTIFY takes a lock of the whole server at its commit: at most this often per process.
const NOTIFY_EVERY: Duration = Duration::from_millis(50);
const AT_LAST_WITHIN: Duration = Duration::from_millis(500);
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

pub(super) const fn bit(work: Work) -> u8 {
    match work {
        Work::Turns => TURNS,
        Work::Deliveries => DELIVERIES,
    }
}

pub(super) struct Belfry {
    turns: watch::Sender<u64>,
    deliveries: watch::Sender<u64>,
    ended: watch::Sender<u64>,
    /// For the other processes.
    untold: AtomicU8,
    something: Notify,
    /// Who rang: one's own notifications are no news.
    own: String,
}

impl Belfry {
    pub(super) fn new() -> Self {
        let rope = || watch::channel(0).0;
        Self {
            turns: rope(),
            deliveries: rope(),
            ended: rope(),
            untold: AtomicU8::new(0),
            something: Notify::new(),
            own: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    pub(super) fn bells(&self) -> Bells {
        Bells { turns: self.turns.subscribe(), deliveries: self.deliveries.subscribe(), ended: self.ended.subscribe() }
    }

    /// After a commit of this process.
    pub(super) fn pull(&self, rings: u8) {
        if rings == 0 {
            return;
        }
        self.ring(rings);
        self.untold.fetch_or(rings, Ordering::Relaxed);
        self.something.notify_one();
    }

    fn ring(&self, rings: u8) {
        for (rope, bit) in [(&self.turns, TURNS), (&self.deliveries, DELIVERIES), (&self.ended, ENDED)] {
            if rings & bit != 0 {
                rope.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }

    fn heard(&self, payload: &str) {
        match payload.split_once(' ') {
            Some((who, _)) if who == self.own => {}
            Some((_, rings)) => self.ring(rings.parse().unwrap_or(ALL)),
            None => self.ring(ALL),
        }
    }
}

/// Passes this process's rings on, in statements of their own: no commit waits for them.
pub(super) async fn tell(belfry: Arc<Belfry>, pool: Pool) {
    loop {
        belfry.something.notified().await;
        let rings = belfry.untold.swap(0, Ordering::Relaxed);
        if rings != 0 {
            pass_on(&belfry, &pool, rings).await;
        }
        tokio::time::sleep(NOTIFY_EVERY).await;
    }
}

/// Whatever was rung last may not have been told yet, and nobody will once this process has ended.
pub(super) async fn tell_at_last(belfry: &Belfry, pool: &Pool) {
    let _ = tokio::time::timeout(AT_LAST_WITHIN, pass_on(belfry, pool, ALL)).await;
}

async fn pass_on(belfry: &Belfry, pool: &Pool, rings: u8) {
    let Ok(client) = pool.get().await else { return };
    let told = format!("SELECT pg_catalog.pg_notify('{CHANNEL}', '{} {rings}')", belfry.own);
    if let Err(error) = client.batch_execute(&told).await {
        tracing::debug!(%error, "other replicas were not told; they will look by themselves");
    }
}

/// Hears what the other processes ring, over a connection of its own. PgBouncer in transaction mode would
/// lose it: with `pgbouncer=true` in the URL nobody listens.
pub(super) async fn listen(belfry: Arc<Belfry>, connector: Arc<Connector>) {
    loop {
        match connector.open().await {
            Ok((client, mut connection)) => {
                let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
                let asked = async {
                    let listening = client.batch_execute(&format!("LISTEN {CHANNEL}")).await;
                    // What was rung before is not heard any more.
                    belfry.ring(ALL);
                    match listening {
                        Ok(()) => std::future::pending::<()>().await,
                        Err(error) => tracing::debug!(%error, "not listening"),
                    }
                };
                let hear = async {
                    while let Some(Ok(message)) = messages.next().await {
                        if let AsyncMessage::Notification(notification) = message {
                            belfry.heard(notification.payload());
                        }
                    }
                };
                tokio::select! {
                    () = hear => {}
                    () = asked => {}
                }
            }
            Err(error) => tracing::debug!(%error, "not listening"),
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}
