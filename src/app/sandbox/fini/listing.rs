//! List conversations: its parameters, each refused with the rule that failed, and its pages.

use serde_json::json;
use uuid::Uuid;

use super::conversation::Conversation;
use super::delivery::Answer;
use super::state::Shared;

const DAY: i64 = 24 * 3600 * 1000;
const DEFAULT_SPAN: i64 = 7 * DAY;
const MAX_SPAN: i64 = 90 * DAY;
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;
const SOURCES: [&str; 17] = [
    "api",
    "widget",
    "ui",
    "standalone",
    "testsuite",
    "replay",
    "zendesk",
    "intercom",
    "front",
    "hubspot",
    "salesforce",
    "gorgias",
    "livechat",
    "slack",
    "discord",
    "freshdesk",
    "freshchat",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Older,
    Newer,
}

struct Listing {
    since: i64,
    until: i64,
    limit: usize,
    cursor: Option<String>,
    direction: Direction,
    agent: Option<String>,
    sources: Vec<String>,
    channels: Vec<String>,
}

pub(super) fn page(shared: &Shared, workspace: usize, query: &str) -> Answer {
    match Listing::read(query, shared.now()) {
        Ok(listing) => listing.page(shared, workspace),
        Err(rule) => Answer::error(400, rule),
    }
}

impl Listing {
    fn read(query: &str, now: i64) -> Result<Self, String> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let all = |name: &str| -> Vec<&str> {
            pairs.iter().filter(|(key, _)| is(key, name)).map(|(_, value)| value.as_str()).collect()
        };
        let one = |name: &str| match all(name).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some((*value).to_owned())),
            _ => Err(format!("{name} must be given once")),
        };
        let date = |name: &str| match one(name)? {
            Some(text) => text.parse::<i64>().map(Some).map_err(|_| format!("{name} must be epoch milliseconds")),
            None => Ok(None),
        };
        let id = |name: &str| match one(name)? {
            Some(text) if Uuid::parse_str(&text).is_err() => Err(format!("{name}: invalid UUID")),
            text => Ok(text),
        };
        let list = |name: &str| -> Vec<String> {
            all(name).into_iter().flat_map(|value| value.split(',')).map(|value| value.trim().to_owned()).collect()
        };
        let until = date("until")?.unwrap_or(now);
        let since = date("since")?.unwrap_or(now - DEFAULT_SPAN);
        if since >= until {
            return Err("since must be before until".to_owned());
        }
        if until.saturating_sub(since) > MAX_SPAN {
            return Err("since/until range must not exceed 90 days".to_owned());
        }
        let limit = match one("limit")? {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or("limit must be between 1 and 100")?,
        };
        let direction = match one("direction")?.as_deref() {
            None | Some("next") => Direction::Older,
            Some("previous") => Direction::Newer,
            Some(_) => return Err("direction must be next or previous".to_owned()),
        };
        let sources = list("source");
        if let Some(unknown) = sources.iter().find(|source| !SOURCES.contains(&source.as_str())) {
            return Err(format!("source: unknown value {unknown}"));
        }
        let (cursor, agent) = (id("cursor")?, id("agentId")?);
        Ok(Self { since, until, limit, cursor, direction, agent, sources, channels: list("channel") })
    }

    fn page(&self, shared: &Shared, workspace: usize) -> Answer {
        shared.look(|all, settings| {
            let place = |conversation: &Conversation| (conversation.latest(), conversation.id.clone());
            let cursor = match &self.cursor {
                None => None,
                Some(id) => match all.iter().find(|known| known.workspace == workspace && known.id == *id) {
                    Some(known) => Some(place(known)),
                    None => return Answer::error(400, "cursor: no such conversation"),
                },
            };
            let mut found: Vec<(_, &Conversation)> = all
                .iter()
                .filter(|one| one.workspace == workspace && one.listed(settings) && self.wants(one))
                .map(|one| (place(one), one))
                .collect();
            found.sort_by(|(one, _), (other, _)| other.cmp(one));
            // Where the page begins and ends in what was found, newest first.
            let (from, to) = match (&cursor, self.direction) {
                (None, _) => (0, self.limit),
                (Some(cursor), Direction::Older) => {
                    let from = found.partition_point(|(place, _)| place >= cursor);
                    (from, from + self.limit)
                }
                (Some(cursor), Direction::Newer) => {
                    let to = found.partition_point(|(place, _)| place > cursor);
                    (to.saturating_sub(self.limit), to)
                }
            };
            let to = to.min(found.len());
            let page = found.get(from..to).unwrap_or_default();
            let (newer, older) = (from > 0, to < found.len());
            let cursor_of = |edge: Option<&(_, &Conversation)>| edge.map(|(_, conversation)| conversation.id.clone());
            let has_more = match self.direction {
                Direction::Older => older,
                Direction::Newer => newer,
            };
            Answer::ok(json!({
                "interactions": page.iter().map(|(_, conversation)| conversation.public(settings)).collect::<Vec<_>>(),
                "hasMore": has_more,
                "nextCursor": cursor_of(page.last().filter(|_| older)),
                "prevCursor": cursor_of(page.first().filter(|_| newer)),
            }))
        })
    }

    fn wants(&self, conversation: &Conversation) -> bool {
        (self.since..=self.until).contains(&conversation.latest())
            && self.agent.as_ref().is_none_or(|agent| *agent == conversation.agent)
            && (self.sources.is_empty() || self.sources.iter().any(|source| source == "api"))
            && (self.channels.is_empty() || self.channels.iter().any(|one| Some(one) == conversation.channel.as_ref()))
    }
}

/// `source=a&source=b`, and as some clients write an array, `source[]=a`.
fn is(key: &str, name: &str) -> bool {
    key.strip_suffix("[]").unwrap_or(key) == name
}
