//! Whatever Fini answers can be read or is refused.
#![no_main]

use fini_bridge::fini::{Conversation, Page};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|body: &[u8]| {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    let page = Page::decode(value.clone());
    // The array of Generate Answer is read as a conversation's events are.
    let conversation = match value.as_array() {
        Some(events) => Conversation::decode(json!({ "id": "c", "events": events })),
        None => Conversation::decode(value),
    };
    for conversation in page.into_iter().flat_map(|page| page.conversations).chain(conversation) {
        for event in &conversation.events {
            if let Some((_, text)) = event.shown() {
                assert!(!text.trim().is_empty());
            }
            let _ = (event.code(), event.ends_turn());
        }
    }
});
