//! WhatsApp's case, and what holds for WhatsApp alone.

use std::time::Duration;

use fini_bridge::domain::id::PartId;
use fini_bridge::domain::message::{Address, Part};
use fini_bridge::platform::{Config, Delivery, Idempotency, Registration, SendError, ThrottleScope};
use fini_bridge::signature::hmac_hex;
use serde_json::{Value, json};

use super::stub::{Answer, Request};
use super::{Case, always, expect, perhaps_taken, send, send_to, strict};

const TOKEN: &str = "EAAJZCZBexampleSystemUserToken";
const NUMBER: &str = "106540352242922";
const WABA: &str = "102290129340398";
const USER: &str = "US.13491208655302741918";

fn config(secrets: &[&str], waba: Option<&str>) -> Config {
    let config = json!({
        "app_secret": secrets, "verify_token": secrets[0], "access_token": TOKEN, "phone_number_id": NUMBER,
        "waba_id": waba,
    });
    Config::Whatsapp(serde_json::from_value(config).unwrap())
}

pub fn case() -> Case {
    Case {
        name: "whatsapp",
        files: "whatsapp",
        vectors: "whatsapp",
        config: |secrets, _| config(secrets, None),
        secret: "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        another_secret: "somebody-elses-secret",
        sign: |secret, _, body| {
            vec![("x-hub-signature-256", format!("sha256={}", hmac_hex(secret.as_bytes(), &[body])))]
        },
        signature_header: "x-hub-signature-256",
        covers_body: true,
        tolerance: None,
        fixtures,
        own: &[],
        address: || Address(json!({ "to": "16505551234", "message_id": "wamid.IN" })),
        server,
        receipt: Some("wamid.OUT9"),
        idempotency: Idempotency::Reported,
        max_units: Some(4096),
        told: &[],
        credentials_call: true,
        nonsense: perhaps_taken,
        throttled: || {
            let answer = refusal(429, 130_429);
            (answer.with_header("retry-after", "20"), Duration::from_secs(20))
        },
        token_refused: || refusal(401, 190),
        final_error: || refusal(400, 131_047),
        token: TOKEN,
    }
}

fn refusal(status: u16, code: i64) -> Answer {
    let error = json!({ "message": "(#1) about +16505551234", "type": "OAuthException", "code": code });
    Answer::json(status, json!({ "error": error }))
}

fn fixtures() -> Value {
    let message = |id: &str, at: i64, text: &str| {
        json!({
            "key": id,
            "chat": format!("{NUMBER}:{USER}"),
            "room": USER,
            "account": NUMBER,
            "sender": USER,
            "shared": false,
            "addressed": "Direct",
            "text": text,
            "address": { "to": "16505551234", "message_id": id },
            "sent_at": at * 1000,
            "unordered": true,
        })
    };
    let mut no_phone = message("wamid.BSUID000000000000000000000000000001", 1_791_000_001, "hi");
    no_phone["address"] = json!({ "recipient": USER, "message_id": "wamid.BSUID000000000000000000000000000001" });
    let mut group = message("wamid.GROUP0001", 1_791_000_002, "does anyone answer here?");
    let id = "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD";
    group["chat"] = json!(format!("{NUMBER}:group:{id}"));
    group["room"] = json!(id);
    group["shared"] = json!(true);
    group["addressed"] = json!("Room");
    group["address"] = json!({ "group": id, "message_id": "wamid.GROUP0001" });
    let mut echo = message("wamid.ECHO0001", 1_791_000_012, "This is Anna, I take over.");
    echo["chat"] = json!(format!("{NUMBER}:16505551234"));
    echo["room"] = json!("16505551234");
    echo["sender"] = json!("15550783881");
    echo["addressed"] = json!("Known");
    echo["role"] = json!("agent");
    let mut unsupported = message("wamid.UNS0001", 1_791_000_005, "");
    unsupported.as_object_mut().unwrap().remove("text");
    unsupported["unreadable"] = json!("unsupported");
    let report = |id: &str, outcome: &str| json!({ "report": format!("DeliveryReport {{ of: Receipt(\"{id}\"), outcome: {outcome} }}") });
    json!({
        "batch_two_entries_mixed": [
            message("wamid.B1", 1_791_000_020, "one"),
            message("wamid.B2", 1_791_000_021, "two"),
            report("wamid.OUT0001", "Delivered"),
            { "ignored": "other_account" },
        ],
        "echo_from_business_app": [echo],
        "group_message": [group],
        "malformed_missing_entry": { "malformed": "entry is not an array" },
        "message_button_reply": [message("wamid.BTN0001", 1_791_000_004, "Yes, a human")],
        "message_image_with_caption": [message("wamid.IMG0001", 1_791_000_003, "broken\n[image]")],
        "message_text": [message(
            "wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA=",
            1_791_000_000,
            "¿Dónde está mi pedido? 📦 a/b",
        )],
        "message_text_username_user_no_phone": [no_phone],
        "message_unsupported": [unsupported],
        "status_delivered": [report("wamid.OUT0001", "Delivered")],
        "status_failed_window_closed": [report("wamid.OUT0002", "Failed { reason: \"whatsapp_131047\" }")],
    })
}

/// Cloud API reference: Messages, Phone numbers, Subscribed apps.
fn server(request: &Request) -> Result<Value, String> {
    expect(request.header("authorization") == format!("Bearer {TOKEN}"), "the token, as Bearer")?;
    let body = request.json();
    let route = (request.method.as_str(), request.path.split('?').next().unwrap_or_default());
    let messages = format!("/{NUMBER}/messages");
    if route == ("GET", &format!("/{NUMBER}")) {
        return Ok(json!({ "display_phone_number": "+1 555-078-3881", "verified_name": "ACME", "id": NUMBER }));
    }
    if route == ("POST", &format!("/{WABA}/subscribed_apps")) {
        expect(body["override_callback_uri"] == "https://a.example/webhooks/w", "override_callback_uri")?;
        expect(body["verify_token"].is_string(), "verify_token")?;
        return Ok(json!({ "success": true }));
    }
    expect(route == ("POST", &messages), "a known path")?;
    expect(body["messaging_product"] == "whatsapp", "messaging_product")?;
    if body["status"] == "read" {
        expect(body["message_id"].as_str().is_some_and(|id| id.starts_with("wamid.")), "message_id")?;
        expect(body["typing_indicator"] == json!({ "type": "text" }), "typing_indicator")?;
        return Ok(json!({ "success": true }));
    }
    expect(body["type"] == "text", "type")?;
    match body["recipient_type"].as_str() {
        Some("individual") => expect(body["to"].is_string() != body["recipient"].is_string(), "to or recipient")?,
        Some("group") => expect(body["to"].is_string(), "to")?,
        _ => return Err("recipient_type".to_owned()),
    }
    let text = body["text"]["body"].as_str().ok_or("text.body")?;
    expect((1..=4096).contains(&text.encode_utf16().count()), "1 to 4096 units")?;
    expect(body["text"]["preview_url"] == false, "no previews")?;
    expect(body["biz_opaque_callback_data"].as_str().is_some_and(|id| id.len() == 36), "our id of the part")?;
    Ok(json!({ "messaging_product": "whatsapp", "contacts": [], "messages": [{ "id": "wamid.OUT9" }] }))
}

/// One message with these fields, from our number's webhook.
fn incoming(fields: Value) -> Vec<u8> {
    let mut message = json!({ "from": "16505551234", "id": "wamid.X", "timestamp": "1791000000" });
    for (key, value) in fields.as_object().unwrap() {
        message[key] = value.clone();
    }
    webhook(json!({ "messages": [message] }))
}

fn webhook(mut value: Value) -> Vec<u8> {
    value["metadata"] = json!({ "display_phone_number": "+1 555-078-3881", "phone_number_id": NUMBER });
    let change = json!({ "field": "messages", "value": value });
    let entry = json!([{ "id": WABA, "changes": [change] }]);
    json!({ "object": "whatsapp_business_account", "entry": entry }).to_string().into_bytes()
}

#[test]
fn each_kind_of_message_is_its_text_a_readable_line_or_nothing() {
    let case = case();
    let connector = case.offline();
    for (fields, text) in [
        (
            json!({ "type": "document", "document": { "filename": "a.pdf", "caption": "my id" } }),
            "my id\n[document: a.pdf]",
        ),
        (json!({ "type": "audio", "audio": { "voice": true } }), "[voice message]"),
        (json!({ "type": "audio", "audio": {} }), "[audio]"),
        (json!({ "type": "sticker", "sticker": {} }), "[sticker]"),
        (json!({ "type": "video", "video": { "caption": null } }), "[video]"),
        (json!({ "type": "location", "location": { "name": "HQ" } }), "[location: HQ]"),
        (json!({ "type": "contacts", "contacts": [] }), "[contact]"),
        (json!({ "type": "order", "order": {} }), "[order]"),
        (json!({ "type": "interactive", "interactive": { "nfm_reply": { "response_json": "{\"a\":1" } } }), "[form]"),
        (json!({ "type": "button", "button": { "text": "Yes", "payload": "y" } }), "Yes"),
        (json!({ "type": "interactive", "interactive": { "list_reply": { "title": "Billing" } } }), "Billing"),
        (json!({ "type": "interactive", "interactive": { "type": "nfm_reply", "nfm_reply": {} } }), "[form]"),
    ] {
        assert_eq!(case.parse(&*connector, &incoming(fields))[0]["text"], text);
    }
    for (kind, word) in [
        ("reaction", "reaction"),
        ("edit", "edited"),
        ("revoke", "deleted"),
        ("system", "system"),
        ("request_welcome", "request_welcome"),
    ] {
        assert_eq!(case.parse(&*connector, &incoming(json!({ "type": kind }))), json!([{ "ignored": word }]));
    }
}

#[test]
fn one_bad_message_does_not_spoil_its_batch() {
    let case = case();
    let good = json!({
        "from": "1", "id": "wamid.GOOD", "timestamp": "1791000000", "type": "text", "text": { "body": "hi" },
    });
    let messages = json!([{ "id": "wamid.BAD", "type": "text", "text": { "body": 7 } }, good]);
    let parsed = case.parse(&*case.offline(), &webhook(json!({ "messages": messages, "statuses": [{}] })));
    assert_eq!(parsed[0], json!({ "malformed": "text.body is not a string", "key": "wamid.BAD" }));
    assert_eq!(parsed[1]["key"], "wamid.GOOD");
    assert_eq!(parsed[2], json!({ "malformed": "status is not a string with content" }));
}

#[test]
fn in_a_group_an_answer_to_the_business_is_a_mention() {
    let case = case();
    let text = json!({ "type": "text", "text": { "body": "and now?" }, "group_id": "G1" });
    let with = |from: &str| {
        let mut fields = text.clone();
        fields["context"] = json!({ "from": from, "id": "wamid.OUT" });
        case.parse(&*case.offline(), &incoming(fields))[0]["addressed"].clone()
    };
    assert_eq!(with("15550783881"), "Mention");
    assert_eq!(with("16505550000"), "Room");
}

#[test]
fn our_own_number_never_writes_to_us() {
    let case = case();
    let own = json!({ "type": "text", "text": { "body": "hi" }, "from": "15550783881" });
    assert_eq!(case.parse(&*case.offline(), &incoming(own)), json!([{ "ignored": "own" }]));
}

#[test]
fn a_report_finds_our_part_by_the_id_that_was_sent_along() {
    let case = case();
    let part = PartId::generate();
    let status = |status: &str| {
        let status = json!({ "id": "wamid.O", "status": status, "biz_opaque_callback_data": part.to_string() });
        case.parse(&*case.offline(), &webhook(json!({ "statuses": [status] })))[0].clone()
    };
    let of = format!("DeliveryReport {{ of: Part({part:?}), outcome:");
    assert_eq!(status("read"), json!({ "report": format!("{of} Delivered }}") }));
    assert_eq!(status("failed"), json!({ "report": format!("{of} Failed {{ reason: \"whatsapp_failed\" }} }}") }));
    assert_eq!(status("sent"), json!({ "report": format!("{of} Taken }}") }));
}

#[test]
fn what_is_not_about_messages_is_ignored_by_a_word() {
    let case = case();
    let connector = case.offline();
    let errors = webhook(json!({ "errors": [{ "code": 130_429 }] }));
    assert_eq!(case.parse(&*connector, &errors), json!([{ "ignored": "account_error" }]));
    let page = br#"{"object":"page","entry":[]}"#;
    assert_eq!(case.parse(&*connector, page), json!([{ "ignored": "other_object" }]));
    let entry = json!([{ "changes": [{ "field": "account_update", "value": {} }] }, { "id": WABA }]);
    let body = json!({ "object": "whatsapp_business_account", "entry": entry }).to_string();
    let expected = json!([{ "ignored": "other_field" }, { "malformed": "changes is not an array" }]);
    assert_eq!(case.parse(&*connector, body.as_bytes()), expected);
}

#[tokio::test]
async fn a_reply_reaches_a_hidden_number_and_a_group_and_carries_the_parts_id() {
    let stub = strict(server);
    let case = case();
    let connector = case.connector(&[case.secret], &stub.url);
    let (id, part) = (PartId::generate(), Part(json!("Hello")));
    let address = Address(json!({ "recipient": USER, "message_id": "wamid.IN" }));
    for _ in 0..2 {
        connector.send(Delivery { id, address: &address, part: &part }).await.unwrap();
    }
    send_to(&*connector, &Address(json!({ "group": "G1" })), "Hello").await.unwrap();
    let seen = stub.seen();
    assert_eq!(seen[0].json()["recipient"], USER);
    assert_eq!(seen[0].json()["biz_opaque_callback_data"], id.to_string());
    assert_eq!(seen[0].json(), seen[1].json(), "the same over retries");
    assert_eq!((&seen[2].json()["recipient_type"], &seen[2].json()["to"]), (&json!("group"), &json!("G1")));
}

#[tokio::test]
async fn metas_codes_say_what_can_be_done() {
    let case = case();
    let outcome = async |status, code| {
        let stub = always(refusal(status, code));
        send(&case, &*case.connector(&[case.secret], &stub.url), "Hello").await.unwrap_err()
    };
    let reason = |code: i64| format!("whatsapp_{code}");
    for code in [4, 80_007, 130_429] {
        let (reason, scope) = (reason(code), ThrottleScope::Account);
        assert_eq!(outcome(400, code).await, SendError::Throttled { reason, after: None, scope });
    }
    for code in [131_016, 131_000, 2] {
        assert_eq!(outcome(400, code).await, SendError::Retry { reason: reason(code), after: None });
    }
    for (code, seconds) in [(131_056, 6), (131_057, 60)] {
        let after = Some(Duration::from_secs(seconds));
        assert_eq!(outcome(400, code).await, SendError::Retry { reason: reason(code), after });
    }
    for code in [131_047, 131_026, 131_051, 131_009, 131_008, 100, 131_021, 131_062, 131_048, 131_049, 131_050, 131_030]
    {
        assert_eq!(outcome(400, code).await, SendError::Permanent { reason: reason(code) });
    }
    for code in [0, 190, 3, 10, 200, 299, 131_031, 368, 131_042, 131_045, 130_497, 131_037] {
        assert_eq!(outcome(400, code).await, SendError::Credential { reason: reason(code) });
    }
    assert_eq!(outcome(403, 131_030).await, SendError::Permanent { reason: reason(131_030) }, "the code decides");
    assert!(matches!(outcome(500, 999_999).await, SendError::Retry { .. }), "an unknown code, and trouble");
}

#[tokio::test]
async fn registering_checking_and_typing_use_the_calls_for_it() {
    let stub = strict(server);
    let case = Case { config: |secrets, _| config(secrets, Some(WABA)), ..case() };
    let connector = case.connector(&[case.secret], &stub.url);
    let done = connector.register("https://a.example/webhooks/w").await.unwrap();
    assert!(matches!(done, Registration::Done(_)));
    assert_eq!(connector.check().await.unwrap().unwrap(), "ACME (+1 555-078-3881)");
    connector.typing(&Address(json!({ "to": "1", "message_id": "wamid.IN" }))).await.unwrap();
    let typing = stub.seen().pop().unwrap();
    assert!(server(&typing).is_ok());
    assert_eq!(typing.json()["message_id"], "wamid.IN");
    assert_eq!(connector.typing_lasts(), Some(Duration::from_secs(20)));
    let by_hand = self::case().offline().register("https://a.example/webhooks/w").await.unwrap();
    assert!(matches!(by_hand, Registration::ByHand(_)), "without the account's id");
}
