//! Slack's case, and what holds for Slack alone.

use std::time::Duration;

use fini_bridge::domain::id::PartId;
use fini_bridge::domain::message::{Address, Receipt, ReportOutcome, Reported};
use fini_bridge::platform::{
    Config, Delivery, Event, Idempotency, Parsed, Recipient, Registration, Rendering, SampleOf, SendError,
    ThrottleScope,
};
use fini_bridge::signature::{RawWebhook, hmac_hex};
use serde_json::{Value, json};

use super::stub::{Answer, Request, Stub};
use super::{Case, NOW, always, expect, now, perhaps_taken, send, send_to, shown, strict};

const TOKEN: &str = "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy";
const BOT: &str = "U00FAKEBOT01";
const TEAM: &str = "T00FAKE00AA";

pub fn case() -> Case {
    Case {
        name: "slack",
        files: "slack",
        vectors: "slack",
        config: |secrets, _| {
            let config = json!({ "signing_secret": secrets, "bot_token": TOKEN });
            Config::Slack(serde_json::from_value(config).unwrap())
        },
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        another_secret: "somebody-elses-secret",
        sign: |secret, at, body| {
            let at = at.to_string();
            let digest = hmac_hex(secret.as_bytes(), &[b"v0:", at.as_bytes(), b":", body]);
            vec![("x-slack-request-timestamp", at), ("x-slack-signature", format!("v0={digest}"))]
        },
        signature_header: "x-slack-signature",
        covers_body: true,
        tolerance: Some(300),
        fixtures,
        own: &["bot_own_echo"],
        address: || Address(json!({ "channel": "C00FAKECHAN1", "thread_ts": "1766458026.240809" })),
        server,
        receipt: Some("1503435956.000247"),
        idempotency: Idempotency::Reported,
        max_units: Some(4000),
        told: &[],
        credentials_call: true,
        nonsense: perhaps_taken,
        throttled: || {
            let answer = Answer::json(429, json!({ "ok": false, "error": "ratelimited" }));
            (answer.with_header("retry-after", "30"), Duration::from_secs(30))
        },
        token_refused: || Answer::json(200, json!({ "ok": false, "error": "token_revoked" })),
        final_error: || Answer::json(200, json!({ "ok": false, "error": "channel_not_found" })),
        token: TOKEN,
    }
}

fn fixtures() -> Value {
    let first = json!([{
        "key": "T00FAKE00AA:C00FAKECHAN1:1766458026.240809",
        "chat": "T00FAKE00AA:C00FAKECHAN1:1766458026.240809",
        "room": "C00FAKECHAN1",
        "account": TEAM,
        "sender": "U00FAKEUSER1",
        "shared": true,
        "addressed": "Mention",
        "text": "how do I reset my password?",
        "address": { "channel": "C00FAKECHAN1", "thread_ts": "1766458026.240809" },
        "sent_at": 1_766_458_026_240_i64,
        "unordered": true,
    }]);
    let direct = |ts: &str, millis: i64, text: &str| {
        json!([{
            "key": format!("T00FAKE00AA:D00FAKEDM001:{ts}"),
            "chat": "T00FAKE00AA:D00FAKEDM001",
            "room": "D00FAKEDM001",
            "account": TEAM,
            "sender": "U00FAKEUSER1",
            "shared": false,
            "addressed": "Direct",
            "text": text,
            "address": { "channel": "D00FAKEDM001", "thread_ts": null },
            "sent_at": millis,
            "unordered": true,
        }])
    };
    json!({
        // One message of one person: the same key, so that only one of the two is kept.
        "app_mention_same_message": first,
        "message_channel_mention": first,
        "bot_own_echo": [{ "ignored": "bot" }],
        "channel_join_non_message": [{ "ignored": "subtype" }],
        "file_share": direct("1766458050.000500", 1_766_458_050_000, "here is the screenshot\n[image: shot.png]"),
        "malformed_event_not_object": { "malformed": "event.type is not a string with content" },
        "message_changed_edit": [{ "ignored": "edited" }],
        "message_deleted": [{ "ignored": "deleted" }],
        "message_im_escapes": direct(
            "1766458020.100009",
            1_766_458_020_100,
            "is a < b && c > d? see the doc (https://example.com/a?x=1&y=2) or ask @U00FAKEUSER2 in #general 👩‍💻",
        ),
        "message_thread_reply": [{
            "key": "T00FAKE00AA:C00FAKECHAN1:1766458031.859009",
            "chat": "T00FAKE00AA:C00FAKECHAN1:1766458026.240809",
            "room": "C00FAKECHAN1",
            "account": TEAM,
            "sender": "U00FAKEUSER1",
            "shared": true,
            "addressed": "Thread",
            "text": "and on mobile?",
            "address": { "channel": "C00FAKECHAN1", "thread_ts": "1766458026.240809" },
            "sent_at": 1_766_458_031_859_i64,
            "unordered": true,
        }],
        "slash_command_form": [{ "ignored": "slash_command" }],
        "url_verification": {
            "answer": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P",
            "status": 200,
        },
    })
}

/// docs.slack.dev/reference/methods/chat.postMessage and auth.test
fn server(request: &Request) -> Result<Value, String> {
    expect(request.method == "POST", "POST")?;
    expect(request.header("authorization") == format!("Bearer {TOKEN}"), "the token, as Bearer")?;
    expect(request.header("content-type") == "application/json; charset=utf-8", "JSON, and its charset")?;
    let body = request.json();
    match request.path.as_str() {
        "/auth.test" => Ok(json!({
            "ok": true, "url": "https://example.slack.com/", "team": "Example", "user": "helper",
            "team_id": TEAM, "user_id": BOT, "bot_id": "B00FAKEBOT01", "is_enterprise_install": false,
        })),
        "/chat.postMessage" => {
            expect(body["channel"].as_str().is_some_and(|id| id.starts_with(['C', 'D', 'G'])), "channel")?;
            let text = body["text"].as_str().ok_or("text")?;
            expect((1..=4000).contains(&text.chars().count()), "1 to 4000 characters")?;
            expect(body["unfurl_links"] == false && body["unfurl_media"] == false, "no previews")?;
            let mark = &body["metadata"];
            let lower = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            expect(mark["event_type"].as_str().is_some_and(lower), "metadata.event_type")?;
            expect(mark["event_payload"].as_object().is_some_and(|all| all.len() == 1), "metadata.event_payload")?;
            expect(body.get("thread_ts").is_none_or(Value::is_string), "thread_ts is a string or absent")?;
            Ok(json!({ "ok": true, "channel": body["channel"], "ts": "1503435956.000247", "message": {} }))
        }
        "/assistant.threads.setStatus" => {
            expect(body["channel_id"].is_string() && body["thread_ts"].is_string(), "channel_id, thread_ts")?;
            expect(body["status"].is_string(), "status")?;
            Ok(json!({ "ok": true }))
        }
        "/assistant.threads.setSuggestedPrompts" => {
            expect(body["channel_id"].is_string() && body["thread_ts"].is_string(), "channel_id, thread_ts")?;
            let prompts = body["prompts"].as_array().ok_or("prompts")?;
            let whole = |prompt: &Value| prompt["title"].is_string() && prompt["message"].is_string();
            expect((1..=4).contains(&prompts.len()) && prompts.iter().all(whole), "1 to 4 prompts")?;
            Ok(json!({ "ok": true }))
        }
        other => Err(format!("no method {other}")),
    }
}

/// The fixture with some values replaced.
fn changed(fixture: &str, changes: &[(&str, Value)]) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(&case().fixture(fixture)).unwrap();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    body.to_string().into_bytes()
}

fn parsed(fixture: &str, changes: &[(&str, Value)]) -> Value {
    let case = case();
    case.parse(&*case.offline(), &changed(fixture, changes))
}

#[tokio::test]
async fn a_webhook_of_another_workspace_is_not_answered_once_ours_is_known() {
    let case = case();
    let stub = strict(server);
    let connector = case.connector(&[case.secret], &stub.url);
    let foreign = changed(
        "message_im_escapes",
        &[("/team_id", json!("T00OTHER")), ("/authorizations/0/team_id", json!("T00OTHER"))],
    );
    let ours = changed("message_im_escapes", &[("/team_id", json!("T00PARTNER"))]);
    let [theirs, ours] =
        [foreign.clone(), ours].map(|body| Address(case.parse(&*connector, &body)[0]["address"].clone()));
    let recipients = || [&theirs, &ours].map(|address| connector.recipient(address));
    assert_eq!(recipients(), [Recipient::Unknown; 2], "kept, and not worked on");
    connector.prepare().await;
    assert_eq!(recipients(), [Recipient::OtherAccount, Recipient::Us]);
    connector.prepare().await;
    assert_eq!(stub.seen().len(), 1, "it asks once");
    assert_eq!(case.parse(&*connector, &foreign), json!([{ "ignored": "other_account" }]));
    let shared = changed("message_im_escapes", &[("/team_id", json!("T00PARTNER"))]);
    assert_eq!(case.parse(&*connector, &shared)[0]["account"], "T00PARTNER", "a channel shared with a partner");
}

#[tokio::test]
async fn the_bot_knows_its_own_name_from_auth_test_where_the_event_does_not_tell() {
    let case = case();
    let stub = strict(server);
    let connector = case.connector(&[case.secret], &stub.url);
    let mention = changed("message_channel_mention", &[("/authorizations", json!([]))]);
    assert_eq!(case.parse(&*connector, &mention)[0]["addressed"], "Room");
    connector.prepare().await;
    assert_eq!(case.parse(&*connector, &mention)[0]["addressed"], "Mention");
    let own = changed("message_im_escapes", &[("/authorizations", json!([])), ("/event/user", json!(BOT))]);
    assert_eq!(case.parse(&*connector, &own), json!([{ "ignored": "bot" }]));
    assert_eq!(connector.check().await.unwrap().unwrap(), "bot @helper (U00FAKEBOT01) in Example (T00FAKE00AA)");
}

#[test]
fn bots_of_every_kind_are_left_alone() {
    let bot = json!([{ "ignored": "bot" }]);
    assert_eq!(parsed("message_im_escapes", &[("/event/bot_id", json!("B0OTHER"))]), bot);
    assert_eq!(parsed("message_im_escapes", &[("/event/app_id", json!("A00FAKEAPP01"))]), bot);
    assert_eq!(parsed("message_im_escapes", &[("/event/user", json!("USLACKBOT"))]), bot);
    assert_eq!(parsed("message_im_escapes", &[("/event/user", json!(BOT))]), bot);
    assert_eq!(parsed("message_im_escapes", &[("/event/subtype", json!("bot_message"))]), bot);
}

#[tokio::test]
async fn the_echo_of_a_post_of_ours_says_that_slack_has_the_part() {
    let stub = strict(server);
    let case = case();
    let connector = case.connector(&[case.secret], &stub.url);
    send(&case, &*connector, "Hello").await.unwrap();
    let mark = stub.seen()[0].json()["metadata"].clone();
    let echo = |more: &[(&str, Value)]| {
        let marked = [&[("/event/metadata", mark.clone())], more].concat();
        let event = connector.parse(&case.believed(&*connector, &changed("bot_own_echo", &marked), "application/json"));
        let Ok(Parsed::Events(mut events)) = event else { panic!("{event:?}") };
        events.remove(0)
    };
    let Event::Report(report) = echo(&[]) else { panic!("no report") };
    assert_eq!(report.outcome, ReportOutcome::Taken);
    assert_eq!(Value::from(format!("{:?}", report.of)), format!("{:?}", Reported::Part(part_id(&mark))));
    // Others can read the mark: what they make of it is no word of Slack's.
    for other in [
        ("/event/app_id", json!("A00OTHERAPP")),
        ("/event/app_id", json!(null)),
        ("/event/metadata/event_type", json!("another_mark")),
        ("/event/metadata/event_payload/part", json!("no id")),
    ] {
        assert!(matches!(echo(std::slice::from_ref(&other)), Event::Ignored("bot")), "{other:?}");
    }
    assert!(matches!(echo(&[("/event/subtype", json!("message_changed"))]), Event::Ignored("edited")));
}

fn part_id(mark: &Value) -> PartId {
    mark["event_payload"]["part"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_room_a_group_and_a_thread_in_a_direct_chat() {
    let room = parsed("message_channel_mention", &[("/event/text", json!("anyone?"))]);
    assert_eq!(room[0]["addressed"], "Room");
    let group = parsed("message_im_escapes", &[("/event/channel_type", json!("mpim"))]);
    assert_eq!(
        (&group[0]["shared"], &group[0]["addressed"], &group[0]["chat"]),
        (&json!(true), &json!("Room"), &json!("T00FAKE00AA:D00FAKEDM001:1766458020.100009"))
    );
    let thread = parsed("message_im_escapes", &[("/event/thread_ts", json!("1766458000.000100"))]);
    assert_eq!(thread[0]["chat"], "T00FAKE00AA:D00FAKEDM001", "still the one chat with this person");
    assert_eq!(thread[0]["address"]["thread_ts"], "1766458000.000100", "answered in its thread");
    let mention = parsed("message_thread_reply", &[("/event/text", json!("ok <@U00FAKEBOT01> and now?"))]);
    assert_eq!(mention[0]["addressed"], "Mention");
    assert_eq!(mention[0]["text"], "ok @U00FAKEBOT01 and now?");
}

#[test]
fn a_time_stamp_that_is_none_makes_no_lane() {
    for ts in ["1766458026", "soon", "1.5e3", "1766458026.", "99999999999999999999.000001", "1766458026.24080x"] {
        let event = parsed("message_thread_reply", &[("/event/thread_ts", json!(ts))]);
        assert_eq!(event, json!({ "malformed": "event.thread_ts is not a timestamp" }), "{ts}");
    }
}

#[test]
fn what_slack_sends_besides_messages_is_ignored_by_a_word() {
    let case = case();
    let connector = case.offline();
    let rate = br#"{"token":"x","type":"app_rate_limited","team_id":"T1","minute_rate_limited":1518467820}"#;
    assert_eq!(case.parse(&*connector, rate), json!([{ "ignored": "rate_limited" }]));
    assert_eq!(case.parse(&*connector, br#"{"type":"something_new"}"#), json!([{ "ignored": "other_type" }]));
    assert_eq!(
        parsed("message_im_escapes", &[("/event/type", json!("reaction_added"))]),
        json!([{ "ignored": "other_event" }])
    );
    let form = case.believed(&*connector, b"payload=%7B%7D", "application/x-www-form-urlencoded");
    assert_eq!(shown(connector.parse(&form)), json!([{ "ignored": "interactivity" }]));
}

#[test]
fn a_certificate_probe_gets_its_200_without_a_signature_and_nothing_else() {
    let case = case();
    let connector = case.offline();
    let unsigned = |body: &[u8], kind: &str| {
        let mut raw: RawWebhook = case.signed(body, kind);
        raw.headers.remove("x-slack-signature");
        raw
    };
    let form = "application/x-www-form-urlencoded";
    let probe = connector.handshake(&unsigned(b"ssl_check=1&token=x&challenge=me", form)).unwrap();
    assert_eq!((probe.status, probe.body.as_str()), (200, ""));
    assert!(connector.handshake(&unsigned(b"token=x&command=%2Fhelp", form)).is_none());
    assert!(connector.handshake(&unsigned(br#"{"ssl_check":1}"#, "application/json")).is_none());
}

#[tokio::test]
async fn a_reply_goes_to_its_thread_and_in_a_direct_chat_to_none() {
    let stub = strict(server);
    let case = case();
    let connector = case.connector(&[case.secret], &stub.url);
    send(&case, &*connector, "Hello").await.unwrap();
    let direct = Address(json!({ "channel": "D00FAKEDM001", "thread_ts": null }));
    send_to(&*connector, &direct, "Hello").await.unwrap();
    let seen = stub.seen();
    assert_eq!(seen[0].json()["thread_ts"], "1766458026.240809");
    assert!(seen[1].json().get("thread_ts").is_none());
}

#[tokio::test]
async fn slacks_error_words_say_what_can_be_done() {
    let case = case();
    let outcome = async |word: &str| {
        let stub = always(Answer::json(200, json!({ "ok": false, "error": word })).with_header("retry-after", "3"));
        send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await.unwrap_err()
    };
    let reason = |word: &str| format!("slack_{word}");
    let after = Some(Duration::from_secs(3));
    for (word, scope) in [
        ("ratelimited", ThrottleScope::ChatOrAccount),
        ("rate_limited", ThrottleScope::ChatOrAccount),
        ("message_limit_exceeded", ThrottleScope::Account),
    ] {
        assert_eq!(outcome(word).await, SendError::Throttled { reason: reason(word), after, scope });
    }
    for word in ["service_unavailable", "request_timeout"] {
        assert_eq!(outcome(word).await, SendError::Retry { reason: reason(word), after });
    }
    for word in ["fatal_error", "internal_error"] {
        assert_eq!(outcome(word).await, SendError::Unknown { reason: reason(word) });
    }
    for word in ["invalid_auth", "not_authed", "account_inactive", "token_expired", "missing_scope"] {
        assert_eq!(outcome(word).await, SendError::Credential { reason: reason(word) });
    }
    for word in ["not_in_channel", "is_archived", "msg_too_long", "no_text", "restricted_action", "a_new_word"] {
        assert_eq!(outcome(word).await, SendError::Permanent { reason: reason(word) });
    }
    let strange = outcome("Hello <you> xoxb-1").await;
    assert_eq!(strange, SendError::Permanent { reason: "slack_error".to_owned() }, "what is no word is not passed on");
}

#[tokio::test]
async fn a_taken_message_without_an_id_is_taken() {
    let stub = Stub::answering(|_| Answer::json(200, json!({ "ok": true })));
    let case = case();
    let sent = send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await;
    assert_eq!(sent, Ok(Receipt(None)));
}

#[tokio::test]
async fn a_sample_in_a_channel_is_a_mention_in_our_workspace() {
    let stub = strict(server);
    let case = case();
    let connector = case.connector(&[case.secret], &stub.url);
    connector.prepare().await;
    let of = SampleOf { text: "hello", chat: Some("C00FAKECHAN1"), id: "1", url: "https://a.example/webhooks/s" };
    let sample = connector.sample(&of, now()).unwrap();
    let event = case.parse(&*connector, &sample.body);
    assert_eq!((&event[0]["addressed"], &event[0]["account"]), (&json!("Mention"), &json!(TEAM)));
    assert_eq!(event[0]["sent_at"].as_i64().unwrap() / 1000, NOW);
}

#[tokio::test]
async fn registration_is_by_hand_and_names_the_address() {
    let steps = case().offline().register("https://a.example/webhooks/s").await.unwrap();
    let Registration::ByHand(steps) = steps else { panic!("{steps:?}") };
    assert!(steps.iter().any(|step| step.contains("https://a.example/webhooks/s")));
}

#[test]
fn wrong_keys_are_named() {
    let problems = |config: Value| {
        let around = fini_bridge::platform::Surroundings {
            http: fini_bridge::http::Http::new(&Default::default()).unwrap(),
            clock: std::sync::Arc::new(fini_bridge::domain::clock::SystemClock),
        };
        let config = Config::Slack(serde_json::from_value(config).unwrap());
        let outcome = fini_bridge::platform::build(&config, &Default::default(), &around);
        let problems = outcome.err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({ "signing_secret": "", "bot_token": "xoxp-1" })), ["signing_secret", "bot_token"]);
    assert_eq!(problems(json!({ "signing_secret": ["a", ""], "bot_token": "xoxb-1" })), ["signing_secret"]);
    assert!(problems(json!({ "signing_secret": "a", "bot_token": "xoxe.xoxb-1-abc" })).is_empty());
    let view = |view: Value| problems(json!({ "signing_secret": "a", "bot_token": "xoxb-1", "agent_view": view }));
    let prompts = |count: usize| vec![json!({ "title": "a", "message": "b" }); count];
    assert_eq!(view(json!({ "greeting": "Hi", "suggested_prompts": prompts(5) })), ["agent_view.suggested_prompts"]);
    assert_eq!(view(json!({ "suggested_prompts": prompts(1) })), ["agent_view.suggested_prompts"]);
    assert!(view(json!({ "greeting": "Hi", "suggested_prompts": prompts(4) })).is_empty());
}

/// A channel whose app has the agent's surface.
fn agent() -> Case {
    Case {
        config: |secrets, _| {
            let prompt = json!({ "title": "My order", "message": "Where is my order?" });
            let view = json!({ "greeting": "How can I help?", "suggested_prompts": [prompt] });
            let config = json!({ "signing_secret": secrets, "bot_token": TOKEN, "agent_view": view });
            Config::Slack(serde_json::from_value(config).unwrap())
        },
        ..case()
    }
}

fn started() -> Vec<u8> {
    let thread = json!({
        "user_id": "U00FAKEUSER1", "channel_id": "D00FAKEDM001", "thread_ts": "1766458040.000100",
        "context": { "channel_id": "C1", "team_id": TEAM, "enterprise_id": null },
    });
    let event = json!({ "type": "assistant_thread_started", "assistant_thread": thread, "event_ts": "1766458040.1" });
    changed("message_im_escapes", &[("/event", event)])
}

#[tokio::test]
async fn a_thread_of_the_agents_surface_is_a_chat_and_begins_with_a_greeting_and_prompts() {
    let case = agent();
    let stub = strict(server);
    let connector = case.connector(&[case.secret], &stub.url);
    let message = changed("message_im_escapes", &[("/event/thread_ts", json!("1766458040.000100"))]);
    let chat = case.parse(&*connector, &message)[0]["chat"].clone();
    assert_eq!(chat, "T00FAKE00AA:D00FAKEDM001:1766458040.000100");
    let opened = case.parse(&*connector, &started());
    assert_eq!((&opened[0]["chat"], &opened[0]["text"]), (&chat, &json!("")));
    let address = Address(opened[0]["address"].clone());
    let greeting = connector.greeting(&address).unwrap();
    assert_eq!(greeting, "How can I help?");
    let rendering = Rendering { address: &address, in_reply_to: &[] };
    let parts = connector.render(&super::message(greeting), &rendering).unwrap();
    for part in &parts {
        connector.send(Delivery { id: PartId::generate(), address: &address, part }).await.unwrap();
    }
    let seen = stub.seen();
    let [post, prompts] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((&post.json()["text"], &post.json()["thread_ts"]), (&json!(greeting), &json!("1766458040.000100")));
    assert_eq!(prompts.json()["prompts"], json!([{ "title": "My order", "message": "Where is my order?" }]));
    let usual = Address(case.parse(&*connector, &message)[0]["address"].clone());
    assert_eq!(connector.greeting(&usual), None);
    assert_eq!(
        connector.render(&super::message("x"), &Rendering { address: &usual, in_reply_to: &[] }).unwrap().len(),
        1
    );
    let plain = super::slack::case();
    assert_eq!(plain.parse(&*plain.offline(), &started()), json!([{ "ignored": "other_event" }]));
}

#[tokio::test]
async fn prompts_that_slack_does_not_take_hold_nothing_up() {
    let case = agent();
    for (word, sent) in [("missing_scope", true), ("channel_not_found", true), ("ratelimited", false)] {
        let stub = always(Answer::json(200, json!({ "ok": false, "error": word })));
        let connector = case.connector(&[case.secret], &stub.url);
        let address = Address(json!({ "channel": "D1", "thread_ts": "1766458040.000100", "greeting": true }));
        let rendering = Rendering { address: &address, in_reply_to: &[] };
        let prompts = connector.render(&super::message("Hi"), &rendering).unwrap().pop().unwrap();
        let outcome = connector.send(Delivery { id: PartId::generate(), address: &address, part: &prompts }).await;
        assert_eq!(outcome.is_ok(), sent, "{word}");
    }
}

#[tokio::test]
async fn in_a_thread_slack_shows_that_the_bot_is_at_work() {
    let case = case();
    let stub = strict(server);
    let connector = case.connector(&[case.secret], &stub.url);
    connector.typing(&(case.address)()).await.unwrap();
    connector.typing(&Address(json!({ "channel": "D00FAKEDM001", "thread_ts": null }))).await.unwrap();
    let seen = stub.seen();
    let [sign] = seen.as_slice() else { panic!("{seen:?}") };
    assert!(server(sign).is_ok());
    assert_eq!(sign.path, "/assistant.threads.setStatus");
    assert!(connector.typing_lasts().unwrap() < Duration::from_secs(120));
}
