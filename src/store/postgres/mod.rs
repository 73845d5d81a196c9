//! The shared store: one PostgreSQL for many equal replicas.
//!
//! `address`, `tls` and `link` know how to reach it, `open` what must hold before it is used, `core` how a
//! transaction runs, `batch` the group commit of what comes in, `bells` how replicas tell each other; the rest
//! is the SQL of each part of the trait. `docs/decisions/0002-shared-store.md` says why.
//!
//! Replicas meet in row locks: every write in a lane takes the lane's row of `schedule` first, that of its
//! turns before that of its deliveries. All time is the database's.

mod address;
mod answers;
mod batch;
mod bells;
mod budgets;
mod conversations;
mod core;
mod deliveries;
mod intake;
mod lanes;
mod link;
mod looking;
mod older_replicas;
mod open;
mod retention;
mod retry;
mod tls;
mod turns;
mod tx;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio_util::task::AbortOnDropHandle;

pub use self::address::{check, is_unverified};
use self::batch::Batches;
use self::core::Core;
pub use self::link::FEWEST_CONNECTIONS;
use self::link::{Connector, Pool, Sizes};
pub use self::older_replicas::OlderReplica;
pub use self::open::OpenError;
use super::budgets::{Budgets, Grant, Spending};
use super::{
    Accepted, Admission, Adopted, AnswerPart, AnswerState, Asking, Bells, Conversation, Discarded, Doubt, Filter,
    LaneView, Lease, Mode, NewItem, Next, Outgoing, Removed, Renewed, Result, Retention, Retried, SendEnd, Stats,
    Store, StoreError, Story, TurnEnd, Want, Work,
};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, DeliveryKey, InteractionId, LaneId, MessageId, Owner, PartId, TurnId};
use crate::domain::message::{Address, ReportOutcome, Reported};
use crate::domain::secret::Secret;

const ROWS: u64 = super::retention::ROWS_AT_ONCE as u64;

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
        let core = Arc::new(Core::new(first.unreserved(sizes), first));
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
            background.push(tokio::spawn(bells::tell(Arc::clone(&core.belfry), core.pool.clone())));
            if !connector.pooled() {
                background.push(tokio::spawn(bells::listen(Arc::clone(&core.belfry), connector)));
            }
        }
        let batches = Batches::start(Arc::clone(&core), sizes.reserved);
        let background = background.into_iter().map(AbortOnDropHandle::new).collect();
        Ok(Arc::new(Self { core, batches, _background: background }))
    }
}

impl Postgres {
    async fn expire(&self, retention: &Retention) -> Result<u64> {
        while self.core.write(|tx| retention::mark_dormant(tx, retention).boxed()).await? == ROWS {}
        let (mut expired, mut behind) = (0, LaneId(0));
        loop {
            let lanes = self.core.read(|tx| retention::expiring(tx, retention, behind).boxed()).await?;
            let Some(last) = lanes.last() else { return Ok(expired) };
            behind = *last;
            for lane in lanes {
                loop {
                    let ended = self.core.write(|tx| retention::expire(tx, retention, lane).boxed()).await?;
                    expired += ended;
                    if ended < ROWS {
                        break;
                    }
                }
            }
        }
    }

    async fn prune(&self, keep: Duration) -> Result<u64> {
        let mut pruned = 0;
        loop {
            let some = self.core.write(|tx| retention::prune_messages(tx, tx.now.minus(keep)).boxed()).await?;
            pruned += some;
            if some < ROWS {
                break;
            }
        }
        while self.core.write(|tx| retention::prune_turns(tx, tx.now.minus(keep)).boxed()).await? == ROWS {}
        Ok(pruned)
    }

    async fn forget(&self, forget: Duration) -> Result<u64> {
        let (mut forgotten, mut next) = (0, Some(0));
        while let Some(behind) = next {
            let step = self.core.write(|tx| retention::forget_messages(tx, tx.now.minus(forget), behind).boxed());
            let step = step.await?;
            forgotten += step.forgotten;
            next = step.behind;
        }
        let mut behind = LaneId(0);
        loop {
            let empty = self.core.read(|tx| retention::empty_lanes(tx, tx.now.minus(forget), behind).boxed()).await?;
            let Some(last) = empty.last() else { return Ok(forgotten) };
            behind = *last;
            self.core.write(|tx| retention::forget_lanes(tx, &empty).boxed()).await?;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.core.close();
    }
}

#[async_trait]
impl Budgets for Postgres {
    async fn spend(&self, spending: &Spending) -> Result<Vec<Grant>> {
        self.core.write(|tx| budgets::spend(tx, spending).boxed()).await
    }
}

#[async_trait]
impl Store for Postgres {
    async fn installation_key(&self) -> Result<[u8; 32]> {
        self.core.installation_key()
    }

    fn bells(&self) -> Bells {
        self.core.belfry.bells()
    }

    async fn leave(&self) {
        bells::tell_at_last(&self.core.belfry, &self.core.pool).await;
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn probe(&self) -> Result<()> {
        let read_only = "SELECT pg_catalog.pg_is_in_recovery()
            OR pg_catalog.current_setting('default_transaction_read_only') = 'on'";
        let read_only = self.core.read(|tx| tx.one(read_only, tx::params![], |row| tx::get(row, 0)).boxed()).await?;
        if read_only == Some(false) { Ok(()) } else { Err(StoreError::Unavailable("it can only be read".to_owned())) }
    }

    async fn accept(&self, items: Vec<NewItem>) -> Result<Vec<Accepted>> {
        self.batches.accept(items).await
    }

    async fn lease(&self, work: Work, owner: &Owner, wants: &[Want], ttl: Duration) -> Result<Vec<Lease>> {
        self.core.write_first(|tx| lanes::lease(tx, work, owner, wants, ttl).boxed()).await
    }

    async fn renew(&self, owner: &Owner, leases: &[Lease], ttl: Duration) -> Result<Vec<Renewed>> {
        self.core.write_first(|tx| lanes::renew(tx, owner, leases, ttl).boxed()).await
    }

    async fn release(&self, lease: &Lease, next: Next) -> Result<()> {
        self.core.write(|tx| lanes::release(tx, lease, next).boxed()).await
    }

    async fn next_due(&self, work: Work, channels: &[ChannelName]) -> Result<Option<Duration>> {
        self.core.read(|tx| lanes::next_due(tx, work, channels).boxed()).await
    }

    async fn look(&self, lease: &Lease) -> Result<LaneView> {
        self.core.read(|tx| turns::look(tx, lease).boxed()).await
    }

    async fn asking(&self, lease: &Lease, asking: &Asking) -> Result<Admission> {
        self.core.write(|tx| turns::asking(tx, lease, asking).boxed()).await
    }

    async fn reopen(&self, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()> {
        self.core.write(|tx| turns::reopen(tx, lease, turn, after, reason).boxed()).await
    }

    async fn unknown(&self, lease: &Lease, turn: TurnId, doubt: Doubt, after: Duration, reason: &str) -> Result<()> {
        self.core.write(|tx| turns::unknown(tx, lease, turn, doubt, after, reason).boxed()).await
    }

    async fn end(&self, lease: &Lease, end: &TurnEnd) -> Result<()> {
        self.core.write(|tx| turns::end(tx, lease, end).boxed()).await
    }

    async fn conversation(&self, lane: LaneId, generation: u32) -> Result<Option<Conversation>> {
        self.core.read(|tx| conversations::get(tx, lane, generation).boxed()).await
    }

    async fn adopt(&self, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted> {
        self.core.write(|tx| conversations::adopt(tx, lane, generation, id).boxed()).await
    }

    async fn outgoing(&self, lease: &Lease) -> Result<(Timestamp, Vec<Outgoing>)> {
        self.core.read(|tx| deliveries::outgoing(tx, lease).boxed()).await
    }

    async fn sending(&self, lease: &Lease, part: PartId) -> Result<()> {
        self.core.write(|tx| deliveries::sending(tx, lease, part).boxed()).await?
    }

    async fn sent(&self, lease: &Lease, part: PartId, end: &SendEnd) -> Result<()> {
        self.core.write(|tx| deliveries::sent(tx, lease, part, end).boxed()).await
    }

    async fn moved(&self, lease: &Lease, part: PartId, address: &Address) -> Result<()> {
        self.core.write(|tx| deliveries::moved(tx, lease, part, address).boxed()).await
    }

    async fn known_parts(&self, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>> {
        self.core.read(|tx| deliveries::known_parts(tx, channel, of).boxed()).await
    }

    async fn report(&self, channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> Result<bool> {
        self.core.write(|tx| deliveries::report(tx, channel, of, outcome).boxed()).await
    }

    async fn answer(&self, message: MessageId) -> Result<AnswerState> {
        self.core.read(|tx| answers::answer(tx, message).boxed()).await
    }

    async fn claim_answer(&self, message: MessageId) -> Result<Option<Vec<AnswerPart>>> {
        self.core.write(|tx| answers::claim(tx, message).boxed()).await
    }

    async fn answer_left(&self, message: MessageId) -> Result<()> {
        self.core.write(|tx| answers::left(tx, message).boxed()).await
    }

    async fn stop_waiting(&self, message: MessageId) -> Result<()> {
        self.core.write(|tx| answers::stop_waiting(tx, message).boxed()).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Story>> {
        self.core.read(|tx| looking::list(tx, filter).boxed()).await
    }

    async fn story(&self, message: MessageId) -> Result<Option<Story>> {
        self.core.read(|tx| looking::story(tx, message).boxed()).await
    }

    async fn find(&self, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>> {
        self.core.read(|tx| intake::find(tx, channel, key).boxed()).await
    }

    async fn retry(&self, message: MessageId) -> Result<Retried> {
        self.core.write(|tx| retry::retry(tx, message).boxed()).await
    }

    async fn discard(&self, message: MessageId) -> Result<Discarded> {
        self.core.write(|tx| retry::discard(tx, message).boxed()).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.core.read(|tx| looking::stats(tx).boxed()).await
    }

    async fn enforce_retention(&self, retention: &Retention) -> Result<Removed> {
        Ok(Removed {
            expired: self.expire(retention).await?,
            pruned: self.prune(retention.keep).await?,
            forgotten: self.forget(retention.forget).await?,
        })
    }
}
