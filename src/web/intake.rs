//! A webhook's way in: limits, verify, parse, the inbox, and the answer. In this order, and nothing else: the work
//! begins after the answer. Its sender learns nothing but the status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::bodies::{Bodies, Body, Place};
use super::health::Readiness;
use super::proxies::TrustedProxies;
use super::reading::{Aborted, Reader};
use super::refusals::RefusalLog;
use super::request;
use super::wait::{self, ResponseWaiter};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::ChannelName;
use crate::pipeline::channel::Channel;
use crate::pipeline::inbox::Inbox;
use crate::platform::{Answer, Event, HANDSHAKE_BODY, Parsed, Rejected};
use crate::signature::{RawWebhook, Refused};
use crate::store::StoreError;
use crate::telemetry::Metrics;

/// Learning who we are must not cost the platform its patience (Slack's is 3 s).
const PREPARE_WITHIN: Duration = Duration::from_millis(1500);
/// When the store is back is not known; a second is soon enough.
pub(super) const RETRY_AFTER_SECS: &str = "2";

pub struct Intake {
    pub channels: BTreeMap<ChannelName, Arc<Channel>>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub public_url: Option<String>,
    pub trusted_proxies: TrustedProxies,
    pub bodies: Bodies,
    pub reader: Reader,
    pub refusal_log: RefusalLog,
    pub inbox: Inbox,
    pub waiter: ResponseWaiter,
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
    let (response, result) = match intake.receive(&channel, &request, payload, rest.trim_start_matches('/')).await {
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

    async fn receive(
        &self,
        channel: &Channel,
        request: &HttpRequest,
        payload: web::Payload,
        rest: &str,
    ) -> Result<Outcome, Refusal> {
        let now = self.clock.now();
        let (raw, place) = match self.read(channel, request, payload, rest, now).await? {
            Arrival::Answered(answer) => return Ok(handshake_response(&answer)),
            Arrival::Webhook(raw, place) => (*raw, Arc::new(place)),
        };
        let prefer = wait::preference(&raw).filter(|_| channel.platform.answers_in_response());
        let verified = self.reader.verify(&channel.platform, raw, &place, now).await??;
        let secret = verified.secret().and_then(|place| channel.secrets.get(place)).cloned();
        let _ = tokio::time::timeout(PREPARE_WITHIN, channel.platform.prepare()).await;
        match self.reader.parse(&channel.platform, verified, &place).await? {
            Parsed::Answer(answer) => Ok(handshake_response(&answer)),
            Parsed::Rejected(rejected) => Ok(problem_details(&rejected)),
            Parsed::Events(events) => self.persist(channel, place, events, now, prefer, secret).await,
        }
    }

    /// Reads the request: its head first, and its body only where that head can be genuine or a handshake may be in
    /// it. Nothing is parsed here but a handshake's few KiB.
    async fn read(
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
    async fn persist(
        &self,
        channel: &Channel,
        place: Arc<Place>,
        events: Vec<Event>,
        now: Timestamp,
        prefer: Option<Duration>,
        secret: Option<Arc<str>>,
    ) -> Result<Outcome, Refusal> {
        let taken = self.inbox.take(channel, events, now, prefer.map(wait::held_back), secret).await?;
        // Whoever waits for the answer waits long.
        drop(place);
        let response = match prefer.zip(taken.held) {
            Some((at_most, (message, key))) => self.waiter.answer(channel, message, &key, at_most).await,
            None => HttpResponse::Ok().finish(),
        };
        Ok(Outcome { response, result: taken.outcome.as_str() })
    }
}

fn handshake_response(answer: &Answer) -> Outcome {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    // What a stranger wrote is shown to nobody as anything but text.
    let response = HttpResponse::build(status)
        .content_type(ContentType::plaintext())
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(answer.body.clone());
    Outcome { response, result: if status.is_success() { "handshake" } else { "handshake_refused" } }
}

/// RFC 9457, with the field as a member of its own.
fn problem_details(rejected: &Rejected) -> Outcome {
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
