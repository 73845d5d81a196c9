//! stub

use std::sync::Arc;

use super::{Common, Platform, Surroundings};
use crate::domain::problem::Problem;

/// `[channels.NAME]` with `platform = "custom"`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
pub struct Config {}

pub fn build(_: &Config, _: &Common, _: &Surroundings) -> Result<Arc<dyn Platform>, Vec<Problem>> {
    Err(Vec::new())
}

pub fn warnings(_: &Config) -> Vec<Problem> {
    Vec::new()
}
