//! `fini-bridge messages`: works on the store, beside a running gateway.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::json;

use super::story::{clean, lines, state, steps};
use super::{ConfigPath, Failure, Loaded, Outcome, channel, load_quietly};
use crate::app::gateway::open_store;
use crate::domain::id::{ChannelName, MessageId};
use crate::store::sqlite::Mode;
use crate::store::{Filter, MessageState, Retried, Store, Story};

/// A turn takes a minute or two; what waits longer than this has a reason.
const STUCK_AFTER: Duration = Duration::from_secs(15 * 60);

/// See what failed, is held or stuck, why, and try again
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge messages list
  fini-bridge messages show 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10
  fini-bridge messages retry 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10

Works on the store, beside a running gateway.")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigPath,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Retry(Retry),
}

/// List messages, newest first: without --state those that failed, are held or stuck
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge messages list
  fini-bridge messages list --channel support-slack --state failed
  fini-bridge messages list --state all --limit 20 --json

Stuck: not answered or not delivered for 15 minutes.")]
struct List {
    /// Only of this channel
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Only these; may be repeated
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
    state: Vec<Wanted>,
    /// A JSON array with all that is known, text included
    #[arg(long)]
    json: bool,
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Failed,
    Held,
    Stuck,
    All,
}

/// Show a message's way, step by step, with its text
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge messages show 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10
  fini-bridge messages show 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10 --json")]
struct Show {
    /// The bridge's own id, as lists and logs name it
    #[arg(value_name = "ID")]
    id: MessageId,
    #[arg(long)]
    json: bool,
}

/// Try failed or held messages once more
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge messages retry 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10
  fini-bridge messages retry $(fini-bridge messages list --state failed --json | jq -r '.[].id')

A turn that failed is asked again; of an answer only the parts not yet delivered are sent again.")]
struct Retry {
    #[arg(value_name = "ID", required = true)]
    ids: Vec<MessageId>,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let loaded = load_quietly(&arguments.config)?;
    match arguments.command {
        Command::List(arguments) => list(&loaded, arguments).await,
        Command::Show(arguments) => show(&loaded, arguments).await,
        Command::Retry(arguments) => retry(&loaded, arguments).await,
    }
}

async fn store(loaded: &Loaded) -> anyhow::Result<Arc<dyn Store>> {
    open_store(&loaded.settings, Mode::Tool, loaded.clock.clone()).await
}

async fn list(loaded: &Loaded, arguments: List) -> Outcome {
    let only = arguments.channel.as_deref().map(|name| channel(loaded, name)).transpose()?;
    let only: Option<ChannelName> = only.map(|(name, _, _)| name.clone());
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let store = store(loaded).await?;
    let mut found = Vec::new();
    for (states, older_than) in queries(&arguments.state) {
        let filter = Filter { channel: only.clone(), states, older_than, limit };
        found.extend(store.list(&filter).await?);
    }
    found.sort_by_key(|story| std::cmp::Reverse((story.received_at, story.id)));
    let more = found.len() >= limit;
    found.truncate(limit);
    if arguments.json {
        println!("{:#}", json!(found));
    } else {
        print(loaded, &found);
    }
    if more {
        eprintln!("there may be more: --limit {}", limit.saturating_mul(10));
    }
    Ok(())
}

/// What to ask the store for: states, and how old.
fn queries(wanted: &[Wanted]) -> Vec<(Vec<MessageState>, Option<Duration>)> {
    use MessageState::{Answered, Asking, Failed, Held, Received};
    if wanted.contains(&Wanted::All) {
        return vec![(Vec::new(), None)];
    }
    let is_wanted = |one| wanted.is_empty() || wanted.contains(&one);
    let broken: Vec<MessageState> = [(Wanted::Failed, Failed), (Wanted::Held, Held)]
        .into_iter()
        .filter_map(|(one, state)| is_wanted(one).then_some(state))
        .collect();
    let mut queries = Vec::new();
    if !broken.is_empty() {
        queries.push((broken, None));
    }
    if is_wanted(Wanted::Stuck) {
        queries.push((vec![Received, Asking, Answered], Some(STUCK_AFTER)));
    }
    queries
}

fn print(loaded: &Loaded, found: &[Story]) {
    if found.is_empty() {
        eprintln!("nothing of the kind");
        return;
    }
    let width = found.iter().map(|story| story.channel.as_str().len()).max().unwrap_or(0).max("channel".len());
    println!("{:<36}  {:<24}  {:<width$}  state", "id", "received", "channel");
    for story in found {
        let channel = loaded.settings.channels.get(&story.channel);
        let why = match channel {
            None => ", its channel is not in the configuration",
            Some(channel) if !channel.enabled && story.state == MessageState::Received => {
                ", its channel is not enabled"
            }
            Some(_) => "",
        };
        let text = if story.text.is_none() { ", its text is removed (store.keep)" } else { "" };
        let (id, at) = (story.id.to_string(), story.received_at.to_string());
        println!("{id:<36}  {at:<24}  {:<width$}  {}{why}{text}", story.channel.as_str(), state(story));
    }
}

async fn show(loaded: &Loaded, arguments: Show) -> Outcome {
    let Some(story) = store(loaded).await?.story(arguments.id).await? else {
        return Err(Failure::Run(anyhow!("{}: there is no such message", arguments.id)));
    };
    if arguments.json {
        println!("{:#}", json!(story));
        return Ok(());
    }
    println!("message       {}", story.id);
    println!("channel       {}", story.channel);
    if let Some(chat) = &story.chat_ref {
        println!("chat          {chat}");
    }
    if let Some(turn) = &story.turn {
        println!("agent         {}", turn.bot_id);
        let id = turn.interaction_id.as_ref().map(|id| clean(id.as_str()));
        println!("conversation  {}", id.as_deref().unwrap_or("not known yet"));
    }
    println!("state         {}", state(&story));
    println!();
    for step in steps(&story) {
        let at = step.at.map(|at| at.to_string()).unwrap_or_default();
        println!("{at:<24}  {}", step.what);
        let first = step.what == "received";
        let pruned = || vec!["(the text is removed: store.keep)".to_owned()];
        let text = if first { story.text.as_deref().map_or_else(pruned, lines) } else { step.text };
        for line in text {
            println!("{:<24}  | {line}", "");
        }
    }
    Ok(())
}

async fn retry(loaded: &Loaded, arguments: Retry) -> Outcome {
    let store = store(loaded).await?;
    let mut not = 0;
    for id in &arguments.ids {
        match store.retry(*id).await? {
            Retried::Turn => println!("{id}: waits for its turn again"),
            Retried::Delivery => println!("{id}: what was not delivered waits again"),
            Retried::Not(why) => {
                not += 1;
                eprintln!("{id}: not tried again: {}", clean(&why));
            }
            Retried::NoSuchMessage => {
                not += 1;
                eprintln!("{id}: there is no such message");
            }
        }
    }
    match not {
        0 => Ok(()),
        _ => Err(anyhow!("{not} of {} were not tried again", arguments.ids.len()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_state_all_that_needs_a_person_is_asked_for() {
        let asked = queries(&[]);
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0], (vec![MessageState::Failed, MessageState::Held], None));
        assert_eq!(asked[1].1, Some(STUCK_AFTER));
        assert_eq!(queries(&[Wanted::Held]), [(vec![MessageState::Held], None)]);
        assert_eq!(queries(&[Wanted::Failed, Wanted::All]), [(vec![], None)]);
    }
}
