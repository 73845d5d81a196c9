//! `fini-bridge register`

use anyhow::anyhow;

use super::{ConfigPath, Failure, Outcome, channel, load_quietly};
use crate::platform::{Registration, SendError};

/// Set a channel's webhook at its platform, or print the steps where the platform has no call for it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge register support-telegram
  fini-bridge register support-slack      # prints the steps

The address is server.public_url and /webhooks/CHANNEL. WhatsApp asks it back at once: run the gateway first.")]
pub struct Arguments {
    /// A channel of the configuration
    channel: String,
    #[command(flatten)]
    config: ConfigPath,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let loaded = load_quietly(&arguments.config)?;
    let (name, _, connector) = channel(&loaded, &arguments.channel)?;
    let Some(public_url) = &loaded.settings.server.public_url else {
        return Err(Failure::Usage(format!(
            "{}: server.public_url is missing: a platform must be told where it reaches the gateway\n    → \
             write public_url = \"https://bridge.example.com\" under [server]",
            loaded.settings.source.display()
        )));
    };
    let url = format!("{}/webhooks/{name}", public_url.trim_end_matches('/'));
    match connector.register(&url).await {
        Ok(Registration::Done(what)) => println!("{what}"),
        Ok(Registration::ByHand(steps)) => {
            println!("{} has no call for this. By hand:", connector.name());
            for (at, step) in steps.iter().enumerate() {
                println!("{:>2}. {step}", at + 1);
            }
        }
        Err(error) => {
            let advice = match &error {
                SendError::Credential { .. } => "check the channel's token",
                SendError::Permanent { .. } => "the platform doesn't take this address or these credentials",
                _ => "try again",
            };
            return Err(anyhow!("{name}: {error}; {advice}").into());
        }
    }
    Ok(())
}
