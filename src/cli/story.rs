//! A message's path, in words for a terminal.

use serde_json::Value;

use crate::domain::clock::Timestamp;
use crate::store::retention::{EXPIRED, EXPIRED_DETAIL};
use crate::store::{JournalEntry, JournalStep, MessageDetails, MessageState, PartDetails};

/// Something that happened to a message.
pub struct Step {
    /// `None`: still going on.
    pub at: Option<Timestamp>,
    /// The beginning of the process's name; empty: not known.
    pub replica: String,
    pub what: String,
    /// What was said, a line each.
    pub text: Vec<String>,
}

/// What happened so far, in order, and what is still to be done.
pub fn steps(story: &MessageDetails, timeline: &[JournalEntry]) -> Vec<Step> {
    let last = |part: &PartDetails| timeline.iter().rposition(|entry| names(entry, part));
    let step = |(place, entry): (usize, &JournalEntry)| {
        let part = story.parts.iter().enumerate().find(|(_, part)| names(entry, part));
        let text = match part {
            Some((_, part)) if last(part) == Some(place) => part_lines(part),
            None if entry.step == JournalStep::Received => story.text.as_deref().map_or_else(pruned, lines),
            _ => Vec::new(),
        };
        let what = match part {
            Some((number, part)) => format!("part {} ({}) {}", number + 1, part.kind.as_str(), happened(story, entry)),
            None => happened(story, entry),
        };
        Step { at: Some(entry.at), replica: entry.replica.chars().take(8).collect(), what, text }
    };
    let mut steps: Vec<Step> = timeline.iter().enumerate().map(step).collect();
    let waiting = story.parts.iter().enumerate().filter(|(_, part)| !matches!(part.state.as_str(), "sent" | "failed"));
    steps.extend(waiting.map(|(number, part)| {
        let what =
            format!("part {} ({}) {}{}", number + 1, part.kind.as_str(), part.state, why(part.reason.as_deref()));
        let text = if last(part).is_some() { Vec::new() } else { part_lines(part) };
        Step { at: None, replica: String::new(), what, text }
    }));
    steps
}

fn names(entry: &JournalEntry, part: &PartDetails) -> bool {
    entry.detail.get("part").and_then(Value::as_str).is_some_and(|id| id == part.id.to_string())
}

fn pruned() -> Vec<String> {
    vec!["(the text is removed: store.keep)".to_owned()]
}

fn why(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {}", clean(reason))).unwrap_or_default()
}

/// An entry in words.
fn happened(story: &MessageDetails, entry: &JournalEntry) -> String {
    let detail = |name: &str| entry.detail.get(name).and_then(Value::as_str);
    let reason = why(detail("reason"));
    let turn = story.turn.as_ref().filter(|turn| detail("turn").is_some_and(|id| id == turn.id.to_string()));
    match entry.step {
        JournalStep::Received => match detail("secret") {
            Some(secret) => format!("received, verified with {}", clean(secret)),
            None => "received".to_owned(),
        },
        JournalStep::Stored => "stored".to_owned(),
        JournalStep::Waiting => format!("waits{reason}"),
        JournalStep::Asked => {
            let agent = turn.map(|turn| format!(" agent {}", turn.bot_id)).unwrap_or_default();
            match entry.detail.get("call").and_then(Value::as_u64) {
                Some(call) if call > 1 => format!("asked{agent} again, call {call}{reason}"),
                _ => format!("asked{agent}"),
            }
        }
        JournalStep::Throttled => format!("Fini takes no more for now{reason}"),
        JournalStep::Answered => match turn.filter(|turn| !turn.event_kinds.is_empty()) {
            Some(turn) => format!("answered: {}", clean(&turn.event_kinds.join(", "))),
            None => "answered".to_owned(),
        },
        JournalStep::LookedUp => format!("looked up in Fini: {} found", detail("found").unwrap_or("nothing")),
        JournalStep::Adopted => "the answer that was found counts".to_owned(),
        JournalStep::PartSent => match detail("by") {
            Some("response") => "sent in the response".to_owned(),
            _ => "sent".to_owned(),
        },
        JournalStep::PartRetried => format!("not taken, tried again{reason}"),
        JournalStep::PartFailed => format!("failed{reason}"),
        JournalStep::Reported => format!("reported as {}{reason}", detail("outcome").unwrap_or("taken")),
        JournalStep::Held => format!("held{reason}"),
        JournalStep::Failed => format!("failed{reason}"),
        JournalStep::Retried => "tried again by a person".to_owned(),
        JournalStep::Discarded => "discarded by a person".to_owned(),
    }
}

/// What a part says, and what was said of it.
fn part_lines(part: &PartDetails) -> Vec<String> {
    let mut text = part.part.as_ref().map(|part| part_text(&part.0)).unwrap_or_default();
    text.extend(part.detail.as_deref().map(|detail| format!("({})", clean(detail))));
    text
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
pub fn state(story: &MessageDetails) -> String {
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
pub fn with_reason(mut story: MessageDetails) -> MessageDetails {
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
