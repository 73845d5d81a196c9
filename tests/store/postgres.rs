//! PostgreSQL as a backend of the suite. What is special to it is tested in `tests/postgres`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fini_bridge::domain::id::Owner;
use fini_bridge::domain::secret::Secret;
use fini_bridge::store::postgres::Postgres;
use fini_bridge::store::{HEARTBEAT, LEASE, Mode, Operations, Replica, Store, WorkKind};
use tokio_postgres::Client;

use crate::actors::{accept, ask, ended_as, failed_as, finish, lease, look, message, said, say};
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

    /// Nobody can tell that it is dead but by its silence.
    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        let store = self.open(Mode::Serve).await;
        for _ in 0..=LEASE.as_secs() {
            store.heartbeat(&Owner::new("heir")).await.unwrap();
            self.pass(HEARTBEAT).await;
        }
        store.heartbeat(&Owner::new("heir")).await.unwrap();
        // The tests go on under the name of who has died.
        self.execute("DELETE FROM replicas").await;
        store
    }

    async fn beside(&self, _: &Arc<dyn Store>) -> Arc<dyn Store> {
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

/// By the real clock, and a connection of the test's own.
pub async fn real_time() -> (Arc<Postgres>, Client) {
    let name = server().database().await;
    let url = Secret::new(server().url(&name));
    let store = Postgres::open(Arc::new(move || url.clone()), Mode::Serve).await.unwrap();
    (store, server().connect(&name).await)
}

/// As forgetting does it, slowly: a webhook waits for the chat, finds it gone, and makes it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_waits_for_a_chat_which_is_being_forgotten_makes_it_anew() {
    let name = server().database().await;
    let url = Secret::new(server().url(&name));
    let store = Postgres::open(Arc::new(move || url.clone()), Mode::Serve).await.unwrap();
    say(store.as_ref(), "alice", "old").await;
    let (mut forgetting, looking) = (server().connect(&name).await, server().connect(&name).await);
    let forgets = forgetting.transaction().await.unwrap();
    forgets
        .batch_execute(
            "SET LOCAL search_path = fini_bridge; SELECT 1 FROM lanes FOR UPDATE;
             DELETE FROM messages; DELETE FROM due_lanes; DELETE FROM lanes",
        )
        .await
        .unwrap();
    let accepting = tokio::spawn({
        let store = store.clone();
        async move { accept(store.as_ref(), message("alice", "new")).await }
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(2);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while looking.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody waits for the chat");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    forgets.commit().await.unwrap();
    let id = said(accepting.await.unwrap());
    let held = lease(store.as_ref(), WorkKind::Turns).await;
    assert_eq!(look(store.as_ref(), &held).await.waiting[0].id, id);
}

/// As the version before left it: the text of a failed message removed, and what Fini said of it not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_first_version_loses_what_that_left_of_removed_texts() {
    let name = server().database().await;
    let url = Secret::new(server().url(&name));
    let open = async || {
        let url = url.clone();
        Postgres::open(Arc::new(move || url.clone()), Mode::Serve).await.unwrap()
    };
    let store = open().await;
    let id = say(store.as_ref(), "alice", "my IBAN is DE89 3704").await;
    let held = lease(store.as_ref(), WorkKind::Turns).await;
    let asked = ask(store.as_ref(), &held).await;
    finish(store.as_ref(), &held, &ended_as(asked, failed_as("fini_400"))).await.unwrap();
    drop(store);
    let client = server().connect(&name).await;
    let first_version = "SET search_path = fini_bridge;
        DELETE FROM refinery_schema_history WHERE version = 2;
        UPDATE messages SET text = NULL, pruned = true; UPDATE turns SET content = NULL, pruned = true";
    client.batch_execute(first_version).await.unwrap();
    let store = open().await;
    assert_eq!(store.details(id).await.unwrap().unwrap().detail, None);
    let left = "SELECT count(*) FROM fini_bridge.turns WHERE detail IS NOT NULL OR event_kinds <> '[]'";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
}
