//! Fini's own shapes. Lenient: roles, types and fields that are new, null or missing break nothing, and
//! what is not known is never shown to a customer.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, EventId, InteractionId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventRole {
    User,
    Agent,
    Finibot,
    OtherBot,
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Message,
    InternalNote,
    NoReply,
    SilentEscalation,
    Debounce,
    WidgetForm,
    Unknown(String),
}

/// PublicEvent. `raw` is the event as it came, for templates and exports.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Option<EventId>,
    pub created_at: Option<Timestamp>,
    pub role: EventRole,
    pub kind: EventKind,
    pub message: Option<String>,
    pub raw: Value,
}

/// PublicConversation, as far as the bridge reads it; `raw` has the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub id: InteractionId,
    pub created_at: Option<Timestamp>,
    pub status: Option<String>,
    pub user_attributes: Map<String, Value>,
    pub events: Vec<Event>,
    pub raw: Value,
}

/// One page of List conversations.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub conversations: Vec<Conversation>,
    pub has_more: bool,
    pub next_cursor: Option<String>,
    pub prev_cursor: Option<String>,
}

/// One item of List agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agent {
    pub id: BotId,
    pub name: Option<String>,
}

#[allow(dead_code)]
fn null_is_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

impl Event {
    pub fn shown(&self) -> Option<(&EventId, &str)> {
        None
    }
    pub fn code(&self) -> String {
        String::new()
    }
    pub fn ends_turn(&self) -> bool {
        true
    }
}
