//! How a custom channel tells a genuine webhook: `verify` in the configuration, turned into one of the
//! signature room's schemes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::hmac;
use crate::domain::clock::Timestamp;
use crate::domain::problem::Problem;
use crate::domain::secret::{Secret, Secrets};
use crate::domain::span::Span;
use crate::signature::{
    Algorithm, Encoding, Hmac, NoVerification, RawWebhook, Refused, StandardWebhooks, Token, TokenPlace, Verified,
    Verifier,
};

const DEFAULT_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// `[channels.NAME.verify]`
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// How the sender proves itself.
    #[schemars(with = "Option<SchemeName>")]
    pub scheme: Option<String>,
    /// What is shared with the sender; a list during rotation.
    pub secret: Option<Secrets>,
    /// hmac: the hash, by default `sha256`.
    #[schemars(with = "Option<Algorithm>")]
    pub algorithm: Option<String>,
    /// hmac: the header with the signature, or a field of it: `x-shop-signature[v1]` of `t=…,v1=…`. token: the header
    /// with the token.
    pub header: Option<String>,
    /// hmac: how the signature is written, by default `hex`.
    #[schemars(with = "Option<Encoding>")]
    pub encoding: Option<String>,
    /// hmac, token: what stands in front, such as `sha256=` or `Bearer `.
    pub prefix: Option<String>,
    /// hmac: what is signed, by default `{body}`; also `{timestamp}`, `{url}`, `{method}`, `{header:NAME}`.
    pub signed: Option<String>,
    /// hmac: the header with the time of signing, or a field of it: `x-shop-signature[t]`. It must be part of what is
    /// signed.
    pub timestamp: Option<String>,
    /// hmac with `timestamp`, standard-webhooks: how far that time may lie from now, by default `5m`.
    pub tolerance: Option<Span>,
    /// token: the query parameter with the token. It ends up in access logs.
    pub query: Option<String>,
    /// token: the field with the token, such as `body.token`.
    pub field: Option<String>,
    /// basic: the user's name; `secret` is the password.
    pub username: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum SchemeName {
    Hmac,
    Token,
    Basic,
    StandardWebhooks,
    Ed25519,
    Jwt,
    None,
}

const SCHEMES: &[&str] = &["hmac", "token", "basic", "standard-webhooks", "ed25519", "jwt", "none"];

/// The scheme of a channel.
pub enum Scheme {
    Hmac(Hmac),
    Token(Token),
    StandardWebhooks(StandardWebhooks),
    None,
}

impl Scheme {
    pub fn verify(&self, raw: RawWebhook, now: Timestamp) -> Result<Verified, Refused> {
        match self {
            Self::Hmac(scheme) => scheme.verify(raw, now),
            Self::Token(scheme) => scheme.verify(raw, now),
            Self::StandardWebhooks(scheme) => scheme.verify(raw, now),
            Self::None => NoVerification.verify(raw, now),
        }
    }
}

/// What deserves a word although it works.
pub fn warnings(config: &Config) -> Vec<Problem> {
    let mut all = Vec::new();
    if config.scheme.as_deref() == Some("none") {
        all.push(Problem::new(
            "verify.scheme",
            "NOBODY IS VERIFIED: whoever knows the webhook's address can write as anybody",
            "any other scheme; \"token\" where the sender can't sign",
        ));
    }
    if config.scheme.as_deref() == Some("token") && config.query.is_some() {
        all.push(Problem::new(
            "verify.query",
            "a token in the query ends up in the access logs of everything in between",
            "`header` or `field`, where the sender offers one",
        ));
    }
    all
}

/// Turns the table into a scheme, or says everything that is wrong with it.
pub fn build(config: &Config) -> Result<Scheme, Vec<Problem>> {
    let mut problems = Vec::new();
    let scheme = build_into(config, &mut problems);
    match scheme {
        Some(scheme) if problems.is_empty() => Ok(scheme),
        _ => Err(problems),
    }
}

fn build_into(config: &Config, problems: &mut Vec<Problem>) -> Option<Scheme> {
    if config.scheme.is_none() {
        problems.push(Problem::new(
            "verify.scheme",
            "is missing: a channel that can't tell who writes doesn't start",
            format!("one of: {}", SCHEMES.join(", ")),
        ));
    }
    let scheme: Option<SchemeName> = word("verify.scheme", config.scheme.as_deref(), SCHEMES, problems);
    let algorithm = word("verify.algorithm", config.algorithm.as_deref(), &["sha1", "sha256", "sha512"], problems);
    let encoding = word("verify.encoding", config.encoding.as_deref(), &["hex", "base64"], problems);
    let scheme = scheme?;
    only_meant_keys(config, scheme, problems);
    match scheme {
        SchemeName::Hmac => hmac::build(config, algorithm.unwrap_or_default(), encoding.unwrap_or_default(), problems),
        SchemeName::Token => token(config, problems),
        SchemeName::Basic => basic(config, problems),
        SchemeName::StandardWebhooks => {
            let secrets = secrets(config, problems)?;
            standard_webhooks("verify.secret", secrets, tolerance(config, problems), problems)
                .map(Scheme::StandardWebhooks)
        }
        SchemeName::None => Some(Scheme::None),
        SchemeName::Ed25519 | SchemeName::Jwt => {
            problems.push(Problem::new(
                "verify.scheme",
                "is not built yet",
                "hmac, token, basic or standard-webhooks; where your chat offers none, software of yours in between that \
                 verifies, and the bridge's own protocol (docs/custom-channels.md)",
            ));
            None
        }
    }
}

/// A word of a list; what is not on it is a problem that suggests the nearest.
pub fn word<T: DeserializeOwned>(
    key: &'static str,
    given: Option<&str>,
    known: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let given = given?;
    let found = serde_json::from_value(Value::String(given.to_owned())).ok();
    if found.is_none() {
        problems.push(Problem::new(key, format!("`{given}` is not known"), format!("one of: {}", known.join(", "))));
    }
    found
}

fn only_meant_keys(config: &Config, scheme: SchemeName, problems: &mut Vec<Problem>) {
    let given = [
        ("secret", config.secret.is_some()),
        ("algorithm", config.algorithm.is_some()),
        ("header", config.header.is_some()),
        ("encoding", config.encoding.is_some()),
        ("prefix", config.prefix.is_some()),
        ("signed", config.signed.is_some()),
        ("timestamp", config.timestamp.is_some()),
        ("tolerance", config.tolerance.is_some()),
        ("query", config.query.is_some()),
        ("field", config.field.is_some()),
        ("username", config.username.is_some()),
    ];
    let meant: &[&str] = match scheme {
        SchemeName::Hmac => {
            &["secret", "algorithm", "header", "encoding", "prefix", "signed", "timestamp", "tolerance"]
        }
        SchemeName::Token => &["secret", "header", "prefix", "query", "field"],
        SchemeName::Basic => &["secret", "username"],
        SchemeName::StandardWebhooks => &["secret", "tolerance"],
        SchemeName::None => &[],
        SchemeName::Ed25519 | SchemeName::Jwt => return,
    };
    for (key, _) in given.iter().filter(|(key, given)| *given && !meant.contains(key)) {
        problems.push(Problem::new(
            format!("verify.{key}"),
            "means nothing to this scheme",
            if meant.is_empty() { "nothing: take the key away".to_owned() } else { meant.join(", ") },
        ));
    }
}

pub(super) fn secrets(config: &Config, problems: &mut Vec<Problem>) -> Option<Vec<Secret>> {
    match &config.secret {
        Some(secrets) if secrets.0.iter().any(|secret| secret.expose().trim().is_empty()) => {
            problems.push(Problem::new("verify.secret", "is empty", "env:NAME or file:PATH of a secret"));
            None
        }
        Some(secrets) => Some(secrets.0.clone()),
        None => {
            problems.push(Problem::new("verify.secret", "is missing", "env:NAME or file:PATH of a secret"));
            None
        }
    }
}

pub(super) fn tolerance(config: &Config, problems: &mut Vec<Problem>) -> Duration {
    let tolerance = config.tolerance.map_or(DEFAULT_TOLERANCE, |span| span.0);
    if tolerance < Duration::from_secs(1) {
        problems.push(Problem::new("verify.tolerance", "leaves no time at all", "\"5m\""));
    }
    tolerance
}

/// A header's name in lower case.
pub(super) fn header_name(key: &str, given: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let name = HeaderName::try_from(given.trim()).ok();
    if name.is_none() {
        problems.push(Problem::new(key, "is not the name of a header", "a name such as x-shop-signature"));
    }
    name.map(|name| name.as_str().to_owned())
}

fn token(config: &Config, problems: &mut Vec<Problem>) -> Option<Scheme> {
    let secrets = secrets(config, problems);
    let places = [&config.header, &config.query, &config.field].into_iter().flatten().count();
    if places != 1 {
        problems.push(Problem::new(
            "verify",
            if places == 0 { "doesn't say where the token stands" } else { "names more than one place for the token" },
            "one of: header = \"x-token\", query = \"token\", field = \"body.token\"",
        ));
    }
    let place = match (&config.header, &config.query, &config.field) {
        (Some(name), _, _) => TokenPlace::Header(header_name("verify.header", name, problems)?),
        (_, Some(name), _) if !name.is_empty() => TokenPlace::Query(name.clone()),
        (_, Some(_), _) => {
            problems.push(Problem::new("verify.query", "is empty", "the name of the parameter"));
            return None;
        }
        (_, _, Some(path)) => {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            match path.split_first() {
                Some((body, keys)) if body == "body" && !keys.is_empty() && keys.iter().all(|k| !k.is_empty()) => {
                    TokenPlace::Field(keys.to_vec())
                }
                _ => {
                    problems.push(Problem::new("verify.field", "is not a path into the body", "\"body.token\""));
                    return None;
                }
            }
        }
        _ => return None,
    };
    Some(Scheme::Token(Token { secrets: secrets?, place, prefix: config.prefix.clone().unwrap_or_default() }))
}

/// RFC 7617: the header is one text, so a password is a token in it.
fn basic(config: &Config, problems: &mut Vec<Problem>) -> Option<Scheme> {
    let secrets = secrets(config, problems);
    let username = match config.username.as_deref() {
        Some(name) if !name.is_empty() && !name.contains(':') => name,
        Some(_) => {
            problems.push(Problem::new("verify.username", "is empty or holds a colon", "the user's name"));
            return None;
        }
        None => {
            problems.push(Problem::new("verify.username", "is missing", "the user's name; `secret` is the password"));
            return None;
        }
    };
    let credentials = |secret: &Secret| Secret::new(STANDARD.encode(format!("{username}:{}", secret.expose())));
    Some(Scheme::Token(Token {
        secrets: secrets?.iter().map(credentials).collect(),
        place: TokenPlace::Header("authorization".to_owned()),
        prefix: "Basic ".to_owned(),
    }))
}

/// Standard Webhooks with these secrets; the bridge's own protocol uses it too.
pub fn standard_webhooks(
    key: &'static str,
    secrets: Vec<Secret>,
    tolerance: Duration,
    problems: &mut Vec<Problem>,
) -> Option<StandardWebhooks> {
    if secrets.is_empty() || secrets.iter().any(|secret| StandardWebhooks::key(secret).is_none()) {
        problems.push(Problem::new(
            key,
            "is no secret of Standard Webhooks: `whsec_` and base64",
            "what `fini-bridge secret new --standard-webhooks` prints",
        ));
        return None;
    }
    Some(StandardWebhooks { secrets, tolerance })
}
