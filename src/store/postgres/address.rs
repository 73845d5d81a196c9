//! `postgres://…`: what the client library reads by itself, and what is ours to read (`sslmode`,
//! `sslrootcert`, `pgbouncer`).

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use url::form_urlencoded;

use super::open::OpenError;
use super::tls::Check;
use crate::domain::secret::Secret;

pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// After this long without an answer to a packet the connection is dead.
const UNANSWERED: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) check: Check,
    pub(super) roots: Option<PathBuf>,
    /// Nothing that needs a session: `LISTEN`.
    pub(super) pooled: bool,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut rest = form_urlencoded::Serializer::new(String::new());
        let (mut sslmode, mut roots, mut pooled) = (None, None, false);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "sslmode" => sslmode = Some(value.into_owned()),
                "sslrootcert" => roots = Some(PathBuf::from(value.as_ref())),
                "pgbouncer" => pooled = value == "true",
                _ => {
                    rest.append_pair(&key, &value);
                }
            }
        }
        let rest = rest.finish().replace('+', "%20");
        let read = if rest.is_empty() { base.to_owned() } else { format!("{base}?{rest}") };
        let mut config = Config::from_str(&read).map_err(OpenError::Url)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(OpenError::NoHost);
        }
        let (mode, check) = tls(sslmode.as_deref(), &config, roots.is_some())?;
        config.ssl_mode(mode).target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.keepalives_idle(UNANSWERED).keepalives_interval(Duration::from_secs(2)).keepalives_retries(3);
        config.tcp_user_timeout(UNANSWERED);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("fini-bridge");
        }
        Ok(Self { config, check, roots, pooled })
    }
}

/// Whether the URL can be read; what it names is not looked for.
pub fn check(url: &Secret) -> Result<(), OpenError> {
    Address::parse(url.expose()).map(drop)
}

/// Whether the server is elsewhere, and the URL gives up on knowing that it is the right one.
pub fn is_unverified(url: &Secret) -> bool {
    Address::parse(url.expose()).is_ok_and(|address| address.check != Check::IssuerAndName && !is_near(&address.config))
}

/// Whether all of it stays on this machine.
fn is_near(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        Host::Unix(_) => true,
    }) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

fn tls(sslmode: Option<&str>, config: &Config, has_roots: bool) -> Result<(SslMode, Check), OpenError> {
    let hosts = config.get_hosts();
    let sockets = hosts.iter().all(|host| matches!(host, Host::Unix(_))) && !hosts.is_empty();
    let near = is_near(config);
    Ok(match sslmode {
        _ if sockets => (SslMode::Disable, Check::Nothing),
        None if near => (SslMode::Prefer, Check::Nothing),
        Some("disable") => (SslMode::Disable, Check::Nothing),
        Some("allow" | "prefer") => (SslMode::Prefer, Check::Nothing),
        // As libpq does: a CA file is there to be used.
        Some("require") if !has_roots => (SslMode::Require, Check::Nothing),
        Some("require" | "verify-ca") => (SslMode::Require, Check::Issuer),
        None | Some("verify-full") => (SslMode::Require, Check::IssuerAndName),
        Some(_) => return Err(OpenError::SslMode),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url).unwrap()
    }

    #[test]
    fn a_server_elsewhere_is_verified_unless_the_url_says_otherwise() {
        for (url, mode, check) in [
            ("postgres://u@db.example/x", SslMode::Require, Check::IssuerAndName),
            ("postgresql://u@10.0.0.7:5433/x?application_name=b", SslMode::Require, Check::IssuerAndName),
            ("postgres://u@localhost,db.example/x", SslMode::Require, Check::IssuerAndName),
            ("postgres://u@db.example/x?sslmode=verify-full", SslMode::Require, Check::IssuerAndName),
            ("postgres://u@db.example/x?sslmode=verify-ca", SslMode::Require, Check::Issuer),
            ("postgres://u@db.example/x?sslmode=require", SslMode::Require, Check::Nothing),
            ("postgres://u@db.example/x?sslmode=require&sslrootcert=/ca.pem", SslMode::Require, Check::Issuer),
            ("postgres://u@db.example/x?sslmode=prefer", SslMode::Prefer, Check::Nothing),
            ("postgres://u@db.example/x?sslmode=disable", SslMode::Disable, Check::Nothing),
            ("postgres://u@127.0.0.1/x", SslMode::Prefer, Check::Nothing),
            ("postgres://u@localhost/x?sslmode=verify-full", SslMode::Require, Check::IssuerAndName),
            ("postgres://u@%2Frun%2Fpostgresql/x", SslMode::Disable, Check::Nothing),
        ] {
            let address = parse(url);
            assert_eq!((address.config.get_ssl_mode(), address.check), (mode, check), "{url}");
        }
        assert!(matches!(Address::parse("postgres://u@h/x?sslmode=full"), Err(OpenError::SslMode)));
    }

    #[test]
    fn what_the_library_reads_reaches_it() {
        let address = parse("postgres://u:p%20w@h1:1,h2:2/x?pgbouncer=true&connect_timeout=1&application_name=a%20b");
        assert!(address.pooled);
        assert_eq!(address.config.get_password(), Some(b"p w".as_slice()));
        assert_eq!(address.config.get_ports(), [1, 2]);
        assert_eq!(address.config.get_application_name(), Some("a b"));
        assert_eq!(address.config.get_connect_timeout(), Some(&Duration::from_secs(1)));
        assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_being_shown() {
        for url in ["postgres://u:secret@h/x?pasword=secret", "postgres://", "postgres://u:secret@h:port/x"] {
            let refused = Address::parse(url).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused:?}");
        }
    }
}
