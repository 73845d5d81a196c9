//! What is measured: a reference or a gateway, as a process of its own on fresh state.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::machine::Pinning;
use crate::message::SIGNING_SECRET;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Reference C: the whole job in memory.
    Memory,
    /// Reference D: one durable row before the 200, and no job.
    Durable,
    Gateway(Gateway),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    pub name: &'static str,
    pub binary: PathBuf,
    pub pace: Pace,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// The keys `pace` and `pace_per_chat` lift it.
    Configured,
    /// `BENCH_UNPACED`: a build that keeps none.
    Absent,
    /// Slack's own, which is all that can be measured of the whole job.
    Fixed,
}

impl Gateway {
    pub fn new(name: &'static str, binary: &Path) -> Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("there is no binary at {}", binary.display()))?;
        let schema = Command::new(&binary).arg("schema").output()?;
        let pace = if String::from_utf8_lossy(&schema.stdout).contains("\"pace_per_chat\"") {
            Pace::Configured
        } else if std::env::var_os("BENCH_UNPACED").is_some() {
            Pace::Absent
        } else {
            Pace::Fixed
        };
        Ok(Self { name, binary, pace })
    }
}

impl Subject {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory => "C",
            Self::Durable => "D",
            Self::Gateway(gateway) => gateway.name,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// Messages are stored and not answered.
    StoreOnly,
    Whole,
}

/// How a gateway is configured.
#[derive(Clone, Debug)]
pub struct Setup {
    pub job: Job,
    pub channels: usize,
    /// Of PostgreSQL; none: a file of its own.
    pub store: Option<String>,
}

impl Setup {
    pub fn new(job: Job) -> Self {
        Self { job, channels: 1, store: None }
    }

    /// The first channel's name is the one that references have.
    pub fn paths(&self) -> Vec<String> {
        (0..self.channels).map(|number| format!("/webhooks/{}", name(number))).collect()
    }

    fn configuration(&self, folder: &Path, upstreams: &str, pace: Pace) -> Result<String> {
        let store = self.store.clone().unwrap_or_else(|| format!("sqlite:{}/bridge.db", folder.display()));
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nlame_duck = \"0s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [fini]\nbase_url = \"{upstreams}\"\napi_key = \"fini_bench\"\nmax_in_flight = 20000\n\
             [store]\nurl = \"{store}\"\n\
             [conversations]\nmax_turns = \"1000000/10m\"\nmax_turns_per_sender = \"none\"\n"
        );
        for number in 0..self.channels {
            write!(
                text,
                "[channels.{}]\nplatform = \"slack\"\nenabled = {}\nbot_id = \"bot_1\"\n\
                 signing_secret = \"{SIGNING_SECRET}\"\nbot_token = \"xoxb-bench-{number}\"\n\
                 api_base = \"{upstreams}/api\"\n",
                name(number),
                self.job == Job::Whole,
            )?;
            if pace == Pace::Configured {
                text.push_str("pace = \"none\"\npace_per_chat = \"none\"\n");
            }
        }
        Ok(text)
    }
}

fn name(number: usize) -> String {
    if number == 0 { "slack".to_owned() } else { format!("slack-{number}") }
}

/// A running one. Its folder goes away with it.
pub struct Process {
    child: Child,
    pub address: String,
    _folder: tempfile::TempDir,
}

impl Process {
    pub fn start(subject: &Subject, setup: &Setup, upstreams: &str, pinning: Option<&Pinning>) -> Result<Self> {
        let folder = tempfile::tempdir_in(work_folder()?)?;
        let command = |program: &Path| pinning.map_or_else(|| Command::new(program), |it| it.command(program));
        let own = std::env::current_exe()?;
        let mut command = match subject {
            Subject::Gateway(gateway) => {
                let file = folder.path().join("fini-bridge.toml");
                std::fs::write(&file, setup.configuration(folder.path(), upstreams, gateway.pace)?)?;
                let mut command = command(&gateway.binary);
                command.args(["serve", "--log-json", "--config"]).arg(file);
                command
            }
            Subject::Memory => {
                let mut command = command(&own);
                command.args(["reference", "memory", upstreams]);
                command
            }
            Subject::Durable => {
                let mut command = command(&own);
                command.args(["reference", "durable"]).arg(folder.path().join("inbox.db"));
                command
            }
        };
        let log = folder.path().join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).current_dir(folder.path());
        let mut process = Self { child: command.spawn()?, address: String::new(), _folder: folder };
        process.address = process.listens(&log)?;
        Ok(process)
    }

    fn listens(&mut self, log: &Path) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let text = std::fs::read_to_string(log)?;
            if let Some(line) = text.lines().find(|line| line.contains("\"message\":\"serving\"")) {
                let line: Value = serde_json::from_str(line)?;
                return line["listen"].as_str().map(str::to_owned).context("it does not say where it listens");
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the measured process ended with {status}:\n{text}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the measured process did not start:\n{}", std::fs::read_to_string(log)?)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On the disk that the project is on: /tmp may be memory.
pub fn work_folder() -> Result<PathBuf> {
    let folder = std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from("target/bench/work"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}
