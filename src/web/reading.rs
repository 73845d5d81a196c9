//! From a raw webhook to what it says: verify, then parse. Nothing is built of a body before its sender is known, and
//! nothing of one that would become too much. Large bodies are read beside the connections' workers, one at a time:
//! so the memory that one takes is the memory that all take, and nobody's small webhook waits for them.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::bodies::SMALL_BODY;
use super::complexity::is_too_complex;
use crate::domain::clock::Timestamp;
use crate::domain::id::DeliveryKey;
use crate::platform::{Event, Malformed, Parsed, Platform, cut};
use crate::signature::{RawWebhook, Refused, Verified, hmac_hex};

/// Large bodies that are verified at once. Whoever sends them is not known: they wait for each other, and those that
/// were verified don't wait for them.
const VERIFIED_AT_ONCE: usize = 2;

pub struct Reader {
    max_nodes: usize,
    /// Where large bodies are read.
    runtime: Handle,
    verifying: Semaphore,
    parsing: Semaphore,
}

/// A reading that never came to its end: the process is going down.
#[derive(Debug)]
pub struct Aborted;

impl Reader {
    /// Reads large bodies on the runtime that it is made on.
    pub fn here(max_nodes: usize) -> Self {
        let verifying = Semaphore::new(VERIFIED_AT_ONCE);
        Self { max_nodes, runtime: Handle::current(), verifying, parsing: Semaphore::new(1) }
    }

    pub async fn verify(
        &self,
        platform: &Arc<dyn Platform>,
        raw: RawWebhook,
        now: Timestamp,
    ) -> Result<Result<Verified, Refused>, Aborted> {
        if raw.body.len() <= SMALL_BODY {
            return Ok(platform.verify(raw, now));
        }
        let platform = Arc::clone(platform);
        self.aside(&self.verifying, move || platform.verify(raw, now)).await
    }

    pub async fn parse(&self, platform: &Arc<dyn Platform>, webhook: Verified) -> Result<Parsed, Aborted> {
        let (platform, max_nodes) = (Arc::clone(platform), self.max_nodes);
        if webhook.body().len() <= SMALL_BODY {
            return Ok(parse(platform.as_ref(), &webhook, max_nodes));
        }
        self.aside(&self.parsing, move || parse(platform.as_ref(), &webhook, max_nodes)).await
    }

    async fn aside<T: Send + 'static>(
        &self,
        turns: &Semaphore,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Aborted> {
        let _turn = turns.acquire().await.map_err(|_| Aborted)?;
        self.runtime.spawn_blocking(work).await.map_err(|_| Aborted)
    }
}

/// What the webhook says. What can't be read of it has a key and an excerpt, so that nothing else of the body is needed.
fn parse(platform: &dyn Platform, webhook: &Verified, max_nodes: usize) -> Parsed {
    let parsed = if is_too_complex(webhook.raw(), max_nodes) {
        let detail = format!("more than {max_nodes} JSON values (server.max_nodes)");
        Err(Malformed { reason: "too_complex", ..Malformed::new(detail) })
    } else {
        platform.parse(webhook)
    };
    let mut events = match parsed {
        Ok(Parsed::Events(events)) => events,
        Ok(answer) => return answer,
        Err(malformed) => vec![Event::Malformed(malformed)],
    };
    let mut hash = None;
    for (number, event) in events.iter_mut().enumerate() {
        let Event::Malformed(malformed) = event else { continue };
        malformed.delivery_key.get_or_insert_with(|| {
            // The same bytes again are the same failed message.
            let hash = hash.get_or_insert_with(|| hmac_hex(b"body", &[webhook.body()]));
            DeliveryKey::new(format!("body:{hash}:{number}"))
        });
        malformed.raw.get_or_insert_with(|| cut(webhook.body()));
    }
    Parsed::Events(events)
}
