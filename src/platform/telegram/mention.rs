//! For whom a message in a group is, and the bot's own name in it.

use serde_json::{Value, json};

use super::super::{Malformed, Recipient, json as read};
use super::content::Said;
use crate::domain::message::{Address, Addressed};

/// In the address of a message that came before `getMe` told the bot's name: whom the message names.
const NAMES: &str = "names";

pub struct Bot<'a> {
    pub id: i64,
    /// Without the `@`, once it is known.
    pub name: Option<&'a str>,
}

impl Bot<'_> {
    /// Whether a message in a group is for the bot.
    pub fn addressed(
        &self,
        message: &Value,
        said: Option<&Said<'_>>,
        address: &mut Value,
    ) -> Result<Addressed, Malformed> {
        let nothing = Said::default();
        let said = said.unwrap_or(&nothing);
        if self.is_meant(message, said)? {
            return Ok(Addressed::Mention);
        }
        let names: Vec<&str> = said.names().collect();
        Ok(match self.name {
            Some(own) if names.iter().any(|name| own.eq_ignore_ascii_case(name)) => Addressed::Mention,
            None if !names.is_empty() => {
                read::set(address, NAMES, json!(names));
                Addressed::Mention
            }
            _ => Addressed::Room,
        })
    }

    /// A reply to what the bot wrote, a mention by its id, or a command that names no bot.
    fn is_meant(&self, message: &Value, said: &Said<'_>) -> Result<bool, Malformed> {
        // In a topic each message is a "reply" to the service message that opened it.
        let opening = message.pointer("/reply_to_message/forum_topic_created").is_some();
        if !opening && read::optional_integer(message, "/reply_to_message/from/id")? == Some(self.id) {
            return Ok(true);
        }
        Ok(said.entities.iter().any(|entity| match entity.kind {
            "text_mention" => entity.user == Some(self.id),
            "bot_command" => entity.start == 0 && !entity.text.contains('@'),
            _ => false,
        }))
    }

    /// The bot's own name at the start says who is meant, not what is asked: `@acme_bot hello` is `hello`,
    /// `/start@acme_bot` is `/start`.
    pub fn without_own_name(&self, said: &Said<'_>) -> String {
        let known = |name: &str| self.name.is_some_and(|own| own.eq_ignore_ascii_case(name));
        let first = said.entities.iter().find(|entity| entity.start == 0);
        let rest = first.and_then(|entity| said.text.get(entity.text.len()..)).unwrap_or_default();
        match first {
            Some(entity) if entity.kind == "mention" && entity.text.strip_prefix('@').is_some_and(known) => {
                rest.trim_start_matches([' ', '\n', ',', ':']).to_owned()
            }
            Some(entity) if entity.kind == "bot_command" => match entity.text.split_once('@') {
                Some((command, name)) if known(name) => format!("{command}{rest}"),
                _ => said.text.clone(),
            },
            _ => said.text.clone(),
        }
    }
}

/// For whom a message is that came before the bot's name was known.
pub fn recipient(address: &Address, name: Option<&str>) -> Recipient {
    let Some(names) = address.0.get(NAMES).and_then(Value::as_array) else { return Recipient::Us };
    match name {
        None => Recipient::Unknown,
        Some(own) if names.iter().filter_map(Value::as_str).any(|name| own.eq_ignore_ascii_case(name)) => Recipient::Us,
        Some(_) => Recipient::OtherBot,
    }
}
