//! Formatted messages, as plain text: core.telegram.org/bots/api#richmessage. What a person pastes with its formatting
//! comes as blocks, without `text`. A block of a kind that is not known is read by the fields that all of them share.

use serde_json::Value;

use super::super::json as read;
use super::content::{Entity, Said};

/// How deep this goes is bounded by the parser of JSON.
pub fn read(message: &Value) -> Said<'_> {
    let mut said = Said::default();
    blocks(message.get("blocks"), &mut said);
    said.text.truncate(said.text.trim_end().len());
    said
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn blocks<'a>(value: Option<&'a Value>, said: &mut Said<'a>) {
    list(value).for_each(|one| block(one, said));
}

fn block<'a>(block: &'a Value, said: &mut Said<'a>) {
    let placeholder = match block.get("type").and_then(Value::as_str) {
        Some("photo") => "photo",
        Some("video") => "video",
        Some("animation") => "animation",
        Some("audio") => "audio",
        Some("voice_note") => "voice message",
        Some("map") => "location",
        _ => "",
    };
    if !placeholder.is_empty() {
        new_line(said);
        let at = |pointer| read::at(block, pointer);
        said.text.push_str(&read::details(placeholder, [at("/location/latitude"), at("/location/longitude")]));
    }
    for key in ["text", "summary", "expression"] {
        line(block.get(key), said);
    }
    blocks(block.get("blocks"), said);
    for item in list(block.get("items")) {
        new_line(said);
        said.text.push_str(item.get("label").and_then(Value::as_str).unwrap_or("-"));
        said.text.push(' ');
        let mut within = item.get("blocks").and_then(Value::as_array).into_iter().flatten();
        // The first stands behind the label.
        match within.next() {
            Some(first) if first.get("text").is_some() => text(first.get("text"), said),
            Some(first) => self::block(first, said),
            None => {}
        }
        within.for_each(|one| self::block(one, said));
    }
    for row in list(block.get("cells")) {
        new_line(said);
        for (column, cell) in row.as_array().into_iter().flatten().enumerate() {
            if column > 0 {
                said.text.push_str(" | ");
            }
            text(cell.get("text"), said);
        }
    }
    line(block.get("credit"), said);
    line(read::at(block, "/caption/text"), said);
    line(read::at(block, "/caption/credit"), said);
}

fn line<'a>(value: Option<&'a Value>, said: &mut Said<'a>) {
    if value.is_some() {
        new_line(said);
        text(value, said);
    }
}

fn new_line(said: &mut Said<'_>) {
    if !said.text.is_empty() && !said.text.ends_with('\n') {
        said.text.push('\n');
    }
}

/// A string, a list of texts, or an object around a text.
fn text<'a>(value: Option<&'a Value>, said: &mut Said<'a>) {
    let object = match value {
        Some(Value::String(words)) => return said.text.push_str(words),
        Some(Value::Array(texts)) => return texts.iter().for_each(|it| text(Some(it), said)),
        Some(object @ Value::Object(_)) => object,
        _ => return,
    };
    let start = said.text.len();
    for key in ["alternative_text", "expression"] {
        said.text.push_str(object.get(key).and_then(Value::as_str).unwrap_or_default());
    }
    text(object.get("text"), said);
    let words = said.text.get(start..).unwrap_or_default().to_owned();
    match object.get("type").and_then(Value::as_str) {
        Some(kind @ ("mention" | "text_mention" | "bot_command")) => {
            let user = read::at(object, "/user/id").and_then(Value::as_i64);
            said.entities.push(Entity { kind, start, text: words, user });
        }
        Some("url") => {
            let url = object.get("url").and_then(Value::as_str).filter(|url| *url != words);
            said.text.extend(url.map(|url| format!(" ({url})")));
        }
        _ => {}
    }
}
