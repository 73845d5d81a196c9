//! What a message says, as plain text, and whom it names.

use serde_json::Value;

use super::super::{Malformed, json as read};
use super::rich;

/// What is read in a message.
pub enum Content<'a> {
    Said(Said<'a>),
    /// Somebody joined, something was pinned.
    Service,
    /// Of a kind that came after this was written.
    Unknown,
}

#[derive(Default)]
pub struct Said<'a> {
    /// Blank for media alone.
    pub text: String,
    pub entities: Vec<Entity<'a>>,
}

impl Said<'_> {
    /// Whom mentions and commands name, without the `@`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entities.iter().filter_map(|entity| match entity.kind {
            "mention" => entity.text.strip_prefix('@'),
            "bot_command" => entity.text.split_once('@').map(|(_, name)| name),
            _ => None,
        })
    }
}

pub struct Entity<'a> {
    pub kind: &'a str,
    /// In bytes.
    pub start: usize,
    pub text: String,
    /// Of a `text_mention`.
    pub user: Option<i64>,
}

pub fn read(message: &Value) -> Result<Content<'_>, Malformed> {
    let (text, entities) = if let Some(text) = read::optional_text(message, "/text")? {
        (text, read::optional_list(message, "/entities")?)
    } else if let Some(caption) = read::optional_text(message, "/caption")? {
        (caption, read::optional_list(message, "/caption_entities")?)
    } else if let Some(rich) = read::optional_object(message, "/rich_message")? {
        return Ok(Content::Said(rich::read(rich)));
    } else if media(message).is_some() {
        ("", [].as_slice())
    } else if is_service(message) {
        return Ok(Content::Service);
    } else {
        return Ok(Content::Unknown);
    };
    let entities = entities.iter().filter_map(|entity| {
        let position = |key| usize::try_from(entity.get(key)?.as_u64()?).ok();
        let start = position("offset")?;
        let range = byte_at(text, start)?..byte_at(text, start.checked_add(position("length")?)?)?;
        Some(Entity {
            kind: entity.get("type")?.as_str()?,
            start: range.start,
            text: text.get(range)?.to_owned(),
            user: entity.pointer("/user/id").and_then(Value::as_i64),
        })
    });
    Ok(Content::Said(Said { text: text.to_owned(), entities: entities.collect() }))
}

/// Offsets of entities count UTF-16 units. `None` inside a character and beyond the end.
fn byte_at(text: &str, utf16: usize) -> Option<usize> {
    let mut units = 0;
    for (at, char) in text.char_indices() {
        if units >= utf16 {
            return (units == utf16).then_some(at);
        }
        units += char.len_utf16();
    }
    (units == utf16).then_some(text.len())
}

/// core.telegram.org/bots/api#message, the fields that it calls service messages.
fn is_service(message: &Value) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "new_chat_",
        "left_chat_",
        "delete_chat_",
        "chat_",
        "migrate_",
        "forum_topic_",
        "general_forum_topic_",
        "video_chat_",
        "giveaway",
        "suggested_post_",
        "checklist_tasks_",
        "poll_option_",
        "direct_message_price_",
        "paid_message_price_",
    ];
    const NAMES: [&str; 21] = [
        "group_chat_created",
        "supergroup_chat_created",
        "channel_chat_created",
        "message_auto_delete_timer_changed",
        "pinned_message",
        "invoice",
        "successful_payment",
        "refunded_payment",
        "users_shared",
        "user_shared",
        "gift",
        "unique_gift",
        "gift_upgrade_sent",
        "connected_website",
        "write_access_allowed",
        "passport_data",
        "proximity_alert_triggered",
        "boost_added",
        "managed_bot_created",
        "web_app_data",
        "voice_chat_started",
    ];
    message.as_object().is_some_and(|fields| {
        fields.keys().any(|key| NAMES.contains(&key.as_str()) || BEGINNINGS.iter().any(|it| key.starts_with(it)))
    })
}

/// The words that a message replies to. Those of the bot itself only where the person chose some of them: the rest is
/// known to Fini.
pub fn quote(message: &Value, bot_id: i64) -> Option<&str> {
    let word = |pointer: &str| read::at(message, pointer).and_then(Value::as_str);
    let is_own = || read::at(message, "/reply_to_message/from/id").and_then(Value::as_i64) == Some(bot_id);
    let whole = || word("/reply_to_message/text").or_else(|| word("/reply_to_message/caption"));
    word("/quote/text").or_else(|| if is_own() { None } else { whole() })
}

pub fn with_media(text: String, message: &Value) -> String {
    match media(message) {
        Some(line) if text.is_empty() => line,
        Some(line) => format!("{text}\n{line}"),
        None => text,
    }
}

/// The order matters: an animation is also a document, a venue also a location.
fn media(message: &Value) -> Option<String> {
    const KINDS: [(&str, &str, &[&str]); 15] = [
        ("photo", "photo", &[]),
        ("voice", "voice message", &[]),
        ("audio", "audio", &["/file_name"]),
        ("video", "video", &["/file_name"]),
        ("video_note", "video message", &[]),
        ("animation", "animation", &[]),
        ("document", "document", &["/file_name"]),
        ("venue", "location", &["/title", "/address", "/location/latitude", "/location/longitude"]),
        ("location", "location", &["/latitude", "/longitude"]),
        ("dice", "dice", &["/emoji", "/value"]),
        ("game", "game", &["/title"]),
        ("story", "story", &[]),
        ("paid_media", "paid media", &[]),
        ("live_photo", "photo", &[]),
        ("video_chat", "video chat", &[]),
    ];
    let object = |key: &str| message.get(key).filter(|it| it.is_object() || it.is_array());
    if let Some(sticker) = object("sticker") {
        return Some(match sticker.get("emoji").and_then(Value::as_str) {
            Some(emoji) if !emoji.is_empty() => format!("[sticker {emoji}]"),
            _ => "[sticker]".to_owned(),
        });
    }
    if let Some(contact) = object("contact") {
        let words = ["first_name", "last_name"].map(|key| contact.get(key).map(read::shown).unwrap_or_default());
        let name = Value::String(words.join(" ").trim().to_owned());
        return Some(read::details("contact", [Some(&name), contact.get("phone_number")]));
    }
    for (key, title, entries) in [("poll", "question", "options"), ("checklist", "title", "tasks")] {
        if let Some(list) = object(key) {
            let entries = list.get(entries).and_then(Value::as_array).into_iter().flatten();
            let lines = std::iter::once(list.get(title)).chain(entries.map(|entry| entry.get("text")));
            return Some(read::details(key, lines));
        }
    }
    let (found, kind, details) = KINDS.iter().find_map(|(key, kind, details)| Some((object(key)?, kind, details)))?;
    Some(read::details(kind, details.iter().map(|pointer| read::at(found, pointer))))
}
