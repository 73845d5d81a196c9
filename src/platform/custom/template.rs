//! Jinja, as a custom channel's keys hold it: compiled when the configuration is read, strict about what
//! is undefined, bounded in time. An error says which key failed and how, never what the data was.

use std::collections::BTreeSet;
use std::fmt;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use super::placement::{self, Follower, Grammar, Placement};
use crate::domain::problem::Problem;

/// Instructions of one evaluation: far more than a mapping needs, and over within milliseconds.
const FUEL: u64 = 100_000;

/// The one template that an environment of ours holds.
const SOURCE: &str = "source";
/// The name under which an expression leaves its value.
const RESULT: &str = "result__";

/// An evaluation that gave nothing usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Failed {
    pub key: &'static str,
    /// A word or two: `undefined`, `a list`.
    pub why: String,
}

impl Failed {
    pub fn new(key: &'static str, why: impl fmt::Display) -> Self {
        Self { key, why: why.to_string() }
    }

    fn of(key: &'static str, error: &minijinja::Error) -> Self {
        // The error's own detail may quote the data.
        match error.kind() {
            ErrorKind::UndefinedError => Self::new(key, UNDEFINED),
            kind => Self::new(key, kind),
        }
    }

    pub fn is_undefined(&self) -> bool {
        self.why == UNDEFINED
    }
}

const UNDEFINED: &str = "undefined";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Text,
    /// Every value is escaped for the place where it lands.
    Placed(Grammar),
    /// Values stand inside the strings of a JSON text.
    JsonStrings,
}

fn environment(undefined: UndefinedBehavior, output: Output) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(undefined);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_fuel(Some(FUEL));
    // Its errors carry the variables along.
    env.set_debug(false);
    match output {
        Output::Text | Output::Placed(Grammar::Address) => {}
        Output::Placed(Grammar::Json) => placement::add_filters(&mut env),
        Output::JsonStrings => env.set_formatter(|out, _, value| {
            let text = value.to_string();
            if value.is_safe() {
                return out.write_str(&text).map_err(minijinja::Error::from);
            }
            let quoted = serde_json::Value::String(text).to_string();
            out.write_str(quoted.get(1..quoted.len() - 1).unwrap_or_default()).map_err(minijinja::Error::from)
        }),
    }
    env
}

/// Compiles, and finds what Jinja itself would only find on the first message: names that are not there,
/// filters and tests that don't exist.
fn compile(
    key: &'static str,
    source: String,
    names: &[&str],
    output: Output,
) -> Result<(Environment<'static>, BTreeSet<String>), Problem> {
    let mut probe = environment(UndefinedBehavior::Chainable, output);
    let mut env = environment(UndefinedBehavior::Strict, output);
    let globals: BTreeSet<String> = env.globals().map(|(name, _)| name.to_owned()).collect();
    env.add_template_owned(SOURCE, source.clone()).map_err(|error| problem(key, &error))?;
    let uses: BTreeSet<String> = match env.get_template(SOURCE) {
        Ok(template) => template.undeclared_variables(false).into_iter().filter(|n| !globals.contains(n)).collect(),
        Err(error) => return Err(problem(key, &error)),
    };
    if let Some(unknown) = uses.iter().find(|name| !names.contains(&name.as_str())) {
        let near =
            names.iter().max_by(|a, b| strsim::jaro_winkler(a, unknown).total_cmp(&strsim::jaro_winkler(b, unknown)));
        let near = near.filter(|near| strsim::jaro_winkler(near, unknown) > 0.7);
        let hint = near.map(|near| format!("`{near}`, ")).unwrap_or_default();
        return Err(Problem::new(
            key,
            format!("there is no `{unknown}` here"),
            format!("{hint}one of: {}", names.join(", ")),
        ));
    }
    if probe.add_template_owned(SOURCE, source).is_ok()
        && let Err(error) = probe.get_template(SOURCE).and_then(|template| template.render(()))
        && matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction)
    {
        return Err(problem(key, &error));
    }
    Ok((env, uses))
}

/// The filters that there are.
pub const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
    "zip",
];

fn problem(key: &'static str, error: &minijinja::Error) -> Problem {
    // No data was there yet: the detail quotes the configuration only.
    let line = error.line().map(|line| format!(" (line {line} of the value)")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let instead = match error.kind() {
        ErrorKind::UnknownFilter => format!("one of: {}", FILTERS.join(", ")),
        _ => "a Jinja expression or template that compiles".to_owned(),
    };
    Problem::new(key, format!("{}{detail}{line}", error.kind()), instead)
}

/// A Jinja expression.
pub struct Expression {
    key: &'static str,
    env: Environment<'static>,
}

impl Expression {
    pub fn compile(key: &'static str, source: &str, names: &[&str]) -> Result<Self, Problem> {
        // By itself first: `{% set %}` would take more than one expression.
        Environment::new().compile_expression(source).map_err(|error| {
            let tagged = source.contains("{{") || source.trim_start().starts_with("{%");
            match tagged {
                true => Problem::new(key, "is a template, and an expression goes here", "an expression, without {{ }}"),
                false => problem(key, &error),
            }
        })?;
        let (env, _) = compile(key, format!("{{% set {RESULT} = ({source}\n) %}}"), names, Output::Text)?;
        Ok(Self { key, env })
    }

    /// The value; never an undefined one.
    pub fn eval(&self, variables: &Value) -> Result<Value, Failed> {
        let value = self
            .env
            .get_template(SOURCE)
            .and_then(|template| template.render_captured(variables.clone()))
            .map(|captured| captured.state().lookup(RESULT).unwrap_or(Value::UNDEFINED))
            .map_err(|error| Failed::of(self.key, &error))?;
        if value.is_undefined() { Err(Failed::new(self.key, UNDEFINED)) } else { Ok(value) }
    }

    pub fn key(&self) -> &'static str {
        self.key
    }
}

/// A Jinja template whose result is a text, an address or a JSON text.
pub struct Template {
    key: &'static str,
    env: Environment<'static>,
    uses: BTreeSet<String>,
    output: Output,
}

impl Template {
    pub fn text(key: &'static str, source: &str, names: &[&str]) -> Result<Self, Problem> {
        Self::compile(key, source, names, Output::Text)
    }

    /// Every value is percent-encoded by itself, as one segment; `|safe` leaves `/` alone.
    pub fn address(key: &'static str, source: &str, names: &[&str]) -> Result<Self, Problem> {
        Self::compile(key, source, names, Output::Placed(Grammar::Address))
    }

    /// Between quotes a value is escaped, elsewhere it is written as JSON; `|safe` writes it as it is.
    pub fn json(key: &'static str, source: &str, names: &[&str]) -> Result<Self, Problem> {
        Self::compile(key, source, names, Output::Placed(Grammar::Json))
    }

    /// Every value is escaped for the inside of a JSON string.
    pub fn json_strings(key: &'static str, source: &str, names: &[&str]) -> Result<Self, Problem> {
        Self::compile(key, source, names, Output::JsonStrings)
    }

    fn compile(key: &'static str, source: &str, names: &[&str], output: Output) -> Result<Self, Problem> {
        let (env, uses) = compile(key, source.to_owned(), names, output)?;
        Ok(Self { key, env, uses, output })
    }

    pub fn render(&self, variables: &Value) -> Result<String, Failed> {
        let Output::Placed(grammar) = self.output else {
            let rendered = self.env.get_template(SOURCE).and_then(|template| template.render(variables.clone()));
            return rendered.map_err(|error| Failed::of(self.key, &error));
        };
        let placement = Placement::new(grammar);
        // The formatter belongs to this one render: it knows what has been written so far.
        let mut env = self.env.clone();
        placement.guard(&mut env);
        let mut follower = Follower::new(placement.clone());
        let rendered = env
            .get_template(SOURCE)
            .and_then(|template| template.render_captured_to(variables.clone(), &mut follower).map(|_| ()));
        match (rendered, placement.refused()) {
            (_, Some(why)) => Err(Failed::new(self.key, why)),
            (Err(error), None) => Err(Failed::of(self.key, &error)),
            (Ok(()), None) => String::from_utf8(follower.text).map_err(|_| Failed::new(self.key, "is not UTF-8")),
        }
    }

    pub fn uses(&self, name: &str) -> bool {
        self.uses.contains(name)
    }
}

/// JSON as Jinja sees it. Integers stay exact.
pub fn value_of(json: &serde_json::Value) -> Value {
    Value::from(minijinja::value::Serde(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn eval(source: &str, data: serde_json::Value) -> Result<Value, Failed> {
        let expression = Expression::compile("inbound.id", source, &["item"]).map_err(|p| p.problem).unwrap();
        expression.eval(&value_of(&json!({ "item": data })))
    }

    fn problem_of(source: &str) -> Problem {
        Expression::compile("inbound.id", source, &["item", "body"]).err().expect("a problem")
    }

    #[test]
    fn integers_keep_every_digit() {
        let ids = json!({ "big": u64::MAX, "small": i64::MIN, "snowflake": 1_234_567_890_123_456_789_u64 });
        assert_eq!(eval("item.big", ids.clone()).unwrap().to_string(), u64::MAX.to_string());
        assert_eq!(eval("item.small", ids.clone()).unwrap().to_string(), i64::MIN.to_string());
        assert_eq!(eval("item.snowflake", ids).unwrap().to_string(), "1234567890123456789");
    }

    #[test]
    fn what_is_undefined_is_an_error_that_names_the_key() {
        for source in ["item.a", "item.a.b", "item.a|upper", "item.a ~ 'x' if item.a else 'y'"] {
            let failed = eval(source, json!({})).err();
            assert_eq!(failed.map(|f| f.to_string()).as_deref(), Some("inbound.id: undefined"), "{source}");
        }
        assert_eq!(eval("item.a|default('b')", json!({})).unwrap().to_string(), "b");
        assert!(eval("item.a is undefined", json!({})).unwrap().is_true());
    }

    #[test]
    fn an_error_never_quotes_the_data() {
        let failed = eval("item.a|int", json!({ "a": "4111 1111 1111 1111" })).unwrap_err();
        assert!(!failed.to_string().contains("4111"), "{failed}");
    }

    #[test]
    fn python_string_methods_are_there() {
        assert_eq!(eval("item.a.split('|')[1].upper()", json!({ "a": "x|y" })).unwrap().to_string(), "Y");
    }

    #[test]
    fn a_template_can_not_run_for_ever() {
        let source = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
        assert!(
            Template::text("reply.body", source, &[])
                .map_err(|p| p.problem)
                .unwrap()
                .render(&Value::UNDEFINED)
                .is_err()
        );
    }

    #[test]
    fn the_filters_that_an_error_names_exist() {
        for filter in FILTERS {
            let compiled = Expression::compile("inbound.id", &format!("item|{filter}"), &["item"]);
            assert!(compiled.is_ok(), "{filter}");
        }
        let unknown = problem_of("item.id|striptags");
        assert!(
            unknown.problem.contains("striptags") && unknown.instead.contains("trim, unique, upper"),
            "{unknown:?}"
        );
    }

    #[test]
    fn a_template_in_an_expressions_place_is_told_so() {
        for source in ["{{ item.id }}", " {{item.id}} ", "{% if item %}1{% endif %}"] {
            assert_eq!(problem_of(source).instead, "an expression, without {{ }}", "{source}");
        }
        assert!(eval("{'a': {'b': item.id}}", json!({ "id": 1 })).is_ok());
    }

    #[test]
    fn mistakes_are_found_when_the_configuration_is_read() {
        assert!(problem_of("item.").problem.contains("syntax error"));
        assert!(problem_of("items.id").instead.starts_with("`item`"));
        assert!(problem_of("item.id|lowr").problem.contains("unknown filter"));
        assert!(problem_of("item.id is strng").problem.contains("unknown test"));
        assert!(problem_of("item.id) %}{% set x = (1").problem.contains("syntax error"));
        let body = Template::text("reply.body", "{\n{{ text", &["text"]).err().unwrap();
        assert!(body.problem.contains("line 2"), "{}", body.problem);
    }
}
