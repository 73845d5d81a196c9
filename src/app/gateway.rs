//! A running gateway: builds everything, in order, and takes it down in order.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::open_files;
use super::settings::Settings;
use crate::domain::clock::Clock;
use crate::domain::id::{ChannelName, Owner};
use crate::domain::secret::Secret;
use crate::fini;
use crate::http::Http;
use crate::pipeline::channel::Channel;
use crate::pipeline::inbox::Inbox;
use crate::pipeline::rate_limit::{CallBudget, RateLimiter};
use crate::pipeline::response_waiters::ResponseWaiters;
use crate::pipeline::{DELIVERIES_AT_ONCE, Deps, FiniKey, Pipeline};
use crate::platform::Platform;
use crate::store::postgres::Postgres;
use crate::store::sqlite::Sqlite;
use crate::store::{Mode, Removed, Retention, Store, StoreError};
use crate::telemetry::Metrics;
use crate::web::{
    self, AdminState, BackgroundWrites, Intake, Listener, Phase, Readiness, ResponseWaiter, TrustedProxies,
};

/// How often retention is enforced: this much of `store.keep`, within these bounds.
const OF_KEEP: u32 = 24;
const ENFORCE_AT_LEAST_EVERY: Duration = Duration::from_secs(3600);
const ENFORCE_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// How often a store that is away at the start is looked for.
const STORE_EVERY: Duration = Duration::from_millis(200);
/// How often a platform that could not be asked who we are is asked again.
const PREPARE_EVERY: Duration = Duration::from_secs(5);

/// What was said in responses is noted; a store that doesn't answer is not waited for longer.
const WRITTEN_DOWN: Duration = Duration::from_secs(2);

type Channels = BTreeMap<ChannelName, Arc<Channel>>;

pub type Connectors = BTreeMap<ChannelName, Arc<dyn Platform>>;

pub struct Gateway {
    store: Arc<dyn Store>,
    readiness: Readiness,
    pipeline: Pipeline,
    background_writes: BackgroundWrites,
    servers: Vec<Running>,
    background: Vec<JoinHandle<()>>,
    lame_duck: Duration,
    drain_timeout: Duration,
}

struct Running {
    address: SocketAddr,
    handle: actix_web::dev::ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

/// How a gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Red first, and still accepting while load balancers notice; then drained.
    LameDuck,
    /// Drained at once.
    Drain,
}

impl Gateway {
    pub async fn start(
        settings: &Settings,
        connectors: Connectors,
        http: Http,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let public = bind("server.listen", &settings.server.listen)?;
        let admin = bind("admin.listen", &settings.admin.listen)?;
        let scrape = match settings.metrics.listen.as_str() {
            "" => None,
            listen => Some(bind("metrics.listen", listen)?),
        };
        if settings.admin.token.is_none() && !admin.local_addr()?.ip().is_loopback() {
            bail!("admin.listen is not on loopback and there is no admin.token: set one, or listen on 127.0.0.1");
        }
        let store = open_store(settings, Mode::Serve, clock.clone()).await?;
        let metrics = Arc::new(Metrics::default());
        let readiness = Readiness::new(store.clone());
        let replicas = watch::Sender::new(1);
        let (keys, channels) = compose(settings, connectors, &http, &clock, &replicas.subscribe(), &store)?;
        let calls = keys.iter().map(|key| key.max_in_flight).fold(0, usize::saturating_add);
        let outgoing = calls.saturating_add(channels.len().saturating_mul(DELIVERIES_AT_ONCE));
        let max_connections = settings.server.max_connections;
        let max_connections = open_files::max_connections(max_connections, open_files::raise(), outgoing);
        let trusted_proxies = TrustedProxies::parse(&settings.server.trusted_proxies)?;
        let state = AdminState {
            store: store.clone(),
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            token: settings.admin.token.clone(),
        };
        let mut servers = vec![run(web::admin(admin, state.clone())?)];
        if let Some(scrape) = scrape {
            servers.push(run(web::listen_metrics(scrape, state)?));
        }
        let installation_key = installation_key(store.as_ref(), &public, &readiness, max_connections).await?;

        let background_writes = BackgroundWrites::here();
        let waiters = Arc::<ResponseWaiters>::default();
        let inbox = Inbox { store: store.clone(), metrics: metrics.clone(), installation_key };
        let waiter = ResponseWaiter {
            store: store.clone(),
            waiters: waiters.clone(),
            readiness: readiness.clone(),
            background: background_writes.clone(),
        };
        let intake = Intake {
            channels: channels.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            public_url: settings.server.public_url.clone(),
            trusted_proxies,
            bodies: web::Bodies::new(settings.server.max_body.0),
            reader: web::Reader::start(settings.server.max_nodes)?,
            refusal_log: web::RefusalLog::default(),
            inbox,
            waiter,
        };
        let drain_timeout = settings.server.drain_timeout.0;
        let keep_alive = settings.server.keep_alive.0;
        let intake = web::public(public, Arc::new(intake), max_connections, keep_alive, drain_timeout)?;
        servers.insert(0, run(intake));
        let background = vec![
            tokio::spawn(enforce(store.clone(), retention(settings), metrics.clone())),
            tokio::spawn(prepare(channels.values().map(|channel| channel.platform.clone()).collect())),
        ];
        let pipeline = Pipeline::start(Deps {
            store: store.clone(),
            channels,
            keys,
            clock,
            metrics,
            waiters,
            replicas,
            installation_key,
            cache_capacity: settings.conversations.cache_capacity,
        });
        readiness.enter(Phase::Serving);
        let lame_duck = settings.server.lame_duck.0;
        Ok(Self { store, readiness, pipeline, background_writes, servers, background, lame_duck, drain_timeout })
    }

    /// Where webhooks come in.
    pub fn address(&self) -> SocketAddr {
        self.servers.first().map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)), |server| server.address)
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.servers.get(1).map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)), |server| server.address)
    }

    /// The name that its leases carry.
    pub fn replica(&self) -> Owner {
        self.pipeline.owner()
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Ends it. What could not end in time is taken up again after the next start.
    pub async fn stop(self, ending: Ending) {
        self.readiness.enter(Phase::Draining);
        if ending == Ending::LameDuck {
            tokio::time::sleep(self.lame_duck).await;
        }
        for task in &self.background {
            task.abort();
        }
        // What still comes in is kept, for the others or for the next start: nobody finds the door shut before the end.
        let ended = self.pipeline.drain(self.drain_timeout).await;
        let mut servers = self.servers.into_iter();
        if let Some(public) = servers.next() {
            public.handle.stop(true).await;
            let _ = public.task.await;
        }
        self.background_writes.finish(WRITTEN_DOWN).await;
        self.pipeline.leave().await;
        if !ended {
            tracing::warn!("some turns did not end within server.drain_timeout: they go on after the next start");
        }
        for server in servers {
            server.handle.stop(false).await;
            let _ = server.task.await;
        }
    }
}

fn bind(key: &str, listen: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(listen).with_context(|| format!("{key}: can't listen on {listen}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn run(listener: Listener) -> Running {
    Running { address: listener.address, handle: listener.handle, task: tokio::spawn(listener.server) }
}

/// A shared store that is away at the start is waited for: not ready, and whoever delivers is told so.
async fn installation_key(
    store: &dyn Store,
    public: &TcpListener,
    readiness: &Readiness,
    max_connections: usize,
) -> anyhow::Result<[u8; 32]> {
    let known = store.installation_key().await;
    if !(store.is_shared() && matches!(known, Err(StoreError::Unavailable(_)))) {
        return Ok(known?);
    }
    tracing::warn!("the store is away: waiting for it");
    let waiting = run(web::waiting(public.try_clone()?, readiness.clone(), max_connections)?);
    let known = loop {
        match store.installation_key().await {
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(STORE_EVERY).await,
            known => break known,
        }
    };
    waiting.handle.stop(true).await;
    let _ = waiting.task.await;
    Ok(known?)
}

/// Opens the store that `store.url` names.
pub async fn open_store(settings: &Settings, mode: Mode, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Store>> {
    let text = settings.store.url.expose();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let (source, connections) = (Arc::new(settings.store_url()), settings.store.connections);
        let store = Postgres::open_with(source, mode, connections).await.context("store.url: postgres://…")?;
        return Ok(store);
    }
    let Some(path) = text.strip_prefix("sqlite:") else {
        bail!("store.url: neither sqlite:PATH nor postgres://…");
    };
    let path = PathBuf::from(path);
    let store = Sqlite::open(&path, mode, clock).await.with_context(|| format!("store.url: {}", path.display()))?;
    Ok(store)
}

/// The Fini keys that the settings name, each once, and the channels with theirs.
fn compose(
    settings: &Settings,
    mut connectors: Connectors,
    http: &Http,
    clock: &Arc<dyn Clock>,
    replicas: &watch::Receiver<u32>,
    store: &Arc<dyn Store>,
) -> anyhow::Result<(Vec<FiniKey>, Channels)> {
    let mut secrets: Vec<&Secret> = Vec::new();
    let mut channels = BTreeMap::new();
    for (name, channel) in &settings.channels {
        let secret = channel.fini_api_key.as_ref().or(settings.fini.api_key.as_ref());
        let secret = secret.with_context(|| format!("channels.{name}: no Fini key; set fini.api_key"))?;
        let key = secrets.iter().position(|known| *known == secret).unwrap_or_else(|| {
            secrets.push(secret);
            secrets.len() - 1
        });
        let platform = connectors.remove(name).with_context(|| format!("channels.{name}: no connector"))?;
        let limiter = RateLimiter::new(channel.pace(platform.pace()), replicas.clone());
        let channel = Channel {
            name: name.clone(),
            platform,
            bot_id: channel.bot_id.clone(),
            bots: channel.bots.clone(),
            enabled: channel.enabled,
            accept: channel.accept.clone(),
            secrets: channel.secrets.clone(),
            conversations: channel.conversations.clone(),
            replies: channel.replies.clone(),
            limiter,
            keep: settings.store.keep.0,
            key,
        };
        channels.insert(name.clone(), Arc::new(channel));
    }
    let rate = settings.fini.rate.0;
    let keys = secrets.into_iter().map(|secret| FiniKey {
        client: Arc::new(fini_client(settings, secret, http, clock)),
        budget: CallBudget::new(rate, secret, store.clone(), replicas),
        settle: settings.fini.settle.0,
        max_in_flight: usize::try_from(settings.fini.max_in_flight).unwrap_or(usize::MAX),
    });
    Ok((keys.collect(), channels))
}

pub fn fini_client(settings: &Settings, key: &Secret, http: &Http, clock: &Arc<dyn Clock>) -> fini::Client {
    fini::Client::new(http.clone(), &settings.fini.base_url, key.clone(), settings.fini.timeout.0, clock.clone())
}

fn retention(settings: &Settings) -> Retention {
    let give_up_after = settings.replies.give_up_after.0;
    let channels = settings.channels.iter();
    let own = channels.clone().map(|(name, channel)| (name.clone(), channel.replies.give_up_after.0));
    Retention {
        keep: settings.store.keep.0,
        forget: settings.store.forget.0,
        give_up_after,
        overrides: own.filter(|(_, own)| *own != give_up_after).collect(),
        active: channels.filter(|(_, channel)| channel.enabled).map(|(name, _)| name.clone()).collect(),
    }
}

/// Removes what is not to be kept any more, now and again and again.
async fn enforce(store: Arc<dyn Store>, retention: Retention, metrics: Arc<Metrics>) {
    let every = (retention.keep / OF_KEEP).clamp(ENFORCE_AT_MOST_EVERY, ENFORCE_AT_LEAST_EVERY);
    loop {
        match store.enforce_retention(&retention).await {
            Ok(removed) => {
                let Removed { expired, pruned, forgotten } = removed;
                for (step, number) in [("expired", expired), ("pruned", pruned), ("forgotten", forgotten)] {
                    metrics.retention(step, number);
                }
                if removed != Removed::default() {
                    tracing::info!(expired, pruned, forgotten, "old messages were removed");
                }
            }
            Err(error) => tracing::warn!(%error, "old messages can't be removed now"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Learns who we are on each platform; a platform that can't be reached keeps nothing from starting.
async fn prepare(platforms: Vec<Arc<dyn Platform>>) {
    loop {
        futures::future::join_all(platforms.iter().map(|platform| platform.prepare())).await;
        tokio::time::sleep(PREPARE_EVERY).await;
    }
}
