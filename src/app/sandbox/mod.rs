//! The gateway without accounts and without a network: the real one, with a simulated Fini behind it and a chat
//! page before it. Everything it keeps lies in a temporary folder and is gone when it ends.

pub mod chat;
pub mod fini;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use self::chat::{Outlook, Page};
use self::fini::{Running, SimulatedFini, SimulatorConfig};
use super::gateway::{Ending, Gateway};
use super::settings::{self, Environment};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::id::ChannelName;
use crate::domain::secret::Secret;

/// Long enough to see that somebody writes.
const ANSWER_DELAY: Duration = Duration::from_millis(700);

const CHANNEL: &str = "sandbox";
const CONFIGURATION: &str = "fini-bridge.toml";

/// A gateway, a simulated Fini and a chat page that run together.
pub struct Sandbox {
    address: SocketAddr,
    gateway: Gateway,
    fini: Running,
    page: Page,
    folder: TempDir,
}

impl Sandbox {
    /// The page listens on this port of 127.0.0.1, the simulated Fini on its own loopback address (port 0: any free
    /// one), the gateway on free ports.
    pub async fn start(port: u16, fini: SocketAddr) -> anyhow::Result<Self> {
        let listener = listen(port)?;
        let address = listener.local_addr()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let folder = tempfile::Builder::new()
            .prefix("fini-bridge-sandbox-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .context("the temporary folder can't be made")?;
        let simulator =
            SimulatorConfig { address: fini, answer_delay: ANSWER_DELAY, clock: clock.clone(), ..Default::default() };
        let fini = SimulatedFini::start(simulator).await.with_context(|| {
            format!("the simulated Fini can't listen on {fini}: choose another address with --fini")
        })?;
        let secret = new_secret()?;

        let path = folder.path().join(CONFIGURATION);
        std::fs::write(&path, configuration(&fini.url(), address))?;
        let store = folder.path().join("bridge.db");
        let store = store.to_str().context("the temporary folder's name is not Unicode")?;
        // Only what is given here: the environment of whoever tries the sandbox must not change it.
        let environment = Environment::from([
            ("SANDBOX_FINI_KEY".to_owned(), SimulatorConfig::KEY.to_owned()),
            ("SANDBOX_SECRET".to_owned(), secret.expose().to_owned()),
            ("SANDBOX_STORE".to_owned(), format!("sqlite:{store}")),
        ]);
        let loaded = settings::load(&path, &environment, clock.clone())
            .map_err(|problems| anyhow!("the sandbox's own configuration is wrong:\n{problems}"))?;
        let http = loaded.surroundings.http;
        let gateway = Gateway::start(&loaded.settings, loaded.connectors, http.clone(), clock.clone()).await?;

        let outlook = Outlook {
            webhook: format!("http://{}/webhooks/{CHANNEL}", gateway.address()),
            channel: ChannelName::new(CHANNEL),
            secret,
            store: gateway.store(),
            http,
            clock,
        };
        let page = Page::serve(listener, outlook)?;
        Ok(Self { address, gateway, fini, page, folder })
    }

    /// What a browser opens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `fini.base_url` for another gateway.
    pub fn fini_url(&self) -> String {
        self.fini.url()
    }

    /// Ends at once: nothing of a sandbox is worth waiting for.
    pub async fn stop(self) {
        self.fini.stop().await;
        self.page.stop().await;
        self.gateway.stop(Ending::Drain).await;
        if let Err(error) = self.folder.close() {
            tracing::warn!(%error, "the temporary folder can't be removed");
        }
    }
}

fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!(
                "port {port} is taken: is a sandbox running already? Choose another with --port, or any with --port 0"
            )
        }
        std::io::ErrorKind::PermissionDenied => anyhow!("port {port} may not be used: choose one with --port"),
        _ => anyhow::Error::new(error).context(format!("can't listen on port {port}")),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// For Standard Webhooks.
fn new_secret() -> anyhow::Result<Secret> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).context("the system has no random numbers")?;
    Ok(Secret::new(format!("whsec_{}", STANDARD.encode(key))))
}

fn configuration(fini: &str, page: SocketAddr) -> String {
    let bot_id = SimulatorConfig::SUPPORT;
    format!(
        r#"[server]
listen = "127.0.0.1:0"
drain_timeout = "1s"
[admin]
listen = "127.0.0.1:0"
[fini]
base_url = "{fini}"
api_key = "env:SANDBOX_FINI_KEY"
[store]
url = "env:SANDBOX_STORE"
[channels.{CHANNEL}]
platform = "custom"
bot_id = "{bot_id}"
secret = "env:SANDBOX_SECRET"
callback_url = "http://{page}/callback"
typing = true
citations = true
"#
    )
}
