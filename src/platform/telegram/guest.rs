//! Guest mode: a person names the bot in a chat that it is no member of, and it answers once.

use serde_json::{Value, json};

use super::super::{Malformed, json as read};
use super::place::{Author, Place};
use crate::domain::message::Address;

/// The key of an address that holds the query.
const QUERY: &str = "guest_query_id";

/// `guest_message`: core.telegram.org/bots/api#update. Each is a chat of its own: the bot sees nothing else of it.
pub fn place(message: &Value) -> Result<Place, Malformed> {
    let query = read::text(message, "/guest_query_id")?;
    Ok(Place {
        delivery_key: format!("guest:{query}"),
        chat: format!("guest:{query}"),
        account: None,
        address: json!({ QUERY: query }),
        shared: false,
        written_by: Author::Customer,
    })
}

/// `answerGuestQuery` with this content of a message, where that is the way to answer.
pub fn answer(address: &Address, text: &Value) -> Option<Value> {
    let query = address.0.get(QUERY)?.as_str()?;
    let mut content = text.clone();
    if let Some(fields) = content.as_object_mut() {
        let words = fields.remove("text").unwrap_or_default();
        fields.insert("message_text".to_owned(), words);
    }
    let result = json!({ "type": "article", "id": "answer", "title": "Answer", "input_message_content": content });
    Some(json!({ QUERY: query, "result": result }))
}
