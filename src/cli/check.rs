//! `fini-bridge check`

use std::fmt::Write;

use anyhow::anyhow;
use futures::future::join_all;

use super::story::clean;
use super::workspaces::{Workspace, advice, workspaces};
use super::{ConfigPath, Failure, Loaded, Outcome, load};
use crate::app::settings::{Channel, table};
use crate::domain::id::{BotId, ChannelName};
use crate::domain::problem::Problem;
use crate::fini::{Agent, ReadError};
use crate::platform::{self, SendError, custom};

/// Validate the configuration and show it, secrets masked
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge check
  fini-bridge check --config /etc/fini-bridge.toml --live

Exit code 0 only if all is well, 2 if the configuration is wrong, 1 if Fini or a platform refuses it.")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigPath,
    /// Also ask Fini (the key, its agents, every bot id) and every platform (its credentials call)
    #[arg(long)]
    live: bool,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let loaded = load(&arguments.config)?;
    let samples = try_samples(&loaded)?;
    print!("{}", table(&loaded.settings));
    if !samples.is_empty() {
        println!("\n[samples]");
        samples.iter().for_each(|line| println!("  {line}"));
    }
    println!("\nthe configuration is good");
    if !arguments.live {
        return Ok(());
    }
    println!();
    let lines = live(&loaded).await?;
    let failed = lines.iter().filter(|line| line.result.is_err()).count();
    for Line { of, result } in &lines {
        match result {
            Ok(Some(said)) => println!("ok         {of}: {}", clean(said)),
            Ok(None) => println!("not asked  {of}: there is no credentials call; the first reply will tell"),
            Err(said) => println!("failed     {of}: {}", clean(said)),
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(anyhow!("{failed} of {} live checks failed", lines.len()).into()),
    }
}

/// Runs the custom channels' expressions and templates on their samples: what came out, or all that failed.
fn try_samples(loaded: &Loaded) -> Result<Vec<String>, Failure> {
    let (mut lines, mut wrong) = (Vec::new(), String::new());
    for (name, channel) in &loaded.settings.channels {
        let platform::Config::Custom(config) = &channel.platform else { continue };
        let Some(sample) = &config.sample_text else { continue };
        match custom::try_sample(config, sample) {
            Ok(found) => lines.extend(found.iter().map(|line| format!("{name}: {}", clean(line)))),
            Err(problems) => problems.iter().for_each(|problem| describe(loaded, name, problem, &mut wrong)),
        }
    }
    if wrong.is_empty() { Ok(lines) } else { Err(Failure::Usage(wrong)) }
}

/// Like the settings' own problems: place, key, what is wrong, what to write instead.
fn describe(loaded: &Loaded, name: &ChannelName, problem: &Problem, into: &mut String) {
    let settings = &loaded.settings;
    let key = format!("channels.{name}.{}", problem.key);
    let file = settings.source.display();
    let place = match settings.written.get(&key).map(|place| (place, place.strip_prefix("line "))) {
        Some((_, Some(line))) => format!("{file}:{line}"),
        Some((place, None)) => format!("{file} ({place})"),
        None => file.to_string(),
    };
    let _ = writeln!(into, "{place}: {key}: {}\n    → {}", clean(&problem.problem), problem.instead);
}

/// What one question to the outside brought.
struct Line {
    of: String,
    /// `None`: there was nothing to ask.
    result: Result<Option<String>, String>,
}

async fn live(loaded: &Loaded) -> Result<Vec<Line>, Failure> {
    let workspaces = workspaces(loaded)?;
    let agents = join_all(workspaces.iter().map(|workspace| workspace.client.list_agents())).await;
    let mut lines = Vec::new();
    for (workspace, agents) in workspaces.iter().zip(agents) {
        let of = format!("fini, by {}", workspace.name);
        lines.push(Line { of, result: about_key(&agents).map(Some) });
        if let Ok(agents) = agents {
            lines.extend(about_agents(loaded, workspace, &agents));
        }
    }
    let asked = loaded.connectors.iter().map(|(name, connector)| async move {
        let of = format!("channels.{name} ({})", connector.name());
        Line { of, result: connector.check().await.map_err(|error| about_platform(&error)) }
    });
    lines.extend(join_all(asked).await);
    Ok(lines)
}

fn about_key(agents: &Result<Vec<Agent>, ReadError>) -> Result<String, String> {
    match agents {
        Ok(agents) => Ok(format!(
            "the key is valid and may read, {} agents; whether it may write can't be asked without sending a message",
            agents.len()
        )),
        Err(error) => Err(format!("{error}; {}", advice(error))),
    }
}

/// One line for each bot id that the workspace doesn't have; one for all if there is none.
fn about_agents(loaded: &Loaded, workspace: &Workspace, agents: &[Agent]) -> Vec<Line> {
    let named = workspace.channels.iter().filter_map(|name| Some((name, loaded.settings.channels.get(name)?)));
    let ids: Vec<(String, &BotId)> = named.flat_map(|(name, channel)| bot_ids(name, channel)).collect();
    let is_there = |id: &BotId| agents.iter().any(|agent| agent.id.as_str().eq_ignore_ascii_case(id.as_str()));
    let missing: Vec<Line> = ids
        .iter()
        .filter(|(_, id)| !is_there(id))
        .map(|(key, id)| {
            let why = format!("{id} is no agent of the workspace of {}; see `fini-bridge agents`", workspace.name);
            Line { of: key.clone(), result: Err(why) }
        })
        .collect();
    if missing.is_empty() && !ids.is_empty() {
        let of = format!("bot ids, by {}", workspace.name);
        return vec![Line { of, result: Ok(Some("all are agents of this workspace".to_owned())) }];
    }
    missing
}

/// Every agent that a channel may ask, by the key that names it.
fn bot_ids<'c>(name: &ChannelName, channel: &'c Channel) -> Vec<(String, &'c BotId)> {
    let rules = channel.bots.iter().enumerate();
    let rules = rules.map(|(at, rule)| (format!("channels.{name}.bots[{at}].bot_id"), &rule.bot_id));
    std::iter::once((format!("channels.{name}.bot_id"), &channel.bot_id)).chain(rules).collect()
}

fn about_platform(error: &SendError) -> String {
    let advice = match error {
        SendError::Credential { .. } => "check the channel's token",
        SendError::Permanent { .. } => "check the channel's keys and api_base",
        SendError::Retry { .. } | SendError::Throttled { .. } | SendError::Unknown { .. } | SendError::Moved { .. } => {
            "check api_base, [http] and the network, then try again"
        }
    };
    format!("{error}; {advice}")
}
