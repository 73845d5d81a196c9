//! The reader on structs of its own: nested tables, lists, maps, kinds told apart by a word.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::*;
use crate::app::settings::tree::parse;
use crate::domain::secret::{Expanded, Secret, Secrets};
use crate::domain::span::Span;

/// A section with everything in it.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Section {
    name: String,
    #[serde(default)]
    pause: Option<Span>,
    #[serde(default)]
    key: Option<Secret>,
    #[serde(default)]
    keys: Option<Secrets>,
    #[serde(default)]
    inner: Inner,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    headers: BTreeMap<String, Expanded>,
    #[serde(default)]
    proof: Option<Proof>,
    #[serde(default)]
    free: Json,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
struct Inner {
    colour: Colour,
    count: u8,
    deeper: BTreeMap<String, Vec<Rule>>,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Colour {
    /// The default.
    #[default]
    Green,
    Red,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[allow(dead_code)]
struct Rule {
    id: String,
    #[serde(default)]
    wait: Option<Span>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[allow(dead_code)]
#[serde(tag = "scheme", rename_all = "lowercase")]
enum Proof {
    Token { secret: Secret, header: Option<String> },
    Hmac { secrets: Secrets },
}

struct Outcome {
    section: Option<Section>,
    problems: Vec<(usize, String)>,
    warnings: Vec<String>,
    said: String,
}

fn read(text: &str) -> Outcome {
    let environment = [("KEY", "canary-key-of-sixteen"), ("NEXT", "canary-next-of-sixteen")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    let mut tree = parse(FilePath::new("a.toml"), text).unwrap();
    let schema: Json = schemars::schema_for!(Section).into();
    let mut reader = Reader::new(&environment, FilePath::new(""));
    reader.judge(&mut tree, Shape::of(&schema), &Path::default());
    let section = reader.take(&mut tree, Shape::of(&schema), &Path::default());
    let mut problems: Vec<_> =
        reader.problems.iter().map(|one| (one.place.line().unwrap_or(0), one.key.clone())).collect();
    problems.sort();
    Outcome {
        section,
        problems,
        warnings: reader.warnings.iter().map(|one| one.key.clone()).collect(),
        said: reader.problems.iter().chain(&reader.warnings).map(ToString::to_string).collect(),
    }
}

#[test]
fn what_is_right_is_read_with_its_secrets_in_place() {
    let outcome = read(
        r#"
name = "a"
pause = "2s"
key = "env:KEY"
keys = ["env:KEY", "env:NEXT"]
headers = { authorization = "Bearer ${KEY}" }
rules = [{ id = "x", wait = "1s" }]
free = { any = ["thing", 1, { at = "all" }] }
inner.colour = "red"
inner.deeper.a = [{ id = "y" }]
proof = { scheme = "token", secret = "env:KEY" }
"#,
    );
    assert_eq!(outcome.problems, []);
    assert!(outcome.warnings.is_empty(), "{}", outcome.said);
    let section = outcome.section.unwrap();
    assert_eq!(section.name, "a");
    assert_eq!(section.pause, Some(Span::secs(2)));
    assert_eq!(section.key.unwrap().expose(), "canary-key-of-sixteen");
    assert_eq!(section.keys.unwrap().0[1].expose(), "canary-next-of-sixteen");
    assert_eq!(section.headers["authorization"].0.expose(), "Bearer canary-key-of-sixteen");
    assert_eq!(section.rules[0].id, "x");
    assert_eq!(section.free["any"][2]["at"], "all");
    assert!(matches!(section.inner, Inner { colour: Colour::Red, count: 0, .. }));
    assert_eq!(section.inner.deeper["a"][0].id, "y");
    assert!(matches!(section.proof, Some(Proof::Token { secret, .. }) if secret.expose() == "canary-key-of-sixteen"));
}

#[test]
fn everything_wrong_at_any_depth_is_told_at_once() {
    let outcome = read(
        r#"
nam = "a"
pause = "2 parsecs"
key = "env:ABSENT"
keys = ["env:KEY", 5]
headers = { authorization = "Bearer ${ABSENT}", x = 1 }
rules = [{ wait = "soon" }, { id = "x", wiat = "1s" }, { id = "y", wait = "later" }]
inner.colour = "redd"
inner.count = 256
inner.deeper.a = [{ id = 5 }]
proof = { scheme = "token", secrt = "env:KEY" }
"#,
    );
    let expected = [
        (0, "name"),
        (2, "nam"),
        (3, "pause"),
        (4, "key"),
        (5, "keys[1]"),
        (6, "headers.authorization"),
        (6, "headers.x"),
        (7, "rules[0].id"),
        (7, "rules[0].wait"),
        (7, "rules[1].wiat"),
        (7, "rules[2].wait"),
        (8, "inner.colour"),
        (9, "inner.count"),
        (10, "inner.deeper.a[0].id"),
        (11, "proof.secret"),
        (11, "proof.secrt"),
    ];
    assert_eq!(outcome.problems, expected.map(|(line, key)| (line, key.to_owned())), "{}", outcome.said);
    assert!(!outcome.said.contains("canary"));
    for remedy in
        ["did you mean name?", "did you mean wait?", "did you mean \"red\"?", "\"30s\"", "did you mean secret?"]
    {
        assert!(outcome.said.contains(remedy), "{remedy}: {}", outcome.said);
    }
}

#[test]
fn a_kind_that_there_is_not_is_told_with_those_there_are() {
    let outcome = read("name = \"a\"\n[proof]\nscheme = \"hmca\"\n");
    assert_eq!(outcome.problems, [(3, "proof.scheme".to_owned())]);
    assert!(outcome.said.contains("did you mean \"hmac\"?"), "{}", outcome.said);
    let outcome = read("name = \"a\"\n[proof]\nsecret = \"env:KEY\"\n");
    assert_eq!(outcome.problems, [(2, "proof.scheme".to_owned())], "{}", outcome.said);
}

#[test]
fn a_secret_of_a_wrong_type_is_refused_without_being_told() {
    let outcome = read("name = \"a\"\nkey = 4711\nkeys = []\n");
    assert_eq!(outcome.problems, [(2, "key".to_owned()), (3, "keys".to_owned())], "{}", outcome.said);
    assert!(!outcome.said.contains("4711"));
}

#[test]
fn a_literal_credential_in_a_header_is_warned_about() {
    let outcome = read("name = \"a\"\nheaders = { authorization = \"Bearer canary\", accept = \"*/*\" }\n");
    assert_eq!(outcome.warnings, ["headers.authorization"]);
    assert!(!outcome.said.contains("canary"));
}
