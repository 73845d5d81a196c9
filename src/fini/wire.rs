//! Fini's own shapes. Lenient: roles, types and fields that are new, null or missing break nothing, and
//! what is not known is never shown to a customer.
//!
//! Decoding goes by hand over [`Value`] rather than by derived structs: there one odd field of one event
//! would make a whole answer unreadable, and an unreadable answer is an unknown outcome.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::clock::Timestamp;
use crate::domain::id::{BotId, EventId, InteractionId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventRole {
    User,
    Agent,
    Finibot,
    OtherBot,
    Unknown(String),
}

impl EventRole {
    pub fn as_str(&self) -> &str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Finibot => "finibot",
            Self::OtherBot => "otherbot",
            Self::Unknown(text) => text,
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "user" => Self::User,
            "agent" => Self::Agent,
            "finibot" => Self::Finibot,
            "otherbot" => Self::OtherBot,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Message,
    InternalNote,
    NoReply,
    SilentEscalation,
    Debounce,
    WidgetForm,
    Unknown(String),
}

impl EventKind {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Message => "message",
            Self::InternalNote => "internalnote",
            Self::NoReply => "no_reply",
            Self::SilentEscalation => "silent_escalation",
            Self::Debounce => "debounce",
            Self::WidgetForm => "widget_form",
            Self::Unknown(text) => text,
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "message" => Self::Message,
            "internalnote" => Self::InternalNote,
            "no_reply" => Self::NoReply,
            "silent_escalation" => Self::SilentEscalation,
            "debounce" => Self::Debounce,
            "widget_form" => Self::WidgetForm,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// PublicEvent. `raw` is the event as it came, for templates and exports.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Option<EventId>,
    pub created_at: Option<Timestamp>,
    pub role: EventRole,
    pub kind: EventKind,
    pub message: Option<String>,
    pub raw: Value,
}

impl Event {
    /// Who and what, for lists and pages: `finibot/message`.
    pub fn code(&self) -> String {
        format!("{}/{}", self.role.as_str(), self.kind.as_str())
    }

    /// Fini (or a human agent) has said something for good, or decided to say nothing; more may follow
    /// after a `debounce` or a note.
    pub fn ends_turn(&self) -> bool {
        use EventKind::{Message, NoReply, SilentEscalation};
        matches!(self.role, EventRole::Finibot | EventRole::Agent)
            && matches!(self.kind, Message | NoReply | SilentEscalation)
    }

    /// What a customer may see of it: a `message` of Fini or of a human agent, with text and with an id
    /// (without one it could not be shown just once). Whether an agent's message is an echo of what
    /// came from this very chat, only the caller knows.
    pub fn shown(&self) -> Option<(&EventId, &str)> {
        if self.kind != EventKind::Message || !matches!(self.role, EventRole::Finibot | EventRole::Agent) {
            return None;
        }
        let text = self.message.as_deref().filter(|text| !is_blank(text))?;
        Some((self.id.as_ref()?, text))
    }

    fn decode(raw: Value) -> Option<Self> {
        let fields = raw.as_object()?;
        Some(Self {
            id: id(fields.get("id")).map(EventId::new),
            created_at: moment(fields.get("createdAt")),
            role: EventRole::parse(text(fields.get("role")).unwrap_or_default()),
            kind: EventKind::parse(text(fields.get("type")).unwrap_or_default()),
            message: text(fields.get("message")).map(str::to_owned),
            raw,
        })
    }
}

/// PublicConversation, as far as the bridge reads it; `raw` has the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub id: InteractionId,
    pub created_at: Option<Timestamp>,
    pub status: Option<String>,
    pub user_attributes: Map<String, Value>,
    pub events: Vec<Event>,
    pub raw: Value,
}

impl Conversation {
    pub fn decode(raw: Value) -> Option<Self> {
        let fields = raw.as_object()?;
        let events = fields.get("events").and_then(Value::as_array);
        Some(Self {
            id: InteractionId::new(id(fields.get("id"))?),
            created_at: moment(fields.get("createdAt")),
            status: text(fields.get("status")).map(str::to_owned),
            user_attributes: fields.get("userAttributes").and_then(Value::as_object).cloned().unwrap_or_default(),
            events: events.into_iter().flatten().cloned().filter_map(Event::decode).collect(),
            raw,
        })
    }
}

/// One page of List conversations.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub conversations: Vec<Conversation>,
    pub has_more: bool,
    pub next_cursor: Option<String>,
    pub prev_cursor: Option<String>,
}

impl Page {
    pub fn decode(mut raw: Value) -> Option<Self> {
        let fields = raw.as_object_mut()?;
        // The older page of the documentation says "interactions", the newer one "conversations".
        let items = ["interactions", "conversations"].into_iter().find_map(|key| match fields.get_mut(key) {
            Some(Value::Array(items)) => Some(std::mem::take(items)),
            _ => None,
        })?;
        let next_cursor = id(fields.get("nextCursor"));
        Some(Self {
            conversations: items.into_iter().filter_map(Conversation::decode).collect(),
            has_more: fields.get("hasMore").and_then(Value::as_bool).unwrap_or(next_cursor.is_some()),
            next_cursor,
            prev_cursor: id(fields.get("prevCursor")),
        })
    }
}

/// One item of List agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Agent {
    pub id: BotId,
    pub name: Option<String>,
}

impl Agent {
    /// Beyond `id` the fields are not documented: the first likely name is taken.
    fn decode(raw: &Value) -> Option<Self> {
        let fields = raw.as_object()?;
        let name = ["name", "botName", "displayName", "title"].into_iter().find_map(|key| text(fields.get(key)));
        Some(Self { id: BotId::new(id(fields.get("id"))?), name: name.map(str::to_owned) })
    }
}

pub(super) fn decode_events(raw: Value) -> Option<Vec<Event>> {
    match raw {
        Value::Array(items) => Some(items.into_iter().filter_map(Event::decode).collect()),
        _ => None,
    }
}

pub(super) fn decode_agents(raw: Value) -> Option<Vec<Agent>> {
    Some(raw.as_array()?.iter().filter_map(Agent::decode).collect())
}

/// Reads JSON, mending what a JavaScript server can write and serde_json refuses: half of a surrogate
/// pair (a preview cut inside an emoji), a byte order mark, bytes that are not UTF-8.
pub(super) fn read_json(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if let Ok(value) = serde_json::from_slice(body) {
        return Some(value);
    }
    serde_json::from_str(&mend_surrogates(&String::from_utf8_lossy(body))).ok()
}

/// Replaces each `\uD800`…`\uDFFF` that is not part of a pair by `\uFFFD`.
fn mend_surrogates(json: &str) -> String {
    let unit = |at: &str| match at.strip_prefix("\\u").and_then(|rest| rest.get(..4)) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => u16::from_str_radix(digits, 16).ok(),
        _ => None,
    };
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find('\\') {
        let (before, escape) = rest.split_at(start);
        mended.push_str(before);
        let (taken, written) = match unit(escape) {
            Some(0xD800..=0xDBFF) if matches!(escape.get(6..).and_then(unit), Some(0xDC00..=0xDFFF)) => (12, None),
            Some(0xD800..=0xDFFF) => (6, Some("\\uFFFD")),
            Some(_) => (6, None),
            // An escaped backslash must not lend its second half to what follows.
            None => (1 + escape.chars().nth(1).map_or(0, char::len_utf8), None),
        };
        let (escape, after) = escape.split_at(taken);
        mended.push_str(written.unwrap_or(escape));
        rest = after;
    }
    mended.push_str(rest);
    mended
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

fn id(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Milliseconds since the epoch, as a number or its text; or RFC 3339.
fn moment(value: Option<&Value>) -> Option<Timestamp> {
    let millis = match value? {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text
            .trim()
            .parse()
            .ok()
            .or_else(|| text.trim().parse::<f64>().ok().and_then(whole))
            .or_else(|| text.trim().parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)),
        _ => None,
    };
    millis.map(Timestamp::from_millis)
}

#[allow(clippy::cast_possible_truncation)] // bounded just before
fn whole(number: f64) -> Option<i64> {
    (number.is_finite() && number.abs() < 9e15).then_some(number as i64)
}

/// No platform takes a message of nothing but spaces and zero-width characters.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The answer as the documentation shows it.
    const ANSWER: &str = r#"[
      {"id":"cc0e1592-4b71-4f57-bf9c-1b10a6b7b71a","createdAt":1749640953000,"role":"user","type":"message",
       "message":"Where is my order?","externalId":null,"externalCreatedAt":null,"csatRating":null,"feedback":null,
       "approved":null,"resolved":null,"attachments":[],"tags":[],"usedArticles":[]},
      {"id":"da370d54-5d2a-4b38-b99d-8b5c5f77bff7","createdAt":1749640955000,"role":"finibot","type":"message",
       "message":"I can help with that. What is your order number?","externalId":null,"externalCreatedAt":null,
       "csatRating":null,"feedback":null,"approved":null,"resolved":null,"attachments":[],"tags":[],
       "usedArticles":[{"id":"7f5392e5-dc7d-4558-8860-cf3ea4b32f94","title":"Track your order","documentUrl":null}]}]"#;

    fn event(raw: Value) -> Event {
        Event::decode(raw).unwrap()
    }

    #[test]
    fn the_documented_answer_is_read_and_only_finis_message_is_shown() {
        let events = decode_events(read_json(ANSWER.as_bytes()).unwrap()).unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!((&events[0].role, &events[0].kind), (&EventRole::User, &EventKind::Message));
        assert_eq!(events[0].shown(), None);
        assert_eq!(events[1].created_at, Some(Timestamp::from_millis(1_749_640_955_000)));
        let id = EventId::new("da370d54-5d2a-4b38-b99d-8b5c5f77bff7");
        assert_eq!(events[1].shown(), Some((&id, "I can help with that. What is your order number?")));
        assert_eq!(events[1].raw["usedArticles"][0]["title"], "Track your order");
    }

    #[test]
    fn only_messages_of_fini_and_of_human_agents_with_text_and_id_are_shown() {
        let kinds = [
            "message",
            "internalnote",
            "no_reply",
            "silent_escalation",
            "debounce",
            "widget_form",
            "carousel",
            "Message",
        ];
        for role in ["user", "agent", "finibot", "otherbot", "supervisor", "FiniBot"] {
            for kind in kinds {
                let event = event(json!({"id": "e", "role": role, "type": kind, "message": "text"}));
                assert_eq!((event.role.as_str(), event.kind.as_str()), (role, kind));
                let expected = kind == "message" && (role == "finibot" || role == "agent");
                assert_eq!(event.shown().is_some(), expected, "{role} {kind}");
            }
        }
        for message in [json!(null), json!(""), json!(" \n\t"), json!("\u{200b}\u{feff}"), json!(7), json!(["a"])] {
            let event = event(json!({"id": "e", "role": "finibot", "type": "message", "message": message}));
            assert_eq!(event.shown(), None, "{message}");
        }
        for id in [json!(null), json!(""), json!({})] {
            let event = event(json!({"id": id, "role": "finibot", "type": "message", "message": "text"}));
            assert_eq!((event.id.clone(), event.shown()), (None, None));
        }
    }

    #[test]
    fn odd_fields_break_neither_their_event_nor_its_neighbours() {
        let events = decode_events(json!([
            null, 7, "text", [], {},
            {"id": 12, "createdAt": "1749640953000", "role": null, "type": 3, "message": {"a": 1}, "new": [1]},
            {"id": "b", "createdAt": "2025-06-11T11:22:33Z", "role": "finibot", "type": "message", "message": "ok"},
            {"id": "c", "createdAt": 1749640953000.5, "role": "finibot", "type": "message", "message": "ok"},
            {"id": "d", "createdAt": 1e300}
        ]))
        .unwrap();
        assert_eq!(events.len(), 5);
        assert_eq!((events[0].id.clone(), events[0].created_at), (None, None));
        assert_eq!(events[1].id, Some(EventId::new("12")));
        assert_eq!(events[1].created_at, Some(Timestamp::from_millis(1_749_640_953_000)));
        assert_eq!(events[1].role, EventRole::Unknown(String::new()));
        assert_eq!(events[2].created_at, Some(Timestamp::from_millis(1_749_640_953_000)));
        assert_eq!(events[3].created_at, Some(Timestamp::from_millis(1_749_640_953_000)));
        assert_eq!(events[4].created_at, None);
    }

    #[test]
    fn a_page_is_read_under_either_key_and_without_optional_fields() {
        for key in ["interactions", "conversations"] {
            let page = Page::decode(json!({
                key: [
                    {"id": "i1", "createdAt": 5, "status": "Escalated to Human Agent", "userAttributes": {"ref": "x"},
                     "events": [{"id": "e1"}, null], "usedSubfolders": [], "hasFeedback": false},
                    {"id": "i2", "userAttributes": null, "events": null, "status": null},
                    {"createdAt": 5}, null
                ],
                "hasMore": true, "nextCursor": "i2", "prevCursor": null
            }))
            .unwrap();
            assert_eq!(page.conversations.len(), 2);
            assert_eq!(page.conversations[0].status.as_deref(), Some("Escalated to Human Agent"));
            assert_eq!(page.conversations[0].user_attributes["ref"], "x");
            assert_eq!(page.conversations[0].events.len(), 1);
            assert_eq!(page.conversations[1].events, []);
            assert_eq!((page.has_more, page.next_cursor.as_deref(), page.prev_cursor), (true, Some("i2"), None));
        }
        assert!(!Page::decode(json!({"interactions": []})).unwrap().has_more);
        assert!(Page::decode(json!({"interactions": [], "nextCursor": "c", "hasMore": null})).unwrap().has_more);
        for odd in [json!({"interactions": {}}), json!({"data": []}), json!([]), json!(null)] {
            assert_eq!(Page::decode(odd), None);
        }
    }

    #[test]
    fn agents_are_read_with_whatever_name_they_have() {
        let agents = decode_agents(json!([{"id": "a", "name": "Support"}, {"id": "b", "name": null}, {}, 3])).unwrap();
        let names: Vec<_> = agents.iter().map(|agent| (agent.id.as_str(), agent.name.as_deref())).collect();
        assert_eq!(names, [("a", Some("Support")), ("b", None)]);
        assert_eq!(decode_agents(json!({})), None);
    }

    #[test]
    fn a_text_cut_inside_an_emoji_does_not_make_the_answer_unreadable() {
        let read = |json: &str| read_json(json.as_bytes());
        assert_eq!(read(r#"["a\ud83d"]"#), Some(json!(["a\u{fffd}"])));
        assert_eq!(read(r#"["\ud83d\ude00 \udc00\ud83d x"]"#), Some(json!(["😀 \u{fffd}\u{fffd} x"])));
        assert_eq!(read(r#"["\\ud83d \ud83d"]"#), Some(json!(["\\ud83d \u{fffd}"])));
        assert_eq!(read("\u{feff}[1]"), Some(json!([1])));
        assert_eq!(read_json(b"[\"a\xff\"]"), Some(json!(["a\u{fffd}"])));
        for broken in ["", "[", "<html>", r#"["\ud83"#, r#"["\"#, "[1] [2]"] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            prop_oneof![Just("message"), Just("finibot"), Just("agent"), Just("9e99")].prop_map(Value::from),
        ];
        let key = prop_oneof![
            Just("id".to_owned()),
            Just("role".to_owned()),
            Just("type".to_owned()),
            Just("message".to_owned()),
            Just("createdAt".to_owned()),
            Just("events".to_owned()),
            Just("userAttributes".to_owned()),
            Just("interactions".to_owned()),
            Just("nextCursor".to_owned()),
            "[a-z]{0,4}",
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..8)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_makes_decoding_panic(value in any_json()) {
            for event in decode_events(value.clone()).into_iter().flatten() {
                if let Some((_, text)) = event.shown() {
                    prop_assert!(!text.trim().is_empty() && event.kind == EventKind::Message);
                }
            }
            let _ = (Page::decode(value.clone()), Conversation::decode(value.clone()), decode_agents(value));
        }

        #[test]
        fn no_body_makes_reading_panic(body in prop::collection::vec(any::<u8>(), 0..64), text in r#"["\\u0-9a-fA-F\[{}:,é]{0,40}"#) {
            let _ = (read_json(&body), read_json(text.as_bytes()));
        }

        #[test]
        fn every_prefix_of_the_documented_answer_is_read_or_refused(cut in 0..ANSWER.len()) {
            prop_assert_eq!(read_json(&ANSWER.as_bytes()[..cut]), None);
        }
    }
}
