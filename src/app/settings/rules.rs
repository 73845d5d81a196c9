//! What a value must be beyond its type, and what must hold between sections. Knows nothing of platforms'
//! own keys but those by which two channels can be seen to serve the same account.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Settings;
use super::reader::Reader;
use super::tree::{Node, Path};
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::span::Span;
use crate::pipeline::channel::{Conversations, Replies};
use crate::platform;
use crate::store::postgres::{self, OpenError};
use crate::web::TrustedProxies;

/// Addresses without the `/` at their end, so that paths can be joined.
pub(super) fn tidy(settings: &mut Settings) {
    if let Some(url) = &mut settings.server.public_url {
        url.truncate(url.trim_end_matches('/').len());
    }
    let base = &mut settings.fini.base_url;
    base.truncate(base.trim_end_matches('/').len());
}

pub(super) fn judge(reader: &mut Reader<'_>, tree: &Node, settings: &Settings) {
    let mut found = Found { problems: Vec::new(), warnings: Vec::new() };
    found.server(settings);
    found.listeners(settings);
    found.fini(settings);
    found.store(settings);
    found.conversations(settings);
    for (name, channel) in &settings.channels {
        found.channel(settings, name.as_str(), channel);
    }
    found.same_accounts(tree);
    // A database address without a password in it is no secret.
    let plain = |key: &str| key == "store.url" && settings.store.url.expose().starts_with("sqlite:");
    reader.warnings.retain(|warning| !plain(&warning.key));
    let top = Path::default();
    found.problems.into_iter().for_each(|problem| reader.found(tree, &top, problem));
    found.warnings.into_iter().for_each(|warning| reader.warn(tree, &top, warning));
}

const SHORTEST_FORGET: Span = Span::secs(9 * 24 * 3600);

struct Found {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Found {
    fn problem(&mut self, key: &str, problem: impl Into<String>, instead: impl Into<String>) {
        self.problems.push(Problem::new(key, problem, instead));
    }

    fn warning(&mut self, key: &str, problem: impl Into<String>, instead: impl Into<String>) {
        self.warnings.push(Problem::new(key, problem, instead));
    }

    fn server(&mut self, settings: &Settings) {
        let server = &settings.server;
        if let Some(written) = &server.public_url {
            let key = "server.public_url";
            let example = "write it as platforms see it: \"https://bridge.example.com\"";
            if let Some(url) = self.http_address(key, written, example) {
                if url.path().trim_end_matches('/').split('/').any(|segment| segment == "webhooks") {
                    let instead = "leave /webhooks/… out: it is added for each channel";
                    self.problem(key, "holds a webhook's path", instead);
                }
                if url.scheme() == "http" {
                    self.warning(key, "is plain http: platforms ask for https", "write https://…");
                }
            }
        }
        for (index, network) in server.trusted_proxies.iter().enumerate() {
            if TrustedProxies::parse(std::slice::from_ref(network)).is_err() {
                let key = format!("server.trusted_proxies[{index}]");
                self.problem(&key, "is not a network", "write an address, or one with a prefix: \"10.0.0.0/8\"");
            }
        }
        if server.max_body.0 == 0 {
            self.problem("server.max_body", "nothing could come in", "write a size such as \"4MiB\"");
        }
        let limits = [
            ("server.max_elements", server.max_elements, 2000),
            ("server.max_nodes", server.max_nodes, 200_000),
            ("server.max_connections", server.max_connections, 10_000),
        ];
        for (key, number, usual) in limits {
            if number == 0 {
                self.problem(key, "must be greater than 0", format!("write a number such as {usual}"));
            }
        }
        if server.drain_timeout.0 < settings.fini.timeout.0 {
            let instead = "let it be fini.timeout and 30 s more";
            self.warning("server.drain_timeout", "is shorter than fini.timeout: a restart cuts turns off", instead);
        }
    }

    fn listeners(&mut self, settings: &Settings) {
        let server = self.listener("server.listen", &settings.server.listen, "0.0.0.0:8080");
        let admin = self.listener("admin.listen", &settings.admin.listen, "127.0.0.1:9090");
        let metrics = match settings.metrics.listen.as_str() {
            "" => None,
            listen => self.listener("metrics.listen", listen, "0.0.0.0:9464"),
        };
        if let Some(admin) = admin
            && !admin.ip().is_loopback()
            && settings.admin.token.is_none()
        {
            let instead = "add token = \"env:FINI_BRIDGE_ADMIN_TOKEN\" to [admin], or listen on 127.0.0.1";
            self.problem("admin.listen", "reaches beyond this machine, and there is no admin.token", instead);
        }
        let overlap = |a: Option<SocketAddr>, b: Option<SocketAddr>| {
            a.zip(b).is_some_and(|(a, b)| {
                let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
                a.port() == b.port() && a.port() != 0 && (everywhere || a.ip() == b.ip())
            })
        };
        if overlap(server, admin) {
            self.problem("admin.listen", "is taken by server.listen", "choose another port");
        }
        if overlap(server, metrics) || overlap(admin, metrics) {
            self.problem("metrics.listen", "is taken by server.listen or admin.listen", "choose another port");
        }
    }

    fn listener(&mut self, key: &str, listen: &str, example: &str) -> Option<SocketAddr> {
        let address = listen.parse().ok();
        if address.is_none() {
            let instead = format!("write an IP address and a port: \"{example}\"");
            self.problem(key, "is not an address to listen on", instead);
        }
        address
    }

    fn fini(&mut self, settings: &Settings) {
        let fini = &settings.fini;
        if fini.api_key.is_none() {
            let instead = "set FINI_API_KEY, or add api_key = \"env:FINI_API_KEY\" to [fini]: a workspace key that may read and write";
            self.problem("fini.api_key", "is missing", instead);
        }
        let example = "write \"https://api-prod.usefini.com\", or leave it out";
        if let Some(url) = self.http_address("fini.base_url", &fini.base_url, example)
            && url.scheme() == "http"
            && !is_local(&url)
        {
            self.warning("fini.base_url", "is plain http: the key can be read on its way", "write https://…");
        }
        if fini.timeout.0.is_zero() {
            self.problem("fini.timeout", "no call could end in no time", "write a length of time such as \"120s\"");
        }
        if fini.settle.0.is_zero() {
            self.problem("fini.settle", "nothing can be decided in no time", "write a length of time such as \"30s\"");
        }
        if fini.max_in_flight == 0 {
            self.problem("fini.max_in_flight", "no call could be made", "write a whole number, 1 or more");
        }
    }

    fn store(&mut self, settings: &Settings) {
        self.retention(&settings.store);
        if settings.store.connections < postgres::FEWEST_CONNECTIONS {
            let problem = "is too few: one listens, one is for turns and deliveries, one for webhooks and leases";
            self.problem("store.connections", problem, "write a whole number, 3 or more; 8 is usual");
        }
        let url = settings.store.url.expose();
        let example = "write \"sqlite:data/fini-bridge.db\"";
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return self.postgres(&settings.store.url);
        }
        match url.strip_prefix("sqlite:") {
            None => {
                let instead = "write \"sqlite:PATH\" or \"postgres://…\"";
                self.problem("store.url", "names no store that the bridge knows", instead);
            }
            Some("") => self.problem("store.url", "names no file", example),
            Some(path) if path.starts_with(":memory:") => {
                self.problem("store.url", "would forget acknowledged messages at every restart", example);
            }
            Some(path) if path.starts_with("//") && !path.starts_with("///") => {
                let instead = format!("{example}: no // before a relative path");
                self.problem("store.url", "would be a file at the root of the disk", instead);
            }
            Some(_) => {}
        }
    }

    fn retention(&mut self, store: &crate::store::Config) {
        if store.forget < SHORTEST_FORGET {
            let problem = "is shorter than 9 days: messages that are delivered again are recognised for 8";
            self.problem("store.forget", problem, "write a length of time such as \"90d\"");
        } else if store.forget < store.keep {
            let problem =
                format!("is {}, shorter than store.keep: nothing is kept longer than its message", store.forget);
            let instead = format!("write forget = \"{}\" or more, or a shorter keep", store.keep);
            self.problem("store.forget", problem, instead);
        }
    }

    fn postgres(&mut self, url: &Secret) {
        let Err(error) = postgres::check(url) else {
            if postgres::is_unverified(url) {
                let problem = "is answered by whoever stands at that address: sslmode is below verify-full";
                self.warning("store.url", problem, "leave sslmode out, or write sslmode=verify-full (and sslrootcert)");
            }
            return;
        };
        let problem = match error {
            // Not in the library's words: they show an unknown option, which is what follows a ? in a password.
            OpenError::Url(_) => "is not an address of PostgreSQL: it, or an option in it, can't be read".to_owned(),
            OpenError::NoHost => "names no host".to_owned(),
            error => error.to_string(),
        };
        let instead = "write \"postgres://USER:PASSWORD@HOST/DATABASE\"; in a password, %40 is @ and %3F is ?";
        self.problem("store.url", problem, instead);
    }

    fn conversations(&mut self, settings: &Settings) {
        self.texts("conversations", &settings.conversations);
        self.limits("conversations", &settings.conversations, settings.store.forget);
        self.replies("replies", &settings.replies);
        if settings.channels.is_empty() {
            let instead = "add one as [channels.NAME]; the sample configuration has one of each platform";
            self.warning("channels", "there are no channels: nothing will be answered", instead);
        }
    }

    fn texts(&mut self, below: &str, conversations: &Conversations) {
        if conversations.max_text.0 == 0 {
            let key = format!("{below}.max_text");
            self.problem(&key, "every message would be too long", "write a size such as \"32KiB\"");
        }
        if conversations.reset_words.iter().any(|word| word.trim().is_empty()) {
            let key = format!("{below}.reset_words");
            self.problem(&key, "a word is blank: no message is", "write words such as [\"restart\", \"new chat\"]");
        }
    }

    /// Turns are counted as long as the store has them.
    fn limits(&mut self, below: &str, conversations: &Conversations, forget: Span) {
        let limits = conversations.limits();
        for (key, rate) in [
            ("max_turns", limits.per_chat),
            ("max_turns_per_sender", limits.per_sender),
            ("max_turns_per_channel", limits.per_channel),
        ] {
            if rate.is_some_and(|rate| rate.per > forget.0) {
                let instead = "write a shorter time, such as \"1000/7d\", or a longer store.forget";
                self.problem(&format!("{below}.{key}"), "counts for longer than store.forget remembers", instead);
            }
        }
    }

    fn replies(&mut self, below: &str, replies: &Replies) {
        for (key, span) in [("give_up_after", replies.give_up_after), ("max_age", replies.max_age)] {
            if span.0.is_zero() {
                let instead = "write a length of time such as \"24h\"";
                self.problem(&format!("{below}.{key}"), "everything would fail at once", instead);
            }
        }
    }

    fn channel(&mut self, settings: &Settings, name: &str, channel: &super::Channel) {
        let at = format!("channels.{name}");
        self.bot_id(&format!("{at}.bot_id"), channel.bot_id.as_str());
        for (index, rule) in channel.bots.iter().enumerate() {
            let key = format!("{at}.bots[{index}]");
            if rule.chat.is_none() && rule.account.is_none() {
                let instead = "add chat = \"…\" or account = \"…\"; the agent of all the rest is the channel's bot_id";
                self.problem(&key, "fits every chat", instead);
            }
            self.bot_id(&format!("{key}.bot_id"), rule.bot_id.as_str());
        }
        if channel.accept.is_empty() {
            let instead = "write accept = [\"direct\", \"mention\"], or enabled = false";
            self.problem(&format!("{at}.accept"), "no message would count", instead);
        }
        if let Some(base) = &channel.common.api_base {
            let key = format!("{at}.api_base");
            if let Some(url) = self.http_address(&key, base, "write an address such as \"https://api.example.com\"")
                && url.scheme() == "http"
                && !is_local(&url)
            {
                self.warning(&key, "is plain http: the token can be read on its way", "write https://…");
            }
        }
        // Where the global one is wrong it is told once.
        if channel.conversations.max_text != settings.conversations.max_text
            || channel.conversations.reset_words != settings.conversations.reset_words
        {
            self.texts(&format!("{at}.conversations"), &channel.conversations);
        }
        if channel.conversations.limits() != settings.conversations.limits() {
            self.limits(&format!("{at}.conversations"), &channel.conversations, settings.store.forget);
        }
        if channel.replies.give_up_after != settings.replies.give_up_after
            || channel.replies.max_age != settings.replies.max_age
        {
            self.replies(&format!("{at}.replies"), &channel.replies);
        }
        let needs_address = match &channel.platform {
            platform::Config::Telegram(_) | platform::Config::Whatsapp(_) => true,
            platform::Config::Custom(config) if config.signs_url() && settings.server.public_url.is_none() => {
                let problem = "has {url} in it, and there is no server.public_url: whoever sends would choose the host";
                let instead = "add public_url = \"https://…\" to [server], as your chat addresses it";
                self.problem(&format!("{at}.verify.signed"), problem, instead);
                false
            }
            platform::Config::Custom(_) | platform::Config::Slack(_) => false,
        };
        if needs_address && settings.server.public_url.is_none() {
            let instead = "add public_url = \"https://…\" to [server]: registration and signed addresses need it";
            self.warning("server.public_url", format!("is missing, and {at} needs it"), instead);
        }
    }

    fn bot_id(&mut self, key: &str, bot_id: &str) {
        let instead = "`fini-bridge agents` lists the agents with their ids";
        if bot_id.trim().is_empty() {
            self.problem(key, "is empty", instead);
        } else if uuid::Uuid::try_parse(bot_id).is_err() {
            self.warning(key, "is no UUID, as Fini's bot ids are", instead);
        }
    }

    /// Two channels that serve one account would both answer, or take each other's webhook.
    fn same_accounts(&mut self, tree: &Node) {
        let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for (name, channel) in tree.get("channels").and_then(Node::table).into_iter().flatten() {
            let text = |key: &str| channel.get(key).and_then(Node::text);
            let (platform, key) = match text("platform") {
                Some("whatsapp") => ("whatsapp", "phone_number_id"),
                Some("telegram") => ("telegram", "bot_token"),
                Some("slack") => ("slack", "bot_token"),
                _ => continue,
            };
            let Some(account) = text(key) else { continue };
            // The number before a Telegram token's colon is the bot; what follows can be replaced.
            let account = if platform == "telegram" { account.split(':').next().unwrap_or(account) } else { account };
            if let Some(other) = seen.insert((platform, account), name) {
                let problem = format!("is the account of channels.{other}, too");
                let instead = "one channel an account: agents of single rooms go into `bots`";
                self.warning(&format!("channels.{name}.{key}"), problem, instead);
            }
        }
    }

    /// An http(s) address that paths can be added to.
    fn http_address(&mut self, key: &str, written: &str, example: &str) -> Option<url::Url> {
        let url = url::Url::parse(written).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url.filter(url::Url::has_host) else {
            self.problem(key, "is not an http or https address", example);
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.problem(key, "holds a user name or password", "leave out what stands before the @");
            return None;
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.problem(key, "holds a ? or a #: paths are added to it", "leave out the ? or # and what follows");
            return None;
        }
        Some(url)
    }
}

fn is_local(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
