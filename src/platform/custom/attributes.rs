//! `inbound.user_attributes`: what Fini is told about the user.

use minijinja::Value;
use serde_json::{Map, Value as Json};

use super::inbound::{NAMES, json_of, named};
use super::template::{Expression, Failed};
use crate::domain::problem::Problem;

/// A member whose value is undefined is left out, and only that member: so where the
/// expression is a dict, each value is an expression of its own.
pub enum Attributes {
    Members(Vec<(Expression, Expression)>),
    Whole(Box<Expression>),
}

const ATTRIBUTES: &str = "inbound.user_attributes";

impl Attributes {
    pub fn compile(source: &str) -> Result<Self, Problem> {
        let whole = Expression::compile(ATTRIBUTES, source, NAMES)?;
        let Some(members) = members_of(source) else { return Ok(Self::Whole(Box::new(whole))) };
        let compile = |source| Expression::compile(ATTRIBUTES, source, NAMES);
        let members = members.into_iter().map(|(key, value)| Ok((compile(key)?, compile(value)?)));
        Ok(members.collect::<Result<Vec<_>, Problem>>().map_or_else(|_| Self::Whole(Box::new(whole)), Self::Members))
    }

    pub fn eval(&self, variables: &Value) -> Result<Map<String, Json>, Failed> {
        match self {
            Self::Members(members) => {
                let mut map = Map::new();
                for (key, value) in members {
                    let value = match value.eval(variables) {
                        Ok(value) => value,
                        Err(failed) if failed.is_undefined() => continue,
                        Err(failed) => return Err(failed),
                    };
                    let key = key.eval(variables)?;
                    let key = key.as_str().ok_or_else(|| Failed::new(ATTRIBUTES, "a name that is no string"))?;
                    if let Some(value) = json_of(&value) {
                        map.insert(key.to_owned(), value);
                    }
                }
                Ok(map)
            }
            Self::Whole(expression) => match expression.eval(variables) {
                Ok(value) if value.is_none() => Ok(Map::new()),
                Ok(value) => match json_of(&value) {
                    Some(Json::Object(map)) => Ok(map),
                    _ => Err(Failed::new(ATTRIBUTES, named(&value))),
                },
                Err(failed) if failed.is_undefined() => Ok(Map::new()),
                Err(failed) => Err(failed),
            },
        }
    }
}

/// The keys and values of a dict literal; `None` where the source is something else.
fn members_of(source: &str) -> Option<Vec<(&str, &str)>> {
    let inner = source.trim().strip_prefix('{')?;
    let mut members = Vec::new();
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    let (mut start, mut colon) = (0, None);
    for (at, c) in inner.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, '}') if depth == 0 => {
                if !inner.get(at + 1..)?.is_empty() {
                    return None;
                }
                if let Some(colon) = colon {
                    members.push((inner.get(start..colon)?, inner.get(colon + 1..at)?));
                }
                return Some(members);
            }
            (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
            (None, ':') if depth == 0 && colon.is_none() => colon = Some(at),
            (None, ',') if depth == 0 => {
                let colon = colon.take()?;
                members.push((inner.get(start..colon)?, inner.get(colon + 1..at)?));
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}
