//! Tells the other replicas, soon, that there is something to do for which this one has no room. Nothing depends on
//! it: whoever isn't told looks by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;

use super::core::Core;
use super::link::Connector;
use crate::store::WorkKind;

const TURNS: u8 = 1;
const DELIVERIES: u8 = 2;
const ALL: [WorkKind; 2] = [WorkKind::Turns, WorkKind::Deliveries];

/// Not `fini_bridge`: by that name `older_replicas` knows the versions before.
const CHANNEL: &str = "fini_bridge_wake";
/// A NOTIFY takes a lock of the whole server at its commit: at most this often per process.
const NOTIFY_EVERY: Duration = Duration::from_millis(50);
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

const fn bit(work: WorkKind) -> u8 {
    match work {
        WorkKind::Turns => TURNS,
        WorkKind::Deliveries => DELIVERIES,
    }
}

pub(super) struct Notifier {
    untold: AtomicU8,
    something: Notify,
    /// Who tells: one's own notifications are no news.
    own: String,
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self { untold: AtomicU8::new(0), something: Notify::new(), own: uuid::Uuid::new_v4().simple().to_string() }
    }

    /// For each kind of work, turns first, whether the others have some.
    pub(super) fn tell(&self, of: [bool; 2]) {
        let bits = ALL.into_iter().zip(of).filter(|(_, is_due)| *is_due).fold(0, |bits, (work, _)| bits | bit(work));
        if bits != 0 {
            self.untold.fetch_or(bits, Ordering::Relaxed);
            self.something.notify_one();
        }
    }

    /// Of which kinds of work somebody else says that there is some.
    fn heard(&self, payload: &str) -> Vec<WorkKind> {
        match payload.split_once(' ') {
            Some((who, _)) if who == self.own => Vec::new(),
            Some((_, bits)) => {
                let bits = bits.parse().unwrap_or(u8::MAX);
                ALL.into_iter().filter(|work| bits & bit(*work) != 0).collect()
            }
            None => ALL.to_vec(),
        }
    }
}

/// Tells the others, in statements of their own: no commit waits for them.
pub(super) async fn keep_telling(core: Arc<Core>) {
    loop {
        core.notifier.something.notified().await;
        let bits = core.notifier.untold.swap(0, Ordering::Relaxed);
        if bits != 0 {
            notify(&core, bits).await;
        }
        tokio::time::sleep(NOTIFY_EVERY).await;
    }
}

/// Whatever there is, it is the others'.
pub(super) async fn notify_all(core: &Core) {
    notify(core, TURNS | DELIVERIES).await;
}

async fn notify(core: &Core, bits: u8) {
    let Ok(client) = core.pool.get().await else { return };
    let told = format!("SELECT pg_catalog.pg_notify('{CHANNEL}', '{} {bits}')", core.notifier.own);
    if let Err(error) = client.batch_execute(&told).await {
        tracing::debug!(%error, "other replicas were not told; they will look by themselves");
    }
}

/// Hears what the other processes tell, over a connection of its own. PgBouncer in transaction mode would
/// lose it: with `pgbouncer=true` in the URL nobody listens.
pub(super) async fn listen(core: Arc<Core>, connector: Arc<Connector>) {
    loop {
        match connector.open().await {
            Ok((client, mut connection)) => {
                let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
                let asked = async {
                    let listening = client.batch_execute(&format!("LISTEN {CHANNEL}")).await;
                    // What was told before is not heard any more.
                    core.look(&ALL);
                    match listening {
                        Ok(()) => std::future::pending::<()>().await,
                        Err(error) => tracing::debug!(%error, "not listening"),
                    }
                };
                let hear = async {
                    while let Some(Ok(message)) = messages.next().await {
                        if let AsyncMessage::Notification(notification) = message {
                            core.look(&core.notifier.heard(notification.payload()));
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
