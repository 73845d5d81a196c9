//! What listens: webhooks, health, metrics, the admin API. Never talks to Fini.

mod bodies;
mod complexity;
mod connections;
mod head_end;
mod health;
mod intake;
mod local_name;
mod proxies;
mod reading;
mod refusals;
mod request;
mod serve;
mod server;
mod stream;
mod wait;

use serde::Deserialize;

use crate::domain::secret::Secret;
use crate::domain::span::{Size, Span};

pub use bodies::Bodies;
pub use connections::WAITING_FOR_A_SLOT;
pub use health::{Phase, Readiness};
pub use intake::Intake;
pub use local_name::only_by_a_local_name;
pub use proxies::{NotANetwork, TrustedProxies};
pub use reading::Reader;
pub use refusals::RefusalLog;
pub use serve::Listener;
pub use server::{AdminState, OPERATOR_CONNECTIONS, admin, listen_metrics, public, waiting};
pub use wait::{BackgroundWrites, ResponseWaiter};

/// `[server]`
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Server {
    pub listen: String,
    /// As platforms see it: signed URLs, registration. No default.
    pub public_url: Option<String>,
    /// Networks whose `X-Forwarded-*` count, such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<String>,
    pub max_body: Size,
    /// Elements of one webhook that are read; the rest is one failed message.
    pub max_elements: usize,
    /// JSON values in one body, or fields of a form; a body with more is one failed message.
    pub max_nodes: usize,
    /// At a time, of all who send webhooks. When all are in use the longest idle is closed. A low limit of open files
    /// lowers it.
    pub max_connections: usize,
    /// Longer than the load balancer's idle time.
    pub keep_alive: Span,
    /// After SIGTERM: not ready, still accepting (SIGINT skips it).
    pub lame_duck: Span,
    /// Then: no new turns, those in flight may end.
    pub drain_timeout: Span,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8080".to_owned(),
            public_url: None,
            trusted_proxies: Vec::new(),
            max_body: Size(4 * 1024 * 1024),
            max_elements: 2000,
            max_nodes: 200_000,
            max_connections: 10_000,
            keep_alive: Span::secs(75),
            lame_duck: Span::secs(5),
            drain_timeout: Span::secs(150),
        }
    }
}

/// `[admin]`
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Admin {
    /// Loopback only, unless there is a token.
    pub listen: String,
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9090".to_owned(), token: None }
    }
}

/// `[metrics]`
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Metrics {
    /// `/metrics`, `/livez` and `/readyz` without a token, such as `0.0.0.0:9464`. Empty: no such listener.
    pub listen: String,
}
