//! `Prefer: wait=30` (RFC 7240): a caller who would rather have the answer in the response than as a callback.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::ContentType;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::health::Readiness;
use crate::domain::id::{DeliveryKey, MessageId};
use crate::pipeline::channel::Channel;
use crate::pipeline::retry::insist;
use crate::signature::RawWebhook;
use crate::store::{AnswerPart, RESPONSE_WITHIN, Store};

/// Longer than this no caller waits: proxies in between cut at 60 s.
const LONGEST: Duration = Duration::from_secs(55);
/// Somebody else's turn rings too: look this often at most …
const LOOK_AT_MOST: Duration = Duration::from_millis(50);
/// … and at least this often, for a turn that ended on another replica.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);
/// The replies stay ours for this much longer than the caller waits.
const MARGIN: Duration = Duration::from_secs(5);

/// How long the caller would wait; `None`: not at all, or not said properly.
pub fn preference(raw: &RawWebhook) -> Option<Duration> {
    let values = raw.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let wait = values.flat_map(|value| value.split(',')).find_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u64>().ok()).flatten()
    })?;
    (wait > 0).then(|| Duration::from_secs(wait).min(LONGEST))
}

/// What the lane is told: the replies wait for the caller this long.
pub fn held_back(at_most: Duration) -> Duration {
    at_most + MARGIN
}

/// Who waits for answers in the place of the callers.
pub struct ResponseWaiter {
    pub store: Arc<dyn Store>,
    pub readiness: Readiness,
    pub background: BackgroundWrites,
}

impl ResponseWaiter {
    /// Waits for the end of the message's turn. However this ends (in time, too late, the caller gone, the
    /// process dead), the answer reaches the caller exactly one way.
    pub async fn answer(
        &self,
        channel: &Channel,
        message: MessageId,
        key: &DeliveryKey,
        at_most: Duration,
    ) -> HttpResponse {
        let claim = ResponseClaim {
            store: self.store.clone(),
            background: self.background.clone(),
            message,
            end: ResponseEnd::GaveUp,
        };
        let until = Instant::now() + at_most;
        let mut ended = self.store.bells().ended;
        loop {
            ended.mark_unchanged();
            match self.store.claim_answer(message).await {
                Ok(Some(parts)) => {
                    let messages: Vec<Value> = parts.iter().filter_map(|part| in_response(channel, part)).collect();
                    let body = json!({ "id": key.as_str(), "messages": messages }).to_string();
                    let body = AnswerBody { rest: Bytes::from(body), step: WriteStep::AllButLastByte, claim };
                    return HttpResponse::Ok().content_type(ContentType::json()).body(body);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "an answer can't be looked for"),
            }
            let now = Instant::now();
            if now >= until || self.readiness.is_draining() {
                // Dropping the claim hands the answer over to the callback.
                return HttpResponse::Accepted().json(json!({ "id": key.as_str() }));
            }
            let _ = tokio::time::timeout_at((now + LOOK_AT_LEAST).min(until), ended.changed()).await;
            tokio::time::sleep_until((now + LOOK_AT_MOST).min(until)).await;
        }
    }
}

fn in_response(channel: &Channel, part: &AnswerPart) -> Option<Value> {
    channel.platform.answer_in_response(&part.part, part.id, &part.address)
}

/// An answer on its way to its caller. The last byte is kept back until all before it has left and the
/// connection was looked at once more: whoever is gone by then has not got the answer, and the callback has it.
/// What is lost behind the last byte nobody here can know; the caller asks with the same id again.
struct AnswerBody {
    rest: Bytes,
    step: WriteStep,
    claim: ResponseClaim,
}

#[derive(Clone, Copy)]
enum WriteStep {
    AllButLastByte,
    /// The connection writes what it has.
    Flush,
    /// The connection is read: a caller who has hung up is noticed.
    CheckCaller,
    LastByte,
}

impl MessageBody for AnswerBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        match this.step {
            WriteStep::AllButLastByte => {
                this.step = WriteStep::Flush;
                let most = this.rest.len().saturating_sub(1);
                Poll::Ready(Some(Ok(this.rest.split_to(most))))
            }
            // Each time it has to wait, the connection flushes what it has, then reads.
            WriteStep::Flush | WriteStep::CheckCaller => {
                this.step =
                    if matches!(this.step, WriteStep::Flush) { WriteStep::CheckCaller } else { WriteStep::LastByte };
                context.waker().wake_by_ref();
                Poll::Pending
            }
            WriteStep::LastByte if this.rest.is_empty() => Poll::Ready(None),
            WriteStep::LastByte => {
                this.claim.end = ResponseEnd::Sent;
                Poll::Ready(Some(Ok(std::mem::take(&mut this.rest))))
            }
        }
    }
}

/// What is written down after a response has left. The worker that sent it may end before that.
#[derive(Clone)]
pub struct BackgroundWrites {
    home: Handle,
    tasks: TaskTracker,
}

impl BackgroundWrites {
    /// On the runtime that calls this.
    pub fn here() -> Self {
        Self { home: Handle::current(), tasks: TaskTracker::new() }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.home);
    }

    /// When no further response is sent: until all is written down.
    pub async fn finish(&self, within: Duration) {
        self.tasks.close();
        let _ = timeout(within, self.tasks.wait()).await;
    }
}

/// Somebody waits. When this is dropped before the answer has left, nobody does any more.
struct ResponseClaim {
    store: Arc<dyn Store>,
    background: BackgroundWrites,
    message: MessageId,
    end: ResponseEnd,
}

#[derive(Clone, Copy)]
enum ResponseEnd {
    GaveUp,
    Sent,
}

impl Drop for ResponseClaim {
    fn drop(&mut self) {
        let (store, message, end) = (self.store.clone(), self.message, self.end);
        self.background.spawn(async move {
            let written = insist(|| match end {
                ResponseEnd::Sent => store.answer_left(message),
                ResponseEnd::GaveUp => store.stop_waiting(message),
            });
            if !matches!(timeout(RESPONSE_WITHIN, written).await, Ok(Ok(()))) {
                tracing::warn!(
                    "what became of a response can't be written down: a callback is late, or comes beside it"
                );
            }
        });
    }
}
