//! A value stays in its place. Follows what a template writes, so that each value is escaped for the very spot
//! where it lands: inside or outside of a JSON string, in the path of an address or behind it.
//!
//! The spot is known from the output, not from the template's source: it holds through conditions and loops.
//! A block that is captured (`{% set %}`, `{% macro %}`, `{% filter %}`) is a text; it is escaped where it is written.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Kwargs, Object, ObjectRepr};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::address::holds_dot_segment;

/// RFC 3986: everything but unreserved characters, so that a value is one segment or one query component.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What `|safe` means in an address: several segments, and still nothing else.
const SEGMENTS: &AsciiSet = &SEGMENT.remove(b'/');

/// `|tojson` gives a whole JSON value, which has no place inside a string.
const TOJSON_IN_QUOTES: &str = "`|tojson` stands between quotation marks";
/// The backslash would make something else of the value's first character.
const BEHIND_A_BACKSLASH: &str = "a value stands behind a backslash";
/// It would mark captured blocks as safe.
const AUTOESCAPE: &str = "an `autoescape` block stands in it";

/// Whether a body failed for the template's own fault.
pub fn is_refusal(why: &str) -> bool {
    [TOJSON_IN_QUOTES, BEHIND_A_BACKSLASH, AUTOESCAPE].contains(&why)
}

/// What the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    Json,
    Address,
}

/// Where the next character of the output stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// JSON, outside of a string.
    Outside,
    InString,
    /// In a string, behind a backslash of the template.
    AfterBackslash,
    Path,
    Query,
}

impl Spot {
    /// All that matters is ASCII, and no byte of a longer character is.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Outside, b'"') | (Self::AfterBackslash, _) => Self::InString,
            (Self::InString, b'"') => Self::Outside,
            (Self::InString, b'\\') => Self::AfterBackslash,
            (Self::Path, b'?' | b'#') => Self::Query,
            (spot, _) => spot,
        }
    }
}

struct Followed {
    spot: Spot,
    /// Whether the last write came here, and not into a captured block.
    reached: bool,
    /// Why a value was not written.
    refused: Option<&'static str>,
}

/// What a template has written, and where the next value will stand.
#[derive(Clone)]
pub struct Placement(Arc<Mutex<Followed>>);

impl Placement {
    pub fn new(grammar: Grammar) -> Self {
        let spot = match grammar {
            Grammar::Json => Spot::Outside,
            Grammar::Address => Spot::Path,
        };
        Self(Arc::new(Mutex::new(Followed { spot, reached: false, refused: None })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Followed) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the last render gave up, if it was for a value's place.
    pub fn refused(&self) -> Option<&'static str> {
        self.with(|followed| followed.refused)
    }

    /// Makes `environment` escape by place.
    pub fn guard(&self, environment: &mut Environment<'_>) {
        let placement = self.clone();
        environment.set_formatter(move |out, state, value| placement.write(out, state, value));
    }

    fn write(&self, out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
        if !matches!(state.auto_escape(), AutoEscape::None) {
            return Err(self.refuse(AUTOESCAPE));
        }
        let marked = value.downcast_object_ref::<Marked>();
        let Some(spot) = self.spot(out)? else {
            return write!(out, "{value}").map_err(Error::from);
        };
        match (spot, marked) {
            (Spot::Path | Spot::Query, _) => self.write_in_address(out, spot, value),
            (_, Some(Marked::Verbatim(text))) | (Spot::Outside, Some(Marked::Json(text))) => {
                out.write_str(text).map_err(Error::from)
            }
            (_, Some(Marked::Json(_))) => Err(self.refuse(TOJSON_IN_QUOTES)),
            (Spot::Outside, None) => {
                let json = serde_json::to_string(value).map_err(|_| Error::from(ErrorKind::BadSerialization))?;
                out.write_str(&json).map_err(Error::from)
            }
            (Spot::InString, None) => {
                let quoted = serde_json::Value::String(value.to_string()).to_string();
                out.write_str(quoted.get(1..quoted.len() - 1).unwrap_or_default()).map_err(Error::from)
            }
            (Spot::AfterBackslash, None) => Err(self.refuse(BEHIND_A_BACKSLASH)),
        }
    }

    fn write_in_address(&self, out: &mut Output<'_>, spot: Spot, value: &Value) -> Result<(), Error> {
        let text = match value.as_str() {
            Some(text) => text.to_owned(),
            None if value.is_integer() => value.to_string(),
            None if value.is_undefined() => String::new(),
            None => return Err(Error::from(ErrorKind::NonPrimitive)),
        };
        if spot == Spot::Path && holds_dot_segment(&text) {
            return Err(self.refuse("has a dot segment in it"));
        }
        let set = if value.is_safe() { SEGMENTS } else { SEGMENT };
        write!(out, "{}", utf8_percent_encode(&text, set)).map_err(Error::from)
    }

    /// `None`: what is written now is captured.
    fn spot(&self, out: &mut Output<'_>) -> Result<Option<Spot>, Error> {
        self.with(|followed| followed.reached = false);
        // An empty write shows where writes go.
        out.write_str("")?;
        Ok(self.with(|followed| followed.reached.then_some(followed.spot)))
    }

    fn refuse(&self, why: &'static str) -> Error {
        self.with(|followed| followed.refused = Some(why));
        Error::new(ErrorKind::InvalidOperation, why)
    }
}

/// Takes what a template writes and follows it.
pub struct Follower {
    pub text: Vec<u8>,
    placement: Placement,
}

impl Follower {
    pub fn new(placement: Placement) -> Self {
        Self { text: Vec::new(), placement }
    }
}

impl io::Write for &mut Follower {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.placement.with(|followed| {
            followed.reached = true;
            followed.spot = bytes.iter().fold(followed.spot, |spot, byte| spot.after(*byte));
        });
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a filter has made ready to be written. Joined with anything else it is an ordinary text again.
#[derive(Debug)]
enum Marked {
    /// By `|tojson`: a JSON value.
    Json(String),
    /// By `|safe`: whatever it is.
    Verbatim(String),
}

impl Object for Marked {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Json(text) | Self::Verbatim(text)) = &**self;
        f.write_str(text)
    }
}

/// The filters whose results may be written as they are.
pub fn add_filters(environment: &mut Environment<'_>) {
    environment.add_filter("tojson", |value: &Value, indent: Option<Value>, options: Kwargs| {
        let json = minijinja::filters::tojson(value, indent, options)?;
        Ok::<_, Error>(Value::from_object(Marked::Json(json.to_string())))
    });
    environment.add_filter("safe", |text: String| Value::from_object(Marked::Verbatim(text)));
}
