//! Runs transactions: on which connection, how long at most, and again where others were in the way.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, try_join};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::floors::Floors;
use super::lanes;
use super::link::Pool;
use super::notify::Notifier;
use super::open::{self, OpenError};
use super::replicas::Membership;
use super::tx::{Obstacle, Statements, Tx};
use crate::domain::clock::Timestamp;
use crate::store::lane::Woken;
use crate::store::sql::Tx as _;
use crate::store::sql::leases::give_back;
use crate::store::sql::wakeups::{News, Wakeups};
use crate::store::steps::Steps;
use crate::store::{Lease, Mode, Result, StoreError, WorkKind};

/// The limits stand in each transaction: behind PgBouncer there is no session to keep them.
/// A replica that was frozen inside a transaction loses it, and the row locks with it, after 10 s; others
/// wait no longer than 2 s for a lock.
const WRITE: &str = "BEGIN; SET LOCAL search_path = fini_bridge, pg_catalog; SET LOCAL lock_timeout = '2s';
    SET LOCAL statement_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '10s'";
/// Of several callers, who shall not wait for somebody else's lock because one of them has to.
const SHARED: &str = "BEGIN; SET LOCAL search_path = fini_bridge, pg_catalog; SET LOCAL lock_timeout = '50ms';
    SET LOCAL statement_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '10s'";
/// One snapshot for all its statements.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = fini_bridge, pg_catalog;
    SET LOCAL statement_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '10s'";

const BEGIN_WITHIN: Duration = Duration::from_secs(2);
/// Beyond the server's own limits: the server or the way to it is gone.
const WORK_WITHIN: Duration = Duration::from_secs(7);
/// A transaction that began before the clock was set back commits the old time: mostly within a lock's time-out, at
/// last within all that a transaction may take.
const LATE_WRITES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(15)];
/// Others can be in the way for a moment.
const TRIES: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const LOOK_AGAIN_REFUSED: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) enum Readiness {
    Not(String),
    Ready([u8; 32]),
}

pub(super) struct Core {
    pub(super) pool: Pool,
    /// For what must not wait behind a crowd of turns: webhooks, whose senders wait, leases and heartbeats.
    first: Pool,
    statements: Statements,
    pub(super) membership: Membership,
    pub(super) notifier: Notifier,
    pub(super) floors: Floors,
    readiness: watch::Sender<Readiness>,
    steps: Steps,
    set_back: Notify,
    undecided: Mutex<Vec<Lease>>,
}

/// Why a transaction failed, and whether any of its work was begun.
enum Failure {
    Opening(StoreError),
    Work(StoreError),
}

/// What a commit leases, until it is known to be committed. Where that isn't known (the connection broke, or whoever
/// waited is gone), these lanes may be this process's without anybody working in them.
struct Committing<'c> {
    core: &'c Core,
    leases: Vec<Lease>,
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        if !self.leases.is_empty() {
            self.core.undecided.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.leases);
        }
    }
}

impl Core {
    pub(super) fn new(pool: Pool, first: Pool, statements: Statements) -> Self {
        Self {
            pool,
            first,
            statements,
            membership: Membership::default(),
            notifier: Notifier::new(),
            floors: Floors::default(),
            readiness: watch::channel(Readiness::Not("not connected yet".to_owned())).0,
            steps: Steps::default(),
            set_back: Notify::new(),
            undecided: Mutex::default(),
        }
    }

    pub(super) fn close(&self) {
        self.pool.close();
        self.first.close();
    }

    pub(super) fn installation_key(&self) -> Result<[u8; 32]> {
        match &*self.readiness.borrow() {
            Readiness::Ready(key) => Ok(*key),
            Readiness::Not(why) => Err(StoreError::Unavailable(why.clone())),
        }
    }

    /// Connects and prepares, once.
    pub(super) async fn prepare(&self, mode: Mode) -> Result<(), OpenError> {
        let prepared = match self.pool.get().await {
            Ok(client) => open::prepare(client, mode).await,
            Err(error) => Err(error.into()),
        };
        let readiness = match &prepared {
            Ok(key) => Readiness::Ready(*key),
            Err(error) => Readiness::Not(error.to_string()),
        };
        self.readiness.send_replace(readiness);
        prepared.map(|_| ())
    }

    /// Until it is ready.
    pub(super) async fn keep_preparing(&self) {
        let mut said = String::new();
        loop {
            let Err(error) = self.prepare(Mode::Serve).await else { break };
            let again = if error.passes() { LOOK_AGAIN } else { LOOK_AGAIN_REFUSED };
            let why = error.to_string();
            if why != said {
                tracing::error!(reason = %why, "the store can't be used yet; trying again");
                said = why;
            }
            sleep(again).await;
        }
        tracing::info!("the store can be used");
        self.look(&[WorkKind::Turns, WorkKind::Deliveries]);
    }

    /// Something may be due that this process doesn't know of.
    pub(super) fn look(&self, at: &[WorkKind]) {
        if let Some(joined) = self.membership.joined() {
            for work in at {
                joined.dispatcher.due_in(*work, Duration::ZERO);
            }
        }
    }

    /// Mends what is due whenever the database's clock was set back, and again for those who had begun before.
    pub(super) async fn keep_time(&self) {
        let mut again = [].iter();
        loop {
            let pause = again.next().copied().unwrap_or(Duration::MAX);
            if timeout(pause, self.set_back.notified()).await.is_ok() {
                tracing::warn!("the database's clock was set back");
                again = LATE_WRITES.iter();
            }
            if self.write(|tx| lanes::clock_stepped_back(tx).boxed()).await.is_err() {
                // Noticed in a transaction that has just worked: this one may too in a moment.
                sleep(LOOK_AGAIN).await;
                self.set_back.notify_one();
            }
        }
    }

    /// Its first statements go out behind its beginning, in one round trip. Connections that died in the pool are
    /// found out there, before anything was written.
    async fn run<'a, T: Send>(
        &self,
        tx: &Tx<'a>,
        how: &str,
        work: &(impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync),
    ) -> Result<T, Failure> {
        let opening = async {
            match timeout(BEGIN_WITHIN, tx.batch(how)).await {
                Ok(opened) => opened.map_err(Failure::Opening),
                Err(_) => Err(Failure::Work(StoreError::Unavailable("it doesn't answer".to_owned()))),
            }
        };
        let working = async {
            let value = work(tx).await.map_err(Failure::Work)?;
            tx.flush().await.map_err(Failure::Work)?;
            Ok(value)
        };
        match timeout(WORK_WITHIN, try_join(opening, working)).await {
            Ok(outcome) => outcome.map(|((), value)| value),
            Err(_) => Err(Failure::Work(silent())),
        }
    }

    async fn begin<'a>(&self, pool: &Pool) -> Result<Tx<'a>> {
        self.installation_key()?;
        let replica = self.membership.joined().map(|joined| joined.owner.clone());
        Ok(Tx::new(pool.get().await?, self.statements, Wakeups::new(self.membership.alive(), replica)))
    }

    fn notice(&self, now: Option<Timestamp>) {
        if now.is_some_and(|now| self.steps.is_set_back(now)) {
            self.set_back.notify_one();
        }
    }

    pub(super) async fn write<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<T> {
        self.write_on(&self.pool, WRITE, work).await?.ok_or_else(busy)
    }

    /// Before all others.
    pub(super) async fn write_first<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<T> {
        self.write_on(&self.first, WRITE, work).await?.ok_or_else(busy)
    }

    /// Before all others, for several callers. `None`: it would have to wait for somebody else's lock.
    pub(super) async fn write_shared<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<Option<T>> {
        self.write_on(&self.first, SHARED, work).await
    }

    /// `None`: somebody else's lock was in the way.
    async fn write_on<'a, T: Send>(
        &self,
        pool: &Pool,
        how: &str,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<Option<T>> {
        let mut tries = 0;
        loop {
            let tx = self.begin(pool).await?;
            let (error, again) = match self.run(&tx, how, &work).await {
                Ok(value) => {
                    self.commit(tx).await?;
                    return Ok(Some(value));
                }
                Err(Failure::Opening(error)) => (error, true),
                Err(Failure::Work(error)) => (error, matches!(tx.obstacle(), Obstacle::Others | Obstacle::Stale)),
            };
            let is_locked = tx.obstacle() == Obstacle::Lock;
            let _ = timeout(BEGIN_WITHIN, tx.rollback()).await;
            tries += 1;
            if is_locked {
                return Ok(None);
            }
            if !again || tries == TRIES {
                return Err(error);
            }
        }
    }

    /// Then whoever it concerns is told.
    async fn commit(&self, tx: Tx<'_>) -> Result<()> {
        let (now, news, taken) = (tx.told(), tx.wakeups().take(), tx.taken());
        let leases = news.leases().cloned().chain(taken).collect();
        let mut committing = Committing { core: self, leases };
        timeout(WORK_WITHIN, tx.commit()).await.map_err(|_| silent())??;
        committing.leases.clear();
        self.tell(news, now.unwrap_or_default());
        self.notice(now);
        Ok(())
    }

    fn tell(&self, news: News, now: Timestamp) {
        self.notifier.tell(news.is_for_others(now));
        news.tell(self.membership.joined().as_deref(), now);
    }

    /// Gives back what this process may hold without knowing it.
    pub(super) async fn settle(&self) -> Result<()> {
        let mut leases = std::mem::take(&mut *self.undecided.lock().unwrap_or_else(PoisonError::into_inner));
        if leases.is_empty() {
            return Ok(());
        }
        leases.sort_unstable_by_key(|lease| lease.lane.0);
        let mut undecided = Committing { core: self, leases };
        let leases = undecided.leases.as_slice();
        self.write_first(|tx| give_all_back(tx, leases).boxed()).await?;
        undecided.leases.clear();
        Ok(())
    }

    pub(super) async fn read<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let mut tries = 0;
        loop {
            let tx = self.begin(&self.pool).await?;
            let outcome = self.run(&tx, READ, &work).await;
            self.notice(tx.told());
            let is_stale = tx.obstacle() == Obstacle::Stale;
            let _ = timeout(BEGIN_WITHIN, tx.rollback()).await;
            tries += 1;
            match outcome {
                Ok(value) => return Ok(value),
                Err(Failure::Opening(_)) if tries < TRIES => {}
                Err(Failure::Work(_)) if is_stale && tries < TRIES => {}
                Err(Failure::Opening(error) | Failure::Work(error)) => return Err(error),
            }
        }
    }
}

async fn give_all_back(tx: &Tx<'_>, leases: &[Lease]) -> Result<()> {
    for lease in leases {
        match tx.hold(lease).await {
            Ok(lane) => give_back(tx, lane, lease.work, Some(tx.now()), Woken::Counts).await?,
            // It was never committed.
            Err(StoreError::Fenced) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn silent() -> StoreError {
    StoreError::Unavailable("it stopped answering".to_owned())
}

fn busy() -> StoreError {
    StoreError::Unavailable("somebody else writes in this chat".to_owned())
}
