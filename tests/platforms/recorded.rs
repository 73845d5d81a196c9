//! Webhooks as the platforms send them, by kind: what is read in each. `tests/data/recorded` holds them: recorded ones,
//! and ones made after the platforms' references.

use std::sync::Arc;

use fini_bridge::platform::Platform;
use serde_json::{Value, json};

use super::{Case, folder, slack, strict, telegram, whatsapp};

/// Whether all that is expected is there; there may be more.
fn holds(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            expected.iter().all(|(key, value)| got.get(key).is_some_and(|got| holds(value, got)))
        }
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len() && expected.iter().zip(got).all(|(expected, got)| holds(expected, got))
        }
        (expected, got) => expected == got,
    }
}

async fn prepared(case: &Case) -> Arc<dyn Platform> {
    let stub = strict(case.server);
    let connector = case.connector(&[case.secret], &stub.url);
    connector.prepare().await;
    connector
}

async fn every_one_is_read_right(case: Case, webhook: fn(&Value) -> Value) {
    let connector = prepared(&case).await;
    let file = folder("recorded").join(format!("{}.json", case.name));
    let recorded: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for one in &recorded {
        let got = case.parse(&*connector, webhook(one).to_string().as_bytes());
        if !holds(&one["expect"], &got) {
            wrong.push(format!("{}\n  expected {}\n  got      {got}", one["name"], one["expect"]));
        }
    }
    println!("{}: {} of {} read right", case.name, recorded.len() - wrong.len(), recorded.len());
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), recorded.len(), wrong.join("\n"));
}

fn with(mut base: Value, fields: &Value) -> Value {
    for (key, value) in fields.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
    base
}

#[tokio::test]
async fn what_slack_sends_is_read_right() {
    every_one_is_read_right(slack::case(), |one| {
        if one["body"].is_object() {
            return one["body"].clone();
        }
        let mut body: Value = serde_json::from_slice(&slack::case().fixture("message_im_escapes")).unwrap();
        body["event"]["blocks"] = json!([]);
        body["event"] = with(body["event"].clone(), &one["event"]);
        body
    })
    .await;
}

#[tokio::test]
async fn what_telegram_sends_is_read_right() {
    every_one_is_read_right(telegram::case(), |one| {
        if one["update"].is_object() {
            return one["update"].clone();
        }
        let mut message = json!({
            "message_id": 1, "date": 1_791_000_000, "from": { "id": 7_700_112_233_i64, "is_bot": false },
            "chat": { "id": 7_700_112_233_i64, "type": "private" },
        });
        if one["group"] == true {
            message["chat"] = json!({ "id": -1_001_987_654_321_i64, "type": "supergroup", "title": "ACME" });
        }
        json!({ "update_id": 1, "message": with(message, &one["message"]) })
    })
    .await;
}

#[tokio::test]
async fn what_whatsapp_sends_is_read_right() {
    every_one_is_read_right(whatsapp::case(), |one| {
        let message = json!({ "from": "16505551234", "id": "wamid.X", "timestamp": "1791000000" });
        let mut value = match one["value"].is_object() {
            true => one["value"].clone(),
            false => json!({ "messages": [with(message, &one["message"])] }),
        };
        value["metadata"] = json!({ "display_phone_number": "+1 555-078-3881", "phone_number_id": "106540352242922" });
        let field = one["field"].as_str().unwrap_or("messages");
        let entry = json!([{ "id": "102290129340398", "changes": [{ "field": field, "value": value }] }]);
        json!({ "object": "whatsapp_business_account", "entry": entry })
    })
    .await;
}
