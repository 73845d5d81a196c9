//! `make bench`: what a message costs, beside references that do the same job on the same machine in the same run.
//!
//! Everything runs on this machine's loopback. The generator and the upstreams are this process; what is measured is a
//! process of its own, on a core of its own. References and gateways take turns; the table has medians.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `BENCH_ONLY` | rows and curves, separated by commas: see [`ALL`] | all |
//! | `BENCH_REPEAT` | repetitions | 5 |
//! | `BENCH_SECS` | how long each measurement takes | the row's own time |
//! | `BENCH_BINARY` | the gateway | `target/release/fini-bridge` |
//! | `BENCH_BASE` | an older binary, measured beside it | none |
//! | `BENCH_UNPACED` | a binary without the key `pace` was built to keep none | unset |
//! | `BENCH_STORED` | the largest point of the curve over stored messages | 100000 |
//! | `BENCH_TRIES` | how often a measurement is tried that others disturbed | 3 |
//! | `BENCH_WAIT` | seconds that may be waited, in all, for a quiet machine | 900 |
//! | `BENCH_WRITE` | the page to write the tables into, with its pictures: `docs/performance.md` | none |
//! | `BENCH_DIR` | where the stores are | `target/bench/work` |

// The product's rules for time, environment and outgoing calls have no use here.
#![allow(clippy::disallowed_methods)]

mod charts;
mod clock;
#[allow(dead_code)]
#[path = "../../tests/support/database.rs"]
mod database;
mod generator;
mod machine;
mod measure;
mod message;
mod postgres;
mod reference;
mod report;
mod results;
mod rows;
mod statistics;
mod subject;
mod upstreams;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use machine::{Patience, Pinning};
use measure::Bench;
use postgres::Shape;
use results::Results;
use rows::Rows;
use subject::{Gateway, Pace};
use upstreams::Upstreams;

/// In the order in which they are measured.
const ALL: [&str; 10] = [
    "stored",
    "running",
    "acknowledgement",
    "job",
    "sustained",
    "postgres",
    "replicas",
    "connections",
    "chats",
    "stored_messages",
];

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T: FromStr>(name: &str) -> Result<Option<T>> {
    variable(name).map(|value| value.parse().ok().with_context(|| format!("{name} is not a number"))).transpose()
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("reference") => return reference::main(arguments),
        Some(_) => bail!("what to measure is said by variables: see bench/src/main.rs"),
        None => {}
    }
    let only = variable("BENCH_ONLY").unwrap_or_else(|| ALL.join(","));
    let only: Vec<&str> = only.split(',').map(str::trim).collect();
    if let Some(unknown) = only.iter().find(|name| !ALL.contains(name)) {
        bail!("BENCH_ONLY: there is no {unknown}; there are {}", ALL.join(", "));
    }
    let binary = variable("BENCH_BINARY").unwrap_or_else(|| "target/release/fini-bridge".to_owned());
    let mut gateways = vec![Gateway::new("fini-bridge", Path::new(&binary))?];
    if let Some(base) = variable("BENCH_BASE") {
        gateways.push(Gateway::new("base", Path::new(&base))?);
    }
    let pinning = Pinning::new();
    let placed = pinning.describe();
    let mut bench = Bench {
        upstreams: Upstreams::start()?,
        runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?,
        pinning,
        patience: Patience::new(Duration::from_secs(number("BENCH_WAIT")?.unwrap_or(900))),
        tries: number("BENCH_TRIES")?.unwrap_or(3),
    };
    let folder = PathBuf::from("target/bench");
    std::fs::create_dir_all(&folder)?;
    let mut results = Results::create(&folder.join("results.csv"))?;
    let repeat = number("BENCH_REPEAT")?.unwrap_or(5);
    let time = number("BENCH_SECS")?.map(Duration::from_secs_f64);
    for name in only {
        if matches!(name, "postgres" | "replicas") {
            on_postgres(name, &bench, &mut results, &gateways, repeat, time)?;
            continue;
        }
        let stored = number("BENCH_STORED")?.unwrap_or(100_000);
        let (bench, results) = (&mut bench, &mut results);
        let mut rows = Rows { bench, results, gateways: &gateways, repeat, time, stored };
        match name {
            "stored" => rows.stored()?,
            "running" => rows.running()?,
            "acknowledgement" => rows.acknowledgement()?,
            "job" => rows.job()?,
            "sustained" => rows.sustained()?,
            "connections" => rows.over_connections()?,
            "chats" => rows.over_chats()?,
            _ => rows.over_stored()?,
        }
    }
    let head = format!("{}; {placed}; medians of {repeat}", machine::describe());
    let tables = report::tables(&results, &head);
    println!("{tables}");
    std::fs::write(folder.join("tables.md"), &tables)?;
    charts::draw(&results, &folder)?;
    if let Some(page) = variable("BENCH_WRITE") {
        report::write(Path::new(&page), &results, &tables)?;
        charts::draw(&results, Path::new("docs/images"))?;
    }
    Ok(())
}

fn on_postgres(
    name: &str,
    bench: &Bench,
    results: &mut Results,
    gateways: &[Gateway],
    repeat: usize,
    time: Option<Duration>,
) -> Result<()> {
    let shape = |row, channels, replicas, rate| Shape { row, channels, replicas, rate };
    let (shapes, seconds) = match name {
        "postgres" => (vec![shape("postgres", 3, 1, 20.0), shape("postgres_many", 100, 4, 20.0)], 60),
        _ => (vec![shape("one_replica", 3, 1, 100.0), shape("two_replicas", 3, 2, 100.0)], 30),
    };
    for repetition in 0..repeat {
        for shape in &shapes {
            for gateway in gateways.iter().filter(|gateway| gateway.pace != Pace::Fixed) {
                let time = time.unwrap_or(Duration::from_secs(seconds));
                postgres::measure(bench, results, gateway, shape, time, repetition)?;
            }
        }
    }
    Ok(())
}
