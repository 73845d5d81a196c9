//! The embedded store: one SQLite file, written by one process through one thread.
//!
//! `open` knows the file and its lock, `writer` the group commit, `readers` and `checkpoint` the other connections,
//! `owners` and `numbers` what one process may know by heart. The steps are those of [`super::sql`].
//! `docs/decisions/0001-embedded-store.md` says why.

mod checkpoint;
mod intake;
mod lanes;
mod numbers;
mod open;
mod owners;
mod readers;
mod scrub;
#[cfg(test)]
mod tests;
mod tx;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use self::checkpoint::Checkpointer;
use self::numbers::Numbers;
pub use self::open::OpenError;
use self::open::Opener;
use self::readers::Readers;
use self::tx::{Shared, SqliteTx, failed, run};
use self::writer::Writer;
pub use super::Mode;
use super::budgets::{Grant, Spending};
use super::retention::ROWS_AT_ONCE;
use super::sql::wakeups::Joined;
use super::sql::{budgets, conversations, leases, outbox, queries, responses, retention, retry, turns};
use super::{
    ACCEPTED_WITHIN, Accepted, Admission, Adopted, AfterSend, AfterTurn, AnswerPart, Budgets, Call, Conversation,
    Conversations, Discarded, Dispatcher, Due, Filter, Heartbeat, Inbox, LaneState, LaneView, Lease, LeaseRequest,
    Leases, LookupNote, MessageDetails, NewItem, Next, Operations, Outbox, PendingPart, Removed, Replica, Responses,
    Result, Retention, Retried, SendEnd, Stats, StoreError, Turn, TurnEnd, Turns, WorkKind, not_in_time,
};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{ChannelName, DeliveryKey, InteractionId, LaneId, MessageId, Owner, PartId, TurnId};
use crate::domain::message::{Address, ReportOutcome, Reported};

pub struct Sqlite {
    writer: Writer,
    readers: Readers,
    shared: Arc<Shared>,
    _checkpoints: Option<Checkpointer>,
    /// False: what was removed from the rows may still stand in the file or its log.
    is_clean: AtomicBool,
    installation_key: [u8; 32],
}

impl Sqlite {
    /// Opens the store. As [`Mode::Serve`], leases of earlier processes are void from here on.
    pub async fn open(path: &Path, mode: Mode, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        let path = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(&path, mode, clock));
        match opening.await {
            Ok(opened) => opened.map(Arc::new),
            Err(error) => Err(OpenError::File { path: Path::new("").to_owned(), source: std::io::Error::other(error) }),
        }
    }

    fn open_blocking(path: &Path, mode: Mode, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let opener = Arc::new(Opener::new(path, mode)?);
        let mut connection = opener.writer().map_err(|e| opener.failed(e))?;
        let installation_key = opener.prepare(&mut connection, mode)?;
        let numbers = Numbers::read(&connection).map_err(|e| opener.failed(e))?;
        let last_fence = getrandom::u32().map_err(|_| OpenError::Random)?;
        let shared = Arc::new(Shared::new(numbers, last_fence));
        let commits = Arc::new(AtomicU64::new(0));
        let checkpoints = match mode {
            Mode::Serve => {
                connection = opener.vacuum_once(connection)?;
                checkpoint::whole(&connection);
                let recovered = lanes::recover(&SqliteTx::new(&connection, clock.now(), &shared));
                recovered.map_err(|e| opener.io(std::io::Error::other(e)))?;
                let started = Checkpointer::start(Arc::clone(&opener), Arc::clone(&commits));
                Some(started.map_err(|e| opener.io(e))?)
            }
            Mode::Tool => None,
        };
        let readers = Readers::new(Arc::clone(&opener), Arc::clone(&clock), Arc::clone(&shared));
        let writer = Writer::start(Some(connection), Arc::clone(&opener), clock, Arc::clone(&shared), commits)
            .map_err(|e| opener.io(e))?;
        let is_clean = AtomicBool::new(true);
        Ok(Self { writer, readers, shared, _checkpoints: checkpoints, is_clean, installation_key })
    }

    async fn write<T: Send + 'static>(&self, work: impl Fn(&SqliteTx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.writer.write(work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SqliteTx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.read(work).await
    }

    async fn expire(&self, retention: Arc<Retention>) -> Result<u64> {
        loop {
            let retention = Arc::clone(&retention);
            if self.write(move |tx| run(retention::mark_dormant(tx, &retention))).await? < ROWS {
                break;
            }
        }
        let (mut expired, mut behind) = (0, LaneId(0));
        loop {
            let some = Arc::clone(&retention);
            let lanes = self.read(move |tx| run(retention::expiring(tx, &some, behind))).await?;
            let Some(last) = lanes.last() else { return Ok(expired) };
            behind = *last;
            for lane in lanes {
                loop {
                    let retention = Arc::clone(&retention);
                    let ended = self.write(move |tx| run(retention::expire(tx, &retention, lane))).await?;
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
            let some = self.write(move |tx| run(retention::prune_messages(tx, keep))).await?;
            pruned += some;
            if some < ROWS {
                break;
            }
        }
        while self.write(move |tx| run(retention::prune_turns(tx, keep))).await? == ROWS {}
        Ok(pruned)
    }

    async fn forget(&self, forget: Duration) -> Result<u64> {
        let (mut forgotten, mut next) = (0, Some(0));
        while let Some(behind) = next {
            let step = self.write(move |tx| {
                tx.numbers().keep(tx.conn).map_err(failed)?;
                run(retention::forget_messages(tx, forget, behind))
            });
            let step = step.await?;
            forgotten += step.forgotten;
            next = step.behind;
        }
        let mut behind = LaneId(0);
        loop {
            let lanes = self.read(move |tx| run(retention::empty_lanes(tx, forget, behind))).await?;
            let Some(last) = lanes.last() else { return Ok(forgotten) };
            behind = *last;
            self.write(move |tx| run(retention::forget_lanes(tx, &lanes))).await?;
        }
    }

    async fn scrub(&self) -> Result<()> {
        if !self.read(scrub::is_possible).await? {
            tracing::warn!(
                "copies of removed text may stay in the store's file: SQLite was built without SQLITE_ENABLE_DBPAGE_VTAB"
            );
            return Ok(());
        }
        let mut from = 1;
        while from <= self.read(scrub::pages).await? {
            let dirty = self.read(move |tx| scrub::dirty(tx, from)).await?;
            for some in dirty.chunks(scrub::WRITTEN_AT_ONCE) {
                let some = some.to_vec();
                self.write(move |tx| scrub::clean(tx, &some)).await?;
            }
            from += scrub::LOOKED_AT_ONCE;
        }
        Ok(())
    }
}

const ROWS: u64 = ROWS_AT_ONCE as u64;

#[async_trait]
impl Replica for Sqlite {
    async fn installation_key(&self) -> Result<[u8; 32]> {
        Ok(self.installation_key)
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.write(|tx| tx.run(&open::PROBE, &[]).map(|_| ())).await?;
        if self.writer.failed_within(Duration::from_secs(2)) {
            return Err(StoreError::Unavailable("something could not be written a moment ago".to_owned()));
        }
        Ok(())
    }

    fn join(&self, owner: &Owner, dispatcher: Arc<dyn Dispatcher>) {
        let _ = self.shared.joined.set(Arc::new(Joined { owner: owner.clone(), dispatcher }));
    }

    /// The lock on the file is what says so.
    async fn heartbeat(&self, _: &Owner) -> Result<Heartbeat> {
        Ok(Heartbeat::Alive { replicas: 1 })
    }

    /// The next start finds what is left.
    async fn announce_shutdown(&self, _: &Owner) {}
}

#[async_trait]
impl Inbox for Sqlite {
    async fn accept(&self, items: Vec<NewItem>) -> Result<Vec<Accepted>> {
        let written = self.write(move |tx| intake::accept(tx, &items));
        timeout(ACCEPTED_WITHIN, written).await.unwrap_or_else(|_| Err(not_in_time()))
    }

    async fn known_parts(&self, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>> {
        let (channel, of) = (channel.clone(), of.to_vec());
        self.read(move |tx| run(outbox::known_parts(tx, &channel, &of))).await
    }

    async fn apply_report(&self, channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> Result<bool> {
        let (channel, of, outcome) = (channel.clone(), of.clone(), outcome.clone());
        self.write(move |tx| run(outbox::apply_report(tx, &channel, &of, &outcome))).await
    }
}

#[async_trait]
impl Leases for Sqlite {
    async fn lease(&self, work: WorkKind, owner: &Owner, requests: &[LeaseRequest]) -> Result<Due> {
        let (owner, requests) = (owner.clone(), requests.to_vec());
        self.write(move |tx| lanes::lease(tx, work, &owner, &requests)).await
    }

    async fn release(&self, lease: &Lease, next: Next) -> Result<()> {
        let lease = lease.clone();
        self.write(move |tx| run(leases::release(tx, &lease, next))).await
    }
}

#[async_trait]
impl Turns for Sqlite {
    async fn lane_view(&self, lease: &Lease) -> Result<LaneView> {
        let lease = lease.clone();
        self.read(move |tx| run(turns::lane_view(tx, &lease))).await
    }

    async fn begin_call(&self, lease: &Lease, turn: &Arc<Turn>, call: &Call) -> Result<Admission> {
        let (lease, turn, call) = (lease.clone(), Arc::clone(turn), call.clone());
        self.write(move |tx| run(turns::begin_call(tx, &lease, &turn, &call))).await
    }

    async fn reopen(&self, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()> {
        let (lease, reason) = (lease.clone(), reason.to_owned());
        self.write(move |tx| run(turns::reopen(tx, &lease, turn, after, &reason))).await
    }

    async fn mark_unknown(
        &self,
        lease: &Lease,
        turn: TurnId,
        note: LookupNote,
        after: Duration,
        reason: &str,
    ) -> Result<()> {
        let (lease, reason) = (lease.clone(), reason.to_owned());
        self.write(move |tx| run(turns::mark_unknown(tx, &lease, turn, note, after, &reason))).await
    }

    async fn finish_turn(&self, lease: &Lease, end: &Arc<TurnEnd>, after: AfterTurn) -> Result<Option<Box<LaneView>>> {
        let (lease, end) = (lease.clone(), Arc::clone(end));
        self.write(move |tx| run(turns::finish_turn(tx, &lease, &end, after))).await
    }
}

#[async_trait]
impl Conversations for Sqlite {
    async fn conversation(&self, lane: LaneId, generation: u32) -> Result<Option<Conversation>> {
        self.read(move |tx| run(conversations::get(tx, lane, generation))).await
    }

    async fn adopt(&self, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted> {
        let id = id.clone();
        self.write(move |tx| run(conversations::adopt(tx, lane, generation, &id))).await
    }
}

#[async_trait]
impl Outbox for Sqlite {
    async fn pending_parts(&self, lease: &Lease) -> Result<(Timestamp, Vec<PendingPart>)> {
        let lease = lease.clone();
        self.read(move |tx| run(outbox::pending_parts(tx, &lease))).await
    }

    async fn begin_send(&self, lease: &Lease, part: PartId) -> Result<()> {
        let lease = lease.clone();
        self.write(move |tx| run(outbox::begin_send(tx, &lease, part))).await?
    }

    async fn finish_send(&self, lease: &Lease, part: PartId, end: &SendEnd, after: AfterSend) -> Result<LaneState> {
        let (lease, end) = (lease.clone(), end.clone());
        self.write(move |tx| run(outbox::finish_send(tx, &lease, part, &end, after))).await
    }

    async fn moved(&self, lease: &Lease, part: PartId, address: &Address) -> Result<()> {
        let (lease, address) = (lease.clone(), address.clone());
        self.write(move |tx| run(outbox::moved(tx, &lease, part, &address))).await
    }
}

#[async_trait]
impl Responses for Sqlite {
    async fn have_ended(&self, messages: &[MessageId]) -> Result<Vec<MessageId>> {
        let messages = messages.to_vec();
        self.read(move |tx| run(responses::have_ended(tx, &messages))).await
    }

    async fn claim_response(&self, message: MessageId) -> Result<Option<Vec<AnswerPart>>> {
        self.write(move |tx| run(responses::claim(tx, message))).await
    }

    async fn response_sent(&self, message: MessageId) -> Result<()> {
        self.write(move |tx| run(responses::sent(tx, message))).await
    }

    async fn release_response(&self, message: MessageId) -> Result<()> {
        self.write(move |tx| run(responses::release(tx, message))).await
    }
}

#[async_trait]
impl Operations for Sqlite {
    async fn list(&self, filter: &Filter) -> Result<Vec<MessageDetails>> {
        let filter = filter.clone();
        self.read(move |tx| run(queries::list(tx, &filter))).await
    }

    async fn details(&self, message: MessageId) -> Result<Option<MessageDetails>> {
        self.read(move |tx| run(queries::details(tx, message))).await
    }

    async fn find(&self, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>> {
        let (channel, key) = (channel.clone(), key.clone());
        self.read(move |tx| intake::find(tx, channel.as_str(), key.as_str())).await
    }

    async fn retry(&self, message: MessageId) -> Result<Retried> {
        self.write(move |tx| run(retry::retry(tx, message))).await
    }

    async fn discard(&self, message: MessageId) -> Result<Discarded> {
        self.write(move |tx| run(retry::discard(tx, message))).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.read(|tx| run(queries::stats(tx))).await
    }

    async fn enforce_retention(&self, retention: &Retention) -> Result<Removed> {
        let expired = self.expire(Arc::new(retention.clone())).await?;
        let pruned = self.prune(retention.keep).await?;
        let forgotten = self.forget(retention.forget).await?;
        if pruned + forgotten > 0 || !self.is_clean.load(Ordering::Relaxed) {
            self.is_clean.store(false, Ordering::Relaxed);
            self.scrub().await?;
            self.writer.truncate_log().await?;
            self.is_clean.store(true, Ordering::Relaxed);
        }
        Ok(Removed { expired, pruned, forgotten })
    }
}

#[async_trait]
impl Budgets for Sqlite {
    async fn spend(&self, spending: &Spending) -> Result<Vec<Grant>> {
        let spending = spending.clone();
        self.write(move |tx| run(budgets::spend(tx, &spending))).await
    }
}
