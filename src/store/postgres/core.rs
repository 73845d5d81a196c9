//! Runs transactions: on which connection, how long at most, and again where others were in the way.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::bells::Belfry;
use super::lanes;
use super::link::Pool;
use super::open::{self, OpenError};
use super::tx::{self, Tx, corrupt};
use crate::domain::clock::Timestamp;
use crate::store::steps::Steps;
use crate::store::{Mode, Result, StoreError};

/// The limits stand in each transaction: behind PgBouncer there is no session to keep them.
/// A replica that was frozen inside a transaction loses it, and the row locks with it, after 10 s; others
/// wait no longer than 2 s for a lock.
const WRITE: &str = "BEGIN; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '5s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";
/// One snapshot for all its statements.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '5s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";
const NOW: &str = "SELECT fini_bridge.now_ms()";

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
    /// For what must not wait behind a crowd of turns: webhooks, whose senders wait, and leases, which run out.
    first: Pool,
    pub(super) belfry: Arc<Belfry>,
    readiness: watch::Sender<Readiness>,
    steps: Steps,
    set_back: Notify,
}

impl Core {
    pub(super) fn new(pool: Pool, first: Pool) -> Self {
        let readiness = watch::channel(Readiness::Not("not connected yet".to_owned())).0;
        let (belfry, steps, set_back) = (Arc::new(Belfry::new()), Steps::default(), Notify::new());
        Self { pool, first, belfry, readiness, steps, set_back }
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
        self.belfry.pull(super::bells::TURNS | super::bells::DELIVERIES);
    }

    /// Mends the schedule whenever the database's clock was set back, and again for those who had begun before.
    pub(super) async fn keep_time(&self) {
        let mut again = [].iter();
        loop {
            let pause = again.next().copied().unwrap_or(Duration::MAX);
            if timeout(pause, self.set_back.notified()).await.is_ok() {
                tracing::warn!("the database's clock was set back");
                again = LATE_WRITES.iter();
            }
            if self.write(|tx| lanes::set_back(tx).boxed()).await.is_err() {
                // Noticed in a transaction that has just worked: this one may too in a moment.
                sleep(LOOK_AGAIN).await;
                self.set_back.notify_one();
            }
        }
    }

    /// Connections that died in the pool are found out here, before anything was written.
    async fn begin<'a>(&self, pool: &Pool, how: &str) -> Result<Tx<'a>> {
        self.installation_key()?;
        let mut tries = 0;
        loop {
            let client = pool.get().await?;
            let tx = Tx::new(client, Timestamp::default());
            // One message after the other on the wire, one round trip.
            let opening = join(tx.batch(how), tx.one(NOW, tx::params![], |row| tx::get(row, 0)));
            let error = match timeout(BEGIN_WITHIN, opening).await {
                Ok((Ok(()), Ok(Some(now)))) => {
                    let now = Timestamp::from_millis(now);
                    if self.steps.is_set_back(now) {
                        self.set_back.notify_one();
                    }
                    return Ok(tx.at(now));
                }
                Ok((Ok(()), Ok(None))) => corrupt("the database tells no time"),
                Ok((Err(error), _) | (_, Err(error))) => error,
                Err(_) => return Err(StoreError::Unavailable("it doesn't answer".to_owned())),
            };
            tries += 1;
            if tries == TRIES {
                return Err(error);
            }
        }
    }

    pub(super) async fn write<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<T> {
        self.write_on(&self.pool, work).await
    }

    /// Before all others.
    pub(super) async fn write_first<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<T> {
        self.write_on(&self.first, work).await
    }

    async fn write_on<'a, T: Send>(
        &self,
        pool: &Pool,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let mut tries = 0;
        loop {
            let tx = self.begin(pool, WRITE).await?;
            let error = match timeout(WORK_WITHIN, work(&tx)).await {
                Ok(Ok(value)) => {
                    let committing = timeout(WORK_WITHIN, tx.commit()).await;
                    let rings = committing.map_err(|_| silent())??;
                    self.belfry.pull(rings);
                    return Ok(value);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(silent()),
            };
            let again = tx.again();
            let _ = timeout(BEGIN_WITHIN, tx.rollback()).await;
            tries += 1;
            if !again || tries == TRIES {
                return Err(error);
            }
        }
    }

    pub(super) async fn read<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t Tx<'a>) -> BoxFuture<'t, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let tx = self.begin(&self.pool, READ).await?;
        let outcome = timeout(WORK_WITHIN, work(&tx)).await.map_err(|_| silent())?;
        let _ = timeout(BEGIN_WITHIN, tx.rollback()).await;
        outcome
    }
}

fn silent() -> StoreError {
    StoreError::Unavailable("it stopped answering".to_owned())
}
