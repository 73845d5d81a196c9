//! Makes the fixtures: a gateway of this checkout is led into every state that a store can hold, and dies.

use std::process::Command;
use std::time::Duration;

use fini_bridge::app::sandbox::fini::{Effect, Endpoint, FaultRule, Then};
use serde_json::{Value, json};

use super::fixture::{Backend, FOLDER, now};
use super::scene::*;
use crate::database::{self, server};
use crate::support::outside::Refusal;
use crate::support::senders;
use crate::support::{World, eventually};

const WHILE: Duration = Duration::from_secs(60);
/// Turns that end in the last process before the one in whose end it dies.
const TURNS_OF_THE_LAST: usize = 5;

/// A little longer than a lease, like the merge window.
const WAIT: &str = "wait=16";

type Chat = (&'static str, &'static str);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixtures of this schema: see tests/data/schemas/README.md"]
async fn make_a_fixture_of_sqlite() {
    let world = lived(None).await;
    let raw = rusqlite::Connection::open(world.file()).unwrap();
    let version = "SELECT max(version) FROM refinery_schema_history";
    let version: i64 = raw.query_row(version, [], |row| row.get(0)).unwrap();
    raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(raw);
    std::fs::copy(world.file(), format!("{FOLDER}/v{version}.db")).unwrap();
    write_beside(&world, version, Backend::Sqlite);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the fixtures of this schema: see tests/data/schemas/README.md"]
async fn make_a_fixture_of_postgres() {
    let name = server().database().await;
    let world = lived(Some(server().url(&name))).await;
    let version = "SELECT max(version) FROM fini_bridge.refinery_schema_history";
    let version: i32 = server().connect(&name).await.query_one(version, &[]).await.unwrap().get(0);
    let dump = Command::new(database::binaries().join("pg_dump"))
        .args(["--inserts", "--no-owner", "--no-privileges", "--schema=fini_bridge", "--dbname", &server().url(&name)])
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    // Lines that begin with a backslash are psql's own.
    let text = String::from_utf8(dump.stdout).unwrap();
    let sql: Vec<&str> = text.lines().filter(|line| !line.starts_with('\\')).collect();
    std::fs::write(format!("{FOLDER}/v{version}.sql"), sql.join("\n") + "\n").unwrap();
    write_beside(&world, version.into(), Backend::Postgres);
}

/// What the store alone doesn't tell: when the process died, what Fini had by then, and what `messages list` said.
fn write_beside(world: &World, version: i64, backend: Backend) {
    let listed = world.command(&["messages", "list", "--state", "all", "--json"]);
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let messages: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let beside = json!({
        "died_at": now(), "conversations": world.fini.ledger().conversations, "messages": messages,
    });
    let text = serde_json::to_string(&beside).unwrap() + "\n";
    std::fs::write(format!("{FOLDER}/v{version}-{}.json", backend.name()), text).unwrap();
}

/// A world whose process has just died.
async fn lived(database: Option<String>) -> World {
    let mut world = World::prepare_on(database, &settings(Off::Still)).await;
    world.fini.reply_with(reply);
    long_ago(&mut world).await;
    world.configure(&settings(Off::Still));
    world.serve().await;
    yesterday(&world).await;
    world.kill();
    let last = format!("turn.ended={TURNS_OF_THE_LAST}*off->return");
    world.serve_with(&[("FAILPOINTS", &last)]).await;
    to_be_delivered(&world).await;
    to_be_looked_up(&world).await;
    to_be_asked(&world).await;
    // It ends this turn, and dies.
    let waited = world.request(WAITED_ANSWERED.0, message(WAITED_ANSWERED, 1)).header("prefer", WAIT);
    assert!(waited.send().await.is_err());
    assert!(!world.exited(WHILE).await.success());
    world
}

async fn say(world: &World, chat: Chat, number: u32) {
    world.deliver(chat.0, message(chat, number)).await;
}

/// Until the message is in a state like that.
async fn until(world: &World, chat: Chat, number: u32, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let text = question(chat, number);
    eventually(&format!("{text}: {what}"), WHILE, async || {
        let stories = world.stories(&[]).await.into_iter().map(|story| json!(story));
        stories.into_iter().find(|story| story["text"] == text.as_str() && is_so(story))
    })
    .await
}

async fn until_state(world: &World, chat: Chat, number: u32, state: &str) -> Value {
    until(world, chat, number, state, |story| story["state"] == state).await
}

async fn long_ago(world: &mut World) {
    world.configure(&format!("[store]\nkeep = \"1s\"\n{}", settings(Off::Still)));
    world.serve().await;
    say(world, PRUNED, 1).await;
    eventually("the text is pruned", WHILE, async || {
        world.stories(&[]).await.first().is_some_and(|story| story.text.is_none()).then_some(())
    })
    .await;
    world.kill();
}

/// What has ended.
async fn yesterday(world: &World) {
    let ask = |then: Then, effect: Effect, chat: Chat| {
        world.fini.faults().add(FaultRule::at(Endpoint::Ask, effect, then).containing(chat.1).times(1));
    };
    let error = || Then::Status { status: 500, retry_after: None };
    let goes_on = [UNKNOWN_LATER, OPEN_LATER, RESET, SHARED, LIMITED];
    for chat in ANSWERED.into_iter().chain(goes_on) {
        say(world, chat, 1).await;
    }
    for chat in ANSWERED.into_iter().chain(goes_on) {
        until(world, chat, 1, "answered and discovered", |story| {
            story["state"] == "done" && !story["turn"]["interaction_id"].is_null()
        })
        .await;
    }
    for chat in [SHARED, LIMITED] {
        say(world, chat, 2).await;
        until_state(world, chat, 2, "done").await;
    }
    world.deliver(RESET.0, said(RESET, 2, RESET_WORD)).await;
    world.deliver("bridge", senders::bridge_message("blank", "blank-1", " ")).await;
    world.deliver("shop", senders::shop(br#"{"messages":[{"id":"unreadable"}]}"#.to_vec())).await;

    ask(Then::Status { status: 400, retry_after: None }, Effect::Nothing, REJECTED);
    say(world, REJECTED, 1).await;
    until_state(world, REJECTED, 1, "failed").await;
    world.outside.refuse(refusal(REFUSED.1, 1, 404));
    say(world, REFUSED, 1).await;
    until_state(world, REFUSED, 1, "failed").await;
    for chat in [HELD_QUESTION, DISCARDED] {
        ask(error(), Effect::Stored, chat);
        say(world, chat, 1).await;
    }
    world.outside.hang(HELD_ANSWER.1);
    say(world, HELD_ANSWER, 1).await;
    for chat in [HELD_QUESTION, HELD_ANSWER, DISCARDED] {
        until_state(world, chat, 1, "held").await;
    }
    let given_up = until_state(world, DISCARDED, 1, "held").await;
    assert!(world.command(&["messages", "discard", given_up["id"].as_str().unwrap()]).status.success());
}

fn refusal(path: &str, times: usize, status: u16) -> Refusal {
    Refusal { path: path.to_owned(), times, status, headers: vec![], body: json!({}), delivered: false }
}

/// Answered, and the answer is not (all) delivered. From here on no conversation is found any more.
async fn to_be_delivered(world: &World) {
    for endpoint in [Endpoint::List, Endpoint::Get] {
        world.fini.faults().add(FaultRule::status(endpoint, 500));
    }
    say(world, UNDISCOVERED, 1).await;
    until_state(world, UNDISCOVERED, 1, "done").await;

    world.outside.refuse(refusal(SECOND_PART, usize::MAX, 503));
    say(world, HALF_DELIVERED, 1).await;
    world.outside.refuse(refusal(NOT_DELIVERED.1, usize::MAX, 503));
    say(world, NOT_DELIVERED, 1).await;
    for chat in [HALF_DELIVERED, NOT_DELIVERED] {
        until(world, chat, 1, "refused", |story| {
            story["parts"].as_array().unwrap().iter().any(|part| part["state"] == "pending" && part["attempts"] != 0)
        })
        .await;
    }
    for (chat, path) in SENDING.into_iter().zip(["/callback", SENDING[1].1]) {
        world.outside.hang(path);
        say(world, chat, 1).await;
        until(world, chat, 1, "being sent", |story| story["parts"][0]["state"] == "sending").await;
        eventually("it is sent", WHILE, async || (world.outside.texts(chat.1).len() == 1).then_some(())).await;
    }
}

/// Asked, and the outcome is not known.
async fn to_be_looked_up(world: &World) {
    let fault = |chat: Chat, number: u32, effect: Effect, then: Then| {
        world.fini.faults().add(FaultRule::at(Endpoint::Ask, effect, then).containing(&question(chat, number)));
    };
    let unknown = [
        (UNKNOWN_FIRST, 1, Effect::Answered),
        (UNKNOWN_LATER, 2, Effect::Answered),
        (UNKNOWN_NOTHING, 1, Effect::Nothing),
    ];
    for (chat, number, effect) in unknown {
        fault(chat, number, effect, Then::Status { status: 500, retry_after: None });
        say(world, chat, number).await;
        until(world, chat, number, "unknown", |story| story["state"] == "asking" && !story["reason"].is_null()).await;
    }
    let open = [
        (OPEN_FIRST, 1, Effect::Answered),
        (OPEN_LATER, 2, Effect::Answered),
        (OPEN_NOTHING, 1, Effect::Nothing),
        (UNSORTED, 1, Effect::Answered),
        (WAITED_ASKING, 1, Effect::Answered),
    ];
    for (chat, number, effect) in open {
        fault(chat, number, effect, Then::Hang);
        if chat == WAITED_ASKING {
            let waited = world.request(chat.0, message(chat, number)).header("prefer", WAIT);
            tokio::spawn(waited.send());
        } else {
            say(world, chat, number).await;
        }
        eventually("it is asked", WHILE, async || {
            let ledger = world.fini.ledger();
            ledger.asks().any(|ask| ask.content == Some(question(chat, number))).then_some(())
        })
        .await;
    }
    // What Fini answered is stored there.
    eventually("Fini has the answers", WHILE, async || {
        let stored = json!(world.fini.ledger().conversations).to_string();
        let answered = unknown.iter().chain(&open).filter(|(_, _, effect)| *effect == Effect::Answered);
        answered.into_iter().all(|(chat, number, _)| stored.contains(&answer(&question(*chat, *number)))).then_some(())
    })
    .await;
}

/// Not asked yet.
async fn to_be_asked(world: &World) {
    for number in [2, 3] {
        say(world, OPEN_FIRST, number).await;
    }
    let second = senders::now();
    for (number, second) in [(3, second), (2, second - 5)] {
        world.deliver(UNSORTED.0, written_at(UNSORTED, number, second, &question(UNSORTED, number))).await;
    }
    say(world, DORMANT, 1).await;
    for number in [1, 2] {
        say(world, MERGING, number).await;
    }
    let throttled = Then::Status { status: 429, retry_after: Some(60) };
    world.fini.faults().add(FaultRule::at(Endpoint::Ask, Effect::Nothing, throttled).containing(THROTTLED.1));
    say(world, THROTTLED, 1).await;
    until(world, THROTTLED, 1, "throttled", |story| story["reason"] == "fini_429").await;
    say(world, BEHIND_THROTTLED, 1).await;
}
