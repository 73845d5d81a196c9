//! Fini's public API, typed. Knows nothing of chats and platforms; keeps no state but its connections.

mod client;
mod wire;

pub use client::Client;
pub use wire::{Agent, Conversation, Event, EventKind, EventRole, Page};

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, InteractionId};
use crate::domain::message::Role;
use crate::domain::secret::Secret;
use crate::domain::span::{OptionalRate, Span};

/// `[fini]`
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// Without a `/` at the end.
    pub base_url: String,
    /// A workspace key with the scopes `read` and `write`.
    pub api_key: Option<Secret>,
    /// How long one answer may take.
    pub timeout: Span,
    /// Within this the outcome of a call that ended without telling it is decided.
    pub settle: Span,
    /// Calls at once, per key and process; then chats wait in turn.
    pub max_in_flight: u32,
    /// In no window of that length more calls of one key, by all that share the store; the bridge stays 5 % below.
    /// `"none"`: as many as come.
    pub rate: OptionalRate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_url: "https://api-prod.usefini.com".to_owned(),
            api_key: None,
            timeout: Span::secs(120),
            settle: Span::secs(30),
            max_in_flight: 512,
            rate: OptionalRate(None),
        }
    }
}

/// What the workers ask of one workspace of Fini.
#[async_trait]
pub trait Api: Send + Sync + 'static {
    /// The stored message and what was created while handling it, in Fini's order.
    async fn generate_answer(&self, ask: &Ask<'_>) -> Result<Vec<Event>, AskError>;

    /// One page.
    async fn list_conversations(&self, query: &Query) -> Result<Page, ReadError>;

    /// An unknown, deleted or foreign id looks like [`ReadError::Failed`] with 500.
    async fn get_conversation(&self, id: &InteractionId) -> Result<Conversation, ReadError>;
}

/// One submission to Generate Answer.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub content: &'a str,
    pub role: Role,
    pub target: Target<'a>,
    /// `metadata.channel`
    pub channel: &'a str,
    /// `metadata.user_attributes`
    pub user_attributes: &'a serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Goes on with a conversation.
    Conversation(&'a InteractionId),
    /// Begins one.
    Agent(&'a BotId),
}

/// Why there is no answer, by what can be done about it. `detail` is for the store, never for a log:
/// Fini may quote the message in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The call had no effect and may be made again: it never left.
    #[error("Fini was not reached: {0}")]
    NotSent(&'static str),
    /// 429: no effect; not before `retry_after`, where Fini says it.
    #[error("Fini is throttling (429)")]
    Throttled { retry_after: Option<Duration> },
    /// 401, 403: no effect; a person must see to the key.
    #[error("Fini refuses the key ({status})")]
    Key { status: u16, detail: String },
    /// 400 and other 4xx: no effect, and never will have one.
    #[error("Fini refuses the message ({status})")]
    Rejected { status: u16, detail: String },
    /// The message may have been stored, and answered.
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// Fini itself answered, so it is done with the call. False: it may still be running.
        answered: bool,
        /// A code: `fini_500`, `fini_502`, `timed out`, `unreadable`, …
        reason: String,
    },
}

impl AskError {
    /// A metric label.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not_sent",
            Self::Throttled { .. } => "throttled",
            Self::Key { .. } => "key_refused",
            Self::Rejected { .. } => "rejected",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// Why a read gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("Fini is throttling (429)")]
    Throttled { retry_after: Option<Duration> },
    #[error("Fini refuses the key ({status})")]
    Key { status: u16, detail: String },
    #[error("Fini refuses the query ({status}): {detail}")]
    Rejected { status: u16, detail: String },
    /// 5xx with Fini's own error envelope: for Get conversation also what an unknown id looks like.
    #[error("Fini failed ({status})")]
    Failed { status: u16 },
    /// Not reached, lost, timed out, unreadable.
    #[error("no answer from Fini: {0}")]
    NoAnswer(String),
}

impl ReadError {
    /// A metric label.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::Key { .. } => "key_refused",
            Self::Rejected { .. } => "rejected",
            Self::Failed { .. } => "failed",
            Self::NoAnswer(_) => "no_answer",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Older.
    #[default]
    Next,
    /// Newer.
    Previous,
}

/// What List conversations is asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// 1 to 100.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
    pub direction: Direction,
    pub agent: Option<BotId>,
    pub source: Vec<String>,
    pub channel: Vec<String>,
}
