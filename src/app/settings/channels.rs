//! `[channels.NAME]`: the keys that every channel has, those of its platform, and its connector.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::problems::{Finding, list, nearest};
use super::reader::Reader;
use super::schema::{Schemas, Shape};
use super::secrets;
use super::table;
use super::tree::{Node, Path, Value};
use crate::domain::id::{BotId, ChannelName};
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::span::OptionalRate;
use crate::pipeline::channel::{Accept, BotRule, Conversations, Replies};
use crate::platform::{self, Common, Pace, Platform, Surroundings};

/// A channel as it is configured.
#[derive(Clone, Debug)]
pub struct Channel {
    pub bot_id: BotId,
    /// The first that fits wins.
    pub bots: Vec<BotRule>,
    /// False: stored, not answered.
    pub enabled: bool,
    /// Another workspace's.
    pub fini_api_key: Option<Secret>,
    pub accept: Vec<Accept>,
    /// The secrets that webhooks are verified with, each as configured: `env:NAME`, or the key that it stands in.
    pub secrets: Vec<Arc<str>>,
    /// The global ones, with the channel's own keys over them.
    pub conversations: Conversations,
    /// Likewise.
    pub replies: Replies,
    /// `None` until the connector has said what the platform documents.
    pub pace: Option<OptionalRate>,
    pub pace_per_chat: Option<OptionalRate>,
    pub common: Common,
    pub platform: platform::Config,
    /// The platform's own keys as the table of `check` shows them.
    pub shown: Vec<(String, String)>,
}

impl Channel {
    /// The platform's word.
    pub fn platform_name(&self) -> &'static str {
        match self.platform {
            platform::Config::Slack(_) => "slack",
            platform::Config::Telegram(_) => "telegram",
            platform::Config::Whatsapp(_) => "whatsapp",
            platform::Config::Custom(_) => "custom",
        }
    }

    /// The channel's own pace, and the platform's where it has none.
    pub fn pace(&self, documented: Pace) -> Pace {
        Pace {
            channel: self.pace.map_or(documented.channel, |pace| pace.0),
            chat: self.pace_per_chat.map_or(documented.chat, |pace| pace.0),
        }
    }
}

/// The keys that every channel has.
#[derive(Deserialize, schemars::JsonSchema)]
pub(super) struct Shared {
    /// slack, telegram, whatsapp or custom
    #[allow(dead_code)] // read before: it decides which keys there are
    platform: String,
    /// the Fini agent that answers here; `fini-bridge agents` lists them
    bot_id: BotId,
    /// Other agents for single rooms or accounts; the first entry that fits wins.
    #[serde(default)]
    bots: Vec<BotRule>,
    /// false: messages are stored, not answered.
    enabled: Option<bool>,
    /// The key of another workspace.
    fini_api_key: Option<Secret>,
    /// Replaces the platform's documented base address.
    api_base: Option<String>,
    /// Which messages of a room count; default: direct and mention.
    accept: Option<Vec<Accept>>,
    /// How many parts and typing signs may go out in a time, over all replicas; default: what the platform documents.
    /// `"none"`: as many as come.
    pace: Option<OptionalRate>,
    /// Likewise to one chat.
    pace_per_chat: Option<OptionalRate>,
    #[allow(dead_code)] // read with the global ones under them
    conversations: Option<Conversations>,
    #[allow(dead_code)]
    replies: Option<Replies>,
    /// A recorded webhook, on which `check` tries the expressions; relative to this file.
    sample: Option<String>,
}

/// Platforms that are on the way.
const LATER: [&str; 17] = [
    "messenger",
    "instagram",
    "line",
    "viber",
    "twilio",
    "wechat",
    "discord",
    "msteams",
    "google_chat",
    "mattermost",
    "rocketchat",
    "zulip",
    "webex",
    "matrix",
    "sunshine",
    "intercom",
    "chatwoot",
];

pub(super) fn read(
    reader: &mut Reader<'_>,
    tree: &Node,
    channels: &mut Node,
    schemas: &Schemas,
) -> BTreeMap<ChannelName, Channel> {
    let at = Path::parse("channels");
    let place = channels.place.clone();
    let Some(table) = channels.table_mut() else {
        reader.problem(&place, &at, "is not a table", "write each channel as [channels.NAME]");
        return BTreeMap::new();
    };
    let mut read = BTreeMap::new();
    for (name, node) in table.iter_mut() {
        let path = at.key(name);
        if !is_name(name) {
            let instead = "use 1 to 64 lower-case letters, digits, - and _, beginning with a letter or a digit: \
                           the name is part of the webhook's address";
            let problem = Problem::new(path.to_string(), "can't be a channel's name", instead);
            // Its keys are judged all the same.
            reader.problems.push(Finding::new(node.place.clone(), problem));
        }
        if let Some(channel) = channel(reader, tree, node, schemas, &path) {
            read.insert(ChannelName::new(name.as_str()), channel);
        }
    }
    read
}

fn is_name(name: &str) -> bool {
    let small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 64
        && name.bytes().next().is_some_and(small)
        && name.bytes().all(|b| small(b) || b == b'-' || b == b'_')
}

fn channel(reader: &mut Reader<'_>, tree: &Node, node: &mut Node, schemas: &Schemas, path: &Path) -> Option<Channel> {
    if node.table().is_none() {
        reader.problem(&node.place, path, "is not a table", format!("write the channel as [{path}]"));
        return None;
    }
    let platform = platform_name(reader, node, path);
    let shape = schemas.channel(platform);
    if platform.is_none() {
        // Which other keys there are is not known; the shared ones are judged all the same.
        let known: Vec<&str> = shape.properties().into_iter().map(|(key, _)| key).collect();
        node.table_mut()?.retain(|key, _| known.contains(&key.as_str()));
    }
    reader.judge(node, shape, path);
    let mut common = node.clone();
    common.table_mut()?.retain(|key, _| schemas.channel(None).property(key).is_some());
    let shared: Shared = reader.take(&mut common, schemas.channel(None), path)?;
    let conversations = merged(reader, tree, &common, schemas, path, "conversations")?;
    let replies = merged(reader, tree, &common, schemas, path, "replies")?;
    let platform = platform?;
    let mut own = node.clone();
    own.table_mut()?.retain(|key, _| schemas.is_own(platform, key));
    let mut config = platform_config(reader, platform, &mut own, shape, path)?;
    if let Some(sample) = &shared.sample {
        match std::fs::read_to_string(reader.folder.join(sample)) {
            Ok(text) => attach_sample(&mut config, text),
            Err(error) => {
                let problem = format!("the file can't be read: {}", error.kind());
                let problem = Problem::new("sample", problem, "name a file, relative to the configuration's folder");
                reader.problem(
                    &node.around(&Path::parse("sample")).place,
                    &path.key("sample"),
                    problem.problem,
                    problem.instead,
                );
            }
        }
    }
    Some(Channel {
        bot_id: shared.bot_id,
        bots: shared.bots,
        enabled: shared.enabled.unwrap_or(true),
        fini_api_key: shared.fini_api_key,
        accept: shared.accept.unwrap_or_else(|| vec![Accept::Direct, Accept::Mention]),
        secrets: secrets::verifying(node, path),
        conversations,
        replies,
        pace: shared.pace,
        pace_per_chat: shared.pace_per_chat,
        common: Common {
            api_base: shared.api_base.map(|base| base.trim_end_matches('/').to_owned()),
            ..Common::default()
        },
        platform: config,
        shown: table::rows(&own),
    })
}

/// The recorded webhook of a custom channel, for its connector to try its expressions on.
fn attach_sample(config: &mut platform::Config, text: String) {
    if let platform::Config::Custom(config) = config {
        config.sample_text = Some(text);
    }
}

/// The platform, if it is one that there is.
fn platform_name(reader: &mut Reader<'_>, node: &mut Node, path: &Path) -> Option<&'static str> {
    let written = node.get("platform")?.clone();
    let name = written.text()?;
    if let Some(name) = platform::NAMES.into_iter().find(|known| *known == name) {
        return Some(name);
    }
    let (problem, instead) = if LATER.contains(&name) {
        let instead = format!(
            "there are {}; until then \"custom\" connects any chat by its webhooks, and your own software by the bridge's \
             own protocol (docs/custom-channels.md)",
            list(platform::NAMES)
        );
        ("this platform is not built yet".to_owned(), instead)
    } else {
        let near = nearest(name, platform::NAMES.into_iter().chain(LATER));
        let near = near.map(|near| format!("did you mean \"{near}\"? ")).unwrap_or_default();
        let instead = format!("{near}There are {}; any other chat is \"custom\"", list(platform::NAMES));
        ("there is no such platform".to_owned(), instead)
    };
    reader.problem(&written.place, &path.key("platform"), problem, instead);
    None
}

/// A global section with the channel's own keys over it.
fn merged<T: serde::de::DeserializeOwned>(
    reader: &mut Reader<'_>,
    tree: &Node,
    channel: &Node,
    schemas: &Schemas,
    path: &Path,
    name: &str,
) -> Option<T> {
    let mut node =
        tree.get(name).cloned().unwrap_or_else(|| Node::new(channel.place.clone(), Value::Table(BTreeMap::new())));
    let shape = schemas.root().property(name)?;
    if let (Some(table), Some(own)) = (node.table_mut(), channel.get(name).and_then(Node::table)) {
        table.extend(own.clone());
    }
    reader.take(&mut node, shape, &path.key(name))
}

fn platform_config(
    reader: &mut Reader<'_>,
    platform: &str,
    own: &mut Node,
    shape: Shape<'_>,
    path: &Path,
) -> Option<platform::Config> {
    use platform::Config;
    match platform {
        "slack" => reader.take(own, shape, path).map(Config::Slack),
        "telegram" => reader.take(own, shape, path).map(Config::Telegram),
        "whatsapp" => reader.take(own, shape, path).map(Config::Whatsapp),
        "custom" => reader.take(own, shape, path).map(|config| Config::Custom(Box::new(config))),
        _ => None,
    }
}

/// The connectors; what they find wrong with their keys goes to the other problems.
pub(super) fn connect(
    reader: &mut Reader<'_>,
    tree: &Node,
    channels: &BTreeMap<ChannelName, Channel>,
    around: &Surroundings,
) -> BTreeMap<ChannelName, Arc<dyn Platform>> {
    let mut connectors = BTreeMap::new();
    for (name, channel) in channels {
        let path = Path::parse("channels").key(name.as_str());
        for warning in platform::warnings(&channel.platform) {
            reader.warn(tree, &path, warning);
        }
        match platform::build(&channel.platform, &channel.common, around) {
            Ok(connector) => drop(connectors.insert(name.clone(), connector)),
            Err(problems) if problems.is_empty() => {
                let problem = Problem::new("", "the channel can't be set up", "check its keys");
                reader.found(tree, &path, problem);
            }
            Err(problems) => problems.into_iter().for_each(|problem| reader.found(tree, &path, problem)),
        }
    }
    connectors
}
