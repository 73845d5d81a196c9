//! `fini-bridge secret`

use super::Outcome;

#[derive(clap::Args)]
pub struct Arguments {}

pub fn run(_: Arguments) -> Outcome {
    Ok(())
}
