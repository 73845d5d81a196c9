//! What was called, what came of it: the simulator's testimony.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::faults::Endpoint;

/// One call of the API. Dates in milliseconds since the epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// From 1, in the order of arrival.
    pub n: u64,
    pub at: i64,
    pub endpoint: Endpoint,
    pub method: String,
    /// With its query.
    pub path: String,
    pub key: Option<String>,
    pub role: Option<String>,
    pub content: Option<String>,
    pub bot_id: Option<String>,
    pub interaction_id: Option<String>,
    pub metadata: Value,
    /// The conversation that the question went into.
    pub conversation: Option<String>,
    /// The event of the question, where it was stored.
    pub stored: Vec<String>,
    /// The events that followed it.
    pub answered: Vec<String>,
    /// The fault that was used, as its rule's JSON.
    pub fault: Option<Value>,
    pub status: Option<u16>,
    /// `answered`, `cut`, `caller left`; none while it runs.
    pub ended: Option<String>,
    pub ended_at: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    pub calls: Vec<Call>,
    pub list_calls: u64,
    pub ask_calls: u64,
    /// Calls of the API that ran at once, at most.
    pub max_concurrent: u64,
    /// Asks that began while another one ran in the same conversation.
    pub overlaps: u64,
    /// PublicConversations in the order of their beginning, with `agentId`, `workspace` and `vanished` beside.
    pub conversations: Vec<Value>,
}

impl Ledger {
    pub fn asks(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.endpoint == Endpoint::Ask)
    }

    /// How often a question with exactly this text was stored.
    pub fn stored(&self, content: &str) -> usize {
        self.asks().filter(|call| call.content.as_deref() == Some(content)).map(|call| call.stored.len()).sum()
    }

    pub fn conversation(&self, id: &str) -> Option<&Value> {
        self.conversations.iter().find(|conversation| conversation.get("id").and_then(Value::as_str) == Some(id))
    }
}
