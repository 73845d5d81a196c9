//! Several gateways on one configuration, at addresses that stay theirs over restarts, as behind a load balancer.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::{Process, World, eventually};

/// Where the replicas keep what they accept.
#[derive(Clone, Debug)]
pub enum Stores {
    /// A file each: enough to try what a load balancer does, where nothing has to be known by two of them.
    OfTheirOwn,
    /// One PostgreSQL for all.
    Shared(String),
}

pub struct Fleet {
    /// Its own gateway does not run.
    pub world: World,
    pub replicas: Vec<Replica>,
    stores: Stores,
    /// Of processes that have ended.
    logs: String,
}

pub struct Replica {
    pub address: SocketAddr,
    number: usize,
    process: Option<Process>,
}

/// An address that nobody uses. Not 127.0.0.1's: there a port may become that of an outgoing connection.
pub fn free_address(last: usize) -> SocketAddr {
    TcpListener::bind(format!("127.0.0.{last}:0")).unwrap().local_addr().unwrap()
}

impl Fleet {
    pub async fn start(size: usize, stores: Stores, channels: &str) -> Self {
        let database = match &stores {
            Stores::OfTheirOwn => None,
            Stores::Shared(url) => Some(url.clone()),
        };
        let world = World::prepare_on(database, channels).await;
        let replicas = (0..size).map(|number| Replica { address: free_address(10 + number), number, process: None });
        let mut fleet = Self { world, replicas: replicas.collect(), stores, logs: String::new() };
        for number in 0..size {
            fleet.serve(number).await;
        }
        fleet
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.address).collect()
    }

    pub async fn serve(&mut self, number: usize) {
        let config = self.world.config_path();
        let url = match &self.stores {
            Stores::OfTheirOwn => format!("sqlite:{}/replica-{number}.db", self.world.folder.path().display()),
            Stores::Shared(url) => url.clone(),
        };
        let replica = &mut self.replicas[number];
        let environment = [
            ("FINI_BRIDGE__SERVER__LISTEN", replica.address.to_string()),
            ("FINI_BRIDGE__SERVER__LAME_DUCK", "5s".to_owned()),
            ("FINI_BRIDGE__STORE__URL", url),
        ];
        replica.process = Some(Process::start_with(&config, "info", &environment).await);
    }

    pub fn process(&self, number: usize) -> &Process {
        self.replicas[number].process.as_ref().expect("the replica runs")
    }

    /// SIGTERM.
    pub fn terminate(&self, number: usize) {
        self.process(number).signal("-TERM");
    }

    /// Back again when it has ended in order.
    pub async fn back_again(&mut self, number: usize) {
        let mut process = self.replicas[number].process.take().unwrap();
        eventually("the replica ends", Duration::from_secs(60), async || process.has_ended().then_some(())).await;
        self.logs += &process.log();
        assert_eq!(process.exited(Duration::ZERO).await.code(), Some(0));
        self.serve(number).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self, number: usize) {
        let mut process = self.replicas[number].process.take().unwrap();
        process.kill();
        self.logs += &process.log();
    }

    /// How many webhooks the gateways themselves answered with 503.
    pub fn turned_away(&self) -> usize {
        let running = self.replicas.iter().filter_map(|replica| Some(replica.process.as_ref()?.log()));
        running.chain([self.logs.clone()]).map(|log| log.matches("\"store_unavailable\"").count()).sum()
    }

    /// What one of them counts, by the start of the metric's line.
    pub async fn counted(&self, number: usize, metric: &str) -> u64 {
        let metrics = format!("http://{}/metrics", self.process(number).admin);
        let text = self.world.http.get(metrics).send().await.unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(metric));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}
