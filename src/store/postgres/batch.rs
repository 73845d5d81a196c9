//! The group commit: what comes in while a transaction runs goes into the next one together.

use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::core::Core;
use super::intake::{self, Busy};
use crate::store::{ACCEPTED_WITHIN, Accepted, NewItem, Result, StoreError, not_in_time};

/// Beyond this the store is full: webhooks get 503.
const QUEUE: usize = 8192;
const BATCH: usize = 512;

struct Call {
    items: Vec<NewItem>,
    waiter: oneshot::Sender<Result<Vec<Accepted>>>,
}

pub(super) struct Batches {
    queue: mpsc::Sender<Call>,
}

impl Batches {
    /// `connections`: those that are reserved for what comes in.
    pub(super) fn start(core: Arc<Core>, connections: usize) -> Self {
        let (queue, calls) = mpsc::channel(QUEUE);
        // Those that wait for a lane which somebody else writes in, at the same time: a connection is left for the rest.
        let alone = Arc::new(Semaphore::new(connections.saturating_sub(1).max(1)));
        tokio::spawn(BatchLoop { core, alone }.run(calls));
        Self { queue }
    }

    pub(super) async fn accept(&self, items: Vec<NewItem>) -> Result<Vec<Accepted>> {
        let (waiter, answer) = oneshot::channel();
        self.queue.try_send(Call { items, waiter }).map_err(|error| {
            StoreError::Unavailable(match error {
                mpsc::error::TrySendError::Full(_) => "too much waits to be written".to_owned(),
                mpsc::error::TrySendError::Closed(_) => "it has stopped".to_owned(),
            })
        })?;
        match timeout(ACCEPTED_WITHIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable("it has stopped".to_owned())),
            Err(_) => Err(not_in_time()),
        }
    }
}

struct BatchLoop {
    core: Arc<Core>,
    alone: Arc<Semaphore>,
}

impl BatchLoop {
    async fn run(self, mut calls: mpsc::Receiver<Call>) {
        while let Some(first) = calls.recv().await {
            let mut number = first.items.len();
            let mut batch = vec![first];
            while number < BATCH {
                let Ok(call) = calls.try_recv() else { break };
                number += call.items.len();
                batch.push(call);
            }
            // Whoever is gone got its 503, and will deliver again.
            batch.retain(|call| !call.waiter.is_closed());
            if !batch.is_empty() {
                self.commit(batch).await;
            }
        }
    }

    async fn commit(&self, batch: Vec<Call>) {
        let items: Vec<&[NewItem]> = batch.iter().map(|call| call.items.as_slice()).collect();
        let items = items.as_slice();
        let outcome = match self.shared(items, Busy::PassedOver).await {
            // Somebody else's transaction makes one of these chats, or keeps one of these messages.
            Ok(None) => self.shared(items, Busy::PassedOverWithNewChats).await,
            outcome => outcome,
        };
        match outcome {
            Ok(Some(outcomes)) => {
                for (call, outcome) in batch.into_iter().zip(outcomes) {
                    match outcome {
                        Some(accepted) => drop(call.waiter.send(Ok(accepted))),
                        None => self.alone(call),
                    }
                }
            }
            Ok(None) => self.each_alone(batch),
            // One of them can't be written: the others shall not suffer for it.
            Err(StoreError::Corrupt(_)) if batch.len() > 1 => self.each_alone(batch),
            Err(error) => {
                tracing::warn!(%error, "the store could not commit");
                for call in batch {
                    drop(call.waiter.send(Err(error.clone())));
                }
            }
        }
    }

    async fn shared(&self, items: &[&[NewItem]], busy: Busy) -> Result<Option<Vec<Option<Vec<Accepted>>>>> {
        self.core.write_shared(|tx| intake::accept(tx, items, busy).boxed()).await
    }

    fn each_alone(&self, batch: Vec<Call>) {
        for call in batch {
            self.alone(call);
        }
    }

    fn alone(&self, call: Call) {
        let (core, alone) = (Arc::clone(&self.core), Arc::clone(&self.alone));
        tokio::spawn(async move {
            let Ok(_turn) = alone.acquire().await else { return };
            if call.waiter.is_closed() {
                return;
            }
            let items = [call.items.as_slice()];
            let items = items.as_slice();
            let outcome = core.write_first(|tx| intake::accept(tx, items, Busy::WaitedFor).boxed()).await;
            let answer = outcome.and_then(|mut outcomes| {
                outcomes.pop().flatten().ok_or_else(|| StoreError::Unavailable("its chat is busy".to_owned()))
            });
            drop(call.waiter.send(answer));
        });
    }
}
