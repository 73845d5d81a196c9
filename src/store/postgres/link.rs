//! Connections: how one is made, and the pool of them.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Object, RecyclingMethod, Runtime};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::address::{Address, CONNECT};
use super::open::OpenError;
use super::{Source, tls, tx};
use crate::store::{Result, StoreError};

type Stream = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream;

/// Connections at most, for turns and deliveries. Every step is a few short statements: more would only wait
/// inside the server.
pub(super) const WORKING: usize = 10;
/// For what goes before them.
pub(super) const FIRST: usize = 5;
/// Then a webhook gets 503: Slack waits 3 s.
const WAIT: Duration = Duration::from_secs(2);

/// Makes connections. The URL is asked for each time: a password may have changed.
pub(super) struct Connector {
    source: Source,
    first: Address,
    tls: MakeRustlsConnect,
}

impl Connector {
    pub(super) fn new(source: Source) -> Result<Self, OpenError> {
        let first = Address::parse(source().expose())?;
        let config = tls::config(first.check, first.roots.as_deref()).map_err(OpenError::Tls)?;
        Ok(Self { source, first, tls: MakeRustlsConnect::new(config) })
    }

    pub(super) fn pooled(&self) -> bool {
        self.first.pooled
    }

    /// Only the credentials are taken from what the URL is by now.
    fn config(&self) -> Config {
        let mut config = self.first.config.clone();
        if let Ok(address) = Address::parse((self.source)().expose()) {
            if let Some(user) = address.config.get_user() {
                config.user(user);
            }
            if let Some(password) = address.config.get_password() {
                config.password(password);
            }
        }
        config
    }

    /// The caller drives the connection.
    pub(super) async fn open(&self) -> Result<(Client, Connection<Socket, Stream>), Error> {
        self.config().connect(self.tls.clone()).await
    }
}

/// Whoever needs a connection may be a server's worker, whose runtime ends before that of the rest: all of them are
/// made and driven at `home`.
struct Driven {
    connector: Arc<Connector>,
    home: Handle,
}

impl Connect for Driven {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let (connector, home) = (Arc::clone(&self.connector), self.home.clone());
        let made = async move {
            let (client, connection) = connector.open().await?;
            let driver = home.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(error = %tx::failed(&error), "a connection to the store ended");
                }
            });
            Ok((client, driver))
        };
        let made = AbortOnDropHandle::new(self.home.spawn(made));
        async {
            match made.await {
                Ok(made) => made,
                // Everything ends: the pool's own time-out says so.
                Err(_) => std::future::pending().await,
            }
        }
        .boxed()
    }
}

#[derive(Clone)]
pub(super) struct Pool(deadpool_postgres::Pool);

impl Pool {
    pub(super) fn new(connector: &Arc<Connector>, connections: usize) -> Result<Self, OpenError> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(
            connector.config(),
            Driven { connector: Arc::clone(connector), home: Handle::current() },
            fast,
        );
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(WAIT))
            .build()
            .map_err(|_| OpenError::Runtime)?;
        Ok(Self(pool))
    }

    pub(super) async fn get(&self) -> Result<Object> {
        self.0.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => match tx::failed(&error) {
                // Whatever it is, there is no connection.
                StoreError::Corrupt(why) => StoreError::Unavailable(why),
                other => other,
            },
            error => StoreError::Unavailable(error.to_string()),
        })
    }

    /// Those that are not in use go away.
    pub(super) fn close(&self) {
        self.0.close();
    }
}
