//! Telegram's own JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Malformed, SendError, ThrottleScope, json as read};
use super::Refusal;
use crate::domain::message::Address;

/// The word for an update that is no message.
pub fn kind(update: &Value) -> &'static str {
    let has = |key: &str| update.get(key).is_some();
    match () {
        () if has("edited_message") => "edited",
        () if has("channel_post") || has("edited_channel_post") => "channel_post",
        () if has("callback_query") => "callback_query",
        () if has("my_chat_member") || has("chat_member") => "chat_member",
        () if update.as_object().is_some_and(|update| update.keys().any(|key| key.contains("business"))) => "business",
        () => "other_update",
    }
}

pub struct Said<'a> {
    pub text: &'a str,
    pub entities: Vec<Entity<'a>>,
}

impl<'a> Said<'a> {
    /// Whom mentions and commands name, without the `@`.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
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
    pub text: &'a str,
    /// Of a `text_mention`.
    pub user: Option<i64>,
}

/// Text or caption; blank for media alone; `None` for what is neither: a service message.
pub fn said(message: &Value) -> Result<Option<Said<'_>>, Malformed> {
    let (text, entities) = if let Some(text) = read::optional_text(message, "/text")? {
        (text, read::optional_list(message, "/entities")?)
    } else if let Some(caption) = read::optional_text(message, "/caption")? {
        (caption, read::optional_list(message, "/caption_entities")?)
    } else if media(message).is_some() {
        ("", [].as_slice())
    } else {
        return Ok(None);
    };
    let entities = entities.iter().filter_map(|entity| {
        let position = |key| usize::try_from(entity.get(key)?.as_u64()?).ok();
        let start = position("offset")?;
        let range = byte_at(text, start)?..byte_at(text, start.checked_add(position("length")?)?)?;
        Some(Entity {
            kind: entity.get("type")?.as_str()?,
            start: range.start,
            text: text.get(range)?,
            user: entity.pointer("/user/id").and_then(Value::as_i64),
        })
    });
    Ok(Some(Said { text, entities: entities.collect() }))
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

pub fn with_media(text: String, message: &Value) -> String {
    match media(message) {
        Some(line) if text.is_empty() => line,
        Some(line) => format!("{text}\n{line}"),
        None => text,
    }
}

/// The order matters: an animation is also a document, a venue also a location.
fn media(message: &Value) -> Option<String> {
    let named = |kind: &str, pointer: &str| {
        read::placeholder(kind, message.pointer(pointer).and_then(Value::as_str).filter(|name| !name.is_empty()))
    };
    const KINDS: [(&str, &str, &str); 16] = [
        ("photo", "photo", ""),
        ("voice", "voice message", ""),
        ("audio", "audio", "/audio/file_name"),
        ("video", "video", "/video/file_name"),
        ("video_note", "video message", ""),
        ("animation", "animation", ""),
        ("document", "document", "/document/file_name"),
        ("venue", "location", "/venue/title"),
        ("location", "location", ""),
        ("contact", "contact", ""),
        ("poll", "poll", "/poll/question"),
        ("dice", "dice", ""),
        ("game", "game", "/game/title"),
        ("story", "story", ""),
        ("paid_media", "paid media", ""),
        ("checklist", "checklist", "/checklist/title"),
    ];
    if message.get("sticker").is_some_and(Value::is_object) {
        return Some(match message.pointer("/sticker/emoji").and_then(Value::as_str) {
            Some(emoji) if !emoji.is_empty() => format!("[sticker {emoji}]"),
            _ => "[sticker]".to_owned(),
        });
    }
    let (_, kind, name) =
        KINDS.iter().find(|(key, ..)| message.get(key).is_some_and(|it| it.is_object() || it.is_array()))?;
    Some(if name.is_empty() { format!("[{kind}]") } else { named(kind, name) })
}

/// Chat and topic.
pub fn target(address: &Address) -> Option<Value> {
    let mut body = json!({ "chat_id": address.0.get("chat_id")?.as_i64()? });
    if let Some(topic) = address.0.get("message_thread_id").and_then(Value::as_i64) {
        read::set(&mut body, "message_thread_id", json!(topic));
    }
    Some(body)
}

/// What an error means. `description` may quote the message: only what it begins with is looked at,
/// and never passed on.
pub fn refusal(answer: &Value, status: u16, by_status: SendError) -> Refusal {
    // Not Telegram's own answer, but a proxy's or a wrong `api_base`'s: a person must see to it.
    let is_own = answer.get("error_code").is_some();
    let description = answer.get("description").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    if let Some(chat_id) = answer.pointer("/parameters/migrate_to_chat_id").and_then(Value::as_i64) {
        return Refusal::Moved { chat_id };
    }
    let says = |words: &str| description.starts_with(&format!("bad request: {words}"));
    Refusal::Error(match (status, by_status) {
        // core.telegram.org/bots/faq has limits of a chat, a group and the bot; the answer doesn't say which.
        (429, SendError::Throttled { reason, after, .. }) => {
            let seconds = answer.pointer("/parameters/retry_after").and_then(Value::as_u64);
            let after = seconds.map(|s| Duration::from_secs(s.min(86_400))).or(after);
            SendError::Throttled { reason, after, scope: ThrottleScope::ChatOrAccount }
        }
        (400, _) if says("can't parse entities") => return Refusal::Markup,
        (400, _) => SendError::Permanent {
            reason: match () {
                () if says("chat not found") => "telegram_chat_not_found",
                () if says("message thread not found") => "telegram_topic_not_found",
                () if says("message is too long") => "telegram_too_long",
                () if says("message text is empty") => "telegram_empty",
                () => "telegram_400",
            }
            .to_owned(),
        },
        // Blocked by the user, kicked from the group: this chat's end, not the token's.
        (403, _) if is_own => SendError::Permanent { reason: "telegram_403".to_owned() },
        // A wrong token makes a wrong path.
        (401 | 404, _) => SendError::Credential { reason: format!("telegram_{status}") },
        (_, by_status) => by_status,
    })
}
