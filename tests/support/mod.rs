//! A whole world for the gateway: a real process on a real file, a strict simulated Fini, and a strict outside
//! that stands where the platforms would be.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

pub mod balancer;
pub mod fleet;
pub mod outside;
pub mod relay;
pub mod senders;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fini_bridge::app::sandbox::fini::{
    ApiKey, Names, Running, Scopes, SimulatedAgent, SimulatedFini, SimulatorConfig, Workspace,
};
use fini_bridge::domain::clock::SystemClock;
use fini_bridge::domain::secret::Secret;
use fini_bridge::store::postgres::Postgres;
use fini_bridge::store::sqlite::{Mode, Sqlite};
use fini_bridge::store::{Filter, MessageDetails, MessageState, Store};

use outside::Outside;
use senders::Signed;

pub const BOT: &str = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3";
pub const OTHER_BOT: &str = "0e1f2a3b-4c5d-4e6f-8a9b-0c1d2e3f4a5b";
/// All of one workspace.
pub const FINI_KEYS: [&str; 3] = [FINI_KEY, "fini_test_key_2", "fini_test_key_3"];
pub const FINI_KEY: &str = "fini_test_key_1";

/// Waits for something to become true; panics with `what` when it doesn't.
pub async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the environment says, if it says something.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub const SOON: Duration = Duration::from_secs(20);

pub struct World {
    pub fini: Running,
    pub outside: Outside,
    pub folder: tempfile::TempDir,
    pub http: reqwest::Client,
    /// Of PostgreSQL; none: a file in the folder.
    database: Option<String>,
    process: Option<Process>,
}

pub struct Process {
    child: Child,
    pub address: String,
    pub admin: String,
    /// As its leases name it.
    pub replica: String,
    log: Arc<Mutex<String>>,
}

impl World {
    /// `channels`: the TOML of the channels, and of whatever else; `{outside}` and `{fini}` are filled in.
    pub async fn start(channels: &str) -> Self {
        Self::start_on(None, channels).await
    }

    /// On the PostgreSQL of this URL instead of a file.
    pub async fn start_on(database: Option<String>, channels: &str) -> Self {
        let mut world = Self::prepare_on(database, channels).await;
        world.serve().await;
        world
    }

    pub async fn prepare(channels: &str) -> Self {
        Self::prepare_on(None, channels).await
    }

    pub async fn prepare_on(database: Option<String>, channels: &str) -> Self {
        // Chooses the process's crypto provider, which the test's own client needs too.
        let _ = fini_bridge::http::Http::new(&fini_bridge::http::Config::default()).unwrap();
        let fini = SimulatedFini::start(simulator()).await.unwrap();
        let outside = Outside::start().await;
        let folder = tempfile::tempdir().unwrap();
        let http = reqwest::Client::builder().pool_max_idle_per_host(200).build().unwrap();
        let world = Self { fini, outside, folder, http, database, process: None };
        world.configure(channels);
        world
    }

    pub fn configure(&self, channels: &str) {
        let mut text = channels.replace("{outside}", &self.outside.url()).replace("{fini}", &self.fini.url());
        let store = self.database.clone().unwrap_or_else(|| format!("sqlite:{}", self.file().display()));
        let mut section = |name: &str, lines: &str| {
            if text.contains(&format!("[{name}]")) {
                text = text.replace(&format!("[{name}]\n"), &format!("[{name}]\n{lines}\n"));
            } else {
                text = format!("[{name}]\n{lines}\n{text}");
            }
        };
        section("server", "listen = \"127.0.0.1:0\"\nlame_duck = \"0s\"");
        section("admin", "listen = \"127.0.0.1:0\"");
        section("fini", &format!("base_url = \"{}\"\napi_key = \"{FINI_KEY}\"", self.fini.url()));
        section("store", &format!("url = \"{store}\""));
        std::fs::write(self.config_path(), text).unwrap();
    }

    /// Of SQLite.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("bridge.db")
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("fini-bridge.toml")
    }

    pub async fn serve(&mut self) {
        self.serve_at("debug").await;
    }

    /// Started by another command, such as `prlimit --nofile=1024`.
    pub async fn serve_by(&mut self, command: &[&str]) {
        self.process = Some(Process::start_by::<&str>(command, &self.config_path(), "info", &[]).await);
    }

    pub async fn serve_at(&mut self, level: &str) {
        self.process = Some(Process::start(&self.config_path(), level).await);
    }

    /// With further variables in its environment.
    pub async fn serve_with(&mut self, environment: &[(&str, &str)]) {
        self.process = Some(Process::start_with(&self.config_path(), "debug", environment).await);
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the gateway runs")
    }

    pub fn log(&self) -> String {
        self.process().log()
    }

    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub fn signal(&self, name: &str) {
        self.process().signal(name);
    }

    /// SIGTERM, and what came of it.
    pub async fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal("-TERM");
        self.exited(within).await
    }

    pub async fn exited(&mut self, within: Duration) -> ExitStatus {
        self.process.take().unwrap().exited(within).await
    }

    pub fn url(&self, channel: &str) -> String {
        format!("http://{}/webhooks/{channel}", self.process().address)
    }

    /// Posts a signed webhook.
    pub async fn post(&self, channel: &str, signed: Signed) -> reqwest::Response {
        self.request(channel, signed).send().await.unwrap()
    }

    pub fn request(&self, channel: &str, signed: Signed) -> reqwest::RequestBuilder {
        let mut request = self.http.post(self.url(channel)).body(signed.body);
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        request
    }

    /// Posts a signed webhook that must be taken.
    pub async fn deliver(&self, channel: &str, signed: Signed) {
        let answer = self.post(channel, signed).await;
        assert_eq!(answer.status(), 200, "{}", self.log());
    }

    pub async fn admin(&self, path: &str) -> String {
        self.http.get(format!("http://{}{path}", self.process().admin)).send().await.unwrap().text().await.unwrap()
    }

    /// The store, beside the running gateway.
    pub async fn store(&self) -> Arc<dyn Store> {
        match &self.database {
            None => Sqlite::open(&self.file(), Mode::Tool, Arc::new(SystemClock)).await.unwrap(),
            Some(url) => {
                let url = Secret::new(url.as_str());
                Postgres::open(Arc::new(move || url.clone()), Mode::Tool).await.unwrap()
            }
        }
    }

    pub async fn stories(&self, states: &[MessageState]) -> Vec<MessageDetails> {
        let filter = Filter { states: states.to_vec(), limit: 10_000, ..Filter::default() };
        self.store().await.list(&filter).await.unwrap()
    }

    /// Waits until so many messages are in this state.
    pub async fn until(&self, number: usize, state: MessageState) -> Vec<MessageDetails> {
        let store = self.store().await;
        let filter = Filter { states: vec![state], limit: 10_000, ..Filter::default() };
        let what = format!("{number} messages are {}", state.as_str());
        eventually(&what, Duration::from_secs(60), async || {
            let found = store.list(&filter).await.unwrap();
            (found.len() >= number).then_some(found)
        })
        .await
    }

    /// Runs another command of the binary with this configuration.
    pub fn command(&self, arguments: &[&str]) -> std::process::Output {
        run(&[arguments, &["--config", self.config_path().to_str().unwrap()]].concat(), self.folder.path())
    }
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str], folder: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_fini-bridge")).args(arguments).current_dir(folder).output().unwrap()
}

impl Process {
    pub async fn start(config: &Path, level: &str) -> Self {
        Self::start_with::<&str>(config, level, &[]).await
    }

    /// With further variables in its environment.
    pub async fn start_with<V: AsRef<OsStr>>(config: &Path, level: &str, environment: &[(&str, V)]) -> Self {
        Self::start_by(&[], config, level, environment).await
    }

    /// Started by another command, which must become the gateway: it has the same process id.
    pub async fn start_by<V: AsRef<OsStr>>(
        command: &[&str],
        config: &Path,
        level: &str,
        environment: &[(&str, V)],
    ) -> Self {
        let words: Vec<&str> = command.iter().copied().chain([env!("CARGO_BIN_EXE_fini-bridge")]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "--log", level, "--log-json", "--config"])
            .arg(config)
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .current_dir(config.parent().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, into) = (BufReader::new(child.stderr.take().unwrap()).lines(), log.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = into.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut process = Self { child, address: String::new(), admin: String::new(), replica: String::new(), log };
        let announced = eventually("the gateway serves", SOON, async || process.announced()).await;
        (process.address, process.admin, process.replica) = announced;
        process
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub async fn exited(mut self, within: Duration) -> ExitStatus {
        eventually("the process ends", within, async || self.child.try_wait().unwrap()).await
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory in use, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn announced(&mut self) -> Option<(String, String, String)> {
        let log = self.log.lock().unwrap().clone();
        if let Some(status) = self.child.try_wait().unwrap() {
            // At a failpoint, already: whoever set it looks whether it has ended.
            assert_eq!(status.signal(), Some(SIGABRT), "the gateway ended with {status}:\n{log}");
            return Some(Default::default());
        }
        let line = log.lines().find(|line| line.contains("\"message\":\"serving\""))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let said = |name: &str| line[name].as_str().map(str::to_owned);
        Some((said("listen")?, said("admin")?, said("replica")?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway's log ---\n{}", self.log.lock().map(|log| log.clone()).unwrap_or_default());
        }
    }
}

/// How a process dies at a failpoint.
const SIGABRT: i32 = 6;

pub fn simulator() -> SimulatorConfig {
    let agent = |id: &str, name: &str| SimulatedAgent { id: id.to_owned(), name: name.to_owned() };
    SimulatorConfig {
        workspaces: vec![Workspace {
            keys: FINI_KEYS.map(|key| ApiKey { key: key.to_owned(), scopes: Scopes::ReadAndWrite }).to_vec(),
            agents: vec![agent(BOT, "Support"), agent(OTHER_BOT, "Billing")],
        }],
        // Proxies reach it by other names.
        names: Names::Any,
        ..SimulatorConfig::default()
    }
}
