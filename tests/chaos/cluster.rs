//! The processes under test, what stands around them, and what is done to them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::database::{Pooler, Server, server};
use super::load::{Chat, Front, Load};
use super::support::balancer::{self, Balancer};
use super::support::fleet::free_address;
use super::support::outside::text_of;
use super::support::relay::{Relay, Weather};
use super::support::senders::CHANNELS;
use super::support::{FINI_KEYS, Process, World, eventually};
use super::wire::Wire;

const SHORT_TIMES: &str = "[conversations]\nburst = \"queue\"\nmax_turns = \"100000/1m\"\nmax_turns_per_sender = \"none\"\n[fini]\ntimeout = \"3s\"\nsettle = \"3s\"\n";

/// Where the replicas keep what they accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One process on one file.
    Sqlite,
    /// Three on one PostgreSQL.
    Postgres,
    /// The same through PgBouncer in transaction mode.
    Pgbouncer,
}

impl Kind {
    const fn replicas(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres | Self::Pgbouncer => 3,
        }
    }
}

/// What stands around the replicas.
#[derive(Default)]
pub struct Plan {
    /// Else the senders look for a replica that is there by themselves.
    pub behind: Option<balancer::Kind>,
    /// Databases of the scenario's own, the one to write to first; else the one that all scenarios share.
    pub servers: Vec<Arc<Server>>,
    pub environment: Vec<(&'static str, String)>,
}

impl Plan {
    pub fn behind_haproxy() -> Self {
        Self { behind: Some(balancer::Kind::Haproxy), ..Self::default() }
    }
}

pub struct Cluster {
    pub world: World,
    pub front: Front,
    /// Between the load balancer and each replica.
    pub roads: Vec<Relay>,
    /// Between the replicas and their database.
    pub wire: Option<Wire>,
    /// When something was done that may double a reply which has no key.
    pub accidents: Vec<Instant>,
    /// The shared store's name.
    pub database: Option<String>,
    replicas: Vec<Option<Process>>,
    addresses: Vec<SocketAddr>,
    environment: Vec<(&'static str, String)>,
    /// Of processes that are gone.
    logs: String,
    balancer: Option<Balancer>,
    _pooler: Option<Pooler>,
}

impl Cluster {
    pub async fn start(kind: Kind, plan: Plan) -> Self {
        let world = World::prepare(&format!("{SHORT_TIMES}{CHANNELS}")).await;
        let mut environment = plan.environment;
        let (mut wire, mut pooler, mut database) = (None, None, None);
        if kind != Kind::Sqlite {
            let first = match plan.servers.first() {
                Some(first) => first,
                None => server(),
            };
            let name = first.database().await;
            let hosts = if let [_, _, ..] = plan.servers.as_slice() {
                let hosts = plan.servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
                hosts.collect::<Vec<_>>().join(",")
            } else {
                if kind == Kind::Pgbouncer {
                    pooler = Some(Pooler::start(first, 20).await);
                }
                let port = pooler.as_ref().map_or(first.port, |pooler| pooler.port);
                wire.insert(Wire::start(port).await).address.to_string()
            };
            let pooled = if kind == Kind::Pgbouncer { "?pgbouncer=true" } else { "" };
            environment.push(("FINI_BRIDGE__STORE__URL", format!("postgres://postgres@{hosts}/{name}{pooled}")));
            database = Some(name);
        }
        let addresses: Vec<SocketAddr> = (0..kind.replicas()).map(|replica| free_address(40 + replica)).collect();
        let (mut roads, mut balancer) = (Vec::new(), None);
        if let Some(kind) = plan.behind {
            for address in &addresses {
                roads.push(Relay::start(*address, Weather::Clear).await);
            }
            let ends: Vec<SocketAddr> = roads.iter().map(|road| road.address).collect();
            balancer = Some(Balancer::start(kind, &ends).await);
        }
        let front = match &balancer {
            Some(balancer) => Front::balanced(balancer),
            None => Front::direct(world.http.clone(), &addresses),
        };
        let mut cluster = Self {
            world,
            front,
            roads,
            wire,
            accidents: Vec::new(),
            database,
            replicas: addresses.iter().map(|_| None).collect(),
            addresses,
            environment,
            logs: String::new(),
            balancer,
            _pooler: pooler,
        };
        for replica in 0..cluster.size() {
            cluster.serve(replica, &[]).await;
        }
        if cluster.balancer.is_some() {
            cluster.is_reached().await;
        }
        cluster
    }

    pub fn size(&self) -> usize {
        self.replicas.len()
    }

    pub async fn serve(&mut self, replica: usize, more: &[(&'static str, String)]) {
        let mut environment = self.environment.clone();
        environment.push(("FINI_BRIDGE__SERVER__LISTEN", self.addresses[replica].to_string()));
        // So that Fini's ledger tells who called.
        environment.push(("FINI_BRIDGE__FINI__API_KEY", FINI_KEYS[replica].to_owned()));
        environment.extend(more.iter().cloned());
        let process = Process::start_with(&self.world.config_path(), "info", &environment).await;
        if let Some(before) = self.replicas[replica].replace(process) {
            self.logs += &before.log();
        }
    }

    /// Behind a load balancer that has just been started: it has seen that replicas are there.
    async fn is_reached(&self) {
        eventually("the load balancer finds a replica", Duration::from_secs(10), async || self.front.is_open().await)
            .await;
    }

    pub fn process(&self, replica: usize) -> &Process {
        self.replicas[replica].as_ref().expect("the replica runs")
    }

    /// SIGKILL.
    pub fn kill(&mut self, replica: usize) {
        if let Some(mut process) = self.replicas[replica].take() {
            process.kill();
            self.logs += &process.log();
            self.accidents.push(Instant::now());
        }
    }

    /// SIGTERM, and its end in order.
    pub async fn terminate(&mut self, replica: usize) {
        self.process(replica).signal("-TERM");
        self.ended(replica).await;
    }

    pub async fn ended(&mut self, replica: usize) {
        let process = self.replicas[replica].as_mut().expect("the replica runs");
        eventually("the replica ends", Duration::from_secs(60), async || process.has_ended().then_some(())).await;
        if let Some(process) = self.replicas[replica].take() {
            self.logs += &process.log();
            assert_eq!(process.exited(Duration::ZERO).await.code(), Some(0));
        }
    }

    /// SIGSTOP, and SIGCONT when `meanwhile` is over: a replica that sleeps through its leases.
    pub async fn freeze(&mut self, replica: usize, meanwhile: Duration) {
        self.accidents.push(Instant::now());
        self.process(replica).signal("-STOP");
        tokio::time::sleep(meanwhile).await;
        self.process(replica).signal("-CONT");
        self.accidents.push(Instant::now());
    }

    /// Ends every connection to the shared store.
    pub async fn cut_off_database(&mut self) {
        if let Some(name) = &self.database {
            let client = server().connect("postgres").await;
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            client.execute(cut, &[name]).await.unwrap();
            self.accidents.push(Instant::now());
        }
    }

    /// Starts again what died by itself. True: something had.
    pub async fn revive(&mut self) -> bool {
        let mut died = false;
        for replica in 0..self.size() {
            if self.replicas[replica].as_mut().is_some_and(Process::has_ended) {
                died = true;
                self.accidents.push(Instant::now());
                self.serve(replica, &[]).await;
            }
        }
        died
    }

    /// Waits until every message is answered in its chat, or nothing has moved for long.
    pub async fn settled(&self, load: &Load) {
        let mut missing: HashSet<(Chat, u32)> = load.all().into_iter().collect();
        let (mut known, mut quiet_since) = (0, Instant::now());
        while !missing.is_empty() && quiet_since.elapsed() < Duration::from_secs(30) {
            let sent = self.world.outside.sent_after(known);
            if !sent.is_empty() {
                (known, quiet_since) = (known + sent.len(), Instant::now());
            }
            for call in &sent {
                for quoted in Chat::quoted(&text_of(call)) {
                    missing.remove(&quoted);
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Of all processes that there were.
    pub fn logs(&self) -> String {
        self.replicas.iter().flatten().map(Process::log).fold(self.logs.clone(), |logs, log| logs + &log)
    }
}
