//! What went wrong in other bridges, and must not here. Each test names its case; those that have a better
//! place among the promises of a room stand there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::{Change, Endpoint, FaultRule};
use fini_bridge::store::MessageState;
use serde_json::{Value, json};
use support::outside::Refusal;
use support::senders::{self, CHANNELS};
use support::{SOON, World, eventually};

fn patient(more: &str) -> String {
    format!("[fini]\ntimeout = \"2s\"\nsettle = \"4s\"\n{more}\n{CHANNELS}")
}

async fn ask(world: &World, number: u32, text: &str) {
    world.deliver("telegram", senders::telegram_message(5, number, text)).await;
}

fn refusal(status: u16, times: usize, body: Value) -> Refusal {
    Refusal { path: "sendMessage".to_owned(), times, status, headers: vec![], body, delivered: false }
}

/// vercel/chat#685: a lock that expired under a slow model, and two answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_longer_than_a_lease_is_given_once() {
    let world = World::start(CHANNELS).await;
    world.fini.change(Change { answer_delay_ms: Some(12_000), ..Change::default() });
    ask(&world, 1, "slow").await;
    world.until(1, MessageState::Done).await;
    assert_eq!(world.fini.ledger().ask_calls, 1);
    assert_eq!(world.outside.sent().len(), 1);
}

/// openclaw#122465: an event that always failed blocked its chat for a day.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_fini_fails_on_every_time_is_buried_and_its_chat_goes_on() {
    let world = World::start(&patient("")).await;
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 500).containing("poison"));
    ask(&world, 1, "poison").await;
    eventually("it is asked", SOON, async || (world.fini.ledger().ask_calls > 0).then_some(())).await;
    ask(&world, 2, "fine").await;
    let mut others = 0;
    let failed = eventually("it is buried", Duration::from_secs(90), async || {
        others += 1;
        world.deliver("telegram", senders::telegram_message(1000 + others, 1, "hello")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.stories(&[MessageState::Failed]).await.pop()
    })
    .await;
    assert_eq!(failed.reason.as_deref(), Some("fini_keeps_failing"));
    assert_eq!(failed.turn.unwrap().asked, 5);
    eventually("the chat goes on", SOON, async || {
        world.outside.texts("sendMessage").iter().any(|text| text.contains("fine")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_fini_fails_on_everything_nothing_is_buried_and_calls_become_rare() {
    let world = World::start(&patient("")).await;
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 500));
    ask(&world, 1, "one").await;
    world.deliver("slack", senders::slack_message("D1", 1, "two")).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(world.stories(&[MessageState::Failed, MessageState::Held]).await.len(), 0);
    let calls = world.fini.ledger().ask_calls;
    assert!((6..=14).contains(&calls), "{calls} calls for two messages in 40 s");
    world.fini.faults().clear();
    world.until(2, MessageState::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fini_fails_on_is_given_up_after_the_time_for_it() {
    let world = World::start(&patient("[replies]\ngive_up_after = \"6s\"")).await;
    world.fini.faults().add(FaultRule::status(Endpoint::Ask, 500));
    ask(&world, 1, "one").await;
    let failed = world.until(1, MessageState::Failed).await;
    assert_eq!(failed[0].reason.as_deref(), Some("gave_up"));
}

/// openclaw#29106: old replies sent again after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_nothing_is_sent_again() {
    let mut world = World::start(&patient("")).await;
    for number in 1..=3 {
        ask(&world, number, "before").await;
        world.until(number as usize, MessageState::Done).await;
    }
    world.kill();
    world.serve().await;
    ask(&world, 4, "after").await;
    world.until(4, MessageState::Done).await;
    assert_eq!(world.outside.sent().len(), 4);
}

/// The same, for an answer that could not be posted in its time: the chat has moved on.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_became_too_old_is_not_posted_any_more() {
    let world = World::start(&patient("[replies]\nmax_age = \"2s\"")).await;
    world.outside.refuse(refusal(503, 1000, json!({})));
    ask(&world, 1, "stale").await;
    let failed = world.until(1, MessageState::Failed).await;
    assert_eq!(failed[0].reason.as_deref(), Some("too_old"));
    world.outside.stop_refusing();
    ask(&world, 2, "fresh").await;
    world.until(1, MessageState::Done).await;
    let texts = world.outside.texts("sendMessage");
    assert!(texts.len() == 1 && texts[0].contains("fresh"), "{texts:?}");
}

/// openclaw#119048: nine copies of a reply in 72 seconds, as each send ended without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_may_have_arrived_is_held_where_the_channel_says_so_and_sent_once() {
    let world = World::start(&patient("[replies]\non_unknown = \"hold\"")).await;
    world.outside.refuse(Refusal { delivered: true, ..refusal(200, 1, json!("<html>")) });
    ask(&world, 1, "once").await;
    let held = world.until(1, MessageState::Held).await;
    assert_eq!(held[0].reason.as_deref(), Some("send_unknown"));
    ask(&world, 2, "next").await;
    world.until(1, MessageState::Done).await;
    let texts = world.outside.texts("sendMessage");
    assert_eq!(texts.iter().filter(|text| text.contains("once")).count(), 1, "{texts:?}");
    let metrics = world.admin("/metrics").await;
    assert!(metrics.lines().any(|line| line.contains("unknown_send") && line.contains("held")), "{metrics}");
}

/// chatwoot#15920: one slow response lost a reply.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_whose_send_ended_without_an_answer_is_sent_again() {
    let world = World::start(&patient("")).await;
    world.outside.refuse(refusal(200, 1, json!("<html>")));
    ask(&world, 1, "not lost").await;
    world.until(1, MessageState::Done).await;
    assert_eq!(world.outside.texts("sendMessage").len(), 1);
}

/// lq-ai#415, nanobot#4047: a token sent to where somebody else pointed.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_of_a_platform_is_not_followed() {
    let world = World::start(&patient("")).await;
    let elsewhere = Box::leak(format!("{}/elsewhere", world.outside.url()).into_boxed_str());
    world.outside.refuse(Refusal { headers: vec![("location", elsewhere)], ..refusal(307, 1, json!({})) });
    ask(&world, 1, "redirected").await;
    world.until(1, MessageState::Failed).await;
    assert_eq!(world.outside.violations(), Vec::<String>::new(), "nobody called the other address");
}

const SIGNED_URL: &str = r#"
[channels.desk]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
[channels.desk.verify]
scheme = "hmac"
secret = "desk-secret-0123456789"
header = "x-signature"
signed = "{method} {url} {body}"
[channels.desk.inbound]
id = "body.id"
chat = "body.chat"
text = "body.text"
[channels.desk.reply]
url = "{outside}/shop/conversations/{{ chat }}/messages"
headers = { authorization = "Bearer shop-token" }
body = '{"text": {{ text|tojson }}}'
"#;

/// twilio-node#321: a signature over the URL fails behind a proxy that ends TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_is_the_one_that_the_platform_called() {
    let world = World::start(&format!("[server]\npublic_url = \"https://bridge.example.com\"\n{SIGNED_URL}")).await;
    // Whatever host the request itself names: one secret may serve two servers.
    for (signed_for, expected) in [("bridge.example.com", 200), ("other.example", 401)] {
        let body = json!({ "id": "m", "chat": "c", "text": "Grüße 📦" }).to_string();
        let signed = format!("POST https://{signed_for}/webhooks/desk?team=a%20b {body}");
        let signature = hex::encode(senders::hmac_sha256(b"desk-secret-0123456789", signed.as_bytes()));
        let answer = world
            .http
            .post(format!("{}?team=a%20b", world.url("desk")))
            .header("x-signature", signature)
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", signed_for)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), expected, "{signed_for}");
    }
    let without = World::prepare(SIGNED_URL).await;
    let refused = without.command(&["check"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("channels.desk.verify.signed") && said.contains("public_url"), "{said}");
}

/// vercel/chat#277, #928: what comes while a turn runs is neither dropped nor stranded, however it falls.
#[tokio::test(flavor = "multi_thread")]
async fn messages_at_every_moment_of_a_turn_are_all_answered() {
    let world = World::start(&patient("")).await;
    world.fini.change(Change { answer_delay_ms: Some(60), ..Change::default() });
    let begun = Instant::now();
    for number in 1..=40 {
        world.deliver("bridge", senders::bridge_message("c", &format!("m{number}"), &format!("text {number}."))).await;
        tokio::time::sleep(Duration::from_millis(number * 7 % 23)).await;
    }
    world.until(40, MessageState::Done).await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    let ledger = world.fini.ledger();
    for number in 1..=40 {
        let asked = ledger
            .asks()
            .filter(|ask| ask.content.as_ref().is_some_and(|it| it.contains(&format!("text {number}."))))
            .count();
        assert_eq!(asked, 1, "message {number}");
    }
}
