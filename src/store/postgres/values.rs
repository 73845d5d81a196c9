//! Values of statements with the types that they have there, and columns of rows.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::domain::clock::Timestamp;
use crate::store::Result;
use crate::store::column::corrupt;
use crate::store::sql;

/// A value of a statement.
pub(super) enum Param<'p> {
    Text(Option<Cow<'p, str>>),
    Int(Option<i64>),
    Bool(bool),
    Bytes(&'p [u8]),
    Texts(Vec<Option<Cow<'p, str>>>),
    Ints(Vec<Option<i64>>),
    Bools(Vec<bool>),
    Blobs(Vec<Vec<u8>>),
}

impl Param<'_> {
    pub(super) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Text(value) => (value, Type::TEXT),
            Self::Int(value) => (value, Type::INT8),
            Self::Bool(value) => (value, Type::BOOL),
            Self::Bytes(value) => (value, Type::BYTEA),
            Self::Texts(values) => (values, Type::TEXT_ARRAY),
            Self::Ints(values) => (values, Type::INT8_ARRAY),
            Self::Bools(values) => (values, Type::BOOL_ARRAY),
            Self::Blobs(values) => (values, Type::BYTEA_ARRAY),
        }
    }
}

/// PostgreSQL's text can't hold U+0000; nobody can see one.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

impl<'p> From<sql::Param<'p>> for Param<'p> {
    fn from(value: sql::Param<'p>) -> Self {
        match value {
            sql::Param::Text(Some(Cow::Owned(value))) if value.contains('\0') => {
                Self::Text(Some(Cow::Owned(text(&value).into_owned())))
            }
            sql::Param::Text(Some(Cow::Borrowed(value))) => Self::Text(Some(text(value))),
            sql::Param::Text(value) => Self::Text(value),
            sql::Param::Int(value) => Self::Int(value),
            sql::Param::Bool(value) => Self::Bool(value),
        }
    }
}

impl<'p> From<&'p sql::Param<'p>> for Param<'p> {
    fn from(value: &'p sql::Param<'p>) -> Self {
        match value {
            sql::Param::Text(value) => Self::Text(value.as_deref().map(text)),
            sql::Param::Int(value) => Self::Int(*value),
            sql::Param::Bool(value) => Self::Bool(*value),
        }
    }
}

impl Param<'_> {
    /// For a statement that runs later.
    pub(super) fn owned(value: &sql::Param<'_>) -> Param<'static> {
        match value {
            sql::Param::Text(value) => Param::Text(value.as_deref().map(|value| Cow::Owned(text(value).into_owned()))),
            sql::Param::Int(value) => Param::Int(*value),
            sql::Param::Bool(value) => Param::Bool(*value),
        }
    }
}

/// What the steps of every store may give as a value, given to a statement of this one.
macro_rules! as_in_steps {
    ($($value:ty),* $(,)?) => {
        $(impl<'p> From<$value> for Param<'p> {
            fn from(value: $value) -> Self {
                sql::Param::from(value).into()
            }
        })*
    };
}
as_in_steps! {
    &'p str,
    &'p String,
    String,
    Option<String>,
    Option<&'p str>,
    i64,
    u32,
    Option<i64>,
    Timestamp,
    Option<Timestamp>,
    bool,
}

impl<'p> From<&'p [u8]> for Param<'p> {
    fn from(value: &'p [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl From<Vec<Vec<u8>>> for Param<'_> {
    fn from(values: Vec<Vec<u8>>) -> Self {
        Self::Blobs(values)
    }
}

impl From<Vec<bool>> for Param<'_> {
    fn from(values: Vec<bool>) -> Self {
        Self::Bools(values)
    }
}

pub(super) fn texts<'p>(values: impl IntoIterator<Item = &'p str>) -> Param<'p> {
    Param::Texts(values.into_iter().map(|value| Some(text(value))).collect())
}

pub(super) fn optional_texts<'p>(values: impl IntoIterator<Item = Option<&'p str>>) -> Param<'p> {
    Param::Texts(values.into_iter().map(|value| value.map(text)).collect())
}

pub(super) fn ints<'p, N: Into<Option<i64>>>(values: impl IntoIterator<Item = N>) -> Param<'p> {
    Param::Ints(values.into_iter().map(Into::into).collect())
}

macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::store::postgres::values::Param::from($value)),*] };
}
pub(super) use params;

pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|_| corrupt("a column doesn't hold what it should"))
}

impl sql::Row for Row {
    fn text(&self, column: usize) -> Result<&str> {
        get(self, column)
    }

    fn optional_text(&self, column: usize) -> Result<Option<&str>> {
        get(self, column)
    }

    fn int(&self, column: usize) -> Result<i64> {
        get(self, column)
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>> {
        get(self, column)
    }

    fn flag(&self, column: usize) -> Result<bool> {
        get(self, column)
    }
}
