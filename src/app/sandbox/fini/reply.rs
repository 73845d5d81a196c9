//! What the simulator says. Words in the question ask for something particular ([`REQUEST_WORDS`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An event that is still without id and date. Further fields of PublicEvent go into `rest`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventSpec {
    pub role: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl EventSpec {
    pub fn new(role: &str, kind: &str, message: Option<&str>) -> Self {
        let message = message.map(str::to_owned);
        Self { role: role.to_owned(), kind: kind.to_owned(), message, rest: Map::new() }
    }

    /// A message of Fini.
    pub fn message(text: &str) -> Self {
        Self::new("finibot", "message", Some(text))
    }
}

/// A stored message of a user that waits for its answer.
#[derive(Clone, Debug)]
pub struct Question {
    pub content: String,
    pub conversation: String,
    pub agent: String,
    /// Which of the user's messages in this conversation it is, from 1.
    pub turn: usize,
    pub metadata: Value,
}

/// The words, and what each brings. They count in any case, as whole words; `note` and `slow` go together
/// with any other, of the rest the first in this order counts.
pub const REQUEST_WORDS: &[(&str, &str)] = &[
    ("markdown", "bold, a list, a table, code, a link"),
    ("several", "three messages in a row"),
    ("silence", "Fini decides not to reply"),
    ("escalate", "Fini hands the conversation to a human agent without a word"),
    ("debounce", "Fini waits for more, and answers late"),
    ("long", "an answer of 15,000 characters"),
    ("unknown", "events of a role and a type that nobody knows yet, beside the answer"),
    ("form", "a widget form, which is not for a chat"),
    ("blank", "a message event without visible text, beside the answer"),
    ("null", "a message event whose text is null, beside the answer"),
    ("note", "an internal note before the answer, which a customer must never see"),
    ("slow", "the answer takes 20 seconds"),
];

/// Stands in each internal note, so that a test can look for it where it must not be.
const NOTE_MARKER: &str = "INTERNAL NOTE";
const SLOW: Duration = Duration::from_secs(20);
const LONG_CHARACTERS: usize = 15_000;

pub(super) struct Reply {
    /// Beside the usual delay.
    pub takes: Duration,
    pub events: Vec<EventSpec>,
    /// What follows by itself, after the call has ended.
    pub late: Vec<EventSpec>,
}

impl Reply {
    pub fn of(events: Vec<EventSpec>) -> Self {
        Self { takes: Duration::ZERO, events, late: Vec::new() }
    }
}

pub(super) fn to(question: &Question) -> Reply {
    let asked = question.content.to_lowercase();
    let has = |word: &str| asked.split(|c: char| !c.is_alphanumeric()).any(|found| found == word);
    let plain = || EventSpec::message(&plain(question));
    let first = REQUEST_WORDS.iter().map(|(word, _)| *word).find(|word| has(word));
    let mut reply = Reply::of(match first {
        Some("markdown") => vec![EventSpec::message(MARKDOWN)],
        Some("several") => ["first", "second", "third"]
            .map(|which| EventSpec::message(&format!("This is a simulated Fini, in its {which} of three messages.")))
            .to_vec(),
        Some("silence") => vec![EventSpec::new("finibot", "no_reply", None)],
        Some("escalate") => vec![EventSpec::new("finibot", "silent_escalation", None)],
        Some("debounce") => vec![EventSpec::new("finibot", "debounce", None)],
        Some("long") => vec![EventSpec::message(&long())],
        Some("unknown") => vec![
            EventSpec::new("finibot", "carousel", Some("UNKNOWN TYPE: this must not be shown.")),
            EventSpec::new("supervisor", "message", Some("UNKNOWN ROLE: this must not be shown.")),
            plain(),
        ],
        Some("form") => vec![EventSpec::new("finibot", "widget_form", Some("WIDGET FORM: this must not be shown."))],
        Some("blank") => vec![EventSpec::message(" \n\u{200b}"), plain()],
        Some("null") => vec![EventSpec::new("finibot", "message", None), plain()],
        _ => vec![plain()],
    });
    if first == Some("debounce") {
        reply.late.push(plain());
    }
    if has("note") {
        let note = format!("{NOTE_MARKER} of a simulated Fini: this must not be shown.");
        reply.events.insert(0, EventSpec::new("finibot", "internalnote", Some(&note)));
    }
    if has("slow") {
        reply.takes = SLOW;
    }
    reply
}

fn plain(question: &Question) -> String {
    format!(
        "This is a simulated Fini: no AI has read your message. In message {} of this conversation you said: {}",
        question.turn, question.content
    )
}

const MARKDOWN: &str = "# This is a simulated Fini

It can write **bold**, *italic*, ~~struck out~~ and `code` in a line, and a [link to its documents](https://docs.usefini.com).

1. Open *Orders*
2. Choose the order:
   - sent within 14 days
   - not worn
3. Press **Return**

| Plan | Price | Support |
|---|---:|---|
| Basic | 0 € | mail |
| Pro | 29 € | chat & phone |

```json
{ \"status\": \"sent\", \"note\": \"a < b && c > d\" }
```

> Raw HTML is text: <b>not bold</b> 👩‍👩‍👧‍👦
";

/// Paragraphs, lists and a long code block, so that every way of splitting has something to split.
fn long() -> String {
    use std::fmt::Write;
    let mut text = "# This is a simulated Fini, at length\n\n".to_owned();
    let mut characters = text.chars().count();
    for section in 1.. {
        let mut part = format!("## Section {section}\n\n");
        for line in 1..=6 {
            let _ = write!(part, "Sentence {line} of section **{section}** says a little about *returns* 👍🏽. ");
        }
        part.push_str("\n\n- one [link](https://example.com/a?b=1&c=2)\n- two\n\n```text\n");
        for line in 1..=8 {
            let _ = writeln!(part, "section {section}, line {line} of a block of code");
        }
        part.push_str("```\n\n");
        let length = part.chars().count();
        if characters + length > LONG_CHARACTERS - 20 {
            break;
        }
        characters += length;
        text.push_str(&part);
    }
    text.extend(std::iter::repeat_n('.', LONG_CHARACTERS.saturating_sub(characters + "The end".len())));
    text.push_str("The end");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(content: &str) -> Reply {
        to(&Question {
            content: content.to_owned(),
            conversation: "c".to_owned(),
            agent: "a".to_owned(),
            turn: 2,
            metadata: Value::Null,
        })
    }

    fn kinds(reply: &Reply) -> Vec<&str> {
        reply.events.iter().map(|event| event.kind.as_str()).collect()
    }

    #[test]
    fn an_ordinary_answer_says_that_it_is_simulated_and_what_was_asked() {
        let reply = asked("Where is my order? A longing, notes, slowly");
        let text = reply.events[0].message.as_deref().unwrap();
        assert!(text.starts_with("This is a simulated Fini") && text.contains("Where is my order?"), "{text}");
        assert_eq!((kinds(&reply), reply.takes), (vec!["message"], Duration::ZERO));
    }

    #[test]
    fn every_request_word_brings_what_it_promises() {
        let one = |word: &str| kinds(&asked(word)).join(" ");
        let brought: Vec<_> = REQUEST_WORDS.iter().map(|(word, _)| (*word, one(word))).collect();
        let expected = [
            ("markdown", "message"),
            ("several", "message message message"),
            ("silence", "no_reply"),
            ("escalate", "silent_escalation"),
            ("debounce", "debounce"),
            ("long", "message"),
            ("unknown", "carousel message message"),
            ("form", "widget_form"),
            ("blank", "message message"),
            ("null", "message message"),
            ("note", "internalnote message"),
            ("slow", "message"),
        ];
        assert_eq!(brought, expected.map(|(word, kinds)| (word, kinds.to_owned())));
        assert_eq!(kinds(&asked("A NOTE, several, please")), ["internalnote", "message", "message", "message"]);
        assert_eq!(asked("debounce").late.len(), 1);
        assert_eq!(asked("slow silence").takes, SLOW);
    }

    #[test]
    fn the_long_answer_has_15_000_characters_and_closed_code_blocks() {
        let text = long();
        assert_eq!(text.chars().count(), LONG_CHARACTERS);
        assert_eq!(text.matches("```").count() % 2, 0);
        assert!(text.ends_with("The end"));
    }
}
