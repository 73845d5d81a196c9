//! From a raw webhook to what it says: verify, then parse. Nothing is built of a body before its sender is known, and
//! nothing of one that would become too much. Large bodies are read beside the connections' workers, by one thread that
//! verifies and one that parses: nobody's small webhook waits for them, and the memory that one takes is the memory
//! that all take. (On a pool of threads the allocator would keep as much for each of them.)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::bodies::{Place, SMALL_BODY};
use super::complexity::is_too_complex;
use crate::domain::clock::Timestamp;
use crate::domain::id::DeliveryKey;
use crate::platform::{Event, Malformed, Parsed, Platform, cut};
use crate::signature::{RawWebhook, Refused, Verified, hmac_hex};

pub struct Reader {
    max_nodes: usize,
    verifying: Thread,
    /// Of its own: whoever is verified doesn't wait for those who are not.
    parsing: Thread,
}

/// A reading that came to no end: a defect, and its webhook is not kept.
#[derive(Debug)]
pub struct Aborted;

impl Reader {
    pub fn start(max_nodes: usize) -> std::io::Result<Self> {
        let (verifying, parsing) = (Thread::start("webhook-verifier")?, Thread::start("webhook-parser")?);
        Ok(Self { max_nodes, verifying, parsing })
    }

    pub async fn verify(
        &self,
        platform: &Arc<dyn Platform>,
        raw: RawWebhook,
        place: &Arc<Place>,
        now: Timestamp,
    ) -> Result<Result<Verified, Refused>, Aborted> {
        if raw.body.len() <= SMALL_BODY {
            return Ok(platform.verify(raw, now));
        }
        let platform = Arc::clone(platform);
        self.verifying.run(place, move || platform.verify(raw, now)).await
    }

    pub async fn parse(
        &self,
        platform: &Arc<dyn Platform>,
        webhook: Verified,
        place: &Arc<Place>,
    ) -> Result<Parsed, Aborted> {
        let (platform, max_nodes) = (Arc::clone(platform), self.max_nodes);
        if webhook.body().len() <= SMALL_BODY {
            return Ok(parse(platform.as_ref(), &webhook, max_nodes));
        }
        self.parsing.run(place, move || parse(platform.as_ref(), &webhook, max_nodes)).await
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Does one thing after the other. As many wait as the bodies in hand may be.
struct Thread(mpsc::UnboundedSender<Job>);

impl Thread {
    fn start(name: &str) -> std::io::Result<Self> {
        let (sender, mut jobs) = mpsc::unbounded_channel::<Job>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = jobs.blocking_recv() {
                // The next one is still to be done; the panic has been logged.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        })?;
        Ok(Self(sender))
    }

    /// The body counts until its turn has come, whether or not its connection is still there.
    async fn run<T: Send + 'static>(
        &self,
        place: &Arc<Place>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Aborted> {
        let (done, result) = oneshot::channel();
        let place = Arc::clone(place);
        // Nobody waits any more where the connection is gone.
        let job = move || {
            match done.is_closed() {
                true => drop(work),
                false => drop(done.send(work())),
            }
            drop(place);
        };
        self.0.send(Box::new(job)).map_err(|_| Aborted)?;
        result.await.map_err(|_| Aborted)
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
