//! The Fini workspaces that a configuration names, each by its key and each once.

use super::{Failure, Loaded};
use crate::app::gateway::fini_client;
use crate::domain::id::ChannelName;
use crate::domain::secret::Secret;
use crate::fini::{Client, ReadError};

pub struct Workspace {
    /// The configuration's key that holds the Fini key: a person knows the secret by this name.
    pub name: String,
    pub client: Client,
    pub key: Secret,
    /// The channels that this key answers.
    pub channels: Vec<ChannelName>,
}

/// `fini.api_key` first, then the channels' own.
pub fn workspaces(loaded: &Loaded) -> Result<Vec<Workspace>, Failure> {
    let settings = &loaded.settings;
    let mut found: Vec<(&Secret, Workspace)> = Vec::new();
    let mut place = |name: String, key| match found.iter().position(|(known, _)| *known == key) {
        Some(at) => at,
        None => {
            let client = fini_client(settings, key, &loaded.http, &loaded.clock);
            found.push((key, Workspace { name, client, key: key.clone(), channels: Vec::new() }));
            found.len() - 1
        }
    };
    let main = settings.fini.api_key.as_ref().map(|key| place("fini.api_key".to_owned(), key));
    let mut answered = Vec::new();
    for (name, channel) in &settings.channels {
        let own = channel.fini_api_key.as_ref().map(|key| place(format!("channels.{name}.fini_api_key"), key));
        answered.extend(own.or(main).map(|at| (at, name.clone())));
    }
    for (at, name) in answered {
        if let Some((_, workspace)) = found.get_mut(at) {
            workspace.channels.push(name);
        }
    }
    if found.is_empty() {
        return Err(Failure::Usage("there is no Fini key: set fini.api_key, best as \"env:FINI_API_KEY\"".to_owned()));
    }
    Ok(found.into_iter().map(|(_, workspace)| workspace).collect())
}

/// What a person does about a read that failed.
pub fn advice(error: &ReadError) -> &'static str {
    match error {
        ReadError::Key { status: 403, .. } => "the key lacks the scope \"read\": make one with read and write in Fini",
        ReadError::Key { .. } => "the key is wrong, revoked or of another installation: make a new one in Fini",
        ReadError::Throttled { .. } => "try again in a minute",
        ReadError::Rejected { .. } => "check fini.base_url",
        ReadError::Failed { .. } => "try again; if it stays so, ask Fini",
        ReadError::NoAnswer(_) => "check fini.base_url, [http] and the network",
    }
}
