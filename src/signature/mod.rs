//! The one place that compares MACs and tokens, and the only one that can say a webhook is genuine:
//! nobody else can make a [`Verified`]. Works on the bytes as they came.
//!
//! It must not know what a webhook means, and it tells a sender nothing: [`Refused`] is for counters.

mod field;
mod schemes;

use bytes::Bytes;
use subtle::ConstantTimeEq;

use crate::domain::clock::Timestamp;

pub use schemes::{
    Algorithm, Encoding, Hmac, Signed, StandardWebhooks, TimestampHeader, Token, TokenPlace, hmac_hex, mac,
    parse_timestamp,
};

/// A request to `/webhooks/{channel}`, exactly as it arrived. Nothing in it may be believed.
#[derive(Clone)]
pub struct RawWebhook {
    pub method: reqwest::Method,
    /// As the platform addressed it: `server.public_url` + path and query, or rebuilt from the request.
    pub url: String,
    /// The path behind `/webhooks/{channel}`, without a leading `/`; mostly empty.
    pub rest: String,
    pub headers: reqwest::header::HeaderMap,
    /// Decoded query pairs, in order.
    pub query: Vec<(String, String)>,
    pub body: Bytes,
}

impl RawWebhook {
    /// The one value of a header. `None` where it is missing, given twice, or not text:
    /// a signature that comes twice is no signature.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() {
            return None;
        }
        first.to_str().ok()
    }

    /// The one value of a query key; `None` where it is missing or given twice.
    pub fn query(&self, key: &str) -> Option<&str> {
        let mut values = self.query.iter().filter(|(k, _)| k == key);
        let first = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Some(&first.1)
    }

    /// Whether the body says that it is a form rather than JSON.
    pub fn is_form(&self) -> bool {
        let form = "application/x-www-form-urlencoded";
        let kind = self.header("content-type").and_then(|kind| kind.get(..form.len()));
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(form))
    }
}

/// A webhook whose sender is known to hold the secret.
pub struct Verified {
    raw: RawWebhook,
    secret: Option<usize>,
}

impl Verified {
    pub fn raw(&self) -> &RawWebhook {
        &self.raw
    }

    pub fn body(&self) -> &[u8] {
        &self.raw.body
    }

    /// Which of the channel's secrets its sender holds, in the order of the configuration. `None`: there are none.
    pub fn secret(&self) -> Option<usize> {
        self.secret
    }
}

/// Why a webhook was not believed: a label for a counter, never shown to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("signature or token missing, or given twice")]
    Missing,
    #[error("signature or token malformed")]
    Malformed,
    #[error("signature or token wrong")]
    Wrong,
    #[error("time outside the tolerance")]
    Stale,
}

impl Refused {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
            Self::Stale => "stale",
        }
    }
}

/// A way to tell that a webhook is genuine.
pub trait Verifier {
    /// Whether a request with this head can be genuine: what the scheme needs of headers and query is there, once,
    /// and the time is within the tolerance. The body is not read before.
    fn precheck(&self, head: &RawWebhook, now: Timestamp) -> Result<(), Refused>;

    fn judge(&self, raw: &RawWebhook, now: Timestamp) -> Result<(), Refused>;

    /// Likewise, and by which of several secrets.
    fn judge_by(&self, raw: &RawWebhook, now: Timestamp) -> Result<Option<usize>, Refused> {
        self.judge(raw, now).map(|()| None)
    }

    fn verify(&self, raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused> {
        let secret = self.judge_by(&raw, now)?;
        Ok(Verified { raw, secret })
    }
}

/// Takes whatever comes: `scheme = "none"`, which `check` and the log warn about loudly.
pub struct NoVerification;

impl Verifier for NoVerification {
    fn precheck(&self, _: &RawWebhook, _: Timestamp) -> Result<(), Refused> {
        Ok(())
    }

    fn judge(&self, _: &RawWebhook, _: Timestamp) -> Result<(), Refused> {
        Ok(())
    }
}

/// Equal, in a time that tells nothing about where they differ.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
