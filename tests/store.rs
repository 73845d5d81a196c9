//! The promises of `store::Store`, each run on every backend. What is special to one backend (its files, its
//! connections) is tested beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fini_bridge::store::Store;

/// A fresh store, and what a test may do to its surroundings.
pub struct World {
    pub store: Arc<dyn Store>,
    backend: Box<dyn Backend>,
}

#[async_trait]
pub trait Backend: Send + Sync {
    /// Time passes, by the store's clock.
    async fn pass(&self, time: Duration);
    /// Its clock is set back.
    async fn set_back(&self, by: Duration);
    /// Whoever had the store open is gone without a word; opened anew by another process.
    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store>;
    /// Where several processes share the store: another one has it open at the same time.
    async fn beside(&self, store: &Arc<dyn Store>) -> Arc<dyn Store>;
    /// Statements of the test's own, past the store.
    async fn execute(&self, sql: &str);
    /// All columns that can hold text or bytes, with their tables.
    async fn text_columns(&self) -> Vec<(String, String)>;
    /// Every value of these columns.
    async fn values(&self, table: &str, column: &str) -> Vec<String>;
}

impl World {
    pub async fn pass(&self, time: Duration) {
        self.backend.pass(time).await;
    }

    pub async fn set_back(&self, by: Duration) {
        self.backend.set_back(by).await;
    }

    pub async fn restart(self) -> Self {
        let Self { store, backend } = self;
        let store = backend.restart(store).await;
        Self { store, backend }
    }

    pub async fn beside(&self) -> Arc<dyn Store> {
        self.backend.beside(&self.store).await
    }

    pub async fn execute(&self, sql: &str) {
        self.backend.execute(sql).await;
    }

    pub async fn text_columns(&self) -> Vec<(String, String)> {
        self.backend.text_columns().await
    }

    pub async fn values(&self, table: &str, column: &str) -> Vec<String> {
        self.backend.values(table, column).await
    }
}

/// Each promise becomes a test on each backend; a backend is added here, once.
macro_rules! promises {
    ($(async fn $name:ident($world:ident: World) $body:block)*) => {
        $(async fn $name($world: $crate::World) $body)*

        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::sqlite::world().await).await;
            })*
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::postgres::world().await).await;
            })*
        }
    };
}

#[path = "store/actors.rs"]
mod actors;
#[path = "store/answers.rs"]
mod answers;
#[path = "store/budgets.rs"]
mod budgets;
#[path = "store/conversations.rs"]
mod conversations;
#[path = "support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;
#[path = "store/deliveries.rs"]
mod deliveries;
#[path = "store/dispatch.rs"]
mod dispatch;
#[path = "store/durability.rs"]
mod durability;
#[path = "store/fences.rs"]
mod fences;
#[path = "store/intake.rs"]
mod intake;
#[path = "store/journal.rs"]
mod journal;
#[path = "store/lanes.rs"]
mod lanes;
#[path = "store/limits.rs"]
mod limits;
#[path = "store/looking.rs"]
mod looking;
#[path = "store/postgres.rs"]
mod postgres;
#[path = "store/replicas.rs"]
mod replicas;
#[path = "store/retention.rs"]
mod retention;
#[path = "store/retry.rs"]
mod retry;
#[path = "store/sqlite.rs"]
mod sqlite;
#[path = "store/statements.rs"]
mod statements;
#[path = "store/turns.rs"]
mod turns;
#[path = "store/writers.rs"]
mod writers;
