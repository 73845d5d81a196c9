//! Messages as every platform and Fini understand them: a role and a content.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::clock::Timestamp;
use super::id::{BotId, ChatKey, DeliveryKey};

/// Who wrote a message that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The end user: Fini answers.
    User,
    /// A human agent who writes on the platform: Fini stores it and does not answer.
    Agent,
    /// Another bot, where the channel says that it counts: stored, not answered.
    OtherBot,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::OtherBot => "otherbot",
        }
    }
}

/// How a message in a chat with others present concerns us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressed {
    /// A chat between one person and the bot.
    Direct,
    /// It names the bot, answers the bot, or is a command for it.
    Mention,
    /// Written in a thread: counts as a mention if the bot was mentioned in this thread before,
    /// which is when the store knows the chat.
    Thread,
    /// Written in a room, to nobody in particular.
    Room,
    /// Counts in a chat that the store knows, and begins none: what a person of the business writes there.
    Known,
}

/// Where a connector answers a message. Opaque to everyone but its connector. It can hold a phone number, so its
/// `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(pub Value);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

/// One part of a reply, ready to be sent: rendered when the turn ended, so that a restart sends the same
/// parts. Opaque to everyone but its connector. It holds the reply's text, so its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Part(pub Value);

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Part(…)")
    }
}

/// A message of somebody, normalised by a connector from a verified webhook.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Repeats exactly when the platform delivers the same message again. Carries its own scope.
    pub delivery_key: DeliveryKey,
    /// The chat that is one lane and one Fini conversation.
    pub chat: ChatKey,
    /// The platform's room, for `bots = [{ chat = … }]`.
    pub room: String,
    /// Its workspace, page or number, for `bots = [{ account = … }]`.
    pub account: Option<String>,
    pub sender: Option<String>,
    /// Several people may write in this chat.
    pub shared: bool,
    pub addressed: Addressed,
    pub role: Role,
    /// Plain text; may be blank (then it is never sent to Fini).
    pub text: String,
    pub user_attributes: Map<String, Value>,
    /// Chosen by the channel's own expression; wins over `bots`.
    pub bot_id: Option<BotId>,
    pub address: Address,
    /// When it was written, by the platform's clock.
    pub sent_at: Option<Timestamp>,
    /// The platform promises no order: while messages wait they are sorted by `sent_at`.
    pub unordered: bool,
    /// The platform delivers one post as several messages, an album: the others come within this time.
    pub more_within: Option<Duration>,
}

/// A chat has another key and another address from now on. The platform may say it before or after the first message
/// from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMove {
    pub from: ChatKey,
    pub to: ChatKey,
    pub address: Address,
}

/// What the platform says later about a part that we sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    pub of: Reported,
    pub outcome: ReportOutcome,
}

/// How a report names our part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reported {
    /// By the platform's own id, which [`crate::domain::message::Receipt`] holds.
    Receipt(String),
    /// By the id that we sent along.
    Part(super::id::PartId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The platform has it. Whether it reaches anybody is not said.
    Taken,
    Delivered,
    /// Failed for good, after it had been accepted. `reason` is a code such as `whatsapp_131047`.
    Failed {
        reason: String,
    },
}

/// The platform's own id of a part that it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Receipt(pub Option<String>);

/// What a chat is told when a turn has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub kind: ReplyKind,
    /// Markdown, as Fini wrote it. Empty unless the kind is a message.
    pub text: String,
    /// The whole event of Fini, for templates; `null` where there is none.
    pub event: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyKind {
    /// An answer, or the channel's `failure_text`: shown to the customer.
    Message,
    /// Fini decided not to reply. Only programs are told.
    NoReply,
    /// Fini escalated. Only programs are told.
    Handoff,
    /// The turn failed for good. Only programs are told.
    Failed,
}

impl ReplyKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::NoReply => "no_reply",
            Self::Handoff => "handoff",
            Self::Failed => "failed",
        }
    }
}
