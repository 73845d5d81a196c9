//! A fixture brought to life: its store and its Fini, as if its process had died a few seconds ago.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::scene::{self, Off};
use crate::database::server;
use crate::support::World;
use fini_bridge::app::sandbox::fini::Change;

pub const FOLDER: &str = "tests/data/schemas";
/// All the schemas that the current one must come from.
pub const VERSIONS: [&str; 1] = ["v3"];
/// Longer than a lease, shorter than what still has time in the fixture: a merge window, a caller who waits.
const DEAD_FOR: Duration = Duration::from_secs(11);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

pub fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A gateway that was started on a fixture.
pub struct Migrated {
    pub world: World,
    /// Fini's, by the time of the death.
    conversations: Vec<Value>,
    /// What `messages list` said then, with the times that the store has now.
    pub messages: Vec<Value>,
}

impl Migrated {
    pub async fn start(backend: Backend, version: &str) -> Self {
        let path = format!("{FOLDER}/{version}-{}.json", backend.name());
        let mut beside: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let later = now() - i64::try_from(DEAD_FOR.as_millis()).unwrap() - beside["died_at"].as_i64().unwrap();
        shift(&mut beside, later);
        let database = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(restore_postgres(version, later).await),
        };
        let mut world = World::prepare_on(database, &scene::settings(Off::SwitchedOn)).await;
        if backend == Backend::Sqlite {
            restore_sqlite(&world, version, later);
        }
        let conversations = beside["conversations"].as_array().unwrap().clone();
        world.fini.change(Change { restore: conversations.clone(), ..Change::default() });
        world.fini.reply_with(scene::reply);
        world.serve().await;
        Self { world, conversations, messages: beside["messages"].as_array().unwrap().clone() }
    }

    /// The id of the conversation in which Fini has this text.
    pub fn conversation_with(&self, text: &str) -> &str {
        let has = |event: &Value| event["message"] == text;
        let found = self.conversations.iter().find(|one| one["events"].as_array().unwrap().iter().any(has));
        found.unwrap()["id"].as_str().unwrap()
    }

    /// What the fixture's store said of this message.
    pub fn before(&self, text: &str) -> &Value {
        self.messages.iter().find(|message| message["text"] == text).unwrap()
    }
}

/// Milliseconds since the epoch, of this century.
const TIMES: std::ops::Range<i64> = 1_000_000_000_000..4_000_000_000_000;

/// Moves all times in it, numbers and texts.
fn shift(value: &mut Value, later: i64) {
    match value {
        Value::Number(number) => {
            if let Some(time) = number.as_i64().filter(|time| TIMES.contains(time)) {
                *value = (time + later).into();
            }
        }
        Value::String(text) => {
            if let Ok(time) = text.parse::<Timestamp>() {
                let time = Timestamp::from_millisecond(time.as_millisecond() + later).unwrap();
                *text = time.to_string();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shift(value, later)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shift(value, later)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn moved(table: &str, column: &str, later: i64) -> String {
    let (first, last) = (TIMES.start, TIMES.end);
    format!("UPDATE {table} SET {column} = {column} + {later} WHERE {column} BETWEEN {first} AND {last};")
}

fn restore_sqlite(world: &World, version: &str, later: i64) {
    std::fs::copy(format!("{FOLDER}/{version}.db"), world.file()).unwrap();
    let raw = rusqlite::Connection::open(world.file()).unwrap();
    let columns = "SELECT t.name, c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
        WHERE t.type = 'table' AND c.type = 'INTEGER' AND c.pk = 0";
    let mut found = raw.prepare(columns).unwrap();
    let columns = found.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let sql: String = columns.map(Result::unwrap).map(|(table, column)| moved(&table, &column, later)).collect();
    raw.execute_batch(&sql).unwrap();
}

/// The database's URL.
async fn restore_postgres(version: &str, later: i64) -> String {
    let name = server().database().await;
    let client = server().connect(&name).await;
    client.batch_execute(&std::fs::read_to_string(format!("{FOLDER}/{version}.sql")).unwrap()).await.unwrap();
    let columns = "SELECT table_schema || '.' || table_name, column_name::text FROM information_schema.columns
        WHERE table_schema = 'fini_bridge' AND data_type = 'bigint' AND is_identity = 'NO'";
    let columns = client.query(columns, &[]).await.unwrap();
    let sql: String = columns.iter().map(|row| moved(row.get(0), row.get(1), later)).collect();
    client.batch_execute(&sql).await.unwrap();
    server().url(&name)
}
