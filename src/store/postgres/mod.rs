//! The shared store: one PostgreSQL for many equal replicas.
//!
//! `address`, `tls` and `link` know how to reach it, `open` and `older_replicas` what must hold before it is used, `core` how a
//! transaction runs, `tx` and `values` what it is, `batch`, `intake` and `messages` the group commit of what comes in,
//! `lanes` the rows that everybody locks first, `floors` where looks begin, `replicas` who is alive, `notify` how replicas tell each other. The
//! steps are those of [`super::sql`]. `docs/decisions/0002-shared-store.md` says why.
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
use std::time::Duration;

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
use super::budgets::{Grant, Spending};
use super::retention::ROWS_AT_ONCE;
use super::sql::wakeups::Joined;
use super::sql::{Tx as _, budgets, conversations, leases, outbox, queries, responses, retention, retry, turns};
use super::{
    Accepted, Admission, Adopted, AfterSend, AfterTurn, AnswerPart, Budgets, Call, Conversation, Conversations,
    Discarded, Dispatcher, Due, Filter, Heartbeat, Inbox, LaneState, LaneView, Lease, LeaseRequest, Leases, LookupNote,
    MessageDetails, Mode, NewItem, Next, Operations, Outbox, PendingPart, Removed, Replica, Responses, Result,
    Retention, Retried, SendEnd, Stats, StoreError, Turn, TurnEnd, Turns, WorkKind,
};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, DeliveryKey, InteractionId, LaneId, MessageId, Owner, PartId, TurnId};
use crate::domain::message::{Address, ReportOutcome, Reported};
use crate::domain::secret::Secret;

const ROWS: u64 = ROWS_AT_ONCE as u64;

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
            let some = self.core.write(|tx| retention::prune_messages(tx, keep).boxed()).await?;
            pruned += some;
            if some < ROWS {
                break;
            }
        }
        while self.core.write(|tx| retention::prune_turns(tx, keep).boxed()).await? == ROWS {}
        Ok(pruned)
    }

    async fn forget(&self, forget: Duration) -> Result<u64> {
        let (mut forgotten, mut next) = (0, Some(0));
        while let Some(behind) = next {
            let step = self.core.write(|tx| retention::forget_messages(tx, forget, behind).boxed()).await?;
            forgotten += step.forgotten;
            next = step.behind;
        }
        let mut behind = LaneId(0);
        loop {
            let empty = self.core.read(|tx| retention::empty_lanes(tx, forget, behind).boxed()).await?;
            let Some(last) = empty.last() else { return Ok(forgotten) };
            behind = *last;
            let empty = empty.as_slice();
            self.core.write(|tx| retention::forget_lanes(tx, empty).boxed()).await?;
        }
    }
}

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

#[async_trait]
impl Turns for Postgres {
    async fn lane_view(&self, lease: &Lease) -> Result<LaneView> {
        self.core.read(|tx| turns::lane_view(tx, lease).boxed()).await
    }

    async fn begin_call(&self, lease: &Lease, turn: &Arc<Turn>, call: &Call) -> Result<Admission> {
        self.core.write(|tx| turns::begin_call(tx, lease, turn, call).boxed()).await
    }

    async fn reopen(&self, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()> {
        self.core.write(|tx| turns::reopen(tx, lease, turn, after, reason).boxed()).await
    }

    async fn mark_unknown(
        &self,
        lease: &Lease,
        turn: TurnId,
        note: LookupNote,
        after: Duration,
        reason: &str,
    ) -> Result<()> {
        self.core.write(|tx| turns::mark_unknown(tx, lease, turn, note, after, reason).boxed()).await
    }

    async fn finish_turn(&self, lease: &Lease, end: &Arc<TurnEnd>, after: AfterTurn) -> Result<Option<Box<LaneView>>> {
        self.core.write(|tx| turns::finish_turn(tx, lease, end, after).boxed()).await
    }
}

#[async_trait]
impl Conversations for Postgres {
    async fn conversation(&self, lane: LaneId, generation: u32) -> Result<Option<Conversation>> {
        self.core.read(|tx| conversations::get(tx, lane, generation).boxed()).await
    }

    async fn adopt(&self, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted> {
        self.core.write(|tx| conversations::adopt(tx, lane, generation, id).boxed()).await
    }
}

#[async_trait]
impl Outbox for Postgres {
    async fn pending_parts(&self, lease: &Lease) -> Result<(Timestamp, Vec<PendingPart>)> {
        self.core.read(|tx| outbox::pending_parts(tx, lease).boxed()).await
    }

    async fn begin_send(&self, lease: &Lease, part: PartId) -> Result<()> {
        self.core.write(|tx| outbox::begin_send(tx, lease, part).boxed()).await?
    }

    async fn finish_send(&self, lease: &Lease, part: PartId, end: &SendEnd, after: AfterSend) -> Result<LaneState> {
        self.core.write(|tx| outbox::finish_send(tx, lease, part, end, after).boxed()).await
    }

    async fn moved(&self, lease: &Lease, part: PartId, address: &Address) -> Result<()> {
        self.core.write(|tx| outbox::moved(tx, lease, part, address).boxed()).await
    }
}

#[async_trait]
impl Responses for Postgres {
    async fn have_ended(&self, messages: &[MessageId]) -> Result<Vec<MessageId>> {
        self.core.read(|tx| responses::have_ended(tx, messages).boxed()).await
    }

    async fn claim_response(&self, message: MessageId) -> Result<Option<Vec<AnswerPart>>> {
        self.core.write(|tx| responses::claim(tx, message).boxed()).await
    }

    async fn response_sent(&self, message: MessageId) -> Result<()> {
        self.core.write(|tx| responses::sent(tx, message).boxed()).await
    }

    async fn release_response(&self, message: MessageId) -> Result<()> {
        self.core.write(|tx| responses::release(tx, message).boxed()).await
    }
}

#[async_trait]
impl Operations for Postgres {
    async fn list(&self, filter: &Filter) -> Result<Vec<MessageDetails>> {
        self.core.read(|tx| queries::list(tx, filter).boxed()).await
    }

    async fn details(&self, message: MessageId) -> Result<Option<MessageDetails>> {
        self.core.read(|tx| queries::details(tx, message).boxed()).await
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
        self.core.read(|tx| queries::stats(tx).boxed()).await
    }

    async fn enforce_retention(&self, retention: &Retention) -> Result<Removed> {
        Ok(Removed {
            expired: self.expire(retention).await?,
            pruned: self.prune(retention.keep).await?,
            forgotten: self.forget(retention.forget).await?,
        })
    }
}

#[async_trait]
impl Budgets for Postgres {
    async fn spend(&self, spending: &Spending) -> Result<Vec<Grant>> {
        self.core.write(|tx| budgets::spend(tx, spending).boxed()).await
    }
}
