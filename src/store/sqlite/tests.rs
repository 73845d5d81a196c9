//! What holds for SQLite's inside: query plans, a full queue, a full disk, a disk that failed.
//! The promises of the trait are in `tests/store`.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use serde_json::{Map, json};
use tempfile::TempDir;

use super::open::Opener;
use super::tx::{Shared, SqliteTx, failed};
use super::writer::Writer;
use super::{Mode, Sqlite, lanes, open};
use crate::domain::clock::{ManualClock, SystemClock, Timestamp};
use crate::domain::id::{
    AttributesRef, BotId, ChannelName, ChatKey, ChatRef, DeliveryKey, InteractionId, MessageId, Owner, PartId,
    SenderRef, TurnId,
};
use crate::domain::message::{Address, Part, Receipt, ReplyKind, ReportOutcome, Reported, Role};
use crate::domain::span::Rate;
use crate::store::sql::{Row, Sql, params};
use crate::store::{
    AfterSend, AfterTurn, Call, Conversations, Inbox, LeaseRequest, Leases, Limits, LookupNote, NewItem, NewMessage,
    NewPart, Next, Operations, Outbox, Replica, Responses, SendEnd, StoreError, Turn, TurnEnd, TurnOutcome, TurnState,
    Turns, WorkKind,
};

async fn store() -> (TempDir, Arc<Sqlite>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_790_000_000)));
    let store = Sqlite::open(&folder.path().join("bridge.db"), Mode::Serve, clock).await.unwrap();
    (folder, store)
}

fn message(number: usize, text: String) -> (MessageId, NewItem) {
    let id = MessageId::generate();
    let message = NewMessage {
        id,
        channel: ChannelName::new("shop"),
        delivery_key: DeliveryKey::new(format!("key-{number}")),
        chat: ChatKey::new(format!("chat-{number}")),
        chat_ref: ChatRef::new("ref"),
        sender: None,
        sender_ref: None,
        role: Role::User,
        text,
        too_long: false,
        user_attributes: Map::new(),
        attributes_ref: AttributesRef::new("none"),
        bot_id: BotId::new("bot"),
        address: Address(json!({})),
        sort_at: None,
        only_if_known: false,
        secret: None,
        merge_window: Duration::ZERO,
        wait: None,
        dormant: false,
    };
    (id, NewItem::Message(Box::new(message)))
}

/// Every statement that ran in this process.
static RAN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub(super) fn record(sql: &str) {
    let mut ran = RAN.lock().unwrap();
    if !ran.contains(sql) {
        ran.insert(sql.to_owned());
    }
}

async fn value<T: rusqlite::types::FromSql + Send + 'static>(store: &Sqlite, sql: &'static str) -> T {
    store.read(move |tx| tx.conn.query_row(sql, [], |row| row.get(0)).map_err(failed)).await.unwrap()
}

async fn plan(store: &Sqlite, sql: &str) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {sql}");
    let read = move |tx: &SqliteTx<'_>| {
        let values = (1..=20_usize).rev().find(|n| sql.contains(&format!("?{n}"))).unwrap_or(0);
        let mut statement = tx.conn.prepare(&sql).map_err(failed)?;
        let steps = statement
            .query_map(rusqlite::params_from_iter(vec![None::<i64>; values]), |row| row.get::<_, String>(3))
            .map_err(failed)?;
        steps.collect::<rusqlite::Result<_>>().map_err(failed)
    };
    store.write(read).await.unwrap()
}

fn end(turn: TurnId, parts: usize) -> Arc<TurnEnd> {
    let part = || NewPart {
        id: PartId::generate(),
        reply: 0,
        kind: ReplyKind::Message,
        part: Part(json!({ "text": "hello" })),
    };
    Arc::new(TurnEnd {
        turn,
        members: Vec::new(),
        is_discovered: false,
        outcome: TurnOutcome::Answered,
        address: Address(json!({})),
        parts: (0..parts).map(|_| part()).collect(),
        events: Vec::new(),
        first_event_at: None,
        event_kinds: Vec::new(),
        new_generation: None,
    })
}

/// The way of a few messages, with everything that can happen on it.
async fn everything(store: &Sqlite) {
    let owner = Owner::new("one");
    let shop = ChannelName::new("shop");
    let requests = [LeaseRequest { channels: vec![shop.clone()], limit: 10 }];
    for number in 0..4 {
        let (id, mut item) = message(number, "hello".to_owned());
        let NewItem::Message(new) = &mut item else { panic!() };
        new.wait = (number == 1).then_some(Duration::from_secs(30));
        store.accept(vec![item]).await.unwrap();
        let lease = store.lease(WorkKind::Turns, &owner, &requests).await.unwrap().leases.remove(0);
        let view = store.lane_view(&lease).await.unwrap();
        let waiting = &view.waiting[0];
        let turn = Arc::new(Turn {
            id: TurnId::generate(),
            members: vec![id],
            in_reply_to: Vec::new(),
            sender: None,
            role: Role::User,
            content: waiting.text.clone(),
            user_attributes: Map::new(),
            address: waiting.address.clone(),
            bot_id: waiting.bot_id.clone(),
            generation: 1,
            received_at: waiting.received_at,
            state: TurnState::New,
            asked: 0,
            dormant: false,
        });
        let rate = Some(Rate { count: 100, per: Duration::from_secs(60) });
        let call = Call {
            reference: Some("reference".to_owned()),
            sender_ref: Some(SenderRef::new("sender")),
            limits: Limits { per_chat: rate, per_sender: rate, per_channel: rate },
        };
        store.begin_call(&lease, &turn, &call).await.unwrap();
        store.lane_view(&lease).await.unwrap();
        if number == 2 {
            let note = LookupNote::Started { answered: false };
            store.mark_unknown(&lease, turn.id, note, Duration::ZERO, "x").await.unwrap();
            let lease = store.lease(WorkKind::Turns, &owner, &requests).await.unwrap().leases.remove(0);
            store.mark_unknown(&lease, turn.id, LookupNote::Missed, Duration::ZERO, "x").await.unwrap();
            let lease = store.lease(WorkKind::Turns, &owner, &requests).await.unwrap().leases.remove(0);
            store.reopen(&lease, turn.id, Duration::from_secs(9), "x").await.unwrap();
            continue;
        }
        let after = AfterTurn::Release { merge_window: Duration::ZERO };
        store.finish_turn(&lease, &end(turn.id, 2), after).await.unwrap();
        store.adopt(lease.lane, 1, &InteractionId::new(format!("i-{number}"))).await.unwrap();
        store.conversation(lease.lane, 1).await.unwrap();
        if number == 1 {
            store.have_ended(&[id]).await.unwrap();
            store.claim_response(id).await.unwrap();
            store.release_response(id).await.unwrap();
            store.claim_response(id).await.unwrap();
            store.response_sent(id).await.unwrap();
            continue;
        }
        let leases = store.lease(WorkKind::Deliveries, &owner, &requests).await.unwrap().leases;
        let lease = leases.into_iter().find(|delivery| delivery.lane == lease.lane).unwrap();
        let (_, parts) = store.pending_parts(&lease).await.unwrap();
        let (first, second) = (parts[0].id, parts[1].id);
        store.begin_send(&lease, first).await.unwrap();
        let sent = SendEnd::Sent(Receipt(Some("receipt".to_owned())));
        store.finish_send(&lease, first, &sent, AfterSend::Begin(second)).await.unwrap();
        if number == 3 {
            let failed = SendEnd::Failed { reason: "x".to_owned(), detail: "x".to_owned() };
            store.finish_send(&lease, second, &failed, AfterSend::Release).await.unwrap();
            store.release(&lease, Next::WhenNeeded { merge_window: Duration::ZERO }).await.unwrap();
            store.retry(id).await.unwrap();
            store.details(id).await.unwrap();
        } else {
            store.finish_send(&lease, second, &sent, AfterSend::Release).await.unwrap();
        }
        for of in [Reported::Part(first), Reported::Receipt("receipt".to_owned())] {
            store.apply_report(&shop, &of, &ReportOutcome::Delivered).await.unwrap();
        }
    }
    let (_, known) = message(0, "hello".to_owned());
    store.accept(vec![known]).await.unwrap();
    store.find(&shop, &DeliveryKey::new("key-0")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_for_every_message_never_walks_a_table() {
    let (_folder, store) = store().await;
    everything(&store).await;
    let ran: Vec<String> = RAN.lock().unwrap().iter().cloned().collect();
    assert!(ran.len() > 50, "{}", ran.len());
    let mut walks = Vec::new();
    for sql in ran {
        // At the start, for a clock that was set back, by retention and for figures: tested by themselves.
        let is_rare = [
            "INSERT INTO due_lanes (work, lane, channel, due_at)\n             SELECT",
            "json_each",
            "> ?1",
            "GROUP BY",
            "FROM meta",
            "?5 IS NULL",
        ];
        if is_rare.iter().any(|part| sql.contains(part)) {
            continue;
        }
        for step in plan(&store, &sql).await {
            if step.contains("SCAN") && !step.contains("CONSTANT ROW") || step.contains("TEMP B-TREE") {
                walks.push(format!("{step} in {sql}"));
            }
        }
    }
    assert_eq!(walks, [""; 0]);
}

async fn planned(store: &Sqlite, marks: &[&str]) -> Vec<(String, Vec<String>)> {
    let ran: Vec<String> = RAN.lock().unwrap().iter().cloned().collect();
    let mut planned = Vec::new();
    for sql in ran.into_iter().filter(|sql| marks.iter().all(|mark| sql.contains(mark))) {
        let steps = plan(store, &sql).await;
        planned.push((sql, steps));
    }
    planned
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_read_small_indexes_only() {
    let (_folder, store) = store().await;
    store.stats().await.unwrap();
    for (mark, index) in [("FROM messages", "messages_unfinished"), ("FROM parts", "parts_waiting")] {
        for (sql, steps) in planned(&store, &["GROUP BY", mark]).await {
            assert!(steps[0].contains(&format!("COVERING INDEX {index}")), "{steps:?} in {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_and_a_clock_that_is_set_back_walk_what_has_not_ended_only() {
    let (_folder, store) = store().await;
    store.write(lanes::recover).await.unwrap();
    let small = ["messages_waiting", "messages_unfinished", "turns_current", "parts_waiting", "due_lanes"];
    let mut checked = 0;
    for marks in [&["> ?1"][..], &["INSERT INTO due_lanes (work, lane, channel, due_at)\n             SELECT"]] {
        for (sql, steps) in planned(&store, marks).await {
            let walks = steps.iter().filter(|step| step.contains("SCAN"));
            assert!(walks.clone().all(|step| small.iter().any(|index| step.contains(index))), "{steps:?} in {sql}");
            checked += 1;
        }
    }
    assert!(checked >= 9, "{checked}");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_is_usable_again() {
    let (_folder, store) = store().await;
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = std::sync::mpsc::channel();
    let blocked = {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .write(move |_| {
                    let _ = entered.send(());
                    let _ = gate.recv();
                    Ok(())
                })
                .await
        })
    };
    tokio::task::spawn_blocking(move || inside.recv()).await.unwrap().unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        let mut probe = Box::pin(store.probe());
        match futures::poll!(&mut probe) {
            std::task::Poll::Pending => waiting.push(probe),
            std::task::Poll::Ready(refused) => break refused,
        }
        assert!(waiting.len() <= 10_000, "it has no bound");
    };
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    drop(open_gate);
    blocked.await.unwrap().unwrap();
    for probe in waiting {
        probe.await.unwrap();
    }
    store.probe().await.unwrap();
}

#[tokio::test]
async fn webhooks_go_before_a_backlog_of_other_writes_and_both_go_on() {
    let (_folder, store) = store().await;
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let done = Arc::<Mutex<Vec<&str>>>::default();
    let write = |what: &'static str| {
        let done = done.clone();
        move |_: &SqliteTx<'_>| {
            done.lock().unwrap().push(what);
            Ok(())
        }
    };
    let mut waiting: Vec<LocalBoxFuture<'_, Result<(), StoreError>>> = vec![Box::pin(store.write(move |_| {
        let _ = gate.lock().unwrap().recv();
        Ok(())
    }))];
    waiting.extend((0..1000).map(|_| Box::pin(store.writer.write(write("step"))) as _));
    waiting.extend((0..40).map(|_| Box::pin(store.writer.accept(write("webhook"))) as _));
    let all = futures::future::join_all(waiting);
    tokio::pin!(all);
    assert!(futures::poll!(&mut all).is_pending());
    drop(open_gate);
    assert!(all.await.iter().all(Result::is_ok));
    let done = done.lock().unwrap();
    let last = done.iter().rposition(|what| *what == "webhook").unwrap();
    let before = last + 1 - 40;
    assert!(before <= 64 + 10, "{before} others went before the webhooks");
    assert_eq!(done.len(), 1040);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_loses_nothing_and_heals_by_itself() {
    let (_folder, store) = store().await;
    let limit = |pages: u32| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        store.write(move |tx| tx.conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).map_err(failed))
    };
    let room = limit(1).await.unwrap();
    limit(u32::try_from(room).unwrap() + 20).await.unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let (id, item) = message(number, "x".repeat(2000));
                store.accept(vec![item]).await.map(|_| id)
            })
        })
        .collect();
    let (mut kept, mut refused) = (Vec::new(), 0);
    for task in tasks {
        match task.await.unwrap() {
            Ok(id) => kept.push(id),
            Err(StoreError::Unavailable(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "it was never full");
    assert!(store.probe().await.is_err(), "small things still fit, and it is full all the same");
    limit(1_000_000).await.unwrap();
    for number in 0..200 {
        let (_, item) = message(number, "again".to_owned());
        store.accept(vec![item]).await.unwrap();
    }
    for id in kept {
        assert!(store.details(id).await.unwrap().is_some());
    }
    let health: String = value(&store, "PRAGMA integrity_check").await;
    assert_eq!(health, "ok");
    assert_eq!(value::<i64>(&store, "SELECT count(*) FROM messages").await, 200);
}

#[tokio::test]
async fn what_fails_undoes_itself_and_not_its_neighbours_in_the_commit() {
    let (_folder, store) = store().await;
    let write = |key: &'static str, succeed: bool| {
        store.write(move |tx| {
            tx.run(&Sql::new("INSERT INTO meta (key, value) VALUES (?1, 1)"), params![key])?;
            if succeed { Ok(()) } else { Err(StoreError::Fenced) }
        })
    };
    let (first, second, third) = tokio::join!(write("a", true), write("b", false), write("c", true));
    first.unwrap();
    assert!(matches!(second, Err(StoreError::Fenced)));
    third.unwrap();
    let kept = Sql::new("SELECT key FROM meta WHERE length(key) = 1 ORDER BY key");
    let kept = store.read(move |tx| tx.all(&kept, &[], |row: &dyn Row| row.owned(0))).await;
    assert_eq!(kept.unwrap(), ["a", "c"]);
}

/// The file goes away under the writer's feet: the commit that follows an I/O error starts from nothing too.
#[tokio::test]
async fn after_a_failure_of_the_disk_nothing_is_acknowledged_until_something_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    let opener = Arc::new(Opener::new(&path, Mode::Serve).unwrap());
    let mut connection = opener.writer().unwrap();
    opener.prepare(&mut connection, Mode::Serve).unwrap();
    drop(connection);
    let away = folder.path().join("away.db");
    std::fs::rename(&path, &away).unwrap();
    let shared = Arc::new(Shared::for_tests());
    let writer = Writer::start(None, opener, Arc::new(SystemClock), shared, Arc::new(AtomicU64::new(0))).unwrap();
    let probe = || writer.write(|tx| tx.run(&open::PROBE, &[]).map(|_| ()));
    for _ in 0..3 {
        assert!(matches!(probe().await, Err(StoreError::Unavailable(_))));
    }
    std::fs::rename(&away, &path).unwrap();
    probe().await.unwrap();
}

/// As the version before wrote it: text of a failed message removed, what Fini said of it not, and its pages as they
/// were.
fn written_by_the_first_version(path: &std::path::Path) {
    let opener = Opener::new(path, Mode::Serve).unwrap();
    let mut connection = opener.writer().unwrap();
    connection.pragma_update(None, "secure_delete", "FAST").unwrap();
    open::migrations().set_target(refinery::Target::Version(1)).run(&mut connection).unwrap();
    let long = "my IBAN is DE89 3704. ".repeat(2500);
    connection
        .execute_batch(&format!(
            "INSERT INTO lanes (id, channel, chat, chat_ref) VALUES (7, 'shop', 'alice', 'ref');
             INSERT INTO schedule (lane, work, channel) VALUES (7, 'turns', 'shop'), (7, 'deliveries', 'shop');
             INSERT INTO messages (seq, id, channel, delivery_key, lane, role, text, received_at, waiting_since, state,
                detail, turn, ended_at)
             VALUES (41, '01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10', 'shop', 'key', 7, 'user', '{long}', 1, 1, 'failed',
                'not allowed: my IBAN is DE89 3704', '01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a11', 2);
             INSERT INTO turns (id, lane, generation, bot_id, role, content, received_at, begun_at, state, detail,
                ended_at)
             VALUES ('01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a11', 7, 1, 'bot', 'user', '{long}', 1, 1, 'failed',
                'not allowed: my IBAN is DE89 3704', 2);
             UPDATE messages SET text = NULL, pruned = 1;
             UPDATE turns SET content = NULL, pruned = 1;
             PRAGMA wal_checkpoint(TRUNCATE)"
        ))
        .unwrap();
}

#[tokio::test]
async fn a_file_of_the_first_version_is_written_anew_once_and_holds_nothing_of_what_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    written_by_the_first_version(&path);
    let traces = || {
        let files =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        files.map(|bytes| bytes.windows(4).filter(|window| window == b"IBAN").count()).sum::<usize>()
    };
    assert!(traces() > 1000, "{}", traces());
    let clock = || Arc::new(ManualClock::at(Timestamp::from_secs(1_790_000_000)));
    let store = Sqlite::open(&path, Mode::Serve, clock()).await.unwrap();
    assert_eq!(traces(), 0);
    let story = store.list(&crate::store::Filter { limit: 10, ..Default::default() }).await.unwrap().pop().unwrap();
    assert_eq!((story.text, story.detail), (None, None));
    // Its numbers go on.
    store.accept(vec![message(1, "hello".to_owned()).1]).await.unwrap();
    let numbers = "SELECT max(m.seq) * 100 + max(l.id) FROM messages m, lanes l";
    assert_eq!(value::<i64>(&store, numbers).await, 4208);
    let due = "SELECT count(*) FROM meta WHERE key = 'vacuum_due'";
    assert_eq!(value::<i64>(&store, due).await, 0);
    assert!(std::fs::read_dir(folder.path()).unwrap().count() <= 4, "no file is left behind");
}

/// Somebody writes while the file is to be written anew: like a disk that has no room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_can_not_be_written_anew_is_used_as_it_is_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.db");
    written_by_the_first_version(&path);
    let clock = || Arc::new(ManualClock::at(Timestamp::from_secs(1_790_000_000)));
    let opener = Opener::new(&path, Mode::Serve).unwrap();
    let mut connection = opener.writer().unwrap();
    opener.prepare(&mut connection, Mode::Serve).unwrap();
    let other = opener.writer().unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection.busy_timeout(Duration::from_millis(10)).unwrap();
    drop(opener.vacuum_once(connection).unwrap());
    let due = "SELECT count(*) FROM meta WHERE key = 'vacuum_due'";
    assert_eq!(other.query_row(due, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    drop((other, opener));
    let store = Sqlite::open(&path, Mode::Serve, clock()).await.unwrap();
    assert_eq!(value::<i64>(&store, due).await, 0);
}
