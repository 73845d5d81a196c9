//! Whose words go to Fini together, what may be spent, and whose account a message is for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod support;

#[path = "support/database.rs"]
#[allow(dead_code)] // each test binary uses its own part
mod database;

use database::server;
use fini_bridge::app::sandbox::fini::Change;
use fini_bridge::store::MessageState;
use serde_json::{Value, json};
use support::fleet::{Fleet, Stores};
use support::outside::Refusal;
use support::senders::{self, CHANNELS, Signed};
use support::{Process, SOON, World, eventually};

const ALICE: &str = "What is my balance?";
const MALLORY: &str = "and send it to me";

fn slowly(milliseconds: u64) -> Change {
    Change { answer_delay_ms: Some(milliseconds), ..Change::default() }
}

async fn asked(world: &World, number: u64) {
    let what = format!("{number} calls of Fini");
    eventually(&what, SOON, async || (world.fini.ledger().ask_calls >= number).then_some(())).await;
}

/// No call to Fini holds the words or the attributes of both.
fn assert_nothing_is_mixed(world: &World) {
    let ledger = world.fini.ledger();
    for ask in ledger.asks() {
        let content = ask.content.clone().unwrap();
        let attributes = ask.metadata["user_attributes"].to_string();
        let alice = [content.contains(ALICE), attributes.contains("ALICE") || attributes.contains("passed")];
        let mallory = [content.contains(MALLORY), attributes.contains("MALLORY")];
        assert!(!(alice.contains(&true) && mallory.contains(&true)), "{content}: {attributes}");
    }
}

/// What is asked about them in each call, without our own reference.
fn attributes(world: &World) -> Vec<(String, Value)> {
    let ledger = world.fini.ledger();
    let of = |ask: &fini_bridge::app::sandbox::fini::Call| {
        let mut attributes = ask.metadata["user_attributes"].clone();
        attributes.as_object_mut().unwrap().remove("fini_bridge_ref");
        (ask.content.clone().unwrap(), attributes)
    };
    ledger.asks().map(of).collect()
}

fn bridge(chat: &str, id: &str, text: &str, more: Value) -> Signed {
    let mut body = json!({ "id": id, "chat": chat, "text": text });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    senders::bridge(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_in_one_chat_of_the_own_protocol_are_never_one_question_and_never_one_person() {
    let world = World::start(CHANNELS).await;
    world.fini.change(slowly(600));
    world.deliver("bridge", bridge("room-1", "m0", "hello", json!({}))).await;
    asked(&world, 1).await;
    let alice = json!({ "user": { "customer_id": "ALICE", "kyc": "passed" } });
    world.deliver("bridge", bridge("room-1", "m1", ALICE, alice.clone())).await;
    world.deliver("bridge", bridge("room-1", "m2", MALLORY, json!({ "user": { "customer_id": "MALLORY" } }))).await;
    world.until(3, MessageState::Done).await;
    assert_nothing_is_mixed(&world);
    assert_eq!(attributes(&world)[1..], [(ALICE.to_owned(), json!({})), (MALLORY.to_owned(), json!({}))]);
    world.deliver("bridge", bridge("room-1", "m3", "alone again", alice)).await;
    world.until(4, MessageState::Done).await;
    assert_eq!(attributes(&world)[3], ("alone again".to_owned(), json!({})), "for good");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_in_a_chat_keeps_their_attributes_and_the_newest_set_counts() {
    let world = World::start(CHANNELS).await;
    let (gold, user) = (json!({ "plan": "gold" }), |set: &Value| json!({ "user": set }));
    world.deliver("bridge", bridge("c", "m1", "one", user(&gold))).await;
    world.until(1, MessageState::Done).await;
    world.fini.change(slowly(600));
    world.deliver("bridge", bridge("c", "m2", "two", user(&gold))).await;
    asked(&world, 2).await;
    world.deliver("bridge", bridge("c", "m3", "three", user(&gold))).await;
    world.deliver("bridge", bridge("c", "m4", "four", user(&gold))).await;
    world.until(4, MessageState::Done).await;
    let expected = ["one", "two", "three\nfour"].map(|text| (text.to_owned(), gold.clone()));
    assert_eq!(attributes(&world), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_in_one_custom_chat_are_never_one_question_and_never_one_person() {
    let world = World::start(CHANNELS).await;
    world.fini.change(slowly(600));
    let message = |id: &str, text: &str, sender: Value| {
        let body =
            json!({ "messages": [{ "id": id, "text": text, "conversation": { "id": "room-1" }, "sender": sender }] });
        senders::shop(body.to_string().into_bytes())
    };
    let alice = json!({ "type": "customer", "email": "ALICE", "plan": "passed" });
    world.deliver("shop", message("m0", "hello", json!({ "type": "customer" }))).await;
    asked(&world, 1).await;
    world.deliver("shop", message("m1", ALICE, alice)).await;
    world.deliver("shop", message("m2", MALLORY, json!({ "type": "customer", "email": "MALLORY" }))).await;
    world.until(3, MessageState::Done).await;
    assert_nothing_is_mixed(&world);
    assert_eq!(attributes(&world)[1..], [(ALICE.to_owned(), json!({})), (MALLORY.to_owned(), json!({}))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_brings_along_is_not_the_customers() {
    let world = World::start(CHANNELS).await;
    let customer = json!({ "user": { "customer_id": "ALICE" } });
    world.deliver("bridge", bridge("c", "m1", ALICE, customer.clone())).await;
    world.until(1, MessageState::Done).await;
    let staff = json!({ "role": "agent", "user": { "customer_id": "STAFF" } });
    world.deliver("bridge", bridge("c", "m2", "I'll look into it", staff)).await;
    world.until(2, MessageState::Done).await;
    world.deliver("bridge", bridge("c", "m3", "thanks", customer.clone())).await;
    world.until(3, MessageState::Done).await;
    let all = attributes(&world);
    assert_eq!(all[1].1, json!({}));
    assert_eq!((&all[0].1, &all[2].1), (&customer["user"], &customer["user"]));
}

const THIRTEEN: &str = "[conversations]\nmax_turns_per_sender = \"13/1h\"\n";

/// 60 mentions of one person at once, each in a thread of its own, to these gateways in turns.
async fn mention_60_times(world: &World, gateways: &[String]) {
    let mentions = (0..60_u32).zip(gateways.iter().cycle()).map(|(number, gateway)| async move {
        let signed = senders::slack_mention("C0SUPPORT", "U0SPENDER", number, &format!("question {number}"));
        let mut request = world.http.post(format!("http://{gateway}/webhooks/slack")).body(signed.body);
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
    });
    futures::future::join_all(mentions).await;
}

async fn assert_thirteen_turns(world: &World) {
    let dropped = world.until(47, MessageState::Dropped).await;
    world.until(13, MessageState::Done).await;
    assert!(dropped.iter().all(|story| story.reason.as_deref() == Some("max_turns_per_sender")));
    assert_eq!((dropped.len(), world.fini.ledger().ask_calls), (47, 13));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_60_mentions_in_60_threads_has_as_many_turns_as_the_limit_says() {
    let world = World::start(&format!("{THIRTEEN}{CHANNELS}")).await;
    mention_60_times(&world, &[world.process().address.clone()]).await;
    assert_thirteen_turns(&world).await;
    assert_eq!(world.outside.texts("C0SUPPORT").len(), 13, "nobody is told");
    assert!(world.admin("/metrics").await.contains("result=\"max_turns_per_sender\"} 47"));
    world.deliver("slack", senders::slack_mention("C0SUPPORT", "U0OTHER", 99, "somebody else")).await;
    world.until(14, MessageState::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_60_mentions_in_60_threads_has_exactly_so_many_turns_on_two_replicas_together() {
    let url = server().url(&server().database().await);
    let fleet = Fleet::start(2, Stores::Shared(url), &format!("{THIRTEEN}{CHANNELS}")).await;
    let gateways: Vec<String> = fleet.addresses().iter().map(ToString::to_string).collect();
    mention_60_times(&fleet.world, &gateways).await;
    assert_thirteen_turns(&fleet.world).await;
    let counted = [fleet.counted(0, TURNS).await, fleet.counted(1, TURNS).await];
    assert_eq!(counted.iter().sum::<u64>(), 60);
    eprintln!("turns that ended on each of the two replicas: {counted:?}");
}

const TURNS: &str = "fini_bridge_turns_total{";

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_has_as_many_turns_as_its_limit_says_and_other_channels_go_on() {
    let limit = "[channels.bridge.conversations]\nmax_turns_per_channel = \"5/1h\"\n";
    let world = World::start(&format!("{CHANNELS}{limit}")).await;
    for number in 0..20 {
        world.deliver("bridge", senders::bridge_message(&format!("c{number}"), &format!("m{number}"), "hello")).await;
    }
    let dropped = world.until(15, MessageState::Dropped).await;
    assert!(dropped.iter().all(|story| story.reason.as_deref() == Some("max_turns_per_channel")));
    world.until(5, MessageState::Done).await;
    assert_eq!(world.fini.ledger().ask_calls, 5);
    eventually("programs are told", SOON, async || {
        let told = world.outside.sent().into_iter().filter(|call| call.body["type"] == "no_reply").count();
        (told == 15).then_some(())
    })
    .await;
    world.deliver("telegram", senders::telegram_message(1, 1, "hello")).await;
    world.until(6, MessageState::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bot_stops_at_max_turns_too() {
    let world = World::start(&format!("[conversations]\nmax_turns = \"3/10m\"\n{CHANNELS}")).await;
    for number in 1..=8 {
        let body = json!({ "role": "otherbot" });
        world.deliver("bridge", bridge("room", &format!("m{number}"), "and you?", body)).await;
    }
    world.until(5, MessageState::Dropped).await;
    world.until(3, MessageState::Done).await;
    assert_eq!(world.fini.ledger().ask_calls, 3);
}

const RESET: &str = "[conversations]\nreset_words = [\"New chat\"]\nreset_text = \"Let's begin again.\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_word_begins_a_new_conversation_and_what_came_before_goes_to_the_old_one() {
    let world = World::start(&format!("{RESET}{CHANNELS}")).await;
    world.deliver("bridge", senders::bridge_message("c", "m1", "first")).await;
    world.until(1, MessageState::Done).await;
    world.fini.change(slowly(600));
    world.deliver("bridge", senders::bridge_message("c", "m2", "second")).await;
    asked(&world, 2).await;
    for (id, text) in [("m3", "third"), ("m4", " NEW CHAT "), ("m5", "fourth"), ("m4", "new chat")] {
        world.deliver("bridge", senders::bridge_message("c", id, text)).await;
    }
    world.until(4, MessageState::Done).await;
    let ledger = world.fini.ledger();
    let asks: Vec<_> = ledger.asks().map(|ask| (ask.content.clone().unwrap(), ask.conversation.clone())).collect();
    let texts: Vec<&str> = asks.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts, ["first", "second", "third", "fourth"]);
    assert!(asks[0].1 == asks[1].1 && asks[1].1 == asks[2].1, "{asks:?}");
    assert_ne!(asks[2].1, asks[3].1);
    let told: Vec<_> =
        world.outside.sent().into_iter().filter(|call| call.body["in_reply_to"] == json!(["m4"])).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].body["type"], &told[0].body["text"]), (&json!("message"), &json!("Let's begin again.")));
    let dropped = world.stories(&[MessageState::Dropped]).await;
    assert_eq!((dropped.len(), dropped[0].reason.as_deref()), (1, Some("reset")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_word_without_a_text_ends_in_no_reply_and_counts_for_no_limit() {
    let limits = "max_turns = \"2/10m\"\nmax_turns_per_sender = \"2/10m\"\nmax_turns_per_channel = \"2/10m\"";
    let world = World::start(&format!("[conversations]\nreset_words = [\"reset\"]\n{limits}\n{CHANNELS}")).await;
    for number in 1..=4 {
        world.deliver("bridge", senders::bridge_message("c", &format!("r{number}"), "reset")).await;
    }
    world.until(4, MessageState::Dropped).await;
    for number in 1..=2 {
        world.deliver("bridge", senders::bridge_message("c", &format!("m{number}"), "hello")).await;
        world.until(number, MessageState::Done).await;
    }
    assert_eq!(world.fini.ledger().ask_calls, 2);
    let kinds = |id: &str| {
        let sent = world.outside.sent().into_iter().filter(|call| call.body["in_reply_to"] == json!([id]));
        sent.map(|call| call.body["type"].clone()).collect::<Vec<_>>()
    };
    for number in 1..=4 {
        assert_eq!(kinds(&format!("r{number}")), [json!("no_reply")]);
    }
}

/// The word is kept, and the process dies before it is worked on; then when its end was just written down.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_word_counts_once_wherever_the_process_dies() {
    for (failpoint, database) in [
        ("lane.leased", None),
        ("turn.ended", None),
        ("turn.ended", Some(server().url(&server().database().await))),
        ("delivery.sending", None),
    ] {
        let mut world = World::start_on(database, &format!("{RESET}{CHANNELS}")).await;
        world.deliver("bridge", senders::bridge_message("c", "m1", "old")).await;
        world.until(1, MessageState::Done).await;
        world.kill();
        let failpoints = [("FAILPOINTS", format!("{failpoint}=1*return"))];
        let mut dying = Process::start_with(&world.config_path(), "debug", &failpoints).await;
        let signed = senders::bridge_message("c", "m2", "new chat");
        let mut request =
            world.http.post(format!("http://{}/webhooks/bridge", dying.address)).body(signed.body.clone());
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        // It may die before its answer leaves. The message is delivered again in any case.
        if let Ok(answer) = request.send().await {
            assert_eq!(answer.status(), 200);
        }
        eventually("it dies", SOON, async || dying.has_ended().then_some(())).await;
        world.serve().await;
        world.deliver("bridge", senders::bridge_message("c", "m2", "new chat")).await;
        world.deliver("bridge", senders::bridge_message("c", "m3", "new")).await;
        world.until(2, MessageState::Done).await;
        let ledger = world.fini.ledger();
        let asks: Vec<_> = ledger.asks().map(|ask| (ask.content.clone().unwrap(), ask.conversation.clone())).collect();
        assert_eq!(asks.len(), 2, "{failpoint}: {asks:?}");
        assert_ne!(asks[0].1, asks[1].1, "{failpoint}");
        let dropped = world.stories(&[MessageState::Dropped]).await;
        assert_eq!(dropped.len(), 1, "{failpoint}");
        let told = world.outside.sent().into_iter().filter(|call| call.body["in_reply_to"] == json!(["m2"]));
        let ids: std::collections::HashSet<String> = told.map(|call| call.body["id"].to_string()).collect();
        assert_eq!(ids.len(), 1, "{failpoint}: one text, under one id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_fails_and_is_never_asked_and_the_chat_goes_on() {
    let keys = "[conversations]\nmax_text = \"1KiB\"\n[replies]\nfailure_text = \"Please be shorter.\"\n";
    let world = World::start(&format!("{keys}{CHANNELS}")).await;
    let long = "ß".repeat(513);
    world.deliver("bridge", senders::bridge_message("c", "m1", &long)).await;
    world.deliver("bridge", senders::bridge_message("c", "m2", &"ß".repeat(512))).await;
    world.deliver("slack", senders::slack_message("D1", 1, &long)).await;
    let failed = world.until(2, MessageState::Failed).await;
    world.until(1, MessageState::Done).await;
    for story in &failed {
        assert_eq!(story.reason.as_deref(), Some("too_long"));
        assert_eq!(story.text.as_ref().map(String::len), Some(1024), "only its beginning is kept");
    }
    assert_eq!(world.fini.ledger().ask_calls, 1);
    let told: Vec<_> =
        world.outside.sent().into_iter().filter(|call| call.body["in_reply_to"] == json!(["m1"])).collect();
    let told: Vec<_> = told.iter().map(|call| (call.body["type"].clone(), call.body["text"].clone())).collect();
    assert_eq!(told, [(json!("message"), json!("Please be shorter.")), (json!("failed"), Value::Null)]);
    eventually("the user is told", SOON, async || (world.outside.texts("D1") == ["Please be shorter."]).then_some(()))
        .await;
    // Another try can't make it whole.
    let of_bridge = failed.iter().find(|story| story.channel.as_str() == "bridge").unwrap();
    assert!(world.command(&["messages", "retry", &of_bridge.id.to_string()]).status.success());
    eventually("it failed again", SOON, async || {
        let failed = world.outside.sent().into_iter().filter(|call| call.body["type"] == "failed");
        (failed.count() == 2).then_some(())
    })
    .await;
    assert_eq!(world.fini.ledger().ask_calls, 1);
}

fn unreachable(path: &str) -> Refusal {
    Refusal { path: path.to_owned(), times: 1000, status: 503, headers: vec![], body: json!({}), delivered: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_slack_says_whose_the_token_is_nothing_is_asked_and_another_workspaces_message_never() {
    let mut world = World::prepare(CHANNELS).await;
    world.outside.refuse(unreachable("auth.test"));
    world.serve().await;
    world.deliver("slack", senders::slack_message("D0OURS", 1, "ours")).await;
    world.deliver("slack", senders::slack_message_of_another_workspace("D0THEIRS", 2, "theirs")).await;
    world.until(2, MessageState::Received).await;
    // Other channels' turns run: so could these.
    world.deliver("telegram", senders::telegram_message(1, 1, "meanwhile")).await;
    world.until(1, MessageState::Done).await;
    assert_eq!(world.fini.ledger().ask_calls, 1);
    world.kill();
    world.serve().await;
    world.outside.stop_refusing();
    world.until(2, MessageState::Done).await;
    let dropped = world.until(1, MessageState::Dropped).await;
    assert_eq!(dropped[0].reason.as_deref(), Some("other_account"));
    assert_eq!((world.fini.ledger().stored("ours"), world.fini.ledger().stored("theirs")), (1, 0));
    assert_eq!(world.outside.texts("D0THEIRS"), Vec::<String>::new());
    assert_eq!(world.outside.texts("D0OURS").len(), 1);
    assert!(world.admin("/metrics").await.contains("result=\"other_account\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_telegram_says_our_name_a_mention_waits_and_another_bots_is_never_answered() {
    let mut world = World::prepare(CHANNELS).await;
    world.outside.refuse(unreachable("getMe"));
    world.serve().await;
    world.deliver("telegram", senders::telegram_mention(-100, 1, "weather_bot", "rain?")).await;
    world.deliver("telegram", senders::telegram_mention(-100, 2, "acme_help_bot", "help?")).await;
    world.deliver("telegram", senders::telegram_message(7, 3, "direct")).await;
    world.until(1, MessageState::Done).await;
    assert_eq!(world.fini.ledger().ask_calls, 1, "what needs no name doesn't wait");
    world.outside.stop_refusing();
    world.until(2, MessageState::Done).await;
    let dropped = world.until(1, MessageState::Dropped).await;
    assert_eq!(dropped[0].reason.as_deref(), Some("not_addressed"));
    assert_eq!(world.fini.ledger().ask_calls, 2);
    assert_eq!(world.outside.texts("-100").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_senders_in_one_chat_are_never_one_question_even_with_equal_attributes() {
    let sender = "text = \"item.text\"\nsender = \"item.sender.id\"";
    let world = World::start(&CHANNELS.replace("text = \"item.text\"", sender)).await;
    world.fini.change(slowly(600));
    let shared = json!({ "plan": "gold" });
    let by =
        |id: &str, text: &str, sender: &str| bridge("room-1", id, text, json!({ "sender": sender, "user": shared }));
    let in_shop = |id: &str, text: &str, sender: &str| {
        let sender = json!({ "type": "customer", "id": sender, "plan": "gold" });
        let body =
            json!({ "messages": [{ "id": id, "text": text, "conversation": { "id": "room-1" }, "sender": sender }] });
        senders::shop(body.to_string().into_bytes())
    };
    world.deliver("bridge", by("m0", "hello", "ALICE")).await;
    world.deliver("shop", in_shop("s0", "hello", "ALICE")).await;
    asked(&world, 2).await;
    for (number, text, sender) in [(1, ALICE, "ALICE"), (2, MALLORY, "MALLORY"), (3, "again", "ALICE")] {
        world.deliver("bridge", by(&format!("m{number}"), text, sender)).await;
        world.deliver("shop", in_shop(&format!("s{number}"), text, sender)).await;
    }
    world.until(8, MessageState::Done).await;
    assert_nothing_is_mixed(&world);
    let all = attributes(&world);
    assert_eq!(all.iter().filter(|(_, attributes)| *attributes == shared).count(), 2, "the first of each: {all:?}");
    assert_eq!(all.iter().filter(|(_, attributes)| *attributes == json!({})).count(), 6, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_scope_of_a_user_each_sender_has_a_conversation_and_keeps_their_attributes() {
    let world = World::start(&format!("[conversations]\nscope = \"user\"\n{CHANNELS}")).await;
    for (number, sender) in ["ALICE", "MALLORY", "ALICE", "MALLORY"].into_iter().enumerate() {
        let more = json!({ "sender": sender, "user": { "customer_id": sender } });
        world.deliver("bridge", bridge("room-1", &format!("m{number}"), sender, more)).await;
        world.until(number + 1, MessageState::Done).await;
    }
    for (text, attributes) in attributes(&world) {
        assert_eq!(attributes, json!({ "customer_id": text }));
    }
    let ledger = world.fini.ledger();
    let conversations: Vec<_> = ledger.asks().map(|ask| ask.conversation.clone().unwrap()).collect();
    assert!(conversations[0] == conversations[2] && conversations[1] == conversations[3]);
    assert_ne!(conversations[0], conversations[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_the_own_protocol_is_counted_over_all_chats() {
    let world = World::start(&format!("{THIRTEEN}{CHANNELS}")).await;
    for number in 0..20 {
        let body = bridge(&format!("c{number}"), &format!("m{number}"), "hello", json!({ "sender": "zoe" }));
        world.deliver("bridge", body).await;
    }
    world.until(7, MessageState::Dropped).await;
    world.until(13, MessageState::Done).await;
    assert_eq!(world.fini.ledger().ask_calls, 13);
}
