//! Statements and transactions, as PostgreSQL itself counts them.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::database::server;
use super::{CHANNELS, MESSAGES, World, answer};

/// Of a message in a new chat, beside BEGIN, SET LOCAL and COMMIT, and beside what is done every second anyway.
const STATEMENTS: f64 = 16.0;
const TRANSACTIONS: f64 = 5.5;
/// A second, with nothing to do.
const IDLE_STATEMENTS: f64 = 4.0;
const IDLE_TRANSACTIONS: f64 = 4.0;
const IDLE: Duration = Duration::from_secs(5);
/// What follows an answer.
const AFTERWARDS: Duration = Duration::from_secs(3);

struct Counts {
    at: Instant,
    statements: f64,
    transactions: f64,
}

impl Counts {
    async fn take(client: &Client, database: &str) -> Self {
        // Sessions hand their counts in about once a second.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let statements = "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements AS s
            JOIN pg_database AS d ON d.oid = s.dbid
            WHERE d.datname = $1 AND s.query !~* '^\\s*(BEGIN|START|COMMIT|ROLLBACK|SET LOCAL)'";
        let transactions = "SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database WHERE datname = $1";
        let count = async |sql: &str| client.query_one(sql, &[&database]).await.unwrap().get(0);
        Self { at: Instant::now(), statements: count(statements).await, transactions: count(transactions).await }
    }

    fn since(&self, earlier: &Self) -> (f64, f64, f64) {
        let time = (self.at - earlier.at).as_secs_f64();
        (self.statements - earlier.statements, self.transactions - earlier.transactions, time)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_costs_few_statements_on_postgresql_and_an_idle_gateway_hardly_any() {
    let name = server().database().await;
    let client = server().connect("postgres").await;
    client.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await.unwrap();
    let world = World::start_on(Some(server().url(&name)), CHANNELS).await;

    tokio::time::sleep(AFTERWARDS).await;
    let start = Counts::take(&client, &name).await;
    tokio::time::sleep(IDLE).await;
    let idle = Counts::take(&client, &name).await;
    let (statements, transactions, time) = idle.since(&start);
    let (idle_statements, idle_transactions) = (statements / time, transactions / time);
    eprintln!("PostgreSQL, idle: {idle_statements:.1} statements, {idle_transactions:.1} transactions a second");

    answer(&world).await;
    tokio::time::sleep(AFTERWARDS).await;
    let (statements, transactions, time) = Counts::take(&client, &name).await.since(&idle);
    let messages = f64::from(MESSAGES);
    let statements = (statements - idle_statements * time) / messages;
    let transactions = (transactions - idle_transactions * time) / messages;
    eprintln!("PostgreSQL, a message in a new chat: {statements:.1} statements, {transactions:.1} transactions");

    assert!(
        idle_statements <= IDLE_STATEMENTS && idle_transactions <= IDLE_TRANSACTIONS,
        "a second of nothing: {idle_statements} statements, {idle_transactions} transactions; \
         at most {IDLE_STATEMENTS} and {IDLE_TRANSACTIONS}"
    );
    assert!(
        statements <= STATEMENTS && transactions <= TRANSACTIONS,
        "a message: {statements} statements, {transactions} transactions; at most {STATEMENTS} and {TRANSACTIONS}"
    );
}
