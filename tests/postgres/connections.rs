//! `store.connections`: how many a replica has, and who gets them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fini_bridge::domain::secret::Secret;
use fini_bridge::store::postgres::Postgres;
use fini_bridge::store::{Conversations, Inbox, Mode, NewItem, Replica, WorkKind};

use crate::actors::*;
use crate::database::server;
use crate::soon;

async fn open_with(url: &str, connections: u32) -> Arc<Postgres> {
    let url = Secret::new(url);
    Postgres::open_with(Arc::new(move || url.clone()), Mode::Serve, connections).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_has_as_many_connections_as_it_may_and_the_listener_is_one_of_them() {
    for allowed in [3, 8] {
        let name = server().database().await;
        let store = open_with(&server().url(&name), allowed).await;
        let watcher = server().connect("postgres").await;
        let connections = async |listening: bool| -> i64 {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND (query LIKE 'LISTEN%' OR NOT $2)";
            watcher.query_one(sql, &[&name, &listening]).await.unwrap().get(0)
        };
        soon("it listens", Duration::from_secs(10), async || connections(true).await == 1).await;
        let chats: Vec<String> = (0..200).map(|chat| format!("chat-{chat}")).collect();
        let items = chats.iter().map(|chat| NewItem::Message(Box::new(message(chat, chat))));
        store.accept(items.collect()).await.unwrap();
        let leases = lease_all(store.as_ref(), WorkKind::Turns).await;
        assert_eq!(leases.len(), 200);
        let turns = leases.into_iter().map(|lease| {
            let store = store.clone();
            tokio::spawn(async move { ask(store.as_ref(), &lease).await })
        });
        let webhooks = (0..50).map(|number| {
            let store = store.clone();
            tokio::spawn(async move { say(store.as_ref(), &format!("other-{number}"), "hello").await })
        });
        let (turns, webhooks) =
            tokio::join!(futures::future::join_all(turns), futures::future::join_all(webhooks.collect::<Vec<_>>()));
        assert!(turns.iter().all(Result::is_ok) && webhooks.iter().all(Result::is_ok));
        let used = connections(false).await;
        assert!(used <= i64::from(allowed), "{used} connections where {allowed} are allowed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_and_heartbeats_do_not_wait_behind_a_crowd_of_turns() {
    let name = server().database().await;
    let store = open_with(&server().url(&name), 8).await;
    say(store.as_ref(), "alice", "hello").await;
    let held = lease(store.as_ref(), WorkKind::Turns).await;
    let hung = server().connect(&name).await;
    hung.batch_execute("BEGIN; LOCK TABLE fini_bridge.conversations IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let crowd: Vec<_> = (0..30)
        .map(|_| {
            let (store, lane) = (store.clone(), held.lane);
            tokio::spawn(async move { store.conversation(lane, 1).await })
        })
        .collect();
    let waiting = server().connect("postgres").await;
    soon("the crowd has all connections that it may have", Duration::from_secs(10), async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
        waiting.query_one(sql, &[&name]).await.unwrap().get::<_, i64>(0) >= 4
    })
    .await;
    let began = Instant::now();
    say(store.as_ref(), "bob", "hello").await;
    store.heartbeat(&owner()).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(crowd.iter().any(|one| !one.is_finished()), "the crowd still waits");
    hung.batch_execute("ROLLBACK").await.unwrap();
}
