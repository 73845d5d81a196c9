//! What holds for PostgreSQL beyond the promises of every store: several replicas at once, connections that
//! die, transactions that hang, PgBouncer in between, a database that is away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "store/actors.rs"]
#[allow(dead_code)]
mod actors;
#[path = "postgres/connections.rs"]
mod connections;
#[path = "support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;
#[path = "postgres/life.rs"]
mod life;
#[path = "postgres/pgbouncer.rs"]
mod pgbouncer;
#[path = "postgres/replicas.rs"]
mod replicas;
#[path = "postgres/serve.rs"]
mod serve;
#[path = "postgres/upgrading.rs"]
mod upgrading;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fini_bridge::domain::secret::Secret;
use fini_bridge::store::Mode;
use fini_bridge::store::postgres::{OpenError, Postgres};

pub async fn open(url: &str) -> Arc<Postgres> {
    try_open(url, Mode::Serve).await.unwrap()
}

pub async fn try_open(url: &str, mode: Mode) -> Result<Arc<Postgres>, OpenError> {
    let url = Secret::new(url);
    Postgres::open(Arc::new(move || url.clone()), mode).await
}

/// Waits for what must become true by itself.
pub async fn soon<F: Future<Output = bool>>(what: &str, within: Duration, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + within;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
