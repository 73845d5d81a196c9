//! Figures that depend on the machine, so nothing here is asserted by `make check`: each is measured with and
//! without what it is about, in turns, within one run.
//!
//! `cargo test --release --test measure -- poisoned`, or `make measure`.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `MEASURE_STORES` | `sqlite`, `postgres`, or both | both |
//! | `MEASURE_ROUNDS` | rounds with and rounds without, each | 4 |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

#[allow(dead_code)]
#[path = "../support/database.rs"]
mod database;
#[path = "../support/mod.rs"]
mod support;

mod poisoned;
mod retention;

use std::fmt;
use std::time::Duration;

use support::{World, variable};

/// In the order in which they are measured when none is named.
const ALL: [&str; 2] = ["poisoned", "retention"];

pub fn rounds() -> usize {
    variable("MEASURE_ROUNDS").map_or(4, |rounds| rounds.parse().unwrap())
}

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let chosen = if named.is_empty() { ALL.map(str::to_owned).to_vec() } else { named };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut good = true;
    runtime.block_on(async {
        for what in chosen {
            good &= match what.as_str() {
                "poisoned" => poisoned::measure().await,
                "retention" => retention::measure().await,
                other => panic!("there is no measurement {other}: {}", ALL.join(", ")),
            };
        }
    });
    if !good {
        std::process::exit(1);
    }
}

/// The stores to measure on, each with its name; the PostgreSQL is a fresh database.
pub async fn stores() -> Vec<(&'static str, Option<String>)> {
    let wanted = variable("MEASURE_STORES");
    let mut stores = Vec::new();
    for name in ["sqlite", "postgres"] {
        if wanted.as_ref().is_none_or(|wanted| wanted.contains(name)) {
            let server = (name == "postgres").then(database::server);
            let url = match server {
                Some(server) => Some(server.url(&server.database().await)),
                None => None,
            };
            stores.push((name, url));
        }
    }
    stores
}

pub async fn gateway(store: Option<String>, settings: &str) -> World {
    let mut world = World::prepare_on(store, settings).await;
    world.serve_at("info").await;
    world
}

/// Durations, to be looked at from the middle and from the end.
#[derive(Clone, Default)]
pub struct Sample(pub Vec<Duration>);

impl Sample {
    /// `part` of them are shorter.
    pub fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len() - 1;
        // Sizes of samples are far below 2^52.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        sorted[(last as f64 * part).round() as usize]
    }

    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |part| self.quantile(part).as_secs_f64() * 1000.0;
        write!(f, "n={} p50={:.2} ms p99={:.2} ms", self.0.len(), millis(0.5), millis(0.99))
    }
}
