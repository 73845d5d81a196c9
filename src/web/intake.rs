//! A webhook's way in: verify, parse, keep, acknowledge. In this order, and nothing else: the work begins after
//! the answer. Its sender learns nothing but the status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, json};

use super::bodies::{Bodies, Body, Place};
use super::health::Readiness;
use super::proxies::TrustedProxies;
use super::reading::{Aborted, Reader};
use super::refusals::RefusalLog;
use super::request;
use super::wait::{self, Afterwards};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::failpoint;
use crate::domain::id::{ChannelName, ChatKey, ChatRef, DeliveryKey, MessageId};
use crate::domain::message::{Addressed, DeliveryReport, Incoming, Reported, Role};
use crate::pipeline::channel::{Accept, Channel, Scope};
use crate::pipeline::{REFERENCE_ATTRIBUTE, people};
use crate::platform::{Answer, Event, HANDSHAKE_BODY, Malformed, Parsed, Rejected, cut};
use crate::signature::{RawWebhook, Refused, hmac_hex};
use crate::store::{Accepted, NewItem, NewMessage, NewUnusable, Store, StoreError};
use crate::telemetry::Metrics;

/// Duplicates are remembered for 8 days; what was sent longer ago than that, less half a day, could be one.
const TOO_OLD: Duration = Duration::from_secs((7 * 24 + 12) * 3600);
/// Learning who we are must not cost the platform its patience (Slack's is 3 s).
const PREPARE_WITHIN: Duration = Duration::from_millis(1500);
/// Delivery reports of one webhook that are written at the same time: many go into one commit, and others find room.
const REPORTS_AT_ONCE: usize = 32;
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
    pub reader: Reader,
    pub refusal_log: RefusalLog,
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
        Err(refusal) => {
            let Refusal { status, result, .. } = refusal;
            intake.log(&channel, refusal);
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
    /// A label.
    result: &'static str,
    /// More exactly; `None`: the result says it all.
    reason: Option<&'static str>,
    /// Why the store could not keep it.
    error: Option<StoreError>,
}

impl Refusal {
    const fn new(status: StatusCode, result: &'static str) -> Self {
        Self { status, result, reason: None, error: None }
    }

    fn of_body(status: StatusCode) -> Self {
        Self::new(
            status,
            match status {
                StatusCode::SERVICE_UNAVAILABLE => "full",
                StatusCode::PAYLOAD_TOO_LARGE => "too_large",
                StatusCode::REQUEST_TIMEOUT => "too_slow",
                _ => "broken_off",
            },
        )
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let reason = Some(refused.as_str());
        Self { reason, ..Self::new(StatusCode::UNAUTHORIZED, "unauthenticated") }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self { error: Some(error), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable") }
    }
}

impl From<Aborted> for Refusal {
    fn from(_: Aborted) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "full")
    }
}

/// What came of a request before anything of it is parsed.
enum Arrival {
    /// A handshake.
    Answered(Answer),
    Webhook(Box<RawWebhook>, Place),
}

impl Intake {
    fn log(&self, channel: &Channel, refusal: Refusal) {
        let Refusal { status, result, reason, error } = refusal;
        if !self.refusal_log.admits(&channel.name, reason.unwrap_or(result)) {
            return;
        }
        let (channel, status) = (&channel.name, status.as_u16());
        match error {
            Some(error) => tracing::error!(%channel, status, result, %error, "a webhook can't be kept"),
            None => tracing::warn!(%channel, status, result, reason, "a webhook was turned away"),
        }
    }

    async fn take_in(
        &self,
        channel: &Channel,
        request: &HttpRequest,
        payload: web::Payload,
        rest: &str,
    ) -> Result<Outcome, Refusal> {
        let now = self.clock.now();
        let (raw, place) = match self.receive(channel, request, payload, rest, now).await? {
            Arrival::Answered(answer) => return Ok(answered(&answer)),
            Arrival::Webhook(raw, place) => (*raw, Arc::new(place)),
        };
        let prefer = wait::preference(&raw).filter(|_| channel.platform.answers_in_response());
        let verified = self.reader.verify(&channel.platform, raw, &place, now).await??;
        let _ = tokio::time::timeout(PREPARE_WITHIN, channel.platform.prepare()).await;
        match self.reader.parse(&channel.platform, verified, &place).await? {
            Parsed::Answer(answer) => Ok(answered(&answer)),
            Parsed::Rejected(rejected) => Ok(told(&rejected)),
            Parsed::Events(events) => self.keep(channel, place, events, now, prefer).await,
        }
    }

    /// Reads the request: its head first, and its body only where that head can be genuine or a handshake may be in
    /// it. Nothing is parsed here but a handshake's few KiB.
    async fn receive(
        &self,
        channel: &Channel,
        request: &HttpRequest,
        payload: web::Payload,
        rest: &str,
        now: Timestamp,
    ) -> Result<Arrival, Refusal> {
        let platform = &channel.platform;
        let announced = request::announced(request);
        if !self.bodies.admits(announced) {
            return Err(Refusal::of_body(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let head = request::head(request, rest, self.public_url.as_deref(), &self.trusted_proxies)
            .ok_or(Refusal::new(StatusCode::BAD_REQUEST, "malformed"))?;
        if let Some(answer) = platform.handshake(&head) {
            return Ok(Arrival::Answered(answer));
        }
        let refused = platform.precheck(&head, now).err();
        let max = match refused {
            None => None,
            Some(_) if platform.handshake_in_body(&head) => Some(HANDSHAKE_BODY),
            Some(refused) => {
                self.bodies.discard(payload).await.map_err(Refusal::of_body)?;
                return Err(refused.into());
            }
        };
        let Body { bytes, place } = match self.bodies.read(payload, announced, max).await {
            Ok(body) => body,
            Err(status) => {
                let too_long = refused.filter(|_| status == StatusCode::PAYLOAD_TOO_LARGE);
                return Err(too_long.map_or_else(|| Refusal::of_body(status), Refusal::from));
            }
        };
        let raw = RawWebhook { body: bytes, ..head };
        if raw.body.len() <= HANDSHAKE_BODY
            && let Some(answer) = platform.handshake(&raw)
        {
            return Ok(Arrival::Answered(answer));
        }
        refused.map_or(Ok(Arrival::Webhook(Box::new(raw), place)), |refused| Err(refused.into()))
    }

    /// Everything of the webhook in one commit, and only then the acknowledgement.
    async fn keep(
        &self,
        channel: &Channel,
        place: Arc<Place>,
        events: Vec<Event>,
        now: Timestamp,
        prefer: Option<Duration>,
    ) -> Result<Outcome, Refusal> {
        let single = events.len() == 1;
        let mut items = Vec::new();
        let mut reports = Vec::new();
        for event in events {
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
                Event::Malformed(malformed) => items.push(NewItem::Unusable(unusable(channel, malformed))),
            }
        }
        self.take_down(channel, reports).await?;
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
        let accepted = self.store.accept(items).await?;
        failpoint::reach("intake.kept");
        // Whoever waits for the answer waits long.
        drop(place);
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

    /// A batch may bring thousands, mostly about what somebody else sent by the same account. What comes of several
    /// about one part doesn't depend on their order.
    async fn take_down(&self, channel: &Channel, mut reports: Vec<DeliveryReport>) -> Result<(), StoreError> {
        let count = |known| self.metrics.report(channel.name.as_str(), if known { "known" } else { "unknown" });
        if reports.len() > 1 {
            let of: Vec<Reported> = reports.iter().map(|report| report.of.clone()).collect();
            let mut known = self.store.known_parts(&channel.name, &of).await?.into_iter();
            reports.retain(|_| {
                let known = known.next().unwrap_or(true);
                if !known {
                    count(false);
                }
                known
            });
        }
        let report = async |report: DeliveryReport| self.store.report(&channel.name, &report.of, &report.outcome).await;
        let mut known = futures::stream::iter(reports).map(report).buffer_unordered(REPORTS_AT_ONCE);
        while let Some(known) = known.try_next().await? {
            count(known);
        }
        Ok(())
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
        // A clock that is ahead of ours must not put a message behind those that are still to come.
        let sent_at = incoming.sent_at.map(|at| at.min(now));
        if sent_at.is_some_and(|at| now.since(at) > TOO_OLD) {
            let detail = "It was sent longer ago than duplicates are remembered.".to_owned();
            return Ok(NewItem::Unusable(NewUnusable {
                id: MessageId::generate(),
                channel: channel.name.clone(),
                delivery_key: incoming.delivery_key,
                reason: "too_old".to_owned(),
                detail,
                raw: cut(incoming.text.as_bytes()),
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
            text: cut_text(incoming.text, max_text),
            user_attributes,
            attributes_ref,
            bot_id,
            address: incoming.address,
            sort_at: sent_at.filter(|_| incoming.unordered),
            only_if_known,
            merge_window: channel.conversations.merge_window.0,
            wait,
            dormant: !channel.enabled,
        })))
    }
}

/// [`Reader::parse`] has given it a key.
fn unusable(channel: &Channel, malformed: Malformed) -> NewUnusable {
    let id = MessageId::generate();
    NewUnusable {
        id,
        channel: channel.name.clone(),
        delivery_key: malformed.delivery_key.unwrap_or_else(|| DeliveryKey::new(id.to_string())),
        reason: malformed.reason.to_owned(),
        detail: malformed.detail,
        raw: malformed.raw.unwrap_or_default(),
    }
}

fn answered(answer: &Answer) -> Outcome {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    // What a stranger wrote is shown to nobody as anything but text.
    let response = HttpResponse::build(status)
        .content_type(ContentType::plaintext())
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(answer.body.clone());
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

/// The beginning of a text, at most so many bytes of it.
fn cut_text(mut text: String, at_most: usize) -> String {
    if text.len() > at_most {
        text.truncate(text.floor_char_boundary(at_most));
        text.shrink_to_fit();
    }
    text
}
