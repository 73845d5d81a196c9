//! A custom channel's `sample`: tried when the configuration is checked, signed and sent by `send`.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::template::{Template, value_of};
use super::verify::Scheme;
use super::{Config, Custom};
use crate::domain::clock::Timestamp;
use crate::domain::id::PartId;
use crate::domain::message::{Incoming, Reply, ReplyKind};
use crate::domain::problem::Problem;
use crate::platform::{Common, Delivery, Event, NoSample, Parsed, Platform, Sample, SampleOf};
use crate::signature::{NoVerification, RawWebhook, Signed, TokenPlace, Verifier};

const NAMES: &[&str] = &["text", "id", "chat"];

/// Fills the sample in: values are escaped for the inside of JSON strings.
fn fill(sample: &str, text: &str, id: &str, chat: &str) -> Result<RawWebhook, Problem> {
    let body = Template::json_strings("sample", sample, NAMES)?
        .render(&value_of(&json!({ "text": text, "id": id, "chat": chat })))
        .map_err(|failed| Problem::new("sample", failed.why, "{{ text }}, {{ id }} and {{ chat }} inside strings"))?;
    let is_json = serde_json::from_str::<Value>(&body).is_ok();
    if !is_json && body.trim_start().starts_with(['{', '[']) {
        return Err(Problem::new("sample", "is not JSON once it is filled in", "{{ text }} inside a string"));
    }
    let content_type = if is_json { "application/json" } else { "application/x-www-form-urlencoded" };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    Ok(RawWebhook {
        method: Method::POST,
        url: String::new(),
        rest: String::new(),
        headers,
        query: Vec::new(),
        body: body.into(),
    })
}

pub fn make(custom: &Custom, of: &SampleOf<'_>, now: Timestamp) -> Result<Sample, NoSample> {
    let sample = custom.sample_text.as_deref().ok_or_else(|| {
        NoSample(
            "the channel has no `sample`: a file with a webhook's body, and {{ text }}, {{ id }}, {{ chat }} in it"
                .into(),
        )
    })?;
    let no = |problem: Problem| NoSample(format!("the sample {}; write {}", problem.problem, problem.instead));
    let mut raw = fill(sample, of.text, of.id, of.chat.unwrap_or("sample")).map_err(no)?;
    raw.url = of.url.to_owned();
    custom.scheme.sign(&mut raw, of.id, now)?;
    let headers = raw
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let headers = headers.collect();
    let (method, body) = (raw.method.clone(), raw.body.to_vec());
    let verified = custom.verify(raw, now).map_err(|refused| NoSample(format!("the sample was refused: {refused}")))?;
    let parsed = custom.parse(&verified).map_err(|malformed| NoSample(format!("the sample fails: {malformed}")))?;
    let mut why = "it is ignored".to_owned();
    if let Parsed::Events(events) = parsed {
        for event in events {
            match event {
                Event::Message(message) | Event::Unreadable(_, message) => {
                    return Ok(Sample { method, headers, body, delivery_key: message.delivery_key });
                }
                Event::Malformed(malformed) => why = malformed.to_string(),
                Event::Report(_) | Event::Moved(_) | Event::Ignored(_) => {}
            }
        }
    }
    Err(NoSample(format!("the sample leads to no message: {why}")))
}

impl Scheme {
    /// Signs a sample as its platform would. `raw` is the request as far as it is known.
    fn sign(&self, raw: &mut RawWebhook, id: &str, now: Timestamp) -> Result<(), NoSample> {
        let refused = |why: &str| NoSample(why.to_owned());
        match self {
            Self::None => {}
            Self::Hmac(scheme) => {
                if let Some(at) = &scheme.timestamp {
                    put_field(raw, &at.name, at.field.as_deref(), &now.as_secs().to_string())?;
                }
                for piece in &scheme.signed {
                    if let Signed::Header(name) = piece
                        && raw.header(name).is_none()
                    {
                        put(raw, name, id)?;
                    }
                }
                let signature = scheme.sign(raw).ok_or_else(|| refused("the sample can't be signed"))?;
                put_field(raw, &scheme.header, scheme.field.as_deref(), &signature)?;
            }
            Self::Token(scheme) => {
                let Some(secret) = scheme.secrets.first() else {
                    return Err(refused("there is no secret to sign with"));
                };
                match &scheme.place {
                    TokenPlace::Header(name) => put(raw, name, &format!("{}{}", scheme.prefix, secret.expose()))?,
                    TokenPlace::Query(_) => {
                        return Err(refused(
                            "the token's place is the query, and a sample's address is the channel's own",
                        ));
                    }
                    TokenPlace::Field(path) => {
                        let mut body: Value = serde_json::from_slice(&raw.body)
                            .map_err(|_| refused("the token's place is a field, and the sample is not JSON"))?;
                        let token = Value::String(format!("{}{}", scheme.prefix, secret.expose()));
                        *field(&mut body, path).ok_or_else(|| refused("the sample has no place for the token"))? =
                            token;
                        raw.body = body.to_string().into();
                    }
                }
            }
            Self::StandardWebhooks(scheme) => {
                let headers = scheme.sign(id, now, &raw.body).ok_or_else(|| refused("the sample can't be signed"))?;
                for (name, value) in headers {
                    put(raw, name, &value)?;
                }
            }
        }
        Ok(())
    }
}

/// Sets a header, or adds a field to it.
fn put_field(raw: &mut RawWebhook, name: &str, field: Option<&str>, value: &str) -> Result<(), NoSample> {
    let Some(field) = field else { return put(raw, name, value) };
    let before = raw.header(name).map(|before| format!("{before},")).unwrap_or_default();
    put(raw, name, &format!("{before}{field}={value}"))
}

fn put(raw: &mut RawWebhook, name: &str, value: &str) -> Result<(), NoSample> {
    let bad = || NoSample(format!("the sample's header `{name}` can't be made"));
    let name_ = HeaderName::try_from(name).map_err(|_| bad())?;
    raw.headers.insert(name_, HeaderValue::try_from(value).map_err(|_| bad())?);
    Ok(())
}

/// The place at a path of keys; its last key may be new.
fn field<'v>(body: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    let (last, parents) = path.split_last()?;
    let mut at = body;
    for key in parents {
        at = at.get_mut(key)?;
    }
    Some(at.as_object_mut()?.entry(last.clone()).or_insert(Value::Null))
}

/// Runs a channel's expressions and templates on its sample: one line for each thing found in it, or
/// everything that fails.
pub fn try_sample(config: &Config, sample: &str) -> Result<Vec<String>, Vec<Problem>> {
    if config.is_protocol() {
        return Err(vec![Problem::new(
            "sample",
            "is not needed: the bridge's own protocol makes its own",
            "nothing: take the key away",
        )]);
    }
    let custom = Custom::build(config, Common::default().max_elements, None)?;
    let raw = fill(sample, "Where is my order?", "sample-1", "sample").map_err(|problem| vec![problem])?;
    let fails = |detail: String| {
        let (key, why) = detail.split_once(": ").unwrap_or(("sample", &detail));
        Problem::new(key, format!("on the sample: {why}"), "an expression that fits what your chat sends")
    };
    // It is the person's own file.
    let verified = NoVerification
        .verify(raw, Timestamp::default())
        .map_err(|refused| vec![Problem::new("sample", refused.to_string(), "another sample")])?;
    let events = match custom.inbound.parse(&verified).map_err(|malformed| vec![fails(malformed.detail)])? {
        Parsed::Answer(_) => return Ok(vec!["a challenge, which is echoed".to_owned()]),
        Parsed::Events(events) => events,
        Parsed::Rejected(rejected) => return Err(vec![fails(rejected.detail)]),
    };
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Message(message) | Event::Unreadable(_, message) => match described(&custom, &message) {
                Ok(line) => lines.push(line),
                Err(problem) => problems.push(problem),
            },
            Event::Ignored(_) => lines.push("ignored by `when`".to_owned()),
            Event::Report(_) | Event::Moved(_) => {}
            Event::Malformed(malformed) => problems.push(fails(malformed.detail)),
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(problems) }
}

/// A message of the sample, and the request that would answer it.
fn described(custom: &Custom, message: &Incoming) -> Result<String, Problem> {
    let fails = |why: String| Problem::new("reply", format!("on the sample: {why}"), "a template that fits");
    let reply = Reply {
        kind: ReplyKind::Message,
        text: "It ships **today**.".to_owned(),
        event: json!({
            "id": "00000000-0000-0000-0000-000000000000", "role": "finibot", "type": "message",
            "message": "It ships **today**.", "attachments": [], "tags": [], "usedArticles": [],
        }),
    };
    let part = custom.reply.parts(&reply).into_iter().next().ok_or_else(|| fails("nothing to send".to_owned()))?;
    let delivery = Delivery { id: PartId::generate(), address: &message.address, part: &part };
    let request = custom.reply.request(&delivery).map_err(|failed| fails(failed.to_string()))?;
    let attributes: Vec<&str> = message.user_attributes.keys().map(String::as_str).collect();
    let from = message.sender.as_ref().map(|sender| format!(" of {sender:?}")).unwrap_or_default();
    let body = request.body.map(|body| format!(" with {body}")).unwrap_or_default();
    Ok(format!(
        "{}{from} in chat {:?}, id {:?}, user attributes: {}, text {:?}; answered by {} {}{body}",
        message.role.as_str(),
        message.chat.as_str(),
        message.delivery_key.as_str(),
        if attributes.is_empty() { "none".to_owned() } else { attributes.join(", ") },
        message.text,
        request.method,
        request.url,
    ))
}
