//! Where a custom channel's replies go. Scheme, host and port come from the configuration alone, and what
//! a user sent stays in the place that the template gives it.

use minijinja::Value;
use percent_encoding::percent_decode;
use url::{Host, Url};

use super::template::{Failed, Template};
use crate::domain::problem::Problem;

const INSTEAD: &str = "https://api.example.com/… with a literal host; values may stand behind it";

/// `reply.url`
pub struct Address {
    key: &'static str,
    template: Template,
    /// Up to the first tag: what every address begins with.
    literal: String,
    base: Url,
}

impl Address {
    pub fn compile(key: &'static str, source: &str, names: &[&str]) -> Result<Self, Vec<Problem>> {
        let literal = ["{{", "{%", "{#"].into_iter().filter_map(|tag| source.find(tag)).min();
        let literal = literal.and_then(|end| source.get(..end)).unwrap_or(source);
        let mut problems = Vec::new();
        if source.contains("${") {
            problems.push(Problem::new(key, "has ${…} in it", "a literal; a secret belongs into `headers`"));
        }
        if literal.len() < source.len() && !authority_ends_in(literal) {
            problems.push(Problem::new(key, "has a template in its scheme, host or port", INSTEAD));
            return Err(problems);
        }
        let base = fixed(key, literal).map_err(|problem| problems.push(problem)).ok();
        let template = Template::address(key, source, names).map_err(|problem| problems.push(problem)).ok();
        match (base, template) {
            (Some(base), Some(template)) if problems.is_empty() => {
                Ok(Self { key, template, literal: literal.to_owned(), base })
            }
            _ => Err(problems),
        }
    }

    pub fn uses(&self, name: &str) -> bool {
        self.template.uses(name)
    }

    pub fn render(&self, variables: &Value) -> Result<Url, Failed> {
        let text = self.template.render(variables)?;
        let refused = |why: &str| Failed::new(self.key, why);
        if !text.starts_with(&self.literal) {
            return Err(refused("no longer begins with its literal part"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(refused("has white space or a backslash in it"));
        }
        if has_dot_segment(&text) {
            return Err(refused("has a dot segment in it"));
        }
        let url = Url::parse(&text).map_err(|_| refused("is not an address"))?;
        if url.origin() != self.base.origin() || !url.username().is_empty() || url.password().is_some() {
            return Err(refused("leads to another host"));
        }
        Ok(url)
    }
}

/// Whether the host is over before the first tag.
fn authority_ends_in(literal: &str) -> bool {
    literal.split_once("://").is_some_and(|(_, behind)| behind.contains(['/', '?']))
}

/// An address that is written in the configuration, as far as it is written there.
pub fn fixed(key: &'static str, text: &str) -> Result<Url, Problem> {
    let url = Url::parse(text).map_err(|_| Problem::new(key, "is not an address", INSTEAD))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(Problem::new(key, "is not an http(s) address", INSTEAD));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Problem::new(
            key,
            "has a user's name or a password in it",
            "an address without; headers = { authorization = \"Basic ${…}\" }",
        ));
    }
    if text.contains('#') {
        return Err(Problem::new(key, "has a fragment, which is never sent", "an address without `#`"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') || has_dot_segment(text) {
        return Err(Problem::new(key, "has white space, a backslash or a dot segment in it", INSTEAD));
    }
    Ok(url)
}

/// Whether the path of an address has a dot segment.
fn has_dot_segment(text: &str) -> bool {
    let behind = text.split_once("://").map_or(text, |(_, behind)| behind);
    let path = behind.split(['?', '#']).next().unwrap_or_default();
    path.split_once('/').is_some_and(|(_, path)| holds_dot_segment(path))
}

/// Percent-encoding inside of percent-encoding. Nobody who means well needs more.
const MAX_DECODED: usize = 8;

/// Whether one of the segments is `.` or `..`, to anybody who may read it on the way: servers and proxies decode,
/// some of them twice, take `\` for `/`, cut `;…` off, and read overlong or compatible characters as ASCII.
pub fn holds_dot_segment(path: &str) -> bool {
    let mut bytes = path.as_bytes().to_vec();
    let mut rounds = 0;
    loop {
        let decoded: Vec<u8> = percent_decode(&bytes).collect();
        if decoded.len() == bytes.len() {
            break;
        }
        bytes = decoded;
        rounds += 1;
        if rounds > MAX_DECODED {
            return true;
        }
    }
    // Overlong forms of ASCII, which no text has.
    if bytes.iter().any(|byte| matches!(byte, 0xc0 | 0xc1))
        || bytes.windows(2).any(|two| matches!(two, [0xe0, 0x80..=0x9f]))
    {
        return true;
    }
    let text: String = String::from_utf8_lossy(&bytes).chars().flat_map(as_ascii).collect();
    text.split(['/', '\\']).any(|segment| {
        let name = segment.split([';', '?', '#']).next().unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        name == "." || name == ".."
    })
}

/// Unicode's compatible forms of what an address is made of (NFKC).
fn as_ascii(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        '\u{ff0e}' | '\u{2024}' | '\u{fe52}' => ('.', None),
        '\u{2025}' => ('.', Some('.')),
        '\u{ff0f}' => ('/', None),
        '\u{ff3c}' | '\u{fe68}' => ('\\', None),
        '\u{ff1b}' | '\u{fe54}' | '\u{37e}' => (';', None),
        // They have no width, and are dropped on some ways.
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => (' ', None),
        c => (c, None),
    };
    std::iter::once(first).chain(second)
}

/// What deserves a word about a configured address: it works, and somebody should have meant it.
pub fn warnings(key: &'static str, text: &str) -> Vec<Problem> {
    let end = ["{{", "{%", "{#"].into_iter().filter_map(|tag| text.find(tag)).min();
    let Ok(url) = Url::parse(end.and_then(|end| text.get(..end)).unwrap_or(text)) else { return Vec::new() };
    let mut all = Vec::new();
    if url.scheme() == "http" && !is_loopback(&url) {
        all.push(Problem::new(key, "is plain http: answers and credentials can be read on the way", "https://…"));
    }
    if is_private(&url) {
        all.push(Problem::new(key, "leads into a private network", "ignore this if it is intended"));
    }
    all
}

/// What is posted there doesn't leave the machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn is_private(url: &Url) -> bool {
    let v4 = |ip: std::net::Ipv4Addr| {
        let [a, b, ..] = ip.octets();
        ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || (a == 100 && b & 0xc0 == 64)
    };
    match url.host() {
        Some(Host::Ipv4(ip)) => v4(ip),
        Some(Host::Ipv6(ip)) => {
            let unique_local = ip.segments().first().is_some_and(|first| first & 0xfe00 == 0xfc00);
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unicast_link_local()
                || unique_local
                || ip.to_ipv4_mapped().is_some_and(v4)
        }
        // A name without a dot, or under a suffix that is never public, is resolved inside.
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            !name.contains('.') || [".localhost", ".local", ".internal"].iter().any(|end| name.ends_with(end))
        }
        None => false,
    }
}
