//! What is particular to a platform, through the whole gateway: accounts that the bot answers for, Slack's surface for
//! agents, what can't be read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod support;

use fini_bridge::store::MessageState;
use serde_json::{Value, json};
use support::senders::{self, CHANNELS, Signed, WHATSAPP_NUMBER};
use support::{SOON, World, eventually};

fn telegram(update: Value) -> Signed {
    senders::telegram(update.to_string().into_bytes())
}

/// In the chat of a business account's owner with the person 77.
fn business(from: i64, number: u32, text: &str) -> Signed {
    let message = json!({
        "business_connection_id": "Y7bC", "message_id": number, "date": senders::now(), "text": text,
        "from": { "id": from, "is_bot": false }, "chat": { "id": 77, "type": "private" },
    });
    telegram(json!({ "update_id": number, "business_message": message }))
}

fn contents(world: &World) -> Vec<(String, String)> {
    let ledger = world.fini.ledger();
    ledger.asks().map(|ask| (ask.role.clone().unwrap_or_default(), ask.content.clone().unwrap_or_default())).collect()
}

fn pair(role: &str, text: &str) -> (String, String) {
    (role.to_owned(), text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_accounts_customer_is_answered_in_its_name_and_its_owner_is_an_agent() {
    let world = World::start(CHANNELS).await;
    world.deliver("telegram", business(111, 1, "Hello from the owner")).await;
    world.deliver("telegram", business(77, 2, "Is it shipped?")).await;
    world.until(1, MessageState::Done).await;
    let sent = world.outside.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0].body["business_connection_id"], &sent[0].body["chat_id"]), (&json!("Y7bC"), &json!(77)));
    world.deliver("telegram", business(111, 3, "I take over.")).await;
    world.until(2, MessageState::Done).await;
    assert_eq!(contents(&world), [pair("user", "Is it shipped?"), pair("agent", "I take over.")]);
    // The same person, writing to the bot itself, is another chat.
    world.deliver("telegram", senders::telegram_message(77, 4, "And here?")).await;
    world.until(3, MessageState::Done).await;
    let conversations: Vec<_> = world.fini.ledger().asks().map(|ask| ask.conversation.clone()).collect();
    assert!(conversations[0] == conversations[1] && conversations[1] != conversations[2], "{conversations:?}");
    assert_eq!(world.outside.sent().len(), 2, "the owner is not answered");
    assert_eq!(world.outside.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pictures_of_an_album_are_one_question() {
    let world = World::start(CHANNELS).await;
    for number in 1..=3 {
        let mut message = json!({
            "message_id": number, "date": senders::now(), "photo": [{ "file_id": "x" }], "media_group_id": "13",
            "from": { "id": 5, "is_bot": false }, "chat": { "id": 5, "type": "private" },
        });
        if number == 1 {
            message["caption"] = json!("both broken");
        }
        world.deliver("telegram", telegram(json!({ "update_id": number, "message": message }))).await;
    }
    world.until(3, MessageState::Done).await;
    assert_eq!(contents(&world), [pair("user", "both broken\n[photo]\n[photo]\n[photo]")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_thread_of_slacks_agent_surface_is_greeted_and_asks_fini_nothing() {
    let view = "[channels.slack.agent_view]\ngreeting = \"How can I help?\"\n\
        suggested_prompts = [{ title = \"My order\", message = \"Where is my order?\" }]\n";
    let world = World::start(&format!("{CHANNELS}{view}")).await;
    let root = format!("{}.000001", senders::now());
    let thread = json!({ "user_id": "U00FAKEUSER1", "channel_id": "D1", "thread_ts": root, "context": {} });
    let body = json!({
        "team_id": "T00FAKE00AA", "api_app_id": "A00FAKEAPP01", "type": "event_callback", "event_id": "Ev1",
        "authorizations": [{ "team_id": "T00FAKE00AA", "user_id": "U00FAKEBOT01", "is_bot": true }],
        "event": { "type": "assistant_thread_started", "assistant_thread": thread, "event_ts": root },
    });
    for _ in 0..2 {
        world.deliver("slack", senders::slack(body.to_string().into_bytes())).await;
    }
    let prompts = || world.outside.other().into_iter().find(|call| call.path.ends_with("setSuggestedPrompts"));
    let prompts = eventually("prompts are shown", SOON, async || prompts()).await;
    assert_eq!(prompts.body["prompts"], json!([{ "title": "My order", "message": "Where is my order?" }]));
    let sent = world.outside.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!((&sent[0].body["text"], &sent[0].body["thread_ts"]), (&json!("How can I help?"), &json!(root)));
    assert_eq!(contents(&world), []);
    assert_eq!(world.outside.violations(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_what_can_not_be_read_is_told_if_the_channel_has_words_for_it() {
    let message = |number: u32| {
        let metadata = json!({ "display_phone_number": "15550783881", "phone_number_id": WHATSAPP_NUMBER });
        let message = json!({
            "from": "16505551234", "id": format!("wamid.U{number}"), "timestamp": senders::now().to_string(),
            "type": "unsupported", "errors": [{ "code": 131_051 }],
        });
        let change = json!({ "field": "messages", "value": { "metadata": metadata, "messages": [message] } });
        let body = json!({ "object": "whatsapp_business_account", "entry": [{ "changes": [change] }] });
        senders::whatsapp(body.to_string().into_bytes())
    };
    let told = World::start(&format!("[replies]\nunreadable_text = \"Please write it down.\"\n{CHANNELS}")).await;
    told.deliver("whatsapp", message(1)).await;
    let sent = eventually("it is told", SOON, async || told.outside.sent().pop()).await;
    assert_eq!(sent.body["text"]["body"], "Please write it down.");
    assert_eq!(contents(&told), []);
    let silent = World::start(CHANNELS).await;
    silent.deliver("whatsapp", message(1)).await;
    silent.deliver("whatsapp", senders::whatsapp_message("16505551234", 2, "hello")).await;
    silent.until(1, MessageState::Done).await;
    assert_eq!((contents(&silent), silent.outside.sent().len()), (vec![pair("user", "hello")], 1));
}
