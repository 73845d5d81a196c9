//! Whatever Fini answers can be read or is refused.
#![no_main]

use fini_bridge::fini::{Conversation, Event, Page};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    if let Some(items) = value.as_array() {
        for event in items.iter().cloned().filter_map(Event::decode) {
            let _ = (event.shown().is_some(), event.code(), event.ends_turn());
        }
    }
    let _ = (Page::decode(value.clone()), Conversation::decode(value));
});
