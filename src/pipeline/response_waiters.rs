//! Who waits in this process for the end of a message's turn: woken by the commit that ends it, and where others share
//! the store, by one look for all of them together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::id::MessageId;
use crate::store::Store;

/// How often turns are looked for that ended on another replica.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[derive(Default)]
pub struct ResponseWaiters {
    waiting: Mutex<HashMap<MessageId, Waited>>,
}

/// A message may be delivered again while somebody waits for it.
struct Waited {
    ended: CancellationToken,
    waiters: usize,
}

/// Somebody who waits, until this is dropped.
pub struct ResponseWait {
    waiters: Arc<ResponseWaiters>,
    message: MessageId,
    ended: CancellationToken,
}

impl ResponseWait {
    /// Until the turn ends. It may have ended before the wait began: see [`ResponseWait::check`].
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Asks the store once.
    pub async fn check(&self, store: &dyn Store) {
        self.waiters.check(store, &[self.message]).await;
    }
}

impl Drop for ResponseWait {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.waiters.lock().entry(self.message) {
            entry.get_mut().waiters -= 1;
            if entry.get().waiters == 0 {
                entry.remove();
            }
        }
    }
}

impl ResponseWaiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, Waited>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wait_for(self: &Arc<Self>, message: MessageId) -> ResponseWait {
        let mut waiting = self.lock();
        let waited = waiting.entry(message).or_insert_with(|| Waited { ended: CancellationToken::new(), waiters: 0 });
        waited.waiters += 1;
        ResponseWait { waiters: self.clone(), message, ended: waited.ended.clone() }
    }

    pub(super) fn turn_ended(&self, messages: &[MessageId]) {
        let waiting = self.lock();
        for message in messages {
            if let Some(waited) = waiting.get(message) {
                waited.ended.cancel();
            }
        }
    }

    async fn check(&self, store: &dyn Store, messages: &[MessageId]) {
        match store.have_ended(messages).await {
            Ok(ended) => self.turn_ended(&ended),
            Err(error) => tracing::debug!(%error, "whether turns have ended can't be told"),
        }
    }

    /// For turns that end on other replicas.
    pub(super) async fn watch(&self, store: Arc<dyn Store>) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let open = |(message, waited): (&MessageId, &Waited)| (!waited.ended.is_cancelled()).then_some(*message);
            let waiting: Vec<MessageId> = self.lock().iter().filter_map(open).collect();
            if !waiting.is_empty() {
                self.check(store.as_ref(), &waiting).await;
            }
        }
    }
}
