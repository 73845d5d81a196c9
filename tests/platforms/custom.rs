//! Custom channels' cases, a described chat and the bridge's own protocol, and what holds for them alone.

use std::time::Duration;

use fini_bridge::domain::clock::Timestamp;
use fini_bridge::domain::message::{Address, Receipt, ReplyKind};
use fini_bridge::domain::secret::Secret;
use fini_bridge::platform::{Config, Idempotency, SendError, ThrottleScope};
use fini_bridge::signature::{StandardWebhooks, hmac_hex};
use serde_json::{Value, json};

use super::stub::{Answer, Request};
use super::{Case, NOW, always, expect, send, send_to, shown, strict};

const TOKEN: &str = "shop-token-of-the-reply";
const SAMPLE: &str = r#"{"type": "message.created", "data": {
    "id": "{{ id }}", "conversation_id": "{{ chat }}", "author": {"id": "u", "kind": "user"}, "text": "{{ text }}"}}"#;
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ANOTHER_WHSEC: &str = "whsec_c29tZWJvZHkgZWxzZSBoYXMgdGhpcyBrZXkgb2YgMzI=";

fn read(config: Value) -> Config {
    Config::Custom(serde_json::from_value(config).unwrap())
}

/// A chat that signs with an HMAC, and whose server wants JSON.
pub fn described() -> Case {
    Case {
        name: "custom",
        files: "standard_webhooks",
        vectors: "custom",
        config: |secrets, server| {
            let mut config = read(json!({
                "verify": {
                    "scheme": "hmac", "secret": secrets, "header": "x-shop-signature", "prefix": "sha256=",
                    "signed": "{timestamp}.{body}", "timestamp": "x-shop-timestamp",
                },
                "inbound": {
                    "when": "body.type == 'message.created' and body.data.author.kind != 'bot'",
                    "id": "body.data.id", "chat": "body.data.conversation_id", "text": "body.data.text",
                    "user_attributes": "{'name': body.data.author.name}",
                },
                "reply": {
                    "url": format!("{server}/conversations/{{{{ chat }}}}/messages"),
                    "headers": { "authorization": format!("Bearer {TOKEN}") },
                    "body": "{\"text\": {{ text|tojson }}, \"client_id\": {{ id|tojson }}}",
                    "format": "plain", "max_length": 500, "failed_when": "not response.body.ok",
                },
            }));
            if let Config::Custom(config) = &mut config {
                config.sample_text = Some(SAMPLE.to_owned());
            }
            config
        },
        secret: "shop-secret-0123456789",
        another_secret: "somebody-elses-secret",
        sign: |secret, at, body| {
            let at = at.to_string();
            let digest = hmac_hex(secret.as_bytes(), &[at.as_bytes(), b".", body]);
            vec![("x-shop-timestamp", at), ("x-shop-signature", format!("sha256={digest}"))]
        },
        signature_header: "x-shop-signature",
        covers_body: true,
        tolerance: Some(300),
        fixtures: described_fixtures,
        own: &["message_created_by_bot_echo"],
        address: || Address(json!({ "chat": "c/1", "id": "msg-1" })),
        server: shop,
        receipt: None,
        idempotency: Idempotency::None,
        max_units: Some(500),
        told: &[],
        credentials_call: false,
        // `failed_when` can't tell: what the configuration says of it ends the same on every try.
        nonsense: |sent| matches!(sent, Err(SendError::Permanent { .. })),
        throttled: || (Answer::json(429, json!({})).with_header("retry-after", "9"), Duration::from_secs(9)),
        token_refused: || Answer::json(403, json!({ "error": "no" })),
        final_error: || Answer::json(200, json!({ "ok": false })),
        token: TOKEN,
    }
}

fn described_fixtures() -> Value {
    let message = |id: &str, chat: &str, text: &str| {
        json!({
            "key": id, "chat": chat, "room": chat, "account": null, "sender": null, "shared": false,
            "addressed": "Direct", "text": text, "address": { "chat": chat, "id": id }, "sent_at": null,
            "unordered": false,
        })
    };
    let mut first = message("msg-1", "c-1", "Where is my order? 📦");
    first["user_attributes"] = json!({ "name": "Zoë" });
    json!({
        "malformed_not_json": { "malformed": "body: neither JSON nor a form" },
        "message_created": [first],
        "message_created_by_bot_echo": [{ "ignored": "when" }],
        "message_created_group": [message("msg-2", "g-1", "@bot hi")],
        "message_delivered": [{ "ignored": "when" }],
        "message_with_attachment": [message("msg-4", "c-1", "")],
        "thin_payload": [{ "malformed": "inbound.when: undefined" }],
    })
}

fn shop(request: &Request) -> Result<Value, String> {
    let route = (request.method.as_str(), request.path.as_str());
    expect(route == ("POST", "/conversations/c%2F1/messages"), "the chat, in its place")?;
    expect(request.header("authorization") == format!("Bearer {TOKEN}"), "the token")?;
    expect(request.header("content-type") == "application/json", "JSON")?;
    let body = request.json();
    let text = body["text"].as_str().ok_or("text")?;
    expect((1..=500).contains(&text.chars().count()), "1 to 500 characters")?;
    expect(body["client_id"].as_str().is_some_and(|id| id.len() == 36), "our id of the part")?;
    Ok(json!({ "ok": true }))
}

fn standard_webhooks(secret: &str) -> StandardWebhooks {
    StandardWebhooks { secrets: vec![Secret::new(secret)], tolerance: Duration::from_secs(300) }
}

pub fn own_protocol() -> Case {
    Case {
        name: "custom",
        files: "bridge_protocol",
        vectors: "standard_webhooks",
        config: |secrets, server| read(json!({ "secret": secrets, "callback_url": format!("{server}/fini") })),
        secret: WHSEC,
        another_secret: ANOTHER_WHSEC,
        sign: |secret, at, body| {
            standard_webhooks(secret).sign("msg_2KWP", Timestamp::from_secs(at), body).unwrap().to_vec()
        },
        signature_header: "webhook-signature",
        covers_body: true,
        tolerance: Some(300),
        fixtures: protocol_fixtures,
        own: &[],
        address: || Address(json!({ "chat": 42 })),
        server: app,
        receipt: None,
        idempotency: Idempotency::Key,
        max_units: None,
        told: &[ReplyKind::NoReply, ReplyKind::Handoff, ReplyKind::Failed],
        credentials_call: false,
        // A callback is done on 2xx, whatever it says.
        nonsense: |sent| *sent == Ok(Receipt(None)),
        throttled: || (Answer::json(429, json!({})).with_header("retry-after", "9"), Duration::from_secs(9)),
        token_refused: || Answer::json(401, json!({})),
        final_error: || Answer::json(422, json!({})),
        token: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
}

fn protocol_fixtures() -> Value {
    let message = |id: &str, chat: Value, text: &str| {
        let key = chat.as_str().map_or_else(|| chat.to_string(), str::to_owned);
        json!([{
            "key": id, "chat": key, "room": key, "account": null, "sender": null, "shared": false,
            "addressed": "Direct", "text": text, "address": { "chat": chat }, "sent_at": null, "unordered": false,
        }])
    };
    let mut with_user = message("2", json!(42), "hi");
    with_user[0]["user_attributes"] = json!({ "email": "zoe@example.com", "plan": "gold" });
    let mut of_staff = message("m-3", json!("c-1"), "I take this one.");
    of_staff[0]["role"] = json!("agent");
    json!({
        "malformed_no_chat": { "rejected": "chat: missing", "field": "chat" },
        "malformed_not_json": { "rejected": "body: not JSON", "field": "body" },
        "malformed_role": { "rejected": "role: neither user, agent nor otherbot", "field": "role" },
        "message": message("m-1", json!("c-1"), "Where is my order? 📦"),
        "message_of_staff": of_staff,
        "message_with_user": with_user,
    })
}

/// The other end: it verifies as the specification says.
fn app(request: &Request) -> Result<Value, String> {
    expect((request.method.as_str(), request.path.as_str()) == ("POST", "/fini"), "the callback's address")?;
    expect(request.header("content-type") == "application/json", "JSON")?;
    let (id, at) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    expect(at == NOW.to_string(), "signed now")?;
    let signed = standard_webhooks(WHSEC).sign(id, Timestamp::from_secs(NOW), &request.body).ok_or("a key")?;
    expect(request.header("webhook-signature") == signed[2].1, "the signature")?;
    let body = request.json();
    expect(body["type"] == "message" && body["id"] == id && body["chat"] == 42, "type, id and chat as it came")?;
    expect(body["in_reply_to"].is_array() && body["text"].is_string(), "text and in_reply_to")?;
    expect(body.as_object().is_some_and(|body| body.len() == 5), "nothing else unasked")?;
    Ok(Value::Null)
}

#[tokio::test]
async fn both_secrets_of_a_rotation_sign_a_callback() {
    let stub = strict(|request| {
        let signatures = request.header("webhook-signature").split(' ').count();
        expect(signatures == 2, "one signature for each secret").map(|()| Value::Null)
    });
    let case = own_protocol();
    let connector = case.connector(&[ANOTHER_WHSEC, WHSEC], &stub.url);
    assert_eq!(send(&case, &*connector, "Hello").await, Ok(Receipt(None)));
}

#[tokio::test]
async fn a_callback_is_done_on_any_2xx_final_on_other_4xx_and_repeated_otherwise() {
    let case = own_protocol();
    let outcome = async |status: u16| {
        let stub = always(Answer { status, headers: vec![("location", "http://127.0.0.1:9/")], body: String::new() });
        send(&case, &*case.connector(&[WHSEC], &stub.url), "Hello").await
    };
    for status in [200, 202, 204] {
        assert_eq!(outcome(status).await, Ok(Receipt(None)), "{status}");
    }
    for status in [301, 307, 400, 404, 410] {
        let sent = outcome(status).await;
        assert!(matches!(sent, Err(SendError::Permanent { .. })), "{status}: {sent:?}");
    }
    let throttled = outcome(429).await;
    assert!(matches!(throttled, Err(SendError::Throttled { scope: ThrottleScope::Account, .. })), "{throttled:?}");
    for status in [408, 425, 500, 502, 599] {
        let sent = outcome(status).await;
        assert!(matches!(sent, Err(SendError::Retry { .. })), "{status}: {sent:?}");
    }
}

#[tokio::test]
async fn a_callback_without_a_chat_is_never_sent() {
    let stub = strict(|_| Ok(Value::Null));
    let case = own_protocol();
    let connector = case.connector(&[WHSEC], &stub.url);
    for address in [json!(null), json!({ "chat": null }), json!({ "chat": {} }), json!({ "chat": "" })] {
        let sent = send_to(&*connector, &Address(address.clone()), "Hello").await;
        assert!(matches!(sent, Err(SendError::Permanent { .. })), "{address}: {sent:?}");
    }
    assert!(stub.seen().is_empty());
}

#[test]
fn the_same_id_is_the_same_message_whatever_else_the_webhook_says() {
    let case = own_protocol();
    let connector = case.offline();
    let key = |id: &str, body: Value| {
        let mut raw = case.signed(body.to_string().as_bytes(), "application/json");
        let signed = standard_webhooks(WHSEC).sign(id, Timestamp::from_secs(NOW), &raw.body).unwrap();
        for (name, value) in signed {
            raw.headers.insert(name, value.parse().unwrap());
        }
        let webhook = connector.verify(raw, super::now()).unwrap();
        shown(connector.parse(&webhook))[0]["key"].clone()
    };
    let first = key("msg_1", json!({ "id": "m", "chat": "c", "text": "t" }));
    assert_eq!(first, key("msg_2", json!({ "id": "m", "chat": "c", "text": "t" })));
    assert_ne!(first, key("msg_1", json!({ "id": "n", "chat": "c", "text": "t" })));
}
