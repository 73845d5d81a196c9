//! `fini-bridge export`: the conversations of List conversations, over any span, a page at a time.
//!
//! Which conversations: those whose latest message lay within `since` and `until` when the export began.
//! Each is written as it is when it is read. Nothing is kept of it but its id.

mod out;
mod rows;
pub(super) mod span;
mod walk;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::workspaces::{Workspace, advice, workspaces};
use super::{ConfigPath, Failure, Outcome, load_quietly};
use crate::app::gateway::open_store;
use crate::domain::clock::Timestamp;
use crate::domain::id::BotId;
use crate::fini::Query;
use crate::pipeline::rate_limit::CallBudget;
use crate::store::Mode;
use out::Out;
use rows::Format;
use span::Span;
use walk::{Seen, Walk};

/// Export conversations from Fini
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge export > last-week.ndjson
  fini-bridge export --since 2026-01-01 --until 2026-07-01 --format csv --out half-year.csv
  fini-bridge export --agent 4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3 --source slack,api

A date means 00:00 UTC of that day. A conversation belongs to the span if its latest message lay in it when the export
began; each comes once, newest first, as it is when it is read. Where channels have Fini keys of their own, the
conversations of each workspace are exported.

ndjson: each line is a conversation as Fini gives it.
csv: a row for each conversation; id, createdAt, lastEventAt (RFC 3339), source, channel, status, externalId, url,
subjectPreview, resolved, hasFeedback, messages, userMessages, csatRating (the last one given), and as JSON
userAttributes, usedArticles, usedSubfolders, events. A cell that a spreadsheet would run begins with '.")]
pub struct Arguments {
    /// From this time on: a date (UTC) or RFC 3339; default: 7 days before --until
    #[arg(long, value_name = "TIME", value_parser = span::time)]
    since: Option<Timestamp>,
    /// Up to this time; default: now
    #[arg(long, value_name = "TIME", value_parser = span::time)]
    until: Option<Timestamp>,
    /// Only of this agent
    #[arg(long, value_name = "BOT_ID")]
    agent: Option<String>,
    /// Only from these of Fini's sources, such as api or widget; may be repeated
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    source: Vec<String>,
    /// Only with this channel, as Fini calls it (the gateway names its platform); may be repeated
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    channel: Vec<String>,
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// A file, written as PATH.part until it is complete; default: standard output
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigPath,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let loaded = load_quietly(&arguments.config)?;
    let begun = loaded.clock.now();
    let span = Span::new(arguments.since, arguments.until, begun).map_err(Failure::Usage)?;
    let query = Query {
        agent: arguments.agent.map(BotId::new),
        source: arguments.source,
        channel: arguments.channel,
        ..Query::default()
    };
    let workspaces = of_agent(workspaces(&loaded)?, query.agent.as_ref()).await?;
    let bar = progress(&span, arguments.out.is_some());
    let mut out = Out::open(arguments.out.as_deref(), arguments.format)?;
    let mut seen = Seen::default();
    let rate = loaded.settings.fini.rate.0;
    let store = match rate {
        Some(_) => Some(open_store(&loaded.settings, Mode::Tool, loaded.clock.clone()).await.context(
            "fini.rate is kept together with the gateway, in its store: run export where store.url leads to it, or write rate = \"none\"",
        )?),
        None => None,
    };
    for workspace in workspaces {
        let budget = store
            .as_ref()
            .map(|store| CallBudget::new(rate, &workspace.key, store.clone(), &tokio::sync::watch::channel(1).1));
        let budget = budget.unwrap_or_else(CallBudget::unlimited);
        let mut walk = Walk::new(workspace.client, budget, &query, &span, begun);
        while let Some(page) = walk.next(&mut seen, &mut |wait| bar.set_message(wait.to_owned())).await? {
            page.iter().try_for_each(|conversation| out.write(conversation))?;
            // Whoever reads the other end of a pipe sees it grow.
            out.flush()?;
            bar.set_position(span.done(walk.reached()));
            bar.set_message(format!("{} conversations, back to {}", seen.len(), walk.reached()));
        }
    }
    out.finish()?;
    bar.finish_and_clear();
    eprintln!("{} conversations, {} to {}", seen.len(), span.since, span.until);
    Ok(())
}

/// The workspaces to ask: with an agent only those that have it, for others would refuse the question.
async fn of_agent(mut all: Vec<Workspace>, agent: Option<&BotId>) -> Result<Vec<Workspace>, Failure> {
    let (Some(wanted), true) = (agent, all.len() > 1) else { return Ok(all) };
    let mut found = Vec::new();
    for workspace in all.drain(..) {
        let agents = workspace.client.list_agents().await;
        let agents = agents.map_err(|error| anyhow!("{}: {error}; {}", workspace.name, advice(&error)))?;
        if agents.iter().any(|agent| agent.id.as_str().eq_ignore_ascii_case(wanted.as_str())) {
            found.push(workspace);
        }
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(Failure::Run(anyhow!("no workspace has the agent {wanted}: see `fini-bridge agents`"))),
    }
}

/// Drawn on stderr, if that is a terminal that the export itself is not written to.
fn progress(span: &Span, to_file: bool) -> ProgressBar {
    let clear = to_file || !std::io::stdout().is_terminal();
    let target = if clear { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(span.length()), target);
    match ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
