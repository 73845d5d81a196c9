//! The tables, as Markdown.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::results::Results;

/// A row of the table: a figure of the gateway, and whose figure it is divided by.
struct Row {
    name: &'static str,
    unit: &'static str,
    at: (&'static str, f64, &'static str),
    reference: Option<(&'static str, &'static str, f64)>,
}

const fn row(
    name: &'static str,
    unit: &'static str,
    at: (&'static str, f64, &'static str),
    reference: Option<(&'static str, &'static str, f64)>,
) -> Row {
    Row { name, unit, at, reference }
}

const D_STORED: Option<(&str, &str, f64)> = Some(("D", "stored", 64.0));

const ROWS: [Row; 23] = [
    row("acknowledged a second, 64 connections, stored only", "/s", ("stored", 64.0, "per_second"), D_STORED),
    row("CPU of 10,000 acknowledgements, stored only", "s", ("stored", 64.0, "cpu_s_per_10k"), D_STORED),
    row(
        "acknowledged a second, 64 connections, the job running",
        "/s",
        ("running", 64.0, "per_second"),
        Some(("D", "running", 64.0)),
    ),
    row("time to drain that backlog", "s", ("running", 64.0, "drained_s"), None),
    row(
        "acknowledgement at 500/s, p50",
        "ms",
        ("acknowledgement", 500.0, "acknowledgement_p50_ms"),
        Some(("D", "acknowledgement", 500.0)),
    ),
    row(
        "acknowledgement at 500/s, p99",
        "ms",
        ("acknowledgement", 500.0, "acknowledgement_p99_ms"),
        Some(("D", "acknowledgement", 500.0)),
    ),
    row(
        "acknowledgement at 2,000/s, p50",
        "ms",
        ("acknowledgement", 2000.0, "acknowledgement_p50_ms"),
        Some(("D", "acknowledgement", 2000.0)),
    ),
    row(
        "acknowledgement at 2,000/s, p99",
        "ms",
        ("acknowledgement", 2000.0, "acknowledgement_p99_ms"),
        Some(("D", "acknowledgement", 2000.0)),
    ),
    row(
        "the same, stored only",
        "ms",
        ("acknowledgement_stored", 2000.0, "acknowledgement_p99_ms"),
        Some(("D", "acknowledgement_stored", 2000.0)),
    ),
    row("whole job at 200/s: overhead p50", "ms", ("job", 200.0, "overhead_p50_ms"), Some(("C", "job", 200.0))),
    row("whole job at 200/s: overhead p99", "ms", ("job", 200.0, "overhead_p99_ms"), Some(("C", "job", 200.0))),
    row("CPU of 10,000 messages at 200/s", "s", ("job", 200.0, "cpu_s_per_10k"), Some(("C", "job", 200.0))),
    row("CPU of 10,000 messages at 2,000/s", "s", ("job", 2000.0, "cpu_s_per_10k"), Some(("C", "job", 2000.0))),
    row("sustained whole job on one core", "/s", ("sustained", 0.0, "per_second"), Some(("C", "sustained", 0.0))),
    row("PostgreSQL, 3 channels, 1 replica: statements", "", ("postgres", 20.0, "statements"), None),
    row("PostgreSQL, 3 channels, 1 replica: transactions", "", ("postgres", 20.0, "transactions"), None),
    row("PostgreSQL, 3 channels, 1 replica: CPU of the database", "ms", ("postgres", 20.0, "database_cpu_ms"), None),
    row(
        "PostgreSQL, 100 channels, 4 replicas: statements",
        "",
        ("postgres_many", 20.0, "statements"),
        Some(("", "postgres", 20.0)),
    ),
    row(
        "PostgreSQL, 100 channels, 4 replicas: transactions",
        "",
        ("postgres_many", 20.0, "transactions"),
        Some(("", "postgres", 20.0)),
    ),
    row(
        "PostgreSQL, 100 channels, 4 replicas: CPU of the database",
        "ms",
        ("postgres_many", 20.0, "database_cpu_ms"),
        Some(("", "postgres", 20.0)),
    ),
    row(
        "PostgreSQL, 2 replicas at 100/s: CPU of gateways and database",
        "ms",
        ("two_replicas", 100.0, "cpu_ms"),
        Some(("", "one_replica", 100.0)),
    ),
    row("PostgreSQL at 100/s, 1 replica: overhead p50", "ms", ("one_replica", 100.0, "overhead_p50_ms"), None),
    row("PostgreSQL at 100/s, 1 replica: overhead p99", "ms", ("one_replica", 100.0, "overhead_p99_ms"), None),
];

/// Curves: title, row, what they are drawn over, figures.
pub const CURVES: [Curve; 7] = [
    Curve {
        file: "connections",
        title: "Acknowledged a second, stored only",
        row: "connections",
        over: "connections",
        metric: "per_second",
        of: "acknowledged a second",
    },
    Curve {
        file: "rate",
        title: "Whole job: overhead, median",
        row: "ladder",
        over: "messages a second",
        metric: "overhead_p50_ms",
        of: "ms",
    },
    Curve {
        file: "rate-p99",
        title: "Whole job: overhead, 99th percentile",
        row: "ladder",
        over: "messages a second",
        metric: "overhead_p99_ms",
        of: "ms",
    },
    Curve {
        file: "chats-latency",
        title: "Whole job at 200/s: overhead, median, by chats",
        row: "chats",
        over: "chats the messages are spread over",
        metric: "overhead_p50_ms",
        of: "ms",
    },
    Curve {
        file: "chats",
        title: "Whole job at 200/s: CPU of 10,000 messages, by chats",
        row: "chats",
        over: "chats the messages are spread over",
        metric: "cpu_s_per_10k",
        of: "s",
    },
    Curve {
        file: "stored",
        title: "Acknowledged a second, by messages that are stored already",
        row: "stored_messages",
        over: "stored messages",
        metric: "per_second",
        of: "acknowledged a second",
    },
    Curve {
        file: "stored-p99",
        title: "Acknowledgement at 500/s, p99, by messages that are stored already",
        row: "stored_messages_at_500",
        over: "stored messages",
        metric: "acknowledgement_p99_ms",
        of: "ms",
    },
];

pub struct Curve {
    pub file: &'static str,
    pub title: &'static str,
    pub row: &'static str,
    pub over: &'static str,
    pub metric: &'static str,
    pub of: &'static str,
}

pub fn tables(results: &Results, head: &str) -> String {
    let mut text = format!("Measured on {}. {head}.\n\n", jiff::Zoned::now().date());
    text.push_str("| | fini-bridge | spread | reference | ratio | base | ÷ base |\n|---|---|---|---|---|---|---|\n");
    for row in &ROWS {
        line(&mut text, results, row);
    }
    for curve in &CURVES {
        table(&mut text, results, curve);
    }
    verdict(&mut text, results);
    text
}

fn line(text: &mut String, results: &Results, row: &Row) {
    let (name, at, metric) = row.at;
    let of = |subject: &str| results.median(name, subject, at, metric);
    let own = of("fini-bridge");
    if own.is_nan() {
        return;
    }
    let unit = row.unit;
    let spread = results.spread(name, "fini-bridge", at, metric);
    let (reference, ratio) = match row.reference {
        Some((subject, name, at)) => {
            let shown = if subject.is_empty() { "1 replica" } else { subject };
            let subject = if subject.is_empty() { "fini-bridge" } else { subject };
            let value = results.median(name, subject, at, metric);
            (format!("{shown}: {} {unit}", figure(value)), figure(own / value))
        }
        None => (String::new(), String::new()),
    };
    let base = of("base");
    let (base, by_base) =
        if base.is_nan() { (String::new(), String::new()) } else { (figure(base), figure(own / base)) };
    let spread = format!("{}–{}", figure(spread.0), figure(spread.1));
    let _ = writeln!(
        text,
        "| {} | {} {unit} | {spread} | {reference} | {ratio} | {base} | {by_base} |",
        row.name,
        figure(own)
    );
}

fn table(text: &mut String, results: &Results, curve: &Curve) {
    let (points, subjects) = (results.points(curve.row), results.subjects(curve.row));
    if points.is_empty() {
        return;
    }
    let _ = write!(text, "\n{} ({}):\n\n| {} |", curve.title, curve.of, curve.over);
    for subject in &subjects {
        let _ = write!(text, " {subject} |");
    }
    let _ = write!(text, "\n|---|{}", "---|".repeat(subjects.len()));
    for point in points {
        let _ = write!(text, "\n| {} |", figure(point));
        for subject in &subjects {
            let value = results.median(curve.row, subject, point, curve.metric);
            let _ = write!(text, " {} |", if value.is_nan() { String::new() } else { figure(value) });
        }
    }
    text.push('\n');
}

/// What must be 0 however fast it is.
fn verdict(text: &mut String, results: &Results) {
    let total = |metric: &str| results.total("fini-bridge", metric);
    let _ = writeln!(
        text,
        "\nOver all of these runs of fini-bridge: {} lost, {} replies doubled, {} questions doubled, {} webhooks refused.",
        total("lost"),
        total("duplicate_replies"),
        total("duplicate_questions"),
        total("refused"),
    );
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    if value.is_nan() {
        return "–".to_owned();
    }
    if value.abs() >= 1000.0 {
        let digits = format!("{value:.0}");
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return grouped;
    }
    let decimals = match value.abs() {
        value if value == value.trunc() || value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

const BEGIN: &str = "<!-- make bench -->\n";
const END: &str = "<!-- end of make bench -->";

/// Puts the tables where the last ones were, and the curves' pictures after them.
pub fn write(page: &Path, results: &Results, tables: &str) -> Result<()> {
    let text = std::fs::read_to_string(page)?;
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{} has no {BEGIN}", page.display()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{} has no {END}", page.display()))?;
    let drawn = CURVES.iter().filter(|curve| results.points(curve.row).len() > 1);
    let pictures: String =
        drawn.map(|curve| format!("![{}](images/performance-{}.svg)\n", curve.title, curve.file)).collect();
    Ok(std::fs::write(page, format!("{before}{BEGIN}\n{tables}\n{pictures}{END}{after}"))?)
}
