//! Admission of the calls of one Fini key: in the order of [`Priority`], within `fini.rate`, and as far as Fini takes them.
//!
//! The ledger of `fini.rate` is in the store, so that the rate holds over replicas, commands and restarts. A task for
//! each key asks the store for what waits at that moment, all together. What Fini takes is learned from its 429s
//! ([`Throttle`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::throttle::Throttle;

use crate::domain::id::{BudgetKey, InteractionId};
use crate::domain::secret::Secret;
use crate::domain::span::Rate;
use crate::fini::{Api, Ask, AskError, Conversation, Event, Page, Query, ReadError};
use crate::pipeline::retry::backoff;
use crate::signature::hmac_hex;
use crate::store::StoreError;
use crate::store::budgets::{Budgets, Grant, Request, Spending};

/// A look-up that has waited so long goes before turns: a chat waits for it, too.
const LOOK_UPS_WAIT: Duration = Duration::from_secs(10);
const STORE_FIRST: Duration = Duration::from_millis(100);
const STORE_LONGEST: Duration = Duration::from_secs(2);
/// Between two requests of one process to the store, so that others have theirs. Never the same, so that no process is
/// always the first.
const BETWEEN: Duration = Duration::from_millis(20);
/// After a 429, what may begin begins within this or waits again: a store that hangs makes no crowd of it.
const USE_WITHIN: Duration = Duration::from_secs(1);

/// What a call is for. The budget is spent in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Turn,
    /// What became of a call, and the ids of new conversations.
    LookUp,
    Export,
}

impl Priority {
    /// How much of the budget may be spent, in hundredths, with calls of this kind: other processes may need the rest for
    /// something that goes before.
    fn share(self) -> u64 {
        match self {
            Self::Turn => 100,
            Self::LookUp => 90,
            Self::Export => 25,
        }
    }

    fn of(self, limit: u32) -> u32 {
        u32::try_from(u64::from(limit) * self.share() / 100).unwrap_or(u32::MAX).max(1)
    }
}

/// The right to one call, for a short time.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    /// `None`: nothing is limited.
    until: Option<Instant>,
}

impl Permit {
    /// Whether the call may still begin. Otherwise it needs another permit.
    pub fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// The calls of one Fini key. Clones share it.
#[derive(Clone)]
pub struct CallBudget {
    /// `None`: as many as come.
    admission: Option<Arc<Admission>>,
}

struct Admission {
    waiting: mpsc::UnboundedSender<Waiting>,
    throttles: Arc<Throttles>,
}

struct Waiting {
    priority: Priority,
    since: Instant,
    permit: oneshot::Sender<Permit>,
}

/// What Fini's 429s left. One for a turn concerns all calls of the key. One for a read concerns reads: where List alone
/// is throttled, answers go on as before.
struct Throttles {
    all: Mutex<Throttle>,
    reads: Mutex<Throttle>,
}

fn lock(throttle: &Mutex<Throttle>) -> MutexGuard<'_, Throttle> {
    throttle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CallBudget {
    /// `live`: how many replicas share the store. Must be made within a runtime.
    pub fn new(rate: Option<Rate>, key: &Secret, store: Arc<dyn Budgets>, live: &watch::Receiver<u32>) -> Self {
        let (waiting, requests) = mpsc::unbounded_channel();
        let throttle = || Mutex::new(Throttle::new(live.clone(), Instant::now()));
        let throttles = Arc::new(Throttles { all: throttle(), reads: throttle() });
        let spender = Spender {
            ledger: rate.map(|rate| Ledger::new(rate, key, store)),
            throttles: throttles.clone(),
            queues: BTreeMap::new(),
            blocked: BTreeMap::new(),
        };
        tokio::spawn(spender.run(requests));
        Self { admission: Some(Arc::new(Admission { waiting, throttles })) }
    }

    pub fn unlimited() -> Self {
        Self { admission: None }
    }

    /// A client whose 429s this learns from.
    pub fn watch(&self, client: Arc<dyn Api>) -> Arc<dyn Api> {
        match &self.admission {
            Some(admission) => Arc::new(Watched { client, throttles: admission.throttles.clone() }),
            None => client,
        }
    }

    /// Waits until the call may be made.
    pub async fn acquire(&self, priority: Priority) -> Permit {
        self.acquire_after(priority, Duration::ZERO).await
    }

    /// For who has waited for so long already. Of one priority, who has waited longest goes first.
    pub async fn acquire_after(&self, priority: Priority, waited: Duration) -> Permit {
        let Some(admission) = &self.admission else { return Permit { until: None } };
        let (permit, granted) = oneshot::channel();
        let now = Instant::now();
        let since = now.checked_sub(waited).unwrap_or(now);
        match admission.waiting.send(Waiting { priority, since, permit }) {
            Ok(()) => match granted.await {
                Ok(permit) => permit,
                // The runtime ends, and this call with it.
                Err(_) => std::future::pending().await,
            },
            Err(_) => std::future::pending().await,
        }
    }
}

/// `fini.rate` of one key.
struct Ledger {
    store: Arc<dyn Budgets>,
    budget: BudgetKey,
    window: Duration,
    limit: u32,
    use_within: Duration,
}

impl Ledger {
    fn new(rate: Rate, key: &Secret, store: Arc<dyn Budgets>) -> Self {
        let mut budget = hmac_hex(key.expose().as_bytes(), &[b"fini.rate"]);
        budget.truncate(32);
        Self {
            store,
            budget: BudgetKey::new(budget),
            window: rate.per,
            // 5 % are left for calls that don't go through the bridge.
            limit: u32::try_from(u64::from(rate.count) * 95 / 100).unwrap_or(u32::MAX).max(1),
            use_within: (rate.per / 20).clamp(Duration::from_millis(100), Duration::from_secs(2)),
        }
    }

    /// What one process asks for at once.
    fn at_once(&self) -> u32 {
        (self.limit / 8).max(1)
    }

    async fn spend(&self, kinds: &[(Priority, u32)]) -> Result<Vec<Grant>, StoreError> {
        let request =
            |(priority, number): &(Priority, u32)| Request { number: *number, limit: priority.of(self.limit) };
        let spending = Spending {
            budget: self.budget.clone(),
            window: self.window,
            use_within: self.use_within,
            requests: kinds.iter().map(request).collect(),
        };
        self.store.spend(&spending).await
    }
}

/// Admits those who wait in this process.
struct Spender {
    ledger: Option<Ledger>,
    throttles: Arc<Throttles>,
    queues: BTreeMap<Priority, VecDeque<Waiting>>,
    /// Kinds of calls for which there is nothing before this.
    blocked: BTreeMap<Priority, Instant>,
}

impl Spender {
    /// Until nobody can ask any more.
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Waiting>) {
        let mut failures = 0;
        loop {
            let wake_at = self.wake_at();
            let sleep = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(request) => self.enqueue(request),
                    None => return,
                },
                () = sleep => {}
            }
            while let Ok(request) = requests.try_recv() {
                self.enqueue(request);
            }
            let now = Instant::now();
            self.tidy(now);
            let kinds = self.ready(now);
            if kinds.is_empty() {
                continue;
            }
            match self.admit(&kinds).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, "calls to Fini wait: fini.rate can't be counted");
                    let again = Instant::now() + backoff(STORE_FIRST, STORE_LONGEST, failures);
                    self.blocked.extend(kinds.into_iter().map(|(priority, _)| (priority, again)));
                }
            }
        }
    }

    fn enqueue(&mut self, waiting: Waiting) {
        let queue = self.queues.entry(waiting.priority).or_default();
        let place = queue.partition_point(|other| other.since <= waiting.since);
        queue.insert(place, waiting);
    }

    /// Whoever has gone waits no more; look-ups that have waited long come first.
    fn tidy(&mut self, now: Instant) {
        for queue in self.queues.values_mut() {
            queue.retain(|waiting| !waiting.permit.is_closed());
        }
        if self.ageing_at().is_none_or(|at| now < at) {
            return;
        }
        let at_once = usize::try_from(lock(&self.throttles.reads).slots(now)).unwrap_or(usize::MAX);
        let Some(look_ups) = self.queues.get_mut(&Priority::LookUp) else { return };
        let old = look_ups.iter().take_while(|waiting| waiting.since + LOOK_UPS_WAIT <= now).take(at_once).count();
        let mut old: VecDeque<Waiting> = look_ups.drain(..old).collect();
        let turns = self.queues.entry(Priority::Turn).or_default();
        old.append(turns);
        *turns = old;
    }

    /// When the next look-ups go before turns, if none does now.
    fn ageing_at(&self) -> Option<Instant> {
        let front = |priority| self.queues.get(&priority).and_then(VecDeque::front);
        if front(Priority::Turn).is_some_and(|waiting| waiting.priority != Priority::Turn) {
            return None;
        }
        let old_at = front(Priority::LookUp)?.since + LOOK_UPS_WAIT;
        Some(lock(&self.throttles.reads).opens_at().map_or(old_at, |opens_at| opens_at.max(old_at)))
    }

    /// When something is to be done for those who wait.
    fn wake_at(&self) -> Option<Instant> {
        let (first, _) = self.queues.iter().find(|(_, queue)| !queue.is_empty())?;
        let (all, reads) = (lock(&self.throttles.all).opens_at(), lock(&self.throttles.reads).opens_at());
        let opens = |priority: Priority| if priority == Priority::Turn { all } else { all.max(reads) };
        let at = self.blocked.get(first).copied().max(opens(*first)).unwrap_or_else(Instant::now);
        Some(self.ageing_at().map_or(at, |ageing_at| at.min(ageing_at)))
    }

    /// The kinds of calls that wait and may begin, and how many of each: no more than a small part of the budget at
    /// once, so that other processes have theirs. Nothing is asked for while something waits that goes before.
    fn ready(&self, now: Instant) -> Vec<(Priority, u32)> {
        let at_once = self.ledger.as_ref().map_or(u32::MAX, Ledger::at_once);
        let mut slots = lock(&self.throttles.all).slots(now);
        let mut reads = lock(&self.throttles.reads).slots(now);
        let mut ready = Vec::new();
        for (priority, queue) in self.queues.iter().filter(|(_, queue)| !queue.is_empty()) {
            if self.blocked.get(priority).is_some_and(|until| now < *until) {
                break;
            }
            let waiting = u32::try_from(queue.len()).unwrap_or(u32::MAX);
            let at_once = if *priority == Priority::Export && self.ledger.is_some() { 1 } else { at_once };
            let mut number = waiting.min(at_once).min(slots);
            if *priority != Priority::Turn {
                number = number.min(reads);
                reads -= number;
            }
            slots -= number;
            if number > 0 {
                ready.push((*priority, number));
            }
            if number < waiting {
                break;
            }
        }
        ready
    }

    async fn admit(&mut self, kinds: &[(Priority, u32)]) -> Result<(), StoreError> {
        let begun = Instant::now();
        let Some(ledger) = &self.ledger else {
            kinds.iter().for_each(|(priority, number)| self.grant(*priority, *number, None));
            return Ok(());
        };
        let grants = ledger.spend(kinds).await?;
        let (until, now) = (begun + ledger.use_within, Instant::now());
        let (at_once, evenly) = (ledger.at_once(), ledger.window / Priority::Export.of(ledger.limit));
        for ((priority, number), grant) in kinds.iter().zip(grants) {
            let not_before = match grant.again_in {
                Some(again_in) => Some(now + again_in + backoff(BETWEEN, BETWEEN, 1)),
                // Evenly: what it takes in a crowd would be missed by turns later.
                None if *priority == Priority::Export => Some(now + evenly),
                None if *number >= at_once => Some(now + backoff(BETWEEN, BETWEEN, 1)),
                None => None,
            };
            match not_before {
                Some(at) => self.blocked.insert(*priority, at),
                None => self.blocked.remove(priority),
            };
            // What a slow store granted too late is lost, and asked for again.
            self.grant(*priority, if now < until { grant.number } else { 0 }, Some(until));
        }
        Ok(())
    }

    fn grant(&mut self, priority: Priority, number: u32, until: Option<Instant>) {
        let Some(queue) = self.queues.get_mut(&priority) else { return };
        let now = Instant::now();
        let (mut all, mut reads) = (lock(&self.throttles.all), lock(&self.throttles.reads));
        let limited = all.opens_at().map(|_| now + USE_WITHIN);
        let until = until.map(|until| limited.map_or(until, |limited| limited.min(until))).or(limited);
        let mut left = number;
        while left > 0
            && let Some(waiting) = queue.pop_front()
        {
            // Whoever went away in this moment leaves it to the next.
            if waiting.permit.send(Permit { until }).is_ok() {
                left -= 1;
                all.take(now);
                if waiting.priority != Priority::Turn {
                    reads.take(now);
                }
            }
        }
    }
}

/// A client, and what its 429s say of the key.
struct Watched {
    client: Arc<dyn Api>,
    throttles: Arc<Throttles>,
}

impl Watched {
    async fn read<T>(&self, call: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
        let began = Instant::now();
        lock(&self.throttles.all).begun(began);
        lock(&self.throttles.reads).begun(began);
        let read = call.await;
        if let Err(ReadError::Throttled { retry_after }) = &read {
            lock(&self.throttles.reads).throttled(began, *retry_after, Instant::now());
        }
        read
    }
}

#[async_trait]
impl Api for Watched {
    async fn generate_answer(&self, ask: &Ask<'_>) -> Result<Vec<Event>, AskError> {
        let began = Instant::now();
        lock(&self.throttles.all).begun(began);
        let answer = self.client.generate_answer(ask).await;
        if let Err(AskError::Throttled { retry_after }) = &answer {
            lock(&self.throttles.all).throttled(began, *retry_after, Instant::now());
        }
        answer
    }

    async fn list_conversations(&self, query: &Query) -> Result<Page, ReadError> {
        self.read(self.client.list_conversations(query)).await
    }

    async fn get_conversation(&self, id: &InteractionId) -> Result<Conversation, ReadError> {
        self.read(self.client.get_conversation(id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::id::ChannelName;
    use crate::store::budgets::Ledger as Spent;

    const SECOND: Duration = Duration::from_secs(1);
    const HUNDRED_A_MINUTE: Rate = Rate { count: 100, per: Duration::from_secs(60) };

    /// A ledger in memory, by tokio's clock.
    struct Shared {
        ledger: Mutex<Spent>,
        begun: Instant,
        is_away: Mutex<bool>,
        statements: Mutex<u32>,
    }

    #[async_trait]
    impl Budgets for Shared {
        async fn spend(&self, spending: &Spending) -> Result<Vec<Grant>, StoreError> {
            if *self.is_away.lock().unwrap() {
                return Err(StoreError::Unavailable("away".to_owned()));
            }
            *self.statements.lock().unwrap() += 1;
            let now = Timestamp::from_secs(1_790_000_000).plus(self.begun.elapsed());
            Ok(self.ledger.lock().unwrap().spend(spending, now))
        }

        async fn pause(&self, _: &ChannelName, _: Duration) -> Result<(), StoreError> {
            unreachable!("not here")
        }

        async fn pauses(&self) -> Result<Vec<(ChannelName, Duration)>, StoreError> {
            unreachable!("not here")
        }
    }

    fn store() -> Arc<Shared> {
        Arc::new(Shared {
            ledger: Mutex::default(),
            begun: Instant::now(),
            is_away: Mutex::new(false),
            statements: Mutex::new(0),
        })
    }

    fn process(store: &Arc<Shared>) -> CallBudget {
        CallBudget::new(Some(HUNDRED_A_MINUTE), &Secret::new("fini_key"), store.clone(), &watch::channel(1).1)
    }

    /// When each of so many calls was made, in a crowd.
    async fn calls(budget: &CallBudget, priority: Priority, number: usize) -> Vec<Instant> {
        let calls = (0..number).map(|_| {
            let budget = budget.clone();
            tokio::spawn(async move {
                assert!(budget.acquire(priority).await.is_fresh());
                Instant::now()
            })
        });
        futures::future::join_all(calls).await.into_iter().map(Result::unwrap).collect()
    }

    fn most_in_a_window(times: &[Instant], per: Duration) -> usize {
        times.iter().map(|from| times.iter().filter(|at| *at >= from && **at < *from + per).count()).max().unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn processes_keep_the_rate_together_and_use_nearly_all_of_it() {
        let store = store();
        let processes = [process(&store), process(&store), process(&store)];
        let crowds = processes.iter().map(|budget| calls(budget, Priority::Turn, 190));
        let begun = Instant::now();
        let all: Vec<Instant> = futures::future::join_all(crowds).await.into_iter().flatten().collect();
        assert_eq!(most_in_a_window(&all, HUNDRED_A_MINUTE.per), 95);
        assert!(begun.elapsed() < 5 * 64 * SECOND, "{:?}", begun.elapsed());
        let statements = *store.statements.lock().unwrap();
        assert!(statements <= 150, "{statements} statements for 570 calls");
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_starts_again_and_again_does_not_begin_anew() {
        let store = store();
        let begun = Instant::now();
        let mut all = Vec::new();
        while begun.elapsed() < 180 * SECOND {
            let budget = process(&store);
            let calls = async {
                loop {
                    let _permit = budget.acquire(Priority::Turn).await;
                    all.push(Instant::now());
                }
            };
            let _: Result<(), _> = tokio::time::timeout(SECOND, calls).await;
        }
        assert_eq!(most_in_a_window(&all, HUNDRED_A_MINUTE.per), 95);
        assert!(all.len() > 180, "{}", all.len());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_before_look_ups_and_these_before_an_export() {
        let store = store();
        let budget = process(&store);
        let (export, look_ups, turns) = tokio::join!(
            calls(&budget, Priority::Export, 30),
            calls(&budget, Priority::LookUp, 30),
            calls(&budget, Priority::Turn, 95),
        );
        let last = |times: &[Instant]| *times.iter().max().unwrap();
        let first = |times: &[Instant]| *times.iter().min().unwrap();
        assert!(last(&turns) <= first(&look_ups) && last(&look_ups) <= first(&export));
    }

    #[tokio::test(start_paused = true)]
    async fn no_turn_of_four_processes_waits_while_an_export_takes_what_they_leave() {
        let store = store();
        let processes = [(); 4].map(|()| process(&store));
        let exported = Arc::new(Mutex::new(Vec::new()));
        let export = tokio::spawn({
            let (budget, exported) = (process(&store), exported.clone());
            async move {
                loop {
                    let _permit = budget.acquire(Priority::Export).await;
                    exported.lock().unwrap().push(Instant::now());
                }
            }
        });
        // 70 turns and 10 look-ups a minute.
        let (mut turns, mut longest) = (Vec::new(), Duration::ZERO);
        for number in 0..350 {
            let begun = Instant::now();
            turns.extend(calls(&processes[number % 4], Priority::Turn, 1).await);
            longest = longest.max(begun.elapsed());
            if number % 7 == 0 {
                turns.extend(calls(&processes[number % 3], Priority::LookUp, 1).await);
            }
            tokio::time::sleep((SECOND * 60 / 70).saturating_sub(begun.elapsed())).await;
        }
        export.abort();
        let exported = exported.lock().unwrap().clone();
        let all = [turns, exported.clone()].concat();
        println!("{} calls, {} of an export; a turn waited for {longest:?}", all.len(), exported.len());
        assert!(most_in_a_window(&all, HUNDRED_A_MINUTE.per) <= 95);
        assert!(longest < SECOND / 10, "a turn waited for {longest:?}");
        assert!(!exported.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn with_more_turns_than_the_rate_allows_none_of_four_processes_waits_much_longer_than_another() {
        let store = store();
        let processes = [(); 4].map(|()| process(&store));
        let crowds = processes.iter().map(|budget| calls(budget, Priority::Turn, 150));
        let crowds = futures::future::join_all(crowds).await;
        let ends: Vec<Duration> =
            crowds.iter().map(|times| times.iter().max().unwrap().duration_since(store.begun)).collect();
        println!("each process' last call: {ends:?}");
        let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
        assert!(*last < 8 * 64 * SECOND && *first * 2 > *last, "{ends:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_longest_is_admitted_first_after_a_429() {
        let budget = CallBudget::new(None, &Secret::new("fini_key"), store(), &watch::channel(1).1);
        let now = Instant::now();
        {
            let mut all = lock(&budget.admission.as_ref().unwrap().throttles.all);
            all.begun(now);
            all.throttled(now, Some(10 * SECOND), now);
        }
        let waits = [3, 30, 20].map(|waited| {
            let budget = budget.clone();
            async move {
                let permit = budget.acquire_after(Priority::Turn, waited * SECOND).await;
                assert!(permit.is_fresh());
                (Instant::now().duration_since(now), waited)
            }
        });
        let mut admitted = futures::future::join_all(waits).await;
        admitted.sort();
        assert_eq!(admitted.iter().map(|(_, waited)| *waited).collect::<Vec<_>>(), [30, 20, 3]);
        assert!(admitted[0].0 >= 10 * SECOND && admitted[1].0 > admitted[0].0 + SECOND / 2, "{admitted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_throttled_holds_up_reads_and_no_turn() {
        let budget = CallBudget::new(None, &Secret::new("fini_key"), store(), &watch::channel(1).1);
        let now = Instant::now();
        {
            let mut reads = lock(&budget.admission.as_ref().unwrap().throttles.reads);
            reads.begun(now);
            reads.throttled(now, Some(20 * SECOND), now);
        }
        let look_up = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire(Priority::LookUp).await }
        });
        tokio::task::yield_now().await;
        calls(&budget, Priority::Turn, 100).await;
        assert_eq!(now.elapsed(), Duration::ZERO);
        assert!(look_up.await.unwrap().is_fresh());
        assert!(now.elapsed() >= 20 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn an_export_of_another_process_leaves_something_to_turns() {
        let store = store();
        let (gateway, export) = (process(&store), process(&store));
        let exporting = tokio::spawn(async move { calls(&export, Priority::Export, 100).await });
        tokio::time::sleep(5 * SECOND).await;
        let begun = Instant::now();
        calls(&gateway, Priority::Turn, 70).await;
        assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
        assert!(!exporting.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_that_a_chat_waits_for_is_not_put_off_for_ever() {
        let store = store();
        let budget = process(&store);
        let crowd = tokio::spawn({
            let budget = budget.clone();
            async move { calls(&budget, Priority::Turn, 500).await }
        });
        tokio::time::sleep(SECOND).await;
        let begun = Instant::now();
        let _permit = budget.acquire(Priority::LookUp).await;
        assert!(begun.elapsed() < 64 * SECOND, "{:?}", begun.elapsed());
        assert!(!crowd.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_store_nothing_is_called_and_with_it_all_goes_on() {
        let store = store();
        let budget = process(&store);
        *store.is_away.lock().unwrap() = true;
        let waits = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire(Priority::Turn).await }
        });
        tokio::time::sleep(60 * SECOND).await;
        assert!(!waits.is_finished());
        *store.is_away.lock().unwrap() = false;
        assert!(waits.await.unwrap().is_fresh());
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_ends_soon_and_whoever_went_away_takes_none() {
        let store = store();
        let budget = process(&store);
        let permit = budget.acquire(Priority::Turn).await;
        tokio::time::advance(2 * SECOND).await;
        assert!(!permit.is_fresh());
        calls(&budget, Priority::Turn, 94).await;
        let gone = tokio::time::timeout(SECOND, budget.acquire(Priority::Turn)).await;
        assert!(gone.is_err());
        let begun = Instant::now();
        calls(&budget, Priority::Turn, 1).await;
        assert!(begun.elapsed() > 50 * SECOND);
        let unlimited = CallBudget::new(None, &Secret::new("fini_key"), store, &watch::channel(1).1);
        assert!(unlimited.acquire(Priority::Export).await.is_fresh());
    }
}
