//! What the usual way of a message costs on PostgreSQL, counted by the server: statements, transactions, pages.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fini_bridge::domain::id::{ChannelName, LaneId, MessageId, SenderRef, TurnId};
use fini_bridge::domain::span::Rate;
use fini_bridge::store::postgres::Postgres;
use fini_bridge::store::{
    Admission, AfterSend, AfterTurn, Call, Dispatcher, Head, Inbox, LaneState, LaneView, LeasedLane, Limits, NewItem,
    Outbox, Permit, Replica, Turn, TurnState, Turns, WorkKind,
};
use tokio::sync::mpsc;
use tokio_postgres::Client;

use crate::actors::*;
use crate::postgres::real_time;

struct Worker(Mutex<mpsc::UnboundedSender<LeasedLane>>);

impl Dispatcher for Worker {
    fn admit(&self, _: WorkKind, _: &ChannelName, _: LaneId) -> Option<Permit> {
        Some(Permit::new(()))
    }

    fn start(&self, leased: LeasedLane) {
        let _ = self.0.lock().unwrap().send(leased);
    }

    fn due_in(&self, _: WorkKind, _: Duration) {}

    fn turn_ended(&self, _: &[MessageId]) {}
}

fn turn_of(view: &LaneView) -> Turn {
    let first = &view.waiting[0];
    Turn {
        id: TurnId::generate(),
        members: view.waiting.iter().map(|message| message.id).collect(),
        in_reply_to: Vec::new(),
        sender: None,
        role: first.role,
        content: first.text.clone(),
        user_attributes: first.user_attributes.clone(),
        address: first.address.clone(),
        bot_id: first.bot_id.clone(),
        generation: view.generation.max(1),
        received_at: first.received_at,
        state: TurnState::New,
        asked: 0,
        dormant: false,
    }
}

/// A message on its usual way, with the limits that are the default.
async fn message_of(store: &Postgres, leased: &mut mpsc::UnboundedReceiver<LeasedLane>, chat: &str, is_known: bool) {
    say(store, chat, "hello").await;
    let turns = leased.recv().await.unwrap();
    let Head::Turns(view) = &turns.head else { panic!("{turns:?}") };
    let turn = Arc::new(turn_of(view));
    let rate = Some(Rate { count: 1_000_000, per: Duration::from_secs(60) });
    let call = Call {
        reference: (!is_known).then(|| "reference".to_owned()),
        sender_ref: Some(SenderRef::new("sender-ref")),
        limits: Limits { per_chat: rate, per_sender: rate, per_channel: None },
    };
    let admission = store.begin_call(&turns.lease, &turn, &call).await.unwrap();
    assert!(matches!(admission, Admission::Admitted { .. }), "{admission:?}");
    let mut end = answered(turn.id, vec![part(0, "hi")]);
    end.is_discovered = is_known;
    let after = AfterTurn::Release { merge_window: Duration::ZERO };
    assert!(store.finish_turn(&turns.lease, &Arc::new(end), after).await.unwrap().is_none());
    let deliveries = leased.recv().await.unwrap();
    let Head::Parts { parts, .. } = &deliveries.head else { panic!("{deliveries:?}") };
    let end = store.finish_send(&deliveries.lease, parts[0].id, &took("r"), AfterSend::Release).await.unwrap();
    assert_eq!(end, LaneState::Released);
}

async fn counted(client: &Client, sql: &str) -> f64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Beside the server's own words for a transaction, and those of this test.
const STATEMENTS: &str = "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND query !~* '^(begin|commit|rollback|set local)' AND query NOT LIKE '%pg_stat_statements%'";
const TRANSACTIONS: &str = "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query ~* '^commit'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_costs_four_transactions_and_thirteen_statements_at_most() {
    let (store, client) = real_time().await;
    client.batch_execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let (worker, mut leased) = mpsc::unbounded_channel();
    store.join(&owner(), Arc::new(Worker(Mutex::new(worker))));
    for (is_known, most) in [(false, 13.0), (true, 13.0)] {
        for _ in 0..3 {
            message_of(&store, &mut leased, "alice", is_known).await;
        }
        let before = (counted(&client, STATEMENTS).await, counted(&client, TRANSACTIONS).await);
        for _ in 0..20 {
            message_of(&store, &mut leased, "alice", is_known).await;
        }
        let statements = (counted(&client, STATEMENTS).await - before.0) / 20.0;
        let transactions = (counted(&client, TRANSACTIONS).await - before.1) / 20.0;
        println!("id known: {is_known}: {statements} statements in {transactions} transactions a message");
        assert!((transactions - 4.0).abs() < f64::EPSILON, "{transactions}");
        assert!(statements <= most, "{statements}");
    }
}

/// What a look read of pages, all of them so far.
const PAGES: &str = "SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::float8 FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query LIKE '%row_number()%'";

async fn pages_of_a_look(store: &Postgres, client: &Client) -> f64 {
    let looks = 10;
    let before = counted(client, PAGES).await;
    for _ in 0..looks {
        nothing_due(store, WorkKind::Turns).await;
    }
    (counted(client, PAGES).await - before) / f64::from(looks)
}

/// A backup, or an analyst's session, for hours: nothing that was deleted since can be removed from the tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_look_reads_no_more_pages_however_much_came_under_an_open_snapshot() {
    let (messages, an_hour_of_heartbeats) = (500, 3600);
    let (store, client) = real_time().await;
    client.batch_execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let (worker, mut leased) = mpsc::unbounded_channel();
    store.join(&owner(), Arc::new(Worker(Mutex::new(worker))));
    message_of(&store, &mut leased, "chat-0", false).await;
    let snapshot = store_snapshot(&client).await;
    let first = pages_of_a_look(&store, &client).await;
    for number in 0..messages {
        message_of(&store, &mut leased, &format!("chat-{}", number % 50), number >= 50).await;
    }
    for _ in 0..an_hour_of_heartbeats {
        store.heartbeat(&owner()).await.unwrap();
    }
    let last = pages_of_a_look(&store, &client).await;
    println!("pages of an empty look: {first} before, {last} after {messages} messages");
    assert!(last <= first * 2.0, "{first} {last}");
    snapshot.batch_execute("COMMIT").await.unwrap();
}

async fn store_snapshot(beside: &Client) -> Client {
    let database: String = beside.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    let client = crate::database::server().connect(&database).await;
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
    client
}

/// Lanes that waited for room were due for a while: the index by which looks find them keeps their entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_due_an_hour_ago_costs_a_look_nothing_under_an_open_snapshot() {
    let (store, client) = real_time().await;
    client.batch_execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let snapshot = store_snapshot(&client).await;
    let first = pages_of_a_look(&store, &client).await;
    for number in 0..2000 {
        let items = (0..2)
            .map(|place| NewItem::Message(Box::new(message(&format!("chat-{number}"), &format!("{number}-{place}")))));
        store.accept(items.collect()).await.unwrap();
        if number % 100 == 99 {
            assert_eq!(lease_all(store.as_ref(), WorkKind::Turns).await.len(), 100);
        }
    }
    let before = pages_of_a_look(&store, &client).await;
    let later = "CREATE OR REPLACE FUNCTION fini_bridge.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
        $$ SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint + 3600000 $$";
    client.batch_execute(later).await.unwrap();
    nothing_due(store.as_ref(), WorkKind::Turns).await;
    let last = pages_of_a_look(&store, &client).await;
    println!(
        "pages of an empty look: {first}; {before} beside 2000 lanes that were due just now; {last} an hour later"
    );
    assert!(last <= first * 2.0, "{first} {last}");
    snapshot.batch_execute("COMMIT").await.unwrap();
}
