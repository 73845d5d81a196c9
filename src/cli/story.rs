//! A message's path, in words for a terminal.

use serde_json::Value;

use crate::domain::clock::Timestamp;
use crate::store::retention::{EXPIRED, EXPIRED_DETAIL};
use crate::store::{MessageState, PartStory, Story};

/// Something that happened to a message.
pub struct Step {
    /// `None`: not known, or still going on.
    pub at: Option<Timestamp>,
    pub what: String,
    /// What was said, a line each.
    pub text: Vec<String>,
}

/// What happened so far, in order.
pub fn steps(story: &Story) -> Vec<Step> {
    let mut steps = vec![step(Some(story.received_at), "received".to_owned())];
    if let Some(turn) = &story.turn {
        if turn.asked > 0 {
            let again = if turn.asked > 1 { format!(", {} times", turn.asked) } else { String::new() };
            steps.push(step(turn.asked_at, format!("asked agent {}{again}", turn.bot_id)));
        }
        if turn.ended_at.is_some() && !turn.event_kinds.is_empty() {
            steps.push(step(turn.ended_at, format!("answered: {}", clean(&turn.event_kinds.join(", ")))));
        }
    }
    let parts = story.parts.iter().enumerate();
    steps.extend(parts.map(|(at, part)| part_step(at + 1, part)));
    steps
}

fn step(at: Option<Timestamp>, what: String) -> Step {
    Step { at, what, text: Vec::new() }
}

fn part_step(number: usize, part: &PartStory) -> Step {
    let mut what = format!("part {number} ({}) {}", part.kind.as_str(), part.state);
    if let Some(reason) = &part.reason {
        what.push_str(&format!(": {}", clean(reason)));
    }
    if part.attempts > 1 {
        what.push_str(&format!(", {} attempts", part.attempts));
    }
    let mut text = part.part.as_ref().map(|part| part_text(&part.0)).unwrap_or_default();
    text.extend(part.detail.as_deref().map(|detail| format!("({})", clean(detail))));
    Step { at: part.sent_at.or(part.tried_at), what, text }
}

/// What a part says, where its connector put it; otherwise the part as it is.
fn part_text(part: &Value) -> Vec<String> {
    fn text(part: &Value) -> Option<&str> {
        match part {
            Value::String(text) => Some(text),
            Value::Object(fields) => {
                ["plain", "text", "message", "body"].iter().find_map(|key| text(fields.get(*key)?))
            }
            _ => None,
        }
    }
    lines(&text(part).map_or_else(|| part.to_string(), str::to_owned))
}

/// The state, with why.
pub fn state(story: &Story) -> String {
    let mut text = story.state.as_str().to_owned();
    if let Some(reason) = &story.reason {
        text.push_str(&format!(": {}", clean(reason)));
    } else if story.state == MessageState::Answered {
        text.push_str(", not delivered yet");
    }
    // Of an expired one it is always the same, and is removed like any other.
    let of_expired = story.reason.as_deref().filter(|reason| *reason == EXPIRED).map(|_| EXPIRED_DETAIL);
    if let Some(detail) = story.detail.as_deref().filter(|detail| !detail.is_empty()).or(of_expired) {
        text.push_str(&format!(" ({})", clean(detail)));
    }
    text
}

/// With the reason why its answer is not delivered yet, which the part has.
pub fn with_reason(mut story: Story) -> Story {
    if story.state == MessageState::Answered
        && story.reason.is_none()
        && let Some(part) = story.parts.iter().find(|part| part.sent_at.is_none())
    {
        (story.reason, story.detail) = (part.reason.clone(), part.detail.clone());
    }
    story
}

/// Somebody else's text as one line that can neither command the terminal nor change the order in which it shows.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_invisible(c) { '\u{FFFD}' } else { c }).collect()
}

/// Bidi_Control (Unicode, UAX #9), and the line and paragraph separators.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Somebody else's text, likewise, in its own lines.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_of_a_part_is_found_in_each_connectors_shape() {
        assert_eq!(part_text(&json!("one\ntwo")), ["one", "two"]);
        assert_eq!(part_text(&json!({"html": "<b>hi</b>", "plain": "hi"})), ["hi"]);
        assert_eq!(part_text(&json!({"type": "text", "text": {"body": "hi"}})), ["hi"]);
        assert_eq!(part_text(&json!({"type": "no_reply"})), [r#"{"type":"no_reply"}"#]);
    }

    #[test]
    fn a_customers_text_can_not_command_the_terminal() {
        assert_eq!(lines("a\u{1b}[2Jb\nc\u{9b}d"), ["a\u{fffd}[2Jb", "c\u{fffd}d"]);
    }

    #[test]
    fn a_customers_text_can_not_reorder_the_line_that_it_stands_in() {
        for control in
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".chars()
        {
            assert_eq!(clean(&format!("paid{control}refused")), "paid\u{fffd}refused");
        }
        assert_eq!(clean("שלום"), "שלום");
    }
}
