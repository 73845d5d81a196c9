//! A start on a schema that replicas of an older version work with.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fini_bridge::store::Mode;
use fini_bridge::store::postgres::{OlderReplica, OpenError};
use tokio_postgres::Client;

use crate::actors::say;
use crate::database::server;
use crate::{open, soon, try_open};

/// A database in which each older schema stands, and the way to it. See `tests/data/schemas`.
async fn older() -> Vec<(String, Client)> {
    let number = |path: &Path, mark: &str| -> Option<u32> {
        let name = path.file_name()?.to_str()?.to_lowercase();
        name.strip_prefix('v')?.split_once(mark)?.0.parse().ok()
    };
    let numbers = |folder: &str, mark: &str| -> Vec<u32> {
        std::fs::read_dir(folder).unwrap().filter_map(|entry| number(&entry.unwrap().path(), mark)).collect()
    };
    let current = numbers("src/store/postgres/migrations", "__").into_iter().max().unwrap();
    let mut databases = Vec::new();
    for version in numbers("tests/data/schemas", ".sql").into_iter().filter(|version| *version < current) {
        let name = server().database().await;
        let client = server().connect(&name).await;
        let sql = std::fs::read_to_string(format!("tests/data/schemas/v{version}.sql")).unwrap();
        client.batch_execute(&sql).await.unwrap();
        databases.push((server().url(&name), client));
    }
    databases
}

async fn applied(client: &Client) -> i64 {
    let newest = "SELECT max(version)::bigint FROM fini_bridge.refinery_schema_history";
    client.query_one(newest, &[]).await.unwrap().get(0)
}

/// What it says of whoever is in the way.
async fn refused(url: &str, client: &Client) -> (Vec<OlderReplica>, String) {
    let before = applied(client).await;
    let Err(error) = try_open(url, Mode::Serve).await else { panic!("it was opened") };
    assert_eq!(applied(client).await, before, "the schema is as it was");
    let text = error.to_string();
    let OpenError::OlderReplicas(older) = error else { panic!("{text}") };
    (older, text)
}

async fn open_once_they_are_gone(url: &str, client: &Client) {
    let before = applied(client).await;
    soon("it starts", Duration::from_secs(20), async || try_open(url, Mode::Serve).await.is_ok()).await;
    assert!(applied(client).await > before);
    say(open(url).await.as_ref(), "alice", "hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_an_older_replica_listens_on_is_changed_once_it_is_gone() {
    for (url, client) in older().await {
        let (session, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        session.batch_execute("LISTEN fini_bridge").await.unwrap();
        let (older, text) = refused(&url, &client).await;
        assert!(matches!(&older[..], [OlderReplica::Session { address: Some(address), .. }] if address == "127.0.0.1"));
        assert!(text.contains("one at 127.0.0.1 (connected since 20") && text.contains("Stop all of them"), "{text}");
        drop(session);
        connection.await.unwrap().unwrap();
        open_once_they_are_gone(&url, &client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_in_which_an_older_replica_holds_a_lane_is_changed_once_it_is_free() {
    for (url, client) in older().await {
        let hold = |until: &str| {
            format!(
                "UPDATE fini_bridge.schedule SET owner = 'replica-1', due_at = fini_bridge.now_ms() + {until}
                 WHERE work = 'turns' AND lane = (SELECT min(lane) FROM fini_bridge.schedule)"
            )
        };
        client.batch_execute(&hold("60000")).await.unwrap();
        let (older, text) = refused(&url, &client).await;
        assert!(matches!(&older[..], [OlderReplica::Lease { replica, .. }] if replica == "replica-1"), "{older:?}");
        assert!(text.contains("replica-1 (holds leases until 20"), "{text}");
        client.batch_execute(&hold("-1")).await.unwrap();
        open_once_they_are_gone(&url, &client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_tell_of_themselves_are_waited_for_by_their_heartbeat() {
    for (url, client) in older().await {
        let beats = "CREATE TABLE fini_bridge.replicas (id text, schema_version integer, alive_until bigint);
            INSERT INTO fini_bridge.replicas VALUES
                ('alive', 3, fini_bridge.now_ms() + 60000), ('dead', 3, fini_bridge.now_ms() - 1),
                ('newer', 1000, fini_bridge.now_ms() + 60000)";
        client.batch_execute(beats).await.unwrap();
        let (older, text) = refused(&url, &client).await;
        assert!(matches!(&older[..], [OlderReplica::Heartbeat { replica, .. }] if replica == "alive"), "{older:?}");
        assert!(text.contains("alive (alive until 20"), "{text}");
        client.batch_execute("DROP TABLE fini_bridge.replicas").await.unwrap();
        open_once_they_are_gone(&url, &client).await;
        // The columns that the check reads are there.
        client
            .query("SELECT id::text, schema_version::bigint, alive_until FROM fini_bridge.replicas", &[])
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_replicas_that_start_at_once_on_an_older_schema_are_not_in_each_others_way() {
    for (url, client) in older().await {
        let before = applied(&client).await;
        futures::future::join_all((0..4).map(|_| open(&url))).await;
        assert!(applied(&client).await > before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_ends_and_says_who_is_in_the_way() {
    for (url, client) in older().await {
        client.batch_execute("LISTEN fini_bridge").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("fini-bridge.toml");
        let settings = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{url}\"\n\
             [fini]\napi_key = \"key\"\n[channels.bridge]\nplatform = \"custom\"\n\
             bot_id = \"4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
             callback_url = \"http://127.0.0.1:1/\"\n"
        );
        std::fs::write(&config, settings).unwrap();
        let serve =
            || Command::new(env!("CARGO_BIN_EXE_fini-bridge")).args(["serve", "--config"]).arg(&config).output();
        let ended = tokio::task::block_in_place(serve).unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("replicas of an older version are running on this store"), "{said}");
        assert!(said.contains("Stop all of them, then start this one"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_a_later_schema_excludes_does_not_start() {
    let name = server().database().await;
    drop(open(&server().url(&name)).await);
    let excludes = "INSERT INTO fini_bridge.meta (key, value) VALUES ('oldest_beside', '1000')
        ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value";
    server().connect(&name).await.batch_execute(excludes).await.unwrap();
    for mode in [Mode::Serve, Mode::Tool] {
        assert!(matches!(try_open(&server().url(&name), mode).await, Err(OpenError::Newer)));
    }
}
