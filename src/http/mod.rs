//! The one way out: every request to Fini, to a platform or to a callback goes through [`Http`].
//!
//! It follows no redirects (a credential goes only to the host it was configured for), bounds time and
//! size, and says of each failure the one thing that decides what comes next: whether the other side
//! may have seen the request. Its errors never hold a URL: Telegram's hold the token.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Request, StatusCode};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use crate::domain::clock::Timestamp;

/// `[http]`
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Config {
    /// An HTTP proxy for outgoing requests, such as `http://proxy.example.com:3128`. Empty: none.
    pub proxy: String,
    /// Hosts that are reached without the proxy, comma-separated.
    pub no_proxy: String,
    /// A PEM file with further certificate authorities. Empty: the system's only.
    pub ca_file: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("http.proxy is not an http or https address: write it as http://host:port")]
    Proxy,
    #[error("http.ca_file can't be read: {0}")]
    CaFile(std::io::Error),
    #[error("http.ca_file holds no certificate in PEM form")]
    Certificate,
    #[error("the HTTP client can't be set up")]
    Client(#[source] reqwest::Error),
}

/// What became of a request that got no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It never left: the name didn't resolve, nobody listened, TLS failed.
    #[error("not reached: {0}")]
    NotSent(&'static str),
    /// It may have arrived and may have been acted upon.
    #[error("outcome unknown: {0}")]
    Unknown(&'static str),
}

/// As much of an answer is kept for the person who looks why something was refused.
const EXCERPT: usize = 1024;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Response {
    /// `Retry-After`: seconds or an HTTP date; at most a day.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Duration::try_from_secs_f64(seconds).ok()?,
            Ok(_) => return None,
            Err(_) => {
                let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
                Timestamp::from_millis(date.as_millisecond()).since(now)
            }
        };
        Some(wait.min(Duration::from_secs(24 * 3600)))
    }

    /// The first KiB of the body as one line of text. It may quote what was sent: for the store only, never for a log, a
    /// metric or an error.
    pub fn excerpt(&self) -> String {
        let beginning = self.body.get(..EXCERPT).unwrap_or(&self.body);
        let text = String::from_utf8_lossy(beginning);
        let text = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
        let text = text.collect::<Vec<_>>().join(" ");
        // A character that was cut in two.
        let text = if beginning.len() < self.body.len() { text.trim_end_matches('\u{FFFD}') } else { &text };
        if text.is_empty() { "(an empty body)".to_owned() } else { text.to_owned() }
    }

    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    /// Where connections live: a server's worker, which may ask for one, ends before what uses it next.
    home: Option<Handle>,
}

impl Http {
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        // Someone else in the process may have chosen one already; either serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[allow(clippy::disallowed_methods)] // the one place
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            .no_proxy()
            .user_agent(concat!("fini-bridge/", env!("CARGO_PKG_VERSION")));
        if !config.proxy.is_empty() {
            let proxy = proxy_address(&config.proxy).and_then(|url| reqwest::Proxy::all(url).ok());
            let proxy = proxy.ok_or(BuildError::Proxy)?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(&config.no_proxy)));
        }
        if !config.ca_file.is_empty() {
            let pem = std::fs::read(&config.ca_file).map_err(BuildError::CaFile)?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| BuildError::Certificate)?;
            if certificates.is_empty() {
                return Err(BuildError::Certificate);
            }
            builder = builder.tls_certs_merge(certificates);
        }
        Ok(Self { client: builder.build().map_err(BuildError::Client)?, home: Handle::try_current().ok() })
    }

    pub fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends, and reads the whole answer: at most `max_body` bytes, within `timeout` from start to end.
    pub async fn send(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
        max_body: usize,
    ) -> Result<Response, Error> {
        let request = request.build().map_err(|_| Error::NotSent("the request can't be built"))?;
        let exchange = exchange(self.client.clone(), request, max_body);
        let outcome = match &self.home {
            Some(home) => {
                let exchange = AbortOnDropHandle::new(home.spawn(exchange));
                tokio::time::timeout(timeout, exchange).await.map(|ended| ended.unwrap_or(Err(Error::Unknown(LOST))))
            }
            None => tokio::time::timeout(timeout, exchange).await,
        };
        outcome.unwrap_or(Err(Error::Unknown("timed out")))
    }
}

/// `http://…`, `https://…`, or a bare `host:port`. The client takes other schemes too, and then reaches nobody.
fn proxy_address(written: &str) -> Option<Url> {
    let url = if written.contains("://") { Url::parse(written) } else { Url::parse(&format!("http://{written}")) };
    url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

const LOST: &str = "the connection was lost";

async fn exchange(client: reqwest::Client, request: Request, max_body: usize) -> Result<Response, Error> {
    #[allow(clippy::disallowed_methods)] // the one place
    let mut response = client.execute(request).await.map_err(classify)?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Error::Unknown("the answer broke off"))? {
        if body.len() + chunk.len() > max_body {
            return Err(Error::Unknown("the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status: response.status(), headers: std::mem::take(response.headers_mut()), body: body.freeze() })
}

/// Drops the error's text on purpose: it holds the URL.
fn classify(error: reqwest::Error) -> Error {
    if error.is_connect() {
        Error::NotSent("no connection")
    } else if error.is_builder() || error.is_redirect() {
        Error::NotSent("the request can't be built")
    } else {
        Error::Unknown(LOST)
    }
}
