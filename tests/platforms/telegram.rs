//! Telegram's case, and what holds for Telegram alone.

use std::time::Duration;

use fini_bridge::domain::message::{Address, Receipt};
use fini_bridge::platform::{Config, Idempotency, Platform, Recipient, Registration, SampleOf, SendError};
use serde_json::{Value, json};

use super::stub::{Answer, Request, Stub};
use super::{Case, always, expect, now, perhaps_taken, send, send_to, strict};

const TOKEN: &str = "6111111111:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
const GROUP: i64 = -1_001_987_654_321;

pub fn case() -> Case {
    Case {
        name: "telegram",
        files: "telegram",
        vectors: "telegram",
        config: |secrets, _| {
            let config = json!({ "secret_token": secrets, "bot_token": TOKEN });
            Config::Telegram(serde_json::from_value(config).unwrap())
        },
        secret: "A-z_09-secret-token",
        another_secret: "somebody-elses-secret",
        sign: |secret, _, _| vec![("x-telegram-bot-api-secret-token", secret.to_owned())],
        signature_header: "x-telegram-bot-api-secret-token",
        covers_body: false,
        tolerance: None,
        fixtures,
        own: &["business_message_echo_of_own_reply", "message_from_other_bot"],
        address: || Address(json!({ "chat_id": 7_700_112_233_i64 })),
        server,
        receipt: Some("413"),
        idempotency: Idempotency::None,
        max_units: Some(4096),
        told: &[],
        credentials_call: true,
        nonsense: perhaps_taken,
        throttled: || {
            let body = json!({
                "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 17",
                "parameters": { "retry_after": 17 },
            });
            (Answer::json(429, body), Duration::from_secs(17))
        },
        token_refused: || refusal(401, "Unauthorized"),
        final_error: || refusal(403, "Forbidden: bot was blocked by the user"),
        token: TOKEN,
    }
}

fn refusal(code: u16, description: &str) -> Answer {
    Answer::json(code, json!({ "ok": false, "error_code": code, "description": description }))
}

fn fixtures() -> Value {
    let private = |id: i64, at: i64, text: &str| {
        json!([{
            "key": format!("7700112233:{id}"),
            "chat": "7700112233",
            "room": "7700112233",
            "account": "6111111111",
            "sender": "7700112233",
            "shared": false,
            "addressed": "Direct",
            "text": text,
            "address": { "chat_id": 7_700_112_233_i64 },
            "sent_at": at * 1000,
            "unordered": false,
        }])
    };
    let mut business = private(59, 1_791_000_009, "Is it shipped?");
    business[0]["key"] = json!("Y7bCqv3nQUkGAAAA8z:7700112233:59");
    business[0]["chat"] = json!("Y7bCqv3nQUkGAAAA8z:7700112233");
    business[0]["account"] = json!("Y7bCqv3nQUkGAAAA8z");
    business[0]["address"] = json!({ "chat_id": 7_700_112_233_i64, "business_connection_id": "Y7bCqv3nQUkGAAAA8z" });
    let mut album = private(413, 1_791_000_040, "broken screen\n[photo]");
    album[0]["more_within"] = json!(1000);
    json!({
        "bot_blocked_my_chat_member": [{ "ignored": "chat_member" }],
        "business_message_customer": business,
        "business_message_echo_of_own_reply": [{ "ignored": "bot" }],
        "callback_query": [{ "ignored": "callback_query" }],
        "edited_message": [{ "ignored": "edited" }],
        "group_mention_topic": [{
            "key": "-1001987654321:9120",
            "chat": "-1001987654321:77",
            "room": "-1001987654321",
            "account": "6111111111",
            "sender": "7700112233",
            "shared": true,
            "addressed": "Mention",
            "text": "👍 @acme_help_bot what are your opening hours?",
            "address": { "chat_id": GROUP, "message_thread_id": 77, "reply_to": 9120 },
            "sent_at": 1_791_000_005_000_i64,
            "unordered": false,
        }],
        "group_migrated": [{ "moved": "-456789", "to": GROUP.to_string(), "address": { "chat_id": GROUP } }],
        "malformed_truncated": { "malformed": "the body is not JSON" },
        "message_from_other_bot": [{ "ignored": "bot" }],
        "message_text": private(412, 1_791_000_000, "Hallo 👋🏽 wo ist meine Bestellung #A1042?"),
        "photo_with_caption_album": album,
        "unknown_update_kind": [{ "ignored": "other_update" }],
    })
}

/// core.telegram.org/bots/api
fn server(request: &Request) -> Result<Value, String> {
    expect(request.method == "POST", "POST")?;
    let method = request.path.strip_prefix(&format!("/bot{TOKEN}/")).ok_or("the token, in the path")?;
    expect(request.header("content-type") == "application/json", "JSON")?;
    let body = request.json();
    let result = match method {
        "getMe" => json!({ "id": 6_111_111_111_i64, "is_bot": true, "username": "acme_help_bot" }),
        "getWebhookInfo" => json!({ "url": "https://a.example/webhooks/t", "pending_update_count": 3 }),
        "setWebhook" => {
            expect(body["url"].as_str().is_some_and(|url| url.starts_with("https://")), "https only")?;
            expect(body["secret_token"] == "A-z_09-secret-token", "secret_token")?;
            expect(body["allowed_updates"].is_array(), "allowed_updates")?;
            json!(true)
        }
        "sendMessage" => {
            expect(body["chat_id"].is_i64(), "chat_id")?;
            let text = body["text"].as_str().ok_or("text")?;
            expect((1..=4096).contains(&text.encode_utf16().count()), "1 to 4096 units")?;
            expect(body.get("parse_mode").is_none_or(|mode| mode == "HTML"), "parse_mode")?;
            expect(body["link_preview_options"] == json!({ "is_disabled": true }), "no previews")?;
            json!({ "message_id": 413, "chat": {}, "date": 1_791_000_100 })
        }
        "answerGuestQuery" => {
            expect(body["guest_query_id"].is_string(), "guest_query_id")?;
            let result = &body["result"];
            expect(result["type"] == "article" && result["id"].is_string() && result["title"].is_string(), "result")?;
            let content = &result["input_message_content"];
            expect(content["message_text"].is_string() && content.get("text").is_none(), "message_text")?;
            json!({ "inline_message_id": "I1" })
        }
        "sendChatAction" => {
            expect(body["chat_id"].is_i64() && body["action"] == "typing", "chat_id, action")?;
            json!(true)
        }
        other => return Err(format!("no method {other}")),
    };
    Ok(json!({ "ok": true, "result": result }))
}

/// A message in the group, said with these fields.
fn in_group(fields: Value) -> Vec<u8> {
    let mut message = json!({
        "message_id": 1, "date": 1_791_000_000,
        "from": { "id": 7_700_112_233_i64, "is_bot": false, "first_name": "Zoë" },
        "chat": { "id": GROUP, "type": "supergroup", "title": "ACME" },
    });
    for (key, value) in fields.as_object().unwrap() {
        message[key] = value.clone();
    }
    json!({ "update_id": 1, "message": message }).to_string().into_bytes()
}

fn said(text: &str, kind: &str, offset: usize, length: usize) -> Value {
    json!({ "text": text, "entities": [{ "type": kind, "offset": offset, "length": length }] })
}

/// One that knows its name.
async fn prepared() -> (std::sync::Arc<dyn Platform>, Stub) {
    let stub = strict(server);
    let case = case();
    let connector = case.connector(&[case.secret], &stub.url);
    connector.prepare().await;
    (connector, stub)
}

#[tokio::test]
async fn in_a_group_a_mention_a_command_and_a_reply_are_for_the_bot_and_nothing_else() {
    let (connector, _stub) = prepared().await;
    let case = case();
    let to = |id: i64| json!({ "message_id": 5, "from": { "id": id, "is_bot": true } });
    let cases = [
        ("Mention", "hello", said("@acme_help_bot hello", "mention", 0, 14)),
        ("Mention", "hello", said("@ACME_Help_Bot, hello", "mention", 0, 14)),
        ("Mention", "", said("@acme_help_bot", "mention", 0, 14)),
        ("Mention", "😀 @acme_help_bot", said("😀 @acme_help_bot", "mention", 3, 14)),
        ("Room", "@other_bot hello", said("@other_bot hello", "mention", 0, 10)),
        ("Mention", "/start", said("/start", "bot_command", 0, 6)),
        ("Mention", "/start now", said("/start@acme_help_bot now", "bot_command", 0, 20)),
        ("Room", "/start@other_bot", said("/start@other_bot", "bot_command", 0, 16)),
        ("Room", "try /help", said("try /help", "bot_command", 4, 5)),
        ("Room", "@acme_help_bot", said("@acme_help_bot", "mention", 1, 900)),
        ("Room", "hello", json!({ "text": "hello" })),
        ("Mention", "hello", json!({ "text": "hello", "reply_to_message": to(6_111_111_111) })),
        ("Room", "hello", json!({ "text": "hello", "reply_to_message": to(6_000_000_001) })),
    ];
    for (addressed, text, fields) in cases {
        let event = case.parse(&*connector, &in_group(fields.clone()));
        assert_eq!((&event[0]["addressed"], &event[0]["text"]), (&json!(addressed), &json!(text)), "{fields}");
    }
    let mut by_id = said("help me", "text_mention", 0, 4);
    by_id["entities"][0]["user"] = json!({ "id": 6_111_111_111_i64 });
    assert_eq!(case.parse(&*connector, &in_group(by_id))[0]["addressed"], "Mention");
    let mut opening = json!({ "text": "hi", "is_topic_message": true, "message_thread_id": 5 });
    opening["reply_to_message"] = to(6_111_111_111);
    opening["reply_to_message"]["forum_topic_created"] = json!({ "name": "Billing" });
    let event = case.parse(&*connector, &in_group(opening));
    assert_eq!(event[0]["addressed"], "Room", "in a topic that the bot opened, not each message is a reply to it");
}

#[tokio::test]
async fn before_it_knows_its_name_whom_a_mention_or_a_command_names_is_remembered() {
    let case = case();
    let stub = strict(server);
    let connector = case.connector(&[case.secret], &stub.url);
    let addresses = [
        said("@ACME_help_bot hello", "mention", 0, 14),
        said("/start@acme_help_bot", "bot_command", 0, 20),
        said("@other_bot hello", "mention", 0, 10),
        said("/start", "bot_command", 0, 6),
    ]
    .map(|fields| {
        let event = case.parse(&*connector, &in_group(fields));
        assert_eq!(event[0]["addressed"], "Mention");
        Address(event[0]["address"].clone())
    });
    let recipients = || addresses.iter().map(|address| connector.recipient(address)).collect::<Vec<_>>();
    use Recipient::{OtherBot, Unknown, Us};
    assert_eq!(recipients(), [Unknown, Unknown, Unknown, Us]);
    connector.prepare().await;
    assert_eq!(recipients(), [Us, Us, OtherBot, Us]);
    let event = case.parse(&*connector, &in_group(json!({ "text": "hello" })));
    assert_eq!(event[0]["addressed"], "Room");
}

#[test]
fn what_is_not_text_is_one_readable_line_and_a_service_message_is_nothing() {
    let case = case();
    let connector = case.offline();
    let line = |fields: Value| case.parse(&*connector, &in_group(fields));
    let file = json!({ "file_id": "x", "file_name": "invoice\n 7.pdf" });
    for (fields, text) in [
        (json!({ "document": file }), "[document: invoice 7.pdf]"),
        (json!({ "voice": { "file_id": "x" } }), "[voice message]"),
        (json!({ "sticker": { "emoji": "👍" } }), "[sticker 👍]"),
        (json!({ "animation": {}, "document": { "file_name": "a.mp4" } }), "[animation]"),
        (json!({ "venue": { "title": "Café" }, "location": {} }), "[location: Café]"),
        (json!({ "contact": { "phone_number": "+1555" } }), "[contact: +1555]"),
        (json!({ "caption": "see", "video": { "file_name": "b.mov" } }), "see\n[video: b.mov]"),
    ] {
        assert_eq!(line(fields)[0]["text"], text);
    }
    assert_eq!(line(json!({ "new_chat_members": [] })), json!([{ "ignored": "service" }]));
    assert_eq!(line(json!({ "pinned_message": { "text": "x" } })), json!([{ "ignored": "service" }]));
    assert_eq!(line(json!({ "text": "x", "is_automatic_forward": true })), json!([{ "ignored": "channel_post" }]));
    let posted = json!({ "text": "x", "chat": { "id": GROUP, "type": "channel" } });
    assert_eq!(line(posted), json!([{ "ignored": "channel_post" }]));
}

#[test]
fn start_in_a_private_chat_is_sent_as_it_is() {
    let case = case();
    let mut fields = said("/start ref42", "bot_command", 0, 6);
    fields["chat"] = json!({ "id": 7_700_112_233_i64, "type": "private" });
    assert_eq!(case.parse(&*case.offline(), &in_group(fields))[0]["text"], "/start ref42");
}

#[tokio::test]
async fn a_reply_in_a_group_quotes_the_question_in_its_topic() {
    let (connector, stub) = prepared().await;
    send_to(&*connector, &Address(json!({ "chat_id": GROUP, "message_thread_id": 77, "reply_to": 9120 })), "Hi")
        .await
        .unwrap();
    send_to(&*connector, &Address(json!({ "chat_id": 7_700_112_233_i64 })), "Hi").await.unwrap();
    let seen = stub.seen();
    let [_, group, private] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(group.json()["message_thread_id"], 77);
    assert_eq!(group.json()["reply_parameters"], json!({ "message_id": 9120, "allow_sending_without_reply": true }));
    assert_eq!(group.json()["parse_mode"], "HTML");
    assert!(private.json().get("reply_parameters").is_none() && private.json().get("message_thread_id").is_none());
}

#[tokio::test]
async fn each_kind_of_chat_is_answered_where_its_readers_are_and_nobody_else() {
    let (connector, stub) = prepared().await;
    let addresses = [
        json!({ "chat_id": 7_700_112_233_i64, "business_connection_id": "Y7bC" }),
        json!({ "chat_id": GROUP, "direct_messages_topic_id": 42 }),
        json!({ "chat_id": GROUP, "receiver_user_id": 7_700_112_233_i64, "ephemeral_message_id": 1 }),
        json!({ "guest_query_id": "G1" }),
    ]
    .map(Address);
    for address in &addresses {
        send_to(&*connector, address, "Hi **you**").await.unwrap();
    }
    let seen: Vec<Value> = stub.seen()[1..].iter().map(Request::json).collect();
    assert_eq!(seen[0]["business_connection_id"], "Y7bC");
    assert_eq!(seen[1]["direct_messages_topic_id"], 42);
    assert_eq!(seen[2]["ephemeral_message_parameters"], json!({ "receiver_user_id": 7_700_112_233_i64 }));
    assert_eq!(seen[2]["reply_parameters"], json!({ "ephemeral_message_id": 1 }), "late, it is refused: never public");
    assert_eq!(seen[3]["result"]["input_message_content"]["message_text"], "Hi <b>you</b>");
    let before = stub.seen().len();
    for address in &addresses {
        connector.typing(address).await.unwrap();
    }
    let signs: Vec<Value> = stub.seen()[before..].iter().map(Request::json).collect();
    let business = json!({ "chat_id": 7_700_112_233_i64, "business_connection_id": "Y7bC", "action": "typing" });
    assert_eq!(signs, [business], "a sign shows only where the answer will");
}

#[test]
fn other_business_accounts_than_those_configured_are_not_answered() {
    fn config(secrets: &[&str], connection: &str) -> Config {
        let config = json!({ "secret_token": secrets, "bot_token": TOKEN, "business_connections": [connection] });
        Config::Telegram(serde_json::from_value(config).unwrap())
    }
    let ours = Case { config: |secrets, _| config(secrets, "Y7bCqv3nQUkGAAAA8z"), ..case() };
    let others = Case { config: |secrets, _| config(secrets, "another"), ..case() };
    let body = case().fixture("business_message_customer");
    assert_eq!(ours.parse(&*ours.offline(), &body)[0]["text"], "Is it shipped?");
    assert_eq!(others.parse(&*others.offline(), &body), json!([{ "ignored": "other_account" }]));
    assert_eq!(others.parse(&*others.offline(), &case().fixture("message_text"))[0]["addressed"], "Direct");
}

#[tokio::test]
async fn markup_that_telegram_refuses_goes_out_as_plain_text_at_once() {
    let stub = Stub::answering(|request| match request.json().get("parse_mode") {
        Some(_) => refusal(400, "Bad Request: can't parse entities: Unsupported start tag \"secret\" at byte offset 4"),
        None => Answer::json(200, server(request).unwrap()),
    });
    let case = case();
    let sent = send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await;
    assert_eq!(sent, Ok(Receipt(Some("413".to_owned()))));
    assert_eq!(stub.seen().len(), 2);
}

#[tokio::test]
async fn a_group_that_became_a_supergroup_has_moved() {
    let mut answer = json!({ "ok": false, "error_code": 400, "parameters": { "migrate_to_chat_id": GROUP } });
    answer["description"] = json!("Bad Request: group chat was upgraded to a supergroup chat");
    let stub = always(Answer::json(400, answer));
    let case = case();
    let error = send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await.unwrap_err();
    assert_eq!(error, SendError::Moved { address: Address(json!({ "chat_id": GROUP })) });
}

#[tokio::test]
async fn telegrams_errors_say_what_can_be_done() {
    let case = case();
    let outcome = async |code, description: &str| {
        let stub = always(refusal(code, description));
        send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await.unwrap_err()
    };
    let permanent = |reason: &str| SendError::Permanent { reason: reason.to_owned() };
    let credential = |reason: &str| SendError::Credential { reason: reason.to_owned() };
    assert_eq!(outcome(403, "Forbidden: bot was kicked from the group chat").await, permanent("telegram_403"));
    assert_eq!(outcome(400, "Bad Request: chat not found").await, permanent("telegram_chat_not_found"));
    assert_eq!(outcome(400, "Bad Request: message thread not found").await, permanent("telegram_topic_not_found"));
    assert_eq!(outcome(400, "Bad Request: something new about \"Hello\"").await, permanent("telegram_400"));
    assert_eq!(outcome(404, "Not Found").await, credential("telegram_404"));
    assert!(matches!(outcome(502, "Bad Gateway").await, SendError::Retry { .. }));
    let proxy = always(Answer { status: 403, headers: vec![], body: "<html>".to_owned() });
    let error = send(&case, &*case.connector(&[case.secret], &proxy.url), "Hello").await.unwrap_err();
    assert_eq!(error, credential("http_403"), "somebody else's 403 is not the user's");
}

#[tokio::test]
async fn registering_checking_and_typing_use_the_calls_for_it() {
    let (connector, stub) = prepared().await;
    let done = connector.register("https://a.example/webhooks/t").await.unwrap();
    assert!(matches!(done, Registration::Done(_)));
    assert_eq!(connector.check().await.unwrap().unwrap(), "bot @acme_help_bot (6111111111), webhook set, 3 waiting");
    connector.typing(&Address(json!({ "chat_id": GROUP, "message_thread_id": 77, "reply_to": 1 }))).await.unwrap();
    let typing = stub.seen().pop().unwrap();
    assert_eq!(typing.json(), json!({ "chat_id": GROUP, "message_thread_id": 77, "action": "typing" }));
    assert_eq!(connector.typing_lasts(), Some(Duration::from_secs(4)));
}

#[tokio::test]
async fn a_sample_in_a_group_is_for_the_bot_and_a_chat_that_is_no_number_is_refused() {
    let case = case();
    let connector = case.offline();
    let of = SampleOf { text: "hello", chat: Some("-1001987654321"), id: "1", url: "https://a.example/webhooks/t" };
    let sample = connector.sample(&of, now()).unwrap();
    assert_eq!(case.parse(&*connector, &sample.body)[0]["addressed"], "Mention");
    assert!(connector.sample(&SampleOf { chat: Some("general"), ..of }, now()).is_err());
}

#[test]
fn wrong_keys_are_named() {
    let problems = |secret: &str, token: &str| {
        let around = fini_bridge::platform::Surroundings {
            http: fini_bridge::http::Http::new(&Default::default()).unwrap(),
            clock: std::sync::Arc::new(fini_bridge::domain::clock::SystemClock),
        };
        let config = serde_json::from_value(json!({ "secret_token": secret, "bot_token": token })).unwrap();
        let outcome = fini_bridge::platform::build(&Config::Telegram(config), &Default::default(), &around);
        outcome.err().unwrap_or_default().into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(problems("with space", "no-token"), ["secret_token", "bot_token"]);
    assert_eq!(problems(&"a".repeat(257), TOKEN), ["secret_token"]);
    for token in ["12:", ":abc", "12:a/b", "x:abc", "99999999999999999999:abc"] {
        assert_eq!(problems("a", token), ["bot_token"], "{token}");
    }
    assert!(problems(&"a".repeat(256), TOKEN).is_empty());
}
