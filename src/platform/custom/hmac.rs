//! The scheme `hmac`: where the signature and its time stand, and what a signature must cover to prove anything.

use super::coverage::Covered;
use super::verify::{Config, Scheme, header_name, secrets, tolerance};
use crate::domain::problem::Problem;
use crate::signature::{Algorithm, Encoding, Hmac, Signed, TimestampHeader};

pub fn build(config: &Config, algorithm: Algorithm, encoding: Encoding, problems: &mut Vec<Problem>) -> Option<Scheme> {
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
