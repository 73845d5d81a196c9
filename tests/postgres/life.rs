//! Connections that die, transactions that hang, a database that is away.

use std::time::{Duration, Instant};

use fini_bridge::domain::id::MessageId;
use fini_bridge::store::postgres::OpenError;
use fini_bridge::store::{
    Accepted, Leases, Mode, NewItem, Next, Operations, Replica, Responses, Store, StoreError, WorkKind,
};
use tokio_postgres::Client;

use crate::actors::*;
use crate::database::{Server, server};
use crate::{open, soon, try_open};

async fn try_say(store: &dyn Store, chat: &str, key: &str) -> Result<Accepted, StoreError> {
    Ok(store.accept(vec![NewItem::Message(Box::new(message(chat, key)))]).await?[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_under_load_lose_nothing_and_come_back() {
    let name = server().database().await;
    let store = open(&server().url(&name)).await;
    let knife = server().connect("postgres").await;
    let cut = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            knife.query(sql, &[&name]).await.unwrap();
        }
    };
    // What a platform does: it delivers until it is acknowledged.
    let deliver = futures::future::join_all((0..20).map(|sender| {
        let store = store.clone();
        async move {
            let mut kept: Vec<MessageId> = Vec::new();
            for number in 0..20 {
                let deadline = Instant::now() + Duration::from_secs(20);
                kept.push(loop {
                    match try_say(store.as_ref(), &format!("chat-{sender}"), &format!("{sender}-{number}")).await {
                        Ok(Accepted::New(id) | Accepted::Duplicate(id)) => break id,
                        Ok(Accepted::UnknownChat) => panic!("unknown"),
                        Err(StoreError::Unavailable(_)) => assert!(Instant::now() < deadline, "it doesn't come back"),
                        Err(error) => panic!("{error}"),
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                });
            }
            kept
        }
    }));
    let ((), kept) = tokio::join!(cut, deliver);
    for id in kept.into_iter().flatten() {
        assert!(store.details(id).await.unwrap().is_some());
    }
}

/// A replica that was frozen (SIGSTOP) in the middle of a transaction: its row locks stay until the server
/// ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_hangs_in_one_lane_holds_up_no_other() {
    let name = server().database().await;
    let store = open(&server().url(&name)).await;
    say(store.as_ref(), "alice", "hello").await;
    let hung = server().connect(&name).await;
    hung.batch_execute(
        "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '4s'; SELECT * FROM fini_bridge.lanes FOR UPDATE",
    )
    .await
    .unwrap();
    let blocked = tokio::spawn({
        let store = store.clone();
        async move { (try_say(store.as_ref(), "alice", "blocked").await, Instant::now()) }
    });
    let began = Instant::now();
    for number in 0..20 {
        say(store.as_ref(), &format!("other-{number}"), "hello").await;
    }
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    let (refused, at) = blocked.await.unwrap();
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(at - began < Duration::from_secs(3), "a webhook's sender waits 3 s");
    assert_eq!(lease_all(store.as_ref(), WorkKind::Turns).await.len(), 20);
    soon("alice's lane", Duration::from_secs(10), async || {
        !lease_all(store.as_ref(), WorkKind::Turns).await.is_empty()
    })
    .await;
}

async fn set_clock(client: &Client, ahead: Duration) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION fini_bridge.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
         $$ SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint + {} $$",
        ahead.as_millis()
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_began_before_the_clock_was_set_back_and_is_written_after_it_was_noticed_stops_no_chat() {
    let name = server().database().await;
    let store = open(&server().url(&name)).await;
    let clock = server().connect(&name).await;
    say(store.as_ref(), "alice", "hello").await;
    turn(store.as_ref(), vec![]).await;
    say(store.as_ref(), "bob", "hello").await;
    let bob = lease(store.as_ref(), WorkKind::Turns).await;
    store.release(&bob, Next::After(HOUR)).await.unwrap();
    let next_due = async || next_due(store.as_ref(), WorkKind::Turns).await;
    let mut writing = server().connect(&name).await;
    let writes = writing.transaction().await.unwrap();
    writes.execute("SELECT 1 FROM fini_bridge.lanes WHERE id <> $1 FOR UPDATE", &[&bob.lane.0]).await.unwrap();
    set_clock(&clock, HOUR).await;
    let late = tokio::spawn({
        let store = store.clone();
        async move { try_say(store.as_ref(), "alice", "late").await }
    });
    soon("it waits for the lane", Duration::from_secs(2), async || {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
        !clock.query(sql, &[&name]).await.unwrap().is_empty()
    })
    .await;
    store.probe().await.unwrap();
    set_clock(&clock, Duration::ZERO).await;
    soon("it is noticed", Duration::from_secs(2), async || next_due().await <= Some(Duration::from_secs(10))).await;
    clock.execute("UPDATE fini_bridge.lanes SET turns_due_at = NULL WHERE id = $1", &[&bob.lane.0]).await.unwrap();
    clock.execute("DELETE FROM fini_bridge.due_lanes WHERE lane = $1", &[&bob.lane.0]).await.unwrap();
    writes.rollback().await.unwrap();
    assert!(matches!(late.await.unwrap(), Ok(Accepted::New(_))));
    soon("alice is due", Duration::from_secs(10), async || {
        next_due().await.is_some_and(|due| due <= Duration::from_secs(10))
    })
    .await;
}

/// Whoever waits for an answer looks again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_whether_a_turn_has_ended_waits_for_nobody_who_writes_in_its_chat() {
    let name = server().database().await;
    let store = open(&server().url(&name)).await;
    let id = say(store.as_ref(), "alice", "hello").await;
    let mut client = server().connect(&name).await;
    let writes = client.transaction().await.unwrap();
    writes.execute("SELECT 1 FROM fini_bridge.lanes FOR UPDATE", &[]).await.unwrap();
    assert_eq!(store.have_ended(&[id]).await.unwrap(), []);
    assert_eq!(store.claim_response(id).await.unwrap(), None);
}

/// A backup, or an analyst's session: dead rows can't be removed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_beside_an_idle_transaction() {
    let name = server().database().await;
    let store = open(&server().url(&name)).await;
    let idle = server().connect(&name).await;
    idle.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM fini_bridge.messages")
        .await
        .unwrap();
    for number in 0..50 {
        let id = say(store.as_ref(), "alice", &number.to_string()).await;
        turn(store.as_ref(), vec![part(0, "hi")]).await;
        deliver(store.as_ref()).await;
        assert_eq!(state(store.as_ref(), id).await.0, fini_bridge::store::MessageState::Done);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_at_the_start_is_waited_for() {
    let server = Server::start();
    let url = server.url("postgres");
    server.signal("-STOP");
    let store = open(&url).await;
    assert!(matches!(store.installation_key().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(try_say(store.as_ref(), "alice", "k").await, Err(StoreError::Unavailable(_))));
    assert!(store.is_shared());
    server.signal("-CONT");
    soon("ready", Duration::from_secs(10), async || store.installation_key().await.is_ok()).await;
    say(store.as_ref(), "alice", "hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_makes_no_schema_and_waits_for_nobody() {
    let url = server().url(&server().database().await);
    assert!(matches!(try_open(&url, Mode::Tool).await, Err(OpenError::NotMigrated)));
    open(&url).await;
    try_open(&url, Mode::Tool).await.unwrap().probe().await.unwrap();
    let nobody = "postgres://postgres@127.0.0.1:1/x";
    assert!(matches!(try_open(nobody, Mode::Tool).await, Err(OpenError::Away(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_acknowledges_before_it_is_safe_is_refused() {
    let name = server().database().await;
    let admin = server().connect("postgres").await;
    admin.batch_execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await.unwrap();
    let Err(refused) = try_open(&server().url(&name), Mode::Serve).await else { panic!("it was opened") };
    assert!(matches!(refused, OpenError::NotDurable(_)));
    assert!(refused.to_string().contains("synchronous_commit is off"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_can_only_be_read_is_not_there() {
    let name = server().database().await;
    let store = open(&server().url(&name)).await;
    store.probe().await.unwrap();
    let admin = server().connect("postgres").await;
    admin.batch_execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await.unwrap();
    admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", &[&name]).await.unwrap();
    soon("red", Duration::from_secs(5), async || store.probe().await.is_err()).await;
    assert!(matches!(try_say(store.as_ref(), "alice", "k").await, Err(StoreError::Unavailable(_))));
    admin.batch_execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await.unwrap();
    soon("back", Duration::from_secs(5), async || store.probe().await.is_ok()).await;
}
