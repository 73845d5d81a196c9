//! The configuration: read once, at the start, from a TOML file and the environment. Either all of it is
//! right, or every problem is told at once with its place and what to write instead.
//!
//! Each section's struct lives beside the code that it configures; here is only what holds between them.

mod channels;
mod environment;
mod later;
mod problems;
mod reader;
mod rules;
mod schema;
mod secrets;
mod table;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::domain::clock::Clock;
use crate::domain::id::ChannelName;
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::span::OptionalRate;
use crate::http::{BuildError, Http};
use crate::pipeline::channel::{Conversations, Replies};
use crate::platform::{Pace, Platform, Surroundings};
use crate::{fini, http, store, web};

pub use channels::Channel;
pub use environment::{Environment, read_environment};
pub use problems::{Finding, Place, Problems};
pub use schema::schema;
pub use table::table;

use reader::Reader;
use schema::Schemas;
use tree::{Hidden, Node, Value};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub server: web::Server,
    pub admin: web::Admin,
    pub metrics: web::Metrics,
    pub fini: fini::Config,
    pub http: http::Config,
    pub store: store::Config,
    pub conversations: Conversations,
    pub replies: Replies,
    pub channels: BTreeMap<ChannelName, Channel>,
    /// The file.
    pub source: PathBuf,
    /// Where each key that was written stands, by its dotted name: `line 3`, `FINI_BRIDGE__…`.
    pub written: BTreeMap<String, String>,
    /// The file that `store.url` was read from.
    store_url_file: Option<PathBuf>,
}

impl Settings {
    /// Gives `store.url` as it is now: a file is read again, for the password in it may have changed.
    pub fn store_url(&self) -> impl Fn() -> Secret + Send + Sync + 'static {
        let (at_start, file) = (self.store.url.clone(), self.store_url_file.clone());
        move || {
            let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
            text.map_or_else(|| at_start.clone(), |text| Secret::new(environment::last_line_break_off(&text)))
        }
    }
}

/// A configuration without problems, and what was made while judging it.
pub struct Loaded {
    pub settings: Settings,
    pub warnings: Vec<Finding>,
    /// One for each channel.
    pub connectors: BTreeMap<ChannelName, Arc<dyn Platform>>,
    /// What the connectors live on; Fini's client shares its `http`.
    pub surroundings: Surroundings,
}

/// Reads, judges and builds.
pub fn load(path: &Path, environment: &Environment, clock: Arc<dyn Clock>) -> Result<Loaded, Problems> {
    let mut tree = read(path)?;
    let schemas = Schemas::new();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut reader = Reader::new(environment, folder);
    reader.problems = environment::override_keys(&mut tree, &schemas, environment);
    environment::own_variables(&mut tree, environment);
    let (mut settings, read) = match settings(&mut reader, &mut tree, &schemas, path) {
        Some(read) => read,
        None => return Err(Problems::in_order(reader.problems)),
    };
    rules::judge(&mut reader, &tree, &settings);
    secrets::judge(&mut reader, &tree);
    let http = outgoing(&mut reader, &tree, &settings);
    let Some(http) = http else { return Err(Problems::in_order(reader.problems)) };
    let surroundings = Surroundings { http, clock };
    let connectors = channels::connect(&mut reader, &tree, &read, &surroundings);
    for (name, connector) in &connectors {
        if let Some(channel) = settings.channels.get_mut(name) {
            let Pace { channel: pace, chat } = channel.pace(connector.pace());
            (channel.pace, channel.pace_per_chat) = (Some(OptionalRate(pace)), Some(OptionalRate(chat)));
        }
    }
    if reader.problems.is_empty() {
        let Problems(warnings) = Problems::in_order(reader.warnings);
        Ok(Loaded { settings, warnings, connectors, surroundings })
    } else {
        Err(Problems::in_order(reader.problems))
    }
}

/// A whole configuration, for somebody who has none.
const BEGIN: &str = r#"name another with --config PATH, or begin with this one, for an app of your own:

        [fini]
        api_key = "env:FINI_API_KEY"
        [channels.own-app]
        platform = "custom"                          # or "slack", "telegram", "whatsapp"
        bot_id = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"   # `fini-bridge agents` lists yours
        secret = "env:OWN_APP_SECRET"                # from: fini-bridge secret new --standard-webhooks
        callback_url = "http://127.0.0.1:9000/fini"

      `fini-bridge sandbox` needs no configuration, no account and no network"#;

fn read(path: &Path) -> Result<Node, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let (problem, instead) = match error.kind() {
            std::io::ErrorKind::NotFound => ("there is no such file", BEGIN),
            std::io::ErrorKind::PermissionDenied => ("the file may not be read", "let this user read it"),
            std::io::ErrorKind::InvalidData => ("the file is not UTF-8", "save it as UTF-8"),
            _ => ("the file can't be read", "name a readable file with --config PATH"),
        };
        let place = Place::File { path: path.into(), line: 0, column: 0 };
        Problems(vec![Finding::new(place, Problem::new("", problem, instead))])
    })?;
    tree::parse(path, &text).map_err(|problem| Problems(vec![problem]))
}

fn settings(
    reader: &mut Reader<'_>,
    tree: &mut Node,
    schemas: &Schemas,
    path: &Path,
) -> Option<(Settings, BTreeMap<ChannelName, Channel>)> {
    let root = schemas.root();
    later::refuse(reader, tree, &tree::Path::default());
    // The channels are judged one by one, each by its platform.
    let channels = tree.table_mut()?.remove("channels");
    reader.judge(tree, root, &tree::Path::default());
    let server: web::Server = section(reader, tree, schemas, "server")?;
    let admin = section(reader, tree, schemas, "admin")?;
    let metrics = section(reader, tree, schemas, "metrics")?;
    let fini = section(reader, tree, schemas, "fini")?;
    let http = section(reader, tree, schemas, "http")?;
    let store = section(reader, tree, schemas, "store")?;
    let conversations = section(reader, tree, schemas, "conversations")?;
    let replies = section(reader, tree, schemas, "replies")?;
    let mut channels = channels.unwrap_or_else(|| Node::new(tree.place.clone(), Value::Table(BTreeMap::new())));
    let mut read = channels::read(reader, tree, &mut channels, schemas);
    for channel in read.values_mut() {
        channel.common.max_elements = server.max_elements;
    }
    tree.table_mut()?.insert("channels".to_owned(), channels);
    let written = table::places(tree);
    let store_url = tree.get("store").and_then(|store| store.get("url"));
    let store_url_file = match store_url.and_then(|url| url.hidden.as_ref()) {
        Some(Hidden::File(name)) => Some(reader.folder.join(name)),
        _ => None,
    };
    let mut settings = Settings {
        server,
        admin,
        metrics,
        fini,
        http,
        store,
        conversations,
        replies,
        channels: read.clone(),
        source: path.to_owned(),
        written,
        store_url_file,
    };
    rules::tidy(&mut settings);
    Some((settings, read))
}

fn section<T: DeserializeOwned>(reader: &mut Reader<'_>, tree: &mut Node, schemas: &Schemas, name: &str) -> Option<T> {
    let mut empty = Node::new(tree.place.clone(), Value::Table(BTreeMap::new()));
    let node = tree.table_mut()?.get_mut(name).unwrap_or(&mut empty);
    reader.take(node, schemas.root().property(name)?, &tree::Path::parse(name))
}

/// The way out; a plain one where `[http]` is wrong, so that the connectors can be judged all the same.
fn outgoing(reader: &mut Reader<'_>, tree: &Node, settings: &Settings) -> Option<Http> {
    let error = match Http::new(&settings.http) {
        Ok(http) => return Some(http),
        Err(error) => error,
    };
    // Each key by itself: what is wrong with one hides nothing of the other.
    let proxy = http::Config { ca_file: String::new(), ..settings.http.clone() };
    let ca_file = http::Config { proxy: String::new(), ..settings.http.clone() };
    let mut errors: Vec<BuildError> = [proxy, ca_file].iter().filter_map(|alone| Http::new(alone).err()).collect();
    if errors.is_empty() {
        errors.push(error);
    }
    for error in &errors {
        let (key, problem, instead) = match error {
            BuildError::Proxy => {
                ("http.proxy", "is not an http or https address", "write it as http://host:port; no other kind works")
            }
            BuildError::CaFile(_) => {
                ("http.ca_file", "can't be read", "name a readable file; relative paths start at the working directory")
            }
            BuildError::Certificate => {
                ("http.ca_file", "holds no certificate in PEM form", "name a file with certificates in PEM form")
            }
            BuildError::Client(_) => ("http", "the HTTP client can't be set up", "check proxy and ca_file"),
        };
        reader.found(tree, &tree::Path::default(), Problem::new(key, problem, instead));
    }
    Http::new(&http::Config::default()).ok()
}
