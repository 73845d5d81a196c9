//! `/livez` and `/readyz`.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::store::Store;

/// However often it is asked, the store is probed once in so long: a probe writes to the disk.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBE_WITHIN: Duration = Duration::from_secs(1);
/// Not ready is said at once, whatever the store does.
const LOOK_WITHIN: Duration = Duration::from_millis(50);

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Starting,
    Serving,
    /// Still accepting, but load balancers shall go elsewhere.
    Draining,
}

#[derive(Clone)]
pub struct Readiness {
    phase: Arc<AtomicU8>,
    store: Arc<dyn Store>,
    /// The latest probe and when it began. All who ask wait for the same one.
    latest: Arc<Mutex<Option<(Instant, Probe)>>>,
    /// Where probes run: one that has begun ends, whether or not somebody still waits for it.
    home: Handle,
}

type Probe = Shared<BoxFuture<'static, bool>>;

impl Readiness {
    /// Must be called within a tokio runtime that outlives it.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let phase = Arc::new(AtomicU8::new(Phase::Starting as u8));
        Self { phase, store, latest: Arc::default(), home: Handle::current() }
    }

    /// Whether the store took a write within the last second.
    fn probe(&self) -> Probe {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((begun, probe)) = &*latest
            && begun.elapsed() < PROBE_EVERY
        {
            return probe.clone();
        }
        let store = self.store.clone();
        let running = self.home.spawn(async move { timeout(PROBE_WITHIN, store.probe()).await });
        let probe = running.map(|ended| matches!(ended, Ok(Ok(Ok(()))))).boxed().shared();
        *latest = Some((Instant::now(), probe.clone()));
        probe
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub fn is_draining(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == Phase::Draining as u8
    }
}

pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "alive" }))
}

/// 503 while starting, draining, or when this replica alone can't serve. A store that all replicas share and
/// that is away leaves it 200: no other replica would do better.
pub async fn readyz(readiness: web::Data<Readiness>) -> HttpResponse {
    let phase = readiness.phase.load(Ordering::SeqCst);
    let probe = readiness.probe();
    let up = match phase {
        phase if phase == Phase::Serving as u8 => probe.await,
        _ => timeout(LOOK_WITHIN, probe).await.unwrap_or(false),
    };
    let status = match phase {
        phase if phase == Phase::Starting as u8 => "starting",
        phase if phase == Phase::Draining as u8 => "draining",
        _ if !up && !readiness.store.is_shared() => "unready",
        _ => "ready",
    };
    let body = serde_json::json!({ "status": status, "store": if up { "up" } else { "down" } });
    if status == "ready" { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}
