//! Telegram's own JSON.

use serde_json::{Value, json};

use super::super::{Malformed, json as read};
use crate::domain::message::Address;

/// The word for an update that is no message.
pub fn kind(update: &Value) -> &'static str {
    let has = |key: &str| update.get(key).is_some();
    match () {
        () if has("edited_message") => "edited",
        () if has("channel_post") || has("edited_channel_post") => "channel_post",
        () if has("callback_query") => "callback_query",
        () if has("my_chat_member") || has("chat_member") => "chat_member",
        () if update.as_object().is_some_and(|update| update.keys().any(|key| key.contains("business"))) => "business",
        () => "other_update",
    }
}

/// Who wrote a message: a person, a group or a channel in whose name a person writes. Or the word for what it is.
pub fn sender(message: &Value) -> Result<Result<i64, &'static str>, Malformed> {
    if read::optional_object(message, "/from")?.is_none() {
        return Ok(Err("channel_post"));
    }
    let id = read::integer(message, "/from/id")?;
    if !read::optional_flag(message, "/from/is_bot")?.unwrap_or_default() {
        return Ok(Ok(id));
    }
    match read::optional_integer(message, "/sender_chat/id")? {
        Some(name) if STAND_INS.contains(&id) => Ok(Ok(name)),
        _ => Ok(Err("bot")),
    }
}

/// GroupAnonymousBot and Channel_Bot: they stand in `from` where a person writes in the name of a group or a channel.
const STAND_INS: [i64; 2] = [1_087_968_824, 136_817_688];

/// Chat, and the topic, the account or the only reader.
pub fn target(address: &Address) -> Option<Value> {
    let mut body = json!({ "chat_id": address.0.get("chat_id")?.as_i64()? });
    for key in ["message_thread_id", "direct_messages_topic_id", "business_connection_id"] {
        if let Some(value) = address.0.get(key).filter(|value| value.is_i64() || value.is_string()) {
            read::set(&mut body, key, value.clone());
        }
    }
    let number = |key: &str| address.0.get(key).and_then(Value::as_i64);
    if let Some(receiver) = number("receiver_user_id") {
        read::set(&mut body, "ephemeral_message_parameters", json!({ "receiver_user_id": receiver }));
        read::set(&mut body, "reply_parameters", json!({ "ephemeral_message_id": number("ephemeral_message_id") }));
    } else if let Some(id) = number("reply_to") {
        read::set(&mut body, "reply_parameters", json!({ "message_id": id, "allow_sending_without_reply": true }));
    }
    Some(body)
}

/// Where a sign of typing is shown. Not where others would see it who don't see the answer.
pub fn typing(address: &Address) -> Option<Value> {
    let hidden = ["receiver_user_id", "direct_messages_topic_id"].iter().any(|key| address.0.get(key).is_some());
    let mut body = target(address).filter(|_| !hidden)?;
    if let Some(fields) = body.as_object_mut() {
        fields.remove("reply_parameters");
        fields.insert("action".to_owned(), json!("typing"));
    }
    Some(body)
}

/// The same chat without its topic, where that is the person's own all the same: a private chat.
pub fn without_topic(address: &Address) -> Option<Address> {
    let chat = address.0.get("chat_id")?.as_i64().filter(|chat| *chat > 0)?;
    address.0.get("message_thread_id").map(|_| Address(json!({ "chat_id": chat })))
}
