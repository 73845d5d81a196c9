//! The workers on a real store, with a Fini and a platform of the tests' own, in time that passes only while nobody
//! has anything to do.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fini_bridge::domain::clock::{Clock, Timestamp};
use fini_bridge::domain::id::*;
use fini_bridge::domain::message::*;
use fini_bridge::domain::secret::Secret;
use fini_bridge::domain::span::Rate;
use fini_bridge::fini::{
    Api, Ask, AskError, Conversation as FiniConversation, Event, EventKind, EventRole, Page, Query, ReadError, Target,
};
use fini_bridge::pipeline::channel::{Accept, Channel, Conversations, Replies};
use fini_bridge::pipeline::rate_limit::{CallBudget, RateLimiter};
use fini_bridge::pipeline::response_waiters::ResponseWaiters;
use fini_bridge::pipeline::{Deps, FiniKey, Pipeline};
use fini_bridge::platform::{
    Account, Delivery, Malformed, NoSample, Pace, Parsed, Platform, Registration, Rendering, Sample, SampleOf,
    SendError, SendFailure,
};
use fini_bridge::signature::{RawWebhook, Refused, Verified};
use fini_bridge::store::sqlite::Sqlite;
use fini_bridge::store::{Inbox, MessageDetails, Mode, NewItem, NewMessage, Operations};
use fini_bridge::telemetry::Metrics;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::steady::Steady;

pub const SECOND: Duration = Duration::from_secs(1);
const BEGUN: Timestamp = Timestamp::from_secs(1_790_000_000);

pub struct World {
    pub store: Arc<Steady>,
    pub fini: Arc<Fini>,
    pub platform: Arc<Chats>,
    pub begun: Instant,
    pub pipeline: Pipeline,
    _folder: tempfile::TempDir,
}

/// What differs from one test to the next.
pub struct Setup {
    pub max_in_flight: usize,
    pub pace: Pace,
    /// Of calls to Fini.
    pub rate: Option<Rate>,
    pub conversations: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self { max_in_flight: 64, pace: Pace { channel: None, chat: None }, rate: None, conversations: "" }
    }
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub async fn start_with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let clock = Arc::new(RuntimeClock { runtime: Handle::current(), begun });
        let store = Sqlite::open(&folder.path().join("bridge.db"), Mode::Serve, clock.clone()).await.unwrap();
        let store = Arc::new(Steady::new(store));
        let (fini, platform) = (Arc::new(Fini::new(begun)), Arc::new(Chats::new(begun)));
        let channel = Channel {
            name: ChannelName::new("shop"),
            platform: platform.clone(),
            bot_id: BotId::new("bot"),
            bots: Vec::new(),
            enabled: true,
            accept: vec![Accept::All],
            secrets: Vec::new(),
            conversations: toml::from_str::<Conversations>(setup.conversations).unwrap(),
            replies: Replies { failure_text: "Sorry.".to_owned(), ..Replies::default() },
            limiter: RateLimiter::new(setup.pace, watch::channel(1).1),
            keep: 30 * 24 * 3600 * SECOND,
            key: 0,
        };
        let budget = CallBudget::new(setup.rate, &Secret::new("key"), store.clone(), &watch::channel(1).1);
        let key = FiniKey { client: fini.clone(), settle: 4 * SECOND, max_in_flight: setup.max_in_flight, budget };
        let deps = Deps {
            store: store.clone(),
            channels: BTreeMap::from([(channel.name.clone(), Arc::new(channel))]),
            keys: vec![key],
            clock,
            metrics: Arc::new(Metrics::default()),
            waiters: Arc::<ResponseWaiters>::default(),
            replicas: watch::Sender::new(1),
            installation_key: [7; 32],
            cache_capacity: 1000,
        };
        let pipeline = Pipeline::start(deps);
        // Its first heartbeat is heard.
        tokio::time::sleep(SECOND / 10).await;
        Self { store, fini, platform, begun, pipeline, _folder: folder }
    }

    /// Somebody writes.
    pub async fn say(&self, chat: &str, text: &str) -> MessageId {
        let message = NewMessage {
            id: MessageId::generate(),
            channel: ChannelName::new("shop"),
            delivery_key: DeliveryKey::new(format!("{chat}: {text}")),
            chat: ChatKey::new(chat),
            chat_ref: ChatRef::new(format!("ref-of-{chat}")),
            sender: Some(chat.to_owned()),
            sender_ref: Some(SenderRef::new(chat)),
            role: Role::User,
            text: text.to_owned(),
            too_long: false,
            user_attributes: Map::new(),
            attributes_ref: AttributesRef::new("none"),
            bot_id: BotId::new("bot"),
            address: Address(json!({ "chat": chat })),
            sort_at: None,
            only_if_known: false,
            secret: None,
            merge_window: Duration::ZERO,
            wait: None,
            dormant: false,
        };
        let id = message.id;
        self.store.accept(vec![NewItem::Message(Box::new(message))]).await.unwrap();
        id
    }

    /// Until so many parts were delivered.
    pub async fn delivered(&self, number: usize) -> Vec<Sent> {
        self.until("delivered", || self.platform.sent().len() >= number).await;
        self.platform.sent()
    }

    /// Two hours at most, which pass in no time.
    pub async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + 2 * 3600 * SECOND;
        while !is_so() {
            assert!(Instant::now() < until, "never: {what}");
            tokio::time::sleep(SECOND / 50).await;
        }
    }

    pub fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    pub async fn details(&self, message: MessageId) -> MessageDetails {
        self.store.details(message).await.unwrap().unwrap()
    }
}

/// The store's and everybody's clock is that of the runtime, also on the store's own threads.
struct RuntimeClock {
    runtime: Handle,
    begun: Instant,
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        let _time = self.runtime.enter();
        BEGUN.plus(self.begun.elapsed())
    }
}

/// A question that Fini got.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: f64,
    pub content: String,
    pub is_new: bool,
}

type Answer = dyn Fn(&Asked, usize) -> (Duration, Result<(), AskError>) + Send + Sync;

/// Answers what it is told to; shows all conversations that began, unless it is told otherwise.
pub struct Fini {
    begun: Instant,
    asked: Mutex<Vec<Asked>>,
    answer: Mutex<Box<Answer>>,
    /// By our reference.
    conversations: Mutex<HashMap<String, FiniConversation>>,
    events: AtomicU64,
    pub list_is_throttled: AtomicBool,
    pub lists: AtomicU64,
}

impl Fini {
    fn new(begun: Instant) -> Self {
        Self {
            begun,
            asked: Mutex::default(),
            answer: Mutex::new(Box::new(|_, _| (Duration::ZERO, Ok(())))),
            conversations: Mutex::default(),
            events: AtomicU64::new(0),
            list_is_throttled: AtomicBool::new(false),
            lists: AtomicU64::new(0),
        }
    }

    /// What comes of each question, by how often the same words were asked before, and how long that takes.
    pub fn answers(&self, answer: impl Fn(&Asked, usize) -> (Duration, Result<(), AskError>) + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// When these words were asked.
    pub fn asked_at(&self, content: &str) -> Vec<f64> {
        self.asked().iter().filter(|asked| asked.content == content).map(|asked| asked.at).collect()
    }

    fn event(&self, role: EventRole, message: &str) -> Event {
        let id = EventId::new(format!("event-{}", self.events.fetch_add(1, Ordering::SeqCst)));
        let message = Some(message.to_owned());
        Event { id: Some(id), created_at: None, role, kind: EventKind::Message, message, raw: Value::Null }
    }
}

#[async_trait]
impl Api for Fini {
    async fn generate_answer(&self, ask: &Ask<'_>) -> Result<Vec<Event>, AskError> {
        let is_new = matches!(ask.target, Target::Agent(_));
        let asked = Asked { at: self.begun.elapsed().as_secs_f64(), content: ask.content.to_owned(), is_new };
        let before = self.asked_at(ask.content).len();
        self.asked.lock().unwrap().push(asked.clone());
        let (takes, outcome) = self.answer.lock().unwrap()(&asked, before);
        tokio::time::sleep(takes).await;
        outcome?;
        let events = vec![
            self.event(EventRole::User, ask.content),
            self.event(EventRole::Finibot, &format!("re: {}", ask.content)),
        ];
        let reference = ask.user_attributes["fini_bridge_ref"].as_str().unwrap().to_owned();
        let mut conversations = self.conversations.lock().unwrap();
        let number = conversations.len();
        let conversation = conversations.entry(reference).or_insert_with(|| FiniConversation {
            id: InteractionId::new(format!("conversation-{number}")),
            created_at: None,
            status: None,
            user_attributes: ask.user_attributes.clone(),
            events: Vec::new(),
            raw: Value::Null,
        });
        conversation.events.extend(events.iter().cloned());
        Ok(events)
    }

    async fn list_conversations(&self, _: &Query) -> Result<Page, ReadError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        if self.list_is_throttled.load(Ordering::SeqCst) {
            return Err(ReadError::Throttled { retry_after: None });
        }
        let conversations = self.conversations.lock().unwrap().values().cloned().collect();
        Ok(Page { conversations, has_more: false, next_cursor: None, prev_cursor: None })
    }

    async fn get_conversation(&self, id: &InteractionId) -> Result<FiniConversation, ReadError> {
        let conversations = self.conversations.lock().unwrap();
        let found = conversations.values().find(|conversation| conversation.id == *id).cloned();
        found.ok_or(ReadError::Failed { status: 500 })
    }
}

/// A part that the platform got.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: f64,
    pub chat: String,
    pub text: String,
    pub id: PartId,
}

type Taking = dyn Fn(&Sent, usize) -> Result<(), SendError> + Send + Sync;

/// The platform: each word of a reply is a part of its own.
pub struct Chats {
    begun: Instant,
    sent: Mutex<Vec<Sent>>,
    tried: Mutex<Vec<Sent>>,
    take: Mutex<Arc<Taking>>,
}

impl Chats {
    fn new(begun: Instant) -> Self {
        Self { begun, sent: Mutex::default(), tried: Mutex::default(), take: Mutex::new(Arc::new(|_, _| Ok(()))) }
    }

    /// What comes of each send, by how often the part was tried before.
    pub fn takes(&self, take: impl Fn(&Sent, usize) -> Result<(), SendError> + Send + Sync + 'static) {
        *self.take.lock().unwrap() = Arc::new(take);
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    pub fn tried(&self) -> Vec<Sent> {
        self.tried.lock().unwrap().clone()
    }
}

#[async_trait]
impl Platform for Chats {
    fn name(&self) -> &'static str {
        "custom"
    }

    fn precheck(&self, _: &RawWebhook, _: Timestamp) -> Result<(), Refused> {
        unreachable!("no webhooks here")
    }

    fn verify(&self, _: RawWebhook, _: Timestamp) -> Result<Verified, Refused> {
        unreachable!("no webhooks here")
    }

    fn parse(&self, _: &Verified) -> Result<Parsed, Malformed> {
        unreachable!("no webhooks here")
    }

    fn render(&self, reply: &Reply, _: &Rendering<'_>) -> Result<Vec<Part>, Malformed> {
        if reply.kind != ReplyKind::Message {
            return Ok(Vec::new());
        }
        Ok(reply.text.split('|').map(|part| Part(Value::from(part))).collect())
    }

    async fn send(&self, delivery: Delivery<'_>) -> Result<Receipt, SendFailure> {
        let sent = Sent {
            at: self.begun.elapsed().as_secs_f64(),
            chat: delivery.address.0["chat"].as_str().unwrap().to_owned(),
            text: delivery.part.0.as_str().unwrap().to_owned(),
            id: delivery.id,
        };
        let before = self.tried().iter().filter(|tried| tried.id == sent.id).count();
        self.tried.lock().unwrap().push(sent.clone());
        let take = self.take.lock().unwrap().clone();
        take(&sent, before)?;
        self.sent.lock().unwrap().push(sent);
        Ok(Receipt(None))
    }

    fn pace(&self) -> Pace {
        Pace { channel: None, chat: None }
    }

    async fn check(&self) -> Result<Option<Account>, SendError> {
        Ok(None)
    }

    async fn register(&self, _: &str) -> Result<Registration, SendError> {
        unreachable!("not here")
    }

    fn sample(&self, _: &SampleOf<'_>, _: Timestamp) -> Result<Sample, NoSample> {
        unreachable!("not here")
    }
}
