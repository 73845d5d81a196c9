//! `fini-bridge agents`

use anyhow::anyhow;
use serde_json::{Value, json};

use super::story::clean;
use super::workspaces::{advice, workspaces};
use super::{ConfigPath, Outcome, load_quietly};

/// List the workspace's agents with their bot ids
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge agents
  fini-bridge agents --json | jq -r '.[] | select(.name == \"Support\") | .id'

Where channels have keys of their own, the agents of each workspace are listed.")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigPath,
    /// A JSON array of objects with id, name and key (where the configuration holds the Fini key)
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let loaded = load_quietly(&arguments.config)?;
    let workspaces = workspaces(&loaded)?;
    let mut all = Vec::new();
    for workspace in &workspaces {
        let agents = workspace.client.list_agents().await;
        let agents = agents.map_err(|error| anyhow!("{}: {error}; {}", workspace.name, advice(&error)))?;
        all.push((workspace.name.as_str(), agents));
    }
    if arguments.json {
        let rows = all.iter().flat_map(|(key, agents)| {
            agents.iter().map(move |agent| json!({ "id": agent.id, "name": agent.name, "key": key }))
        });
        println!("{:#}", rows.collect::<Value>());
        return Ok(());
    }
    for (at, (key, agents)) in all.iter().enumerate() {
        if all.len() > 1 {
            println!("{}[{key}]", if at == 0 { "" } else { "\n" });
        }
        let width = agents.iter().map(|agent| agent.id.as_str().len()).max().unwrap_or(0);
        println!("{:<width$}  name", "bot_id");
        for agent in agents {
            println!("{:<width$}  {}", agent.id.as_str(), clean(agent.name.as_deref().unwrap_or("–")));
        }
    }
    Ok(())
}
