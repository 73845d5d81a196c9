//! A store whose work takes no time: while one of its threads is at it, the runtime's paused clock stands still. It
//! counts what it is asked, and can be away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use fini_bridge::domain::clock::Timestamp;
use fini_bridge::domain::id::*;
use fini_bridge::domain::message::{Address, ReportOutcome, Reported};
use fini_bridge::store::budgets::{Grant, Spending};
use fini_bridge::store::sqlite::Sqlite;
use fini_bridge::store::*;

pub struct Steady {
    inner: Arc<Sqlite>,
    pub is_away: AtomicBool,
    /// Likewise, for one thing that it is asked.
    pub is_away_for: Mutex<Option<&'static str>>,
    asked: Mutex<BTreeMap<&'static str, usize>>,
}

impl Steady {
    pub fn new(inner: Arc<Sqlite>) -> Self {
        Self { inner, is_away: AtomicBool::new(false), is_away_for: Mutex::default(), asked: Mutex::default() }
    }

    /// What it was asked since the last time, without what every process asks now and again.
    pub fn asked(&self) -> BTreeMap<&'static str, usize> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.remove("heartbeat");
        asked
    }

    /// As long as the guard lives, time stands still.
    fn busy(&self, what: &'static str) -> mpsc::Sender<()> {
        *self.asked.lock().unwrap().entry(what).or_default() += 1;
        let (busy, done) = mpsc::channel();
        tokio::task::spawn_blocking(move || done.recv());
        busy
    }

    fn check(&self, what: &'static str) -> Result<()> {
        if self.is_away.load(Ordering::SeqCst) || *self.is_away_for.lock().unwrap() == Some(what) {
            return Err(StoreError::Unavailable("the test says so".to_owned()));
        }
        Ok(())
    }
}

macro_rules! pass_on {
    ($trait:ident { $(fn $name:ident($($arg:ident: $type:ty),*) -> $value:ty;)* }) => {
        #[async_trait]
        impl $trait for Steady {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$value> {
                let _busy = self.busy(stringify!($name));
                self.check(stringify!($name))?;
                self.inner.$name($($arg),*).await
            })*
        }
    };
}

#[async_trait]
impl Replica for Steady {
    async fn installation_key(&self) -> Result<[u8; 32]> {
        self.inner.installation_key().await
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.check("probe")
    }

    fn join(&self, owner: &Owner, dispatcher: Arc<dyn Dispatcher>) {
        self.inner.join(owner, dispatcher);
    }

    async fn heartbeat(&self, owner: &Owner) -> Result<Heartbeat> {
        let _busy = self.busy("heartbeat");
        self.check("heartbeat")?;
        self.inner.heartbeat(owner).await
    }

    async fn announce_shutdown(&self, owner: &Owner) {
        self.inner.announce_shutdown(owner).await;
    }
}

pass_on! { Inbox {
    fn accept(items: Vec<NewItem>) -> Vec<Accepted>;
    fn known_parts(channel: &ChannelName, of: &[Reported]) -> Vec<bool>;
    fn apply_report(channel: &ChannelName, of: &Reported, outcome: &ReportOutcome) -> bool;
} }

pass_on! { Leases {
    fn lease(work: WorkKind, owner: &Owner, requests: &[LeaseRequest]) -> Due;
    fn release(lease: &Lease, next: Next) -> ();
} }

pass_on! { Turns {
    fn lane_view(lease: &Lease) -> LaneView;
    fn begin_call(lease: &Lease, turn: &Arc<Turn>, call: &Call) -> Admission;
    fn reopen(lease: &Lease, turn: TurnId, after: Duration, reason: &str) -> ();
    fn mark_unknown(lease: &Lease, turn: TurnId, note: LookupNote, after: Duration, reason: &str) -> ();
    fn finish_turn(lease: &Lease, end: &Arc<TurnEnd>, after: AfterTurn) -> Option<Box<LaneView>>;
} }

pass_on! { Conversations {
    fn conversation(lane: LaneId, generation: u32) -> Option<Conversation>;
    fn adopt(lane: LaneId, generation: u32, id: &InteractionId) -> Adopted;
} }

pass_on! { Outbox {
    fn pending_parts(lease: &Lease) -> (Timestamp, Vec<PendingPart>);
    fn begin_send(lease: &Lease, part: PartId) -> ();
    fn finish_send(lease: &Lease, part: PartId, end: &SendEnd, after: AfterSend) -> LaneState;
    fn moved(lease: &Lease, part: PartId, address: &Address) -> ();
} }

pass_on! { Budgets {
    fn spend(spending: &Spending) -> Vec<Grant>;
    fn pause(channel: &ChannelName, time: Duration) -> ();
    fn pauses() -> Vec<(ChannelName, Duration)>;
} }

pass_on! { Responses {
    fn have_ended(messages: &[MessageId]) -> Vec<MessageId>;
    fn claim_response(message: MessageId) -> Option<Vec<AnswerPart>>;
    fn response_sent(message: MessageId) -> ();
    fn release_response(message: MessageId) -> ();
} }

pass_on! { Operations {
    fn list(filter: &Filter) -> Vec<MessageDetails>;
    fn details(message: MessageId) -> Option<MessageDetails>;
    fn timeline(message: MessageId) -> Vec<JournalEntry>;
    fn find(channel: &ChannelName, key: &DeliveryKey) -> Option<MessageId>;
    fn retry(message: MessageId) -> Retried;
    fn discard(message: MessageId) -> Discarded;
    fn stats() -> Stats;
    fn enforce_retention(retention: &Retention) -> Removed;
} }
