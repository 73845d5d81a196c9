//! Which headers and whether the query are covered by a signature: what isn't can be changed by whoever has seen one
//! genuine webhook, and `inbound` should rest on none of it.

use super::{Config, hmac};
use crate::domain::problem::Problem;

/// The parts of a head that a signature proves.
pub struct Covered {
    /// In lower case.
    pub headers: Vec<String>,
    pub query: bool,
}

/// One warning for each expression of `inbound` that rests on something else. None where nothing is signed: a token
/// proves its sender and nothing of what was sent.
pub fn warnings(config: &Config) -> Vec<Problem> {
    let (Some(verify), Some(inbound)) = (&config.verify, &config.inbound) else { return Vec::new() };
    let Some(covered) = hmac::covered(verify) else { return Vec::new() };
    let expressions = [
        ("each", &inbound.each),
        ("when", &inbound.when),
        ("id", &inbound.id),
        ("chat", &inbound.chat),
        ("text", &inbound.text),
        ("sender", &inbound.sender),
        ("role", &inbound.role),
        ("user_attributes", &inbound.user_attributes),
        ("bot_id", &inbound.bot_id),
        ("sent_at", &inbound.sent_at),
    ];
    let of = |(key, source): (&str, &Option<String>)| {
        let unsigned = unsigned(source.as_deref()?, &covered);
        let what = unsigned.join(", ");
        let instead = "what the body says; or {header:NAME} or {url} in `signed`, if your sender signs it so";
        (!unsigned.is_empty()).then(|| {
            let problem = format!("rests on {what}, which no signature covers: it can be changed and sent again");
            Problem::new(format!("inbound.{key}"), problem, instead)
        })
    };
    expressions.into_iter().filter_map(of).collect()
}

/// What an expression reads of the head beyond what is covered, each once, as a person names it.
fn unsigned(source: &str, covered: &Covered) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |what: String| {
        if !found.contains(&what) {
            found.push(what);
        }
    };
    for behind in uses(source, "headers") {
        match member(behind) {
            Some(name) if covered.headers.iter().any(|header| header.eq_ignore_ascii_case(name)) => {}
            Some(name) => add(format!("the header {}", name.to_ascii_lowercase())),
            None => add("headers".to_owned()),
        }
    }
    if !covered.query && !uses(source, "query").is_empty() {
        add("the query".to_owned());
    }
    found
}

/// What follows each use of a name, outside of strings and not as a member of something else.
fn uses<'s>(source: &'s str, name: &str) -> Vec<&'s str> {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let (mut quote, mut before) = (None, ' ');
    let mut chars = source.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            Some(_) if c == '\\' => drop(chars.next()),
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {
                let behind = source.get(at..).and_then(|rest| rest.strip_prefix(name));
                let whole = behind.filter(|rest| !rest.starts_with(in_name) && !in_name(before) && before != '.');
                found.extend(whole);
            }
        }
        if !c.is_whitespace() || in_name(before) {
            before = c;
        }
    }
    found
}

/// The constant name in `['x']`, `.x` or `.get('x')`.
fn member(behind: &str) -> Option<&str> {
    let behind = behind.trim_start();
    let inner = behind.strip_prefix('[').map(|rest| (rest, ']')).or_else(|| {
        let rest = behind.strip_prefix('.')?.trim_start().strip_prefix("get")?.trim_start().strip_prefix('(')?;
        Some((rest, ')'))
    });
    if let Some((rest, close)) = inner {
        let rest = rest.trim_start();
        let quote = rest.chars().next().filter(|c| *c == '"' || *c == '\'')?;
        let (name, after) = rest.get(1..)?.split_once(quote)?;
        let after = after.trim_start();
        return (after.starts_with(close) || (close == ')' && after.starts_with(','))).then_some(name);
    }
    let rest = behind.strip_prefix('.')?.trim_start();
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    rest.get(..end).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_use_of_a_header_or_the_query_is_seen() {
        let covered = Covered { headers: vec!["x-signed".to_owned()], query: false };
        for (source, expected) in [
            ("body.headers ~ body['query'] ~ 'headers' ~ \"query\"", ""),
            ("headers['x-signed'] ~ headers.get(\"X-Signed\", '')", ""),
            ("headers['x-id'] ~ headers [ \"x-id\" ]", "the header x-id"),
            ("headers.get('x-id') or headers.host", "the header x-id, the header host"),
            ("headers[body.name]", "headers"),
            ("headers['x-' ~ body.name]", "headers"),
            ("headers|items|list", "headers"),
            ("'it\\'s' ~ query.chat", "the query"),
            ("[query, headers]", "headers, the query"),
            ("item. headers ~ my_headers ~ headers_of", ""),
        ] {
            assert_eq!(unsigned(source, &covered).join(", "), expected, "{source}");
        }
        let all = Covered { headers: Vec::new(), query: true };
        assert_eq!(unsigned("query.chat", &all), Vec::<String>::new());
    }
}
