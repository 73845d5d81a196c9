//! How fast a gateway speaks to a platform, as the platform sees it. What comes late says nothing about who sent it when:
//! each test only looks that nothing came earlier than the configured rate allows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

#[path = "support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;
mod support;

use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::Change;
use fini_bridge::store::MessageState;
use serde_json::json;
use support::fleet::{Fleet, Stores};
use support::outside::{Call, Refusal};
use support::senders::{self, CHANNELS};
use support::{SOON, World, eventually};

/// The usual channels, Telegram with these keys.
fn telegram(keys: &str) -> String {
    CHANNELS.replace("platform = \"telegram\"\n", &format!("platform = \"telegram\"\n{keys}\n"))
}

/// All calls for messages and typing signs, in order of arrival.
fn calls(world: &World) -> Vec<Call> {
    let sent = world.outside.sent().into_iter().chain(world.outside.other());
    let mut calls: Vec<Call> = sent.filter(|call| call.path.contains("/send")).collect();
    calls.sort_by_key(|call| call.at);
    calls
}

/// At most `count` in the first `per` since `begun`, twice as many in twice the time, and so on.
fn assert_paced(calls: &[Call], begun: Instant, count: usize, per: Duration) {
    for (number, call) in calls.iter().enumerate() {
        let earliest = per * u32::try_from(number / count).unwrap();
        let at = call.at.duration_since(begun);
        assert!(at >= earliest, "call {number} came after {at:?}, before {earliest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_keeps_its_pace_with_its_typing_signs() {
    let world = World::start(&telegram("pace = \"10/1s\"\npace_per_chat = \"none\"")).await;
    world.fini.change(Change { answer_delay_ms: Some(1500), ..Change::default() });
    let begun = Instant::now();
    for chat in 1..=40 {
        world.deliver("telegram", senders::telegram_message(chat, 1, "hello")).await;
    }
    world.until(40, MessageState::Done).await;
    let calls = calls(&world);
    let signs = calls.iter().filter(|call| call.path.ends_with("sendChatAction")).count();
    assert!(signs > 0 && calls.len() == 40 + signs, "{} calls, {signs} of them signs", calls.len());
    assert_paced(&calls, begun, 10, Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_keeps_its_pace_and_the_others_do_not_wait_for_it() {
    let queue = "[conversations]\nburst = \"queue\"";
    let world = World::start(&format!("{queue}\n{}", telegram("pace_per_chat = \"1/2s\""))).await;
    let begun = Instant::now();
    for number in 1..=4 {
        world.deliver("telegram", senders::telegram_message(5, number, "busy")).await;
    }
    for chat in 100..120 {
        world.deliver("telegram", senders::telegram_message(chat, 1, "quiet")).await;
    }
    world.until(24, MessageState::Done).await;
    let calls = calls(&world);
    let (busy, quiet): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(|call| call.body["chat_id"] == 5);
    assert_eq!((busy.len(), quiet.len()), (4, 20), "a chat that may have one message at a time has no typing signs");
    assert_paced(&busy, begun, 1, Duration::from_secs(2));
    assert!(quiet.last().unwrap().at < busy[3].at);
}

/// Needs the number of live replicas from the store.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_keep_a_channels_pace_together() {
    let url = database::server().url(&database::server().database().await);
    let keys = "pace = \"10/1s\"\npace_per_chat = \"none\"";
    let fleet = Fleet::start(2, Stores::Shared(url), &telegram(keys)).await;
    let begun = Instant::now();
    for chat in 1..=60 {
        let signed = senders::telegram_message(chat, 1, "hello");
        let address = fleet.addresses()[usize::try_from(chat).unwrap() % 2];
        let mut request = fleet.world.http.post(format!("http://{address}/webhooks/telegram")).body(signed.body);
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    fleet.world.until(60, MessageState::Done).await;
    assert_paced(&calls(&fleet.world), begun, 10, Duration::from_secs(1));
}

/// A 429 for the next part there.
fn throttled(path: &str, seconds: &'static str) -> Refusal {
    Refusal {
        path: path.to_owned(),
        times: 1,
        status: 429,
        headers: vec![("retry-after", seconds)],
        body: json!({ "ok": false, "error_code": 429, "description": "Too Many Requests" }),
        delivered: false,
    }
}

async fn one_is_deferred(world: &World, channel: &str) {
    let line = format!("fini_bridge_deliveries_total{{channel=\"{channel}\",result=\"deferred\"}} 1");
    eventually("a part is deferred", SOON, async || world.admin("/metrics").await.contains(&line).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_of_a_custom_channel_pauses_all_its_chats_for_its_time() {
    let world = World::start(CHANNELS).await;
    world.outside.refuse(throttled("/callback", "4"));
    let begun = Instant::now();
    world.deliver("bridge", senders::bridge_message("first", "1", "hello")).await;
    one_is_deferred(&world, "bridge").await;
    for chat in 0..10 {
        world.deliver("bridge", senders::bridge_message(&format!("chat-{chat}"), &format!("m{chat}"), "hello")).await;
    }
    world.until(11, MessageState::Done).await;
    for call in world.outside.sent() {
        let at = call.at.duration_since(begun);
        assert!(at >= Duration::from_secs(4), "{} came after {at:?}", call.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_of_one_telegram_chat_holds_up_no_other() {
    let world = World::start(CHANNELS).await;
    world.outside.refuse(throttled("sendMessage", "3600"));
    world.deliver("telegram", senders::telegram_message(1, 1, "hello")).await;
    one_is_deferred(&world, "telegram").await;
    for chat in 2..=5 {
        world.deliver("telegram", senders::telegram_message(chat, 1, "hello")).await;
    }
    world.until(4, MessageState::Done).await;
}

/// Telegram's own pace, with 300 turns in flight and their typing signs. For 4 s everything is throttled.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_keep_telegrams_pace_and_a_429_of_the_account_stops_both() {
    let url = database::server().url(&database::server().database().await);
    let fleet = Fleet::start(2, Stores::Shared(url), CHANNELS).await;
    let world = &fleet.world;
    world.fini.change(Change { answer_delay_ms: Some(3000), ..Change::default() });
    let begun = Instant::now();
    for chat in 1..=300 {
        let signed = senders::telegram_message(chat, 1, "hello");
        let address = fleet.addresses()[usize::try_from(chat).unwrap() % 2];
        let mut request = world.http.post(format!("http://{address}/webhooks/telegram")).body(signed.body);
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    eventually("some are answered", SOON * 3, async || (world.outside.texts("").len() > 40).then_some(())).await;
    let known = calls(world).len();
    let refused = Refusal { times: usize::MAX, delivered: true, ..throttled("/send", "4") };
    world.outside.refuse(refused);
    let is_told = || calls(world).len() > known;
    eventually("a call is throttled", SOON, async || is_told().then_some(())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let throttled = calls(world).len() - known;
    world.outside.stop_refusing();
    world.until(300, MessageState::Done).await;
    let calls = calls(world);
    let signs = calls.iter().filter(|call| call.path.ends_with("sendChatAction")).count();
    println!("{} calls, {signs} of them signs; {throttled} while the account was throttled", calls.len());
    assert_paced(&calls, begun, 30, Duration::from_secs(1));
    // The pace allows 90. Those that were under way, one of each replica that finds out whom Telegram means.
    assert!(throttled <= 15, "{throttled} calls while the account was throttled");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_replicas_an_export_and_a_restart_keep_a_keys_rate_together() {
    let url = database::server().url(&database::server().database().await);
    let rate = "[fini]\nrate = \"40/10s\"\n";
    let mut fleet = Fleet::start(4, Stores::Shared(url), &format!("{rate}{CHANNELS}")).await;
    let begun = jiff::Timestamp::now().as_millisecond();
    for number in 0..60 {
        let signed = senders::bridge_message(&format!("chat-{number}"), &format!("m{number}"), "hello");
        let address = fleet.addresses()[number % 4];
        let mut request = fleet.world.http.post(format!("http://{address}/webhooks/bridge")).body(signed.body);
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    let export = {
        let (config, folder) = (fleet.world.config_path(), fleet.world.folder.path().to_owned());
        std::thread::spawn(move || support::run(&["export", "--config", config.to_str().unwrap()], &folder))
    };
    let asked = fleet.world.fini.ledger().ask_calls;
    fleet.kill(1);
    fleet.serve(1).await;
    fleet.world.until(60, MessageState::Done).await;
    let exported = export.join().unwrap();
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    assert!(asked < 60, "the rate is not met before the crash");
    let ledger = fleet.world.fini.ledger();
    assert!(ledger.list_calls > 0 && ledger.calls.len() > 60, "{} calls", ledger.calls.len());
    for (number, call) in ledger.calls.iter().enumerate() {
        // 5 % below 40.
        let earliest = 10_000 * i64::try_from(number / 38).unwrap();
        assert!(call.at - begun >= earliest, "call {number} came after {} ms, before {earliest}", call.at - begun);
    }
}
