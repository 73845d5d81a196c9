//! Kills the process at any moment, and ends it politely: nothing that was acknowledged is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod support;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use fini_bridge::app::sandbox::fini::{Change, Effect, Endpoint, FaultRule, Then};
use fini_bridge::store::{JournalStep, MessageState};
use support::senders::{self, CHANNELS};
use support::{SOON, World, eventually};

const QUEUE: &str = "[conversations]\nburst = \"queue\"\n[fini]\ntimeout = \"5s\"\nsettle = \"5s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn killed_five_times_during_200_messages_in_20_chats_all_are_answered_once() {
    let mut world = World::start(&format!("{QUEUE}{CHANNELS}")).await;
    world.fini.change(Change { answer_delay_ms: Some(30), ..Change::default() });
    let mut acknowledged = Vec::new();
    for number in 0..200_u32 {
        let (chat, of_chat) = (number % 20, number / 20);
        let text = format!("message {of_chat} of chat {chat}.");
        let signed = senders::bridge_message(&format!("chat-{chat}"), &format!("id-{chat}-{of_chat}"), &text);
        // The sender tries again until it is acknowledged, as platforms do.
        loop {
            match world.request("bridge", signed.clone()).send().await {
                Ok(answer) if answer.status() == 200 => break,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        acknowledged.push(text);
        if number % 40 == 25 {
            // Somewhere in the middle of everything.
            tokio::time::sleep(Duration::from_millis(u64::from(number) % 50)).await;
            world.kill();
            world.serve().await;
        }
    }
    world.until(200, MessageState::Done).await;

    let ledger = world.fini.ledger();
    for text in &acknowledged {
        assert_eq!(ledger.stored(text), 1, "stored once in Fini: {text}");
    }
    let mut conversations: HashMap<String, String> = HashMap::new();
    let mut order: HashMap<String, Vec<u32>> = HashMap::new();
    for ask in ledger.asks().filter(|ask| !ask.stored.is_empty()) {
        let text = ask.content.clone().unwrap();
        let chat = text.split("of ").nth(1).unwrap().to_owned();
        let number: u32 = text.split(' ').nth(1).unwrap().parse().unwrap();
        let conversation = ask.conversation.clone().unwrap();
        assert_eq!(
            conversations.entry(chat.clone()).or_insert(conversation.clone()),
            &conversation,
            "{chat} was split"
        );
        order.entry(chat).or_default().push(number);
    }
    for (chat, numbers) in &order {
        assert!(numbers.is_sorted(), "{chat} out of order: {numbers:?}");
    }
    // The same part may arrive twice after a kill between send and receipt: its id says so.
    let mut parts: HashMap<String, usize> = HashMap::new();
    let mut answered: HashMap<String, String> = HashMap::new();
    for call in world.outside.sent() {
        let id = call.body["id"].as_str().unwrap().to_owned();
        *parts.entry(id.clone()).or_default() += 1;
        let question = call.body["in_reply_to"][0].as_str().unwrap().to_owned();
        assert_eq!(answered.entry(question).or_insert(id.clone()), &id, "one answer to each question");
    }
    assert_eq!(answered.len(), 200);
    let doubled = parts.values().filter(|times| **times > 1).count();
    eprintln!("{doubled} parts arrived twice, under the same id");
    assert!(doubled <= 5 * 20);
    assert_eq!(world.outside.violations(), Vec::<String>::new());
    journals_agree_with_what_was_done(&world).await;
}

/// A step and its line in the journal are one commit: whenever the process was killed, neither is there alone.
async fn journals_agree_with_what_was_done(world: &World) {
    let store = world.store().await;
    let mut replicas = HashSet::new();
    for story in world.stories(&[MessageState::Done]).await {
        let timeline = store.timeline(story.id).await.unwrap();
        let at = |step: JournalStep| timeline.iter().filter(move |entry| entry.step == step);
        let turn = story.turn.unwrap();
        assert_eq!(at(JournalStep::Received).map(|entry| entry.at).collect::<Vec<_>>(), [story.received_at]);
        assert_eq!(at(JournalStep::Asked).count(), usize::try_from(turn.asked).unwrap(), "{timeline:?}");
        assert_eq!(at(JournalStep::Asked).next_back().map(|entry| entry.at), turn.asked_at);
        assert_eq!(at(JournalStep::Answered).map(|entry| entry.at).collect::<Vec<_>>(), [turn.ended_at.unwrap()]);
        let sent: Vec<_> = at(JournalStep::PartSent).map(|entry| entry.at).collect();
        assert_eq!(sent, story.parts.iter().filter_map(|part| part.sent_at).collect::<Vec<_>>());
        let again: usize = story.parts.iter().map(|part| usize::try_from(part.attempts).unwrap() - 1).sum();
        assert_eq!(at(JournalStep::PartRetried).count(), again, "{timeline:?}");
        replicas.extend(timeline.into_iter().map(|entry| entry.replica));
    }
    assert!(replicas.len() > 1 && replicas.iter().all(|replica| replica.len() == 36), "{replicas:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_turns_in_flight_end_and_exits_with_0() {
    let mut world = World::start(CHANNELS).await;
    world.fini.change(Change { answer_delay_ms: Some(1500), ..Change::default() });
    world.deliver("telegram", senders::telegram_message(1, 1, "in flight")).await;
    eventually("it is asked", SOON, async || (world.fini.ledger().ask_calls == 1).then_some(())).await;
    let status = world.terminate(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(world.fini.ledger().calls.iter().filter(|call| call.ended.as_deref() == Some("caller left")).count(), 0);
    world.serve().await;
    world.until(1, MessageState::Done).await;
    assert_eq!(world.fini.ledger().stored("in flight"), 1);
    assert_eq!(world.outside.texts("sendMessage").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_during_the_drain_is_posted_before_the_end() {
    let mut world = World::start(CHANNELS).await;
    for (chat, delay) in [(1, 2000), (2, 5000)] {
        world.fini.change(Change { answer_delay_ms: Some(delay), ..Change::default() });
        world.deliver("telegram", senders::telegram_message(chat, 1, "in flight")).await;
        let asked = async || (world.fini.ledger().ask_calls == chat.unsigned_abs()).then_some(());
        eventually("it is asked", SOON, asked).await;
    }
    let status = world.terminate(Duration::from_secs(15)).await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(world.outside.texts("sendMessage").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_outlasts_the_drain_is_taken_up_again_and_the_exit_is_still_0() {
    let mut world = World::start(&format!("[server]\ndrain_timeout = \"1s\"\n{CHANNELS}")).await;
    world.fini.change(Change { answer_delay_ms: Some(4000), ..Change::default() });
    world.deliver("telegram", senders::telegram_message(1, 1, "slow one")).await;
    eventually("it is asked", SOON, async || (world.fini.ledger().ask_calls == 1).then_some(())).await;
    let status = world.terminate(Duration::from_secs(8)).await;
    assert_eq!(status.code(), Some(0));
    world.serve().await;
    world.until(1, MessageState::Done).await;
    assert_eq!(world.fini.ledger().stored("slow one"), 1);
    assert_eq!(world.outside.texts("sendMessage").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_draining_it_is_not_ready_and_still_accepts() {
    let mut world = World::start(CHANNELS).await;
    let text =
        std::fs::read_to_string(world.config_path()).unwrap().replace("lame_duck = \"0s\"", "lame_duck = \"2s\"");
    world.kill();
    std::fs::write(world.config_path(), text).unwrap();
    world.serve().await;
    let ready = || world.http.get(format!("http://{}/readyz", world.process().address)).send();
    assert_eq!(ready().await.unwrap().status(), 200);
    world.signal("-TERM");
    eventually("it is not ready", Duration::from_millis(1500), async || {
        (ready().await.unwrap().status() == 503).then_some(())
    })
    .await;
    world.deliver("telegram", senders::telegram_message(1, 1, "at the last moment")).await;
    assert_eq!(world.exited(SOON).await.code(), Some(0));
    world.serve().await;
    world.until(1, MessageState::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_the_drain_has_ended_it_says_that_it_is_not_ready_and_keeps_what_comes() {
    let mut world = World::start(CHANNELS).await;
    world.fini.faults().add(FaultRule::at(Endpoint::Ask, Effect::Answered, Then::Hold).times(1));
    world.deliver("telegram", senders::telegram_message(1, 1, "under way")).await;
    eventually("it is asked", SOON, async || (world.fini.ledger().ask_calls == 1).then_some(())).await;
    world.signal("-TERM");
    let ready = || world.http.get(format!("http://{}/readyz", world.process().address)).send();
    eventually("it is not ready", SOON, async || (ready().await.unwrap().status() == 503).then_some(())).await;
    world.deliver("telegram", senders::telegram_message(2, 1, "at the last moment")).await;
    assert_eq!(world.fini.ledger().ask_calls, 1, "no turn is begun");
    world.fini.faults().clear();
    assert_eq!(world.exited(SOON).await.code(), Some(0));
    world.serve().await;
    world.until(2, MessageState::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_file_is_refused() {
    let world = World::start(CHANNELS).await;
    let second = world.command(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("another"), "{error}");
}
