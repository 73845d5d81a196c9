//! Reads any section by its schema and its struct, and finds everything that is wrong with it at once:
//! unknown keys, wrong types and words, missing keys, secrets that can't be had. Knows no section.
//!
//! What is wrong is reported and replaced by something that fits, so that the rest can still be judged; the
//! outcome of a reading with problems is only good for finding more of them.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::environment::{Environment, expand, resolve_secret};
use super::problems::{Finding, Place, list, nearest};
use super::schema::Shape;
use super::secrets::too_short;
use super::tree::{Hidden, Node, Path, Step, Value};
use crate::domain::problem::Problem;
use crate::domain::secret::{EXPANDED_FORMAT, SECRET_FORMAT};

pub(super) struct Reader<'e> {
    pub environment: &'e Environment,
    /// Where relative paths start.
    pub folder: &'e FilePath,
    pub problems: Vec<Finding>,
    pub warnings: Vec<Finding>,
    /// Keys that hold something else than what was written.
    broken: BTreeSet<Path>,
}

impl<'e> Reader<'e> {
    pub fn new(environment: &'e Environment, folder: &'e FilePath) -> Self {
        Self { environment, folder, problems: Vec::new(), warnings: Vec::new(), broken: BTreeSet::new() }
    }

    pub fn problem(&mut self, place: &Place, path: &Path, problem: impl Into<String>, instead: impl Into<String>) {
        self.broken.insert(path.clone());
        self.problems.push(Finding::new(place.clone(), Problem::new(path.to_string(), problem, instead)));
    }

    /// Adds what somebody found in `tree`'s values, unless the value is not what was written: that has been told.
    pub fn found(&mut self, tree: &Node, below: &Path, problem: Problem) {
        if let Some(finding) = self.placed(tree, below, problem) {
            self.problems.push(finding);
        }
    }

    pub fn warn(&mut self, tree: &Node, below: &Path, problem: Problem) {
        if let Some(finding) = self.placed(tree, below, problem) {
            self.warnings.push(finding);
        }
    }

    fn placed(&self, tree: &Node, below: &Path, mut problem: Problem) -> Option<Finding> {
        let path = below.join(&Path::parse(&problem.key));
        // A table with something wrong in it is wrong for that reason first.
        let told = |broken: &Path| path.starts_with(broken) || (!path.0.is_empty() && broken.starts_with(&path));
        if self.broken.iter().any(told) {
            return None;
        }
        problem.key = path.to_string();
        Some(Finding::new(tree.around(&path).place.clone(), problem))
    }

    /// Judges what was written by the schema, and puts secrets into their places. False: it can't stay.
    pub fn judge(&mut self, node: &mut Node, shape: Shape<'_>, path: &Path) -> bool {
        let described = shape;
        let shape = shape.resolved();
        if !shape.takes(node.kind()) {
            let problem = format!("is {}", article(node.kind()));
            self.problem(&node.place, path, problem, format!("write {}", described.describe()));
            return false;
        }
        let branches: Vec<_> = shape.branches().into_iter().filter(|one| one.takes(node.kind())).collect();
        match (&branches[..], node.kind()) {
            ([one], _) if shape.properties().len() == one.properties().len() => return self.judge(node, *one, path),
            (_, "string") => {}
            ([_, ..], "object") => return self.judge_alternatives(node, shape, &branches, path),
            _ => {}
        }
        match &mut node.value {
            Value::Text(_) => self.judge_text(node, shape, path),
            Value::Scalar { .. } => true,
            Value::List(list) => {
                let Some(items) = shape.items() else { return true };
                for (index, element) in list.iter_mut().enumerate() {
                    if !self.judge(element, items, &path.index(index)) {
                        replace(element, items);
                    }
                }
                true
            }
            Value::Table(_) => {
                self.judge_table(node, shape, path);
                true
            }
        }
    }

    fn judge_text(&mut self, node: &mut Node, shape: Shape<'_>, path: &Path) -> bool {
        let Value::Text(written) = &node.value else { return true };
        let written = written.clone();
        match shape.format() {
            Some(SECRET_FORMAT) => match resolve_secret(&path.to_string(), &written, self.environment, self.folder) {
                Ok(secret) => {
                    let short = too_short(&path.to_string(), &secret.text);
                    let warnings = secret.warning.into_iter().chain(short);
                    self.warnings.extend(warnings.map(|warning| Finding::new(node.place.clone(), warning)));
                    node.value = Value::Text(secret.text);
                    node.hidden = Some(secret.hidden);
                    true
                }
                Err(problem) => self.refuse(node, path, problem),
            },
            Some(EXPANDED_FORMAT) if names_variable(&written) => {
                let name = written.strip_prefix("env:").unwrap_or_default();
                self.problem(&node.place, path, "takes ${NAME}, not env:NAME", format!("write ${{{name}}}"));
                false
            }
            Some(EXPANDED_FORMAT) => match expand(&path.to_string(), &written, self.environment) {
                Ok((text, any)) => {
                    if !any && looks_secret(path) {
                        let instead = "write the secret part as ${NAME}, and set that variable";
                        let warning =
                            Problem::new(path.to_string(), "the secret stands in the configuration itself", instead);
                        self.warnings.push(Finding::new(node.place.clone(), warning));
                    }
                    node.value = Value::Text(text);
                    node.hidden = Some(Hidden::Literal);
                    true
                }
                Err(problem) => self.refuse(node, path, problem),
            },
            _ if names_variable(&written) => {
                let key = path.to_string();
                let variable =
                    format!("FINI_BRIDGE__{}", key.to_ascii_uppercase().replace('-', "_").replace('.', "__"));
                let instead = match key.contains('[') {
                    false => format!("write the value itself, or leave the key out and set {variable}"),
                    true => "write the value itself".to_owned(),
                };
                let problem = "is no secret: only secrets and store.url take env:NAME";
                self.problem(&node.place, path, problem, instead);
                false
            }
            _ => {
                let choices = shape.choices();
                if choices.is_empty() || choices.contains(&written.as_str()) {
                    return true;
                }
                let problem = match node.place {
                    Place::File { .. } => format!("\"{written}\" is not one of its words"),
                    Place::Environment(_) => "the value is not one of its words".to_owned(),
                };
                let instead = match nearest(&written, choices.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"? It takes {}", shape.describe()),
                    None => format!("write {}", shape.describe()),
                };
                self.problem(&node.place, path, problem, instead);
                false
            }
        }
    }

    fn refuse(&mut self, node: &Node, path: &Path, problem: Problem) -> bool {
        self.problem(&node.place, path, problem.problem, problem.instead);
        false
    }

    fn judge_table(&mut self, node: &mut Node, shape: Shape<'_>, path: &Path) {
        let place = node.place.clone();
        let properties = shape.properties();
        let free = shape.free_values();
        let required = shape.required();
        let Some(table) = node.table_mut() else { return };
        let mut gone = Vec::new();
        for (key, value) in table.iter_mut() {
            let below = path.key(key);
            let known = properties.iter().find(|(name, _)| name == key).map(|(_, shape)| *shape).or(free);
            let Some(known) = known else {
                let names = || properties.iter().map(|(name, _)| *name);
                let instead = match nearest(key, names()) {
                    Some(near) => format!("did you mean {near}?"),
                    None if properties.is_empty() => "there are no keys here".to_owned(),
                    None => format!("known here: {}", list(names())),
                };
                self.problem(&value.place, &below, "unknown key", instead);
                gone.push(key.clone());
                continue;
            };
            if !self.judge(value, known, &below) {
                if required.contains(&key.as_str()) || known.resolved().format() == Some(SECRET_FORMAT) {
                    replace(value, known);
                } else {
                    gone.push(key.clone());
                }
            }
        }
        for key in gone {
            table.remove(&key);
        }
        for key in required {
            if table.contains_key(key) {
                continue;
            }
            let Some((_, known)) = properties.iter().find(|(name, _)| *name == key) else { continue };
            self.problem(&place, &path.key(key), "is missing", missing(key, *known));
            let mut stand_in = Node::new(place.clone(), Value::Text(String::new()));
            replace(&mut stand_in, *known);
            table.insert(key.to_owned(), stand_in);
        }
    }

    /// A table of one of several kinds: told apart by a key that has one word in each.
    fn judge_alternatives(&mut self, node: &mut Node, shape: Shape<'_>, kinds: &[Shape<'_>], path: &Path) -> bool {
        let tag = kinds.first().and_then(|one| {
            let has_word = |kind: &Shape<'_>, key: &str| {
                kind.property(key).is_some_and(|word| word.resolved().choices().len() == 1)
            };
            one.properties().into_iter().map(|(key, _)| key).find(|key| kinds.iter().all(|kind| has_word(kind, key)))
        });
        let Some(tag) = tag else {
            self.judge_table(node, shape, path);
            return true;
        };
        fn words<'s>(kind: &Shape<'s>, tag: &str) -> Vec<&'s str> {
            kind.property(tag).map(|word| word.resolved().choices()).unwrap_or_default()
        }
        let all: Vec<&str> = kinds.iter().flat_map(|kind| words(kind, tag)).collect();
        let written = node.get(tag).map(|value| (value.place.clone(), value.text().map(str::to_owned)));
        let below = path.key(tag);
        match written {
            None => {
                let instead = format!("write {tag} = {}", quoted(&all));
                self.problem(&node.place, &below, "is missing", instead);
                false
            }
            Some((place, word)) => {
                let word = word.unwrap_or_default();
                if let Some(kind) = kinds.iter().find(|kind| words(kind, tag).contains(&word.as_str())) {
                    self.judge_table(node, *kind, path);
                    return true;
                }
                let near = nearest(&word, all.iter().copied()).map(|near| format!("did you mean \"{near}\"? "));
                let instead = format!("{}It takes {}", near.unwrap_or_default(), quoted(&all));
                self.problem(&place, &below, "is not one of its words", instead);
                false
            }
        }
    }

    /// The struct that a judged table makes.
    pub fn take<T: DeserializeOwned>(&mut self, node: &mut Node, shape: Shape<'_>, path: &Path) -> Option<T> {
        // Each round mends one value; a table has no more values than it can be wrong in.
        for _ in 0..1000 {
            let error = match serde_path_to_error::deserialize::<_, T>(node.json()) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let mut steps = Vec::new();
            for segment in error.path() {
                match segment {
                    Segment::Map { key } => steps.push(Step::Key(key.clone())),
                    Segment::Seq { index } => steps.push(Step::Index(*index)),
                    _ => break,
                }
            }
            let below = path.join(&Path(steps.clone()));
            let again = !self.broken.insert(below.clone());
            let found = node.at_mut(&steps)?;
            if !again {
                let shape = steps.iter().try_fold(shape, |at, step| match step {
                    Step::Key(key) => at.resolved().property(key).or_else(|| at.resolved().free_values()),
                    Step::Index(_) => at.resolved().items(),
                });
                let told = told(&error.into_inner().to_string(), found, shape);
                self.problem(&found.place.clone(), &below, told.0, told.1);
                if let Some(shape) = shape.filter(|_| !steps.is_empty()) {
                    replace(found, shape);
                    continue;
                }
            }
            let (last, parent) = steps.split_last()?;
            match (last, &mut node.at_mut(parent)?.value) {
                (Step::Key(key), Value::Table(table)) => drop(table.remove(key)?),
                (Step::Index(index), Value::List(list)) if *index < list.len() => drop(list.remove(*index)),
                _ => return None,
            }
        }
        None
    }
}

fn replace(node: &mut Node, shape: Shape<'_>) {
    fn value(json: &serde_json::Value, place: &Place) -> Value {
        match json {
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(list) => {
                Value::List(list.iter().map(|one| Node::new(place.clone(), value(one, place))).collect())
            }
            serde_json::Value::Object(map) => Value::Table(
                map.iter().map(|(key, one)| (key.clone(), Node::new(place.clone(), value(one, place)))).collect(),
            ),
            other => Value::Scalar { kind: "stand-in", json: other.clone() },
        }
    }
    node.value = value(&shape.stand_in(), &node.place);
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a table",
        _ => "a date",
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

fn missing(key: &str, shape: Shape<'_>) -> String {
    let resolved = shape.resolved();
    let about = shape.description().and_then(|text| text.lines().next()).map(|text| format!(" ({text})"));
    if resolved.format() == Some(SECRET_FORMAT)
        || resolved.branches().iter().any(|one| one.format() == Some(SECRET_FORMAT))
    {
        return format!("add {key} = \"env:{}\"", key.to_ascii_uppercase());
    }
    format!("add {key} = …: {}{}", resolved.describe(), about.unwrap_or_default())
}

/// `env:NAME`, which nobody writes as a text.
fn names_variable(written: &str) -> bool {
    let name = written.strip_prefix("env:").unwrap_or_default();
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// A header whose value is a credential.
fn looks_secret(path: &Path) -> bool {
    let Some(Step::Key(key)) = path.0.last() else { return false };
    let key = key.to_ascii_lowercase();
    ["authorization", "api-key", "apikey", "token", "secret"].iter().any(|word| key.contains(word))
}

/// The deserializer's words in ours: what is wrong, what to write instead.
fn told(error: &str, node: &Node, shape: Option<Shape<'_>>) -> (String, String) {
    let (wrong, expected) = match error.split_once(", expected ") {
        Some((wrong, expected)) => (wrong, Some(expected)),
        None => (error, None),
    };
    let quiet = node.holds_a_secret() || matches!(node.place, Place::Environment(_));
    let problem = match wrong.split_once(": ") {
        _ if quiet => "the value is not one that it takes".to_owned(),
        Some(("invalid value" | "invalid type", what)) => format!("{what} is not one that it takes"),
        _ => wrong.to_owned(),
    };
    // A number's limits stand in the schema; other types say in their own words what they take.
    let instead = match expected {
        Some(expected) if expected.contains(' ') => format!("write {expected}"),
        _ => shape.map(|shape| format!("write {}", shape.describe())).unwrap_or_default(),
    };
    (problem, instead)
}

#[cfg(test)]
mod tests;
