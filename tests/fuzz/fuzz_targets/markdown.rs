//! Any text in any dialect at any limit: no panic, no endless loop, no piece beyond its limit.
#![no_main]

use fini_bridge::text::{Dialect, Limit, Unit, count, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, u8, u16)| {
    let (markdown, choice, max) = input;
    let (dialect, unit) = match choice % 6 {
        0 => (Dialect::Markdown, Unit::Chars),
        1 => (Dialect::Plain, Unit::Bytes),
        2 => (Dialect::Html, Unit::Chars),
        3 => (Dialect::Slack, Unit::Chars),
        4 => (Dialect::Telegram, Unit::Utf16),
        _ => (Dialect::Whatsapp, Unit::Utf16),
    };
    let max = usize::from(max).max(40);
    for piece in render(markdown, dialect, Some(Limit { max, unit })) {
        assert!(!piece.text.trim().is_empty());
        if dialect != Dialect::Telegram {
            // Telegram counts what is left after entity parsing.
            assert!(count(&piece.text, unit) <= max);
        }
    }
});
