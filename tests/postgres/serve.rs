//! `serve` while the database is away.

#![allow(clippy::disallowed_methods)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::database::{Server, free_port};
use crate::soon;

struct Gateway {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start(database: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let settings = format!(
            "[server]\nlisten = \"{address}\"\nlame_duck = \"0s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [store]\nurl = \"postgres://postgres@127.0.0.1:{database}/postgres\"\n\
             [fini]\napi_key = \"key\"\nbase_url = \"http://127.0.0.1:1\"\n\
             [channels.bridge]\nplatform = \"custom\"\nbot_id = \"4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3\"\n\
             secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\ncallback_url = \"http://127.0.0.1:1/\"\n",
        );
        let config = folder.path().join("fini-bridge.toml");
        std::fs::write(&config, settings).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_fini-bridge"))
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, address, _folder: folder }
    }

    async fn get(&self, path: &str) -> Option<reqwest::Response> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(3)).build().unwrap();
        http.get(format!("http://{}{path}", self.address)).send().await.ok()
    }

    async fn ends(mut self) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
        let ended = tokio::task::spawn_blocking(move || self.process.wait().unwrap());
        let status = tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it doesn't end").unwrap();
        assert_eq!(status.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_database_is_away_at_the_start_waits_and_says_so() {
    // Chooses the process's crypto provider.
    let _ = fini_bridge::http::Http::new(&fini_bridge::http::Config::default()).unwrap();
    let database = free_port();
    let gateway = Gateway::start(database);
    soon("it answers", Duration::from_secs(10), async || gateway.get("/livez").await.is_some()).await;
    assert_eq!(gateway.get("/livez").await.unwrap().status(), 200);
    let ready = gateway.get("/readyz").await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("starting"));
    let webhook = gateway.get("/webhooks/bridge").await.unwrap();
    assert_eq!(webhook.status(), 503);
    assert!(webhook.headers().contains_key("retry-after"));

    let server = tokio::task::spawn_blocking(move || Server::start_on(database)).await.unwrap();
    let is_ready = async || gateway.get("/readyz").await.is_some_and(|ready| ready.status() == 200);
    soon("it is ready", Duration::from_secs(5), is_ready).await;
    assert_ne!(gateway.get("/webhooks/bridge").await.unwrap().status(), 503);

    // Away again: no other replica would do better.
    server.signal("-INT");
    let is_down = async || gateway.get("/readyz").await.unwrap().text().await.unwrap().contains("down");
    soon("it says that the store is down", Duration::from_secs(5), is_down).await;
    assert_eq!(gateway.get("/readyz").await.unwrap().status(), 200);
    gateway.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_waits_for_its_database_can_be_ended() {
    let gateway = Gateway::start(free_port());
    let _ = fini_bridge::http::Http::new(&fini_bridge::http::Config::default()).unwrap();
    soon("it answers", Duration::from_secs(10), async || gateway.get("/livez").await.is_some()).await;
    gateway.ends().await;
}
