//! What a reply's body would do with hostile values, found before the first message: it is rendered with probes that
//! answer every path. A template that needs more than that to render (a number to count with) is left to its sample.

use minijinja::Value;
use serde_json::Value as Json;

use super::placement;
use super::probe::{Branch, Probe};
use super::template::{Failed, Template};
use super::unique_keys;
use crate::domain::problem::Problem;

const KEY: &str = "reply.body";
/// The key that a hostile value tries to write.
const WRITTEN: &str = "written_by_a_value";
const HARMLESS: &str = "1";
const HOSTILE: [&str; 4] = [
    "x\", \"written_by_a_value\": \"x",
    "1, \"written_by_a_value\": 1",
    "x&written_by_a_value=x",
    // No quotation mark, and it takes away the template's own.
    "x\\",
];

/// What the body is, by its Content-Type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    Json,
    Form,
    Other,
}

impl BodyType {
    pub fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => Self::Form,
            "application/json" => Self::Json,
            other if other.ends_with("+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

fn rendered(body: &Template, value: &'static str, branch: Branch) -> Result<String, Failed> {
    let probe = || Probe::value(value, branch);
    let text = || Value::from(value);
    body.render(&Value::from_pairs([
        ("text", text()),
        ("chat", text()),
        ("id", text()),
        ("event", probe()),
        ("item", probe()),
    ]))
}

const BRANCHES: [Branch; 2] = [Branch::Taken, Branch::Skipped];

/// What is wrong with a JSON body whatever the values are.
pub fn problem(body: &Template, source: &str) -> Option<Problem> {
    let values = [HARMLESS].into_iter().chain(HOSTILE);
    let all: Vec<Result<String, Failed>> =
        values.flat_map(|value| BRANCHES.map(|branch| rendered(body, value, branch))).collect();
    let misplaced = all.iter().filter_map(|one| one.as_ref().err()).find(|failed| placement::is_refusal(&failed.why));
    if let Some(failed) = misplaced {
        let instead = "\"{{ text }}\" between quotation marks, or {{ text|tojson }} without them";
        return Some(Problem::new(KEY, failed.why.clone(), instead));
    }
    // What `|safe` writes may be all that is missing.
    if source.contains("safe") {
        return None;
    }
    let wrong: Option<Vec<&str>> = all.iter().map(|one| unique_keys::check(one.as_ref().ok()?).err()).collect();
    let why = wrong?.first().copied()?;
    Some(Problem::new(KEY, format!("{why}, whatever the answer is"), "'{\"text\": {{ text|tojson }}}'"))
}

/// What works and lets a value write more than itself.
pub fn warning(body: &Template, body_type: BodyType) -> Option<Problem> {
    let breaks_out = BRANCHES.into_iter().any(|branch| {
        let Ok(harmless) = rendered(body, HARMLESS, branch) else { return false };
        let hostile = || HOSTILE.into_iter().filter_map(|value| rendered(body, value, branch).ok());
        match serde_json::from_str::<Json>(&harmless) {
            _ if body_type == BodyType::Form => {
                hostile().any(|text| url::form_urlencoded::parse(text.as_bytes()).any(|(key, _)| key == WRITTEN))
            }
            // A text that happens to be a number is no JSON body.
            Ok(Json::Object(_) | Json::Array(_)) => {
                hostile().any(|text| serde_json::from_str(&text).map_or(true, |json| has_key(&json)))
            }
            _ => false,
        }
    });
    if !breaks_out {
        return None;
    }
    Some(match body_type {
        BodyType::Json => Problem::new(
            KEY,
            "`|safe` writes a value into JSON as it is: what a customer sends can add members of its own",
            "{{ value }} or {{ value|tojson }}, unless the value is JSON that only you make",
        ),
        BodyType::Form => Problem::new(KEY, "a value can add fields of its own to the form", "{{ value|urlencode }}"),
        BodyType::Other => Problem::new(
            KEY,
            "is JSON, and the Content-Type doesn't say so: values are not escaped, and can add members of their own",
            "content-type = \"application/json\", or {{ value|tojson }} for each value",
        ),
    })
}

fn has_key(json: &Json) -> bool {
    match json {
        Json::Object(members) => members.iter().any(|(key, member)| key == WRITTEN || has_key(member)),
        Json::Array(list) => list.iter().any(has_key),
        _ => false,
    }
}
