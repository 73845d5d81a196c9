//! What holds for SQLite's inside: query plans, a full queue, a full disk, a disk that failed.
//! The promises of the trait are in `tests/store`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::{Map, json};
use tempfile::TempDir;

use super::open::Opener;
use super::writer::Writer;
use super::{Mode, Sqlite, answers, conversations, deliveries, intake, lanes, looking, open, retention, turns};
use crate::domain::clock::{ManualClock, SystemClock, Timestamp};
use crate::domain::id::{AttributesRef, BotId, ChannelName, ChatKey, ChatRef, DeliveryKey, MessageId};
use crate::domain::message::{Address, Role};
use crate::store::{NewItem, NewMessage, Store, StoreError};

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
        merge_window: Duration::ZERO,
        wait: None,
        dormant: false,
    };
    (id, NewItem::Message(Box::new(message)))
}

async fn plan(store: &Sqlite, sql: &str) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {sql}");
    let rows = move |tx: &super::Tx<'_>| {
        let unbound = sql.matches('?').count();
        let values: Vec<Option<i64>> =
            vec![None; (1..=unbound).rev().find(|n| sql.contains(&format!("?{n}"))).unwrap_or(0)];
        tx.all(&sql, rusqlite::params_from_iter(values), |row| row.get::<_, String>(3))
    };
    store.write(rows).await.unwrap()
}

#[tokio::test]
async fn what_is_done_for_every_message_never_walks_a_table() {
    let (_folder, store) = store().await;
    for sql in [
        intake::KNOWN,
        intake::LANE,
        intake::WROTE,
        lanes::DUE,
        lanes::TAKE,
        lanes::HELD,
        lanes::NEXT_DUE,
        lanes::FIRST_WAITING,
        lanes::CURRENT_TURN,
        lanes::FIRST_PART,
        turns::WAITING,
        turns::CURRENT,
        turns::MEMBERS,
        turns::OF_LANE,
        turns::OF_SENDER,
        turns::OF_CHANNEL,
        turns::CURRENT_CONVERSATION,
        turns::JOIN,
        conversations::GET,
        conversations::ADOPT,
        deliveries::OUTGOING,
        deliveries::BY_ID,
        deliveries::BY_RECEIPT,
        deliveries::SENDING,
        deliveries::SETTLE,
        answers::MESSAGE,
        answers::PARTS,
        retention::PRUNABLE_MESSAGES,
        retention::PRUNABLE_TURNS,
        retention::OLDEST,
        retention::LEFT,
    ] {
        let steps = plan(&store, sql).await;
        assert!(!steps.is_empty(), "{sql}");
        for step in steps {
            assert!(!step.contains("SCAN") && !step.contains("TEMP B-TREE"), "{step} in {sql}");
        }
    }
}

#[tokio::test]
async fn figures_read_small_indexes_only() {
    let (_folder, store) = store().await;
    for (sql, index) in [(looking::BY_STATE, "messages_undone"), (looking::PENDING, "parts_waiting")] {
        let steps = plan(&store, sql).await;
        assert!(steps[0].contains(&format!("COVERING INDEX {index}")), "{steps:?}");
    }
}

#[tokio::test]
async fn mending_what_a_clock_has_done_walks_what_has_not_ended_only() {
    let (_folder, store) = store().await;
    let small = ["messages_waiting", "messages_undone", "turns_current", "parts_waiting"];
    for sql in lanes::BEGUN_AHEAD.into_iter().chain(lanes::HELD_AHEAD) {
        let steps = plan(&store, sql).await;
        assert!(steps.iter().any(|step| small.iter().any(|index| step.contains(index))), "{steps:?} in {sql}");
        let walks = steps.iter().filter(|step| step.contains("SCAN"));
        assert!(walks.clone().all(|step| small.iter().any(|index| step.contains(index))), "{steps:?} in {sql}");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_is_usable_again() {
    let (_folder, store) = store().await;
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = tokio::sync::oneshot::channel();
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
    inside.await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_loses_nothing_and_heals_by_itself() {
    let (_folder, store) = store().await;
    let limit = |pages: u32| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        store.write(move |tx| tx.one(&sql, [], |row| row.get::<_, i64>(0)))
    };
    let room = limit(1).await.unwrap().unwrap();
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
        assert!(store.story(id).await.unwrap().is_some());
    }
    let health = store.write(|tx| tx.one("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))).await;
    assert_eq!(health.unwrap().as_deref(), Some("ok"));
    let number = store.write(|tx| tx.one("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0))).await;
    assert_eq!(number.unwrap(), Some(200));
}

#[tokio::test]
async fn what_fails_undoes_itself_and_not_its_neighbours_in_the_commit() {
    let (_folder, store) = store().await;
    let write = |key: &'static str, succeed: bool| {
        store.write(move |tx| {
            tx.run("INSERT INTO meta (key, value) VALUES (?1, 1)", [key])?;
            if succeed { Ok(()) } else { Err(StoreError::Fenced) }
        })
    };
    let (first, second, third) = tokio::join!(write("a", true), write("b", false), write("c", true));
    first.unwrap();
    assert!(matches!(second, Err(StoreError::Fenced)));
    third.unwrap();
    let kept = store
        .read(|tx| tx.all("SELECT key FROM meta WHERE length(key) = 1 ORDER BY key", [], |row| row.get::<_, String>(0)))
        .await;
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
    let writer = Writer::start(None, opener, Arc::new(SystemClock), Arc::new(AtomicU64::new(0))).unwrap();
    let probe = || writer.write(|tx| tx.run(open::PROBE, []).map(|_| ()));
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
    assert_eq!(store.read(|tx| tx.one(numbers, [], |row| row.get::<_, i64>(0))).await.unwrap(), Some(4208));
    let due = "SELECT count(*) FROM meta WHERE key = 'vacuum_due'";
    assert_eq!(store.read(|tx| tx.one(due, [], |row| row.get::<_, i64>(0))).await.unwrap(), Some(0));
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
    assert_eq!(store.read(|tx| tx.one(due, [], |row| row.get::<_, i64>(0))).await.unwrap(), Some(0));
}
