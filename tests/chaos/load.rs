//! Those who write: chats that each say one thing after the other, and send it until it is acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::support::balancer::Balancer;
use super::support::senders::{self, Signed};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chat {
    /// Replies carry an id: the receiver can tell a repeated one.
    Bridge(u32),
    /// Nothing tells a repeated reply.
    Telegram(u32),
}

const TELEGRAM_CHATS: i64 = 900_000;

impl Chat {
    pub fn text(self, number: u32) -> String {
        match self {
            Self::Bridge(chat) => format!("message {number} of bridge chat {chat}."),
            Self::Telegram(chat) => format!("message {number} of telegram chat {chat}."),
        }
    }

    /// The messages that a text quotes.
    pub fn quoted(text: &str) -> impl Iterator<Item = (Self, u32)> {
        text.split("message ").skip(1).filter_map(|rest| {
            let (number, rest) = rest.split_once(" of ")?;
            let (kind, rest) = rest.split_once(" chat ")?;
            let chat = rest.split_once('.')?.0.parse().ok()?;
            let chat = if kind == "bridge" { Self::Bridge(chat) } else { Self::Telegram(chat) };
            Some((chat, number.parse().ok()?))
        })
    }

    pub fn id(self, number: u32) -> String {
        match self {
            Self::Bridge(chat) => format!("b{chat}-{number}"),
            Self::Telegram(chat) => format!("t{chat}-{number}"),
        }
    }

    /// As its platform writes it.
    pub fn address(self) -> String {
        match self {
            Self::Bridge(chat) => format!("chat-{chat}."),
            Self::Telegram(chat) => (TELEGRAM_CHATS + i64::from(chat)).to_string(),
        }
    }

    fn webhook(self, number: u32) -> (&'static str, Signed) {
        match self {
            Self::Bridge(_) => {
                ("bridge", senders::bridge_message(&self.address(), &self.id(number), &self.text(number)))
            }
            Self::Telegram(chat) => {
                let chat = TELEGRAM_CHATS + i64::from(chat);
                ("telegram", senders::telegram_message(chat, number, &self.text(number)))
            }
        }
    }

    /// Half of them with ids in their replies, half without.
    pub fn some(number: u32) -> Vec<Self> {
        (0..number).map(|chat| if chat % 2 == 0 { Self::Bridge(chat) } else { Self::Telegram(chat) }).collect()
    }
}

/// Where the senders' webhooks go.
#[derive(Clone)]
pub struct Front {
    http: reqwest::Client,
    bases: Arc<[String]>,
    next: Arc<AtomicUsize>,
    /// It finds a replica that is there by itself: its sender must never see a connection fail.
    is_balanced: bool,
}

/// A load balancer tries one replica after the other: a frozen one costs its 5 s, a chat that the frozen one had in
/// its hands 2.5 s at each of the others, before the sender is told to come again.
const PATIENCE: Duration = Duration::from_secs(20);

impl Front {
    /// The replicas themselves: another one every time, and the next one where one doesn't answer.
    pub fn direct(http: reqwest::Client, replicas: &[SocketAddr]) -> Self {
        let bases = replicas.iter().map(|replica| format!("http://{replica}")).collect();
        Self { http, bases, next: Arc::default(), is_balanced: false }
    }

    pub fn balanced(balancer: &Balancer) -> Self {
        let bases = Arc::new([balancer.base()]);
        Self { http: balancer.http.clone(), bases, next: Arc::default(), is_balanced: true }
    }

    /// Whether a webhook would reach a replica; one that isn't authentic is refused by it.
    pub async fn is_open(&self) -> Option<()> {
        let request = self.http.post(format!("{}/webhooks/bridge", self.bases.first()?));
        (request.send().await.ok()?.status() == 401).then_some(())
    }

    async fn post(&self, channel: &str, signed: Signed) -> Answer {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut why = String::new();
        for number in 0..self.bases.len() {
            let base = &self.bases[(first + number) % self.bases.len()];
            let mut request = self.http.post(format!("{base}/webhooks/{channel}")).body(signed.body.clone());
            for (name, value) in &signed.headers {
                request = request.header(name, value);
            }
            match request.timeout(PATIENCE).send().await {
                Ok(answer) if answer.status() == 200 => return Answer::Taken,
                Ok(answer) if answer.status() == 503 && answer.headers().contains_key("retry-after") => {
                    return Answer::Later;
                }
                Ok(answer) => return Answer::Wrong(answer.status().to_string()),
                Err(error) => why = format!("{error:?}"),
            }
        }
        if self.is_balanced { Answer::Wrong(why) } else { Answer::Later }
    }
}

enum Answer {
    Taken,
    Later,
    Wrong(String),
}

/// What was said, and how it was taken.
#[derive(Default)]
pub struct Said {
    /// The number of each chat's last message; they begin with 1.
    last: BTreeMap<Chat, u32>,
    pub taken: u64,
    pub put_off: u64,
    /// What no sender may see.
    pub errors: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Load(Arc<Mutex<Said>>);

impl Load {
    pub fn all(&self) -> Vec<(Chat, u32)> {
        let said = self.0.lock().unwrap();
        said.last.iter().flat_map(|(chat, last)| (1..=*last).map(|number| (*chat, number))).collect()
    }

    pub fn len(&self) -> u32 {
        self.0.lock().unwrap().last.values().sum()
    }

    pub fn taken(&self) -> u64 {
        self.0.lock().unwrap().taken
    }

    pub fn put_off(&self) -> u64 {
        self.0.lock().unwrap().put_off
    }

    pub fn errors(&self) -> Vec<String> {
        self.0.lock().unwrap().errors.clone()
    }

    /// The chat's next message; returns when it is acknowledged.
    pub async fn say(&self, front: &Front, chat: Chat) {
        let number = {
            let mut said = self.0.lock().unwrap();
            let last = said.last.entry(chat).or_default();
            *last += 1;
            *last
        };
        loop {
            let (channel, signed) = chat.webhook(number);
            match front.post(channel, signed).await {
                Answer::Taken => {
                    self.0.lock().unwrap().taken += 1;
                    return;
                }
                Answer::Later => self.0.lock().unwrap().put_off += 1,
                Answer::Wrong(what) => self.0.lock().unwrap().errors.push(format!("{}: {what}", chat.text(number))),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// So many messages a second by all chats together, until it is told to stop.
    pub fn talk(&self, front: &Front, chats: Vec<Chat>, per_second: f64) -> Talk {
        let stop = CancellationToken::new();
        let every = Duration::from_secs_f64(chats.len() as f64 / per_second);
        let mut talkers = JoinSet::new();
        for (place, chat) in chats.iter().copied().enumerate() {
            let (load, front, stop) = (self.clone(), front.clone(), stop.clone());
            let first = tokio::time::Instant::now() + every.mul_f64(place as f64 / chats.len() as f64);
            talkers.spawn(async move {
                let mut tick = tokio::time::interval_at(first, every);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        _ = tick.tick() => load.say(&front, chat).await,
                        () = stop.cancelled() => return,
                    }
                }
            });
        }
        Talk { stop, talkers }
    }
}

pub struct Talk {
    stop: CancellationToken,
    talkers: JoinSet<()>,
}

impl Talk {
    /// When all that was begun is acknowledged.
    pub async fn end(self) {
        self.stop.cancel();
        self.talkers.join_all().await;
    }
}
