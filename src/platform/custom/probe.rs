//! A value that answers every path: what a template does with values it can be shown before any are there.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, State, Value};

/// Which way a template's conditions and loops go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Conditions hold, lists have an element.
    Taken,
    /// Conditions don't hold, lists are empty.
    Skipped,
}

/// Has every attribute, item and method, each a probe again; as a text it is `text`.
#[derive(Debug)]
pub struct Probe {
    text: &'static str,
    branch: Branch,
    /// Lists within lists. Whatever walks over all of them must come to an end.
    depth: u8,
}

const DEPTH: u8 = 3;

impl Probe {
    pub fn value(text: &'static str, branch: Branch) -> Value {
        Value::from_object(Self { text, branch, depth: DEPTH })
    }

    fn member(&self) -> Value {
        Value::from_object(Self { text: self.text, branch: self.branch, depth: self.depth })
    }
}

impl Object for Probe {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(self.member())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match (self.branch, self.depth.checked_sub(1)) {
            (Branch::Taken, Some(depth)) => {
                Enumerator::Values(vec![Value::from_object(Self { text: self.text, branch: self.branch, depth })])
            }
            _ => Enumerator::Empty,
        }
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.branch == Branch::Taken
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Value]) -> Result<Value, Error> {
        Ok(self.member())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, _: &str, _: &[Value]) -> Result<Value, Error> {
        Ok(self.member())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}
