//! The one thread that writes. What waits goes into one transaction, each method in a savepoint of its own;
//! all are answered after the commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::open::{self, Opener};
use super::tx::{Rings, Tx, disk_failed, failed};
use super::{checkpoint, lanes};
use crate::domain::clock::Clock;
use crate::store::steps::Steps;
use crate::store::{Bells, Result, StoreError};

/// Beyond this the store is full: webhooks get 503, workers try again.
const QUEUE: usize = 8192;
/// Methods in one commit. Measured: 512 rows a commit write twice as much as 32, more brings nothing.
const BATCH: usize = 512;

/// How often it is tried to empty the log while somebody reads what is older, and how long that may hold up writing.
const TRUNCATE_EVERY: Duration = Duration::from_secs(1);
const TRUNCATE_WITHIN: Duration = Duration::from_millis(100);
/// A reader that takes longer is worth a word: a backup, or a command that hangs.
const LONG_READER: u32 = 60;

/// What the thread is asked for.
enum Order {
    Write(Box<dyn Job>),
    /// Between two transactions. Tells whether it could be done.
    TruncateLog(oneshot::Sender<bool>),
}

/// One method of the store, on its way through the writer.
trait Job: Send {
    fn run(&mut self, tx: &Tx<'_>) -> Result<()>;
    /// `Err`: the commit failed, whatever this one did is undone.
    fn answer(self: Box<Self>, commit: Result<(), String>);
}

struct Write<T, F> {
    work: Option<F>,
    outcome: Result<T>,
    waiter: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
{
    fn run(&mut self, tx: &Tx<'_>) -> Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match work(tx) {
            Ok(value) => {
                self.outcome = Ok(value);
                Ok(())
            }
            Err(error) => {
                let rollback = copy(&error);
                self.outcome = Err(error);
                Err(rollback)
            }
        }
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

fn copy(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(why) => StoreError::Unavailable(why.clone()),
        StoreError::Fenced => StoreError::Fenced,
        StoreError::Corrupt(what) => StoreError::Corrupt(what.clone()),
    }
}

pub(super) struct Writer {
    queue: Option<mpsc::Sender<Order>>,
    bells: Bells,
    failed_at: Arc<Mutex<Option<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        connection: Option<Connection>,
        opener: Arc<Opener>,
        clock: Arc<dyn Clock>,
        commits: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (turns, turns_bell) = watch::channel(0);
        let (deliveries, deliveries_bell) = watch::channel(0);
        let (ended, ended_bell) = watch::channel(0);
        let ropes = Ropes { turns, deliveries, ended };
        let failed_at = Arc::<Mutex<Option<Instant>>>::default();
        let steps = Steps::default();
        let desk = Desk { connection, opener, clock, steps, ropes, commits, failed_at: Arc::clone(&failed_at) };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || desk.work(jobs))?;
        Ok(Self {
            queue: Some(queue),
            bells: Bells { turns: turns_bell, deliveries: deliveries_bell, ended: ended_bell },
            failed_at,
            thread: Some(thread),
        })
    }

    pub(super) fn bells(&self) -> Bells {
        self.bells.clone()
    }

    /// Whether something could not be written within this time: on a full disk small things fit now and then.
    pub(super) fn failed_within(&self, time: Duration) -> bool {
        self.failed_at.lock().is_ok_and(|at| at.is_some_and(|at| at.elapsed() < time))
    }

    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        let stopped = || StoreError::Unavailable("it has stopped".to_owned());
        let (waiter, answer) = oneshot::channel();
        let job = Write { work: Some(work), outcome: Err(stopped()), waiter };
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.try_send(Order::Write(Box::new(job))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Unavailable("too much waits to be written".to_owned()),
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.map_err(|_| stopped())?
    }

    /// Returns when the log is empty. The thread itself does it: under constant writing nobody else would find the
    /// moment.
    pub(super) async fn truncate_log(&self) -> Result<()> {
        let stopped = || StoreError::Unavailable("it has stopped".to_owned());
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

/// What the bells hang on.
struct Ropes {
    turns: watch::Sender<u64>,
    deliveries: watch::Sender<u64>,
    ended: watch::Sender<u64>,
}

impl Ropes {
    fn pull(&self, rings: Rings) {
        for (rope, rung) in
            [(&self.turns, rings.turns), (&self.deliveries, rings.deliveries), (&self.ended, rings.ended)]
        {
            if rung {
                rope.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }
}

/// The writer's own side, on its thread.
struct Desk {
    /// `None`: the disk failed, and nothing is acknowledged before a fresh connection has written something.
    connection: Option<Connection>,
    opener: Arc<Opener>,
    clock: Arc<dyn Clock>,
    steps: Steps,
    ropes: Ropes,
    commits: Arc<AtomicU64>,
    failed_at: Arc<Mutex<Option<Instant>>>,
}

impl Desk {
    fn work(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(first) = orders.blocking_recv() {
            let (mut batch, mut truncate) = (Vec::new(), None);
            let mut next = Some(first);
            while let Some(order) = next.take() {
                match order {
                    Order::Write(job) => batch.push(job),
                    Order::TruncateLog(waiter) => truncate = Some(waiter),
                }
                if batch.len() < BATCH && truncate.is_none() {
                    next = orders.try_recv().ok();
                }
            }
            if !batch.is_empty() {
                self.commit(batch);
            }
            if let Some(waiter) = truncate {
                let _ = waiter.send(self.connection.as_ref().is_some_and(truncate_log));
            }
        }
    }

    fn commit(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let outcome = match self.connection.take().map_or_else(|| self.opener.reopen(), Ok) {
            Ok(connection) => {
                if self.steps.is_set_back(self.clock.now()) {
                    tracing::warn!("the clock was set back");
                    let (waiter, _) = oneshot::channel();
                    batch.insert(0, Box::new(Write { work: Some(lanes::set_back), outcome: Ok(()), waiter }));
                }
                let outcome = transaction(&connection, self.clock.as_ref(), &mut batch);
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
            Ok(rings) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                self.ropes.pull(rings);
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

fn truncate_log(connection: &Connection) -> bool {
    let outcome = connection.busy_timeout(TRUNCATE_WITHIN).and_then(|()| checkpoint::truncate(connection));
    let restored = connection.busy_timeout(open::BUSY);
    outcome.and_then(|done| restored.map(|()| done)).unwrap_or_else(|error| {
        tracing::warn!(%error, "{}", checkpoint::NOT_WRITTEN_BACK);
        false
    })
}

fn transaction(connection: &Connection, clock: &dyn Clock, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<Rings> {
    let result = begin_and_commit(connection, clock, batch);
    if result.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    result
}

fn begin_and_commit(connection: &Connection, clock: &dyn Clock, batch: &mut [Box<dyn Job>]) -> rusqlite::Result<Rings> {
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(|_| ());
    run("BEGIN IMMEDIATE")?;
    let mut rings = Rings::default();
    for job in batch {
        run("SAVEPOINT job")?;
        let tx = Tx::new(connection, clock.now());
        match job.run(&tx) {
            Ok(()) => rings = rings.and(tx.rings()),
            // Some failures (a full disk) undo the whole transaction by themselves: the next statement
            // would write outside of it. ROLLBACK TO fails then, and all are told that nothing was kept.
            Err(_) => run("ROLLBACK TO job")?,
        }
        run("RELEASE job")?;
    }
    run("COMMIT")?;
    Ok(rings)
}
