//! The commands: one file each. This room may print; the others log.

// In this room the standard macros of these names are replaced: theirs panic when the reader of a pipe has gone
// (`fini-bridge schema | head -1`).
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::out(format_args!($($text)*)) };
}
macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::cli::output::err(format_args!("{}\n", format_args!($($text)*))) };
}

mod agents;
mod check;
mod export;
mod health;
mod logging;
mod messages;
mod output;
mod register;
mod sandbox;
mod schema;
mod secret;
mod send;
mod serve;
mod story;
mod workspaces;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::app::gateway::Connectors;
use crate::app::settings::{self, Channel, Finding, Settings};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::id::ChannelName;
use crate::http::Http;
use crate::platform::Platform;

/// A gateway between chat platforms and Fini, an AI agent for customer support.
#[derive(Parser)]
#[command(name = "fini-bridge", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args, Clone)]
struct ConfigPath {
    /// The configuration file
    #[arg(long, global = true, default_value = "config/fini-bridge.toml", value_name = "PATH")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Sandbox(sandbox::Arguments),
    Check(check::Arguments),
    Send(send::Arguments),
    Register(register::Arguments),
    Agents(agents::Arguments),
    Export(export::Arguments),
    Messages(messages::Arguments),
    Secret(secret::Arguments),
    Schema(schema::Arguments),
    Health(health::Arguments),
}

/// How a command failed, by the exit code that says so.
enum Failure {
    /// 1: at run time.
    Run(anyhow::Error),
    /// 2: wrong usage or configuration; the text is complete.
    Usage(String),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

type Outcome = Result<(), Failure>;

pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Sandbox(arguments) => sandbox::run(arguments).await,
            Command::Check(arguments) => check::run(arguments).await,
            Command::Send(arguments) => send::run(arguments).await,
            Command::Register(arguments) => register::run(arguments).await,
            Command::Agents(arguments) => agents::run(arguments).await,
            Command::Export(arguments) => export::run(arguments).await,
            Command::Messages(arguments) => messages::run(arguments).await,
            Command::Secret(arguments) => secret::run(arguments),
            Command::Schema(arguments) => schema::run(arguments),
            Command::Health(arguments) => health::run(arguments).await,
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Run(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(text)) => {
            eprintln!("{}", text.trim_end());
            ExitCode::from(2)
        }
    }
}

/// Everything that a command needs of the configuration.
struct Loaded {
    settings: Settings,
    connectors: Connectors,
    http: Http,
    clock: Arc<dyn Clock>,
}

/// Reads the configuration, or says all that is wrong with it. Warnings go to stderr.
fn load(path: &ConfigPath) -> Result<Loaded, Failure> {
    let (loaded, warnings) = read(path)?;
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    Ok(loaded)
}

/// Likewise, for commands to which the warnings mean nothing.
fn load_quietly(path: &ConfigPath) -> Result<Loaded, Failure> {
    Ok(read(path)?.0)
}

fn read(path: &ConfigPath) -> Result<(Loaded, Vec<Finding>), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let loaded = settings::load(&path.config, &settings::read_environment(), clock.clone())
        .map_err(|problems| Failure::Usage(problems.to_string()))?;
    let http = loaded.surroundings.http;
    let warnings = loaded.warnings;
    Ok((Loaded { settings: loaded.settings, connectors: loaded.connectors, http, clock }, warnings))
}

/// A channel by the name that was given on the command line.
fn channel<'l>(
    loaded: &'l Loaded,
    name: &str,
) -> Result<(&'l ChannelName, &'l Channel, &'l Arc<dyn Platform>), Failure> {
    let settings = &loaded.settings;
    let found = settings.channels.get_key_value(&ChannelName::new(name));
    let connector = found.and_then(|(name, _)| loaded.connectors.get(name));
    if let (Some((name, channel)), Some(connector)) = (found, connector) {
        return Ok((name, channel, connector));
    }
    let known: Vec<&str> = settings.channels.keys().map(ChannelName::as_str).collect();
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    let near = near.filter(|(distance, _)| *distance <= 3).map(|(_, near)| format!("did you mean {near}? "));
    Err(Failure::Usage(format!(
        "{name:?} is no channel of {}\n    → {}there are: {}",
        settings.source.display(),
        near.unwrap_or_default(),
        known.join(", ")
    )))
}
