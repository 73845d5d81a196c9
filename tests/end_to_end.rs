//! Webhook in, Fini asked, reply out: each platform, and what must hold whatever comes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use fini_bridge::app::sandbox::fini::{Change, EventSpec, Seed};
use fini_bridge::store::MessageState;
use reqwest::Method;
use serde_json::{Value, json};
use support::senders::{self, CHANNELS};
use support::{BOT, OTHER_BOT, SOON, World, eventually};

async fn sent(world: &World, number: usize) -> Vec<support::outside::Call> {
    let what = format!("{number} parts are delivered");
    eventually(&what, Duration::from_secs(60), async || {
        let sent = world.outside.sent();
        (sent.len() >= number).then_some(sent)
    })
    .await
}

fn assert_clean(world: &World) {
    assert_eq!(world.outside.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_on_each_platform_is_answered_in_its_chat_and_the_next_one_goes_on_in_the_same_conversation() {
    let world = World::start(CHANNELS).await;
    for round in 1..=2_u32 {
        let text = format!("question {round}");
        world.deliver("slack", senders::slack_message("D00FAKEDM001", round, &text)).await;
        world.deliver("telegram", senders::telegram_message(7_700_112_233, round, &text)).await;
        world.deliver("whatsapp", senders::whatsapp_message("16505551234", round, &text)).await;
        world.deliver("bridge", senders::bridge_message("chat-1", &format!("m{round}"), &text)).await;
        world.deliver("shop", senders::shop_message(&json!(42), &format!("s{round}"), &text)).await;
        sent(&world, 5 * usize::try_from(round).unwrap()).await;
    }
    let ledger = world.fini.ledger();
    let asks: Vec<_> = ledger.asks().collect();
    assert_eq!(asks.len(), 10);
    for (channel, word) in [("slack", "slack"), ("telegram", "telegram"), ("whatsapp", "whatsapp")] {
        let of_channel: Vec<_> = asks.iter().filter(|ask| ask.metadata["channel"] == channel).collect();
        assert_eq!(of_channel.len(), 2, "{word}");
        assert_eq!(of_channel[0].content.as_deref(), Some("question 1"));
        assert_eq!(of_channel[0].role.as_deref(), Some("user"));
        assert_eq!((of_channel[0].bot_id.as_deref(), of_channel[0].interaction_id.as_deref()), (Some(BOT), None));
        assert_eq!(of_channel[1].interaction_id, of_channel[0].conversation, "{word} goes on");
        assert_eq!(of_channel[1].bot_id, None);
    }
    let email = asks.iter().find(|ask| ask.metadata["user_attributes"]["email"] == "zoe@example.com").unwrap();
    assert_eq!(email.metadata["user_attributes"].get("plan"), None, "an undefined attribute is left out");

    let slack = &world.outside.texts("D00FAKEDM001");
    assert_eq!(slack.len(), 2);
    assert!(slack[0].contains("question 1") && slack[1].contains("question 2"), "{slack:?}");
    assert_eq!(world.outside.texts("7700112233").len(), 2);
    assert_eq!(world.outside.texts("16505551234").len(), 2);
    assert_eq!(world.outside.texts("/shop/conversations/42/messages").len(), 2);
    let callbacks: Vec<_> = world.outside.sent().into_iter().filter(|call| call.path == "/callback").collect();
    assert_eq!(callbacks.len(), 2);
    assert_eq!(callbacks[0].body["type"], "message");
    assert_eq!(callbacks[0].body["chat"], "chat-1");
    assert_eq!(callbacks[0].body["in_reply_to"], json!(["m1"]));
    assert_clean(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_authentic_gets_401_without_a_word_and_changes_nothing() {
    let world = World::start(CHANNELS).await;
    let forge = |mut signed: senders::Signed| {
        let last = signed.body.len() - 2;
        signed.body[last] ^= 1;
        signed
    };
    let strip = |mut signed: senders::Signed| {
        signed.headers.retain(|(name, _)| name == "content-type");
        signed
    };
    let double = |mut signed: senders::Signed| {
        let again: Vec<_> = signed.headers.iter().filter(|(name, _)| name != "content-type").cloned().collect();
        signed.headers.extend(again);
        signed
    };
    let messages = [
        ("slack", senders::slack_message("D1", 1, "hi")),
        ("whatsapp", senders::whatsapp_message("1650", 1, "hi")),
        ("bridge", senders::bridge_message("c", "1", "hi")),
        ("shop", senders::shop_message(&json!("c"), "1", "hi")),
        ("telegram", senders::telegram_message(1, 1, "hi")),
    ];
    for (channel, signed) in messages {
        let mut wrong = vec![strip(signed.clone()), double(signed.clone())];
        if channel != "telegram" {
            // Telegram's token doesn't cover the body.
            wrong.push(forge(signed.clone()));
        }
        for wrong in wrong {
            let answer = world.post(channel, wrong).await;
            assert_eq!(answer.status(), 401, "{channel}");
            assert_eq!(answer.text().await.unwrap(), "");
        }
    }
    let get = world.http.get(world.url("slack")).send().await.unwrap();
    assert_eq!(get.status(), 401);
    let unknown = world.http.post(world.url("nobody")).body("{}").send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(world.stories(&[]).await.len(), 0);
    assert_eq!(world.fini.ledger().ask_calls, 0);
    assert!(world.admin("/metrics").await.contains("result=\"unauthenticated\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatsapps_handshake_is_answered_and_a_wrong_token_is_not() {
    let world = World::start(CHANNELS).await;
    let ask = |token: &str| {
        format!("{}?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}", world.url("whatsapp"))
    };
    let right = world.http.get(ask("meatyhamhock")).send().await.unwrap();
    assert_eq!((right.status().as_u16(), right.text().await.unwrap().as_str()), (200, "1158201444"));
    let wrong = world.http.get(ask("nope")).send().await.unwrap();
    assert_eq!((wrong.status().as_u16(), wrong.text().await.unwrap().as_str()), (403, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_gets_413() {
    let world = World::start(&format!("[server]\nmax_body = \"64KiB\"\n{CHANNELS}")).await;
    let answer = world.post("telegram", senders::telegram(vec![b' '; 64 * 1024 + 1])).await;
    assert_eq!(answer.status(), 413);
    let fits = world.post("telegram", senders::telegram_message(1, 1, &"x".repeat(60 * 1024))).await;
    assert_eq!(fits.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_can_be_looked_at_with_get_and_head_and_nothing_else() {
    let scrape = support::fleet::free_address(41);
    let world = World::start(&format!("[metrics]\nlisten = \"{scrape}\"\n{CHANNELS}")).await;
    let (public, admin) = (&world.process().address, &world.process().admin);
    let mut pages = vec![format!("http://{public}/livez"), format!("http://{public}/readyz")];
    for listener in [admin, &scrape.to_string()] {
        pages.extend(["livez", "readyz", "metrics"].map(|page| format!("http://{listener}/{page}")));
    }
    for page in pages {
        let got = world.http.get(&page).send().await.unwrap();
        let head = world.http.head(&page).send().await.unwrap();
        assert_eq!((got.status().as_u16(), head.status().as_u16()), (200, 200), "{page}");
        assert_eq!(got.headers()["content-type"], head.headers()["content-type"], "{page}");
        assert!(!got.bytes().await.unwrap().is_empty() && head.bytes().await.unwrap().is_empty(), "{page}");
        let refused = world.http.post(&page).send().await.unwrap();
        assert_eq!(refused.status(), 405, "{page}");
        assert_eq!(refused.headers()["allow"], "GET, HEAD", "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_will_have_says_on_the_admin_listener_alone_that_it_is_not_built_yet() {
    let scrape = support::fleet::free_address(41);
    let world = World::start(&format!("[metrics]\nlisten = \"{scrape}\"\n{CHANNELS}")).await;
    for path in ["/", "/api/v1/messages", "/api/v1/a/b"] {
        let later = world.http.get(format!("http://{}{path}", world.process().admin)).send().await.unwrap();
        assert_eq!(later.status(), 501, "{path}");
        assert_eq!(later.text().await.unwrap(), "not built yet\n", "{path}");
        for listener in [world.process().address.clone(), scrape.to_string()] {
            let nothing = world.http.get(format!("http://{listener}{path}")).send().await.unwrap();
            assert_eq!(nothing.status(), 404, "{listener}{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_asks_for_its_token_and_takes_the_schemes_name_in_any_case() {
    let world = World::start(&format!("[admin]\ntoken = \"admin-token-0123456789\"\n{CHANNELS}")).await;
    for (given, status) in [
        ("Bearer admin-token-0123456789", 200),
        ("bearer admin-token-0123456789", 200),
        ("BEARER admin-token-0123456789", 200),
        ("Bearer ADMIN-token-0123456789", 401),
        ("Bearer admin-token-012345678", 401),
        ("Beareradmin-token-0123456789", 401),
        ("Basic admin-token-0123456789", 401),
        ("bear", 401),
        ("", 401),
    ] {
        for path in ["/metrics", "/livez"] {
            let request = world.http.get(format!("http://{}{path}", world.process().admin));
            let answer = request.header("authorization", given).send().await.unwrap();
            assert_eq!(answer.status(), status, "{given}");
            let asks = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
            assert_eq!(asks, (status == 401).then_some("Bearer"), "{given}");
        }
    }
    let page = world.http.get(format!("http://{}/", world.process().admin)).send().await.unwrap();
    assert_eq!(page.status(), 401, "it is not told to everybody what there is");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_on_a_channel_gets_405_and_on_no_channel_404() {
    let world = World::start(CHANNELS).await;
    for method in [Method::HEAD, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        for below in ["", "/some/where"] {
            let url = |channel: &str| format!("{}{below}", world.url(channel));
            let known = world.http.request(method.clone(), url("slack")).send().await.unwrap();
            assert_eq!(known.status(), 405, "{method}");
            assert_eq!(known.headers()["allow"], "GET, POST, PUT", "{method}");
            let unknown = world.http.request(method.clone(), url("nobody")).send().await.unwrap();
            assert_eq!(unknown.status(), 404, "{method}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_delivered_twenty_times_at_once_and_again_after_a_restart_is_answered_once() {
    let mut world = World::start(CHANNELS).await;
    let signed = senders::slack_at("D1", &format!("{}.000100", senders::now()), "once, please");
    let posts = (0..20).map(|_| world.post("slack", signed.clone()));
    for answer in futures::future::join_all(posts).await {
        assert_eq!(answer.status(), 200);
    }
    world.until(1, MessageState::Done).await;
    world.kill();
    world.serve().await;
    assert_eq!(world.post("slack", signed.clone()).await.status(), 200);
    world.deliver("slack", senders::slack_message("D2", 5, "another")).await;
    world.until(2, MessageState::Done).await;
    assert_eq!(world.fini.ledger().stored("once, please"), 1);
    assert_eq!(world.outside.texts("\"D1\"").len(), 1);
    assert_clean(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_that_fini_says_only_messages_for_the_customer_are_shown_and_all_of_them_in_order() {
    let world = World::start(CHANNELS).await;
    let event = |role: &str, kind: &str, text: Option<&str>| EventSpec::new(role, kind, text);
    world.fini.queue_reply(vec![
        event("finibot", "internalnote", Some("SECRET NOTE")),
        event("finibot", "message", Some("first")),
        event("finibot", "debounce", Some("SECRET debounce")),
        event("finibot", "message", None),
        event("finibot", "message", Some("  \n ")),
        event("otherbot", "message", Some("SECRET other bot")),
        event("user", "message", Some("SECRET echo")),
        event("oracle", "message", Some("SECRET unknown role")),
        event("finibot", "prophecy", Some("SECRET unknown type")),
        event("finibot", "widget_form", Some("SECRET form")),
        event("finibot", "message", Some("second")),
        event("finibot", "silent_escalation", Some("SECRET escalation")),
        event("agent", "message", Some("third, by a person")),
        event("finibot", "no_reply", Some("SECRET no reply")),
    ]);
    world.deliver("telegram", senders::telegram_message(9, 1, "all kinds")).await;
    world.until(1, MessageState::Done).await;
    assert_eq!(world.outside.texts("sendMessage"), ["first", "second", "third, by a person"]);

    for kind in ["no_reply", "silent_escalation", "debounce"] {
        world.fini.queue_reply(vec![event("finibot", kind, None)]);
    }
    world.fini.queue_reply(vec![]);
    for number in 2..6 {
        world.deliver("telegram", senders::telegram_message(9, number, "silence")).await;
        world.until(usize::try_from(number).unwrap(), MessageState::Done).await;
    }
    assert_eq!(world.outside.texts("sendMessage").len(), 3);
    assert_clean(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_hear_of_silence_and_of_an_escalation() {
    let world = World::start(CHANNELS).await;
    world.fini.queue_reply(vec![EventSpec::new("finibot", "no_reply", None)]);
    world.fini.queue_reply(vec![EventSpec::new("finibot", "silent_escalation", None)]);
    world.deliver("bridge", senders::bridge_message("c", "1", "one")).await;
    sent(&world, 1).await;
    world.deliver("bridge", senders::bridge_message("c", "2", "two")).await;
    let calls = sent(&world, 2).await;
    let said: Vec<_> = calls.iter().map(|call| (call.body["type"].clone(), call.body["in_reply_to"].clone())).collect();
    assert_eq!(said, [(json!("no_reply"), json!(["1"])), (json!("handoff"), json!(["2"]))]);
    assert_clean(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_human_agent_writes_is_stored_in_fini_and_not_answered_nor_echoed() {
    let world = World::start(CHANNELS).await;
    let staff = json!({"messages": [{"id": "a1", "text": "I take over.", "conversation": {"id": "c"}, "sender": {"type": "staff", "email": "s@example.com"}}]});
    world.deliver("shop", senders::shop(staff.to_string().into_bytes())).await;
    world.until(1, MessageState::Done).await;
    let ledger = world.fini.ledger();
    assert_eq!(ledger.asks().map(|ask| ask.role.clone().unwrap()).collect::<Vec<_>>(), ["agent"]);
    assert_eq!(world.outside.sent().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_while_one_is_answered_become_one_question_or_stay_apart_as_the_channel_says() {
    for (burst, questions) in
        [("merge", vec!["one", "two\nthree\nfour"]), ("queue", vec!["one", "two", "three", "four"])]
    {
        let world = World::start(&format!("[conversations]\nburst = \"{burst}\"\n{CHANNELS}")).await;
        world.fini.change(Change { answer_delay_ms: Some(1500), ..Change::default() });
        world.deliver("telegram", senders::telegram_message(5, 1, "one")).await;
        eventually("the first is asked", SOON, async || (world.fini.ledger().ask_calls == 1).then_some(())).await;
        world.fini.change(Change { answer_delay_ms: Some(0), ..Change::default() });
        for (number, text) in [(2, "two"), (3, "three"), (4, "four")] {
            world.deliver("telegram", senders::telegram_message(5, number, text)).await;
        }
        world.until(4, MessageState::Done).await;
        let ledger = world.fini.ledger();
        assert_eq!(ledger.asks().map(|ask| ask.content.clone().unwrap()).collect::<Vec<_>>(), questions, "{burst}");
        assert_eq!(ledger.asks().map(|ask| ask.conversation.clone()).collect::<HashSet<_>>().len(), 1);
        assert_eq!(ledger.overlaps, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_first_messages_of_one_chat_at_once_make_one_conversation_in_order() {
    let world = World::start(&format!("[conversations]\nburst = \"queue\"\n{CHANNELS}")).await;
    // One connection after the other acknowledges them in this order; the turns begin meanwhile.
    for number in 1..=50_u32 {
        world.deliver("telegram", senders::telegram_message(77, number, &format!("message {number}"))).await;
    }
    world.until(50, MessageState::Done).await;
    let ledger = world.fini.ledger();
    let asked: Vec<_> = ledger.asks().map(|ask| ask.content.clone().unwrap()).collect();
    assert_eq!(asked, (1..=50).map(|number| format!("message {number}")).collect::<Vec<_>>());
    assert_eq!(ledger.asks().map(|ask| ask.conversation.clone().unwrap()).collect::<HashSet<_>>().len(), 1);
    assert_eq!(world.outside.texts("sendMessage").len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn among_300_other_conversations_with_the_same_text_and_a_list_that_lags_each_chat_finds_its_own() {
    let world = World::start(CHANNELS).await;
    world.fini.change(Change {
        list_lag_ms: Some(2000),
        seed: Some(Seed { count: 300, text: "hello there".to_owned(), every_ms: 10 }),
        ..Change::default()
    });
    // The same text at the same moment in 20 chats.
    let first = (1..=20).map(|chat| world.deliver("telegram", senders::telegram_message(chat, 1, "hello there")));
    futures::future::join_all(first).await;
    let second = (1..=20).map(|chat| world.deliver("telegram", senders::telegram_message(chat, 2, "and more")));
    futures::future::join_all(second).await;
    world.until(40, MessageState::Done).await;
    let ledger = world.fini.ledger();
    let own: HashSet<_> = ledger.asks().map(|ask| ask.conversation.clone().unwrap()).collect();
    // A chat's two messages may have become one question; no chat has two conversations, no two chats share one.
    assert_eq!(own.len(), 20);
    let references: HashSet<_> =
        ledger.asks().map(|ask| ask.metadata["user_attributes"]["fini_bridge_ref"].clone()).collect();
    assert_eq!(references.len(), 20);
    for ask in ledger.asks() {
        let of_reference = ledger.asks().filter(|other| other.metadata == ask.metadata);
        assert_eq!(of_reference.map(|other| &other.conversation).collect::<HashSet<_>>().len(), 1);
    }
    assert!(ledger.asks().any(|ask| ask.interaction_id.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_new_chats_in_a_second_cost_fewer_than_twenty_list_calls() {
    let world = World::start(CHANNELS).await;
    world.fini.change(Change {
        list_lag_ms: Some(2000),
        answer_delay_ms: Some(200),
        seed: Some(Seed { count: 300, text: "hello".to_owned(), every_ms: 1000 }),
        ..Change::default()
    });
    for chat in 1..=100 {
        world.deliver("telegram", senders::telegram_message(chat, 1, "hello")).await;
    }
    world.until(100, MessageState::Done).await;
    eventually("all are discovered", Duration::from_secs(30), async || {
        let metrics = world.admin("/metrics").await;
        metrics
            .contains("fini_bridge_conversations_total{channel=\"telegram\",result=\"discovered\"} 100")
            .then_some(())
    })
    .await;
    let lists = world.fini.ledger().list_calls;
    assert!(lists < 20, "{lists} list calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_mapping_is_found_again_by_our_reference_after_a_restart() {
    let mut world = World::start(CHANNELS).await;
    world.fini.change(Change { list_lag_ms: Some(3000), ..Change::default() });
    world.deliver("telegram", senders::telegram_message(3, 1, "first")).await;
    world.until(1, MessageState::Done).await;
    world.kill();
    world.serve().await;
    world.deliver("telegram", senders::telegram_message(3, 2, "second")).await;
    world.until(2, MessageState::Done).await;
    let ledger = world.fini.ledger();
    assert_eq!(ledger.asks().map(|ask| ask.conversation.clone()).collect::<HashSet<_>>().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_chat_begins_a_new_conversation_and_so_does_a_room_whose_agent_changed() {
    let mut world = World::start(&format!("[conversations]\nidle_timeout = \"1s\"\n{CHANNELS}")).await;
    world.deliver("telegram", senders::telegram_message(3, 1, "first")).await;
    world.until(1, MessageState::Done).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.deliver("telegram", senders::telegram_message(3, 2, "second")).await;
    world.until(2, MessageState::Done).await;

    world.terminate(SOON).await;
    let bots = format!("bots = [{{ chat = \"3\", bot_id = \"{OTHER_BOT}\" }}]\n");
    let telegram = "platform = \"telegram\"\n";
    world.configure(&CHANNELS.replace(telegram, &format!("{telegram}{bots}")));
    world.serve().await;
    world.deliver("telegram", senders::telegram_message(3, 3, "third")).await;
    world.deliver("telegram", senders::telegram_message(4, 1, "of another chat")).await;
    world.until(4, MessageState::Done).await;
    let ledger = world.fini.ledger();
    assert_eq!(ledger.asks().map(|ask| ask.conversation.clone()).collect::<HashSet<_>>().len(), 4);
    let bots: Vec<_> = ledger.asks().filter_map(|ask| Some((ask.content.clone()?, ask.bot_id.clone()?))).collect();
    assert!(bots.contains(&("third".to_owned(), OTHER_BOT.to_owned())), "{bots:?}");
    assert!(bots.contains(&("of another chat".to_owned(), BOT.to_owned())), "{bots:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bots_in_one_room_stop_at_max_turns() {
    let world = World::start(&format!("[conversations]\nmax_turns = \"5/10m\"\n{CHANNELS}")).await;
    // The other bot answers whatever it gets, for ever.
    for number in 1..=12_u32 {
        world.deliver("bridge", senders::bridge_message("room", &number.to_string(), "and you?")).await;
        sent(&world, usize::try_from(number).unwrap()).await;
    }
    assert_eq!(world.fini.ledger().ask_calls, 5);
    let kinds: Vec<_> = world.outside.sent().iter().map(|call| call.body["type"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "message").count(), 5);
    assert_eq!(world.stories(&[MessageState::Dropped]).await.len(), 7);
    assert!(world.admin("/metrics").await.contains("result=\"max_turns\"} 7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_chat_id_that_is_no_id_is_a_failed_message_and_never_a_lane() {
    let world = World::start(CHANNELS).await;
    let chats = [json!(null), json!(""), json!([1]), json!({"id": 1}), json!(1.5), json!(true)];
    for (number, chat) in chats.iter().enumerate() {
        world.deliver("shop", senders::shop_message(chat, &format!("m{number}"), "whose am I?")).await;
    }
    let missing = json!({"messages": [{"id": "m9", "text": "x", "conversation": {}, "sender": {"type": "customer", "email": "e"}}]});
    world.deliver("shop", senders::shop(missing.to_string().into_bytes())).await;
    let failed = world.until(7, MessageState::Failed).await;
    assert!(failed.iter().all(|story| story.reason.as_deref() == Some("malformed") && story.chat_ref.is_none()));
    assert_eq!(world.fini.ledger().ask_calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_several_messages_is_kept_in_one_go_and_other_accounts_are_not_answered() {
    let world = World::start(CHANNELS).await;
    let batch = std::fs::read("tests/data/fixtures/whatsapp/batch_two_entries_mixed.json").unwrap();
    let mut text = String::from_utf8(batch).unwrap();
    for old in ["1791000020", "1791000021", "1791000022", "1791000023"] {
        text = text.replace(old, &senders::now().to_string());
    }
    world.deliver("whatsapp", senders::whatsapp(text.into_bytes())).await;
    world.until(2, MessageState::Done).await;
    assert_eq!(
        world.fini.ledger().asks().map(|ask| ask.content.clone().unwrap()).collect::<Vec<_>>().join("\n"),
        "one\ntwo"
    );
    assert!(world.admin("/metrics").await.contains("result=\"other_account\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_report_of_failure_reaches_the_message_it_belongs_to() {
    let world = World::start(CHANNELS).await;
    world.deliver("whatsapp", senders::whatsapp_message("16505551234", 1, "hi")).await;
    world.until(1, MessageState::Done).await;
    let part = world.outside.sent()[0].body["biz_opaque_callback_data"].as_str().unwrap().to_owned();
    let report = json!({"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"field":"messages","value":{
        "messaging_product":"whatsapp","metadata":{"display_phone_number":"1","phone_number_id":senders::WHATSAPP_NUMBER},
        "statuses":[{"id":"wamid.X","status":"failed","timestamp":senders::now().to_string(),"recipient_id":"16505551234",
            "biz_opaque_callback_data":part,"errors":[{"code":131047,"title":"Re-engagement message"}]}]}}]}]});
    world.deliver("whatsapp", senders::whatsapp(report.to_string().into_bytes())).await;
    let failed = world.until(1, MessageState::Failed).await;
    assert_eq!(failed[0].reason.as_deref(), Some("whatsapp_131047"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_arrives_whole_on_each_platform_within_its_limits() {
    let answer = std::fs::read_to_string("tests/data/answers/long.md").unwrap();
    let world = World::start(CHANNELS).await;
    let text = answer.clone();
    world.fini.reply_with(move |_| vec![EventSpec::message(&text)]);
    world.deliver("slack", senders::slack_message("D1", 1, "long")).await;
    world.deliver("telegram", senders::telegram_message(7, 1, "long")).await;
    world.deliver("whatsapp", senders::whatsapp_message("1650", 1, "long")).await;
    world.deliver("bridge", senders::bridge_message("c", "1", "long")).await;
    world.deliver("shop", senders::shop_message(&json!("c"), "1", "long")).await;
    world.until(5, MessageState::Done).await;
    // The language of a code block is markup, which not every chat can show.
    let lines = answer.lines().filter(|line| !line.trim_start().starts_with("```"));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
    let words: Vec<&str> = words.filter(|word| word.len() > 3).collect();
    assert!(words.len() > 500);
    for chat in ["\"D1\"", "sendMessage", "1650", "/callback", "/shop/"] {
        let parts = world.outside.texts(chat);
        let whole = parts.join("\n");
        for word in &words {
            assert!(whole.contains(word), "{chat} lost {word}");
        }
        assert!(chat == "/callback" || parts.len() >= 4, "{chat}: {} parts", parts.len());
    }
    assert_clean(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_that_is_authentic_is_kept_as_a_failed_message() {
    let world = World::start(CHANNELS).await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let bodies: [&[u8]; 7] =
        [b"", b"{", b"\xff\xfe{}", deep.as_bytes(), b"[]", b"\"text\"", b"{\"id\":{},\"chat\":[],\"text\":7}"];
    for body in bodies {
        // Both ends of this one are ours: its sender is told, and nothing is kept.
        assert_eq!(world.post("bridge", senders::bridge_bytes(body.to_vec())).await.status(), 400);
        world.deliver("slack", senders::slack(body.to_vec())).await;
        world.deliver("telegram", senders::telegram(body.to_vec())).await;
        world.deliver("whatsapp", senders::whatsapp(body.to_vec())).await;
        world.deliver("shop", senders::shop(body.to_vec())).await;
    }
    let failed = world.until(23, MessageState::Failed).await;
    assert!(failed.iter().all(|story| story.reason.as_deref() == Some("malformed")), "{failed:?}");
    world.deliver("telegram", senders::telegram_message(1, 1, "still there?")).await;
    world.until(1, MessageState::Done).await;
    assert!(!world.log().contains("a defect"), "{}", world.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_text_is_in_logs_metrics_or_errors() {
    let canaries = [
        "CANARYTEXT",
        "CANARYANSWER",
        "CANARYNAME",
        "+4915112345678",
        senders::SLACK_SECRET,
        senders::SLACK_TOKEN,
        senders::TELEGRAM_TOKEN,
        senders::TELEGRAM_SECRET,
        senders::WHATSAPP_TOKEN,
        senders::WHATSAPP_SECRET,
        senders::BRIDGE_SECRET,
        senders::SHOP_SECRET,
        "shop-token",
        support::FINI_KEY,
        "meatyhamhock",
        "/sendMessage",
        "4915112345678",
    ];
    let mut world = World::prepare(CHANNELS).await;
    world.serve_at("trace").await;
    world.fini.queue_reply(vec![EventSpec::message("CANARYANSWER")]);
    world.deliver("whatsapp", senders::whatsapp_message("4915112345678", 1, "CANARYTEXT")).await;
    world.until(1, MessageState::Done).await;
    for path in ["/slack/chat.postMessage", "sendMessage", "/graph/", "/callback", "/shop/"] {
        world.outside.refuse(support::outside::Refusal {
            path: path.to_owned(),
            times: 2,
            status: 500,
            headers: vec![],
            body: json!({"error": "CANARYTEXT +4915112345678"}),
            delivered: false,
        });
    }
    world.deliver("slack", senders::slack_message("D1", 1, "CANARYTEXT")).await;
    world.deliver("telegram", senders::telegram_message(4915112345678, 1, "CANARYTEXT")).await;
    world.deliver("whatsapp", senders::whatsapp_message("4915112345678", 2, "CANARYTEXT")).await;
    world.deliver("bridge", senders::bridge_message("4915112345678", "CANARYNAME", "CANARYTEXT")).await;
    world.deliver("shop", senders::shop_message(&json!("4915112345678"), "CANARYNAME", "CANARYTEXT")).await;
    world.deliver("slack", senders::slack(b"{\"CANARYTEXT\":".to_vec())).await;
    let unlike = json!({"id": "CANARYNAME", "chat": ["4915112345678"], "text": "CANARYTEXT"});
    let problem = world.post("bridge", senders::bridge(&unlike)).await.text().await.unwrap();
    assert!(!problem.contains("CANARY") && !problem.contains("4915112345678"), "{problem}");
    let mut forged = senders::shop_message(&json!("c"), "x", "CANARYTEXT");
    forged.headers.pop();
    world.post("shop", forged).await;
    world.until(6, MessageState::Done).await;
    let (log, metrics) = (world.log(), world.admin("/metrics").await);
    assert!(log.lines().count() > 10, "the log says something: {log}");
    let store = world.store().await;
    let mut told = String::new();
    for story in world.stories(&[]).await {
        told.push_str(&serde_json::to_string(&store.timeline(story.id).await.unwrap()).unwrap());
    }
    for secret in ["channels.slack.signing_secret", "channels.shop.verify.secret", "channels.bridge.secret"] {
        assert!(told.contains(&format!("\"secret\":\"{secret}\"")), "{secret}: {told}");
    }
    assert!(told.contains(r#""step":"part_retried""#) && told.contains(r#""reason":"http_500""#), "{told}");
    for canary in canaries {
        assert!(!log.contains(canary), "{canary} is in the log:\n{log}");
        assert!(!metrics.contains(canary), "{canary} is in the metrics");
        assert!(!told.contains(canary), "{canary} is in a timeline");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_prefers_to_wait_gets_the_answer_and_then_no_callback() {
    let world = World::start(CHANNELS).await;
    let ask =
        |id: &str, wait: &str| world.request("bridge", senders::bridge_message("c", id, "hi")).header("prefer", wait);
    let answer = ask("w1", "wait=30").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["id"], "w1");
    assert_eq!(body["messages"][0]["type"], "message");
    assert_eq!(body["messages"][0]["in_reply_to"], json!(["w1"]));

    // The same id again gets the same answer.
    let again: Value = ask("w1", "wait=30").send().await.unwrap().json().await.unwrap();
    assert_eq!(again, body);
    assert_eq!(world.fini.ledger().ask_calls, 1);

    // Too late: 202, and the callback has it.
    world.fini.change(Change { answer_delay_ms: Some(2500), ..Change::default() });
    let late = ask("w2", "wait=1").send().await.unwrap();
    assert_eq!(late.status(), 202);
    assert_eq!(late.json::<Value>().await.unwrap(), json!({"id": "w2"}));
    let calls = sent(&world, 1).await;
    assert_eq!(calls[0].body["in_reply_to"], json!(["w2"]));

    // The caller is gone before the answer: the callback has it.
    let gone = ask("w3", "wait=30").timeout(Duration::from_millis(700)).send().await;
    assert!(gone.is_err());
    let calls = sent(&world, 2).await;
    assert_eq!(calls[1].body["in_reply_to"], json!(["w3"]));

    // Two wait for the same one: both get it.
    let (one, two) = tokio::join!(ask("w4", "wait=30").send(), ask("w4", "wait=30").send());
    let (one, two): (Value, Value) = (one.unwrap().json().await.unwrap(), two.unwrap().json().await.unwrap());
    assert_eq!((&one, &one["messages"][0]["type"]), (&two, &json!("message")));
    assert_eq!(world.outside.sent().len(), 2, "what went out in a response is not called back");
    assert_clean(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_lets_waiting_callers_go_with_202_and_the_callback_has_the_answer() {
    let mut world = World::start(CHANNELS).await;
    world.fini.change(Change { answer_delay_ms: Some(3000), ..Change::default() });
    let request = world.request("bridge", senders::bridge_message("c", "d1", "hi")).header("prefer", "wait=30");
    let waiting = tokio::spawn(async move { request.send().await.unwrap().status().as_u16() });
    eventually("it is asked", SOON, async || (world.fini.ledger().ask_calls == 1).then_some(())).await;
    let status = world.terminate(SOON).await;
    assert!(status.success());
    assert_eq!(waiting.await.unwrap(), 202);
    if world.outside.sent().is_empty() {
        world.serve().await;
    }
    let calls = sent(&world, 1).await;
    assert_eq!(calls[0].body["in_reply_to"], json!(["d1"]));
    assert_eq!(world.fini.ledger().stored("hi"), 1);
}
