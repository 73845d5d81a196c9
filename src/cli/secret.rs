//! `fini-bridge secret`

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Outcome;

/// Make a good secret
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    New(New),
}

/// Print a new secret: 32 random bytes
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge secret new                        # for Telegram's secret_token, an HMAC, a token
  fini-bridge secret new --standard-webhooks    # for the bridge's own protocol
  fini-bridge secret new > shop.secret          # then: secret = \"file:shop.secret\"")]
struct New {
    /// As Standard Webhooks writes it: whsec_ and base64
    #[arg(long)]
    standard_webhooks: bool,
}

pub fn run(arguments: Arguments) -> Outcome {
    let Command::New(New { standard_webhooks }) = arguments.command;
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).context("the system gives no random bytes")?;
    if standard_webhooks {
        println!("whsec_{}", STANDARD.encode(secret));
    } else {
        println!("{}", hex::encode(secret));
    }
    Ok(())
}
