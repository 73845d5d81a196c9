//! The chats of the page, as far as they are remembered, and who looks at them. Bounded; nothing is kept on disk.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::steps::Step;
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChatRef, InteractionId};

/// Beyond, the chat that nobody touched for longest is forgotten.
const CHATS: usize = 200;
/// Of one chat; beyond, the oldest go.
const ENTRIES: usize = 400;
/// A browser that falls behind further than this gets the whole chat anew.
const BEHIND: usize = 256;

/// A bubble.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum Entry {
    User { id: String, text: String, at: Timestamp },
    Fini { id: String, html: String, at: Timestamp, articles: Vec<Article> },
}

impl Entry {
    fn id(&self) -> &str {
        match self {
            Self::User { id, .. } | Self::Fini { id, .. } => id,
        }
    }
}

/// What an answer rests on.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Article {
    pub title: Option<String>,
    #[serde(rename = "documentUrl")]
    pub document_url: Option<String>,
}

/// How a message stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    pub message: String,
    pub steps: Vec<Step>,
    pub chat_ref: Option<ChatRef>,
    pub interaction_id: Option<InteractionId>,
}

struct Chat {
    entries: VecDeque<Entry>,
    progress: HashMap<String, Progress>,
    /// Messages that nothing has come for: while there are any, somebody may be writing.
    open: HashSet<String>,
    typing: bool,
    /// Ids of callbacks: they repeat when a callback is repeated.
    taken: VecDeque<String>,
    /// To every browser that has this chat open.
    events: broadcast::Sender<Bytes>,
    used: u64,
}

impl Chat {
    fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            progress: HashMap::new(),
            open: HashSet::new(),
            typing: false,
            taken: VecDeque::new(),
            events: broadcast::channel(BEHIND).0,
            used: 0,
        }
    }

    fn tell(&self, event: &str, content: &impl Serialize) {
        // Nobody looks: nothing to do.
        let _ = self.events.send(frame(event, content));
    }

    fn push(&mut self, entry: Entry) {
        self.tell("entry", &entry);
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES {
            if let Some(old) = self.entries.pop_front() {
                self.progress.remove(old.id());
                self.open.remove(old.id());
            }
        }
    }

    fn set_typing(&mut self, typing: bool) {
        // A repeated sign is told again: it lasts longer then.
        if typing || self.typing {
            self.typing = typing;
            self.tell("typing", &json!({ "typing": typing }));
        }
    }

    fn snapshot(&self) -> Bytes {
        let progress: Vec<&Progress> = self.entries.iter().filter_map(|entry| self.progress.get(entry.id())).collect();
        frame("snapshot", &json!({ "entries": self.entries, "progress": progress, "typing": self.typing }))
    }
}

/// One Server-Sent Event. JSON has no line breaks of its own, so `data` is one line.
fn frame(event: &str, content: &impl Serialize) -> Bytes {
    let content = serde_json::to_string(content).unwrap_or_else(|_| Value::Null.to_string());
    Bytes::from(format!("event: {event}\ndata: {content}\n\n"))
}

#[derive(Default)]
pub struct Chats(Mutex<All>);

#[derive(Default)]
struct All {
    chats: HashMap<String, Chat>,
    uses: u64,
}

impl All {
    fn chat(&mut self, id: &str) -> &mut Chat {
        if !self.chats.contains_key(id) && self.chats.len() >= CHATS {
            let oldest = self.chats.iter().min_by_key(|(_, chat)| (chat.events.receiver_count() > 0, chat.used));
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.chats.remove(&oldest);
            }
        }
        self.uses += 1;
        let chat = self.chats.entry(id.to_owned()).or_insert_with(Chat::new);
        chat.used = self.uses;
        chat
    }
}

impl Chats {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chat as it stands, and all that comes after that.
    pub fn watch(&self, chat: &str) -> (Bytes, broadcast::Receiver<Bytes>) {
        let mut all = self.all();
        let chat = all.chat(chat);
        (chat.snapshot(), chat.events.subscribe())
    }

    pub fn said(&self, chat: &str, id: &str, text: String, at: Timestamp) {
        let mut all = self.all();
        let chat = all.chat(chat);
        chat.open.insert(id.to_owned());
        chat.push(Entry::User { id: id.to_owned(), text, at });
    }

    pub fn progressed(&self, chat: &str, progress: Progress) {
        let mut all = self.all();
        let Some(chat) = all.chats.get_mut(chat) else { return };
        let known = chat.entries.iter().any(|entry| entry.id() == progress.message);
        if known && chat.progress.get(&progress.message) != Some(&progress) {
            chat.tell("progress", &progress);
            chat.progress.insert(progress.message.clone(), progress);
        }
    }

    /// Somebody writes; not believed where nothing is left to answer.
    pub fn typing(&self, chat: &str) {
        if let Some(chat) = self.all().chats.get_mut(chat)
            && !chat.open.is_empty()
        {
            chat.set_typing(true);
        }
    }

    /// These messages are answered, with something to show or without. `callback` repeats when it is repeated.
    pub fn answered(&self, chat: &str, callback: &str, in_reply_to: &[String], entry: Option<Entry>) {
        let mut all = self.all();
        // A chat that was forgotten stays so.
        let Some(chat) = all.chats.get_mut(chat) else { return };
        if chat.taken.iter().any(|taken| taken == callback) {
            return;
        }
        chat.taken.push_back(callback.to_owned());
        if chat.taken.len() > ENTRIES {
            chat.taken.pop_front();
        }
        for id in in_reply_to {
            chat.open.remove(id);
        }
        chat.set_typing(false);
        if let Some(entry) = entry {
            chat.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fini(id: &str) -> Option<Entry> {
        let at = Timestamp::from_millis(0);
        Some(Entry::Fini { id: id.to_owned(), html: id.to_owned(), at, articles: Vec::new() })
    }

    fn text(frame: &Bytes) -> &str {
        std::str::from_utf8(frame).unwrap()
    }

    #[test]
    fn a_repeated_callback_shows_one_bubble() {
        let chats = Chats::default();
        chats.said("a", "m", "hi".to_owned(), Timestamp::from_millis(0));
        for _ in 0..2 {
            chats.answered("a", "part-1", &["m".to_owned()], fini("part-1"));
        }
        assert_eq!(text(&chats.watch("a").0).matches(r#""from":"fini""#).count(), 1);
    }

    #[test]
    fn a_typing_sign_that_comes_after_the_answer_is_not_shown() {
        let chats = Chats::default();
        chats.said("a", "m", "hi".to_owned(), Timestamp::from_millis(0));
        chats.typing("a");
        assert!(text(&chats.watch("a").0).contains(r#""typing":true"#));
        chats.answered("a", "part-1", &["m".to_owned()], None);
        chats.typing("a");
        assert!(text(&chats.watch("a").0).contains(r#""typing":false"#));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let chats = Chats::default();
        for number in 0..ENTRIES + 5 {
            chats.said("a", &number.to_string(), String::new(), Timestamp::from_millis(0));
        }
        let (watched, _receiver) = chats.watch("a");
        assert_eq!(text(&watched).matches(r#""from":"user""#).count(), ENTRIES);
        for number in 0..CHATS + 5 {
            chats.said(&format!("chat {number}"), "m", String::new(), Timestamp::from_millis(0));
        }
        assert_eq!(chats.all().chats.len(), CHATS);
        assert!(text(&chats.watch("a").0).contains(r#""from":"user""#), "a chat that is looked at stays");
    }
}
