//! Custom channels, on the real process: what a customer writes stays where the configuration put it, and what the
//! bridge's own protocol doesn't know is said to its sender.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod support;

use std::time::Duration;

use fini_bridge::store::MessageState;
use serde_json::{Value, json};
use support::outside::{Call, Refusal};
use support::senders::{self, CHANNELS, Signed};
use support::{SOON, World, eventually};

const TOKEN: &str = "desk-token-0123456789";

/// A described chat with this much of `inbound` and `reply`.
fn desk(name: &str, inbound: &str, reply: &str) -> String {
    format!(
        r#"
[channels.{name}]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
[channels.{name}.verify]
scheme = "token"
secret = "{TOKEN}"
header = "x-token"
[channels.{name}.inbound]
id = "body.id"
chat = "body.chat"
text = "body.text"
{inbound}
[channels.{name}.reply]
url = "{{outside}}/shop/conversations/{{{{ chat }}}}/messages"
headers = {{ authorization = "Bearer shop-token" }}
{reply}
"#
    )
}

fn signed(body: &Value) -> Signed {
    let headers = [("x-token", TOKEN), ("content-type", "application/json")];
    Signed {
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: body.to_string().into_bytes(),
    }
}

async fn sent(world: &World, number: usize) -> Vec<Call> {
    eventually("the replies arrive", SOON, async || Some(world.outside.sent()).filter(|sent| sent.len() >= number))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_display_name_arrives_as_a_name_in_quotes_and_bare_behind_and_before_the_chat() {
    let bodies = [
        r#"{"to": "{{ item.sender.name }}", "chat": {{ chat|tojson }}, "text": {{ text|tojson }}}"#,
        r#"{"chat": {{ chat|tojson }}, "to": "{{ item.sender.name }}", "text": {{ text|tojson }}}"#,
        r#"{"to": {{ item.sender.name }}, "chat": "{{ chat }}", "text": "{{ text }}"}"#,
        r#"{"chat": {{ chat }}, "text": {{ text }}, "to": {{ item.sender.name }}}"#,
    ];
    let channels: Vec<String> =
        (0..).zip(bodies).map(|(n, body)| desk(&format!("desk-{n}"), "", &format!("body = '{body}'"))).collect();
    let world = World::start(&channels.concat()).await;
    let checked = world.command(&["check"]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&checked.stderr).contains("reply.body"), "nothing to warn of");
    let names = [r#"zoe", "chat": "other-chat", "admin": true, "x": ""#, r#"zoe", "chat": "other-chat", "x": "\"#];
    for (channel, template) in bodies.iter().enumerate() {
        for (number, name) in names.iter().enumerate() {
            let body =
                json!({ "id": format!("m{number}"), "chat": "victim-chat", "text": "hi", "sender": { "name": name } });
            let already = world.outside.sent().len();
            world.deliver(&format!("desk-{channel}"), signed(&body)).await;
            let reply = sent(&world, already + 1).await[already].body.clone();
            let text = reply["text"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{reply}");
            assert_eq!(reply, json!({ "to": name, "chat": "victim-chat", "text": text }), "{template}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_value_adds_to_a_body_is_not_sent_and_the_message_fails() {
    let body = r#"{"chat": {{ chat }}, "text": {{ text }}, "to": "{{ item.name|safe }}"}"#;
    let world = World::start(&desk("desk", "", &format!("body = '{body}'"))).await;
    let checked = world.command(&["check"]);
    assert!(String::from_utf8_lossy(&checked.stderr).contains("channels.desk.reply.body"), "`|safe` is warned of");
    let name = r#"zoe", "chat": "other-chat"#;
    world.deliver("desk", signed(&json!({ "id": "m", "chat": "c", "text": "hi", "name": name }))).await;
    let failed = world.until(1, MessageState::Failed).await;
    assert_eq!(failed[0].reason.as_deref(), Some("reply.body: gives a key twice"));
    assert_eq!(world.outside.sent().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_id_that_climbs_is_answered_nowhere() {
    let world = World::start(CHANNELS).await;
    let chats = ["../../admin", "..", "%2e%2e/x", "%252e%252e", "..;x/admin", "a\\..\\b"];
    for (number, chat) in chats.iter().enumerate() {
        world.deliver("shop", senders::shop_message(&json!(chat), &format!("m{number}"), "let me in")).await;
    }
    let failed = world.until(chats.len(), MessageState::Failed).await;
    assert!(
        failed.iter().all(|story| story.reason.as_deref() == Some("reply.url: has a dot segment in it")),
        "{failed:?}"
    );
    world.deliver("shop", senders::shop_message(&json!("team/..room"), "fine", "hello")).await;
    assert_eq!(sent(&world, 1).await[0].path, "/shop/conversations/team%2F..room/messages");
    assert_eq!(world.outside.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_the_own_protocol_is_told_by_its_field_and_not_kept() {
    let world = World::start(CHANNELS).await;
    for (body, field) in [
        (json!([1, 2]), "body"),
        (json!({ "chat": "c", "text": "t" }), "id"),
        (json!({ "id": "m", "text": "t" }), "chat"),
        (json!({ "id": "m", "chat": {}, "text": "t" }), "chat"),
        (json!({ "id": "m", "chat": "c" }), "text"),
        (json!({ "id": "m", "chat": "c", "text": 7 }), "text"),
        (json!({ "id": "m", "chat": "c", "text": "CANARY", "role": "boss" }), "role"),
        (json!({ "id": "m", "chat": "c", "text": "t", "sender": true }), "sender"),
        (json!({ "id": "m", "chat": "c", "text": "t", "user": [] }), "user"),
    ] {
        for prefer in [None, Some("wait=5")] {
            let mut signed = senders::bridge(&body);
            signed.headers.extend(prefer.map(|wait| ("prefer".to_owned(), wait.to_owned())));
            let answer = world.post("bridge", signed).await;
            assert_eq!(answer.status(), 400, "{body}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!((&problem["field"], &problem["status"]), (&json!(field), &json!(400)), "{problem}");
            assert_eq!((&problem["type"], &problem["title"]), (&json!("about:blank"), &json!("Bad Request")));
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("{field}: ")) && !detail.contains("boss"), "{detail}");
        }
    }
    assert!(world.stories(&[]).await.is_empty(), "nothing is kept");
    assert!(world.admin("/metrics").await.lines().any(|line| line.contains("rejected") && line.ends_with(" 18")));
    // The same id, put right, is a new message; a blank text is of the protocol, and asks nothing.
    world.deliver("bridge", senders::bridge_message("c", "m", "now it is right")).await;
    world.until(1, MessageState::Done).await;
    world.deliver("bridge", senders::bridge_message("c", "blank", "  ")).await;
    assert_eq!(world.fini.ledger().ask_calls, 1);
    assert!(!world.log().contains("CANARY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_in_html_reaches_fini_as_plain_text_and_an_old_one_does_not() {
    let inbound = "format = \"html\"\nsender = \"body.from\"\nsent_at = \"body.at\"";
    let world = World::start(&desk("desk", inbound, "body = '{\"text\": {{ text }}}'")).await;
    let message = |id: &str, more: Value| {
        let html = "<p>Where is <a href=\"https://shop.example/o/17\">my order</a>?</p><ul><li>a pen<li>a book</ul>";
        let mut body = json!({ "id": id, "chat": "c", "text": html, "from": "u-1" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        signed(&body)
    };
    world.deliver("desk", message("now", json!({ "at": senders::now() }))).await;
    world.until(1, MessageState::Done).await;
    let asked: Vec<String> = world.fini.ledger().asks().map(|ask| ask.content.clone().unwrap()).collect();
    assert_eq!(asked, ["Where is my order (https://shop.example/o/17)?\n\n- a pen\n- a book"]);
    world.deliver("desk", message("unsaid", json!({ "at": null }))).await;
    world.until(2, MessageState::Done).await;
    for (id, more) in [
        ("old", json!({ "at": senders::now() - 8 * 24 * 3600 })),
        ("odd", json!({ "at": "yesterday" })),
        ("nobody", json!({ "from": null })),
    ] {
        world.deliver("desk", message(id, more)).await;
    }
    let mut failed: Vec<_> =
        world.until(3, MessageState::Failed).await.into_iter().map(|story| story.reason.unwrap()).collect();
    failed.sort();
    assert_eq!(failed, ["malformed", "malformed", "too_old"]);
    assert_eq!(world.fini.ledger().ask_calls, 2);
}

const ONE_HEADER: &str = r#"
[channels.chirp]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
sample = "chirp.json"
[channels.chirp.verify]
scheme = "hmac"
secret = "chirp-secret-0123456789"
header = "x-chirp-sig[v1]"
timestamp = "x-chirp-sig[t]"
signed = "{timestamp}.{body}"
[channels.chirp.inbound]
id = "body.id"
chat = "body.ticket"
text = "body.text"
format = "html"
[channels.chirp.reply]
url = "{outside}/shop/conversations/{{ chat }}/messages"
headers = { authorization = "Bearer shop-token" }
body = '{"body_html": {{ text }}, "ticket": {{ chat|int }}}'
format = "html"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_and_its_time_in_one_header_are_verified_and_sampled() {
    let world = World::prepare(ONE_HEADER).await;
    let sample = r#"{"id": "{{ id }}", "ticket": 812, "text": "<p>{{ text }}</p>"}"#;
    std::fs::write(world.folder.path().join("chirp.json"), sample).unwrap();
    // What `check` shows of the sample: the text as Fini will see it, and the request that answers it.
    let checked = world.command(&["check"]);
    let shown = String::from_utf8_lossy(&checked.stdout);
    assert!(shown.contains("text \"Where is my order?\""), "{shown}");
    assert!(
        shown.contains(r#"/shop/conversations/812/messages with {"body_html": "#)
            && shown.contains(r#""ticket": 812}"#),
        "{shown}"
    );
    assert!(!shown.contains("shop-token") && !shown.contains("chirp-secret"), "{shown}");
    let mut world = world;
    world.serve().await;
    let post = async |id: &str, offset: i64, key: &str, header: &dyn Fn(i64, &str) -> String| {
        // Each in a chat of its own: two that wait in one would be one question.
        let ticket: u32 = id.trim_start_matches('m').parse().unwrap();
        let (at, body) = (senders::now() + offset, json!({ "id": id, "ticket": ticket, "text": "hi" }).to_string());
        let digest = hex::encode(senders::hmac_sha256(key.as_bytes(), format!("{at}.{body}").as_bytes()));
        let headers = vec![
            ("x-chirp-sig".to_owned(), header(at, &digest)),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        world.post("chirp", Signed { headers, body: body.into_bytes() }).await.status().as_u16()
    };
    let key = "chirp-secret-0123456789";
    let usual = |at: i64, digest: &str| format!("t={at},v1={digest}");
    assert_eq!(post("m1", 0, key, &usual).await, 200);
    assert_eq!(post("m2", 0, key, &|at, digest| format!("t={at},v1={},v1={digest}", "0".repeat(64))).await, 200);
    assert_eq!(post("m3", 0, "another-secret", &usual).await, 401);
    assert_eq!(post("m4", -400, key, &usual).await, 401);
    assert_eq!(post("m5", 0, key, &|at, digest| format!("t={at},t={at},v1={digest}")).await, 401);
    assert_eq!(post("m6", 0, key, &|_, digest| format!("v1={digest}")).await, 401);
    world.until(2, MessageState::Done).await;
    // The sample, signed by `send`, is believed and answered.
    let gateway = format!("http://{}", world.process().address);
    let sending = world.command(&["send", "chirp", "And the invoice?", "--url", &gateway]);
    assert_eq!(sending.status.code(), Some(0), "{}", String::from_utf8_lossy(&sending.stderr));
    let reply = &sent(&world, 3).await[2];
    assert_eq!((reply.path.as_str(), &reply.body["ticket"]), ("/shop/conversations/812/messages", &json!(812)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_names_its_own_limit_is_tried_again_when_it_ends() {
    let reply = "body = '{\"text\": {{ text }}}'\nretry_after = \"response.headers['x-ratelimit-reset']\"";
    let world = World::start(&desk("desk", "", reply)).await;
    let reset: &str = Box::leak((senders::now() + 7).to_string().into_boxed_str());
    world.outside.refuse(Refusal {
        path: "/shop/".to_owned(),
        times: 1,
        status: 429,
        headers: vec![("x-ratelimit-reset", reset)],
        body: json!({ "error": "slow down" }),
        delivered: true,
    });
    world.deliver("desk", signed(&json!({ "id": "m", "chat": "c", "text": "hi" }))).await;
    let calls = sent(&world, 2).await;
    let waited = calls[1].at - calls[0].at;
    assert!(waited > Duration::from_millis(4_000), "not before it may: {waited:?}");
    world.until(1, MessageState::Done).await;
}
