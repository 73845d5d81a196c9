//! A webhook's way in: verify, parse, keep, acknowledge. In this order, and nothing else: the work begins after
//! the answer. Its sender learns nothing but the status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, json};

use super::health::Readiness;
use super::proxies::TrustedProxies;
use super::request::{self, Bodies};
use super::wait::{self, Afterwards};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::failpoint;
use crate::domain::id::{ChannelName, ChatKey, ChatRef, DeliveryKey, MessageId};
use crate::domain::message::{Addressed, Incoming, Role};
use crate::pipeline::channel::{Accept, Channel, Scope};
use crate::pipeline::{REFERENCE_ATTRIBUTE, people};
use crate::platform::{Answer, Event, Parsed, Rejected};
use crate::signature::{Verified, hmac_hex};
use crate::store::{Accepted, NewItem, NewMessage, NewUnusable, Store};
use crate::telemetry::Metrics;

/// Duplicates are remembered for 8 days; what was sent longer ago than that, less one, could be one.
const TOO_OLD: Duration = Duration::from_secs(7 * 24 * 3600);
/// What is kept of a webhook that can't be read.
const MOST_RAW: usize = 64 * 1024;
/// Learning who we are must not cost the platform its patience (Slack's is 3 s).
const PREPARE_WITHIN: Duration = Duration::from_millis(1500);
/// When the store is back is not known; a second is soon enough.
pub(super) const RETRY_AFTER_SECS: &str = "2";

pub struct Intake {
    pub store: Arc<dyn Store>,
    pub channels: BTreeMap<ChannelName, Arc<Channel>>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub installation_key: [u8; 32],
    pub public_url: Option<String>,
    pub trusted_proxies: TrustedProxies,
    pub bodies: Bodies,
    pub afterwards: Afterwards,
}

pub async fn webhook(
    request: HttpRequest,
    payload: web::Payload,
    path: web::Path<(String, String)>,
    intake: web::Data<Intake>,
) -> HttpResponse {
    let (name, rest) = path.into_inner();
    let begun = Instant::now();
    let Some(channel) = intake.channels.get(&ChannelName::new(name)).cloned() else {
        return HttpResponse::NotFound().finish();
    };
    let (response, result) = match intake.take_in(&channel, &request, payload, rest.trim_start_matches('/')).await {
        Ok(outcome) => (outcome.response, outcome.result),
        Err(Refusal { status, result }) => {
            tracing::info!(channel = %channel.name, status = status.as_u16(), result, "a webhook was turned away");
            let mut response = HttpResponse::build(status);
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.insert_header((RETRY_AFTER, RETRY_AFTER_SECS));
            }
            (response.finish(), result)
        }
    };
    intake.metrics.webhook(channel.name.as_str(), result, begun.elapsed());
    response
}

struct Outcome {
    response: HttpResponse,
    /// A label.
    result: &'static str,
}

struct Refusal {
    status: StatusCode,
    result: &'static str,
}

impl Refusal {
    const fn new(status: StatusCode, result: &'static str) -> Self {
        Self { status, result }
    }
}

impl Intake {
    async fn take_in(
        &self,
        channel: &Channel,
        request: &HttpRequest,
        payload: web::Payload,
        rest: &str,
    ) -> Result<Outcome, Refusal> {
        let body = self.bodies.read(request, payload).await.map_err(|status| {
            let result = match status {
                StatusCode::SERVICE_UNAVAILABLE => "full",
                StatusCode::PAYLOAD_TOO_LARGE => "too_large",
                StatusCode::REQUEST_TIMEOUT => "too_slow",
                _ => "broken_off",
            };
            Refusal::new(status, result)
        })?;
        let raw = request::raw(request, rest, body.bytes.clone(), self.public_url.as_deref(), &self.trusted_proxies)
            .ok_or(Refusal::new(StatusCode::BAD_REQUEST, "malformed"))?;
        if let Some(answer) = channel.platform.handshake(&raw) {
            return Ok(answered(&answer));
        }
        let now = self.clock.now();
        let prefer = wait::preference(&raw).filter(|_| channel.platform.answers_in_response());
        let verified = channel.platform.verify(raw, now).map_err(|refused| {
            tracing::warn!(channel = %channel.name, reason = refused.as_str(), "a webhook is not authentic");
            Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated")
        })?;
        let _ = tokio::time::timeout(PREPARE_WITHIN, channel.platform.prepare()).await;
        let events = match channel.platform.parse(&verified) {
            Ok(Parsed::Answer(answer)) => return Ok(answered(&answer)),
            Ok(Parsed::Rejected(rejected)) => return Ok(told(&rejected)),
            Ok(Parsed::Events(events)) => events,
            Err(malformed) => vec![Event::Malformed(malformed)],
        };
        self.keep(channel, &verified, events, now, prefer).await
    }

    /// Everything of the webhook in one commit, and only then the acknowledgement.
    async fn keep(
        &self,
        channel: &Channel,
        verified: &Verified,
        events: Vec<Event>,
        now: Timestamp,
        prefer: Option<Duration>,
    ) -> Result<Outcome, Refusal> {
        let away = |error| {
            tracing::error!(channel = %channel.name, %error, "a webhook can't be kept");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
        };
        let single = events.len() == 1;
        let mut items = Vec::new();
        let mut reports = Vec::new();
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Event::Message(incoming) => {
                    let wait = prefer.filter(|_| single).map(wait::held_back);
                    match self.item(channel, *incoming, now, wait) {
                        Ok(item) => items.push(item),
                        Err(kind) => self.metrics.ignored(channel.name.as_str(), kind),
                    }
                }
                Event::Report(report) => reports.push(report),
                Event::Ignored(kind) => self.metrics.ignored(channel.name.as_str(), kind),
                Event::Malformed(malformed) => {
                    let key = malformed.delivery_key.unwrap_or_else(|| body_key(verified.body(), number));
                    let detail = malformed.detail;
                    items.push(NewItem::Unusable(self.unusable(channel, key, "malformed", detail, verified)));
                }
            }
        }
        for report in reports {
            let known = self.store.report(&channel.name, &report.of, &report.outcome).await.map_err(away)?;
            self.metrics.report(channel.name.as_str(), if known { "known" } else { "unknown" });
        }
        if items.is_empty() {
            return Ok(Outcome { response: HttpResponse::Ok().finish(), result: "ignored" });
        }
        let waits = match items.as_slice() {
            [NewItem::Message(message)] => {
                message.wait.map(|_| message.delivery_key.clone()).zip(prefer).map(|(key, wait)| (wait, key))
            }
            _ => None,
        };
        failpoint::reach("intake.verified");
        let failed = items.iter().any(|item| matches!(item, NewItem::Unusable(_)));
        let accepted = self.store.accept(items).await.map_err(away)?;
        failpoint::reach("intake.kept");
        let result = match accepted.as_slice() {
            _ if failed => "kept_as_failed",
            all if all.iter().any(|item| matches!(item, Accepted::New(_))) => "accepted",
            all if all.iter().any(|item| matches!(item, Accepted::Duplicate(_))) => "duplicate",
            _ => "ignored",
        };
        if let (Some((at_most, key)), [Accepted::New(message) | Accepted::Duplicate(message)]) =
            (waits, accepted.as_slice())
        {
            let response = wait::answer(self, channel, *message, &key, at_most).await;
            return Ok(Outcome { response, result });
        }
        Ok(Outcome { response: HttpResponse::Ok().finish(), result })
    }

    /// What is to be kept of a message, or the kind under which it is ignored.
    fn item(
        &self,
        channel: &Channel,
        incoming: Incoming,
        now: Timestamp,
        wait: Option<Duration>,
    ) -> Result<NewItem, &'static str> {
        let accepts = |kind| channel.accept.contains(&kind) || channel.accept.contains(&Accept::All);
        let only_if_known = match incoming.addressed {
            Addressed::Direct if accepts(Accept::Direct) => false,
            Addressed::Mention if accepts(Accept::Mention) => false,
            Addressed::Room if accepts(Accept::All) => false,
            Addressed::Thread if accepts(Accept::All) => false,
            Addressed::Thread if accepts(Accept::Mention) => true,
            _ => return Err("not_addressed"),
        };
        if incoming.sent_at.is_some_and(|at| now.since(at) > TOO_OLD) {
            let detail = "It was sent longer ago than duplicates are remembered.".to_owned();
            return Ok(NewItem::Unusable(NewUnusable {
                id: MessageId::generate(),
                channel: channel.name.clone(),
                delivery_key: incoming.delivery_key,
                reason: "too_old".to_owned(),
                detail,
                raw: cut(incoming.text, MOST_RAW),
            }));
        }
        let bot_id = channel.bot_for(&incoming);
        let per_user = incoming.shared && channel.conversations.scope == Scope::User;
        let chat = match &incoming.sender {
            Some(sender) if per_user => ChatKey::new(format!("{}\0{sender}", incoming.chat.as_str())),
            _ => incoming.chat,
        };
        let account = incoming.account.as_deref().unwrap_or_default();
        let parts = ["chat", channel.name.as_str(), account, chat.as_str()].join("\0");
        let mut chat_ref = hmac_hex(&self.installation_key, &[parts.as_bytes()]);
        chat_ref.truncate(32);
        // What an agent or a bot brings along is not the customer's.
        let mut user_attributes = if incoming.role == Role::User { incoming.user_attributes } else { Map::new() };
        user_attributes.remove(REFERENCE_ATTRIBUTE);
        let sender = incoming.sender.as_deref();
        let sender_ref = sender.map(|sender| people::sender_ref(&self.installation_key, &channel.name, sender));
        let attributes_ref = people::attributes_ref(&self.installation_key, &channel.name, &user_attributes);
        let max_text = channel.conversations.max_text.0;
        Ok(NewItem::Message(Box::new(NewMessage {
            id: MessageId::generate(),
            channel: channel.name.clone(),
            delivery_key: incoming.delivery_key,
            chat,
            chat_ref: ChatRef::new(chat_ref),
            sender: incoming.sender,
            sender_ref,
            role: incoming.role,
            too_long: incoming.text.len() > max_text,
            text: cut(incoming.text, max_text),
            user_attributes,
            attributes_ref,
            bot_id,
            address: incoming.address,
            sort_at: incoming.sent_at.filter(|_| incoming.unordered),
            only_if_known,
            merge_window: channel.conversations.merge_window.0,
            wait,
            dormant: !channel.enabled,
        })))
    }

    fn unusable(
        &self,
        channel: &Channel,
        delivery_key: DeliveryKey,
        reason: &str,
        detail: String,
        verified: &Verified,
    ) -> NewUnusable {
        NewUnusable {
            id: MessageId::generate(),
            channel: channel.name.clone(),
            delivery_key,
            reason: reason.to_owned(),
            detail,
            raw: cut(String::from_utf8_lossy(verified.body()).into_owned(), MOST_RAW),
        }
    }
}

fn answered(answer: &Answer) -> Outcome {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let response = HttpResponse::build(status).content_type(ContentType::plaintext()).body(answer.body.clone());
    Outcome { response, result: if status.is_success() { "handshake" } else { "handshake_refused" } }
}

/// RFC 9457, with the field as a member of its own.
fn told(rejected: &Rejected) -> Outcome {
    let body = json!({
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": rejected.detail,
        "field": rejected.field,
    });
    let response = HttpResponse::BadRequest().content_type("application/problem+json").body(body.to_string());
    Outcome { response, result: "rejected" }
}

/// The same bytes again are the same failed message.
fn body_key(body: &[u8], number: usize) -> DeliveryKey {
    DeliveryKey::new(format!("body:{}:{number}", hmac_hex(b"body", &[body])))
}

fn cut(mut text: String, at_most: usize) -> String {
    if text.len() > at_most {
        text.truncate(text.floor_char_boundary(at_most));
        text.shrink_to_fit();
    }
    text
}
