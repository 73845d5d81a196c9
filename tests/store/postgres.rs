//! PostgreSQL as a backend of the suite. What is special to it is tested in `tests/postgres`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fini_bridge::domain::secret::Secret;
use fini_bridge::store::postgres::Postgres;
use fini_bridge::store::{Mode, Store};
use tokio_postgres::Client;

use crate::actors::TTL;
use crate::database::server;
use crate::{Backend, World};

struct Database {
    name: String,
    client: Client,
    /// Beside each test stands somebody else's transaction, open and idle, with a snapshot of before: a backup, or
    /// an analyst's session. Dead rows can't be removed meanwhile.
    _idle: Client,
}

impl Database {
    async fn open(&self, mode: Mode) -> Arc<Postgres> {
        let url = Secret::new(server().url(&self.name));
        Postgres::open(Arc::new(move || url.clone()), mode).await.unwrap()
    }

    async fn set(&self, forward: i64) {
        self.client.execute("UPDATE public.clock SET ms = ms + $1", &[&forward]).await.unwrap();
    }
}

#[async_trait]
impl Backend for Database {
    async fn pass(&self, time: Duration) {
        self.set(i64::try_from(time.as_millis()).unwrap()).await;
    }

    async fn set_back(&self, by: Duration) {
        self.set(-i64::try_from(by.as_millis()).unwrap()).await;
    }

    /// Nobody can tell that it is dead but by its leases, which end.
    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        self.pass(TTL).await;
        self.open(Mode::Serve).await
    }

    async fn beside(&self) -> Arc<dyn Store> {
        self.open(Mode::Serve).await
    }

    async fn execute(&self, sql: &str) {
        self.client.batch_execute(&format!("SET search_path = fini_bridge; {sql}")).await.unwrap();
    }

    async fn text_columns(&self) -> Vec<(String, String)> {
        let sql = "SELECT table_name::text, column_name::text FROM information_schema.columns
            WHERE table_schema = 'fini_bridge' AND data_type NOT IN ('bigint', 'integer', 'boolean')";
        self.client.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn values(&self, table: &str, column: &str) -> Vec<String> {
        let sql = format!("SELECT {column}::text FROM fini_bridge.{table} WHERE {column} IS NOT NULL");
        self.client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

pub async fn world() -> World {
    let name = server().database().await;
    let client = server().connect(&name).await;
    let idle = server().connect(&name).await;
    idle.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
    let database = Database { name, client, _idle: idle };
    let store = database.open(Mode::Serve).await;
    database
        .client
        .batch_execute(
            "CREATE TABLE public.clock AS SELECT 1790000000000::bigint AS ms;
             CREATE OR REPLACE FUNCTION fini_bridge.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
                 'SELECT ms FROM public.clock'",
        )
        .await
        .unwrap();
    World { store, backend: Box::new(database) }
}
