//! The one thread that writes. What waits goes into one transaction; all are answered after the commit. Webhooks come
//! first: somebody waits for each, and what turns and deliveries write can wait.
//!
//! Steps hardly ever fail after they have changed something, so a transaction runs without savepoints. When one does,
//! all of it is undone, and done once more with each step in a savepoint of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::open::{self, Opener};
use super::owners::Undo;
use super::tx::{Shared, SqliteTx, disk_failed, failed};
use super::{checkpoint, lanes};
use crate::domain::clock::{Clock, Timestamp};
use crate::store::sql::Tx;
use crate::store::sql::wakeups::News;
use crate::store::steps::Steps;
use crate::store::{Result, StoreError};

/// Beyond this the store is full: webhooks get 503, workers try again.
const QUEUE: usize = 8192;
/// Steps in one commit. Measured: 512 rows a commit write twice as much as 32, more brings nothing.
const BATCH: usize = 512;
/// More steps of turns and deliveries than this wait only when there is more to do than can be done. They keep up with a
/// steady load however close webhooks come.
const BEHIND: usize = 64;

/// How often it is tried to empty the log while somebody reads what is older, and how long that may hold up writing.
const TRUNCATE_EVERY: Duration = Duration::from_secs(1);
const TRUNCATE_WITHIN: Duration = Duration::from_millis(100);
/// A reader that takes longer is worth a word: a backup, or a command that hangs.
const LONG_READER: u32 = 60;

/// What the thread is asked for.
enum Order {
    /// A webhook's.
    Accept(Box<dyn Job>),
    Write(Box<dyn Job>),
    /// Between two transactions. Tells whether it could be done.
    TruncateLog(oneshot::Sender<bool>),
}

/// One method of the store, on its way through the writer.
trait Job: Send {
    /// May be called again, when what it did was undone.
    fn run(&mut self, tx: &SqliteTx<'_>) -> Result<()>;
    /// `Err`: the commit failed, whatever this one did is undone.
    fn answer(self: Box<Self>, commit: Result<(), String>);
}

struct Write<T, F> {
    work: F,
    outcome: Result<T>,
    waiter: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send + 'static,
    F: Fn(&SqliteTx<'_>) -> Result<T> + Send + 'static,
{
    fn run(&mut self, tx: &SqliteTx<'_>) -> Result<()> {
        self.outcome = (self.work)(tx);
        self.outcome.as_ref().map(drop).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, commit: Result<(), String>) {
        let answer = match commit {
            Ok(()) => self.outcome,
            Err(why) => Err(StoreError::Unavailable(why)),
        };
        // Nobody waits any more: what was written stays, its caller will find it.
        let _ = self.waiter.send(answer);
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("it has stopped".to_owned())
}

pub(super) struct Writer {
    queue: Option<mpsc::Sender<Order>>,
    failed_at: Arc<Mutex<Option<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        connection: Option<Connection>,
        opener: Arc<Opener>,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        commits: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let failed_at = Arc::<Mutex<Option<Instant>>>::default();
        let steps = Steps::default();
        let writer =
            WriterLoop { connection, opener, clock, steps, shared, commits, failed_at: Arc::clone(&failed_at) };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run(jobs))?;
        Ok(Self { queue: Some(queue), failed_at, thread: Some(thread) })
    }

    /// Whether something could not be written within this time: on a full disk small things fit now and then.
    pub(super) fn failed_within(&self, time: Duration) -> bool {
        self.failed_at.lock().is_ok_and(|at| at.is_some_and(|at| at.elapsed() < time))
    }

    pub(super) async fn accept<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&SqliteTx<'_>) -> Result<T> + Send + 'static,
    {
        self.order(work, Order::Accept).await
    }

    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&SqliteTx<'_>) -> Result<T> + Send + 'static,
    {
        self.order(work, Order::Write).await
    }

    async fn order<T, F>(&self, work: F, order: fn(Box<dyn Job>) -> Order) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&SqliteTx<'_>) -> Result<T> + Send + 'static,
    {
        let (waiter, answer) = oneshot::channel();
        let job = Write { work, outcome: Err(stopped()), waiter };
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.try_send(order(Box::new(job))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Unavailable("too much waits to be written".to_owned()),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.map_err(|_| stopped())?
    }

    /// Returns when the log is empty. The thread itself does it: under constant writing nobody else would find the
    /// moment.
    pub(super) async fn truncate_log(&self) -> Result<()> {
        for attempt in 1_u32.. {
            let (waiter, answer) = oneshot::channel();
            let queue = self.queue.as_ref().ok_or_else(stopped)?;
            queue.send(Order::TruncateLog(waiter)).await.map_err(|_| stopped())?;
            if answer.await.map_err(|_| stopped())? {
                break;
            }
            if attempt % LONG_READER == 0 {
                tracing::warn!("somebody reads an old state of the store: removed text stays in its log meanwhile");
            }
            tokio::time::sleep(TRUNCATE_EVERY).await;
        }
        Ok(())
    }
}

impl Drop for Writer {
    /// What was accepted into the queue is still written; the file is free again when this returns.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// On its own thread.
struct WriterLoop {
    /// `None`: the disk failed, and nothing is acknowledged before a fresh connection has written something.
    connection: Option<Connection>,
    opener: Arc<Opener>,
    clock: Arc<dyn Clock>,
    steps: Steps,
    shared: Arc<Shared>,
    commits: Arc<AtomicU64>,
    failed_at: Arc<Mutex<Option<Instant>>>,
}

impl WriterLoop {
    fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut steps = VecDeque::new();
        loop {
            let (mut batch, mut truncate) = (Vec::new(), None);
            let mut next = if steps.is_empty() { orders.blocking_recv() } else { orders.try_recv().ok() };
            if next.is_none() && steps.is_empty() {
                return;
            }
            while let Some(order) = next.take() {
                match order {
                    Order::Accept(job) => batch.push(job),
                    Order::Write(job) => steps.push_back(job),
                    Order::TruncateLog(waiter) => truncate = Some(waiter),
                }
                if batch.len() < BATCH && steps.len() < QUEUE && truncate.is_none() {
                    next = orders.try_recv().ok();
                }
            }
            let number = steps_beside(batch.len(), steps.len());
            batch.extend(steps.drain(..number));
            if !batch.is_empty() {
                self.commit(batch);
            }
            if let Some(waiter) = truncate {
                let _ = waiter.send(self.connection.as_ref().is_some_and(truncate_log));
            }
        }
    }

    fn commit(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let now = self.clock.now();
        let outcome = match self.connection.take().map_or_else(|| self.opener.reopen(), Ok) {
            Ok(connection) => {
                if self.steps.is_set_back(now) {
                    tracing::warn!("the clock was set back");
                    let (waiter, _) = oneshot::channel();
                    batch.insert(0, Box::new(Write { work: lanes::clock_stepped_back, outcome: Ok(()), waiter }));
                }
                let outcome = Transaction { connection: &connection, now, shared: &self.shared }.run(&mut batch);
                match &outcome {
                    Err(error) if disk_failed(error) => {
                        tracing::error!(%error, "the store's disk failed; nothing is acknowledged until it writes again");
                    }
                    // A transaction that can't even be rolled back is left to the connection's end.
                    _ => self.connection = Some(connection).filter(Connection::is_autocommit),
                }
                outcome.map_err(failed)
            }
            Err(error) => Err(failed(error)),
        };
        match outcome {
            Ok(news) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                // First of all: whoever is answered may be the last that this process waits for before it ends.
                for news in news {
                    news.tell(self.shared.joined.get().map(Arc::as_ref), now);
                }
                for job in batch {
                    job.answer(Ok(()));
                }
            }
            Err(error) => {
                let why = match error {
                    StoreError::Unavailable(why) | StoreError::Corrupt(why) => why,
                    StoreError::Fenced => "fenced".to_owned(),
                };
                tracing::warn!(reason = %why, "the store could not commit");
                if let Ok(mut at) = self.failed_at.lock() {
                    *at = Some(Instant::now());
                }
                for job in batch {
                    job.answer(Err(why.clone()));
                }
            }
        }
    }
}

/// How many of the steps that wait go into a commit beside so many webhooks. A quarter, under overload: a turn writes
/// three times, and costs ten times what an acknowledgement does.
fn steps_beside(webhooks: usize, waiting: usize) -> usize {
    match webhooks {
        _ if waiting <= BEHIND => waiting,
        0 => BEHIND,
        _ => webhooks.div_ceil(4),
    }
}

struct Transaction<'t> {
    connection: &'t Connection,
    now: Timestamp,
    shared: &'t Shared,
}

/// How a transaction's steps went.
enum Ran {
    Whole {
        undo: Undo,
        news: Vec<News>,
    },
    /// One failed that had changed something.
    Spoilt(Undo),
}

/// `None`: one failed that had changed something.
type RanSteps = rusqlite::Result<Option<Vec<News>>>;

impl Transaction<'_> {
    /// What is to be told now that it is committed.
    fn run(&self, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<Vec<News>> {
        let mut ran = self.attempt(batch, Self::plainly);
        if let Ok(Ran::Spoilt(undo)) = ran {
            self.roll_back(undo);
            ran = self.attempt(batch, Self::each_in_a_savepoint);
        }
        let (undo, error) = match ran {
            Ok(Ran::Whole { undo, news }) => match self.execute("COMMIT") {
                Ok(()) => return Ok(news),
                Err(error) => (undo, error),
            },
            Ok(Ran::Spoilt(undo)) => (undo, rusqlite::Error::InvalidQuery),
            Err(error) => (Undo::default(), error),
        };
        self.roll_back(undo);
        Err(error)
    }

    fn attempt(
        &self,
        batch: &mut [Box<dyn Job>],
        steps: fn(&Self, &mut [Box<dyn Job>], &mut Undo) -> RanSteps,
    ) -> rusqlite::Result<Ran> {
        let mut undo = Undo::default();
        let ran = self.execute("BEGIN IMMEDIATE").and_then(|()| steps(self, batch, &mut undo));
        match ran {
            Ok(Some(news)) => Ok(Ran::Whole { undo, news }),
            Ok(None) => Ok(Ran::Spoilt(undo)),
            Err(error) => {
                self.roll_back(undo);
                Err(error)
            }
        }
    }

    fn plainly(&self, batch: &mut [Box<dyn Job>], undo: &mut Undo) -> RanSteps {
        let mut news = Vec::new();
        for job in batch {
            let changes = self.connection.total_changes();
            let tx = SqliteTx::new(self.connection, self.now, self.shared);
            match job.run(&tx) {
                Ok(()) => {
                    undo.and(tx.take_undo());
                    news.push(tx.wakeups().take());
                }
                Err(_) => {
                    tx.undo();
                    if self.connection.total_changes() != changes || self.connection.is_autocommit() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(news))
    }

    fn each_in_a_savepoint(&self, batch: &mut [Box<dyn Job>], undo: &mut Undo) -> RanSteps {
        let mut news = Vec::new();
        for job in batch {
            self.execute("SAVEPOINT job")?;
            let tx = SqliteTx::new(self.connection, self.now, self.shared);
            match job.run(&tx) {
                Ok(()) => {
                    undo.and(tx.take_undo());
                    news.push(tx.wakeups().take());
                }
                // Some failures (a full disk) undo the whole transaction by themselves: the next statement
                // would write outside of it. ROLLBACK TO fails then, and all are told that nothing was kept.
                Err(_) => {
                    tx.undo();
                    self.execute("ROLLBACK TO job")?;
                }
            }
            self.execute("RELEASE job")?;
        }
        Ok(Some(news))
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    fn roll_back(&self, undo: Undo) {
        self.shared.owners.undo(undo);
        if !self.connection.is_autocommit() {
            let _ = self.execute("ROLLBACK");
        }
    }
}

fn truncate_log(connection: &Connection) -> bool {
    let outcome = connection.busy_timeout(TRUNCATE_WITHIN).and_then(|()| checkpoint::truncate(connection));
    let restored = connection.busy_timeout(open::BUSY);
    outcome.and_then(|done| restored.map(|()| done)).unwrap_or_else(|error| {
        tracing::warn!(%error, "{}", checkpoint::NOT_WRITTEN_BACK);
        false
    })
}
