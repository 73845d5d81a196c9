//! What the environment and files beside the configuration add to it: overriding keys, secrets, `${NAME}`.
//! The one place that reads the process's environment.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use super::later;
use super::problems::{Finding, Place, nearest};
use super::schema::{Schemas, Shape};
use super::tree::{Hidden, Node, Path, Value, parse_value};
use crate::domain::problem::Problem;

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// The process's environment; what is not Unicode is left out.
pub fn read_environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

const PREFIX: &str = "FINI_BRIDGE__";

/// Puts every `FINI_BRIDGE__SECTION__KEY` into the tree.
pub(super) fn override_keys(tree: &mut Node, schemas: &Schemas, environment: &Environment) -> Vec<Finding> {
    let mut overrides: Vec<(&str, Vec<&str>, &str)> = environment
        .iter()
        .filter_map(|(name, value)| {
            Some((name.as_str(), name.strip_prefix(PREFIX)?.split("__").collect(), value.as_str()))
        })
        .collect();
    // A table comes before its keys, and a channel's platform first: it decides what its keys are.
    overrides.sort_by_key(|(_, segments, _)| (segments.len(), segments.last() != Some(&"PLATFORM")));
    let mut problems = Vec::new();
    for (name, segments, value) in overrides {
        let before = tree.clone();
        if let Err(problem) = override_key(tree, schemas, name, &segments, value) {
            problems.push(problem);
            *tree = before;
        }
    }
    problems
}

/// The secrets that have a variable of their own, so that a configuration may leave them out.
const OWN_VARIABLES: [(&str, &str, &str); 2] =
    [("fini", "api_key", "FINI_API_KEY"), ("admin", "token", "FINI_BRIDGE_ADMIN_TOKEN")];

/// Where such a key is not written and its variable is set, it is as if `env:NAME` stood there.
pub(super) fn own_variables(tree: &mut Node, environment: &Environment) {
    for (section, key, variable) in OWN_VARIABLES {
        let place = Place::Environment(Arc::from(variable));
        let empty = Node::new(place.clone(), Value::Table(BTreeMap::new()));
        if environment.get(variable).is_some_and(|value| !value.is_empty())
            && let Some(sections) = tree.table_mut()
            && let Some(keys) = sections.entry(section.to_owned()).or_insert(empty).table_mut()
        {
            keys.entry(key.to_owned()).or_insert_with(|| Node::new(place, Value::Text(format!("env:{variable}"))));
        }
    }
}

fn override_key(
    tree: &mut Node,
    schemas: &Schemas,
    variable: &str,
    segments: &[&str],
    value: &str,
) -> Result<(), Finding> {
    let place = Place::Environment(Arc::from(variable));
    let mut at = tree;
    let mut shape = schemas.root();
    let mut path = Path::default();
    for (depth, segment) in segments.iter().enumerate() {
        let found = find_key(at, shape, segment);
        let Some(key) = found else {
            let problem = format!("no key of this name {}", if depth == 0 { "in the configuration" } else { "there" });
            let written = path.key(&segment.to_ascii_lowercase());
            if later::is_planned(&written) {
                return Err(Finding::new(place, Problem::new(written.to_string(), later::PROBLEM, later::INSTEAD)));
            }
            let known: Vec<String> = shape.properties().iter().map(|(key, _)| normal(key)).collect();
            let instead = match nearest(segment, known.iter().map(String::as_str)) {
                Some(near) => {
                    let mut meant: Vec<&str> = segments.to_vec();
                    if let Some(last) = meant.get_mut(depth) {
                        *last = near;
                    }
                    format!("did you mean {PREFIX}{}?", meant.join("__"))
                }
                None => format!("known here: {}", known.join(", ")),
            };
            return Err(Finding::new(place, Problem::new(written.to_string(), problem, instead)));
        };
        let in_channels = path.to_string() == "channels";
        path = path.key(&key);
        let table = match &mut at.value {
            Value::Table(table) => table,
            _ => {
                let problem =
                    Problem::new(path.to_string(), "its table is not a table", "write the section as [section]");
                return Err(Finding::new(place, problem));
            }
        };
        at = table.entry(key.clone()).or_insert_with(|| Node::new(place.clone(), Value::Table(BTreeMap::new())));
        shape = if in_channels {
            schemas.channel(at.get("platform").and_then(Node::text))
        } else {
            member(shape, &key).unwrap_or(shape).resolved()
        };
    }
    *at = read_value(value, shape, &place).ok_or_else(|| {
        let instead = format!("write {}, as TOML", shape.describe());
        Finding::new(place.clone(), Problem::new(path.to_string(), "the value is not TOML", instead))
    })?;
    Ok(())
}

fn normal(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn member<'s>(shape: Shape<'s>, key: &str) -> Option<Shape<'s>> {
    shape.property(key).or_else(|| shape.free_values())
}

/// The key that a segment names: one that stands in the file, a known one, or a new one where keys are free.
fn find_key(at: &Node, shape: Shape<'_>, segment: &str) -> Option<String> {
    let wanted = normal(segment);
    // Where keys are fixed, an unknown one in the file is told by itself.
    let written =
        at.table().filter(|_| shape.free_values().is_some()).into_iter().flatten().map(|(key, _)| key.as_str());
    let known = shape.properties();
    let mut all = known.iter().map(|(key, _)| *key).chain(written);
    match all.find(|key| normal(key) == wanted) {
        Some(key) => Some(key.to_owned()),
        None if segment.is_empty() => None,
        None => shape.free_values().map(|_| segment.to_ascii_lowercase()),
    }
}

/// Text where text goes; otherwise TOML.
fn read_value(text: &str, shape: Shape<'_>, place: &Place) -> Option<Node> {
    let shape = shape.resolved();
    let as_text = || Node::new(place.clone(), Value::Text(text.to_owned()));
    let composed = text.trim_start().starts_with(['[', '{']);
    let other_than_text = |kind: &str| shape.takes(kind) && kind != "string";
    if shape.takes("string") {
        let all = shape.kinds().is_empty();
        let try_toml = all || (composed && (other_than_text("array") || other_than_text("object")));
        return if try_toml { parse_value(text, place).or_else(|| Some(as_text())) } else { Some(as_text()) };
    }
    match parse_value(text, place) {
        Some(node) => Some(node),
        None if composed || shape.takes("array") || shape.takes("object") => None,
        // The reader says what was expected.
        None => Some(as_text()),
    }
}

/// A secret in its place, or why there is none. `warning`: it works, and yet.
pub(super) struct Resolved {
    pub text: String,
    pub hidden: Hidden,
    pub warning: Option<Problem>,
}

/// Reads `env:NAME`, `file:PATH` (relative to `folder`) or the text itself.
pub(super) fn resolve_secret(
    key: &str,
    written: &str,
    environment: &Environment,
    folder: &FilePath,
) -> Result<Resolved, Problem> {
    let last = key.rsplit('.').next().unwrap_or(key);
    if let Some(name) = written.strip_prefix("env:") {
        let problem = match environment.get(name) {
            None if name.is_empty() => "names no environment variable".to_owned(),
            None => format!("the environment variable {name} is not set"),
            Some(text) if text.trim().is_empty() => format!("the environment variable {name} is empty"),
            Some(text) => {
                return Ok(Resolved { text: text.clone(), hidden: Hidden::Variable(name.to_owned()), warning: None });
            }
        };
        let instead = match nearest(name, environment.keys().map(String::as_str)) {
            Some(near) if near != name => format!("set {name}, or did you mean env:{near}?"),
            _ => format!("set {name} where fini-bridge is started, or write {last} = \"file:PATH\""),
        };
        return Err(Problem::new(key, problem, instead));
    }
    if let Some(name) = written.strip_prefix("file:") {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::NotFound => "does not exist",
                std::io::ErrorKind::PermissionDenied => "may not be read",
                std::io::ErrorKind::InvalidData => "is not text",
                _ => "can't be read",
            };
            let instead = "put the secret into this file (relative paths start at the configuration's folder)";
            Problem::new(key, format!("the file {} {why}", path.display()), instead)
        })?;
        let text = last_line_break_off(&text);
        if text.trim().is_empty() {
            let problem = format!("the file {} is empty", path.display());
            return Err(Problem::new(key, problem, "put the secret into this file"));
        }
        let warning = open_to_others(&path).then(|| {
            let problem = format!("the file {} can be read by others", path.display());
            Problem::new(key, problem, format!("chmod 600 {}", path.display()))
        });
        return Ok(Resolved { text: text.to_owned(), hidden: Hidden::File(name.to_owned()), warning });
    }
    if written.trim().is_empty() {
        let instead = format!("write {last} = \"env:NAME\", or leave the key out if it is optional");
        return Err(Problem::new(key, "is empty", instead));
    }
    let instead = format!("write {last} = \"env:NAME\" or {last} = \"file:PATH\"");
    let warning = Some(Problem::new(key, "the secret stands in the configuration itself", instead));
    Ok(Resolved { text: written.to_owned(), hidden: Hidden::Literal, warning })
}

/// A secret's file ends as editors end files.
pub(super) fn last_line_break_off(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

#[cfg(unix)]
fn open_to_others(path: &FilePath) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn open_to_others(_: &FilePath) -> bool {
    false
}

/// Fills in every `${NAME}`. The second part says whether there was one.
pub(super) fn expand(key: &str, written: &str, environment: &Environment) -> Result<(String, bool), Problem> {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    let mut any = false;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            return Err(Problem::new(key, "a ${ without its }", "write ${NAME}"));
        };
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match environment.get(name).filter(|value| !value.trim().is_empty()) {
            Some(value) if named => text.push_str(value),
            _ if named => {
                let problem = format!("the environment variable {name} is not set, or empty");
                return Err(Problem::new(key, problem, format!("set {name} where fini-bridge is started")));
            }
            _ => {
                let instead = "write ${NAME}: letters, digits and underscores";
                return Err(Problem::new(key, "a ${…} that names no variable", instead));
            }
        }
        any = true;
        rest = behind;
    }
    text.push_str(rest);
    Ok((text, any))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::settings::tree::parse;

    fn overridden(text: &str, variables: &[(&str, &str)]) -> (Node, Vec<Finding>) {
        let mut tree = parse(FilePath::new("a.toml"), text).unwrap();
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let problems = override_keys(&mut tree, &Schemas::new(), &environment);
        (tree, problems)
    }

    #[test]
    fn a_channel_is_found_by_its_name_with_underscores() {
        let text = "[channels.support-slack]\nplatform = 'slack'\nbot_id = 'a'\n";
        let variables = [
            ("FINI_BRIDGE__CHANNELS__SUPPORT_SLACK__BOT_ID", "b"),
            ("FINI_BRIDGE__CHANNELS__SUPPORT_SLACK__BOTS", "[{ chat = 'C1', bot_id = 'c' }]"),
            ("FINI_BRIDGE__CHANNELS__SUPPORT_SLACK__REPLIES__MAX_AGE", "1h"),
            ("FINI_BRIDGE__CHANNELS__NEW__BOT_ID", "d"),
            ("FINI_BRIDGE__CHANNELS__NEW__PLATFORM", "telegram"),
        ];
        let (tree, problems) = overridden(text, &variables);
        assert_eq!(problems, []);
        let text = |path: &str| tree.around(&Path::parse(path)).text().map(str::to_owned);
        assert_eq!(text("channels.support-slack.bot_id").as_deref(), Some("b"));
        assert_eq!(text("channels.support-slack.platform").as_deref(), Some("slack"));
        assert_eq!(text("channels.support-slack.bots[0].chat").as_deref(), Some("C1"));
        assert_eq!(text("channels.support-slack.replies.max_age").as_deref(), Some("1h"));
        assert_eq!(text("channels.new.platform").as_deref(), Some("telegram"));
    }

    #[test]
    fn a_refused_variable_changes_nothing() {
        let (tree, problems) = overridden("", &[("FINI_BRIDGE__SERVER__LISTN", "x"), ("FINI_BRIDGE__", "x")]);
        assert_eq!(problems.len(), 2);
        assert_eq!(tree.json(), serde_json::json!({}));
    }

    #[test]
    fn placeholders_are_filled_in_or_refused() {
        let environment: Environment = [("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())].into();
        assert_eq!(expand("k", "x${A}${A}y", &environment).unwrap(), ("x11y".to_owned(), true));
        assert_eq!(expand("k", "$A {b}", &environment).unwrap(), ("$A {b}".to_owned(), false));
        for bad in ["${B}", "${EMPTY}", "${A", "${}", "${A B}"] {
            assert!(expand("k", bad, &environment).is_err(), "{bad}");
        }
    }
}
