//! Direct messages of a channel: people write to it, each in a topic of their own, and its administrators answer in its
//! name.

use serde_json::{Value, json};

use super::super::{Malformed, json as read};
use super::place::{Author, Place};

/// core.telegram.org/bots/api#directmessagestopic
pub fn place(message: &Value, chat: i64) -> Result<Place, Malformed> {
    let id = read::integer(message, "/message_id")?;
    let topic = read::integer(message, "/direct_messages_topic/topic_id")?;
    // The channel writes as itself; a person writes as a person.
    let staff = read::optional_object(message, "/sender_chat")?.is_some();
    Ok(Place {
        delivery_key: format!("{chat}:{id}"),
        chat: format!("{chat}:direct:{topic}"),
        account: None,
        address: json!({ "chat_id": chat, "direct_messages_topic_id": topic }),
        shared: false,
        written_by: if staff { Author::Staff } else { Author::Customer },
    })
}
