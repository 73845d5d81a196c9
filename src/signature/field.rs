//! A token that stands in the body: found without building anything of what else is in it, and blanked once it was
//! believed. Whoever sends the body is not known yet, so the memory that this takes doesn't grow with its shape.

use std::fmt;

use bytes::BytesMut;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::RawWebhook;

/// Bytes of a token. Longer is none.
const MAX_TOKEN: usize = 8 * 1024;
/// A byte of a JSON string may be written as an escape of six.
const LONGEST_ESCAPE: usize = 6;

/// The text at `path` in a JSON or form body. `None` where it is missing, given twice, or not a text.
pub(super) fn find(raw: &RawWebhook, path: &[String]) -> Option<String> {
    if raw.is_form() {
        let key = path.first().filter(|_| path.len() == 1)?;
        let mut values = url::form_urlencoded::parse(&raw.body).filter(|(given, _)| given == key);
        let first = values.next()?.1;
        return (values.next().is_none() && first.len() <= MAX_TOKEN).then(|| first.into_owned());
    }
    let mut json = serde_json::Deserializer::from_slice(&raw.body);
    let found = At(path).deserialize(&mut json).ok()?;
    json.end().ok()?;
    found
}

/// Overwrites with `*` every string of a JSON body, or every value of a form, that is a token.
pub(super) fn blank(raw: &mut RawWebhook, is_token: impl Fn(&str) -> bool) {
    let form = raw.is_form();
    let body = std::mem::take(&mut raw.body);
    let mut body = body.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    if form {
        for pair in body.split_mut(|byte| *byte == b'&') {
            let value = pair.iter().position(|byte| *byte == b'=').and_then(|at| pair.get_mut(at + 1..));
            if let Some(value) = value.filter(|value| value.len() <= MAX_TOKEN * LONGEST_ESCAPE) {
                let text = [b"=", &*value].concat();
                if url::form_urlencoded::parse(&text).any(|(_, text)| is_token(&text)) {
                    value.fill(b'*');
                }
            }
        }
    } else {
        let mut rest: &mut [u8] = &mut body;
        while let Some((string, behind)) = next_string(rest) {
            if string.len() <= MAX_TOKEN * LONGEST_ESCAPE {
                let literal = [b"\"", &*string, b"\""].concat();
                if serde_json::from_slice::<String>(&literal).is_ok_and(|text| is_token(&text)) {
                    string.fill(b'*');
                }
            }
            rest = behind;
        }
    }
    raw.body = body.freeze();
}

/// What stands between the next two quotation marks of a JSON text, and what comes behind them.
fn next_string(json: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let start = json.iter().position(|byte| *byte == b'"')? + 1;
    let json = json.get_mut(start..)?;
    let mut at = 0;
    loop {
        match json.get(at)? {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    let (string, behind) = json.split_at_mut_checked(at)?;
    Some((string, behind.get_mut(1..)?))
}

/// The text at this path of a JSON value; `None` where there is something else.
struct At<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = members.next_key_seed(Is(self.0.first()))? {
            if !wanted {
                members.next_value::<IgnoredAny>()?;
            } else if found.is_some() {
                return Err(A::Error::custom("given twice"));
            } else {
                found = Some(members.next_value_seed(At(self.0.get(1..).unwrap_or_default()))?);
            }
        }
        Ok(found.flatten())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok((self.0.is_empty() && text.len() <= MAX_TOKEN).then(|| text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a member has this name.
struct Is<'p>(Option<&'p String>);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(self.0.is_some_and(|wanted| wanted == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(body: &str, kind: &'static str) -> RawWebhook {
        let mut raw = RawWebhook {
            method: reqwest::Method::POST,
            url: String::new(),
            rest: String::new(),
            headers: Default::default(),
            query: Vec::new(),
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        };
        raw.headers.insert("content-type", reqwest::header::HeaderValue::from_static(kind));
        raw
    }

    fn found(body: &str, path: &str) -> Option<String> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        find(&raw(body, "application/json"), &path)
    }

    #[test]
    fn a_token_is_found_by_its_path() {
        assert_eq!(found(r#"{"a":[{"token":"no"}],"token":"yes"}"#, "token").as_deref(), Some("yes"));
        assert_eq!(found(r#"{"auth":{"n":1,"token":"a\/b"},"x":null}"#, "auth.token").as_deref(), Some("a/b"));
    }

    #[test]
    fn what_is_no_token_is_none() {
        for body in [
            "",
            "x",
            "[]",
            r#""token""#,
            r#"{"token":1}"#,
            r#"{"token":["t"]}"#,
            r#"{"token":{"token":"t"}}"#,
            r#"{"other":{"token":"t"}}"#,
            r#"{"token":"t""#,
            r#"{"token":"t"} {}"#,
        ] {
            assert_eq!(found(body, "token"), None, "{body}");
        }
        assert_eq!(found(&format!(r#"{{"token":"{}"}}"#, "t".repeat(MAX_TOKEN + 1)), "token"), None);
    }

    #[test]
    fn a_key_on_the_path_that_is_given_twice_is_refused() {
        assert_eq!(found(r#"{"token":"bad","token":"right"}"#, "token"), None);
        assert_eq!(found(r#"{"a":{"token":"right"},"a":{}}"#, "a.token"), None);
        assert_eq!(found(r#"{"a":{"token":1,"token":"right"}}"#, "a.token"), None);
        assert_eq!(found(r#"{"token":"right","x":{"y":1,"y":2}}"#, "token").as_deref(), Some("right"));
    }

    #[test]
    fn a_million_arrays_deep_is_walked_over() {
        let deep = format!(r#"{{"deep":{}{},"token":"t"}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(found(&deep, "token").as_deref(), Some("t"));
    }

    #[test]
    fn a_token_is_blanked_wherever_it_stands_as_a_string() {
        let blanked = |body: &str, kind| {
            let mut raw = raw(body, kind);
            blank(&mut raw, |text| text == "tok/SEKRIT");
            String::from_utf8(raw.body.to_vec()).unwrap()
        };
        assert_eq!(
            blanked(r#"{"token":"tok\/SEKRIT","said":"\"tok/SEKRIT","again":["tok/SEKRIT"]}"#, "application/json"),
            r#"{"token":"***********","said":"\"tok/SEKRIT","again":["**********"]}"#
        );
        assert_eq!(blanked(r#"{"a":"tok\u002fSEKRIT\\"}"#, "application/json"), r#"{"a":"tok\u002fSEKRIT\\"}"#);
        assert_eq!(
            blanked("a=tok%2FSEKRIT&token=tok/SEKRIT&b", "application/x-www-form-urlencoded; charset=utf-8"),
            "a=************&token=**********&b"
        );
        for broken in [r#"{"a":"tok/SEKRIT"#, "\"", "\"\\", ""] {
            assert_eq!(blanked(broken, "application/json"), broken);
        }
    }
}
