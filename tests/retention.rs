//! What is gone is gone: from the files of a running gateway, and without a word to anybody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

#[path = "support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;
mod support;

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use database::server;
use fini_bridge::app::sandbox::fini::{Effect, Endpoint, FaultRule, Then};
use fini_bridge::store::MessageState;
use support::senders::{self, CHANNELS};
use support::{World, eventually};

const SECRET: &str = "my diagnosis is sarcoidosis";
/// The long text is longer than a message may be by default.
const LONG: &str = "[conversations]\nmax_text = \"64KiB\"\n";
/// Retention looks every ten seconds.
const A_MINUTE: Duration = Duration::from_secs(60);

/// As it may stand in a file: plain, as UTF-16, in hex, in base64 at each offset, escaped.
fn encodings(text: &str) -> Vec<Vec<u8>> {
    let mut all = vec![text.as_bytes().to_vec()];
    all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    all.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    all.push(hex::encode(text).into_bytes());
    all.push(hex::encode_upper(text).into_bytes());
    for offset in 0..3 {
        let padded = [&b"   "[..offset], text.as_bytes()].concat();
        let written = base64::engine::general_purpose::STANDARD_NO_PAD.encode(padded);
        // Only what is made of the text alone.
        let (from, to) = ([0, 2, 3][offset], written.len() - 1);
        all.push(written.as_bytes()[from..to].to_vec());
    }
    all.push(text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<String>().into_bytes());
    all.push(text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>().into_bytes());
    all.push(text.replace(' ', "%20").into_bytes());
    all
}

fn is_in(bytes: &[u8], text: &str) -> bool {
    encodings(text).iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
}

/// The store's files that hold it.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of_the_store = files.filter(|path| path.to_string_lossy().contains("bridge.db"));
    of_the_store
        .filter(|path| is_in(&std::fs::read(path).unwrap(), text))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// Many messages, a long one that Fini refuses in words that quote it, one that can't be read, one that is answered.
async fn use_it(world: &World) {
    let long = format!("{SECRET}. ").repeat(54 * 1024 / (SECRET.len() + 2));
    let message = format!("content is not acceptable: {SECRET}");
    world.fini.faults().add(FaultRule::at(Endpoint::Ask, Effect::Nothing, Then::Refuse { message }).times(1));
    world.deliver("bridge", senders::bridge_message("c-long", "long", &long)).await;
    let failed = world.until(1, MessageState::Failed).await;
    assert!(failed[0].detail.as_ref().is_some_and(|detail| detail.contains(SECRET)), "{:?}", failed[0].detail);
    for number in 0..40 {
        let text = format!("{number} {}", format!("{SECRET} ").repeat(number * 3));
        world
            .deliver("bridge", senders::bridge_message(&format!("c-{}", number % 7), &format!("k{number}"), &text))
            .await;
    }
    world.deliver("telegram", senders::telegram_message(5, 1, SECRET)).await;
    world.until(41, MessageState::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_and_an_error_that_quotes_it_leave_no_trace() {
    let mut world = World::start(&format!("{LONG}{CHANNELS}")).await;
    use_it(&world).await;
    assert!(!files_with(world.folder.path(), SECRET).is_empty());
    world.kill();
    world.configure(&format!("[store]\nkeep = \"1s\"\n{CHANNELS}"));
    world.serve().await;
    // While the gateway runs: the last process to close the file would empty the log, too.
    eventually("no trace", A_MINUTE, async || files_with(world.folder.path(), SECRET).is_empty().then_some(())).await;
    let stories = world.stories(&[]).await;
    assert_eq!(stories.len(), 42);
    assert!(stories.iter().all(|story| story.text.is_none() && story.detail.is_none()));
    let listed = String::from_utf8(world.command(&["messages", "list", "--state", "failed"]).stdout).unwrap();
    assert!(listed.contains("failed: fini_400, its text is removed (store.keep)"), "{listed}");
    // In use all the while, too.
    world.deliver("telegram", senders::telegram_message(5, 2, &format!("{SECRET} again"))).await;
    world.until(42, MessageState::Done).await;
    eventually("no trace", A_MINUTE, async || files_with(world.folder.path(), SECRET).is_empty().then_some(())).await;
    let metrics = world.admin("/metrics").await;
    assert!(metrics.contains("fini_bridge_retention_total{step=\"pruned\"} 43"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_and_an_error_that_quotes_it_are_in_no_live_row() {
    let name = server().database().await;
    let mut world = World::start_on(Some(server().url(&name)), &format!("{LONG}{CHANNELS}")).await;
    let client = server().connect(&name).await;
    let dump = async || {
        let mut all = Vec::new();
        for table in ["meta", "lanes", "due_lanes", "messages", "turns", "conversations", "parts"] {
            for row in client.query(&format!("SELECT t::text FROM fini_bridge.{table} AS t"), &[]).await.unwrap() {
                all.extend(row.get::<_, String>(0).into_bytes());
            }
        }
        all
    };
    use_it(&world).await;
    assert!(is_in(&dump().await, SECRET));
    world.kill();
    world.configure(&format!("[store]\nkeep = \"1s\"\n{CHANNELS}"));
    world.serve().await;
    eventually("no trace", A_MINUTE, async || (!is_in(&dump().await, SECRET)).then_some(())).await;
}

/// Nobody gets an apology for what was written days before.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_when_a_channel_is_switched_on_again_ends_without_words() {
    let replies = "[replies]\ngive_up_after = \"3s\"\nfailure_text = \"Sorry, something went wrong.\"\n";
    let off = CHANNELS.replace("platform = ", "enabled = false\nplatform = ");
    let mut world = World::start(&format!("{replies}{off}")).await;
    world.deliver("telegram", senders::telegram_message(5, 1, "long ago")).await;
    world.deliver("bridge", senders::bridge_message("c", "old", "long ago")).await;
    let all = async |text: &str| -> Vec<_> {
        world.stories(&[]).await.into_iter().filter(|story| story.text.as_deref() == Some(text)).collect()
    };
    tokio::time::sleep(Duration::from_millis(3500)).await; // longer than give_up_after
    assert_eq!(all("long ago").await.len(), 2);
    world.kill();
    world.configure(&format!("{replies}{CHANNELS}"));
    world.serve().await;
    world.deliver("telegram", senders::telegram_message(5, 2, "now")).await;
    world.deliver("bridge", senders::bridge_message("c", "new", "now")).await;
    world.until(2, MessageState::Done).await;
    let failed = world.until(2, MessageState::Failed).await;
    assert!(failed.iter().all(|story| story.reason.as_deref() == Some("expired")), "{failed:?}");
    let listed = String::from_utf8(world.command(&["messages", "list", "--state", "failed"]).stdout).unwrap();
    assert_eq!(listed.matches("failed: expired (Nobody could work on it in time").count(), 2, "{listed}");
    assert_eq!(world.outside.texts("sendMessage").len(), 1, "only the answer");
    let told = world.outside.sent();
    assert!(!told.iter().any(|call| call.body.to_string().contains("old")), "{told:?}");
    assert_eq!(world.fini.ledger().stored("long ago"), 0);
}
