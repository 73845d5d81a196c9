//! What a message costs on PostgreSQL: statements, transactions, CPU of the server and of the gateways.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::Client;

use crate::generator::{Load, Loop};
use crate::machine;
use crate::measure::Bench;
use crate::message::{Plan, WARM_UP};
use crate::results::Results;
use crate::subject::{Gateway, Job, Process, Setup, Subject};

/// Beside these, all statements are counted.
const FRAME: &str = r"^\s*(BEGIN|START|COMMIT|ROLLBACK|SET LOCAL)";

/// Channels, replicas, messages a second.
pub struct Shape {
    pub row: &'static str,
    pub channels: usize,
    pub replicas: usize,
    pub rate: f64,
}

#[derive(Clone, Copy)]
struct Counts {
    statements: f64,
    transactions: f64,
    database: f64,
    gateways: f64,
}

pub fn measure(
    bench: &Bench,
    results: &mut Results,
    gateway: &Gateway,
    shape: &Shape,
    time: Duration,
    repetition: usize,
) -> Result<()> {
    let server = crate::database::server();
    let (name, client) = bench.runtime.block_on(async {
        let name = server.database().await;
        let client = server.connect("postgres").await;
        client.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
        anyhow::Ok((name, client))
    })?;
    let setup = Setup { job: Job::Whole, channels: shape.channels, store: Some(server.url(&name)) };
    let subject = Subject::Gateway(gateway.clone());
    bench.upstreams.reset(Duration::from_millis(200));
    let mut replicas = Vec::new();
    for _ in 0..shape.replicas {
        replicas.push(Process::start(&subject, &setup, &bench.upstreams.url(), None)?);
    }
    let load = |first, count| Load {
        plan: Plan { first, count, paths: setup.paths(), chats: u64::MAX },
        addresses: replicas.iter().map(|replica| replica.address.clone()).collect(),
        connections: 8 * shape.replicas,
        kind: Loop::Open(shape.rate),
    };
    bench.runtime.block_on(load(WARM_UP, (shape.rate * 5.0) as u64).run())?;
    std::thread::sleep(Duration::from_secs(3));

    let counts = || -> Result<Counts> {
        // The server's own statistics come about a second late.
        std::thread::sleep(Duration::from_secs(2));
        let gateways = replicas.iter().map(|replica| machine::cpu(replica.id())).sum();
        bench.runtime.block_on(count(&client, &name, gateways))
    };
    let before = counts()?;
    let load = load(0, (shape.rate * time.as_secs_f64()) as u64);
    let sent = bench.runtime.block_on(load.run())?;
    bench.settle(&sent, Duration::from_secs(60));
    let after = counts()?;
    let last = sent.iter().map(|sent| sent.end).max().unwrap_or_default();
    let job = bench.job(&sent, last);
    let messages = sent.len() as f64;
    let per_message = |of: fn(&Counts) -> f64| (of(&after) - of(&before)) / messages;
    results.add(
        (shape.row, gateway.name, shape.rate),
        repetition,
        &[
            ("statements", per_message(|counts| counts.statements)),
            ("transactions", per_message(|counts| counts.transactions)),
            ("database_cpu_ms", per_message(|counts| counts.database) * 1e3),
            ("gateway_cpu_ms", per_message(|counts| counts.gateways) * 1e3),
            ("cpu_ms", per_message(|counts| counts.database + counts.gateways) * 1e3),
            ("overhead_p50_ms", job.overhead.p50),
            ("overhead_p99_ms", job.overhead.p99),
            ("lost", job.lost as f64),
            ("duplicate_replies", job.duplicate_replies as f64),
        ],
    )
}

async fn count(client: &Client, database: &str, gateways: f64) -> Result<Counts> {
    let statements = "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements AS s
        JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = $1 AND s.query !~* $2";
    let statements = client.query_one(statements, &[&database, &FRAME]).await?.get(0);
    let transactions = "SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database WHERE datname = $1";
    let transactions = client.query_one(transactions, &[&database]).await?.get(0);
    let pid: String = client.query_one("SELECT pg_read_file('postmaster.pid')", &[]).await?.get(0);
    let pid: u32 = pid.lines().next().context("postmaster.pid is empty")?.trim().parse()?;
    Ok(Counts { statements, transactions, database: machine::cpu_with_children(pid), gateways })
}
