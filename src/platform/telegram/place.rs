//! Where a message was written: which chat it belongs to, who may see it, and how it is answered there.

use serde_json::{Value, json};

use super::super::{Malformed, json as read};
use super::{business, direct_messages};
use crate::domain::id::ChatKey;
use crate::domain::message::{Address, ChatMove};

pub struct Place {
    pub delivery_key: String,
    pub chat: String,
    /// Not the bot's own: the business account for which it writes.
    pub account: Option<String>,
    pub address: Value,
    /// Several people read it.
    pub shared: bool,
    pub written_by: Author,
}

/// For whom a person writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Author {
    Customer,
    /// In the name of the account or of the channel.
    Staff,
}

/// Or the word for what is no message of a person in a chat.
pub fn of(message: &Value) -> Result<Result<Place, &'static str>, Malformed> {
    let chat = read::integer(message, "/chat/id")?;
    let shared = match read::text(message, "/chat/type")? {
        "private" => false,
        "group" | "supergroup" => true,
        _ => return Ok(Err("channel_post")),
    };
    if let Some(connection) = read::optional_text(message, "/business_connection_id")? {
        return business::place(message, chat, connection);
    }
    if read::optional_flag(message, "/chat/is_direct_messages")?.unwrap_or_default() {
        return direct_messages::place(message, chat).map(Ok);
    }
    if let Some(id) = read::optional_integer(message, "/ephemeral_message_id")? {
        // Who stands behind an anonymous administrator is not said: two of them would share what is for one.
        if read::optional_flag(message, "/from/is_bot")?.unwrap_or_default() {
            return Ok(Err("bot"));
        }
        return ephemeral(message, chat, id).map(Ok);
    }
    let id = read::integer(message, "/message_id")?;
    let mut address = json!({ "chat_id": chat });
    let mut key = chat.to_string();
    if read::optional_flag(message, "/is_topic_message")?.unwrap_or_default() {
        let topic = read::integer(message, "/message_thread_id")?;
        read::set(&mut address, "message_thread_id", json!(topic));
        key = format!("{chat}:{topic}");
    }
    if shared {
        read::set(&mut address, "reply_to", json!(id));
    }
    // Not `update_id`: that may begin again at any number after a week of silence.
    let delivery_key = format!("{chat}:{id}");
    Ok(Ok(Place { delivery_key, chat: key, account: None, address, shared, written_by: Author::Customer }))
}

/// A group that becomes a supergroup: both say so, the old one and the new one. Its topics come later.
pub fn moved(message: &Value) -> Result<Option<ChatMove>, Malformed> {
    let id = |pointer| read::optional_integer(message, pointer);
    let (from, to) = match (id("/migrate_to_chat_id")?, id("/migrate_from_chat_id")?) {
        (Some(to), _) => (read::integer(message, "/chat/id")?, to),
        (None, Some(from)) => (from, read::integer(message, "/chat/id")?),
        (None, None) => return Ok(None),
    };
    let key = |chat: i64| ChatKey::new(chat.to_string());
    Ok(Some(ChatMove { from: key(from), to: key(to), address: Address(json!({ "chat_id": to })) }))
}

/// A command in a group that only its sender and the bot see. Its answer is for nobody else either, so it is a chat of
/// its own. Its numbers are not those of other messages.
fn ephemeral(message: &Value, chat: i64, id: i64) -> Result<Place, Malformed> {
    let sender = read::integer(message, "/from/id")?;
    Ok(Place {
        delivery_key: format!("{chat}:ephemeral:{sender}:{id}"),
        chat: format!("{chat}:ephemeral:{sender}"),
        account: None,
        address: json!({ "chat_id": chat, "receiver_user_id": sender, "ephemeral_message_id": id }),
        shared: false,
        written_by: Author::Customer,
    })
}
