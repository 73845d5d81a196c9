//! How a custom channel tells a genuine webhook: `verify` in the configuration, turned into one of the
//! signature room's schemes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::coverage::Covered;
use crate::domain::clock::Timestamp;
use crate::domain::problem::Problem;
use crate::domain::secret::{Secret, Secrets};
use crate::domain::span::Span;
use crate::signature::{
    Algorithm, Encoding, Hmac, NoVerification, RawWebhook, Refused, Signed, StandardWebhooks, TimestampHeader, Token,
    TokenPlace, Verified, Verifier,
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

/// What of a head the signature proves; `None` where nothing is signed.
pub fn covered(config: &Config) -> Option<Covered> {
    match config.scheme.as_deref()? {
        "hmac" => {
            let signed = signed(config.signed.as_deref().unwrap_or("{body}"), &mut Vec::new())?;
            let timestamp = config.timestamp.as_deref().filter(|name| !name.contains('['));
            let headers = signed.iter().filter_map(|piece| match piece {
                Signed::Header(name) => Some(name.clone()),
                Signed::Timestamp => timestamp.map(|name| name.trim().to_ascii_lowercase()),
                _ => None,
            });
            Some(Covered { headers: headers.collect(), query: signed.contains(&Signed::Url) })
        }
        "standard-webhooks" => {
            let names = ["webhook-id", "webhook-timestamp", "svix-id", "svix-timestamp"];
            Some(Covered { headers: names.map(str::to_owned).to_vec(), query: false })
        }
        _ => None,
    }
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
        SchemeName::Hmac => hmac(config, algorithm.unwrap_or_default(), encoding.unwrap_or_default(), problems),
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

fn secrets(config: &Config, problems: &mut Vec<Problem>) -> Option<Vec<Secret>> {
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

fn tolerance(config: &Config, problems: &mut Vec<Problem>) -> Duration {
    let tolerance = config.tolerance.map_or(DEFAULT_TOLERANCE, |span| span.0);
    if tolerance < Duration::from_secs(1) {
        problems.push(Problem::new("verify.tolerance", "leaves no time at all", "\"5m\""));
    }
    tolerance
}

/// A header's name in lower case.
fn header_name(key: &str, given: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let name = HeaderName::try_from(given.trim()).ok();
    if name.is_none() {
        problems.push(Problem::new(key, "is not the name of a header", "a name such as x-shop-signature"));
    }
    name.map(|name| name.as_str().to_owned())
}

fn hmac(config: &Config, algorithm: Algorithm, encoding: Encoding, problems: &mut Vec<Problem>) -> Option<Scheme> {
    let secrets = secrets(config, problems);
    if secrets.iter().flatten().any(|secret| secret.expose().starts_with("whsec_")) {
        problems.push(Problem::new(
            "verify.secret",
            "a secret that begins with `whsec_` is one of Standard Webhooks: not the text but what it encodes is the key",
            "scheme = \"standard-webhooks\"",
        ));
    }
    let header = match &config.header {
        Some(given) => header_field("verify.header", given, problems),
        None => {
            problems.push(Problem::new(
                "verify.header",
                "is missing",
                "the name of the header with the signature, such as x-shop-signature",
            ));
            None
        }
    };
    let timestamp = config.timestamp.as_ref().and_then(|given| header_field("verify.timestamp", given, problems));
    if config.timestamp.is_none() && config.tolerance.is_some() {
        problems.push(Problem::new(
            "verify.tolerance",
            "means nothing without a time",
            "`timestamp` with the header that says when the request was signed",
        ));
    }
    let tolerance = tolerance(config, problems);
    let signed = signed(config.signed.as_deref().unwrap_or("{body}"), problems);
    if let Some(signed) = &signed {
        covers(config, signed, timestamp.as_ref(), problems);
    }
    if let (Some(header), Some(timestamp)) = (&header, &timestamp) {
        stand_apart(header, timestamp, problems);
    }
    if let (Some(header), Some(signed)) = (&header, &signed)
        && signed.contains(&Signed::Header(header.name.clone()))
    {
        problems.push(Problem::new(
            "verify.signed",
            "covers the header with the signature, which no signature can",
            "what your sender signs; the time in a field of that header is {timestamp}",
        ));
    }
    let header = header?;
    Some(Scheme::Hmac(Hmac {
        secrets: secrets?,
        algorithm,
        header: header.name,
        field: header.field,
        encoding,
        prefix: config.prefix.clone().unwrap_or_default(),
        signed: signed?,
        timestamp: timestamp.map(|at| TimestampHeader { name: at.name, field: at.field, tolerance }),
    }))
}

/// A header, or one field of it: `x-shop-signature[v1]`.
struct HeaderField {
    /// In lower case.
    name: String,
    field: Option<String>,
}

fn header_field(key: &str, given: &str, problems: &mut Vec<Problem>) -> Option<HeaderField> {
    let Some((name, rest)) = given.split_once('[') else {
        return Some(HeaderField { name: header_name(key, given, problems)?, field: None });
    };
    let field = rest.strip_suffix(']').filter(|field| {
        !field.is_empty() && !field.contains(['[', ']', ',', '=']) && !field.contains(char::is_whitespace)
    });
    let Some(field) = field else {
        let problem = "is not a field of a header";
        problems.push(Problem::new(key, problem, "x-shop-signature[v1] for v1 in `t=1732532000,v1=9f…`"));
        return None;
    };
    Some(HeaderField { name: header_name(key, name, problems)?, field: Some(field.to_owned()) })
}

/// Signature and time in one header need a field each.
fn stand_apart(header: &HeaderField, timestamp: &HeaderField, problems: &mut Vec<Problem>) {
    let apart =
        header.name != timestamp.name || matches!((&header.field, &timestamp.field), (Some(a), Some(b)) if a != b);
    if !apart {
        let name = &header.name;
        problems.push(Problem::new(
            "verify.timestamp",
            "is the header of the signature: one of them could never be read",
            format!("header = \"{name}[v1]\" and timestamp = \"{name}[t]\" for `{name}: t=1732532000,v1=9f…`"),
        ));
    }
}

/// What a signature must cover to prove anything.
fn covers(config: &Config, signed: &[Signed], timestamp: Option<&HeaderField>, problems: &mut Vec<Problem>) {
    if !signed.contains(&Signed::Body) {
        problems.push(Problem::new(
            "verify.signed",
            "doesn't cover the body: whoever sees one signature could write anything under it",
            "a text with {body} in it",
        ));
    }
    if config.timestamp.is_none() && signed.contains(&Signed::Timestamp) {
        problems.push(Problem::new(
            "verify.timestamp",
            "is missing, and `signed` has {timestamp}",
            "the name of the header with the time of signing",
        ));
    }
    let covered = |at: &HeaderField| {
        signed.iter().any(|piece| match piece {
            Signed::Timestamp => true,
            Signed::Header(header) => *header == at.name,
            _ => false,
        })
    };
    if timestamp.is_some_and(|at| !covered(at)) {
        problems.push(Problem::new(
            "verify.timestamp",
            "is not covered by `signed`: an old webhook could be sent again under a new time",
            "signed = \"{timestamp}.{body}\", as your sender documents it; without such a scheme, no `timestamp`",
        ));
    }
}

/// Reads `signed`: text with `{body}`, `{timestamp}`, `{url}`, `{method}`, `{header:NAME}`.
fn signed(template: &str, problems: &mut Vec<Problem>) -> Option<Vec<Signed>> {
    const KNOWN: &str = "{body}, {timestamp}, {url}, {method}, {header:NAME}";
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((literal, behind)) = rest.split_once('{') {
        if !literal.is_empty() {
            pieces.push(Signed::Literal(literal.to_owned()));
        }
        let Some((name, behind)) = behind.split_once('}') else {
            problems.push(Problem::new("verify.signed", "a `{` is never closed", KNOWN));
            return None;
        };
        pieces.push(match name {
            "body" => Signed::Body,
            "timestamp" => Signed::Timestamp,
            "url" => Signed::Url,
            "method" => Signed::Method,
            _ => match name.strip_prefix("header:") {
                Some(header) => Signed::Header(header_name("verify.signed", header, problems)?),
                None => {
                    problems.push(Problem::new("verify.signed", format!("`{{{name}}}` is not known"), KNOWN));
                    return None;
                }
            },
        });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Signed::Literal(rest.to_owned()));
    }
    Some(pieces)
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
