//! The shared store: one PostgreSQL for many equal replicas.
//!
//! `address`, `tls` and `link` know how to reach it, `open` and `older_replicas` what must hold before it is used,
//! `core` how a transaction runs, `tx` and `values` what it is, `batch`, `intake` and `messages` the group commit of
//! what comes in, `lanes` the rows that everybody locks first, `floors` where looks begin, `replicas` who is alive,
//! `notify` how replicas tell each other. The steps are those of [`super::sql`].
//! `docs/decisions/0002-shared-store.md` says why.
//!
//! Replicas meet in row locks: every write in a lane takes the lane's row first. All time is the database's.

mod address;
mod batch;
mod core;
mod floors;
mod intake;
mod lanes;
mod link;
mod messages;
mod notify;
mod older_replicas;
mod open;
mod replicas;
mod tls;
mod tx;
mod values;

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use tokio_util::task::AbortOnDropHandle;

pub use self::address::{check, is_unverified};
use self::batch::Batches;
use self::core::Core;
use self::lanes::Look;
pub use self::link::FEWEST_CONNECTIONS;
use self::link::{Connector, Pool, Sizes};
pub use self::older_replicas::OlderReplica;
pub use self::open::OpenError;
use self::tx::Statements;
use super::sql::Tx as _;
use super::sql::methods::impl_steps;
use super::sql::wakeups::Joined;
use super::{
    Accepted, Dispatcher, Due, Heartbeat, Inbox, Lease, LeaseRequest, Leases, Mode, NewItem, Next, Replica, Result,
    StoreError, WorkKind,
};
use crate::domain::id::{ChannelName, DeliveryKey, Owner};
use crate::domain::message::{ReportOutcome, Reported};
use crate::domain::secret::Secret;

/// Gives the URL as it is now: the password of a new connection is the one of that moment.
pub type Source = Arc<dyn Fn() -> Secret + Send + Sync>;

pub struct Postgres {
    core: Arc<Core>,
    batches: Batches,
    _background: Vec<AbortOnDropHandle<()>>,
}

impl Postgres {
    /// As [`Mode::Serve`] it opens also while the database is away: everything is then
    /// [`StoreError::Unavailable`] until it could be reached. An error is one that waiting doesn't mend.
    pub async fn open(source: Source, mode: Mode) -> Result<Arc<Self>, OpenError> {
        Self::open_with(source, mode, super::Config::default().connections).await
    }

    /// With so many connections at most.
    pub async fn open_with(source: Source, mode: Mode, connections: u32) -> Result<Arc<Self>, OpenError> {
        let connector = Arc::new(Connector::new(source)?);
        let listener = usize::from(mode == Mode::Serve && !connector.pooled());
        let sizes = Sizes::of(connections, listener);
        let first = Pool::new(&connector, sizes)?;
        let statements = if connector.pooled() { Statements::Unnamed } else { Statements::Prepared };
        let core = Arc::new(Core::new(first.unreserved(sizes), first, statements));
        let mut background = Vec::new();
        match core.prepare(mode).await {
            Ok(()) => {}
            Err(error) if mode == Mode::Serve && error.passes() => {
                let core = Arc::clone(&core);
                background.push(tokio::spawn(async move { core.keep_preparing().await }));
            }
            Err(error) => return Err(error),
        }
        if mode == Mode::Serve {
            let keeper = Arc::clone(&core);
            background.push(tokio::spawn(async move { keeper.keep_time().await }));
            background.push(tokio::spawn(notify::keep_telling(Arc::clone(&core))));
            if !connector.pooled() {
                background.push(tokio::spawn(notify::listen(Arc::clone(&core), connector)));
            }
        }
        let batches = Batches::start(Arc::clone(&core), sizes.reserved);
        let background = background.into_iter().map(AbortOnDropHandle::new).collect();
        Ok(Arc::new(Self { core, batches, _background: background }))
    }

    async fn message_by_key(&self, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>> {
        self.core.read(|tx| intake::find(tx, channel, key).boxed()).await
    }

    /// What was removed from the rows is the database's to remove from its files.
    async fn erase(&self, _: &Removed) -> Result<()> {
        Ok(())
    }
}

macro_rules! by_step {
    ($how:ident, $self:ident, $tx:ident, [$($arg:ident),*], $step:expr) => {
        $self.core.$how(|$tx| $step.boxed()).await
    };
}
impl_steps!(Postgres, by_step);

impl Drop for Postgres {
    fn drop(&mut self) {
        self.core.close();
    }
}

#[async_trait]
impl Replica for Postgres {
    async fn installation_key(&self) -> Result<[u8; 32]> {
        self.core.installation_key()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn probe(&self) -> Result<()> {
        self.core.read(|tx| probe(tx).boxed()).await
    }

    fn join(&self, owner: &Owner, dispatcher: Arc<dyn Dispatcher>) {
        self.core.membership.join(Joined { owner: owner.clone(), dispatcher });
    }

    async fn heartbeat(&self, owner: &Owner) -> Result<Heartbeat> {
        replicas::heartbeat(&self.core, owner).await
    }

    async fn announce_shutdown(&self, owner: &Owner) {
        replicas::announce_shutdown(&self.core, owner).await;
    }
}

/// It tells the time, too: a step of the clock is noticed where nothing else happens.
async fn probe(tx: &tx::Tx<'_>) -> Result<()> {
    tx.tell_time().await?;
    let read_only = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'";
    let read_only = tx.one(read_only, tx::params![], |row| tx::get::<bool>(row, 0)).await?;
    if read_only == Some(false) { Ok(()) } else { Err(StoreError::Unavailable("it can only be read".to_owned())) }
}

#[async_trait]
impl Inbox for Postgres {
    async fn accept(&self, items: Vec<NewItem>) -> Result<Vec<Accepted>> {
        self.batches.accept(items).await
    }

    async fn known_parts(&self, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>> {
        self.core.read(|tx| outbox::known_parts(tx, channel, of).boxed()).await
    }

    async fn apply_report(&self, channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> Result<bool> {
        self.core.write(|tx| outbox::apply_report(tx, channel, of, outcome).boxed()).await
    }
}

#[async_trait]
impl Leases for Postgres {
    async fn lease(&self, work: WorkKind, owner: &Owner, requests: &[LeaseRequest]) -> Result<Due> {
        let channels = requests.iter().flat_map(|request| &request.channels);
        let from = channels.map(|channel| (channel.clone(), self.core.floors.of(work, channel))).collect();
        let look = &Look { work, owner, requests, from };
        let seen = self.core.write_first(|tx| lanes::lease(tx, look).boxed()).await?;
        self.core.floors.looked(work, &look.from, seen.first);
        Ok(seen.due)
    }

    async fn release(&self, lease: &Lease, next: Next) -> Result<()> {
        self.core.write(|tx| leases::release(tx, lease, next).boxed()).await
    }
}
