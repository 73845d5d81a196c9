//! Slack's surface for agents: each thread in the direct chat is a chat of its own, begins with a greeting and suggested
//! prompts, and shows that the bot is at work.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{Event, Malformed, json as read};
use super::wire;
use crate::domain::id::{ChatKey, DeliveryKey};
use crate::domain::message::{Address, Addressed, Incoming, Part, Role};
use crate::domain::problem::Problem;

/// The key of the address to which the greeting goes.
const GREETING: &str = "greeting";
/// docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts
const MAX_PROMPTS: usize = 4;

/// `[channels.NAME.agent_view]`: the app has the feature of that name.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct AgentView {
    /// What is said when a person opens a new thread; empty: nothing.
    pub greeting: String,
    /// Questions to choose from, below the greeting; up to 4.
    pub suggested_prompts: Vec<Prompt>,
}

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
pub struct Prompt {
    /// What the button says.
    pub title: String,
    /// What it asks.
    pub message: String,
}

impl AgentView {
    pub fn problems(&self) -> Option<Problem> {
        let key = "agent_view.suggested_prompts";
        if self.suggested_prompts.len() > MAX_PROMPTS {
            return Some(Problem::new(key, "Slack shows at most 4", "leave some out"));
        }
        let blank = |prompt: &Prompt| prompt.title.trim().is_empty() || prompt.message.trim().is_empty();
        if self.suggested_prompts.iter().any(blank) {
            return Some(Problem::new(key, "a prompt is empty", "give each a title and a message"));
        }
        let lonely = !self.suggested_prompts.is_empty() && self.greeting.trim().is_empty();
        lonely.then(|| Problem::new(key, "stand below a greeting, and there is none", "set agent_view.greeting too"))
    }

    /// What is said to the message with this address.
    pub fn greeting(&self, address: &Address) -> Option<&str> {
        address.0.get(GREETING).map(|_| self.greeting.as_str())
    }

    /// What goes below the greeting.
    pub fn prompts(&self, address: &Address) -> Option<Part> {
        let prompts = self.suggested_prompts.iter().map(|it| json!({ "title": it.title, "message": it.message }));
        let prompts: Vec<Value> = prompts.collect();
        (self.greeting(address).is_some() && !prompts.is_empty()).then(|| Part(json!({ "prompts": prompts })))
    }

    /// A person opened a thread: a message without words, to which the greeting is the answer. `None`: another event.
    pub fn started(&self, body: &Value) -> Result<Option<Event>, Malformed> {
        if read::text(body, "/event/type")? != "assistant_thread_started" || self.greeting.trim().is_empty() {
            return Ok(None);
        }
        let team = read::text(body, "/team_id")?;
        let channel = read::text(body, "/event/assistant_thread/channel_id")?;
        let root = read::text(body, "/event/assistant_thread/thread_ts")?;
        let sent_at = wire::moment(root).ok_or_else(|| Malformed::new("thread_ts is not a timestamp"))?;
        Ok(Some(Event::Message(Box::new(Incoming {
            delivery_key: DeliveryKey::new(format!("{team}:{channel}:{root}:started")),
            chat: ChatKey::new(format!("{team}:{channel}:{root}")),
            room: channel.to_owned(),
            account: Some(team.to_owned()),
            sender: Some(read::text(body, "/event/assistant_thread/user_id")?.to_owned()),
            shared: false,
            addressed: Addressed::Direct,
            role: Role::User,
            text: String::new(),
            user_attributes: Map::new(),
            bot_id: None,
            address: Address(json!({ "channel": channel, "thread_ts": root, GREETING: true })),
            sent_at: Some(sent_at),
            unordered: true,
            more_within: None,
        }))))
    }
}

/// `assistant.threads.setSuggestedPrompts`, where the part is prompts.
pub fn set_prompts(part: &Part, address: &Address) -> Option<Value> {
    let prompts = part.0.get("prompts")?;
    let word = |key: &str| address.0.get(key).and_then(Value::as_str);
    Some(json!({ "channel_id": word("channel")?, "thread_ts": word("thread_ts")?, "prompts": prompts }))
}

/// `assistant.threads.setStatus`: shown for two minutes at most, or until the app posts there.
pub fn status(address: &Address) -> Option<Value> {
    let word = |key: &str| address.0.get(key).and_then(Value::as_str);
    Some(json!({ "channel_id": word("channel")?, "thread_ts": word("thread_ts")?, "status": "is thinking…" }))
}
