//! A platform's JSON, field by field: what is missing is told apart from what has the wrong type, and an error names
//! the field, never its value. Fields are named by JSON pointers, `/event/channel`.

use serde_json::Value;

use super::Malformed;

fn wrong(pointer: &str, expected: &str) -> Malformed {
    Malformed::new(format!("{} is not {expected}", pointer.trim_start_matches('/').replace('/', ".")))
}

/// As [`Value::pointer`], which allocates to undo an escaping that no name of a platform's needs.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        value => value.get(key),
    })
}

/// `null` is as good as absent, everywhere.
fn find<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    at(value, pointer).filter(|found| !found.is_null())
}

pub(super) fn object(body: &[u8]) -> Result<Value, Malformed> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Malformed::new("the body is not JSON"))?;
    if value.is_object() { Ok(value) } else { Err(Malformed::new("the body is not a JSON object")) }
}

pub(super) fn optional_object<'a>(value: &'a Value, pointer: &str) -> Result<Option<&'a Value>, Malformed> {
    match find(value, pointer) {
        Some(found) if !found.is_object() => Err(wrong(pointer, "an object")),
        found => Ok(found),
    }
}

pub(super) fn optional_text<'a>(value: &'a Value, pointer: &str) -> Result<Option<&'a str>, Malformed> {
    find(value, pointer).map(|found| found.as_str().ok_or_else(|| wrong(pointer, "a string"))).transpose()
}

/// A string that is there and not empty.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str, Malformed> {
    optional_text(value, pointer)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| wrong(pointer, "a string with content"))
}

pub(super) fn optional_integer(value: &Value, pointer: &str) -> Result<Option<i64>, Malformed> {
    find(value, pointer).map(|found| found.as_i64().ok_or_else(|| wrong(pointer, "an integer"))).transpose()
}

pub(super) fn integer(value: &Value, pointer: &str) -> Result<i64, Malformed> {
    optional_integer(value, pointer)?.ok_or_else(|| wrong(pointer, "an integer"))
}

pub(super) fn optional_flag(value: &Value, pointer: &str) -> Result<Option<bool>, Malformed> {
    find(value, pointer).map(|found| found.as_bool().ok_or_else(|| wrong(pointer, "true or false"))).transpose()
}

/// An array; empty where there is none.
pub(super) fn optional_list<'a>(value: &'a Value, pointer: &str) -> Result<&'a [Value], Malformed> {
    match find(value, pointer) {
        None => Ok(&[]),
        Some(found) => found.as_array().map(Vec::as_slice).ok_or_else(|| wrong(pointer, "an array")),
    }
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a [Value], Malformed> {
    find(value, pointer).and_then(Value::as_array).map(Vec::as_slice).ok_or_else(|| wrong(pointer, "an array"))
}

/// Adds a field to an object that is being written.
pub(super) fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

/// What is not text, as one readable line: `[image: receipt.jpg]`, `[image]`.
pub(super) fn placeholder(kind: &str, name: Option<&str>) -> String {
    let name = name.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() { format!("[{kind}]") } else { format!("[{kind}: {name}]") }
}

/// A string or a number as it is read by people; nothing else.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// What is not text, with what is known of it: `[location: HQ, 48.2, 16.3]`.
pub(super) fn details<'a>(kind: &str, details: impl IntoIterator<Item = Option<&'a Value>>) -> String {
    let details: Vec<String> =
        details.into_iter().flatten().map(shown).filter(|detail| !detail.trim().is_empty()).collect();
    placeholder(kind, Some(&details.join(", ")))
}

/// At most so many characters of words that somebody else wrote.
const MAX_QUOTED: usize = 500;

/// A message with the words that it is about before it, each line of them marked as in an e-mail.
pub(super) fn with_quote(quote: Option<&str>, text: String) -> String {
    let Some(quote) = quote.map(str::trim).filter(|quote| !quote.is_empty()) else { return text };
    let mut words: String = quote.chars().take(MAX_QUOTED).collect();
    if words.len() < quote.len() {
        words.push('…');
    }
    joined(quoted(&words), &text)
}

/// Each line marked as somebody else's.
pub(super) fn quoted(words: &str) -> String {
    words.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}

/// Two texts, one below the other.
pub(super) fn joined(mut above: String, below: &str) -> String {
    if !above.is_empty() && !below.is_empty() {
        above.push('\n');
    }
    above.push_str(below);
    above
}
