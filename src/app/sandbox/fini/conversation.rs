//! One conversation as Fini keeps it, and as it shows it.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::reply::EventSpec;

const ESCALATED: &str = "Escalated to Human Agent";
const PREVIEW_CHARACTERS: usize = 80;

#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub answer_delay: Duration,
    pub list_lag: Duration,
    pub read_lag: Duration,
    pub late_answer: Duration,
    pub attributes: Attributes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attributes {
    Echoed,
    Swallowed,
}

pub(super) struct Conversation {
    pub id: String,
    pub workspace: usize,
    pub agent: String,
    pub created_at: i64,
    pub channel: Option<String>,
    pub vanished: bool,
    pub attributes: Map<String, Value>,
    events: Vec<Stored>,
    status: Option<&'static str>,
    /// None: it was there before anyone looked.
    begun: Option<Instant>,
}

struct Stored {
    event: Value,
    at: i64,
    since: Option<Instant>,
}

impl Conversation {
    pub fn new(id: String, workspace: usize, agent: &str, created_at: i64, begun: Option<Instant>) -> Self {
        Self {
            id,
            workspace,
            agent: agent.to_owned(),
            created_at,
            channel: None,
            vanished: false,
            attributes: Map::new(),
            events: Vec::new(),
            status: None,
            begun,
        }
    }

    /// As a ledger showed it; `None`: that is not what a ledger shows.
    pub fn from_ledger(shown: &Value) -> Option<Self> {
        let text = |name: &str| shown.get(name).and_then(Value::as_str);
        let workspace = shown.get("workspace")?.as_u64().and_then(|number| usize::try_from(number).ok())?;
        let created_at = shown.get("createdAt")?.as_i64()?;
        let mut conversation = Self::new(text("id")?.to_owned(), workspace, text("agentId")?, created_at, None);
        conversation.channel = text("channel").map(str::to_owned);
        conversation.vanished = shown.get("vanished")?.as_bool()?;
        conversation.attributes = shown.get("userAttributes")?.as_object()?.clone();
        conversation.status = text("status").filter(|status| *status == ESCALATED).map(|_| ESCALATED);
        for event in shown.get("events")?.as_array()? {
            let at = event.get("createdAt")?.as_i64()?;
            conversation.events.push(Stored { event: event.clone(), at, since: None });
        }
        Some(conversation)
    }

    /// Gives the PublicEvent that was made of it.
    pub fn store(&mut self, event: &EventSpec, at: i64, since: Option<Instant>) -> Value {
        let mut public = json!({
            "id": Uuid::new_v4().to_string(), "createdAt": at, "role": event.role, "type": event.kind,
            "message": event.message, "externalId": null, "externalCreatedAt": null, "csatRating": null,
            "feedback": null, "approved": null, "resolved": null, "attachments": [], "tags": [], "usedArticles": [],
        });
        if let Some(fields) = public.as_object_mut() {
            fields.extend(event.rest.clone());
        }
        if event.kind == "silent_escalation" {
            self.status = Some(ESCALATED);
        }
        self.events.push(Stored { event: public.clone(), at, since });
        public
    }

    /// How many messages the user has written.
    pub fn turns(&self) -> usize {
        self.events.iter().filter(|stored| stored.event.get("role").and_then(Value::as_str) == Some("user")).count()
    }

    /// The time of its latest message.
    pub fn latest(&self) -> i64 {
        self.events.iter().map(|stored| stored.at).max().unwrap_or(self.created_at)
    }

    pub fn listed(&self, settings: Settings) -> bool {
        !self.vanished && older(self.begun, settings.list_lag)
    }

    /// PublicConversation.
    pub fn public(&self, settings: Settings) -> Value {
        let shown = self.events.iter().filter(|stored| older(stored.since, settings.read_lag));
        let first = self.events.first().and_then(|stored| stored.event.get("message")).and_then(Value::as_str);
        let attributes = match settings.attributes {
            Attributes::Echoed => Value::Object(self.attributes.clone()),
            Attributes::Swallowed => json!({}),
        };
        json!({
            "id": self.id, "createdAt": self.created_at, "source": "api", "channel": self.channel,
            "status": self.status, "externalId": null, "url": format!("https://simulated.invalid/inbox/{}", self.id),
            "subjectPreview": first.map(|text| text.chars().take(PREVIEW_CHARACTERS).collect::<String>()),
            "hasFeedback": false, "resolved": null, "userAttributes": attributes, "usedArticles": [],
            "usedSubfolders": [], "events": shown.map(|stored| stored.event.clone()).collect::<Vec<_>>(),
        })
    }
}

fn older(since: Option<Instant>, lag: Duration) -> bool {
    since.is_none_or(|since| since.elapsed() >= lag)
}
