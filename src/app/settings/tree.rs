//! The configuration as it was written, each value with its place. Knows no key and no rule.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::problems::{Finding, Place};
use crate::domain::problem::Problem;

/// Where a secret's text came from. Shown in the table instead of the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    Variable(String),
    File(String),
    Literal,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// A number, a truth value or a date; `kind` in the words of JSON Schema.
    Scalar {
        kind: &'static str,
        json: serde_json::Value,
    },
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

/// A value; `place` is its key's, in a list its own.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
    /// Set once a secret is in its place.
    pub hidden: Option<Hidden>,
}

impl Node {
    pub fn new(place: Place, value: Value) -> Self {
        Self { place, value, hidden: None }
    }

    /// In the words of JSON Schema.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "string",
            Value::Scalar { kind, .. } => kind,
            Value::List(_) => "array",
            Value::Table(_) => "object",
        }
    }

    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub fn table(&self) -> Option<&BTreeMap<String, Node>> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }

    pub fn table_mut(&mut self) -> Option<&mut BTreeMap<String, Node>> {
        if let Value::Table(table) = &mut self.value { Some(table) } else { None }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.table()?.get(key)
    }

    fn step(&self, step: &Step) -> Option<&Node> {
        match (step, &self.value) {
            (Step::Key(key), Value::Table(table)) => table.get(key),
            (Step::Index(index), Value::List(list)) => list.get(*index),
            _ => None,
        }
    }

    /// What stands at the path, or the nearest thing around it.
    pub fn around(&self, path: &Path) -> &Node {
        let mut at = self;
        for step in &path.0 {
            let Some(next) = at.step(step) else { break };
            at = next;
        }
        at
    }

    pub fn at_mut(&mut self, path: &[Step]) -> Option<&mut Node> {
        let mut at = self;
        for step in path {
            at = match (step, &mut at.value) {
                (Step::Key(key), Value::Table(table)) => table.get_mut(key)?,
                (Step::Index(index), Value::List(list)) => list.get_mut(*index)?,
                _ => return None,
            };
        }
        Some(at)
    }

    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text(text) => text.clone().into(),
            Value::Scalar { json, .. } => json.clone(),
            Value::List(list) => list.iter().map(Node::json).collect(),
            Value::Table(table) => {
                serde_json::Value::Object(table.iter().map(|(key, node)| (key.clone(), node.json())).collect())
            }
        }
    }

    /// Is, or holds, a secret.
    pub fn holds_a_secret(&self) -> bool {
        self.hidden.is_some()
            || match &self.value {
                Value::List(list) => list.iter().any(Node::holds_a_secret),
                Value::Table(table) => table.values().any(Node::holds_a_secret),
                _ => false,
            }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// `channels.shop.bots[0].bot_id`
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(pub Vec<Step>);

impl Path {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let (key, indices) = part.split_once('[').unwrap_or((part, ""));
            if !key.is_empty() {
                steps.push(Step::Key(key.to_owned()));
            }
            steps.extend(indices.split(['[', ']']).filter_map(|index| index.parse().ok()).map(Step::Index));
        }
        Self(steps)
    }

    pub fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    pub fn join(&self, further: &Path) -> Self {
        Self(self.0.iter().chain(&further.0).cloned().collect())
    }

    pub fn starts_with(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if count == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Offsets into a file as lines and columns.
struct Lines<'t> {
    path: Arc<FilePath>,
    text: &'t str,
}

impl Lines<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Place::File { path: Arc::clone(&self.path), line, column }
    }

    fn node(&self, value: &DeValue<'_>, place: Place) -> Node {
        node(value, place, &|offset| self.place(offset))
    }
}

fn node(value: &DeValue<'_>, place: Place, at: &dyn Fn(usize) -> Place) -> Node {
    let scalar = |kind, json| Value::Scalar { kind, json };
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(yes) => scalar("boolean", (*yes).into()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => scalar("integer", number.into()),
            // Beyond what TOML asks for: kept as a number that no key takes.
            Err(_) => scalar("number", f64::MAX.into()),
        },
        DeValue::Float(number) => scalar("number", number.as_str().parse::<f64>().unwrap_or_default().into()),
        DeValue::Datetime(date) => scalar("date", date.to_string().into()),
        DeValue::Array(list) => {
            Value::List(list.iter().map(|element| node(element.get_ref(), at(element.span().start), at)).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), node(value.get_ref(), at(key.span().start), at)))
                .collect(),
        ),
    };
    Node::new(place, value)
}

/// The file as a tree, or the one syntax error.
pub(super) fn parse(path: &FilePath, text: &str) -> Result<Node, Finding> {
    let lines = Lines { path: path.into(), text };
    let place = Place::File { path: path.into(), line: 0, column: 0 };
    let (table, errors) = DeTable::parse_recoverable(text);
    // The first one: what follows is often only its consequence.
    let first = errors.into_iter().min_by_key(|error| error.span().map_or(usize::MAX, |span| span.start));
    let Some(error) = first else { return Ok(lines.node(&DeValue::Table(table.into_inner()), place)) };
    let place = error.span().map_or(place, |span| lines.place(span.start));
    let line = place.line().and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
    let problem = match unquoted(line) {
        Some(key) => {
            let problem = "this is not TOML: a text needs quotation marks";
            Problem::new("", problem, format!("write {key} = \"…\""))
        }
        None => Problem::new("", format!("this is not TOML: {}", error.message()), "mend this line first"),
    };
    Err(Finding::new(place, problem))
}

/// The key in a line whose value is a text without its quotation marks. The value may be a secret: it isn't shown.
fn unquoted(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"');
    let is_key = !key.is_empty() && key.chars().all(bare);
    let starts_like_text = value.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | ':' | '$' | '*'));
    (is_key && starts_like_text && parse_value(value, &Place::Environment(Arc::from(""))).is_none()).then_some(key)
}

/// One value in TOML, as a variable of the environment holds it.
pub(super) fn parse_value(text: &str, place: &Place) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    Some(node(value.get_ref(), place.clone(), &|_| place.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, key: &str) -> String {
        parse(FilePath::new("a.toml"), text).unwrap().around(&Path::parse(key)).place.to_string()
    }

    #[test]
    fn each_key_knows_its_line_and_column() {
        let text =
            "[server]\n  listen = 'ö'\n[channels.a-b]\nbots = [\n  { chat = 'ä', bot_id = 'x' },\n  { chat = 'b' }]\n";
        assert_eq!(place(text, "server.listen"), "a.toml:2:3");
        assert_eq!(place(text, "channels.a-b"), "a.toml:3:11");
        assert_eq!(place(text, "channels.a-b.bots[0].bot_id"), "a.toml:5:17");
        assert_eq!(place(text, "channels.a-b.bots[1].bot_id"), "a.toml:6:3");
        assert_eq!(place(text, "metrics.listen"), "a.toml");
    }

    #[test]
    fn a_path_reads_what_it_writes() {
        for text in ["server.listen", "channels.a.bots[0].bot_id", "a[1][2].b"] {
            assert_eq!(Path::parse(text).to_string(), text);
        }
    }

    #[test]
    fn a_text_without_quotation_marks_is_told_so_and_not_shown() {
        for value in [
            "telegram",
            "https://bridge.example.com",
            "0.0.0.0:8080",
            "env:SECRET # x",
            "/etc/key",
            "30d",
            "Fini is great",
        ] {
            let error = parse(FilePath::new("a.toml"), &format!("[channels.a]\nplatform = {value}\n")).unwrap_err();
            assert_eq!(
                (error.place.line(), error.problem.as_str()),
                (Some(2), "this is not TOML: a text needs quotation marks"),
                "{value}"
            );
            assert_eq!(error.instead, "write platform = \"…\"");
        }
        for other in ["platform = \"a", "platform = [a]", "platform", "[a = b", "platform = {", "platform = \"a\" b"] {
            assert!(
                parse(FilePath::new("a.toml"), other).unwrap_err().problem
                    != "this is not TOML: a text needs quotation marks",
                "{other}"
            );
        }
    }

    #[test]
    fn a_syntax_error_is_one_problem_with_its_line() {
        let error = parse(FilePath::new("a.toml"), "[server]\nlisten = \n").unwrap_err();
        assert_eq!(error.place.line(), Some(2));
    }
}
