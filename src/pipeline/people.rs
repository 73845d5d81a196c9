//! Names for chats and for the people who write, keyed with the installation's key: enough to count and to compare by, and nothing
//! that tells who they are or what is known of them.

use serde_json::{Map, Value};

use crate::domain::id::{AttributesRef, ChannelName, ChatKey, ChatRef, SenderRef};
use crate::signature::hmac_hex;

/// A chat's name. Chats of two accounts of the channel have two, whatever the platform calls them.
pub fn chat_ref(installation_key: &[u8; 32], channel: &ChannelName, account: &str, chat: &ChatKey) -> ChatRef {
    ChatRef::new(keyed(installation_key, &["chat", channel.as_str(), account, chat.as_str()]))
}

/// A sender's name, the same in all chats of the channel.
pub fn sender_ref(installation_key: &[u8; 32], channel: &ChannelName, sender: &str) -> SenderRef {
    SenderRef::new(keyed(installation_key, &["sender", channel.as_str(), sender]))
}

/// Equal sets have equal names, in whatever order they were written. Absent and empty are equal.
pub fn attributes_ref(
    installation_key: &[u8; 32],
    channel: &ChannelName,
    attributes: &Map<String, Value>,
) -> AttributesRef {
    let sorted: std::collections::BTreeMap<_, _> = attributes.iter().collect();
    let json = serde_json::to_string(&sorted).unwrap_or_default();
    AttributesRef::new(keyed(installation_key, &["attributes", channel.as_str(), &json]))
}

fn keyed(installation_key: &[u8; 32], parts: &[&str]) -> String {
    let mut hex = hmac_hex(installation_key, &[parts.join("\0").as_bytes()]);
    hex.truncate(32);
    hex
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn of(attributes: Value) -> AttributesRef {
        attributes_ref(&KEY, &ChannelName::new("shop"), attributes.as_object().unwrap())
    }

    #[test]
    fn equal_attributes_have_one_name_and_others_another() {
        assert_eq!(of(json!({ "a": 1, "b": { "c": 2, "d": 3 } })), of(json!({ "b": { "d": 3, "c": 2 }, "a": 1 })));
        assert_eq!(of(json!({})), of(json!({})));
        assert_ne!(of(json!({ "a": 1 })), of(json!({})));
        assert_ne!(of(json!({ "a": 1 })), of(json!({ "a": "1" })));
    }

    #[test]
    fn a_sender_has_one_name_in_a_channel_and_another_in_the_next() {
        let name = |channel: &str, sender: &str| sender_ref(&KEY, &ChannelName::new(channel), sender);
        assert_eq!(name("shop", "zoe"), name("shop", "zoe"));
        assert_ne!(name("shop", "zoe"), name("desk", "zoe"));
        assert_ne!(name("shop", "zoe"), name("shop", "ann"));
        assert!(!name("shop", "zoe").as_str().contains("zoe"));
    }
}
