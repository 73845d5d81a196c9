//! `fini-bridge schema`

use super::Outcome;
use crate::app::settings;

/// Print the JSON Schema of the configuration, for editors
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge schema > fini-bridge.schema.json

With the Even Better TOML extension or taplo, the first line of the configuration names it:
  #:schema ./fini-bridge.schema.json")]
pub struct Arguments {}

pub fn run(_: Arguments) -> Outcome {
    println!("{:#}", settings::schema());
    Ok(())
}
