//! `fini-bridge health`: for containers without a shell, whose health check is a command.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::{ConfigPath, Failure, Outcome};
use crate::http::{Config, Http};

/// Less than any health check's own patience.
const WITHIN: Duration = Duration::from_secs(3);
const LARGEST: usize = 64 * 1024;

/// Ask a gateway whether it takes webhooks: exit 0 if it does, 1 if not
#[derive(clap::Args)]
#[command(after_help = "Examples:
  fini-bridge health
  fini-bridge health --url http://127.0.0.1:8080/livez

Without --url it asks /readyz at server.listen of the configuration.")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigPath,
    /// What to ask instead
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let url = match arguments.url {
        Some(url) => url,
        None => {
            let loaded = super::load_quietly(&arguments.config)?;
            readyz(&loaded.settings.server.listen)?
        }
    };
    // Never through the configured proxy: what is asked stands on this machine.
    let http = Http::new(&Config::default())?;
    let answer = http.send(http.request(reqwest::Method::GET, &url), WITHIN, LARGEST).await;
    let answer = answer.context("the gateway does not answer")?;
    let said = String::from_utf8_lossy(&answer.body);
    if answer.status.is_success() {
        println!("{said}");
        return Ok(());
    }
    Err(Failure::Run(anyhow!("{}: {said}", answer.status)))
}

/// The address to ask, where `listen` may say "every interface".
fn readyz(listen: &str) -> anyhow::Result<String> {
    let found = listen.to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = found.with_context(|| format!("server.listen: {listen} is no address"))?;
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(format!("http://{}/readyz", SocketAddr::new(ip, address.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "http://127.0.0.1:8080/readyz"),
            ("[::]:8080", "http://[::1]:8080/readyz"),
            ("192.0.2.7:80", "http://192.0.2.7:80/readyz"),
        ] {
            assert_eq!(readyz(listen).unwrap(), asked);
        }
        assert!(readyz("nowhere").is_err());
    }
}
