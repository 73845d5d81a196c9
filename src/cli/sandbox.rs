//! `fini-bridge sandbox`

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use super::Outcome;
use super::logging::{self, Logging};
use crate::app::sandbox::Sandbox;

/// Try it without an account, a configuration or a network: a chat page, and a simulated Fini that answers
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge sandbox
  fini-bridge sandbox --port 0

What it keeps lies in a temporary folder and is gone when it ends.")]
pub struct Arguments {
    /// The page's port on 127.0.0.1; 0: any free one
    #[arg(long, default_value_t = 8484)]
    port: u16,
    /// error, warn, info, debug or trace
    #[arg(long, env = "FINI_BRIDGE_LOG", default_value = "warn", value_name = "LEVEL")]
    log: LevelFilter,
}

pub async fn run(arguments: Arguments) -> Outcome {
    logging::start(&Logging::at(arguments.log));
    let mut interrupt = signal(SignalKind::interrupt()).context("signals can't be received")?;
    let mut terminate = signal(SignalKind::terminate()).context("signals can't be received")?;
    let sandbox = Sandbox::start(arguments.port).await?;
    println!("The gateway runs, with a simulated Fini behind it. Nothing leaves this machine; Ctrl-C ends it.");
    println!("Open {}", sandbox.url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::select! {
        () = sandbox.stop() => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
