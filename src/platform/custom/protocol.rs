//! The bridge's own protocol, for people who own both ends: Standard Webhooks in both directions.
//!
//! In: `{"id", "chat", "text", "role"?, "sender"?, "user"?}`. Out, to `callback_url`: `{"type", "id", "chat", "text",
//! "in_reply_to"}`, whose `webhook-id` is the part's id and so the same over all retries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::inbound::text_of_identifier;
use super::reply::TIMEOUT;
use super::{address, verify};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{ChatKey, DeliveryKey, PartId};
use crate::domain::message::{Address, Addressed, Incoming, Part, Receipt, Reply, ReplyKind, Role};
use crate::domain::problem::Problem;
use crate::http::Http;
use crate::platform::{
    Account, Delivery, Event, Idempotency, Malformed, NoSample, Pace, Parsed, Platform, Registration, Rejected,
    Rendering, Sample, SampleOf, SendError, SendFailure, Surroundings,
};
use crate::signature::{RawWebhook, Refused, StandardWebhooks, Verified, Verifier};

/// The specification's own.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
const MAX_ANSWER: usize = 64 * 1024;
/// How long a receiver may show a typing sign after one callback.
const TYPING_LASTS: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Citations {
    Sent,
    LeftOut,
}

struct Protocol {
    scheme: StandardWebhooks,
    callback: url::Url,
    citations: Citations,
    typing: Option<Duration>,
    http: Http,
    clock: Arc<dyn Clock>,
}

pub fn build(config: &super::Config, around: &Surroundings) -> Result<Arc<dyn Platform>, Vec<Problem>> {
    let mut problems = Vec::new();
    let secrets = match &config.secret {
        Some(secrets) => secrets.0.clone(),
        None => {
            problems.push(Problem::new(
                "secret",
                "is missing: a channel that can't tell who writes doesn't start",
                "what `fini-bridge secret new --standard-webhooks` prints, as env:NAME or file:PATH",
            ));
            Vec::new()
        }
    };
    let scheme = match config.secret {
        Some(_) => verify::standard_webhooks("secret", secrets, TOLERANCE, &mut problems),
        None => None,
    };
    let callback = match &config.callback_url {
        Some(url) => address::fixed("callback_url", url).map_err(|problem| problems.push(problem)).ok(),
        None => {
            problems.push(Problem::new("callback_url", "is missing", "the address that answers are posted to"));
            None
        }
    };
    match (scheme, callback) {
        (Some(scheme), Some(callback)) if problems.is_empty() => Ok(Arc::new(Protocol {
            scheme,
            callback,
            citations: if config.citations == Some(true) { Citations::Sent } else { Citations::LeftOut },
            typing: (config.typing == Some(true)).then_some(TYPING_LASTS),
            http: around.http.clone(),
            clock: Arc::clone(&around.clock),
        })),
        _ => Err(problems),
    }
}

impl Protocol {
    async fn post(&self, id: PartId, body: &Value) -> Result<crate::http::Response, SendError> {
        let body = body.to_string();
        let unusable = || SendError::Permanent { reason: "the callback can't be signed".to_owned() };
        let signed = self.scheme.sign(&id.to_string(), self.clock.now(), body.as_bytes()).ok_or_else(unusable)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in signed {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).map_err(|_| unusable())?);
        }
        let request = self.http.request(Method::POST, self.callback.as_str()).headers(headers).body(body);
        Ok(self.http.send(request, TIMEOUT, MAX_ANSWER).await?)
    }
}

/// A part as the receiver sees it, in a callback or in the response to `Prefer: wait`.
fn callback(part: &Part, id: PartId, address: &Address) -> Value {
    let mut body = part.0.as_object().cloned().unwrap_or_default();
    body.insert("id".to_owned(), Value::String(id.to_string()));
    body.insert("chat".to_owned(), address.0.get("chat").cloned().unwrap_or(Value::Null));
    Value::Object(body)
}

/// Of Fini's event, what a citation needs. An address that is no link stays behind.
fn articles(event: &Value) -> Option<Vec<Value>> {
    let used = event.get("usedArticles")?.as_array().filter(|used| !used.is_empty())?;
    let is_link = |url: &&Value| {
        let parsed = url.as_str().and_then(|url| url::Url::parse(url).ok());
        parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https"))
    };
    Some(
        used.iter()
            .map(|article| {
                json!({
                    "id": article.get("id"),
                    "title": article.get("title"),
                    "documentUrl": article.get("documentUrl").filter(is_link),
                })
            })
            .collect(),
    )
}

fn rejected(field: &'static str, why: &str) -> Rejected {
    Rejected { field, detail: format!("{field}: {why}") }
}

fn incoming(body: &[u8]) -> Result<Incoming, Rejected> {
    let body: Value = serde_json::from_slice(body).map_err(|_| rejected("body", "not JSON"))?;
    let body = body.as_object().ok_or_else(|| rejected("body", "not an object"))?;
    let identifier = |name: &'static str| {
        let given = body.get(name).ok_or_else(|| rejected(name, "missing"))?;
        text_of_identifier(given)
            .map_err(|why| rejected(name, if why.is_empty() { "neither a string nor an integer" } else { why }))
    };
    let given = |name: &str| body.get(name).filter(|value| !value.is_null());
    let (id, chat) = (identifier("id")?, identifier("chat")?);
    let text = match body.get("text") {
        Some(Value::String(text)) => text,
        Some(_) => return Err(rejected("text", "not a string")),
        None => return Err(rejected("text", "missing")),
    };
    let role = match given("role") {
        None => Role::User,
        Some(role) => {
            serde_json::from_value(role.clone()).map_err(|_| rejected("role", "neither user, agent nor otherbot"))?
        }
    };
    let sender = given("sender").map(|_| identifier("sender")).transpose()?;
    let user_attributes = match given("user") {
        None => Map::new(),
        Some(Value::Object(user)) => user.clone(),
        Some(_) => return Err(rejected("user", "not an object")),
    };
    Ok(Incoming {
        address: Address(json!({ "chat": body.get("chat") })),
        delivery_key: DeliveryKey::new(id),
        room: chat.clone(),
        chat: ChatKey::new(chat),
        account: None,
        shared: sender.is_some(),
        sender,
        addressed: Addressed::Direct,
        role,
        // PostgreSQL has no NUL in its texts.
        text: text.replace('\0', ""),
        user_attributes,
        bot_id: None,
        sent_at: None,
        unordered: false,
        more_within: None,
    })
}

#[async_trait]
impl Platform for Protocol {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.scheme.precheck(head, now)
    }

    fn verify(&self, raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused> {
        self.scheme.verify(raw, now)
    }

    fn parse(&self, webhook: &Verified) -> Result<Parsed, Malformed> {
        Ok(match incoming(webhook.body()) {
            Ok(message) => Parsed::Events(vec![Event::Message(Box::new(message))]),
            Err(rejected) => Parsed::Rejected(rejected),
        })
    }

    fn render(&self, reply: &Reply, chat: &Rendering<'_>) -> Result<Vec<Part>, Malformed> {
        let in_reply_to: Vec<&str> = chat.in_reply_to.iter().map(DeliveryKey::as_str).collect();
        let mut part = json!({ "type": reply.kind.as_str(), "in_reply_to": in_reply_to });
        if let Some(members) = part.as_object_mut().filter(|_| reply.kind == ReplyKind::Message) {
            members.insert("text".to_owned(), Value::String(reply.text.clone()));
            if let Some(articles) = articles(&reply.event).filter(|_| self.citations == Citations::Sent) {
                members.insert("articles".to_owned(), Value::Array(articles));
            }
        }
        Ok(vec![Part(part)])
    }

    async fn send(&self, delivery: Delivery<'_>) -> Result<Receipt, SendFailure> {
        // Whom it is for is all that the receiver has.
        if delivery.address.0.get("chat").is_none_or(|chat| text_of_identifier(chat).is_err()) {
            return Err(SendError::Permanent { reason: "the address has no chat".to_owned() }.into());
        }
        let response = self.post(delivery.id, &callback(delivery.part, delivery.id, delivery.address)).await?;
        if response.status.is_success() {
            Ok(Receipt(None))
        } else {
            Err(SendError::from_status(&response, self.clock.now()).answered(&response))
        }
    }

    /// The receiver knows a callback again by its `webhook-id`.
    fn idempotency(&self) -> Idempotency {
        Idempotency::Key
    }

    fn pace(&self) -> Pace {
        super::PACE
    }

    async fn typing(&self, address: &Address) -> Result<(), SendError> {
        if self.typing.is_none() {
            return Ok(());
        }
        let id = PartId::generate();
        let part = Part(json!({ "type": "typing" }));
        let response = self.post(id, &callback(&part, id, address)).await?;
        match response.status.is_success() {
            true => Ok(()),
            false => Err(SendError::from_status(&response, self.clock.now())),
        }
    }

    fn typing_lasts(&self) -> Option<Duration> {
        self.typing
    }

    async fn check(&self) -> Result<Option<Account>, SendError> {
        Ok(None)
    }

    async fn register(&self, url: &str) -> Result<Registration, SendError> {
        Ok(Registration::ByHand(vec![
            format!("post messages to {url}, signed as Standard Webhooks with the channel's secret"),
            "verify the same signature on what comes to callback_url".to_owned(),
        ]))
    }

    fn sample(&self, of: &SampleOf<'_>, now: Timestamp) -> Result<Sample, NoSample> {
        let body = json!({ "id": of.id, "chat": of.chat.unwrap_or("sample"), "text": of.text, "role": "user" });
        let body = body.to_string().into_bytes();
        let signed = self.scheme.sign(of.id, now, &body);
        let signed = signed.ok_or_else(|| NoSample("the sample can't be signed".to_owned()))?;
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        headers.extend(signed.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Ok(Sample { method: Method::POST, headers, body, delivery_key: DeliveryKey::new(of.id) })
    }

    fn answers_in_response(&self) -> bool {
        true
    }

    fn answer_in_response(&self, part: &Part, id: PartId, address: &Address) -> Option<Value> {
        Some(callback(part, id, address))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::domain::clock::ManualClock;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    pub fn read(body: &[u8]) -> Result<Incoming, Rejected> {
        incoming(body)
    }

    fn platform(more: &str) -> Arc<dyn Platform> {
        let toml = format!("secret = '{SECRET}'\ncallback_url = 'https://app.example.com/fini'\n{more}");
        let http = Http::new(&crate::http::Config::default()).unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_791_000_000)));
        build(&toml::from_str(&toml).unwrap(), &Surroundings { http, clock }).map_err(|p| format!("{p:?}")).unwrap()
    }

    fn rendered(platform: &dyn Platform, kind: ReplyKind, event: Value) -> Value {
        let reply =
            Reply { kind, text: if kind == ReplyKind::Message { "Hi **you**".into() } else { "".into() }, event };
        let keys = [DeliveryKey::new("m-1"), DeliveryKey::new("m-2")];
        let address = Address(json!({ "chat": 42 }));
        let parts = platform.render(&reply, &Rendering { address: &address, in_reply_to: &keys }).unwrap();
        assert_eq!(parts.len(), 1);
        let id: PartId = "0199aaaa-0000-7000-8000-000000000001".parse().unwrap();
        platform.answer_in_response(&parts[0], id, &address).unwrap()
    }

    #[test]
    fn a_message_is_read_as_the_protocol_says() {
        let body = json!({ "id": "m", "chat": 42, "text": "hi", "role": "agent", "user": { "plan": "pro" }, "new": 1 });
        let message = incoming(body.to_string().as_bytes()).unwrap();
        assert_eq!((message.delivery_key.as_str(), message.chat.as_str(), message.role), ("m", "42", Role::Agent));
        assert_eq!(message.user_attributes.get("plan"), Some(&json!("pro")));
        assert_eq!(message.address.0, json!({ "chat": 42 }));
        let least = incoming(br#"{"id":1,"chat":"c","text":" ","role":null,"user":null,"sender":null}"#).unwrap();
        assert_eq!((least.role, least.sender), (Role::User, None));
        let of = |sender: Value| {
            incoming(json!({ "id": 1, "chat": 1, "text": "", "sender": sender }).to_string().as_bytes())
        };
        assert_eq!(of(json!(7)).unwrap().sender.as_deref(), Some("7"));
    }

    #[test]
    fn what_is_not_of_the_protocol_is_named_by_its_field() {
        for (body, detail) in [
            ("x", "body: not JSON"),
            ("[]", "body: not an object"),
            (r#"{"chat":"c","text":"t"}"#, "id: missing"),
            (r#"{"id":"m","chat":null,"text":"t"}"#, "chat: neither a string nor an integer"),
            (r#"{"id":"m","chat":1.5,"text":"t"}"#, "chat: neither a string nor an integer"),
            (r#"{"id":"m","chat":"","text":"t"}"#, "chat: an empty string"),
            (r#"{"id":"m","chat":"c"}"#, "text: missing"),
            (r#"{"id":"m","chat":"c","text":7}"#, "text: not a string"),
            (r#"{"id":"m","chat":"c","text":"t","role":"admin"}"#, "role: neither user, agent nor otherbot"),
            (r#"{"id":"m","chat":"c","text":"t","user":"zoe"}"#, "user: not an object"),
            (r#"{"id":"m","chat":"c","text":"t","sender":" "}"#, "sender: an empty string"),
            (r#"{"id":"m","chat":"c","text":"t","sender":[]}"#, "sender: neither a string nor an integer"),
        ] {
            let rejected = incoming(body.as_bytes()).unwrap_err();
            assert_eq!(
                (rejected.detail.as_str(), rejected.field),
                (detail, detail.split(':').next().unwrap()),
                "{body}"
            );
        }
    }

    #[test]
    fn every_end_of_a_turn_is_told() {
        let platform = platform("");
        assert_eq!(
            rendered(&*platform, ReplyKind::Message, json!({ "usedArticles": [{ "id": "a" }] })),
            json!({
                "type": "message", "id": "0199aaaa-0000-7000-8000-000000000001", "chat": 42, "text": "Hi **you**",
                "in_reply_to": ["m-1", "m-2"],
            })
        );
        for (kind, word) in
            [(ReplyKind::NoReply, "no_reply"), (ReplyKind::Handoff, "handoff"), (ReplyKind::Failed, "failed")]
        {
            let told = rendered(&*platform, kind, Value::Null);
            assert_eq!((&told["type"], &told["in_reply_to"]), (&json!(word), &json!(["m-1", "m-2"])));
        }
    }

    #[test]
    fn articles_come_only_where_they_are_wanted() {
        let event = json!({ "usedArticles": [
            { "id": "a", "title": "Track", "documentUrl": "https://help.example.com/track", "score": 1 },
            { "id": "b", "title": "Other", "documentUrl": "javascript:alert(1)" },
        ] });
        assert_eq!(
            rendered(&*platform("citations = true"), ReplyKind::Message, event.clone())["articles"],
            json!([
                { "id": "a", "title": "Track", "documentUrl": "https://help.example.com/track" },
                { "id": "b", "title": "Other", "documentUrl": null },
            ])
        );
        assert_eq!(rendered(&*platform(""), ReplyKind::Message, event).get("articles"), None);
    }

    #[test]
    fn a_typing_sign_is_sent_only_where_it_is_wanted() {
        assert_eq!(platform("").typing_lasts(), None);
        assert!(platform("typing = true").typing_lasts().is_some());
    }
}
