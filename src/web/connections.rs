//! How many connections a listener may have, and which of them goes when there is no room for another.
//!
//! Every connection has a slot in one table for all workers. A worker marks its connections busy or idle with one
//! atomic write each; only who needs room reads the whole table. A connection is never closed from outside: it is
//! told to end, and ends itself on its own worker, where it is known whether a request has come meanwhile.

use std::collections::{BinaryHeap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What all unfinished heads may hold beyond [`HEAD_ALLOWANCE`] each: 128 heads of the largest size that actix reads
/// (128 KiB). Heads of webhooks have a few KiB and never count.
const HEADS_BUDGET: usize = 16 * 1024 * 1024;
/// actix gives every connection a buffer of this size at its opening: a head that fits takes nothing more.
pub const HEAD_ALLOWANCE: usize = 8 * 1024;
/// Accepted connections that wait for a slot; the rest waits in the system's backlog. A few, so that the one that is
/// told to end can go before the next one must be accepted.
pub const WAITING_FOR_A_SLOT: usize = 32;
/// A connection is not closed for room sooner: whoever opens one, or goes on with one, needs a moment to send.
const GRACE: Duration = Duration::from_millis(50);
/// How many of the longest idle are looked up at a time: the table is read once for so many.
const CANDIDATES: usize = 32;

/// States of a slot in `idle_since`; everything below is a time.
const FREE: u64 = u64::MAX;
const BUSY: u64 = u64::MAX - 1;
const ENDING: u64 = u64::MAX - 2;
const LATEST: u64 = u64::MAX - 3;

/// How long a connection may take over what is not a request in hand.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// From one request to the next.
    pub idle: Duration,
}

/// The connections of one listener.
pub struct Connections {
    slots: Box<[Slot]>,
    free: Mutex<Vec<usize>>,
    permits: Arc<Semaphore>,
    epoch: Instant,
    deadlines: Deadlines,
    /// Accepted, and without a slot.
    waiting: AtomicUsize,
    /// Told to end, and not gone yet.
    ending: AtomicUsize,
    /// Of all unfinished heads, beyond the allowance of each.
    heads: AtomicUsize,
    heads_budget: usize,
    longest_idle: Candidates,
    oldest_heads: Candidates,
    full: AtomicBool,
    reclaim: Reclaim,
}

/// Ends a request that nobody has to wait for, where no connection is idle.
pub type Reclaim = Box<dyn Fn() + Send + Sync>;

/// Aligned: neighbours belong to different workers and would share a cache line.
#[repr(align(64))]
struct Slot {
    /// Microseconds since the epoch, or a state.
    idle_since: AtomicU64,
    /// When the first byte of an unfinished head came; [`FREE`]: there is none.
    head_since: AtomicU64,
    /// What its unfinished head holds beyond its allowance.
    head: AtomicUsize,
    waker: AtomicWaker,
}

impl Connections {
    /// At most `max` at a time.
    pub fn new(max: usize, deadlines: Deadlines, reclaim: Reclaim) -> Arc<Self> {
        Self::with_budget(max, deadlines, reclaim, HEADS_BUDGET)
    }

    fn with_budget(max: usize, deadlines: Deadlines, reclaim: Reclaim, heads_budget: usize) -> Arc<Self> {
        let slots = (0..max.max(1)).map(|_| Slot {
            idle_since: AtomicU64::new(FREE),
            head_since: AtomicU64::new(FREE),
            head: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
        });
        let slots: Box<[Slot]> = slots.collect();
        Arc::new(Self {
            free: Mutex::new((0..slots.len()).rev().collect()),
            permits: Arc::new(Semaphore::new(slots.len().min(Semaphore::MAX_PERMITS))),
            slots,
            epoch: Instant::now(),
            deadlines,
            waiting: AtomicUsize::new(0),
            ending: AtomicUsize::new(0),
            heads: AtomicUsize::new(0),
            heads_budget,
            longest_idle: Candidates::default(),
            oldest_heads: Candidates::default(),
            full: AtomicBool::new(false),
            reclaim,
        })
    }

    pub fn max(&self) -> usize {
        self.slots.len()
    }

    /// A slot for a new connection. When all are in use the longest idle connection is told to end; where all have a
    /// request in hand, a slow one is reclaimed, and the new one waits: closing it would lose a webhook that can still
    /// be taken.
    pub async fn admit(self: &Arc<Self>) -> Option<Place> {
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                if !self.full.swap(true, SeqCst) {
                    tracing::warn!(max = self.max(), "all connections are in use: the longest idle ones are closed");
                }
                let _waiting = Waiting::begin(self);
                let mut permit = pin!(self.permits.clone().acquire_owned());
                loop {
                    if !self.make_room() {
                        (self.reclaim)();
                    }
                    if let Ok(permit) = timeout(GRACE, &mut permit).await {
                        break permit.ok()?;
                    }
                }
            }
        };
        let index = locked(&self.free).pop()?;
        let slot = self.slots.get(index)?;
        slot.head_since.store(FREE, SeqCst);
        slot.idle_since.store(self.now(), SeqCst);
        Some(Place { connections: self.clone(), index, _permit: permit })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(LATEST).min(LATEST)
    }

    /// `None`: before the epoch.
    fn ago(&self, time: Duration) -> Option<u64> {
        self.now().checked_sub(u64::try_from(time.as_micros()).unwrap_or(LATEST))
    }

    /// One connection ends for each that waits. False: there are not enough idle ones.
    fn make_room(&self) -> bool {
        while self.waiting.load(SeqCst) > self.ending.load(SeqCst) {
            let since = |slot: &Slot| slot.idle_since.load(SeqCst);
            let Some(before) = self.ago(GRACE) else { return false };
            let Some((index, since)) = self.longest_idle.next(&self.slots, since, before) else { return false };
            self.end(index, since);
        }
        true
    }

    /// The oldest unfinished heads go until the rest fits.
    fn keep_heads_within_budget(&self) {
        while self.heads.load(SeqCst) > self.heads_budget {
            let since = |slot: &Slot| {
                let counts = slot.head.load(SeqCst) > 0 && slot.idle_since.load(SeqCst) <= LATEST;
                if counts { slot.head_since.load(SeqCst).min(LATEST) } else { FREE }
            };
            let Some((index, _)) = self.oldest_heads.next(&self.slots, since, LATEST) else { return };
            let Some(slot) = self.slots.get(index) else { return };
            // Given back as soon as it is told to end: it reads no more.
            self.forget_head(slot);
            self.end(index, slot.idle_since.load(SeqCst));
        }
    }

    fn forget_head(&self, slot: &Slot) {
        self.heads.fetch_sub(slot.head.swap(0, SeqCst), SeqCst);
    }

    /// Tells a connection to end, unless it is not idle since then any more.
    fn end(&self, index: usize, since: u64) {
        let Some(slot) = self.slots.get(index) else { return };
        if since <= LATEST && slot.idle_since.compare_exchange(since, ENDING, SeqCst, SeqCst).is_ok() {
            self.ending.fetch_add(1, SeqCst);
            slot.waker.wake();
        }
    }

    /// Ends what takes too long. actix limits only the first head of a connection, and not one that begins behind
    /// another request.
    fn enforce_deadlines(&self) {
        let (head_before, idle_before) = (self.ago(self.deadlines.head), self.ago(self.deadlines.idle));
        for (index, slot) in self.slots.iter().enumerate() {
            let idle_since = slot.idle_since.load(SeqCst);
            let is_idle = idle_before.is_some_and(|limit| idle_since < limit);
            if is_idle || head_before.is_some_and(|limit| slot.head_since.load(SeqCst) < limit) {
                self.end(index, idle_since);
            }
        }
        // Said again when it happens again.
        if self.permits.available_permits() > self.max() / 10 {
            self.full.store(false, SeqCst);
        }
    }
}

/// Once a second, as long as the connections are in use.
pub async fn enforce_deadlines(connections: Weak<Connections>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(connections) = connections.upgrade() else { return };
        connections.enforce_deadlines();
    }
}

struct Waiting<'a>(&'a Connections);

impl<'a> Waiting<'a> {
    fn begin(connections: &'a Connections) -> Self {
        connections.waiting.fetch_add(1, SeqCst);
        Self(connections)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

/// A connection's slot: free again when this is dropped.
pub struct Place {
    connections: Arc<Connections>,
    index: usize,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn slot(&self) -> Option<&Slot> {
        self.connections.slots.get(self.index)
    }

    fn change(&self, to: u64) {
        let Some(slot) = self.slot() else { return };
        if slot.idle_since.swap(to, SeqCst) == ENDING {
            // A request came before the end: another connection has to go.
            self.connections.ending.fetch_sub(1, SeqCst);
            self.connections.make_room();
        }
    }

    /// It has a request in hand, or an answer that is not written yet.
    pub fn busy(&self) {
        self.change(BUSY);
        if let Some(slot) = self.slot() {
            slot.head_since.store(FREE, SeqCst);
            if slot.head.load(SeqCst) > 0 {
                self.connections.forget_head(slot);
            }
        }
    }

    /// From now on it may be told to end.
    pub fn idle(&self) {
        self.change(self.connections.now());
        if self.connections.waiting.load(SeqCst) > 0 {
            self.connections.make_room();
        }
    }

    pub fn is_ending(&self) -> bool {
        self.slot().is_some_and(|slot| slot.idle_since.load(SeqCst) == ENDING)
    }

    /// Whoever is to be woken when it is told to end.
    pub fn register(&self, waker: &Waker) {
        if let Some(slot) = self.slot() {
            slot.waker.register(waker);
        }
    }

    /// The first byte of a head came.
    pub fn head_begins(&self) {
        if let Some(slot) = self.slot() {
            slot.head_since.store(self.connections.now(), SeqCst);
        }
    }

    /// So much more of an unfinished head is held, beyond the allowance.
    pub fn head_grows(&self, by: usize) {
        if let Some(slot) = self.slot() {
            slot.head.fetch_add(by, SeqCst);
            self.connections.heads.fetch_add(by, SeqCst);
            self.connections.keep_heads_within_budget();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(slot) = self.slot() else { return };
        self.connections.forget_head(slot);
        if slot.idle_since.swap(FREE, SeqCst) == ENDING {
            self.connections.ending.fetch_sub(1, SeqCst);
        }
        slot.waker.take();
        locked(&self.connections.free).push(self.index);
    }
}

/// The slots with the earliest times, in order. Times only move forward: a candidate whose time is still the same is
/// still one of the earliest.
#[derive(Default)]
struct Candidates(Mutex<VecDeque<(u64, usize)>>);

impl Candidates {
    /// The earliest, if it is not later than `before`.
    fn next(&self, slots: &[Slot], since: impl Fn(&Slot) -> u64, before: u64) -> Option<(usize, u64)> {
        let mut queue = locked(&self.0);
        while let Some((at, index)) = queue.front().copied() {
            let is_so = slots.get(index).is_some_and(|slot| since(slot) == at);
            if is_so && at > before {
                return None;
            }
            queue.pop_front();
            if is_so {
                return Some((index, at));
            }
        }
        let mut found = BinaryHeap::with_capacity(CANDIDATES + 1);
        for (index, slot) in slots.iter().enumerate() {
            let at = since(slot);
            if at <= before && (found.len() < CANDIDATES || found.peek().is_some_and(|latest| (at, index) < *latest)) {
                found.push((at, index));
                if found.len() > CANDIDATES {
                    found.pop();
                }
            }
        }
        queue.extend(found.into_sorted_vec());
        queue.pop_front().map(|(at, index)| (index, at))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines { head: Duration::from_secs(10), idle: Duration::from_secs(75) };

    async fn admitted(connections: &Arc<Connections>) -> Place {
        connections.admit().await.unwrap()
    }

    #[tokio::test]
    async fn the_oldest_unfinished_heads_go_until_the_rest_fits() {
        let connections = Connections::with_budget(10, DEADLINES, Box::new(|| {}), 100);
        let mut places = Vec::new();
        for _ in 0..4 {
            let place = admitted(&connections).await;
            place.head_begins();
            places.push(place);
        }
        let ending = |places: &[Place]| places.iter().map(Place::is_ending).collect::<Vec<_>>();
        places[1].head_grows(40);
        places[2].head_grows(40);
        places[3].busy();
        assert_eq!(ending(&places), [false; 4], "these fit");
        places[0].head_grows(40);
        assert_eq!(ending(&places), [true, false, false, false], "the oldest");
        places[2].head_grows(70);
        assert_eq!(ending(&places), [true, true, true, false], "all that held anything");
        assert_eq!(connections.heads.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn where_a_request_comes_before_the_end_the_next_longest_idle_goes() {
        let connections = Connections::new(3, DEADLINES, Box::new(|| {}));
        let first = admitted(&connections).await;
        let second = admitted(&connections).await;
        let third = admitted(&connections).await;
        second.busy();
        let newcomer = tokio::spawn({
            let connections = connections.clone();
            async move { connections.admit().await }
        });
        let until = async |place: &Place| {
            while !place.is_ending() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        until(&first).await;
        assert!(!third.is_ending(), "one goes for one that comes");
        first.busy();
        until(&third).await;
        assert!(!first.is_ending() && !second.is_ending(), "they have requests in hand");
        drop(third);
        assert!(newcomer.await.unwrap().is_some());
        assert_eq!((connections.waiting.load(SeqCst), connections.ending.load(SeqCst)), (0, 0));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_told_to_end() {
        let connections =
            Connections::new(3, Deadlines { head: Duration::ZERO, idle: Duration::from_secs(75) }, Box::new(|| {}));
        let (idle, head, busy) =
            (admitted(&connections).await, admitted(&connections).await, admitted(&connections).await);
        head.head_begins();
        busy.head_begins();
        busy.busy();
        tokio::time::sleep(Duration::from_millis(1)).await;
        connections.enforce_deadlines();
        assert_eq!([&idle, &head, &busy].map(Place::is_ending), [false, true, false]);
    }
}
