//! Gives lanes to tasks: those that a commit has leased for this process, and those that a look finds due.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::Deliveries;
use super::group::{ConcurrencyGroup, Permit};
use super::membership::Membership;
use super::rate_limit::Wait;
use super::response_waiters::ResponseWaiters;
use super::retry::{retry_until_written, store_backoff};
use super::turn::Turns;
use crate::domain::failpoint;
use crate::domain::id::{ChannelName, LaneId, MessageId};
use crate::store::{self, Due, Head, Lease, LeaseRequest, LeasedLane, Next, Store, StoreError, WorkKind};

/// Nothing tells of what another process put into the store: look at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What is due and can't be had is being written in by somebody.
const BUSY: Duration = Duration::from_millis(20);
/// A lane whose task ended without giving it back is tried again after this.
const AFTER_DEFECT: Duration = Duration::from_secs(5);
/// While this process ends it still does what becomes due so soon.
const DRAIN_AHEAD: Duration = Duration::from_secs(2);

/// But not for longer than this: what a platform's pace or an outage holds up is sent after the next start.
const DRAIN_FOR: Duration = Duration::from_secs(5);

/// A kind of work in lanes.
#[async_trait]
pub trait Worker: Send + Sync + 'static {
    fn work(&self) -> WorkKind;

    fn groups(&self) -> &[Arc<ConcurrencyGroup>];

    /// Does what is due in the lane and gives it back. There is a token for what comes first.
    async fn run(&self, lane: &ActiveLane, head: Head) -> Result<(), StoreError>;
}

/// A lane in hand.
pub struct ActiveLane {
    pub lease: Lease,
    membership: Arc<Membership>,
    stop: CancellationToken,
}

impl ActiveLane {
    /// Until this process may begin a call in the lane: at once, mostly.
    pub async fn fresh(&self) {
        self.membership.fresh().await;
    }

    /// Nothing new shall begin.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for something that need not be waited for once nothing new shall begin.
    pub async fn unless_stopping<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(wait).await
    }

    /// After a step that the store could not do: the lane stays in hand, and the step is done again. While this process
    /// ends, whoever takes over does it.
    pub async fn store_is_away(&self, error: StoreError, attempt: u32) -> Result<(), StoreError> {
        if !matches!(error, StoreError::Unavailable(_)) || self.is_stopping() {
            return Err(error);
        }
        if attempt == 1 {
            tracing::warn!(chat = %self.lease.chat_ref, %error, "a chat waits for the store");
        }
        tokio::select! {
            () = tokio::time::sleep(store_backoff(attempt)) => Ok(()),
            () = self.stop.cancelled() => Err(error),
        }
    }
}

/// All lanes of one kind of work that this process works in.
pub struct Pool<W> {
    worker: W,
    by_channel: HashMap<ChannelName, Arc<ConcurrencyGroup>>,
    store: Arc<dyn Store>,
    runtime: Handle,
    tasks: TaskTracker,
    active: AtomicUsize,
    /// No new lanes.
    stop: CancellationToken,
    /// No new lanes but those that are due by now.
    drain: CancellationToken,
    /// Everything ends now.
    abort: CancellationToken,
    /// Look now.
    wake: Arc<Notify>,
    /// Something is due then; told when that is sooner than before.
    next_due: Mutex<Option<Instant>>,
    sooner: Notify,
}

impl<W: Worker> Pool<W> {
    /// `wake` is what the worker's groups tell when there is room.
    pub fn new(worker: W, store: Arc<dyn Store>, wake: Arc<Notify>, abort: CancellationToken) -> Self {
        let channels = |group: &Arc<ConcurrencyGroup>| -> Vec<_> {
            group.channels().iter().map(|channel| (channel.clone(), group.clone())).collect()
        };
        Self {
            by_channel: worker.groups().iter().flat_map(channels).collect(),
            worker,
            store,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            active: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            drain: CancellationToken::new(),
            abort,
            wake,
            next_due: Mutex::default(),
            sooner: Notify::new(),
        }
    }

    fn admit(&self, channel: &ChannelName, lane: LaneId) -> Option<Permit> {
        if self.stop.is_cancelled() {
            return None;
        }
        self.by_channel.get(channel)?.try_acquire(lane)
    }

    fn due_in(&self, after: Duration) {
        if after.is_zero() {
            self.wake.notify_one();
        } else if after < LOOK_AGAIN {
            let at = Instant::now() + after;
            let mut due = self.next_due.lock().unwrap_or_else(PoisonError::into_inner);
            if due.is_none_or(|due| at < due) {
                *due = Some(at);
                self.sooner.notify_one();
            }
        }
    }

    fn begin(self: &Arc<Self>, membership: &Arc<Membership>, leased: LeasedLane) {
        failpoint::reach("lane.leased");
        let LeasedLane { lease, permit, head } = leased;
        let mut guard = LaneGuard::new(self, &lease, Some(AFTER_DEFECT));
        let lane = ActiveLane { lease, membership: membership.clone(), stop: self.stop.clone() };
        let task = async move {
            let _permit = permit;
            let ended = tokio::select! {
                ended = guard.pool.worker.run(&lane, head) => ended,
                () = lane.membership.lost.cancelled() => Err(StoreError::Fenced),
                () = guard.pool.abort.cancelled() => Ok(()),
            };
            let is_left = match &ended {
                Ok(()) | Err(StoreError::Fenced) => true,
                Err(_) => lane.is_stopping(),
            };
            if is_left {
                guard.disarm();
            }
            match ended {
                Ok(()) => {}
                Err(StoreError::Fenced) => {
                    tracing::warn!(chat = %lane.lease.chat_ref, "a lane was lost to another holder");
                }
                Err(error) => tracing::warn!(chat = %lane.lease.chat_ref, %error, "the work in a chat can't go on now"),
            }
        };
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Looks for what is due, again and again, until there is to be no new work.
    async fn run(self: Arc<Self>, membership: watch::Receiver<Arc<Membership>>) {
        let mut is_away = false;
        while !self.stop.is_cancelled() {
            let current = membership.borrow().clone();
            let looked = tokio::select! {
                looked = self.look(&current) => looked,
                () = current.lost.cancelled() => Ok(Some(Duration::ZERO)),
                () = self.stop.cancelled() => return,
            };
            let is_idle = self.active.load(Ordering::SeqCst) == 0;
            let pause = match looked {
                Ok(next) => {
                    is_away = false;
                    if self.drain.is_cancelled() && is_idle && next.is_none_or(|next| next > DRAIN_AHEAD) {
                        self.stop.cancel();
                    }
                    next.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(%error, "chats that are due can't be looked for");
                    }
                    if self.drain.is_cancelled() && is_idle {
                        self.stop.cancel();
                    }
                    LOOK_AGAIN
                }
            };
            tokio::select! {
                () = self.pause(Instant::now() + pause) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Takes what is due, as far as there is room, and tells when to look again at the latest.
    async fn look(self: &Arc<Self>, membership: &Arc<Membership>) -> Result<Option<Duration>, StoreError> {
        tokio::select! {
            biased;
            () = membership.fresh() => {}
            // The store may be away for long: whoever ends doesn't wait for it.
            () = self.drain.cancelled() => {
                return Err(StoreError::Unavailable("this process could not say that it lives".to_owned()));
            }
        }
        *self.next_due.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let groups = self.worker.groups();
        let opens = groups.iter().filter_map(|group| group.opens_in()).min();
        let mut reserved: Vec<_> = groups.iter().map(|group| (group, group.reserve())).collect();
        reserved.retain(|(_, permits)| !permits.is_empty());
        if reserved.is_empty() {
            return Ok(opens);
        }
        let request = |(group, permits): &(&Arc<ConcurrencyGroup>, Vec<Permit>)| LeaseRequest {
            channels: group.channels().to_vec(),
            limit: permits.len(),
        };
        let requests: Vec<_> = reserved.iter().map(request).collect();
        let Due { leases, next } = self.store.lease(self.worker.work(), &membership.owner, &requests).await?;
        let has_found = !leases.is_empty();
        for lease in leases {
            let group = reserved.iter_mut().find(|(group, _)| group.has(&lease.channel));
            let Some((group, permit)) = group.and_then(|(group, permits)| Some((group, permits.pop()?))) else {
                drop(LaneGuard::new(self, &lease, Some(AFTER_DEFECT)));
                continue;
            };
            match group.take_token(lease.lane) {
                Ok(()) => {
                    let permit = store::Permit::new(permit);
                    self.begin(membership, LeasedLane { lease, permit, head: Head::Unread });
                }
                Err(Wait(wait)) => drop(LaneGuard::new(self, &lease, Some(wait))),
            }
        }
        for ((group, permits), request) in reserved.iter().zip(&requests) {
            group.looked(request.limit - permits.len(), request.limit);
        }
        if has_found {
            return Ok(Some(Duration::ZERO));
        }
        // Rounded up: a look a moment too early would find nothing and look again at once.
        let next = next.map(|next| if next.is_zero() { BUSY } else { next + Duration::from_millis(1) });
        Ok(next.into_iter().chain(opens).min())
    }

    async fn pause(&self, until: Instant) {
        loop {
            let due = *self.next_due.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::select! {
                () = self.wake.notified() => return,
                () = tokio::time::sleep_until(due.map_or(until, |due| due.min(until))) => return,
                () = self.sooner.notified() => {}
            }
        }
    }

    /// No new lanes; returns when those in hand have been given back.
    async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The same, and what is due by now is still done.
    async fn drain(&self) {
        self.drain.cancel();
        self.wake.notify_one();
        self.stop.cancelled().await;
        self.stop().await;
    }
}

/// Gives a lane back whose task ended without doing so: one that nobody works in would stop its chat for good.
struct LaneGuard<W: Worker> {
    pool: Arc<Pool<W>>,
    lease: Lease,
    /// `None`: it has been given back, or is somebody else's.
    release_after: Option<Duration>,
}

impl<W: Worker> LaneGuard<W> {
    fn new(pool: &Arc<Pool<W>>, lease: &Lease, release_after: Option<Duration>) -> Self {
        pool.active.fetch_add(1, Ordering::SeqCst);
        Self { pool: pool.clone(), lease: lease.clone(), release_after }
    }

    fn disarm(&mut self) {
        self.release_after = None;
    }
}

impl<W: Worker> Drop for LaneGuard<W> {
    fn drop(&mut self) {
        if let Some(after) = self.release_after {
            let (store, lease, abort) = (self.pool.store.clone(), self.lease.clone(), self.pool.abort.clone());
            let release = async move {
                tokio::select! {
                    _ = retry_until_written(|| store.release(&lease, Next::After(after))) => {}
                    () = abort.cancelled() => {}
                }
            };
            self.pool.tasks.spawn_on(release, &self.pool.runtime);
        }
        if self.pool.active.fetch_sub(1, Ordering::SeqCst) == 1 && self.pool.drain.is_cancelled() {
            self.pool.wake.notify_one();
        }
    }
}

/// Both kinds of work.
pub struct Pools {
    pub turns: Arc<Pool<Turns>>,
    pub deliveries: Arc<Pool<Deliveries>>,
}

impl Pools {
    pub fn start(&self, membership: &watch::Receiver<Arc<Membership>>, tasks: &TaskTracker) {
        tasks.spawn(self.turns.clone().run(membership.clone()));
        tasks.spawn(self.deliveries.clone().run(membership.clone()));
    }

    pub async fn stop(&self) {
        self.turns.stop().await;
        self.deliveries.stop().await;
    }

    /// Turns end first, then what they answered is delivered. Where others share the store, they deliver what this
    /// process has not in hand.
    pub async fn drain(&self, replicas: u32) {
        self.turns.stop().await;
        if replicas == 1 {
            let _ = tokio::time::timeout(DRAIN_FOR, self.deliveries.drain()).await;
        }
        self.deliveries.stop().await;
    }
}

/// This process as its store sees it, for as long as it has one name.
pub struct StoreDispatcher {
    /// Time is the runtime's, also on the store's own threads.
    pub runtime: Handle,
    pub membership: Arc<Membership>,
    pub waiters: Arc<ResponseWaiters>,
    /// The store outlives the workers.
    pub turns: Weak<Pool<Turns>>,
    pub deliveries: Weak<Pool<Deliveries>>,
}

impl store::Dispatcher for StoreDispatcher {
    fn admit(&self, work: WorkKind, channel: &ChannelName, lane: LaneId) -> Option<store::Permit> {
        let _time = self.runtime.enter();
        if !self.membership.is_fresh() {
            return None;
        }
        let permit = match work {
            WorkKind::Turns => self.turns.upgrade()?.admit(channel, lane),
            WorkKind::Deliveries => self.deliveries.upgrade()?.admit(channel, lane),
        };
        permit.map(store::Permit::new)
    }

    fn start(&self, leased: LeasedLane) {
        match leased.lease.work {
            WorkKind::Turns => {
                if let Some(turns) = self.turns.upgrade() {
                    turns.begin(&self.membership, leased);
                }
            }
            WorkKind::Deliveries => {
                if let Some(deliveries) = self.deliveries.upgrade() {
                    deliveries.begin(&self.membership, leased);
                }
            }
        }
    }

    fn due_in(&self, work: WorkKind, after: Duration) {
        let _time = self.runtime.enter();
        match work {
            WorkKind::Turns => self.turns.upgrade().into_iter().for_each(|turns| turns.due_in(after)),
            WorkKind::Deliveries => self.deliveries.upgrade().into_iter().for_each(|pool| pool.due_in(after)),
        }
    }

    fn turn_ended(&self, messages: &[MessageId]) {
        self.waiters.turn_ended(messages);
    }
}
