//! The verdict, read from what Fini and the outside have written down themselves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::cluster::{Chat, Cluster, Load};
use super::support::outside::text_of;

#[derive(Default)]
pub struct Verdict {
    messages: u32,
    /// Acknowledged, and not stored in Fini or not answered in the chat.
    lost: Vec<String>,
    stored_twice: Vec<String>,
    /// Chats with more than one conversation.
    split: Vec<Chat>,
    out_of_order: Vec<Chat>,
    wrong_chat: Vec<String>,
    /// The same part again, under the same id: the receiver can tell.
    repeated_with_key: usize,
    /// A reply twice where the platform gives no key: only after a kill between send and receipt.
    doubled_without_key: usize,
    /// Two different answers to one question.
    answered_twice: Vec<String>,
    /// What the outside refused.
    violations: Vec<String>,
}

impl Verdict {
    pub fn of(cluster: &Cluster, load: &Load) -> Self {
        let mut verdict =
            Self { messages: load.acknowledged(), violations: cluster.world.outside.violations(), ..Self::default() };
        verdict.read_fini(cluster, load);
        verdict.read_outside(cluster, load);
        if !verdict.is_clean() {
            println!("--- the last log ---\n{}", cluster.logs());
        }
        verdict
    }

    pub fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.stored_twice.is_empty()
            && self.split.is_empty()
            && self.out_of_order.is_empty()
            && self.wrong_chat.is_empty()
            && self.answered_twice.is_empty()
            && self.violations.is_empty()
    }

    fn read_fini(&mut self, cluster: &Cluster, load: &Load) {
        let ledger = cluster.world.fini.ledger();
        let mut stored: HashMap<&str, usize> = HashMap::new();
        let mut conversations: BTreeMap<Chat, HashSet<&str>> = BTreeMap::new();
        let mut order: BTreeMap<Chat, Vec<u32>> = BTreeMap::new();
        let texts: HashMap<String, (Chat, u32)> =
            load.all().map(|(chat, number)| (chat.text(number), (chat, number))).collect();
        for ask in ledger.asks().filter(|ask| !ask.stored.is_empty()) {
            let text = ask.content.as_deref().unwrap_or_default();
            *stored.entry(text).or_default() += 1;
            if let Some((chat, number)) = texts.get(text) {
                conversations.entry(*chat).or_default().extend(ask.conversation.as_deref());
                order.entry(*chat).or_default().push(*number);
            }
        }
        for text in texts.keys() {
            match stored.get(text.as_str()) {
                None => self.lost.push(format!("not in Fini: {text}")),
                Some(1) => {}
                Some(_) => self.stored_twice.push(text.clone()),
            }
        }
        self.split = conversations.iter().filter(|(_, ids)| ids.len() > 1).map(|(chat, _)| *chat).collect();
        self.out_of_order = order.iter().filter(|(_, numbers)| !numbers.is_sorted()).map(|(chat, _)| *chat).collect();
    }

    fn read_outside(&mut self, cluster: &Cluster, load: &Load) {
        let sent = cluster.world.outside.sent();
        let mut ids: HashMap<&str, usize> = HashMap::new();
        let mut answers: HashMap<&str, HashSet<&str>> = HashMap::new();
        for call in sent.iter().filter(|call| call.path == "/callback") {
            let id = call.body["id"].as_str().unwrap_or_default();
            *ids.entry(id).or_default() += 1;
            for question in call.body["in_reply_to"].as_array().into_iter().flatten().filter_map(|id| id.as_str()) {
                answers.entry(question).or_default().insert(id);
            }
        }
        self.repeated_with_key = ids.values().map(|times| times - 1).sum();
        let mut shown: HashMap<(String, String), usize> = HashMap::new();
        for call in &sent {
            let chat = match call.body["chat"].as_str() {
                Some(chat) => chat.to_owned(),
                None => call.body["chat_id"].to_string(),
            };
            *shown.entry((chat, text_of(call))).or_default() += 1;
        }
        for (chat, number) in load.all() {
            let text = chat.text(number);
            let own = match chat {
                Chat::Bridge(chat) => format!("chat-{chat}."),
                Chat::Telegram(chat) => (900_000 + i64::from(chat)).to_string(),
            };
            let mut here = 0;
            for ((to, shown), times) in shown.iter().filter(|((_, shown), _)| shown.contains(&text)) {
                if *to == own {
                    here += times;
                } else {
                    self.wrong_chat.push(shown.clone());
                }
            }
            match (chat, here) {
                (_, 0) => self.lost.push(format!("not answered: {text}")),
                (Chat::Telegram(_), here) => self.doubled_without_key += here - 1,
                (Chat::Bridge(_), _) => {}
            }
            if answers.get(chat.id(number).as_str()).is_some_and(|ids| ids.len() > 1) {
                self.answered_twice.push(text);
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages; lost {}, stored twice {}, split {}, out of order {}, wrong chat {}, answered twice {}, refused {}; \
             repeated under the same id {}, doubled without a key {}",
            self.messages,
            self.lost.len(),
            self.stored_twice.len(),
            self.split.len(),
            self.out_of_order.len(),
            self.wrong_chat.len(),
            self.answered_twice.len(),
            self.violations.len(),
            self.repeated_with_key,
            self.doubled_without_key,
        )?;
        let examples = [&self.lost, &self.stored_twice, &self.wrong_chat, &self.answered_twice, &self.violations];
        for example in examples.iter().filter_map(|list| list.first()) {
            write!(f, "\n         {example}")?;
        }
        Ok(())
    }
}
