//! The configuration as `check` shows it: each key, its value, where it was written. Secrets are `***`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::problems::Place;
use super::tree::{Hidden, Node, Path, Value};
use super::{Channel, Settings};
use crate::pipeline::channel::{Accept, Burst, Conversations, OnUnknown, Replies, Scope};

const MASK: &str = "***";

/// Sections, keys and values, in columns.
pub fn table(settings: &Settings) -> String {
    let mut rows = Rows { settings, out: Vec::new() };
    let Settings { server, admin, metrics, fini, http, store, conversations, replies, channels, .. } = settings;
    rows.section("server");
    rows.add("server.listen", &server.listen);
    rows.add("server.public_url", server.public_url.as_deref().unwrap_or_default());
    rows.add("server.trusted_proxies", server.trusted_proxies.join(", "));
    rows.add("server.max_body", server.max_body);
    rows.add("server.max_elements", server.max_elements);
    rows.add("server.max_nodes", server.max_nodes);
    rows.add("server.max_connections", server.max_connections);
    rows.add("server.keep_alive", server.keep_alive);
    rows.add("server.lame_duck", server.lame_duck);
    rows.add("server.drain_timeout", server.drain_timeout);
    rows.section("admin");
    rows.add("admin.listen", &admin.listen);
    rows.secret("admin.token", admin.token.is_some());
    rows.section("metrics");
    rows.add("metrics.listen", &metrics.listen);
    rows.section("fini");
    rows.add("fini.base_url", &fini.base_url);
    rows.secret("fini.api_key", fini.api_key.is_some());
    rows.add("fini.timeout", fini.timeout);
    rows.add("fini.settle", fini.settle);
    rows.add("fini.max_in_flight", fini.max_in_flight);
    rows.add("fini.rate", fini.rate);
    rows.section("http");
    rows.add("http.proxy", without_user(&http.proxy));
    rows.add("http.no_proxy", &http.no_proxy);
    rows.add("http.ca_file", &http.ca_file);
    rows.section("store");
    // A file's name is no secret, unless it was written as one.
    let hidden = settings.written.get("store.url").is_some_and(|from| from.contains(", from "));
    match store.url.expose() {
        url if !hidden && url.starts_with("sqlite:") => rows.add("store.url", url),
        _ => rows.secret("store.url", true),
    }
    rows.add("store.connections", store.connections);
    rows.add("store.keep", store.keep);
    rows.add("store.forget", store.forget);
    rows.section("conversations");
    rows.conversations("conversations", conversations);
    rows.section("replies");
    rows.replies("replies", replies);
    for (name, channel) in channels {
        rows.section(&format!("channels.{name}"));
        rows.channel(&format!("channels.{name}"), channel);
    }
    rows.print()
}

/// `key`, value and origin; a section's heading has only the first.
struct Rows<'s> {
    settings: &'s Settings,
    out: Vec<(String, String, String)>,
}

impl Rows<'_> {
    fn section(&mut self, name: &str) {
        self.out.push((format!("[{name}]"), String::new(), String::new()));
    }

    fn add(&mut self, path: &str, value: impl ToString) {
        let section = self.out.iter().rev().find_map(|(key, _, _)| key.strip_prefix('[')?.strip_suffix(']'));
        let key = section.and_then(|section| path.strip_prefix(section)?.strip_prefix('.')).unwrap_or(path);
        // A list or table is written where its first part is.
        let written = &self.settings.written;
        let from = written.get(path).or_else(|| {
            written.range(format!("{path}.")..).next().filter(|(key, _)| key.starts_with(path)).map(|(_, from)| from)
        });
        let from = from.cloned().unwrap_or_else(|| "default".to_owned());
        self.out.push((key.to_owned(), one_line(&value.to_string()), from));
    }

    fn secret(&mut self, path: &str, set: bool) {
        self.add(path, if set { MASK } else { "" });
    }

    fn conversations(&mut self, at: &str, conversations: &Conversations) {
        let burst = match conversations.burst {
            Burst::Merge => "merge",
            Burst::Queue => "queue",
        };
        let scope = match conversations.scope {
            Scope::Room => "room",
            Scope::User => "user",
        };
        self.add(&format!("{at}.burst"), burst);
        self.add(&format!("{at}.merge_window"), conversations.merge_window);
        self.add(&format!("{at}.idle_timeout"), conversations.idle_timeout);
        self.add(&format!("{at}.scope"), scope);
        self.add(&format!("{at}.max_turns"), conversations.max_turns);
        self.add(&format!("{at}.max_turns_per_sender"), conversations.max_turns_per_sender);
        self.add(&format!("{at}.max_turns_per_channel"), conversations.max_turns_per_channel);
        self.add(&format!("{at}.max_text"), conversations.max_text);
        self.add(&format!("{at}.reset_words"), conversations.reset_words.join(", "));
        self.add(&format!("{at}.reset_text"), &conversations.reset_text);
        self.add(&format!("{at}.cache_capacity"), conversations.cache_capacity);
    }

    fn replies(&mut self, at: &str, replies: &Replies) {
        let on_unknown = match replies.on_unknown {
            OnUnknown::Resend => "resend",
            OnUnknown::Hold => "hold",
        };
        self.add(&format!("{at}.failure_text"), &replies.failure_text);
        self.add(&format!("{at}.unreadable_text"), &replies.unreadable_text);
        self.add(&format!("{at}.give_up_after"), replies.give_up_after);
        self.add(&format!("{at}.max_age"), replies.max_age);
        self.add(&format!("{at}.on_unknown"), on_unknown);
    }

    fn channel(&mut self, at: &str, channel: &Channel) {
        self.add(&format!("{at}.platform"), channel.platform_name());
        self.add(&format!("{at}.bot_id"), &channel.bot_id);
        for (index, rule) in channel.bots.iter().enumerate() {
            let chat = rule.chat.iter().map(|chat| format!("chat {chat}"));
            let account = rule.account.iter().map(|account| format!("account {account}"));
            let of: Vec<String> = chat.chain(account).collect();
            self.add(&format!("{at}.bots[{index}]"), format!("{} → {}", of.join(", "), rule.bot_id));
        }
        self.add(&format!("{at}.enabled"), channel.enabled);
        self.add(&format!("{at}.accept"), channel.accept.iter().map(|one| accept(*one)).collect::<Vec<_>>().join(", "));
        for (key, pace) in [("pace", channel.pace), ("pace_per_chat", channel.pace_per_chat)] {
            if let Some(pace) = pace {
                self.add(&format!("{at}.{key}"), pace);
            }
        }
        if channel.fini_api_key.is_some() {
            self.secret(&format!("{at}.fini_api_key"), true);
        }
        if let Some(base) = &channel.common.api_base {
            self.add(&format!("{at}.api_base"), base);
        }
        for (key, value) in &channel.shown {
            self.add(&format!("{at}.{key}"), value);
        }
        let mut own = Rows { settings: self.settings, out: vec![(format!("[{at}]"), String::new(), String::new())] };
        own.conversations(&format!("{at}.conversations"), &channel.conversations);
        own.replies(&format!("{at}.replies"), &channel.replies);
        // What is not the channel's own stands in the global sections.
        self.out.extend(own.out.into_iter().skip(1).filter(|(_, _, from)| from != "default"));
    }

    fn print(self) -> String {
        let wide = |text: &str| text.chars().count();
        let keys = self.out.iter().map(|(key, _, _)| wide(key)).max().unwrap_or(0);
        let values = self.out.iter().map(|(_, value, _)| wide(value)).filter(|wide| *wide <= 60).max().unwrap_or(0);
        let mut text = format!("{}\n", self.settings.source.display());
        for (key, value, from) in self.out {
            if key.starts_with('[') {
                let _ = writeln!(text, "\n{key}");
            } else {
                let value = if value.is_empty() { "–".to_owned() } else { value };
                let _ = writeln!(text, "  {key:<keys$}  {value:<values$}  {from}");
            }
        }
        text
    }
}

fn accept(accept: Accept) -> &'static str {
    match accept {
        Accept::Direct => "direct",
        Accept::Mention => "mention",
        Accept::All => "all",
    }
}

/// A proxy's address may carry a password.
fn without_user(proxy: &str) -> String {
    match (proxy.split_once("://"), proxy.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{MASK}@{host}"),
        (None, Some((_, host))) => format!("{MASK}@{host}"),
        _ => proxy.to_owned(),
    }
}

fn one_line(text: &str) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if flat.chars().count() <= 100 { flat } else { flat.chars().take(99).chain(['…']).collect() }
}

/// A platform's own keys: every value by its dotted name, secrets masked.
pub(super) fn rows(own: &Node) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    leaves(own, &Path::default(), &mut |path, node| {
        let value = match (&node.hidden, &node.value) {
            (Some(_), _) => MASK.to_owned(),
            (None, Value::Text(text)) => text.clone(),
            (None, _) => node.json().to_string(),
        };
        rows.push((path.to_string(), value));
    });
    rows
}

/// Where each value was written.
pub(super) fn places(tree: &Node) -> BTreeMap<String, String> {
    let mut places = BTreeMap::new();
    let mut add = |path: &Path, node: &Node| {
        let place = match &node.place {
            Place::File { line, .. } => format!("line {line}"),
            Place::Environment(name) => name.to_string(),
        };
        let from = match &node.hidden {
            Some(Hidden::Variable(name)) => format!("{place}, from {name}"),
            Some(Hidden::File(name)) => format!("{place}, from {name}"),
            Some(Hidden::Literal) | None => place,
        };
        places.insert(path.to_string(), from);
    };
    leaves(tree, &Path::default(), &mut add);
    places
}

/// Every value that is no table; a list stands for its elements unless they are tables or secrets.
pub(super) fn leaves(node: &Node, path: &Path, each: &mut dyn FnMut(&Path, &Node)) {
    match &node.value {
        Value::Table(table) => table.iter().for_each(|(key, value)| leaves(value, &path.key(key), each)),
        Value::List(list) if list.iter().any(|one| one.hidden.is_some() || matches!(one.value, Value::Table(_))) => {
            for (index, element) in list.iter().enumerate() {
                leaves(element, &path.index(index), each);
            }
        }
        _ => each(path, node),
    }
}
