//! The connector from outside: what a configuration does to a webhook and to a reply.

mod configuration;
mod placement;
mod replies;
mod webhooks;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::id::{DeliveryKey, PartId};
use crate::domain::message::{Address, Incoming, Part, ReplyKind, Role};
use crate::domain::problem::Problem;
use crate::platform::{Event, Idempotency};
use crate::signature::{Algorithm, Encoding, mac};

const NOW: i64 = 1_791_000_000;

fn around() -> Surroundings {
    let http = Http::new(&crate::http::Config::default()).unwrap();
    Surroundings { http, clock: Arc::new(ManualClock::at(Timestamp::from_secs(NOW))) }
}

fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

fn config(toml: &str) -> Config {
    toml::from_str(toml).unwrap()
}

fn built(toml: &str) -> Arc<dyn Platform> {
    build(&config(toml), &Common::default(), &around()).map_err(|problems| format!("{problems:#?}")).unwrap()
}

fn problems(toml: &str) -> Vec<Problem> {
    build(&config(toml), &Common::default(), &around()).err().expect("problems")
}

/// The one problem under a key.
fn problem(toml: &str, key: &str) -> String {
    let all = problems(toml);
    let found = all.iter().find(|problem| problem.key == key);
    found.unwrap_or_else(|| panic!("no problem with {key} in {all:#?}")).problem.clone()
}

const VERIFY: &str = r#"
    [verify]
    scheme = "hmac"
    secret = "shop-secret"
    header = "X-Shop-Signature"
    prefix = "sha256="
    signed = "{timestamp}.{body}"
    timestamp = "x-shop-timestamp"
"#;
const INBOUND: &str = r#"
    [inbound]
    each = "body.messages"
    when = "item.sender.type != 'bot'"
    id   = "item.id"
    chat = "item.conversation.id"
    text = "item.text"
    role = "'agent' if item.sender.type == 'staff' else 'user'"
    user_attributes = "{'email': item.sender.email, 'plan': item.sender.plan}"
    bot_id = "'german' if item.lang == 'de' else none"
    challenge = "query.challenge"
"#;
const REPLY: &str = r#"
    [reply]
    url = "https://api.shop.example/conversations/{{ chat }}/messages"
    headers = { authorization = "Bearer token" }
    body = '{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}}'
"#;
const OPEN: &str = "[verify]\nscheme = 'none'\n";
const PLAIN: &str = "[inbound]\nid = 'body.id'\nchat = 'body.chat'\ntext = 'body.text'\n";

fn raw(headers: &[(&str, &str)], body: impl Into<Bytes>) -> RawWebhook {
    RawWebhook {
        method: Method::POST,
        url: "https://bridge.example.com/webhooks/shop".to_owned(),
        rest: String::new(),
        headers: headers
            .iter()
            .map(|(n, v)| (HeaderName::try_from(*n).unwrap(), HeaderValue::try_from(*v).unwrap()))
            .collect::<HeaderMap>(),
        query: Vec::new(),
        body: body.into(),
    }
}

fn json_webhook(body: &Value) -> RawWebhook {
    raw(&[("content-type", "application/json")], body.to_string())
}

fn events(platform: &dyn Platform, raw: RawWebhook) -> Vec<Event> {
    let verified = platform.verify(raw, now()).unwrap();
    match platform.parse(&verified).unwrap() {
        Parsed::Events(events) => events,
        other => panic!("no events: {other:?}"),
    }
}

/// What an event is, in a word or by its detail.
fn said(event: &Event) -> String {
    match event {
        Event::Message(message) => format!("{} {}", message.delivery_key.as_str(), message.text),
        Event::Malformed(malformed) => malformed.detail.clone(),
        Event::Ignored(word) => (*word).to_owned(),
        Event::Unreadable(word, _) => format!("unreadable: {word}"),
        Event::Report(_) => "report".to_owned(),
        Event::Moved(_) => "moved".to_owned(),
    }
}

fn message(platform: &dyn Platform, body: &Value) -> Incoming {
    match events(platform, json_webhook(body)).into_iter().next() {
        Some(Event::Message(message)) => *message,
        other => panic!("no message: {:?}", other.map(|event| said(&event))),
    }
}
