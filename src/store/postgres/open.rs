//! What has to hold before the store is used: a server that keeps its word, the schema of this version,
//! the key of this installation.

use std::time::Duration;

use refinery::Migration;

use super::link::Pooled;
use super::older_replicas::{self, OlderReplica};
use super::tx::{self, Param, Statements, Tx, get, params};
use crate::store::sql::wakeups::Wakeups;
use crate::store::{Mode, StoreError};

mod embedded {
    refinery::embed_migrations!("src/store/postgres/migrations");
}

/// Migrations that replicas of earlier versions can't work beside. Such a migration is refused while one of them is
/// alive, and no earlier version starts after it. Beside all other migrations older replicas go on working.
const BREAKING: [i32; 1] = [4];
const OLDEST_SERVER: i64 = 140_000;
/// Several replicas that start at once: one migrates, the others wait for it. Any number that is only ours.
const MIGRATING: i64 = 0x0066_696e_6962_7267;
/// A migration may take its time; a replica that died in the middle of one must not block the others for ever.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("it is not a URL as PostgreSQL's: {0}")]
    Url(#[source] tokio_postgres::Error),
    #[error("it names no host: postgres://USER:PASSWORD@HOST/DATABASE")]
    NoHost,
    #[error("sslmode must be disable, allow, prefer, require, verify-ca or verify-full")]
    SslMode,
    #[error("TLS can't be set up (sslrootcert?): {0}")]
    Tls(#[source] rustls::Error),
    #[error("PostgreSQL 14 or newer is needed; this server is {0}")]
    OldServer(String),
    #[error("synchronous_commit is {0}: acknowledged messages could be lost; set it to on or higher for this role")]
    NotDurable(String),
    #[error("the database's encoding is {0}; UTF8 is needed")]
    Encoding(String),
    #[error("the store was made by a newer version of fini-bridge that this one can't work beside")]
    Newer,
    #[error(
        "replicas of an older version are running on this store, and they can't work with the schema of this version: \
         {}. Stop all of them, then start this one. The leases of a replica that crashed end within ten seconds; end a \
         connection that it left open with SELECT pg_terminate_backend(PROCESS)",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    OlderReplicas(Vec<OlderReplica>),
    #[error("the store's schema is not of this version: start the gateway of this version first")]
    NotMigrated,
    #[error("the store's migration {0} is not the one that this version carries")]
    Divergent(String),
    #[error("can't bring the store to this version: {0}")]
    Migration(String),
    #[error("can't make a key for the store: the system gives no random bytes")]
    Random,
    #[error("there is no runtime to wait with")]
    Runtime,
    #[error(transparent)]
    Away(#[from] StoreError),
}

impl OpenError {
    /// Whether waiting may help.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Away(StoreError::Unavailable(_)))
    }
}

/// The newest migration that this version carries.
pub(super) fn newest() -> i64 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().map(Migration::version).max().unwrap_or_default().into()
}

/// Checks the server and the schema; as [`Mode::Serve`], makes the schema what it must be.
pub(super) async fn prepare(client: Pooled, mode: Mode) -> Result<[u8; 32], OpenError> {
    let tx = Tx::new(client, Statements::Unnamed, Wakeups::new(None, None));
    let patience = match mode {
        Mode::Serve => PATIENCE,
        Mode::Tool => Duration::from_secs(5),
    }
    .as_millis();
    tx.batch(&format!(
        "BEGIN; SET LOCAL lock_timeout = {patience}; SET LOCAL statement_timeout = {patience};
         SET LOCAL idle_in_transaction_session_timeout = '60s'"
    ))
    .await?;
    let prepared = prepare_within(&tx, mode).await;
    match prepared {
        Ok(key) => {
            tx.commit().await?;
            Ok(key)
        }
        Err(error) => {
            tx.rollback().await;
            Err(error)
        }
    }
}

async fn prepare_within(tx: &Tx<'_>, mode: Mode) -> Result<[u8; 32], OpenError> {
    check_server(tx).await?;
    if mode == Mode::Serve {
        tx.run("SELECT pg_catalog.pg_advisory_xact_lock($1)", params![MIGRATING]).await?;
        make_history(tx).await?;
    }
    let runner = embedded::migrations::runner();
    let applied = applied(tx).await?;
    let last_applied = applied.iter().map(|(version, _)| *version).max().unwrap_or_default();
    let breaking = BREAKING.into_iter().filter(|version| i64::from(*version) > last_applied).max();
    if let Some(version) = breaking.filter(|_| mode == Mode::Serve && last_applied > 0) {
        let older = older_replicas::alive(tx, version.into()).await?;
        if !older.is_empty() {
            return Err(OpenError::OlderReplicas(older));
        }
    }
    for migration in runner.get_migrations() {
        match applied.iter().find(|(version, _)| *version == i64::from(migration.version())) {
            Some((_, checksum)) if *checksum != migration.checksum().to_string() => {
                return Err(OpenError::Divergent(migration.to_string()));
            }
            Some(_) => {}
            None if mode == Mode::Tool => return Err(OpenError::NotMigrated),
            None => apply(tx, migration).await?,
        }
    }
    if let Some(version) = breaking {
        set_oldest_beside(tx, version).await?;
    }
    if oldest_beside(tx).await? > newest() {
        return Err(OpenError::Newer);
    }
    installation_key(tx, mode).await
}

async fn check_server(tx: &Tx<'_>) -> Result<(), OpenError> {
    let settings = tx
        .one(
            "SELECT pg_catalog.current_setting('server_version_num')::bigint, pg_catalog.current_setting('server_version'),
                pg_catalog.current_setting('synchronous_commit'), pg_catalog.current_setting('server_encoding'),
                pg_catalog.current_setting('fsync'), pg_catalog.pg_is_in_recovery()",
            params![],
            |row| {
                let texts: [String; 4] = [get(row, 1)?, get(row, 2)?, get(row, 3)?, get(row, 4)?];
                Ok((get::<i64>(row, 0)?, texts, get::<bool>(row, 5)?))
            },
        )
        .await?;
    let Some((number, [version, commit, encoding, fsync], standby)) = settings else {
        return Err(tx::corrupt("the server tells no settings").into());
    };
    if number < OLDEST_SERVER {
        return Err(OpenError::OldServer(version));
    }
    if !["on", "remote_write", "remote_apply"].contains(&commit.as_str()) {
        return Err(OpenError::NotDurable(commit));
    }
    if encoding != "UTF8" {
        return Err(OpenError::Encoding(encoding));
    }
    if standby {
        return Err(StoreError::Unavailable("this server is a standby".to_owned()).into());
    }
    if fsync == "off" {
        tracing::warn!("the database runs with fsync off: a power cut loses what was acknowledged");
    }
    Ok(())
}

/// The table that refinery's own runner would make. Ours runs them all in the one transaction that holds the
/// lock, which theirs can't, and prepares nothing.
async fn make_history(tx: &Tx<'_>) -> Result<(), OpenError> {
    let is_there = |sql: &'static str| async move {
        tx.one(sql, params![], |row| get::<bool>(row, 0)).await.map(Option::unwrap_or_default)
    };
    // CREATE … IF NOT EXISTS asks for the right to create even where nothing is to be created.
    if !is_there("SELECT pg_catalog.to_regnamespace('fini_bridge') IS NOT NULL").await? {
        tx.batch("CREATE SCHEMA fini_bridge").await?;
    }
    if !is_there("SELECT pg_catalog.to_regclass('fini_bridge.refinery_schema_history') IS NOT NULL").await? {
        tx.batch(
            "CREATE TABLE fini_bridge.refinery_schema_history (
                version integer PRIMARY KEY, name text, applied_on text, checksum text)",
        )
        .await?;
    }
    Ok(())
}

async fn applied(tx: &Tx<'_>) -> Result<Vec<(i64, String)>, OpenError> {
    let history = "SELECT pg_catalog.to_regclass('fini_bridge.refinery_schema_history') IS NOT NULL";
    if tx.one(history, params![], |row| get::<bool>(row, 0)).await? != Some(true) {
        return Err(OpenError::NotMigrated);
    }
    let sql = "SELECT version::bigint, checksum FROM fini_bridge.refinery_schema_history ORDER BY version";
    Ok(tx.all(sql, params![], |row| Ok((get(row, 0)?, get(row, 1)?))).await?)
}

async fn apply(tx: &Tx<'_>, migration: &Migration) -> Result<(), OpenError> {
    let failed = |error: StoreError| match error {
        StoreError::Corrupt(why) => OpenError::Migration(format!("{migration}: {why}")),
        other => other.into(),
    };
    tx.batch(migration.sql().unwrap_or_default()).await.map_err(failed)?;
    let applied: [Param<'_>; 3] =
        [i64::from(migration.version()).into(), migration.name().into(), migration.checksum().to_string().into()];
    tx.run(
        "INSERT INTO fini_bridge.refinery_schema_history (version, name, applied_on, checksum)
         VALUES ($1, $2, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), $3)",
        &applied,
    )
    .await
    .map_err(failed)?;
    tracing::info!(%migration, "the store's schema was changed");
    Ok(())
}

/// Earlier versions refuse to start from now on.
async fn set_oldest_beside(tx: &Tx<'_>, version: i32) -> Result<(), OpenError> {
    tx.run(
        "INSERT INTO fini_bridge.meta (key, value) VALUES ('oldest_beside', convert_to($1, 'UTF8'))
         ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
        params![version.to_string()],
    )
    .await?;
    Ok(())
}

async fn oldest_beside(tx: &Tx<'_>) -> Result<i64, OpenError> {
    let sql = "SELECT convert_from(value, 'UTF8')::bigint FROM fini_bridge.meta WHERE key = 'oldest_beside'";
    Ok(tx.one(sql, params![], |row| get(row, 0)).await?.unwrap_or_default())
}

async fn installation_key(tx: &Tx<'_>, mode: Mode) -> Result<[u8; 32], OpenError> {
    if mode == Mode::Serve {
        let mut fresh = [0u8; 32];
        getrandom::fill(&mut fresh).map_err(|_| OpenError::Random)?;
        tx.run(
            "INSERT INTO fini_bridge.meta (key, value) VALUES ('installation_key', $1) ON CONFLICT (key) DO NOTHING",
            params![fresh.as_slice()],
        )
        .await?;
    }
    let sql = "SELECT value FROM fini_bridge.meta WHERE key = 'installation_key'";
    let key: Option<Vec<u8>> = tx.one(sql, params![], |row| get(row, 0)).await?;
    key.and_then(|key| key.try_into().ok()).ok_or_else(|| tx::corrupt("the installation's key is gone").into())
}
