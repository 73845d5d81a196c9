//! A channel as the workers see it: its connector and the rules of its conversations and replies.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::rate_limit::RateLimiter;
use crate::domain::id::{BotId, ChannelName};
use crate::domain::message::Incoming;
use crate::domain::span::{OptionalRate, OptionalSpan, Rate, Size, Span};
use crate::platform::Platform;
use crate::store::Limits;

/// What happens to messages that wait while a turn is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Burst {
    /// They become one question, joined by line breaks.
    Merge,
    /// Each is a question of its own.
    Queue,
}

/// Whose lane it is where several people write in one chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Room,
    User,
}

/// `[conversations]`; a channel may override each key in `[channels.NAME.conversations]`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Conversations {
    pub burst: Burst,
    /// From the first message: wait this long for more before a turn starts.
    pub merge_window: Span,
    /// After this long without a message, a new Fini conversation; `"none"`: never.
    pub idle_timeout: OptionalSpan,
    pub scope: Scope,
    /// Per chat; beyond, the bot is silent.
    pub max_turns: Rate,
    /// Per sender, over all chats of the channel and all replicas; beyond, the bot is silent. `"none"`: no limit.
    pub max_turns_per_sender: OptionalRate,
    /// Per channel, over all replicas; beyond, the bot is silent. `"none"`: no limit.
    pub max_turns_per_channel: OptionalRate,
    /// Of one message, in UTF-8; a longer one fails.
    pub max_text: Size,
    /// A message that is one of them begins a new conversation; upper and lower case are the same.
    pub reset_words: Vec<String>,
    /// What is said then; empty: nothing.
    pub reset_text: String,
    /// How many chats the mapping to Fini's conversations keeps in memory.
    pub cache_capacity: u64,
}

impl Default for Conversations {
    fn default() -> Self {
        Self {
            burst: Burst::Merge,
            merge_window: Span::secs(0),
            idle_timeout: OptionalSpan(None),
            scope: Scope::Room,
            max_turns: Rate { count: 60, per: Duration::from_secs(600) },
            max_turns_per_sender: OptionalRate(Some(Rate { count: 120, per: Duration::from_secs(3600) })),
            max_turns_per_channel: OptionalRate(None),
            max_text: Size(32 * 1024),
            reset_words: Vec::new(),
            reset_text: String::new(),
            cache_capacity: 100_000,
        }
    }
}

impl Conversations {
    pub fn limits(&self) -> Limits {
        Limits {
            per_chat: Some(self.max_turns),
            per_sender: self.max_turns_per_sender.0,
            per_channel: self.max_turns_per_channel.0,
        }
    }

    pub fn is_reset_word(&self, text: &str) -> bool {
        if self.reset_words.is_empty() {
            return false;
        }
        let text = text.trim().to_lowercase();
        self.reset_words.iter().any(|word| word.trim().to_lowercase() == text)
    }
}

/// What to do with a send whose outcome is unknown, where the platform has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    Resend,
    Hold,
}

/// `[replies]`; a channel may override each key in `[channels.NAME.replies]`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Replies {
    /// What the user is told when a turn failed for good; empty: nothing.
    pub failure_text: String,
    /// What the user is told when a message holds nothing that can be read as text; empty: nothing.
    pub unreadable_text: String,
    /// Age at which a turn or a delivery fails for good.
    pub give_up_after: Span,
    /// An answer older than this is not posted any more.
    pub max_age: Span,
    pub on_unknown: OnUnknown,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            failure_text: String::new(),
            unreadable_text: String::new(),
            give_up_after: Span::secs(24 * 3600),
            max_age: Span::secs(24 * 3600),
            on_unknown: OnUnknown::Resend,
        }
    }
}

/// Which messages of a room count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    Direct,
    Mention,
    All,
}

/// Another agent for one room or one account of the channel; the first entry that fits wins.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub struct BotRule {
    /// The platform's room.
    pub chat: Option<String>,
    /// Its workspace, page or number.
    pub account: Option<String>,
    pub bot_id: BotId,
}

/// A configured channel, ready to work.
pub struct Channel {
    pub name: ChannelName,
    pub platform: Arc<dyn Platform>,
    pub bot_id: BotId,
    pub bots: Vec<BotRule>,
    /// False: messages are kept, not answered.
    pub enabled: bool,
    pub accept: Vec<Accept>,
    /// The secrets that webhooks are verified with, each as configured: `env:NAME`, or the key that it stands in.
    pub secrets: Vec<Arc<str>>,
    pub conversations: Conversations,
    pub replies: Replies,
    /// `pace` and `pace_per_chat`
    pub limiter: RateLimiter,
    /// `store.keep`
    pub keep: Duration,
    /// Which of the Fini keys it uses.
    pub key: usize,
}

impl Channel {
    /// The agent for a message: the channel's own expression, else the first rule that fits, else the default.
    pub fn bot_for(&self, message: &Incoming) -> BotId {
        let fits = |rule: &&BotRule| {
            rule.chat.as_ref().is_none_or(|chat| *chat == message.room)
                && rule.account.as_ref().is_none_or(|account| message.account.as_ref() == Some(account))
        };
        match &message.bot_id {
            Some(bot) => bot.clone(),
            None => self.bots.iter().find(fits).map_or(&self.bot_id, |rule| &rule.bot_id).clone(),
        }
    }
}
