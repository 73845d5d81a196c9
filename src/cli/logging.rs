//! Logs go to stderr. Only our own lines may be detailed: other crates' would hold URLs and headers at their
//! finer levels, so of those only warnings pass, whatever is asked for.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How much and how to log.
#[derive(clap::Args, Clone)]
pub struct Logging {
    /// error, warn, info, debug or trace
    #[arg(long, env = "FINI_BRIDGE_LOG", default_value = "info", value_name = "LEVEL")]
    log: LevelFilter,
    /// One JSON object a line; the default when stderr is not a terminal
    #[arg(long)]
    log_json: bool,
}

impl Logging {
    /// For a command with a level of its own.
    pub fn at(log: LevelFilter) -> Self {
        Self { log, log_json: false }
    }
}

pub fn start(logging: &Logging) {
    let targets =
        Targets::new().with_default(LevelFilter::WARN.min(logging.log)).with_target("fini_bridge", logging.log);
    // An error line for each malformed request: whoever sends them would fill the log.
    let targets = targets.with_target("actix_http", LevelFilter::OFF);
    let registry = tracing_subscriber::registry();
    let terminal = std::io::stderr().is_terminal();
    if logging.log_json || !terminal {
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        let _ = registry.with(layer.with_filter(targets)).try_init();
    } else {
        let layer = tracing_subscriber::fmt::layer().with_target(false).with_writer(std::io::stderr);
        let _ = registry.with(layer.with_filter(targets)).try_init();
    }
    // A panic's own message may quote what it stumbled over.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        tracing::error!(place, "a defect: please report this place");
    }));
}
