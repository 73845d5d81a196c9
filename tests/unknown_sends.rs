//! Sends whose outcome is not known, to platforms that say later what they have taken: their word counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod support;

use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::EventSpec;
use fini_bridge::store::MessageState;
use serde_json::{Value, json};
use support::outside::Refusal;
use support::senders::{self, CHANNELS};
use support::{SOON, World, eventually};

/// Delivered, and no answer that could be read.
fn lost(path: &str, times: usize) -> Refusal {
    Refusal { path: path.to_owned(), times, status: 200, headers: vec![], body: json!("<html>"), delivered: true }
}

/// What the platform got, once there are so many.
async fn delivered(world: &World, number: usize) -> Vec<Value> {
    eventually("it is delivered", SOON, async || {
        let sent = world.outside.sent();
        (sent.len() >= number).then(|| sent.into_iter().map(|call| call.body).collect())
    })
    .await
}

async fn counted(world: &World, what: &str) -> bool {
    world.admin("/metrics").await.contains(&format!("fini_bridge_unknown_sends_total{{{what}}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn slacks_echo_settles_a_send_whose_answer_got_lost_and_the_next_part_follows_at_once() {
    let world = World::start(CHANNELS).await;
    let long = format!("{}\n\n{}", "first ".repeat(600), "second ".repeat(500));
    world.fini.reply_with(move |_| vec![EventSpec::message(&long)]);
    world.outside.refuse(lost("chat.postMessage", 1));
    world.deliver("slack", senders::slack_message("D1", 1, "long")).await;
    let posted = delivered(&world, 1).await;
    let begun = Instant::now();
    world.deliver("slack", senders::slack_echo(&posted[0])).await;
    world.until(1, MessageState::Done).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let texts = world.outside.texts("D1");
    assert!(texts.len() == 2 && texts[0].contains("first") && texts[1].contains("second"), "{texts:?}");
    assert!(!counted(&world, "channel=\"slack\",result=\"resent\"").await);
    assert_eq!(world.outside.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn slacks_echo_settles_a_send_that_a_dead_process_had_begun() {
    let mut world = World::start(CHANNELS).await;
    world.outside.hang("chat.postMessage");
    world.deliver("slack", senders::slack_message("D1", 1, "hello")).await;
    let posted = delivered(&world, 1).await;
    world.kill();
    world.serve().await;
    // Long enough for the new process to send it again, if it didn't wait for the echo.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.outside.texts("D1").len(), 1, "it waits for Slack's word");
    world.deliver("slack", senders::slack_echo(&posted[0])).await;
    world.until(1, MessageState::Done).await;
    world.deliver("slack", senders::slack_message("D1", 2, "and now")).await;
    world.until(2, MessageState::Done).await;
    assert_eq!(world.outside.texts("D1").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_echo_on_unknown_decides_and_an_echo_that_comes_late_still_counts() {
    let hold = "[channels.slack.replies]\non_unknown = \"hold\"\n";
    let (resend, hold) =
        tokio::join!(World::start(CHANNELS), async { World::start(&format!("{CHANNELS}{hold}")).await });
    for world in [&resend, &hold] {
        world.outside.refuse(lost("chat.postMessage", 1));
        world.deliver("slack", senders::slack_message("D1", 1, "hello")).await;
    }
    let posted = delivered(&hold, 1).await;
    resend.until(1, MessageState::Done).await;
    assert_eq!(resend.outside.texts("D1").len(), 2);
    assert!(counted(&resend, "channel=\"slack\",result=\"resent\"").await);
    hold.until(1, MessageState::Held).await;
    hold.deliver("slack", senders::slack_echo(&posted[0])).await;
    hold.until(1, MessageState::Done).await;
    assert_eq!(hold.outside.texts("D1").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatsapps_status_settles_a_send_whose_answer_got_lost() {
    let world = World::start(CHANNELS).await;
    world.outside.refuse(lost("/messages", 1));
    world.deliver("whatsapp", senders::whatsapp_message("16505551234", 1, "hello")).await;
    let answers = |all: Vec<Value>| all.into_iter().filter(|body| body["type"] == "text").collect::<Vec<_>>();
    let sent = eventually("it is delivered", SOON, async || {
        Some(answers(world.outside.sent().into_iter().map(|call| call.body).collect())).filter(|all| !all.is_empty())
    })
    .await;
    world.deliver("whatsapp", senders::whatsapp_status(&sent[0], "sent")).await;
    world.until(1, MessageState::Done).await;
    assert!(!counted(&world, "channel=\"whatsapp\",result=\"resent\"").await);
    assert_eq!(answers(world.outside.sent().into_iter().map(|call| call.body).collect()).len(), 1);
}
