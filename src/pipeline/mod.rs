//! How messages enter ([`inbox`]), and the workers: turns (inbox → Fini → outbox) and deliveries (outbox → platform),
//! and what they share. Knows nothing of HTTP servers.

mod breaker;
pub mod channel;
mod conversation_choice;
mod delivery;
mod discovery;
mod dispatch;
mod group;
pub mod inbox;
mod lookup;
mod mapping;
mod membership;
pub mod people;
mod plan;
pub mod rate_limit;
mod replies;
pub mod response_waiters;
pub mod retry;
mod turn;
mod typing;
mod unknown_outcome;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::clock::Clock;
use crate::domain::id::{ChannelName, Owner};
use crate::fini;
use crate::store::{Dispatcher, Store};
use crate::telemetry::Metrics;
use channel::Channel;
use dispatch::{Pool, Pools, StoreDispatcher};
use membership::Membership;
use rate_limit::CallBudget;
use response_waiters::ResponseWaiters;

pub use delivery::DELIVERIES_AT_ONCE;
pub use plan::REFERENCE_ATTRIBUTE;

/// Tasks that were told to end now still want a moment to give up their connections.
const ABORTED_WITHIN: Duration = Duration::from_secs(1);

/// A Fini key with its client and limits; several channels may share it.
pub struct FiniKey {
    pub client: Arc<dyn fini::Api>,
    pub settle: Duration,
    pub max_in_flight: usize,
    /// When calls may be made.
    pub budget: CallBudget,
}

/// What the workers live on.
pub struct Deps {
    pub store: Arc<dyn Store>,
    pub channels: BTreeMap<ChannelName, Arc<Channel>>,
    pub keys: Vec<FiniKey>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Told of each turn that ends.
    pub waiters: Arc<ResponseWaiters>,
    /// Told how many processes share the store, this one included.
    pub replicas: watch::Sender<u32>,
    /// See [`Store::installation_key`](crate::store::Replica::installation_key).
    pub installation_key: [u8; 32],
    pub cache_capacity: u64,
}

/// The running workers.
pub struct Pipeline {
    store: Arc<dyn Store>,
    pools: Pools,
    membership: watch::Receiver<Arc<Membership>>,
    replicas: watch::Receiver<u32>,
    /// No new sweeps.
    stop: CancellationToken,
    /// Everything in hand ends now.
    abort: CancellationToken,
    /// The looks, the heartbeat and what else runs beside the lanes.
    background: TaskTracker,
    end: CancellationToken,
}

impl Pipeline {
    /// On the runtime that calls this.
    pub fn start(mut deps: Deps) -> Self {
        for key in &mut deps.keys {
            key.client = key.budget.watch(key.client.clone());
        }
        let deps = Arc::new(deps);
        let (stop, abort, end) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let background = TaskTracker::new();
        let replicas = deps.replicas.subscribe();
        let mapping = Arc::new(mapping::Mapping::new(deps.cache_capacity));
        let discoveries: Vec<_> =
            (0..deps.keys.len()).map(|key| discovery::Discovery::new(&deps, &mapping, key)).collect();
        for discovery in &discoveries {
            let discovery = discovery.clone();
            background.spawn(stop.clone().run_until_cancelled_owned(async move { discovery.run().await }));
        }
        let (wake_turns, wake_deliveries) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let turns = turn::Turns::new(&deps, mapping, discoveries, &wake_turns);
        let deliveries = delivery::Deliveries::new(&deps, &wake_deliveries);
        let store = deps.store.clone();
        let pools = Pools {
            turns: Arc::new(Pool::new(turns, store.clone(), wake_turns, abort.clone())),
            deliveries: Arc::new(Pool::new(deliveries, store.clone(), wake_deliveries, abort.clone())),
        };
        let (current, membership) = watch::channel(Membership::new());
        pools.start(&membership, &background);
        let (turns, deliveries) = (Arc::downgrade(&pools.turns), Arc::downgrade(&pools.deliveries));
        let waiters = deps.waiters.clone();
        let runtime = Handle::current();
        let dispatcher = move |membership| -> Arc<dyn Dispatcher> {
            let (turns, deliveries) = (turns.clone(), deliveries.clone());
            Arc::new(StoreDispatcher {
                runtime: runtime.clone(),
                membership,
                waiters: waiters.clone(),
                turns,
                deliveries,
            })
        };
        let heartbeat = membership::keep_alive(store.clone(), current, deps.replicas.clone(), dispatcher);
        background.spawn(end.clone().run_until_cancelled_owned(heartbeat));
        background.spawn(end.clone().run_until_cancelled_owned(rate_limit::keep_pauses(deps.clone())));
        if store.is_shared() {
            let waiters = deps.waiters.clone();
            let watch = {
                let store = store.clone();
                async move { waiters.watch(store).await }
            };
            background.spawn(end.clone().run_until_cancelled_owned(watch));
        }
        Self { store, pools, membership, replicas, stop, abort, background, end }
    }

    /// The name that this process's leases carry now.
    pub fn owner(&self) -> Owner {
        self.membership.borrow().owner.clone()
    }

    /// No new turns; waits until those in hand have ended and what they answered is delivered, at most so long. What has
    /// not ended by then is taken up again after the next start. True: all ended.
    pub async fn drain(&self, at_most: Duration) -> bool {
        self.stop.cancel();
        let until = Instant::now() + at_most;
        let replicas = *self.replicas.borrow();
        let ended = timeout_at(until, self.pools.drain(replicas)).await.is_ok();
        self.abort.cancel();
        let _ = timeout(ABORTED_WITHIN, self.pools.stop()).await;
        ended
    }

    /// After the last commit of this process: its leases are everybody's.
    pub async fn leave(self) {
        self.end.cancel();
        self.background.close();
        let _ = timeout(ABORTED_WITHIN, self.background.wait()).await;
        self.store.announce_shutdown(&self.owner()).await;
    }
}
