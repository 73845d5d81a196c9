//! `fini-bridge export`

use super::Outcome;

#[derive(clap::Args)]
pub struct Arguments {}

pub async fn run(_: Arguments) -> Outcome {
    Ok(())
}
