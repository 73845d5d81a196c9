//! SQLite as a backend of the suite, and what holds for its file.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fini_bridge::domain::clock::{Clock, ManualClock, Timestamp};
use fini_bridge::domain::id::ChannelName;
use fini_bridge::store::sqlite::{Mode, OpenError, Sqlite};
use fini_bridge::store::{Accepted, Inbox, NewItem, Operations, Responses, Retention, Store, StoreError};
use tempfile::TempDir;

use crate::actors::{accept, deliver, message, part, say, turn, unusable};
use crate::{Backend, World};

struct File {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("data").join("bridge.db")
    }

    async fn open(&self, mode: Mode) -> Result<Arc<Sqlite>, OpenError> {
        Sqlite::open(&self.path(), mode, self.clock.clone()).await
    }
}

impl File {
    fn raw(&self) -> rusqlite::Connection {
        let raw = rusqlite::Connection::open(self.path()).unwrap();
        raw.busy_timeout(Duration::from_secs(10)).unwrap();
        raw
    }

    fn log(&self) -> PathBuf {
        PathBuf::from(format!("{}-wal", self.path().display()))
    }

    fn as_a_crash_leaves_it(&self) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap(), clock: self.clock.clone() };
        std::fs::create_dir(copy.path().parent().unwrap()).unwrap();
        std::fs::copy(self.path(), copy.path()).unwrap();
        std::fs::copy(self.log(), copy.log()).unwrap();
        copy
    }
}

#[async_trait]
impl Backend for File {
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn set_back(&self, by: Duration) {
        self.clock.set(Timestamp::from_millis(self.clock.now().as_millis() - i64::try_from(by.as_millis()).unwrap()));
    }

    async fn restart(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        self.open(Mode::Serve).await.unwrap()
    }

    async fn beside(&self, store: &Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::clone(store)
    }

    async fn execute(&self, sql: &str) {
        self.raw().execute_batch(sql).unwrap();
    }

    async fn text_columns(&self) -> Vec<(String, String)> {
        let raw = self.raw();
        let sql = "SELECT t.name, c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
            WHERE t.type = 'table' AND c.type NOT IN ('INTEGER', 'INT4')";
        let mut found = raw.prepare(sql).unwrap();
        found.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }

    async fn values(&self, table: &str, column: &str) -> Vec<String> {
        let raw = self.raw();
        let sql = format!("SELECT CAST({column} AS BLOB) FROM {table} WHERE {column} IS NOT NULL");
        let mut found = raw.prepare(&sql).unwrap();
        let values = found.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        values.map(|value| String::from_utf8_lossy(&value.unwrap()).into_owned()).collect()
    }
}

fn file() -> File {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_790_000_000)));
    File { folder: tempfile::tempdir().unwrap(), clock }
}

pub async fn world() -> World {
    let file = file();
    World { store: file.open(Mode::Serve).await.unwrap(), backend: Box::new(file) }
}

#[tokio::test]
async fn a_second_gateway_on_the_same_file_is_refused_in_a_clear_sentence() {
    let file = file();
    let _first = file.open(Mode::Serve).await.unwrap();
    let Err(error) = file.open(Mode::Serve).await else { panic!("opened twice") };
    assert!(matches!(error, OpenError::Locked(_)));
    assert!(error.to_string().starts_with("another gateway is running on "), "{error}");
}

#[tokio::test]
async fn the_file_is_free_again_when_its_gateway_is_gone() {
    let file = file();
    drop(file.open(Mode::Serve).await.unwrap());
    file.open(Mode::Serve).await.unwrap();
}

#[tokio::test]
async fn a_command_makes_no_store_where_there_is_none() {
    let file = file();
    let Err(error) = file.open(Mode::Tool).await else { panic!("made one") };
    assert!(matches!(error, OpenError::Missing(_)));
    assert!(!file.path().exists());
}

#[tokio::test]
async fn the_file_and_its_folder_are_for_their_owner_alone() {
    let file = file();
    let store = file.open(Mode::Serve).await.unwrap();
    say(store.as_ref(), "alice", "hello").await;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file.path().parent().unwrap()), 0o700);
    for entry in file.path().parent().unwrap().read_dir().unwrap() {
        let entry = entry.unwrap().path();
        assert_eq!(mode(&entry), 0o600, "{}", entry.display());
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let file = file();
    drop(file.open(Mode::Serve).await.unwrap());
    let connection = rusqlite::Connection::open(file.path()).unwrap();
    connection
        .execute_batch("INSERT INTO refinery_schema_history SELECT 999, 'x', applied_on, checksum FROM refinery_schema_history LIMIT 1")
        .unwrap();
    drop(connection);
    assert!(matches!(file.open(Mode::Serve).await, Err(OpenError::Version { .. })));
    assert!(matches!(file.open(Mode::Tool).await, Err(OpenError::Version { .. })));
}

/// As a disk that hangs: Slack waits 3 s for an answer.
#[tokio::test]
async fn a_webhook_that_cannot_be_written_in_time_is_told_so_and_recognised_when_it_comes_again() {
    let file = file();
    let store = file.open(Mode::Serve).await.unwrap();
    let other = rusqlite::Connection::open(file.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let late = message("alice", "late");
    let id = late.id;
    let begun = Instant::now();
    let refused = store.accept(vec![NewItem::Message(Box::new(late))]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(accept(store.as_ref(), message("alice", "late")).await, Accepted::Duplicate(id));
}

#[tokio::test]
async fn who_looks_whether_a_turn_has_ended_writes_nothing() {
    let file = file();
    let store = file.open(Mode::Serve).await.unwrap();
    let id = say(store.as_ref(), "alice", "hello").await;
    let other = rusqlite::Connection::open(file.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(store.have_ended(&[id]).await.unwrap(), []);
}

/// What the files hold at the moment of the acknowledgement is what a power cut leaves.
#[tokio::test]
async fn what_is_acknowledged_is_in_the_files_at_that_moment() {
    let file = file();
    let store = file.open(Mode::Serve).await.unwrap();
    for number in 0..20 {
        let id = say(store.as_ref(), "alice", &format!("message {number}")).await;
        let copy = file.as_a_crash_leaves_it();
        let after = copy.open(Mode::Serve).await.unwrap();
        assert!(after.details(id).await.unwrap().is_some(), "message {number}");
    }
}

async fn say_much(store: &dyn Store) {
    let mut big = message("alice", "big");
    big.text = "x".repeat(200_000);
    store.accept(vec![NewItem::Message(Box::new(big))]).await.unwrap();
}

/// A process that dies again and again never comes to its first checkpoint.
#[tokio::test]
async fn what_a_crash_left_in_the_log_is_written_back_at_the_start() {
    let file = file();
    let store = file.open(Mode::Serve).await.unwrap();
    say_much(store.as_ref()).await;
    let crashed = file.as_a_crash_leaves_it();
    assert!(crashed.log().metadata().unwrap().len() > 200_000);
    let _again = crashed.open(Mode::Serve).await.unwrap();
    assert!(crashed.log().metadata().unwrap().len() < 200_000);
    assert!(crashed.path().metadata().unwrap().len() > 200_000);
}

#[tokio::test]
async fn the_log_is_written_back_beside_the_writer() {
    let file = file();
    let store = file.open(Mode::Serve).await.unwrap();
    say_much(store.as_ref()).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while file.path().metadata().unwrap().len() < 200_000 {
        assert!(std::time::Instant::now() < deadline, "no checkpoint");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A store that runs for years does not grow: a busy day is like another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_no_larger_after_a_month_than_after_twelve_days() {
    let file = file();
    let store = file.open(Mode::Serve).await.unwrap();
    let day = Duration::from_secs(24 * 3600);
    let retention = Retention {
        keep: day,
        forget: day * 9,
        give_up_after: day,
        overrides: vec![],
        active: vec![ChannelName::new("shop")],
    };
    let mut sizes = Vec::new();
    for number in 1..=30 {
        for chat in 0..25 {
            // Some chats write every day, most once.
            let chat = if chat < 5 { format!("regular-{chat}") } else { format!("guest-{number}-{chat}") };
            say(store.as_ref(), &chat, &"what is the state of my order? ".repeat(20)).await;
            turn(store.as_ref(), vec![part(0, "It is on its way. "), part(0, "Anything else?")]).await;
            deliver(store.as_ref()).await;
        }
        store.accept(vec![NewItem::Unusable(unusable(&format!("raw-{number}")))]).await.unwrap();
        file.pass(day).await;
        store.enforce_retention(&retention).await.unwrap();
        let files = std::fs::read_dir(file.path().parent().unwrap()).unwrap();
        sizes.push(files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>());
    }
    println!("{sizes:?}");
    assert!(sizes[29] * 10 <= sizes[11] * 11, "{sizes:?}");
    let health: String = file.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(health, "ok");
}

fn files_with(file: &File, text: &str) -> usize {
    let files = std::fs::read_dir(file.path().parent().unwrap()).unwrap();
    let contents = files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    contents.filter(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes())).count()
}

/// Others write without a pause, and somebody still reads the old state for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_constant_writing_a_removed_text_leaves_the_log_too() {
    let file = file();
    let store = file.open(Mode::Serve).await.unwrap();
    let text = "my IBAN is DE89 3704";
    let mut raw = unusable("raw");
    raw.raw = text.repeat(3000);
    store.accept(vec![NewItem::Unusable(raw)]).await.unwrap();
    let reader = file.raw();
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages").unwrap();
    file.pass(Duration::from_secs(24 * 3600)).await;
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    say(store.as_ref(), &format!("chat-{number}"), "hello").await;
                }
            })
        })
        .collect();
    let years = Duration::from_secs(10 * 365 * 24 * 3600);
    let keep = Duration::from_secs(3600);
    let retention = Retention { keep, forget: years, give_up_after: years, overrides: vec![], active: vec![] };
    let enforcing = store.enforce_retention(&retention);
    tokio::pin!(enforcing);
    let early = tokio::time::timeout(Duration::from_secs(3), &mut enforcing).await;
    assert!(early.is_err(), "it is not done while somebody reads the old state: {early:?}");
    assert!(files_with(&file, text) > 0);
    reader.execute_batch("COMMIT").unwrap();
    let removed = tokio::time::timeout(Duration::from_secs(30), enforcing).await.expect("it is done then").unwrap();
    assert_eq!(removed.pruned, 1);
    assert_eq!(files_with(&file, text), 0);
    writers.iter().for_each(tokio::task::JoinHandle::abort);
}
