//! `/livez` and `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use actix_web::{HttpResponse, web};

use crate::store::Store;

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
}

impl Readiness {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { phase: Arc::new(AtomicU8::new(Phase::Starting as u8)), store }
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
    let probe = tokio::time::timeout(Duration::from_secs(1), readiness.store.probe()).await;
    let up = matches!(probe, Ok(Ok(())));
    let phase = readiness.phase.load(Ordering::SeqCst);
    let status = match phase {
        phase if phase == Phase::Starting as u8 => "starting",
        phase if phase == Phase::Draining as u8 => "draining",
        _ if !up && !readiness.store.is_shared() => "unready",
        _ => "ready",
    };
    let body = serde_json::json!({ "status": status, "store": if up { "up" } else { "down" } });
    if status == "ready" { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}
