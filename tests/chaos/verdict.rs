//! The verdict, read from what Fini and the outside have written down themselves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::load::{Chat, Load, Talk};
use super::support::outside::text_of;

#[derive(Default)]
pub struct Verdict {
    messages: u32,
    /// Times that a sender was asked to come again later.
    put_off: u64,
    accidents: usize,
    /// Acknowledged, and not stored in Fini or not answered in the chat.
    lost: Vec<String>,
    stored_twice: Vec<String>,
    /// Chats with more than one conversation.
    split: Vec<Chat>,
    /// In Fini, or in the chat.
    out_of_order: Vec<Chat>,
    wrong_chat: Vec<String>,
    /// The same part again, under the same id: the receiver can tell.
    repeated_with_key: usize,
    /// A reply twice where the platform gives no key, with an accident between the two.
    doubled_without_key: usize,
    /// Without one.
    doubled_for_no_reason: Vec<String>,
    /// Two different answers to one question.
    answered_twice: Vec<String>,
    /// What a sender may not see.
    errors: Vec<String>,
    /// What the outside refused.
    violations: Vec<String>,
    /// What only this scenario promises.
    pub broken: Vec<String>,
    /// What it measured.
    pub figures: Vec<String>,
    /// Of all processes.
    pub logs: String,
}

/// Between an accident and the moment that it shows on the outside.
const SOON_AFTER: Duration = Duration::from_millis(500);

impl Verdict {
    /// When nobody writes any more and all is answered, or nothing moves.
    pub async fn when_settled(cluster: &Cluster, load: &Load, talk: Talk) -> Self {
        talk.end().await;
        cluster.settled(load).await;
        Self::of(cluster, load)
    }

    pub fn of(cluster: &Cluster, load: &Load) -> Self {
        let mut verdict = Self {
            messages: load.len(),
            put_off: load.put_off(),
            accidents: cluster.accidents.len(),
            errors: load.errors(),
            violations: cluster.world.outside.violations(),
            logs: cluster.logs(),
            ..Self::default()
        };
        verdict.read_fini(cluster, load);
        verdict.read_outside(cluster, load);
        verdict
    }

    /// A promise of this scenario alone.
    pub fn demand(&mut self, is_kept: bool, what: impl Into<String>) {
        if !is_kept {
            self.broken.push(what.into());
        }
    }

    pub fn is_clean(&self) -> bool {
        self.wrongs().iter().all(|(_, examples)| examples.is_empty())
    }

    fn wrongs(&self) -> [(&'static str, Vec<String>); 10] {
        let chats = |chats: &[Chat]| chats.iter().map(|chat| format!("{chat:?}")).collect();
        [
            ("lost", self.lost.clone()),
            ("stored twice", self.stored_twice.clone()),
            ("split", chats(&self.split)),
            ("out of order", chats(&self.out_of_order)),
            ("wrong chat", self.wrong_chat.clone()),
            ("answered twice", self.answered_twice.clone()),
            ("doubled for no reason", self.doubled_for_no_reason.clone()),
            ("errors to senders", self.errors.clone()),
            ("refused by platforms", self.violations.clone()),
            ("broken", self.broken.clone()),
        ]
    }

    fn read_fini(&mut self, cluster: &Cluster, load: &Load) {
        let ledger = cluster.world.fini.ledger();
        let mut stored: HashMap<(Chat, u32), usize> = HashMap::new();
        let mut conversations: BTreeMap<Chat, HashSet<&str>> = BTreeMap::new();
        let mut order: BTreeMap<Chat, Vec<u32>> = BTreeMap::new();
        for ask in ledger.asks().filter(|ask| !ask.stored.is_empty()) {
            for (chat, number) in Chat::quoted(ask.content.as_deref().unwrap_or_default()) {
                *stored.entry((chat, number)).or_default() += 1;
                conversations.entry(chat).or_default().extend(ask.conversation.as_deref());
                order.entry(chat).or_default().push(number);
            }
        }
        for (chat, number) in load.all() {
            match stored.get(&(chat, number)) {
                None => self.lost.push(format!("not in Fini: {}", chat.text(number))),
                Some(1) => {}
                Some(_) => self.stored_twice.push(chat.text(number)),
            }
        }
        self.split = conversations.iter().filter(|(_, ids)| ids.len() > 1).map(|(chat, _)| *chat).collect();
        self.out_of_order = order.iter().filter(|(_, numbers)| !numbers.is_sorted()).map(|(chat, _)| *chat).collect();
    }

    fn read_outside(&mut self, cluster: &Cluster, load: &Load) {
        let sent = cluster.world.outside.sent();
        let mut ids: HashMap<&str, usize> = HashMap::new();
        let mut answers: HashMap<&str, HashSet<&str>> = HashMap::new();
        let mut shown: BTreeMap<(Chat, u32), Vec<Instant>> = BTreeMap::new();
        let mut order: BTreeMap<Chat, Vec<u32>> = BTreeMap::new();
        for call in &sent {
            let address = match call.body["chat"].as_str() {
                Some(chat) => chat.to_owned(),
                None => call.body["chat_id"].to_string(),
            };
            if call.path == "/callback" {
                let id = call.body["id"].as_str().unwrap_or_default();
                *ids.entry(id).or_default() += 1;
                for question in call.body["in_reply_to"].as_array().into_iter().flatten().filter_map(|id| id.as_str()) {
                    answers.entry(question).or_default().insert(id);
                }
            }
            for (chat, number) in Chat::quoted(&text_of(call)) {
                if chat.address() != address {
                    self.wrong_chat.push(chat.text(number));
                    continue;
                }
                let times = shown.entry((chat, number)).or_default();
                if times.is_empty() {
                    order.entry(chat).or_default().push(number);
                }
                times.push(call.at);
            }
        }
        self.repeated_with_key = ids.values().map(|times| times - 1).sum();
        self.out_of_order.extend(order.iter().filter(|(_, numbers)| !numbers.is_sorted()).map(|(chat, _)| *chat));
        for (chat, number) in load.all() {
            let text = chat.text(number);
            if answers.get(chat.id(number).as_str()).is_some_and(|ids| ids.len() > 1) {
                self.answered_twice.push(text.clone());
            }
            let Some(times) = shown.get(&(chat, number)) else {
                self.lost.push(format!("not answered: {text}"));
                continue;
            };
            if matches!(chat, Chat::Telegram(_)) {
                for pair in times.windows(2) {
                    let between = |at: &Instant| pair[0] <= *at + SOON_AFTER && *at <= pair[1];
                    if cluster.accidents.iter().any(between) {
                        self.doubled_without_key += 1;
                    } else {
                        self.doubled_for_no_reason.push(text.clone());
                    }
                }
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages, {} accidents, {} times put off", self.messages, self.accidents, self.put_off)?;
        write!(f, "; repeated under the same id {}", self.repeated_with_key)?;
        write!(f, ", doubled without a key after an accident {}", self.doubled_without_key)?;
        let wrongs = self.wrongs();
        write!(f, "; ")?;
        for (place, (name, examples)) in wrongs.iter().enumerate() {
            write!(f, "{}{name} {}", if place == 0 { "" } else { ", " }, examples.len())?;
        }
        for figure in &self.figures {
            write!(f, "\n         {figure}")?;
        }
        for (name, examples) in wrongs.iter().filter(|(_, examples)| !examples.is_empty()) {
            write!(f, "\n         {name}: {}", examples.iter().take(5).cloned().collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }
}
