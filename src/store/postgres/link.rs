//! Connections: how one is made, and the pool of them.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Object, RecyclingMethod, Runtime};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::address::{Address, CONNECT};
use super::open::OpenError;
use super::{Source, tls, tx};
use crate::store::{Result, StoreError};

type Stream = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream;

/// One listens, one is for turns and deliveries, one for webhooks and leases.
pub const FEWEST_CONNECTIONS: u32 = 3;
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

/// How many connections of a replica are for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// All but the listener's.
    pub(super) pool: usize,
    /// Of these, what is never given to turns and deliveries.
    pub(super) reserved: usize,
}

impl Sizes {
    /// A third is reserved: webhooks, whose senders wait, and leases, which run out, must not wait behind a crowd of turns.
    pub(super) fn of(connections: u32, listener: usize) -> Self {
        let connections = usize::try_from(connections.max(FEWEST_CONNECTIONS)).unwrap_or(usize::MAX);
        let pool = connections.saturating_sub(listener);
        Self { pool, reserved: pool.div_ceil(3) }
    }
}

/// The connections as one kind of work may use them.
#[derive(Clone)]
pub(super) struct Pool {
    pool: deadpool_postgres::Pool,
    /// `None`: all of them.
    permits: Option<Arc<Semaphore>>,
}

/// A connection in use.
pub(super) struct Pooled {
    client: Object,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pooled {
    /// Closes it instead of giving it back.
    pub(super) fn discard(self) {
        drop(Object::take(self.client));
    }
}

impl Deref for Pooled {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.client
    }
}

impl Pool {
    pub(super) fn new(connector: &Arc<Connector>, sizes: Sizes) -> Result<Self, OpenError> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(
            connector.config(),
            Driven { connector: Arc::clone(connector), home: Handle::current() },
            fast,
        );
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(sizes.pool)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(WAIT))
            .build()
            .map_err(|_| OpenError::Runtime)?;
        Ok(Self { pool, permits: None })
    }

    /// The same connections, for turns and deliveries: never those that are reserved.
    pub(super) fn unreserved(&self, sizes: Sizes) -> Self {
        let permits = Semaphore::new(sizes.pool.saturating_sub(sizes.reserved).max(1));
        Self { pool: self.pool.clone(), permits: Some(Arc::new(permits)) }
    }

    pub(super) async fn get(&self) -> Result<Pooled> {
        let _permit = match &self.permits {
            None => None,
            Some(permits) => match timeout(WAIT, Arc::clone(permits).acquire_owned()).await {
                Ok(permit) => permit.ok(),
                Err(_) => return Err(StoreError::Unavailable("all connections are in use".to_owned())),
            },
        };
        let client = self.pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => match tx::failed(&error) {
                // Whatever it is, there is no connection.
                StoreError::Corrupt(why) => StoreError::Unavailable(why),
                other => other,
            },
            error => StoreError::Unavailable(error.to_string()),
        })?;
        Ok(Pooled { client, _permit })
    }

    /// Those that are not in use go away.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_connections_are_shared_out_with_one_for_each_kind_of_work_at_least() {
        for (connections, listener, pool, reserved) in
            [(3, 1, 2, 1), (4, 1, 3, 1), (8, 1, 7, 3), (16, 1, 15, 5), (3, 0, 3, 1)]
        {
            assert_eq!(Sizes::of(connections, listener), Sizes { pool, reserved }, "{connections}");
        }
        assert_eq!(Sizes::of(0, 1), Sizes { pool: 2, reserved: 1 });
    }
}
