//! `fini-bridge sandbox`

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use super::Outcome;
use super::logging::{self, Logging};
use crate::app::sandbox::Sandbox;
use crate::app::sandbox::fini::SimulatorConfig;
use crate::app::settings;

/// Try it without an account, a configuration or a network: a chat page, and a simulated Fini that answers
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge sandbox
  fini-bridge sandbox --port 0
  fini-bridge sandbox --fini 127.0.0.1:8585

The simulated Fini takes calls from your own `fini-bridge serve` too: its address, key and bot id are printed. With
--fini the address stays the same from run to run.

What it keeps lies in a temporary folder and is gone when it ends.")]
pub struct Arguments {
    /// The page's port on 127.0.0.1; 0: any free one
    #[arg(long, default_value_t = 8484)]
    port: u16,
    /// Where the simulated Fini listens: an address of this machine only; port 0: any free one
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), hide_default_value = true, value_parser = loopback)]
    fini: SocketAddr,
    /// error, warn, info, debug or trace
    #[arg(long, env = "FINI_BRIDGE_LOG", default_value = "warn", value_name = "LEVEL")]
    log: LevelFilter,
}

pub async fn run(arguments: Arguments) -> Outcome {
    logging::start(&Logging::at(arguments.log));
    let mut interrupt = signal(SignalKind::interrupt()).context("signals can't be received")?;
    let mut terminate = signal(SignalKind::terminate()).context("signals can't be received")?;
    let unused = unused_variables();
    if !unused.is_empty() {
        eprintln!("not used by the sandbox: {}; `fini-bridge serve` reads them", unused.join(", "));
    }
    let sandbox = Sandbox::start(arguments.port, arguments.fini).await?;
    println!("The gateway runs, with a simulated Fini behind it. Nothing leaves this machine; Ctrl-C ends it.");
    println!();
    println!("To try your own configuration on the simulated Fini, run in another terminal:");
    println!("  export FINI_BRIDGE__FINI__BASE_URL={}", sandbox.fini_url());
    println!("  export FINI_BRIDGE__FINI__API_KEY=env:FINI_API_KEY");
    println!("  export FINI_API_KEY={}", SimulatorConfig::KEY);
    println!("  fini-bridge serve");
    println!("with one of its agents in your channel:");
    println!("  bot_id = \"{}\"     # Support", SimulatorConfig::SUPPORT);
    println!("  bot_id = \"{}\"     # Billing", SimulatorConfig::BILLING);
    println!();
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

/// Answers nobody but this machine: what is written to a simulator is for no one else.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write it as 127.0.0.1:8585".to_owned())?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("the simulated Fini listens on this machine only: write it as 127.0.0.1:8585".to_owned()),
    }
}

/// The names of variables that mean something to `serve`. The sandbox has a configuration of its own.
fn unused_variables() -> Vec<String> {
    let is_meant_for_serve = |name: &String| name == "FINI_API_KEY" || name.starts_with("FINI_BRIDGE__");
    settings::read_environment().into_keys().filter(is_meant_for_serve).collect()
}
