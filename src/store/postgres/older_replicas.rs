//! Finds replicas of an earlier version that work on the schema which a migration is about to change.
//!
//! They would lose nothing if it changed under them, since each of their steps then fails as a whole. But webhooks that
//! reach them would get 503, and their calls in flight would have to be looked up.

use std::fmt::{self, Display, Formatter};

use super::tx::{Tx, get, params};
use crate::domain::clock::Timestamp;
use crate::store::Result;

/// From version 4 of the schema on, replicas write heartbeats.
const HEARTBEATS: &str = "SELECT id::text, alive_until FROM fini_bridge.replicas
    WHERE alive_until > fini_bridge.now_ms() AND schema_version < $1 ORDER BY id";

/// Earlier ones have a session that only listens. Commands don't. `client_addr` is NULL for a local socket.
const LISTENING: &str = "SELECT pid::bigint, pg_catalog.host(client_addr),
        (extract(epoch FROM backend_start) * 1000)::bigint
    FROM pg_catalog.pg_stat_activity
    WHERE datname = pg_catalog.current_database() AND query = 'LISTEN fini_bridge' ORDER BY pid";

/// Behind PgBouncer they don't listen: only those that hold a lease are found there.
const LEASING: &str = "SELECT owner, max(due_at) FROM fini_bridge.schedule
    WHERE owner IS NOT NULL AND due_at > fini_bridge.now_ms() GROUP BY owner ORDER BY owner";

/// An older replica, by the sign of life that gave it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OlderReplica {
    Heartbeat { replica: String, alive_until: Timestamp },
    Session { pid: i64, address: Option<String>, since: Timestamp },
    Lease { replica: String, until: Timestamp },
}

impl Display for OlderReplica {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat { replica, alive_until } => write!(f, "{replica} (alive until {alive_until} at least)"),
            Self::Session { pid, address, since } => {
                let address = address.as_deref().unwrap_or("a local socket");
                write!(f, "one at {address} (connected since {since}, PostgreSQL process {pid})")
            }
            Self::Lease { replica, until } => write!(f, "{replica} (holds leases until {until})"),
        }
    }
}

/// Those that are alive and can't work with this version of the schema.
pub(super) async fn alive(tx: &Tx<'_>, version: i64) -> Result<Vec<OlderReplica>> {
    let beating = "SELECT pg_catalog.to_regclass('fini_bridge.replicas') IS NOT NULL";
    if tx.one(beating, params![], |row| get::<bool>(row, 0)).await? == Some(true) {
        return tx
            .all(HEARTBEATS, params![version], |row| {
                let alive_until = Timestamp::from_millis(get(row, 1)?);
                Ok(OlderReplica::Heartbeat { replica: get(row, 0)?, alive_until })
            })
            .await;
    }
    let listening = tx
        .all(LISTENING, params![], |row| {
            let since = Timestamp::from_millis(get(row, 2)?);
            Ok(OlderReplica::Session { pid: get(row, 0)?, address: get(row, 1)?, since })
        })
        .await?;
    if !listening.is_empty() {
        return Ok(listening);
    }
    tx.all(LEASING, params![], |row| {
        Ok(OlderReplica::Lease { replica: get(row, 0)?, until: Timestamp::from_millis(get(row, 1)?) })
    })
    .await
}
