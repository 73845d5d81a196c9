//! Webhooks as the platforms would send them, signed by hand rather than by the code under test.

use base64::Engine;
use hmac::{KeyInit, Mac};
use serde_json::{Value, json};

pub const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
pub const SLACK_TOKEN: &str = "xoxb-test-token";
pub const TELEGRAM_SECRET: &str = "A-z_09-secret-token";
pub const TELEGRAM_TOKEN: &str = "6111111111:AAtesttokentesttokentesttokentest00";
pub const WHATSAPP_SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
pub const WHATSAPP_TOKEN: &str = "EAAtesttoken";
pub const WHATSAPP_NUMBER: &str = "106540352242922";
pub const BRIDGE_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const SHOP_SECRET: &str = "shop-secret-0123456789";

/// All four channels, on the outside.
pub const CHANNELS: &str = r#"
[channels.slack]
platform = "slack"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
signing_secret = "8f742231b10e8888abcd99yyyzzz85a5"
bot_token = "xoxb-test-token"
api_base = "{outside}/slack"
[channels.telegram]
platform = "telegram"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
secret_token = "A-z_09-secret-token"
bot_token = "6111111111:AAtesttokentesttokentesttokentest00"
api_base = "{outside}/telegram"
[channels.whatsapp]
platform = "whatsapp"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
app_secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
verify_token = "meatyhamhock"
access_token = "EAAtesttoken"
phone_number_id = "106540352242922"
waba_id = "102290129340398"
api_base = "{outside}/graph"
[channels.bridge]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
callback_url = "{outside}/callback"
[channels.shop]
platform = "custom"
bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
[channels.shop.verify]
scheme = "hmac"
secret = "shop-secret-0123456789"
header = "x-shop-signature"
prefix = "sha256="
signed = "{timestamp}.{body}"
timestamp = "x-shop-timestamp"
[channels.shop.inbound]
each = "body.messages"
when = "item.sender.type != 'bot'"
id = "item.id"
chat = "item.conversation.id"
text = "item.text"
role = "'agent' if item.sender.type == 'staff' else 'user'"
user_attributes = "{'email': item.sender.email, 'plan': item.sender.plan}"
[channels.shop.reply]
url = "{outside}/shop/conversations/{{ chat }}/messages"
headers = { authorization = "Bearer shop-token" }
body = '{"text": {{ text|tojson }}, "client_id": {{ id|tojson }}}'
max_length = 4000
"#;

#[derive(Clone, Debug)]
pub struct Signed {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Signed {
    fn new(headers: &[(&str, String)], body: Vec<u8>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Self { headers, body }
    }
}

pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn with_json(mut headers: Vec<(&str, String)>, body: Vec<u8>) -> Signed {
    headers.push((JSON.0, JSON.1.to_owned()));
    Signed::new(&headers, body)
}

pub fn slack(body: Vec<u8>) -> Signed {
    let at = now().to_string();
    let signature = hex::encode(hmac_sha256(SLACK_SECRET.as_bytes(), &[b"v0:", at.as_bytes(), b":", &body].concat()));
    with_json(vec![("x-slack-request-timestamp", at), ("x-slack-signature", format!("v0={signature}"))], body)
}

/// A direct message; `number` makes it another message.
pub fn slack_message(channel: &str, number: u32, text: &str) -> Signed {
    let ts = format!("{}.{number:06}", now());
    slack_at(channel, &ts, text)
}

pub fn slack_at(channel: &str, ts: &str, text: &str) -> Signed {
    let body = json!({
        "token": "x", "team_id": "T00FAKE00AA", "api_app_id": "A00FAKEAPP01", "type": "event_callback",
        "event_id": format!("Ev{channel}{ts}"), "event_time": now(),
        "authorizations": [{"team_id": "T00FAKE00AA", "user_id": "U00FAKEBOT01", "is_bot": true}],
        "event": {"type": "message", "user": "U00FAKEUSER1", "ts": ts, "text": text, "team": "T00FAKE00AA",
            "channel": channel, "event_ts": ts, "channel_type": "im"}
    });
    slack(body.to_string().into_bytes())
}

/// A mention of the bot in a room, at its top level: Slack's threads begin so. `number` makes it another message.
pub fn slack_mention(room: &str, user: &str, number: u32, text: &str) -> Signed {
    let ts = format!("{}.{number:06}", now());
    let body = json!({
        "token": "x", "team_id": "T00FAKE00AA", "api_app_id": "A00FAKEAPP01", "type": "event_callback",
        "event_id": format!("Ev{room}{ts}"), "event_time": now(),
        "authorizations": [{"team_id": "T00FAKE00AA", "user_id": "U00FAKEBOT01", "is_bot": true}],
        "event": {"type": "app_mention", "user": user, "ts": ts, "text": format!("<@U00FAKEBOT01> {text}"),
            "team": "T00FAKE00AA", "channel": room, "event_ts": ts, "channel_type": "channel"}
    });
    slack(body.to_string().into_bytes())
}

/// A direct message in a workspace that the app is installed in too, and that the channel isn't configured for.
pub fn slack_message_of_another_workspace(channel: &str, number: u32, text: &str) -> Signed {
    let mut signed = slack_message(channel, number, text);
    let body = String::from_utf8(std::mem::take(&mut signed.body)).unwrap();
    slack(body.replace("T00FAKE00AA", "T00OTHER0BB").into_bytes())
}

/// What Slack delivers of a post of ours, by the body of `chat.postMessage`.
pub fn slack_echo(posted: &Value) -> Signed {
    let ts = format!("{}.000001", now());
    let body = json!({
        "token": "x", "team_id": "T00FAKE00AA", "api_app_id": "A00FAKEAPP01", "type": "event_callback",
        "event_id": format!("Ev{}", uuid::Uuid::new_v4()), "event_time": now(),
        "authorizations": [{"team_id": "T00FAKE00AA", "user_id": "U00FAKEBOT01", "is_bot": true}],
        "event": {"type": "message", "user": "U00FAKEBOT01", "bot_id": "B00FAKEBOT01", "app_id": "A00FAKEAPP01",
            "ts": ts, "text": posted["text"], "team": "T00FAKE00AA", "channel": posted["channel"], "event_ts": ts,
            "channel_type": "im", "metadata": posted["metadata"]}
    });
    slack(body.to_string().into_bytes())
}

pub fn telegram(body: Vec<u8>) -> Signed {
    with_json(vec![("x-telegram-bot-api-secret-token", TELEGRAM_SECRET.to_owned())], body)
}

pub fn telegram_message(chat: i64, number: u32, text: &str) -> Signed {
    let body = json!({"update_id": number, "message": {"message_id": number, "date": now(), "text": text,
        "from": {"id": chat, "is_bot": false, "first_name": "Zoë"}, "chat": {"id": chat, "type": "private", "first_name": "Zoë"}}});
    telegram(body.to_string().into_bytes())
}

/// A message in a group that names a bot.
pub fn telegram_mention(group: i64, number: u32, bot: &str, text: &str) -> Signed {
    let text = format!("@{bot} {text}");
    let body = json!({"update_id": number, "message": {"message_id": number, "date": now(), "text": text,
        "entities": [{"type": "mention", "offset": 0, "length": bot.len() + 1}],
        "from": {"id": 7, "is_bot": false, "first_name": "Zoë"}, "chat": {"id": group, "type": "supergroup", "title": "G"}}});
    telegram(body.to_string().into_bytes())
}

pub fn whatsapp(body: Vec<u8>) -> Signed {
    let signature = hex::encode(hmac_sha256(WHATSAPP_SECRET.as_bytes(), &body));
    with_json(vec![("x-hub-signature-256", format!("sha256={signature}"))], body)
}

pub fn whatsapp_message(from: &str, number: u32, text: &str) -> Signed {
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [{"field": "messages",
        "value": {"messaging_product": "whatsapp", "metadata": {"display_phone_number": "15550783881", "phone_number_id": WHATSAPP_NUMBER},
            "messages": [{"from": from, "id": format!("wamid.{from}.{number}"), "timestamp": now().to_string(), "type": "text", "text": {"body": text}}]}}]}]});
    whatsapp(body.to_string().into_bytes())
}

/// What WhatsApp says later of a message, by the body that it was sent with.
pub fn whatsapp_status(sent: &Value, status: &str) -> Signed {
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [{"field": "messages",
        "value": {"messaging_product": "whatsapp", "metadata": {"display_phone_number": "15550783881", "phone_number_id": WHATSAPP_NUMBER},
            "statuses": [{"id": "wamid.later", "status": status, "timestamp": now().to_string(), "recipient_id": sent["to"],
                "biz_opaque_callback_data": sent["biz_opaque_callback_data"]}]}}]}]});
    whatsapp(body.to_string().into_bytes())
}

pub fn bridge(body: &Value) -> Signed {
    bridge_bytes(body.to_string().into_bytes())
}

pub fn bridge_bytes(body: Vec<u8>) -> Signed {
    let key = base64::engine::general_purpose::STANDARD.decode(BRIDGE_SECRET.trim_start_matches("whsec_")).unwrap();
    let (id, at) = (format!("msg_{}", uuid::Uuid::new_v4()), now().to_string());
    let signature = hmac_sha256(&key, &[id.as_bytes(), b".", at.as_bytes(), b".", &body].concat());
    let signature = format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(signature));
    with_json(vec![("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)], body)
}

pub fn bridge_message(chat: &str, id: &str, text: &str) -> Signed {
    bridge(&json!({ "id": id, "chat": chat, "text": text }))
}

pub fn shop(body: Vec<u8>) -> Signed {
    let at = now().to_string();
    let signature = hex::encode(hmac_sha256(SHOP_SECRET.as_bytes(), &[at.as_bytes(), b".", &body].concat()));
    with_json(vec![("x-shop-timestamp", at), ("x-shop-signature", format!("sha256={signature}"))], body)
}

pub fn shop_message(chat: &Value, id: &str, text: &str) -> Signed {
    let body = json!({"messages": [{"id": id, "text": text, "conversation": {"id": chat},
        "sender": {"type": "customer", "email": "zoe@example.com"}}]});
    shop(body.to_string().into_bytes())
}
