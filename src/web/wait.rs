//! `Prefer: wait=30` (RFC 7240): a caller who would rather have the answer in the response than as a callback.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::intake::Intake;
use crate::domain::id::{DeliveryKey, MessageId};
use crate::pipeline::channel::Channel;
use crate::platform::Part;
use crate::signature::RawWebhook;
use crate::store::{AnswerPart, Store};

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

/// Waits for the end of the message's turn. However this ends (in time, too late, the caller gone, the
/// process dead), the answer reaches the caller exactly one way.
pub async fn answer(
    intake: &Intake,
    channel: &Channel,
    message: MessageId,
    key: &DeliveryKey,
    at_most: Duration,
) -> HttpResponse {
    let waiting = Waiting { store: intake.store.clone(), message, ended: false };
    let until = Instant::now() + at_most;
    let mut ended = intake.store.bells().ended;
    loop {
        ended.mark_unchanged();
        match intake.store.claim_answer(message).await {
            Ok(Some(parts)) => {
                waiting.done();
                let messages: Vec<Value> = parts.iter().filter_map(|part| in_response(channel, part)).collect();
                return HttpResponse::Ok().json(json!({ "id": key.as_str(), "messages": messages }));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "an answer can't be looked for"),
        }
        let now = Instant::now();
        if now >= until || intake.readiness.is_draining() {
            // Dropping `waiting` hands the answer over to the callback.
            return HttpResponse::Accepted().json(json!({ "id": key.as_str() }));
        }
        let _ = tokio::time::timeout_at((now + LOOK_AT_LEAST).min(until), ended.changed()).await;
        tokio::time::sleep_until((now + LOOK_AT_MOST).min(until)).await;
    }
}

fn in_response(channel: &Channel, part: &AnswerPart) -> Option<Value> {
    let rendered = Part(part.part.clone());
    channel.platform.answer_in_response(&rendered, part.id, &part.address)
}

/// Somebody waits. When this is dropped without an answer, nobody does any more.
struct Waiting {
    store: Arc<dyn Store>,
    message: MessageId,
    ended: bool,
}

impl Waiting {
    fn done(mut self) {
        self.ended = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (store, message) = (self.store.clone(), self.message);
        tokio::spawn(async move {
            if let Err(error) = store.stop_waiting(message).await {
                tracing::warn!(%error, "a callback is late: it goes out when the caller's time has passed");
            }
        });
    }
}
