//! What samples of several platforms have in common.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{NoSample, Sample};
use crate::domain::id::DeliveryKey;
use crate::signature::{RawWebhook, hmac_hex};

/// A number for an id, the same each time, for platforms whose ids are numbers.
pub(super) fn number(id: &str) -> u32 {
    let digest = hmac_hex(b"sample", &[id.as_bytes()]);
    digest.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(1) >> 1
}

/// A JSON webhook, not signed yet.
pub(super) fn unsigned(url: &str, body: &Value) -> RawWebhook {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    RawWebhook {
        method: reqwest::Method::POST,
        url: url.to_owned(),
        rest: String::new(),
        headers,
        query: Vec::new(),
        body: Bytes::from(body.to_string()),
    }
}

pub(super) fn add_header(raw: &mut RawWebhook, name: &'static str, value: &str) -> Result<(), NoSample> {
    let value = HeaderValue::from_str(value).map_err(|_| NoSample(format!("{name} can't be a header")))?;
    raw.headers.insert(HeaderName::from_static(name), value);
    Ok(())
}

pub(super) fn finish(raw: RawWebhook, delivery_key: DeliveryKey) -> Sample {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = raw.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Sample { method: raw.method, headers, body: raw.body.to_vec(), delivery_key }
}
