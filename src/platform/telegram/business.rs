//! Business accounts: a person lets the bot answer their own private chats. A chat is (connection, chat); what the owner
//! writes there is an agent's.

use serde_json::{Value, json};

use super::super::{Malformed, json as read};
use super::place::{Author, Place};

/// `business_message`: core.telegram.org/bots/api#update
pub fn place(message: &Value, chat: i64, connection: &str) -> Result<Result<Place, &'static str>, Malformed> {
    // What goes out comes back: the bot's own messages, and the account's greetings and away messages.
    if message.get("sender_business_bot").is_some() {
        return Ok(Err("bot"));
    }
    if read::optional_flag(message, "/is_from_offline")?.unwrap_or_default() {
        return Ok(Err("automatic"));
    }
    let id = read::integer(message, "/message_id")?;
    // A private chat has the id of the person whom the owner writes with.
    let is_customer = read::integer(message, "/from/id")? == chat;
    Ok(Ok(Place {
        delivery_key: format!("{connection}:{chat}:{id}"),
        chat: format!("{connection}:{chat}"),
        account: Some(connection.to_owned()),
        address: json!({ "chat_id": chat, "business_connection_id": connection }),
        shared: false,
        written_by: if is_customer { Author::Customer } else { Author::Staff },
    }))
}

/// Whether the channel answers for this account. Without a list it answers for each that its owner connects.
pub fn is_allowed(connections: &[String], message: &Value) -> bool {
    let connection = message.get("business_connection_id").and_then(Value::as_str);
    connections.is_empty() || connection.is_none_or(|it| connections.iter().any(|allowed| allowed == it))
}
