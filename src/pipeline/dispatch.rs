//! Leases lanes that are due, gives each to a task of its own, and keeps the leases alive meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::failpoint;
use crate::domain::id::{LaneId, Owner};
use crate::store::{Lease, Renewed, Store, Want, Work};

use super::gate::{Place, Room};

/// A kind of work in lanes.
#[async_trait]
pub trait Worker: Send + Sync + 'static {
    fn work(&self) -> Work;

    fn rooms(&self) -> &[Room];

    /// Does what is due in the lane and releases it.
    async fn run(&self, held: Held);
}

/// A lane in hand.
pub struct Held {
    pub lease: Lease,
    valid_until: Arc<Mutex<Instant>>,
}

impl Held {
    /// Whether the lease is still ours for long enough to begin a call. A process that was frozen finds here
    /// that it slept through its lease, before it does anything that can't be undone.
    pub fn is_fresh(&self) -> bool {
        self.valid_until.lock().is_ok_and(|until| *until > Instant::now() + Duration::from_millis(500))
    }
}

#[derive(Clone)]
pub struct Leasing {
    pub store: Arc<dyn Store>,
    pub owner: Owner,
    pub ttl: Duration,
    pub stop: CancellationToken,
    pub abort: CancellationToken,
    pub tasks: TaskTracker,
}

struct InHand {
    lease: Lease,
    valid_until: Arc<Mutex<Instant>>,
    lost: CancellationToken,
}

impl InHand {
    /// `until`: how long the lease would hold if it were prolonged now.
    fn is_due(&self, until: Instant, ttl: Duration) -> bool {
        self.valid_until.lock().is_ok_and(|valid_until| *valid_until + ttl / 3 <= until)
    }

    fn is_valid_until(&self, until: Instant) {
        if let Ok(mut valid_until) = self.valid_until.lock() {
            *valid_until = until;
        }
    }
}

type Hand = Arc<Mutex<HashMap<LaneId, InHand>>>;

/// Nothing rings for what another process put into the store: look at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(20);

pub async fn run<W: Worker>(worker: Arc<W>, leasing: Leasing) {
    let work = worker.work();
    let bells = leasing.store.bells();
    let mut bell = match work {
        Work::Turns => bells.turns,
        Work::Deliveries => bells.deliveries,
    };
    let hand: Hand = Arc::default();
    let freed = Arc::new(Notify::new());
    let renewing = leasing.tasks.spawn(renew(hand.clone(), leasing.clone()));
    let mut is_away = false;

    while !leasing.stop.is_cancelled() {
        // Leases that ran out while the store was away are still in hand: they come before others', and before our own
        // look for lanes, which would take them from those who work in them.
        is_away = is_away && !prolong(&hand, &leasing).await;
        bell.mark_unchanged();
        let wants: Vec<Want> = worker.rooms().iter().filter_map(Room::want).collect();
        let opens = worker.rooms().iter().filter_map(|room| room.gate.opens_in()).min();
        let mut pause = opens.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        if !wants.is_empty() && !is_away {
            let begun = Instant::now();
            match leasing.store.lease(work, &leasing.owner, &wants, leasing.ttl).await {
                Ok(leases) if leases.is_empty() => {
                    let channels: Vec<_> = wants.into_iter().flat_map(|want| want.channels).collect();
                    if let Ok(Some(due)) = leasing.store.next_due(work, &channels).await {
                        // Rounded up: a look a moment too early would find nothing and look again at once. What
                        // is due and can't be had is being written in by somebody.
                        let due = if due.is_zero() { BUSY } else { due + Duration::from_millis(1) };
                        pause = pause.min(due);
                    }
                }
                Ok(leases) => {
                    failpoint::reach("lane.leased");
                    for lease in leases {
                        let until = begun + leasing.ttl;
                        begin(&worker, lease, until, &leasing, &hand, &freed);
                    }
                    continue;
                }
                Err(error) => {
                    is_away = true;
                    tracing::warn!(%error, "lanes can't be leased");
                }
            }
        }
        tokio::select! {
            _ = leasing.stop.cancelled() => {}
            _ = bell.changed() => {}
            () = freed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    // The last tasks still need their leases renewed.
    while hand.lock().is_ok_and(|hand| !hand.is_empty()) && !leasing.abort.is_cancelled() {
        tokio::select! {
            () = freed.notified() => {}
            () = leasing.abort.cancelled() => {}
        }
    }
    renewing.abort();
}

fn begin<W: Worker>(
    worker: &Arc<W>,
    lease: Lease,
    until: Instant,
    leasing: &Leasing,
    hand: &Hand,
    freed: &Arc<Notify>,
) {
    let valid_until = Arc::new(Mutex::new(until));
    let lost = CancellationToken::new();
    let lane = lease.lane;
    let place = worker.rooms().iter().find(|room| room.has(&lease)).map(Room::enter);
    if let Ok(mut hand) = hand.lock() {
        let held = InHand { lease: lease.clone(), valid_until: valid_until.clone(), lost: lost.clone() };
        if let Some(earlier) = hand.insert(lane, held) {
            earlier.lost.cancel();
        }
    }
    let leaving = Leaving { lane, fence: lease.fence, place, hand: hand.clone(), freed: freed.clone() };
    let (worker, abort) = (worker.clone(), leasing.abort.clone());
    leasing.tasks.spawn(async move {
        let _leaving = leaving;
        tokio::select! {
            () = worker.run(Held { lease, valid_until }) => {}
            // Whoever holds the lane now goes on from what is written down.
            () = lost.cancelled() => {}
            () = abort.cancelled() => {}
        }
    });
}

/// Gives the lane out of hand however its task ends: a lease that goes on being renewed for a task that
/// panicked would stop its chat for good.
struct Leaving {
    lane: LaneId,
    fence: i64,
    place: Option<Place>,
    hand: Hand,
    freed: Arc<Notify>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Ok(mut hand) = self.hand.lock()
            && hand.get(&self.lane).is_some_and(|entry| entry.lease.fence == self.fence)
        {
            hand.remove(&self.lane);
        }
        drop(self.place.take());
        self.freed.notify_one();
    }
}

/// Leases are prolonged when a third of their time has passed, and those that could not be at the next look: a lane
/// in which much is written would otherwise miss its time now and then.
async fn renew(hand: Hand, leasing: Leasing) {
    let mut tick = tokio::time::interval(leasing.ttl / 30);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = leasing.abort.cancelled() => return,
        }
        prolong(&hand, &leasing).await;
    }
}

/// False: the store can't be used now.
async fn prolong(hand: &Hand, leasing: &Leasing) -> bool {
    let until = Instant::now() + leasing.ttl;
    let leases: Vec<Lease> = match hand.lock() {
        Ok(hand) => hand.values().filter(|it| it.is_due(until, leasing.ttl)).map(|it| it.lease.clone()).collect(),
        Err(_) => return false,
    };
    if leases.is_empty() {
        return true;
    }
    let renewed = match leasing.store.renew(&leasing.owner, &leases, leasing.ttl).await {
        Ok(renewed) => renewed,
        Err(error) => {
            tracing::warn!(%error, "leases can't be renewed");
            return false;
        }
    };
    let Ok(hand) = hand.lock() else { return false };
    for (lease, renewed) in leases.iter().zip(renewed) {
        let Some(entry) = hand.get(&lease.lane).filter(|entry| entry.lease.fence == lease.fence) else {
            continue;
        };
        match renewed {
            Renewed::Yes => entry.is_valid_until(until),
            Renewed::NotNow => {}
            Renewed::Lost => {
                tracing::warn!(chat = %lease.chat_ref, "a lane was lost to another holder");
                entry.lost.cancel();
            }
        }
    }
    true
}
