//! What Telegram's errors mean.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{SendError, SendFailure, ThrottleScope};
use crate::domain::message::Address;

/// Why Telegram did not do it.
pub enum Refusal {
    Error(SendError),
    /// The markup does not please it; the plain text will.
    Markup,
    /// There is no such topic.
    Topic,
    Moved {
        chat_id: i64,
    },
}

impl Refusal {
    pub fn into_error(self) -> SendError {
        match self {
            Self::Error(error) => error,
            Self::Markup => SendError::Permanent { reason: "telegram_markup".to_owned() },
            Self::Topic => SendError::Permanent { reason: NO_TOPIC.to_owned() },
            Self::Moved { chat_id } => SendError::Moved { address: Address(json!({ "chat_id": chat_id })) },
        }
    }
}

/// A refusal in Telegram's own words. `None`: there was no answer.
pub struct Unsent {
    pub why: Refusal,
    pub detail: Option<String>,
}

impl Unsent {
    pub fn into_failure(self) -> SendFailure {
        SendFailure { error: self.why.into_error(), detail: self.detail }
    }
}

impl From<SendError> for Unsent {
    fn from(error: SendError) -> Self {
        Self { why: Refusal::Error(error), detail: None }
    }
}

const NO_TOPIC: &str = "telegram_topic_not_found";

/// How the descriptions begin that are about the markup, in lower case.
const MARKUP: [&str; 4] = ["can't parse", "entity_", "entities_", "unsupported parse_mode"];

/// What else is final, by how its description begins.
const WORDS: [(&str, &str); 12] = [
    ("chat not found", "telegram_chat_not_found"),
    ("peer_id_invalid", "telegram_chat_not_found"),
    ("message is too long", "telegram_too_long"),
    ("message text is empty", "telegram_empty"),
    ("topic_closed", "telegram_topic_closed"),
    ("topic_deleted", NO_TOPIC),
    ("user_is_blocked", "telegram_user_is_blocked"),
    ("not enough rights", "telegram_no_rights"),
    ("have no rights", "telegram_no_rights"),
    ("need administrator rights", "telegram_no_rights"),
    ("chat_write_forbidden", "telegram_no_rights"),
    ("chat_restricted", "telegram_no_rights"),
];

/// What an error means. `description` may quote the message: only what it begins with is looked at,
/// and never passed on.
pub fn of(answer: &Value, status: u16, by_status: SendError) -> Refusal {
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
        (400, _) if MARKUP.iter().any(|words| says(words)) => return Refusal::Markup,
        (400, _) if says("message thread not found") => return Refusal::Topic,
        (400, _) => {
            let known = WORDS.iter().find(|(words, _)| says(words));
            SendError::Permanent { reason: known.map_or("telegram_400", |(_, reason)| reason).to_owned() }
        }
        // Blocked by the user, kicked from the group: this chat's end, not the token's.
        (403, _) if is_own => SendError::Permanent { reason: "telegram_403".to_owned() },
        // A wrong token makes a wrong path.
        (401 | 404, _) => SendError::Credential { reason: format!("telegram_{status}") },
        (_, by_status) => by_status,
    })
}
