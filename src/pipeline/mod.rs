//! The inbox (events → store), and the workers: turns (store → Fini → outbox) and deliveries (outbox → platform).
//! Knows nothing of HTTP servers.

pub mod channel;
mod delivery;
mod discovery;
mod dispatch;
mod doubt;
mod gate;
pub mod inbox;
mod lookup;
mod mapping;
mod people;
mod plan;
pub mod rate_limit;
pub mod retry;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::clock::Clock;
use crate::domain::id::{ChannelName, Owner};
use crate::fini;
use crate::store::Store;
use crate::telemetry::Metrics;
use channel::Channel;
use rate_limit::CallBudget;

pub use delivery::DELIVERIES_AT_ONCE;

/// A Fini key with its client and limits; several channels may share it.
pub struct FiniKey {
    pub client: fini::Client,
    pub settle: Duration,
    pub max_in_flight: usize,
    /// `fini.rate`
    pub budget: CallBudget,
}

/// What the workers live on.
pub struct Foundation {
    pub store: Arc<dyn Store>,
    pub channels: BTreeMap<ChannelName, Arc<Channel>>,
    pub keys: Vec<FiniKey>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Names this process in leases.
    pub owner: Owner,
    /// See [`Store::installation_key`].
    pub installation_key: [u8; 32],
    pub cache_capacity: u64,
}

/// How long a lease holds without being renewed: a dead replica's lanes are free after this.
const LEASE: Duration = Duration::from_secs(9);

/// The running workers.
pub struct Pipeline {
    /// No new turns, deliveries or sweeps.
    stop: CancellationToken,
    /// Everything ends now.
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Pipeline {
    pub fn start(foundation: Foundation) -> Self {
        let foundation = Arc::new(foundation);
        let (stop, abort, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let discoveries = discovery::start(&foundation, &tasks, &stop);
        let turns = Arc::new(turn::Turns::new(foundation.clone(), discoveries, stop.clone()));
        let deliveries = Arc::new(delivery::Deliveries::new(foundation.clone(), stop.clone()));
        let leasing = dispatch::Leasing {
            store: foundation.store.clone(),
            owner: foundation.owner.clone(),
            ttl: LEASE,
            stop: stop.clone(),
            abort: abort.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(dispatch::run(turns, leasing.clone()));
        tasks.spawn(dispatch::run(deliveries, leasing));
        Self { stop, abort, tasks }
    }

    /// No new work; waits until what is in hand has ended, at most so long. What has not ended by then is
    /// taken up again after the next start. True: all ended.
    pub async fn drain(&self, at_most: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(at_most, self.tasks.wait()).await.is_ok();
        self.abort.cancel();
        // Aborted tasks still want a moment to give up their connections.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
        ended
    }
}
