//! The embedded store: one SQLite file, written by one process through one thread.
//!
//! `open` knows the file and its lock, `writer` the group commit, `readers` and `checkpoint` the other
//! connections; the rest is the SQL of each part of the trait. `docs/decisions/0001-embedded-store.md` says why.

mod answers;
mod budgets;
mod checkpoint;
mod conversations;
mod deliveries;
mod intake;
mod lanes;
mod looking;
mod open;
mod readers;
mod retention;
mod retry;
mod scrub;
#[cfg(test)]
mod tests;
mod turns;
mod tx;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use self::checkpoint::Checkpointer;
pub use self::open::OpenError;
use self::open::Opener;
use self::readers::Readers;
use self::tx::Tx;
use self::writer::Writer;
pub use super::Mode;
use super::budgets::{Budgets, Grant, Spending};
use super::retention::ROWS_AT_ONCE;
use super::{
    ACCEPTED_WITHIN, Accepted, Admission, Adopted, AnswerPart, AnswerState, Asking, Bells, Conversation, Discarded,
    Doubt, Filter, LaneView, Lease, NewItem, Next, Outgoing, Removed, Renewed, Result, Retention, Retried, SendEnd,
    Stats, Store, StoreError, Story, TurnEnd, Want, Work, not_in_time,
};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{ChannelName, DeliveryKey, InteractionId, LaneId, MessageId, Owner, PartId, TurnId};
use crate::domain::message::{Address, ReportOutcome, Reported};

pub struct Sqlite {
    writer: Writer,
    readers: Readers,
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
        let commits = Arc::new(AtomicU64::new(0));
        let checkpoints = match mode {
            Mode::Serve => {
                connection = opener.vacuum_once(connection)?;
                checkpoint::whole(&connection);
                lanes::void_all(&Tx::new(&connection, clock.now())).map_err(|e| opener.io(std::io::Error::other(e)))?;
                let started = Checkpointer::start(Arc::clone(&opener), Arc::clone(&commits));
                Some(started.map_err(|e| opener.io(e))?)
            }
            Mode::Tool => None,
        };
        let readers = Readers::new(Arc::clone(&opener), Arc::clone(&clock));
        let writer = Writer::start(Some(connection), Arc::clone(&opener), clock, commits).map_err(|e| opener.io(e))?;
        let is_clean = AtomicBool::new(true);
        Ok(Self { writer, readers, _checkpoints: checkpoints, is_clean, installation_key })
    }

    async fn expire(&self, retention: Arc<Retention>) -> Result<u64> {
        let shared = || Arc::clone(&retention);
        loop {
            let retention = shared();
            if self.write(move |tx| retention::mark_dormant(tx, &retention)).await? < ROWS_AT_ONCE {
                break;
            }
        }
        let (mut expired, mut behind) = (0, LaneId(0));
        loop {
            let retention = shared();
            let mut lanes = self.read(move |tx| retention::expiring(tx, &retention, behind)).await?;
            let Some(last) = lanes.last() else { return Ok(expired) };
            behind = *last;
            while !lanes.is_empty() {
                let retention = shared();
                let ended = self.write(move |tx| retention::expire_in(tx, &retention, &lanes)).await?;
                expired += u64::try_from(ended.0).unwrap_or_default();
                lanes = ended.1;
            }
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

    async fn prune(&self, keep: Duration) -> Result<u64> {
        let mut pruned = 0;
        loop {
            let some = self.write(move |tx| retention::prune_messages(tx, tx.now.minus(keep))).await?;
            pruned += u64::try_from(some).unwrap_or_default();
            if some < ROWS_AT_ONCE {
                break;
            }
        }
        while self.write(move |tx| retention::prune_turns(tx, tx.now.minus(keep))).await? == ROWS_AT_ONCE {}
        Ok(pruned)
    }

    async fn forget(&self, forget: Duration) -> Result<u64> {
        let (mut forgotten, mut next) = (0, Some(0));
        while let Some(behind) = next {
            let step = self.write(move |tx| retention::forget_messages(tx, tx.now.minus(forget), behind)).await?;
            forgotten += u64::try_from(step.forgotten).unwrap_or_default();
            next = step.behind;
        }
        let mut behind = LaneId(0);
        loop {
            let lanes = self.read(move |tx| retention::empty_lanes(tx, tx.now.minus(forget), behind)).await?;
            let Some(last) = lanes.last() else { return Ok(forgotten) };
            behind = *last;
            self.write(move |tx| lanes.iter().try_for_each(|lane| retention::forget_lane(tx, *lane))).await?;
        }
    }

    async fn write<T: Send + 'static>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.writer.write(work).await
    }

    async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.readers.read(work).await
    }
}

#[async_trait]
impl Budgets for Sqlite {
    async fn spend(&self, spending: &Spending) -> Result<Vec<Grant>> {
        let spending = spending.clone();
        self.write(move |tx| budgets::spend(tx, &spending)).await
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn installation_key(&self) -> Result<[u8; 32]> {
        Ok(self.installation_key)
    }

    fn bells(&self) -> Bells {
        self.writer.bells()
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.write(|tx| tx.run(open::PROBE, []).map(|_| ())).await?;
        if self.writer.failed_within(Duration::from_secs(2)) {
            return Err(StoreError::Unavailable("something could not be written a moment ago".to_owned()));
        }
        Ok(())
    }

    async fn accept(&self, items: Vec<NewItem>) -> Result<Vec<Accepted>> {
        let written = self.write(move |tx| intake::accept(tx, &items));
        timeout(ACCEPTED_WITHIN, written).await.unwrap_or_else(|_| Err(not_in_time()))
    }

    async fn lease(&self, work: Work, owner: &Owner, wants: &[Want], ttl: Duration) -> Result<Vec<Lease>> {
        let (owner, wants) = (owner.clone(), wants.to_vec());
        self.write(move |tx| lanes::lease(tx, work, &owner, &wants, ttl)).await
    }

    async fn renew(&self, owner: &Owner, leases: &[Lease], ttl: Duration) -> Result<Vec<Renewed>> {
        let (owner, leases) = (owner.clone(), leases.to_vec());
        self.write(move |tx| lanes::renew(tx, &owner, &leases, ttl)).await
    }

    async fn release(&self, lease: &Lease, next: Next) -> Result<()> {
        let lease = lease.clone();
        self.write(move |tx| lanes::release(tx, &lease, next)).await
    }

    async fn next_due(&self, work: Work, channels: &[ChannelName]) -> Result<Option<Duration>> {
        let channels = channels.to_vec();
        self.read(move |tx| lanes::next_due(tx, work, &channels)).await
    }

    async fn look(&self, lease: &Lease) -> Result<LaneView> {
        let lease = lease.clone();
        self.read(move |tx| turns::look(tx, &lease)).await
    }

    async fn asking(&self, lease: &Lease, asking: &Asking) -> Result<Admission> {
        let (lease, asking) = (lease.clone(), asking.clone());
        self.write(move |tx| turns::asking(tx, &lease, &asking)).await
    }

    async fn reopen(&self, lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> Result<()> {
        let (lease, reason) = (lease.clone(), reason.to_owned());
        self.write(move |tx| turns::reopen(tx, &lease, turn, after, &reason)).await
    }

    async fn unknown(&self, lease: &Lease, turn: TurnId, doubt: Doubt, after: Duration, reason: &str) -> Result<()> {
        let (lease, reason) = (lease.clone(), reason.to_owned());
        self.write(move |tx| turns::unknown(tx, &lease, turn, doubt, after, &reason)).await
    }

    async fn end(&self, lease: &Lease, end: &TurnEnd) -> Result<()> {
        let (lease, end) = (lease.clone(), end.clone());
        self.write(move |tx| turns::end(tx, &lease, &end)).await
    }

    async fn conversation(&self, lane: LaneId, generation: u32) -> Result<Option<Conversation>> {
        self.read(move |tx| conversations::get(tx, lane, generation)).await
    }

    async fn adopt(&self, lane: LaneId, generation: u32, id: &InteractionId) -> Result<Adopted> {
        let id = id.clone();
        self.write(move |tx| conversations::adopt(tx, lane, generation, &id)).await
    }

    async fn outgoing(&self, lease: &Lease) -> Result<(Timestamp, Vec<Outgoing>)> {
        let lease = lease.clone();
        self.read(move |tx| deliveries::outgoing(tx, &lease)).await
    }

    async fn sending(&self, lease: &Lease, part: PartId) -> Result<()> {
        let lease = lease.clone();
        self.write(move |tx| deliveries::sending(tx, &lease, part)).await?
    }

    async fn sent(&self, lease: &Lease, part: PartId, end: &SendEnd) -> Result<()> {
        let (lease, end) = (lease.clone(), end.clone());
        self.write(move |tx| deliveries::sent(tx, &lease, part, &end)).await
    }

    async fn moved(&self, lease: &Lease, part: PartId, address: &Address) -> Result<()> {
        let (lease, address) = (lease.clone(), address.clone());
        self.write(move |tx| deliveries::moved(tx, &lease, part, &address)).await
    }

    async fn known_parts(&self, channel: &ChannelName, of: &[Reported]) -> Result<Vec<bool>> {
        let (channel, of) = (channel.clone(), of.to_vec());
        self.read(move |tx| deliveries::known_parts(tx, &channel, &of)).await
    }

    async fn report(&self, channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> Result<bool> {
        let (channel, of, outcome) = (channel.clone(), of.clone(), outcome.clone());
        self.write(move |tx| deliveries::report(tx, &channel, &of, &outcome)).await
    }

    async fn answer(&self, message: MessageId) -> Result<AnswerState> {
        self.read(move |tx| answers::answer(tx, message)).await
    }

    async fn claim_answer(&self, message: MessageId) -> Result<Option<Vec<AnswerPart>>> {
        // All who wait try it whenever any turn ends: the writer is for those whose own has.
        if !self.read(move |tx| answers::has_ended(tx, message)).await? {
            return Ok(None);
        }
        self.write(move |tx| answers::claim(tx, message)).await
    }

    async fn answer_left(&self, message: MessageId) -> Result<()> {
        self.write(move |tx| answers::left(tx, message)).await
    }

    async fn stop_waiting(&self, message: MessageId) -> Result<()> {
        self.write(move |tx| answers::stop_waiting(tx, message)).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Story>> {
        let filter = filter.clone();
        self.read(move |tx| looking::list(tx, &filter)).await
    }

    async fn story(&self, message: MessageId) -> Result<Option<Story>> {
        self.read(move |tx| looking::story(tx, message)).await
    }

    async fn find(&self, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>> {
        let (channel, key) = (channel.clone(), key.clone());
        self.read(move |tx| intake::find(tx, channel.as_str(), key.as_str())).await
    }

    async fn retry(&self, message: MessageId) -> Result<Retried> {
        self.write(move |tx| retry::retry(tx, message)).await
    }

    async fn discard(&self, message: MessageId) -> Result<Discarded> {
        self.write(move |tx| retry::discard(tx, message)).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.read(looking::stats).await
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
