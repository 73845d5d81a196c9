//! The client of Fini against the simulated Fini, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api;
mod faults;
mod load;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::{
    ApiKey, Change, Effect, Endpoint, EventSpec, FaultRule, REQUEST_WORDS, Running, Scopes, Seed, SimulatedAgent,
    SimulatedFini, SimulatorConfig, Then, Workspace,
};
use fini_bridge::domain::clock::SystemClock;
use fini_bridge::domain::id::{BotId, InteractionId};
use fini_bridge::domain::message::Role;
use fini_bridge::domain::secret::Secret;
use fini_bridge::fini::{Ask, AskError, Client, Conversation, Direction, Event, Query, ReadError, Target};
use fini_bridge::http::{Http, Response};
use serde_json::{Map, Value, json};

pub const LONG: Duration = Duration::from_secs(60);
/// Time enough for a call that is answered at once, even on a busy machine.
pub const SHORT: Duration = Duration::from_secs(1);

pub async fn simulator() -> Running {
    SimulatedFini::start(SimulatorConfig::default()).await.unwrap()
}

pub fn http() -> Http {
    Http::new(&fini_bridge::http::Config::default()).unwrap()
}

pub fn client_with(fini: &Running, key: &str, timeout: Duration) -> Client {
    Client::new(http(), &fini.url(), Secret::new(key), timeout, Arc::new(SystemClock))
}

pub fn client(fini: &Running) -> Client {
    client_with(fini, SimulatorConfig::KEY, LONG)
}

pub fn support() -> BotId {
    BotId::new(SimulatorConfig::SUPPORT)
}

pub async fn ask(client: &Client, target: Target<'_>, content: &str) -> Result<Vec<Event>, AskError> {
    let user_attributes = Map::from_iter([("ref".to_owned(), Value::from(content))]);
    client
        .generate_answer(&Ask { content, role: Role::User, target, channel: "chat", user_attributes: &user_attributes })
        .await
}

pub async fn begin(client: &Client, content: &str) -> Result<Vec<Event>, AskError> {
    ask(client, Target::Agent(&support()), content).await
}

pub fn shown(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(Event::shown).map(|(_, text)| text).collect()
}

/// The conversations whose reference is this question.
pub async fn listed(client: &Client, content: &str) -> Vec<Conversation> {
    let page = client.list_conversations(&Query { limit: Some(100), ..Query::default() }).await.unwrap();
    page.conversations.into_iter().filter(|found| found.user_attributes.get("ref") == Some(&content.into())).collect()
}

pub async fn begun(client: &Client, content: &str) -> InteractionId {
    begin(client, content).await.unwrap();
    listed(client, content).await.remove(0).id
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn raw(fini: &Running, method: reqwest::Method, path: &str, key: &str, body: &str) -> Response {
    let http = http();
    let mut request = http.request(method, &format!("{}{path}", fini.url())).body(body.to_owned());
    request = request.header("content-type", "application/json");
    if !key.is_empty() {
        request = request.header("authorization", key);
    }
    http.send(request, LONG, 1 << 24).await.unwrap()
}

pub async fn post(fini: &Running, path: &str, body: &Value) -> u16 {
    raw(fini, reqwest::Method::POST, path, "Bearer fini_sandbox_key", &body.to_string()).await.status.as_u16()
}

pub fn unknown<T>(answered: bool, reason: &str) -> Result<T, AskError> {
    Err(AskError::Unknown { answered, reason: reason.to_owned() })
}
