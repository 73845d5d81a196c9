//! `fini-bridge messages`: works on the store, beside a running gateway.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::json;

use super::export::span;
use super::story::{clean, state, steps, with_reason};
use super::{ConfigPath, Failure, Loaded, Outcome, channel, load_quietly};
use crate::app::gateway::open_store;
use crate::domain::clock::Timestamp;
use crate::domain::id::{ChannelName, ChatKey, MessageId};
use crate::domain::span::Span;

use crate::store::{Discarded, Filter, MessageDetails, MessageState, Mode, Retried, Store};

/// A turn takes a minute or two; what waits longer than this has a reason.
const STUCK_AFTER: Duration = Duration::from_secs(15 * 60);

/// See what failed, is held or stuck, why, and try again
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge messages list
  fini-bridge messages show 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10
  fini-bridge messages retry 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10
  fini-bridge messages discard 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10

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
    Discard(Discard),
}

/// List messages, newest first: without --state those that failed, are held or stuck
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge messages list
  fini-bridge messages list --channel support-slack --state failed --since 2h
  fini-bridge messages list --chat 7700112233 --state all
  fini-bridge messages list --state all --limit 20 --json | jq -r .id

Stuck: not answered or not delivered for 15 minutes.")]
struct List {
    /// Only of this channel
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Only of this chat, by the platform's id: the whole one, or a part between its colons
    #[arg(long, value_name = "ID")]
    chat: Option<String>,
    /// Only these; may be repeated
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
    state: Vec<Wanted>,
    /// Only those received since then: RFC 3339, a date (UTC), or a length of time such as 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// A JSON object a line with all that is known, text included
    #[arg(long)]
    json: bool,
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Received,
    Asking,
    Answered,
    Done,
    Dropped,
    Failed,
    Held,
    Stuck,
    All,
}

impl Wanted {
    const fn state(self) -> Option<MessageState> {
        match self {
            Self::Received => Some(MessageState::Received),
            Self::Asking => Some(MessageState::Asking),
            Self::Answered => Some(MessageState::Answered),
            Self::Done => Some(MessageState::Done),
            Self::Dropped => Some(MessageState::Dropped),
            Self::Failed => Some(MessageState::Failed),
            Self::Held => Some(MessageState::Held),
            Self::Stuck | Self::All => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    At(Timestamp),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    let at = span::time(text).ok().map(Since::At);
    at.or_else(|| Span::parse(text).map(|span| Since::Ago(span.0))).ok_or_else(|| {
        "write RFC 3339 such as 2026-01-31T08:00:00Z, a date such as 2026-01-31, or a length of time such as 2h"
            .to_owned()
    })
}

impl Since {
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(length) => now.minus(length),
        }
    }
}

/// Show a message's path, step by step: when, in which process, its text, and what the platform said
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
  fini-bridge messages retry $(fini-bridge messages list --state failed --json | jq -r .id)

A turn that failed is asked again; of an answer only the parts not yet delivered are sent again.")]
struct Retry {
    #[arg(value_name = "ID", required = true)]
    ids: Vec<MessageId>,
}

/// Give up failed or held messages: nothing more is done about them
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge messages discard 01998c5e-2f6b-7c3e-9d44-0c1d9c7e6a10

They are listed as dropped (discarded) from then on, and can't be retried any more.")]
struct Discard {
    #[arg(value_name = "ID", required = true)]
    ids: Vec<MessageId>,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let loaded = load_quietly(&arguments.config)?;
    match arguments.command {
        Command::List(arguments) => list(&loaded, arguments).await,
        Command::Show(arguments) => show(&loaded, arguments).await,
        Command::Retry(arguments) => retry(&loaded, arguments).await,
        Command::Discard(arguments) => discard(&loaded, arguments).await,
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
    let chat = arguments.chat.as_deref().map(ChatKey::new);
    let since = arguments.since.map(|since| since.before(loaded.clock.now()));
    let mut found = Vec::new();
    for (states, older_than) in queries(&arguments.state) {
        let filter = Filter { channel: only.clone(), chat: chat.clone(), states, since, older_than, limit };
        found.extend(store.list(&filter).await?.into_iter().map(with_reason));
    }
    found.sort_by_key(|story| std::cmp::Reverse((story.received_at, story.id)));
    found.dedup_by_key(|story| story.id);
    let more = found.len() >= limit;
    found.truncate(limit);
    if arguments.json {
        found.iter().for_each(|story| println!("{}", json!(story)));
    } else {
        print(loaded, &found, &arguments.state);
    }
    if more {
        eprintln!("there may be more: --limit {}", limit.saturating_mul(10));
    }
    if arguments.state.is_empty() && !arguments.json {
        let states = vec![MessageState::Received, MessageState::Asking, MessageState::Answered];
        let filter = Filter { channel: only, chat, states, since, older_than: None, limit };
        let waiting: Vec<MessageDetails> = store.list(&filter).await?.into_iter().map(with_reason).collect();
        if let Some(hint) = waiting_hint(&waiting, &found) {
            eprintln!("{hint}");
        }
    }
    Ok(())
}

/// What has not waited long enough to be listed, in channels where something is known to hold it up: a refused key
/// shows at once, together with all that is behind the one message that it is tried with.
fn waiting_hint(waiting: &[MessageDetails], listed: &[MessageDetails]) -> Option<String> {
    let listed: HashSet<MessageId> = listed.iter().map(|story| story.id).collect();
    let more: Vec<&MessageDetails> = waiting.iter().filter(|story| !listed.contains(&story.id)).collect();
    let held_up: HashSet<&ChannelName> =
        more.iter().filter(|story| story.reason.is_some()).map(|story| &story.channel).collect();
    let reasons: BTreeSet<String> = more.iter().filter_map(|story| story.reason.as_deref().map(clean)).collect();
    let reasons = reasons.into_iter().collect::<Vec<_>>().join(", ");
    let count = more.iter().filter(|story| held_up.contains(&story.channel)).count();
    let verb = if count == 1 { "waits" } else { "wait" };
    (count > 0).then(|| format!("{count} more {verb} ({reasons}): --state received,asking,answered"))
}

/// What to ask the store for: states, and how old.
fn queries(wanted: &[Wanted]) -> Vec<(Vec<MessageState>, Option<Duration>)> {
    use MessageState::{Answered, Asking, Received};
    let wanted = if wanted.is_empty() { &[Wanted::Failed, Wanted::Held, Wanted::Stuck] } else { wanted };
    if wanted.contains(&Wanted::All) {
        return vec![(Vec::new(), None)];
    }
    let states: Vec<MessageState> = wanted.iter().filter_map(|one| one.state()).collect();
    let mut queries = Vec::new();
    if !states.is_empty() {
        queries.push((states, None));
    }
    if wanted.contains(&Wanted::Stuck) {
        queries.push((vec![Received, Asking, Answered], Some(STUCK_AFTER)));
    }
    queries
}

fn print(loaded: &Loaded, found: &[MessageDetails], wanted: &[Wanted]) {
    if found.is_empty() {
        let none = if wanted.is_empty() { "no failed, held or stuck messages" } else { "no such messages" };
        eprintln!("{none}");
        return;
    }
    let chats: Vec<String> = found.iter().map(|story| story.chat.as_deref().map_or("–".to_owned(), clean)).collect();
    let width = |widths: &mut dyn Iterator<Item = usize>, title: &str| widths.max().unwrap_or(0).max(title.len());
    let channels = width(&mut found.iter().map(|story| story.channel.as_str().len()), "channel");
    let width = width(&mut chats.iter().map(|chat| chat.chars().count()), "chat");
    println!("{:<36}  {:<24}  {:<channels$}  {:<width$}  state", "id", "received", "channel", "chat");
    for (story, chat) in found.iter().zip(chats) {
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
        let name = story.channel.as_str();
        println!("{id:<36}  {at:<24}  {name:<channels$}  {chat:<width$}  {}{why}{text}", cut(&state(story)));
    }
}

/// A line of a table; `messages show` has the whole.
fn cut(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text)),
        None => text.to_owned(),
    }
}

async fn show(loaded: &Loaded, arguments: Show) -> Outcome {
    let store = store(loaded).await?;
    let Some(story) = store.details(arguments.id).await? else {
        return Err(Failure::Run(anyhow!("{}: there is no such message", arguments.id)));
    };
    let story = with_reason(story);
    let timeline = store.timeline(arguments.id).await?;
    if arguments.json {
        let mut story = json!(story);
        if let Some(fields) = story.as_object_mut() {
            fields.insert("timeline".to_owned(), json!(timeline));
        }
        println!("{story:#}");
        return Ok(());
    }
    println!("message       {}", story.id);
    println!("channel       {}", story.channel);
    if let Some(chat) = &story.chat {
        println!("chat          {}", clean(chat));
    }
    if let Some(chat_ref) = &story.chat_ref {
        println!("chat_ref      {chat_ref}");
    }
    if let Some(turn) = &story.turn {
        println!("agent         {}", turn.bot_id);
        let id = turn.interaction_id.as_ref().map(|id| clean(id.as_str()));
        println!("conversation  {}", id.as_deref().unwrap_or("not known yet"));
    }
    println!("state         {}", state(&story));
    println!();
    for step in steps(&story, &timeline) {
        let at = step.at.map(|at| at.to_string()).unwrap_or_default();
        println!("{at:<24}  {:<8}  {}", step.replica, step.what);
        for line in step.text {
            println!("{:<34}  | {line}", "");
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

async fn discard(loaded: &Loaded, arguments: Discard) -> Outcome {
    let store = store(loaded).await?;
    let mut not = 0;
    for id in &arguments.ids {
        match store.discard(*id).await? {
            Discarded::Yes => println!("{id}: discarded"),
            Discarded::Not(state) => {
                not += 1;
                eprintln!("{id}: not discarded: it is {}, neither failed nor held", state.as_str());
            }
            Discarded::NoSuchMessage => {
                not += 1;
                eprintln!("{id}: there is no such message");
            }
        }
    }
    match not {
        0 => Ok(()),
        _ => Err(anyhow!("{not} of {} were not discarded", arguments.ids.len()).into()),
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

    #[test]
    fn a_time_is_rfc_3339_or_a_date_or_a_length_of_time() {
        let now = Timestamp::from_secs(1_790_000_000);
        let at = |text: &str| since(text).unwrap().before(now).to_string();
        assert_eq!(at("2026-01-31T08:00:00Z"), "2026-01-31T08:00:00Z");
        assert_eq!(at("2026-01-31"), "2026-01-31T00:00:00Z");
        assert_eq!(at("2h"), now.minus(Duration::from_secs(7200)).to_string());
        assert!(since("yesterday").unwrap_err().contains("2h"));
    }
}
