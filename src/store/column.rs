//! Domain types in columns, the same in every store.

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{MessageState, Result, StoreError, WorkKind};
use crate::domain::clock::Timestamp;
use crate::domain::message::{ReplyKind, Role};

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|_| corrupt("a value can't be written as JSON"))
}

/// serde's own error would quote the value.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| corrupt("a column doesn't hold the JSON that it should"))
}

pub(super) fn parsed<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| corrupt("a column doesn't hold the id that it should"))
}

pub(super) fn moment(millis: Option<i64>) -> Option<Timestamp> {
    millis.map(Timestamp::from_millis)
}

pub(super) fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) const fn work(work: WorkKind) -> &'static str {
    match work {
        WorkKind::Turns => "turns",
        WorkKind::Deliveries => "deliveries",
    }
}

pub(super) fn role(text: &str) -> Result<Role> {
    [Role::User, Role::Agent, Role::OtherBot]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| corrupt("an unknown role"))
}

pub(super) fn kind(text: &str) -> Result<ReplyKind> {
    [ReplyKind::Message, ReplyKind::NoReply, ReplyKind::Handoff, ReplyKind::Failed]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| corrupt("an unknown kind of reply"))
}

pub(super) fn state(text: &str) -> Result<MessageState> {
    use MessageState::{Answered, Asking, Done, Dropped, Failed, Held, Received};
    [Received, Asking, Answered, Done, Dropped, Failed, Held]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| corrupt("an unknown state of a message"))
}
