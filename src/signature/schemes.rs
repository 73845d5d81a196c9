//! The schemes: a keyed hash over a template of the request, a shared token, Standard Webhooks.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{KeyInit, Mac};

use super::{RawWebhook, Refused, Verified, Verifier, equal, field};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Sha1,
    #[default]
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

impl Encoding {
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }

    /// Strict: hex in lower case, base64 with the standard alphabet and padding. What a platform
    /// sends in another form is not what it documents.
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex if text.bytes().any(|b| b.is_ascii_uppercase()) => None,
            Self::Hex => hex::decode(text).ok(),
            Self::Base64 => STANDARD.decode(text).ok(),
        }
    }
}

/// The keyed hash of `parts`, one after the other.
pub fn mac(algorithm: Algorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    fn run<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        // HMAC takes a key of any length (RFC 2104), so this never fails.
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }
    match algorithm {
        Algorithm::Sha1 => run::<hmac::Hmac<sha1::Sha1>>(key, parts),
        Algorithm::Sha256 => run::<hmac::Hmac<sha2::Sha256>>(key, parts),
        Algorithm::Sha512 => run::<hmac::Hmac<sha2::Sha512>>(key, parts),
    }
}

/// HMAC-SHA256 as lower-case hex.
pub fn hmac_hex(key: &[u8], parts: &[&[u8]]) -> String {
    hex::encode(mac(Algorithm::Sha256, key, parts))
}

/// One piece of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    Literal(String),
    Body,
    /// The time of signing, as received.
    Timestamp,
    Url,
    Method,
    Header(String),
}

/// A header, or all fields of this name in it: `t=1732532000,v1=9f…,v1=03…`. The header itself is given once.
fn fields<'r>(raw: &'r RawWebhook, header: &str, field: Option<&str>) -> Result<Vec<&'r str>, Refused> {
    let text = raw.header(header).ok_or(Refused::Missing)?;
    let Some(field) = field else { return Ok(vec![text]) };
    let pairs = text.split(',').filter_map(|pair| pair.trim().split_once('='));
    Ok(pairs.filter(|(name, _)| *name == field).map(|(_, value)| value).collect())
}

/// A header that says when the request was signed: seconds or milliseconds since the epoch, or RFC 3339.
#[derive(Clone, Debug)]
pub struct TimestampHeader {
    pub name: String,
    /// The field of it, such as `t` of `t=1732532000,v1=9f…`; `None`: the whole header.
    pub field: Option<String>,
    /// How far from now it may lie, past or future; exactly this far still passes.
    pub tolerance: Duration,
}

impl TimestampHeader {
    /// The time as it was sent, and so as it was signed. Given twice it is none.
    fn text<'r>(&self, raw: &'r RawWebhook) -> Result<&'r str, Refused> {
        match *fields(raw, &self.name, self.field.as_deref())?.as_slice() {
            [one] => Ok(one),
            [] => Err(Refused::Missing),
            _ => Err(Refused::Malformed),
        }
    }

    fn judge<'r>(&self, raw: &'r RawWebhook, now: Timestamp) -> Result<&'r str, Refused> {
        let text = self.text(raw)?;
        let at = parse_timestamp(text).ok_or(Refused::Malformed)?;
        // Seconds cut off what lies behind the point: the comparison must not punish that.
        let off = now.as_secs().abs_diff(at.as_secs());
        if off > self.tolerance.as_secs() { Err(Refused::Stale) } else { Ok(text) }
    }
}

/// Seconds (up to 11 digits), milliseconds (more), or RFC 3339.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    if !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        return Some(if text.len() <= 11 { Timestamp::from_secs(number) } else { Timestamp::from_millis(number) });
    }
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp::from_millis(at.as_millisecond()))
}

/// A keyed hash in a header.
#[derive(Clone, Debug)]
pub struct Hmac {
    /// Any of these may have signed (rotation).
    pub secrets: Vec<Secret>,
    pub algorithm: Algorithm,
    pub header: String,
    /// The field of it that holds the signature, several times perhaps; `None`: the whole header.
    pub field: Option<String>,
    pub encoding: Encoding,
    pub prefix: String,
    pub signed: Vec<Signed>,
    pub timestamp: Option<TimestampHeader>,
}

impl Hmac {
    /// The signature of this request, by the first secret, as the header or its field holds it.
    pub fn sign(&self, raw: &RawWebhook) -> Option<String> {
        let secret = self.secrets.first()?;
        let digest = self.digest(secret, raw)?;
        Some(format!("{}{}", self.prefix, self.encoding.encode(&digest)))
    }

    fn digest(&self, secret: &Secret, raw: &RawWebhook) -> Option<Vec<u8>> {
        let mut parts: Vec<&[u8]> = Vec::with_capacity(self.signed.len());
        for piece in &self.signed {
            parts.push(match piece {
                Signed::Literal(text) => text.as_bytes(),
                Signed::Body => &raw.body,
                Signed::Url => raw.url.as_bytes(),
                Signed::Method => raw.method.as_str().as_bytes(),
                Signed::Header(name) => raw.header(name)?.as_bytes(),
                Signed::Timestamp => self.timestamp.as_ref()?.text(raw).ok()?.as_bytes(),
            });
        }
        Some(mac(self.algorithm, secret.expose().as_bytes(), &parts))
    }

    /// The signatures that the head carries. While its sender rotates secrets there may be several; what isn't readable
    /// isn't ours.
    fn given(&self, head: &RawWebhook, now: Timestamp) -> Result<Vec<Vec<u8>>, Refused> {
        let given = fields(head, &self.header, self.field.as_deref())?;
        if given.is_empty() {
            return Err(Refused::Missing);
        }
        let decode = |text: &str| self.encoding.decode(text.strip_prefix(self.prefix.as_str())?);
        let given: Vec<Vec<u8>> = given.into_iter().filter_map(decode).collect();
        if given.is_empty() {
            return Err(Refused::Malformed);
        }
        if let Some(timestamp) = &self.timestamp {
            timestamp.judge(head, now)?;
        }
        Ok(given)
    }
}

impl Verifier for Hmac {
    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.given(head, now)?;
        let missing = |piece: &Signed| matches!(piece, Signed::Header(name) if head.header(name).is_none());
        if self.signed.iter().any(missing) { Err(Refused::Missing) } else { Ok(()) }
    }

    fn judge(&self, raw: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.judge_by(raw, now).map(drop)
    }

    fn judge_by(&self, raw: &RawWebhook, now: Timestamp) -> Result<Option<usize>, Refused> {
        let given = self.given(raw, now)?;
        let mut genuine = None;
        for (place, secret) in self.secrets.iter().enumerate() {
            let digest = self.digest(secret, raw).ok_or(Refused::Missing)?;
            for given in &given {
                if equal(&digest, given) {
                    genuine.get_or_insert(place);
                }
            }
        }
        genuine.map(Some).ok_or(Refused::Wrong)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    Header(String),
    /// Ends up in access logs; `check` warns.
    Query(String),
    /// A path into the JSON or form body, such as `["token"]`.
    Field(Vec<String>),
}

/// A shared token that is sent along. It covers neither the body nor the time.
#[derive(Clone, Debug)]
pub struct Token {
    pub secrets: Vec<Secret>,
    pub place: TokenPlace,
    /// In front of the token, such as `Bearer `; mostly empty.
    pub prefix: String,
}

impl Verifier for Token {
    /// A token in the head is judged before the body is read.
    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        match self.place {
            TokenPlace::Header(_) | TokenPlace::Query(_) => self.judge(head, now),
            TokenPlace::Field(_) => Ok(()),
        }
    }

    fn judge(&self, raw: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.judge_by(raw, now).map(drop)
    }

    fn judge_by(&self, raw: &RawWebhook, _now: Timestamp) -> Result<Option<usize>, Refused> {
        let in_body;
        let given = match &self.place {
            TokenPlace::Header(name) => raw.header(name).ok_or(Refused::Missing)?,
            TokenPlace::Query(key) => raw.query(key).ok_or(Refused::Missing)?,
            TokenPlace::Field(path) => {
                in_body = field::find(raw, path).ok_or(Refused::Missing)?;
                in_body.as_str()
            }
        };
        let given = given.strip_prefix(self.prefix.as_str()).ok_or(Refused::Malformed)?;
        let mut genuine = None;
        for (place, secret) in self.secrets.iter().enumerate() {
            if equal(secret.expose().as_bytes(), given.as_bytes()) {
                genuine.get_or_insert(place);
            }
        }
        genuine.map(Some).ok_or(Refused::Wrong)
    }

    /// A token that stood in the body is blanked there: nothing that is kept or shown of the webhook can hold it.
    fn verify(&self, mut raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused> {
        let secret = self.judge_by(&raw, now)?;
        if matches!(self.place, TokenPlace::Field(_)) {
            field::blank(&mut raw, |text| {
                let token = text.strip_prefix(self.prefix.as_str()).unwrap_or(text);
                self.secrets.iter().any(|secret| equal(secret.expose().as_bytes(), token.as_bytes()))
            });
        }
        Ok(Verified { raw, secret })
    }
}

/// Standard Webhooks 1.0.0, symmetric (`v1`); also with Svix's header names.
#[derive(Clone, Debug)]
pub struct StandardWebhooks {
    /// `whsec_` + base64, or the base64 alone.
    pub secrets: Vec<Secret>,
    pub tolerance: Duration,
}

impl StandardWebhooks {
    /// The key inside a secret; `None` where it isn't base64.
    pub fn key(secret: &Secret) -> Option<Vec<u8>> {
        let text = secret.expose();
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok().filter(|key| !key.is_empty())
    }

    /// The three headers for a request that we send. `None` where no secret is usable.
    pub fn sign(&self, id: &str, now: Timestamp, body: &[u8]) -> Option<[(&'static str, String); 3]> {
        let at = now.as_secs().to_string();
        let mut signatures = Vec::new();
        for secret in &self.secrets {
            let key = Self::key(secret)?;
            signatures.push(format!("v1,{}", STANDARD.encode(Self::digest(&key, id, &at, body))));
        }
        Some([("webhook-id", id.to_owned()), ("webhook-timestamp", at), ("webhook-signature", signatures.join(" "))])
    }

    fn digest(key: &[u8], id: &str, at: &str, body: &[u8]) -> Vec<u8> {
        mac(Algorithm::Sha256, key, &[id.as_bytes(), b".", at.as_bytes(), b".", body])
    }

    /// Id, time and signatures, as the head carries them.
    fn given<'r>(&self, raw: &'r RawWebhook, now: Timestamp) -> Result<(&'r str, &'r str, &'r str), Refused> {
        // One family of headers or the other, never a mixture.
        let family = if raw.headers.contains_key("webhook-id") { "webhook" } else { "svix" };
        let id = raw.header(&format!("{family}-id")).filter(|id| !id.is_empty()).ok_or(Refused::Missing)?;
        let signatures = raw.header(&format!("{family}-signature")).ok_or(Refused::Missing)?;
        let name = format!("{family}-timestamp");
        let at = TimestampHeader { name, field: None, tolerance: self.tolerance }.judge(raw, now)?;
        if !at.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refused::Malformed);
        }
        Ok((id, at, signatures))
    }
}

impl Verifier for StandardWebhooks {
    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        let (_, _, signatures) = self.given(head, now)?;
        let symmetric = signatures.split(' ').any(|entry| entry.starts_with("v1,"));
        if symmetric { Ok(()) } else { Err(Refused::Wrong) }
    }

    fn judge(&self, raw: &RawWebhook, now: Timestamp) -> Result<(), Refused> {
        self.judge_by(raw, now).map(drop)
    }

    fn judge_by(&self, raw: &RawWebhook, now: Timestamp) -> Result<Option<usize>, Refused> {
        let (id, at, signatures) = self.given(raw, now)?;
        let mut genuine = None;
        for (place, secret) in self.secrets.iter().enumerate() {
            let Some(key) = Self::key(secret) else { continue };
            let expected = Self::digest(&key, id, at, &raw.body);
            for signature in signatures.split(' ').filter_map(|entry| entry.strip_prefix("v1,")) {
                if STANDARD.decode(signature).is_ok_and(|given| equal(&expected, &given)) {
                    genuine.get_or_insert(place);
                }
            }
        }
        genuine.map(Some).ok_or(Refused::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::Method;
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn raw(header: &'static str, value: &str) -> RawWebhook {
        let mut headers = HeaderMap::new();
        headers.insert(header, HeaderValue::from_str(value).unwrap());
        let (url, rest, query) = ("https://bridge.example.com/".to_owned(), String::new(), Vec::new());
        RawWebhook { method: Method::POST, url, rest, headers, query, body: Bytes::from_static(b"{}") }
    }

    fn secrets() -> Vec<Secret> {
        ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"].map(Secret::new).into()
    }

    #[test]
    fn during_a_rotation_it_is_known_which_secret_was_used() {
        let hmac = Hmac {
            secrets: secrets(),
            algorithm: Algorithm::Sha256,
            header: "x-signature".to_owned(),
            field: None,
            encoding: Encoding::Hex,
            prefix: String::new(),
            signed: vec![Signed::Body],
            timestamp: None,
        };
        let token =
            Token { secrets: secrets(), place: TokenPlace::Header("x-token".to_owned()), prefix: String::new() };
        let standard = StandardWebhooks { secrets: secrets(), tolerance: Duration::from_secs(300) };
        for (place, secret) in secrets().into_iter().enumerate() {
            let alone = Hmac { secrets: vec![secret.clone()], ..hmac.clone() };
            let signature = alone.sign(&raw("x-signature", "")).unwrap();
            assert_eq!(hmac.verify(raw("x-signature", &signature), NOW).map(|v| v.secret()), Ok(Some(place)));
            assert_eq!(token.verify(raw("x-token", secret.expose()), NOW).map(|v| v.secret()), Ok(Some(place)));
            let alone = StandardWebhooks { secrets: vec![secret], ..standard.clone() };
            let mut signed = raw("x-other", "");
            for (name, value) in alone.sign("id", NOW, b"{}").unwrap() {
                signed.headers.insert(name, HeaderValue::from_str(&value).unwrap());
            }
            assert_eq!(standard.verify(signed, NOW).map(|v| v.secret()), Ok(Some(place)));
        }
        assert_eq!(token.verify(raw("x-token", "another"), NOW).map(|v| v.secret()), Err(Refused::Wrong));
    }
}
