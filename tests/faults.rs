//! What Fini and the platforms can do wrong, and that no message is lost or doubled by it. Calls to Fini whose
//! outcome is not known have a place of their own: `ambiguous.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod support;

use std::time::Duration;

use fini_bridge::app::sandbox::fini::{Change, Effect, Endpoint, FaultRule, Then};
use fini_bridge::store::MessageState;
use serde_json::json;
use support::outside::Refusal;
use support::senders::{self, CHANNELS};
use support::{SOON, World, eventually};

/// Short times, so that what has to be waited for is waited for in a test.
fn patient(more: &str) -> String {
    format!("[fini]\ntimeout = \"2s\"\nsettle = \"4s\"\n{more}\n{CHANNELS}")
}

async fn with_fault(rule: FaultRule) -> World {
    let world = World::start(&patient("")).await;
    world.fini.faults().add(rule);
    world
}

async fn ask(world: &World, number: u32, text: &str) {
    world.deliver("telegram", senders::telegram_message(5, number, text)).await;
}

fn assert_once(world: &World, text: &str) {
    assert_eq!(world.fini.ledger().stored(text), 1, "stored once in Fini: {text}");
    let answers = world.outside.texts("sendMessage");
    assert_eq!(answers.iter().filter(|answer| answer.contains(text)).count(), 1, "answered once: {answers:?}");
    assert_eq!(world.outside.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_400_is_final_the_user_is_told_and_the_lane_goes_on() {
    let world = World::start(&patient("[replies]\nfailure_text = \"Sorry, something went wrong.\"")).await;
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 400).times(1));
    ask(&world, 1, "poisoned").await;
    // Not before it has failed: what comes while it waits would join its question.
    let failed = world.until(1, MessageState::Failed).await;
    assert_eq!(failed[0].reason.as_deref(), Some("fini_400"));
    ask(&world, 2, "fine").await;
    world.until(1, MessageState::Done).await;
    let answers = world.outside.texts("sendMessage");
    assert_eq!(answers[0], "Sorry, something went wrong.");
    assert!(answers[1].contains("fine"));
    world.deliver("bridge", senders::bridge_message("c", "ok", "hello")).await;
    world.until(2, MessageState::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_holds_its_queue_and_goes_on_when_the_key_works_again() {
    for status in [401, 403] {
        let world = with_fault(FaultRule::status(Endpoint::Ask, status)).await;
        ask(&world, 1, "held back").await;
        world.deliver("slack", senders::slack_message("D1", 1, "also held back")).await;
        eventually("the key is tried", SOON, async || (world.fini.ledger().ask_calls >= 1).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(world.fini.ledger().ask_calls <= 2, "a broken key is tried slowly");
        assert_eq!(world.stories(&[MessageState::Failed, MessageState::Held]).await.len(), 0);
        assert!(world.admin("/metrics").await.contains("fini_bridge_credential_broken{channel=\"fini/0\"} 1"));
        world.fini.faults().clear();
        world.until(2, MessageState::Done).await;
        assert_once(&world, "held back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_pauses_the_key_for_as_long_as_it_says_or_by_our_own_measure() {
    for retry_after in [Some(2), None] {
        let then = Then::Status { status: 429, retry_after };
        let world = with_fault(FaultRule::at(Endpoint::Ask, Effect::Nothing, then).times(1)).await;
        ask(&world, 1, "not so fast").await;
        world.until(1, MessageState::Done).await;
        let ledger = world.fini.ledger();
        let times: Vec<i64> = ledger.asks().map(|ask| ask.at).collect();
        assert_eq!(times.len(), 2);
        let pause = times[1] - times[0];
        assert!(pause >= retry_after.map_or(900, |_| 1990), "{pause} ms");
        assert_once(&world, "not so fast");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_500_before_anything_happened_is_asked_again_on_the_first_and_on_a_later_turn() {
    let world = World::start(&patient("")).await;
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 500).containing("turn").times(1));
    ask(&world, 1, "first turn").await;
    world.until(1, MessageState::Done).await;
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 500).containing("turn").times(1));
    ask(&world, 2, "later turn").await;
    world.until(2, MessageState::Done).await;
    assert_once(&world, "first turn");
    assert_once(&world, "later turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_conversation_is_replaced() {
    let world = World::start(&patient("")).await;
    ask(&world, 1, "one").await;
    world.until(1, MessageState::Done).await;
    ask(&world, 2, "two").await;
    world.until(2, MessageState::Done).await;
    let first = world.fini.ledger().asks().next().unwrap().conversation.clone().unwrap();
    world.fini.vanish(&first);
    ask(&world, 3, "three").await;
    world.until(3, MessageState::Done).await;
    let ledger = world.fini.ledger();
    let last = ledger.asks().last().unwrap();
    assert_eq!(last.content.as_deref(), Some("three"));
    assert!(last.conversation.is_some() && last.conversation.as_deref() != Some(first.as_str()));
    assert_once(&world, "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_fini_is_away_messages_wait_and_are_answered_when_it_is_back() {
    let world = World::start(&patient("")).await;
    world.fini.stop().await;
    ask(&world, 1, "anybody there?").await;
    eventually("it was tried", SOON, async || world.log().contains("no answer from Fini").then_some(())).await;
    let ready = world.http.get(format!("http://{}/readyz", world.process().address)).send().await.unwrap();
    assert_eq!(ready.status(), 200, "readiness never depends on Fini");
    world.fini.resume().unwrap();
    world.until(1, MessageState::Done).await;
    assert_once(&world, "anybody there?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_list_costs_conversations_but_no_message() {
    let world = with_fault(FaultRule::status(Endpoint::List, 403)).await;
    for number in 1..=3 {
        ask(&world, number, &format!("question no. {number}")).await;
        world.until(usize::try_from(number).unwrap(), MessageState::Done).await;
    }
    for number in 1..=3 {
        assert_once(&world, &format!("question no. {number}"));
    }
    assert!(world.admin("/metrics").await.contains("result=\"abandoned\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_calls_at_once_than_max_in_flight_and_other_chats_get_their_turn() {
    let world = World::start(&patient("max_in_flight = 4")).await;
    world.fini.change(Change { answer_delay_ms: Some(200), ..Change::default() });
    for chat in 1..=20 {
        world.deliver("telegram", senders::telegram_message(chat, 1, "hello")).await;
    }
    world.until(20, MessageState::Done).await;
    let ledger = world.fini.ledger();
    assert_eq!(ledger.ask_calls, 20);
    let most = ledger
        .asks()
        .map(|one| ledger.asks().filter(|other| other.at <= one.at && other.ended_at.unwrap() > one.at).count())
        .max();
    assert!(most.unwrap() <= 4, "{most:?} at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_fails_for_a_while_gets_only_the_parts_that_it_has_not_taken() {
    let long = (0..9).map(|n| format!("paragraph {n} {}\n\n", "word ".repeat(250))).collect::<String>();
    let world = World::start(&patient("")).await;
    world.fini.reply_with(move |_| vec![fini_bridge::app::sandbox::fini::EventSpec::message(&long)]);
    ask(&world, 1, "long").await;
    eventually("the first part is out", SOON, async || (!world.outside.sent().is_empty()).then_some(())).await;
    world.outside.refuse(Refusal {
        path: "sendMessage".to_owned(),
        times: 2,
        status: 429,
        headers: vec![("retry-after", "1")],
        body: json!({"ok":false,"error_code":429,"description":"Too Many Requests: retry after 1","parameters":{"retry_after":1}}),
        delivered: false,
    });
    world.until(1, MessageState::Done).await;
    let whole = world.outside.texts("sendMessage").concat();
    for n in 0..9 {
        assert_eq!(whole.matches(&format!("paragraph {n} ")).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_a_platform_refuses_for_good_fails_with_its_reason_and_the_chat_goes_on() {
    let world = World::start(&patient("")).await;
    world.outside.refuse(Refusal {
        path: "chat.postMessage".to_owned(),
        times: 1,
        status: 200,
        headers: vec![],
        body: json!({"ok": false, "error": "channel_not_found"}),
        delivered: false,
    });
    world.deliver("slack", senders::slack_message("D1", 1, "one")).await;
    let failed = world.until(1, MessageState::Failed).await;
    assert!(failed[0].reason.as_deref().unwrap().contains("channel_not_found"), "{failed:?}");
    world.deliver("slack", senders::slack_message("D1", 2, "two")).await;
    world.until(1, MessageState::Done).await;
}

/// Telegram's word for a group that became a supergroup.
fn moved_to(chat: i64, times: usize) -> Refusal {
    Refusal {
        path: "sendMessage".to_owned(),
        times,
        status: 400,
        headers: vec![],
        body: json!({"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat",
            "parameters":{"migrate_to_chat_id":chat}}),
        delivered: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_moved_gets_its_answer_where_it_lives_now_and_nobody_is_in_doubt_about_it() {
    let hold = "[channels.telegram.replies]\non_unknown = \"hold\"\n";
    let world = World::start(&format!("{CHANNELS}{hold}")).await;
    world.outside.refuse(moved_to(-1_001_987_654_321, 1));
    ask(&world, 1, "hello").await;
    world.until(1, MessageState::Done).await;
    let sent = world.outside.sent();
    assert_eq!((sent.len(), &sent[0].body["chat_id"]), (1, &json!(-1_001_987_654_321_i64)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_sends_a_part_round_in_circles_ends_it() {
    let world = World::start(CHANNELS).await;
    world.outside.refuse(moved_to(-100, usize::MAX));
    ask(&world, 1, "to where it was sent already").await;
    let failed = world.until(1, MessageState::Failed).await;
    assert_eq!((failed[0].reason.as_deref(), failed[0].parts[0].attempts), (Some("moved_again"), 2));
    world.outside.stop_refusing();
    (-104..-100).for_each(|chat| world.outside.refuse(moved_to(chat, 1)));
    ask(&world, 2, "ever further").await;
    let failed = world.until(2, MessageState::Failed).await;
    assert!(failed.iter().all(|story| story.reason.as_deref() == Some("moved_again")), "{failed:?}");
    ask(&world, 3, "and on").await;
    world.until(1, MessageState::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_platform_token_holds_the_channels_deliveries_and_no_others() {
    let world = World::start(&patient("")).await;
    world.outside.refuse(Refusal {
        path: "chat.postMessage".to_owned(),
        times: 1,
        status: 200,
        headers: vec![],
        body: json!({"ok": false, "error": "invalid_auth"}),
        delivered: false,
    });
    world.deliver("slack", senders::slack_message("D1", 1, "one")).await;
    eventually("the token is refused", SOON, async || {
        world.admin("/metrics").await.contains("fini_bridge_credential_broken{channel=\"slack\"} 1").then_some(())
    })
    .await;
    ask(&world, 1, "another channel").await;
    world.until(1, MessageState::Done).await;
    // The probe finds that the token works again.
    world.until(2, MessageState::Done).await;
    assert_eq!(world.outside.texts("\"D1\"").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_poisoned_chat_does_not_hold_up_the_others() {
    let world = World::start(&patient("")).await;
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 500).containing("poison"));
    ask(&world, 1, "poison").await;
    for chat in 100..130 {
        world.deliver("telegram", senders::telegram_message(chat, 1, "hello")).await;
    }
    world.until(30, MessageState::Done).await;
}
