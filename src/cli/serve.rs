//! `fini-bridge serve`

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::logging::{self, Logging};
use super::{ConfigPath, Loaded, Outcome, load};
use crate::app::gateway::{Ending, Gateway};

/// Run the gateway
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge serve
  fini-bridge serve --config /etc/fini-bridge.toml --log debug

SIGTERM: not ready for server.lame_duck, then drained; SIGINT drains at once; a second signal ends it now.")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigPath,
    #[command(flatten)]
    logging: Logging,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let Loaded { settings, connectors, http, clock } = load(&arguments.config)?;
    logging::start(&arguments.logging);
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    let mut terminate = signal(SignalKind::terminate()).context("signals can't be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals can't be received")?;
    // It may wait for its store.
    let gateway = tokio::select! {
        started = Gateway::start(&settings, connectors, http, clock) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tracing::info!(
        listen = %gateway.address(),
        admin = %gateway.admin_address(),
        replica = %gateway.replica(),
        channels = settings.channels.len(),
        "serving"
    );
    let ending = tokio::select! {
        _ = terminate.recv() => Ending::LameDuck,
        _ = interrupt.recv() => Ending::Drain,
    };
    tracing::info!("draining");
    tokio::select! {
        () = gateway.stop(ending) => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("ended at once: what was in hand goes on after the next start"),
        _ = interrupt.recv() => tracing::warn!("ended at once: what was in hand goes on after the next start"),
    }
    Ok(())
}
