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

use async_trait::async_trait;
use tokio::time::timeout;

use self::checkpoint::Checkpointer;
use self::numbers::Numbers;
pub use self::open::OpenError;
use self::open::Opener;
use self::readers::Readers;
use self::tx::{Shared, SqliteTx, run};
use self::writer::Writer;
pub use super::Mode;
use super::sql::methods::impl_steps;
use super::sql::wakeups::Joined;
use super::{
    ACCEPTED_WITHIN, Accepted, Dispatcher, Due, Heartbeat, Inbox, Lease, LeaseRequest, Leases, NewItem, Next, Replica,
    Result, StoreError, WorkKind, not_in_time,
};
use crate::domain::clock::Clock;
use crate::domain::id::{ChannelName, DeliveryKey, Owner};
use crate::domain::message::{ReportOutcome, Reported};

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

    async fn message_by_key(&self, channel: &ChannelName, key: &DeliveryKey) -> Result<Option<MessageId>> {
        let (channel, key) = (channel.clone(), key.clone());
        self.read(move |tx| intake::find(tx, channel.as_str(), key.as_str())).await
    }

    /// What was removed from the rows goes from the file and its log, too.
    async fn erase(&self, removed: &Removed) -> Result<()> {
        if removed.pruned + removed.forgotten > 0 || !self.is_clean.load(Ordering::Relaxed) {
            self.is_clean.store(false, Ordering::Relaxed);
            self.scrub().await?;
            self.writer.truncate_log().await?;
            self.is_clean.store(true, Ordering::Relaxed);
        }
        Ok(())
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

/// How a step runs: with copies of what it borrows, on another thread.
macro_rules! by_step {
    ($how:ident, $self:ident, $tx:ident, [$($arg:ident),*], $step:expr) => {{
        $(let $arg = $arg.to_owned();)*
        $self.$how(move |$tx| run($step)).await
    }};
}
impl_steps!(Sqlite, by_step);

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
        let written = self.writer.accept(move |tx| intake::accept(tx, &items));
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
