//! A custom channel's `sample`: tried when the configuration is checked, signed and sent by `send`.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;

use super::template::{Template, value_of};
use super::{Config, Custom};
use crate::domain::clock::Timestamp;
use crate::domain::id::PartId;
use crate::domain::message::{Incoming, Reply, ReplyKind};
use crate::domain::problem::Problem;
use crate::platform::{Delivery, Event, NoSample, Parsed, Platform, Sample, SampleOf};
use crate::signature::{NoVerification, RawWebhook, Verifier};

const NAMES: &[&str] = &["text", "id", "chat"];

/// Fills the sample in: values are escaped for the inside of JSON strings.
fn fill(sample: &str, text: &str, id: &str, chat: &str) -> Result<RawWebhook, Problem> {
    let body = Template::json_strings("sample", sample, NAMES)?
        .render(&value_of(&json!({ "text": text, "id": id, "chat": chat })))
        .map_err(|failed| Problem::new("sample", failed.why, "{{ text }}, {{ id }} and {{ chat }} inside strings"))?;
    let is_json = serde_json::from_str::<serde_json::Value>(&body).is_ok();
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
                Event::Message(message) => {
                    return Ok(Sample { method, headers, body, delivery_key: message.delivery_key });
                }
                Event::Malformed(malformed) => why = malformed.to_string(),
                Event::Report(_) | Event::Ignored(_) => {}
            }
        }
    }
    Err(NoSample(format!("the sample leads to no message: {why}")))
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
    let custom = Custom::build(config, None)?;
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
    };
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Message(message) => match described(&custom, &message) {
                Ok(line) => lines.push(line),
                Err(problem) => problems.push(problem),
            },
            Event::Ignored(_) => lines.push("ignored by `when`".to_owned()),
            Event::Report(_) => {}
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
    Ok(format!(
        "{} in chat {:?}, id {:?}, {} characters, user attributes: {}; answered by {} {}",
        message.role.as_str(),
        message.chat.as_str(),
        message.delivery_key.as_str(),
        message.text.chars().count(),
        if attributes.is_empty() { "none".to_owned() } else { attributes.join(", ") },
        request.method,
        request.url,
    ))
}
