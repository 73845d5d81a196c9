//! The processes under test, and those who talk to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::database::server;
use super::support::fleet::free_address;
use super::support::senders::{self, CHANNELS, Signed};
use super::support::{Process, World};

const SHORT_TIMES: &str =
    "[conversations]\nburst = \"queue\"\nmax_turns = \"100000/1m\"\n[fini]\ntimeout = \"3s\"\nsettle = \"3s\"\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chat {
    /// Replies carry an id: the receiver can tell a repeated one.
    Bridge(u32),
    /// Nothing tells a repeated reply.
    Telegram(u32),
}

impl Chat {
    pub fn text(self, number: u32) -> String {
        match self {
            Self::Bridge(chat) => format!("message {number} of bridge chat {chat}."),
            Self::Telegram(chat) => format!("message {number} of telegram chat {chat}."),
        }
    }

    pub fn id(self, number: u32) -> String {
        match self {
            Self::Bridge(chat) => format!("b{chat}-{number}"),
            Self::Telegram(chat) => format!("t{chat}-{number}"),
        }
    }

    fn webhook(self, number: u32) -> (&'static str, Signed) {
        match self {
            Self::Bridge(chat) => {
                ("bridge", senders::bridge_message(&format!("chat-{chat}."), &self.id(number), &self.text(number)))
            }
            Self::Telegram(chat) => {
                ("telegram", senders::telegram_message(900_000 + i64::from(chat), number, &self.text(number)))
            }
        }
    }
}

/// What was said, and what of it was acknowledged.
#[derive(Default)]
pub struct Load {
    said: BTreeMap<Chat, u32>,
    /// Not acknowledged yet: tried until it is.
    open: BTreeSet<(Chat, u32)>,
    pub refused: u64,
}

impl Load {
    /// The next message of a chat; its sender tries until it is acknowledged.
    pub async fn say(&mut self, cluster: &Cluster, chat: Chat) {
        let number = self.begin(chat);
        while !self.try_one(cluster, chat, number).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn begin(&mut self, chat: Chat) -> u32 {
        let said = self.said.entry(chat).or_default();
        *said += 1;
        self.open.insert((chat, *said));
        *said
    }

    async fn try_one(&mut self, cluster: &Cluster, chat: Chat, number: u32) -> bool {
        let (channel, signed) = chat.webhook(number);
        let taken = cluster.post(channel, signed).await;
        match taken {
            Some(200) => {
                self.open.remove(&(chat, number));
                return true;
            }
            Some(503) | None => {}
            Some(status) => panic!("a webhook got {status}"),
        }
        self.refused += 1;
        false
    }

    pub fn acknowledged(&self) -> u32 {
        self.said.values().sum()
    }

    pub fn all(&self) -> impl Iterator<Item = (Chat, u32)> + '_ {
        self.said.iter().flat_map(|(chat, said)| (1..=*said).map(|number| (*chat, number)))
    }
}

/// Where the replicas keep what they accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One process on one file.
    Sqlite,
    /// Three on one PostgreSQL.
    Postgres,
}

impl Kind {
    const fn replicas(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres => 3,
        }
    }
}

pub struct Cluster {
    pub world: World,
    /// The shared store's address.
    database: Option<String>,
    replicas: Vec<Option<Process>>,
    addresses: Vec<SocketAddr>,
    turn: AtomicUsize,
}

impl Cluster {
    pub async fn start(kind: Kind) -> Self {
        let world = World::prepare(&format!("{SHORT_TIMES}{CHANNELS}")).await;
        let database = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some(server().url(&server().database().await)),
        };
        let addresses: Vec<SocketAddr> = (0..kind.replicas()).map(|replica| free_address(40 + replica)).collect();
        let mut cluster = Self {
            world,
            database,
            replicas: addresses.iter().map(|_| None).collect(),
            addresses,
            turn: AtomicUsize::new(0),
        };
        for replica in 0..cluster.replicas.len() {
            cluster.start_replica(replica, &[]).await;
        }
        cluster
    }

    pub fn size(&self) -> usize {
        self.replicas.len()
    }

    pub async fn start_replica(&mut self, replica: usize, environment: &[(&str, &str)]) {
        let listen = self.addresses[replica].to_string();
        let mut environment = environment.to_vec();
        environment.push(("FINI_BRIDGE__SERVER__LISTEN", &listen));
        if let Some(url) = &self.database {
            environment.push(("FINI_BRIDGE__STORE__URL", url));
        }
        self.replicas[replica] = Some(Process::start_with(&self.world.config_path(), "info", &environment).await);
    }

    /// SIGSTOP, and SIGCONT when `back` is done: a replica that sleeps through its leases.
    pub fn signal(&self, replica: usize, name: &str) {
        if let Some(process) = &self.replicas[replica] {
            process.signal(name);
        }
    }

    /// Ends every connection to the shared store.
    pub async fn cut_off_database(&self) {
        if let Some(name) = self.database.as_ref().and_then(|url| url.rsplit('/').next()) {
            let client = server().connect("postgres").await;
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            client.execute(cut, &[&name]).await.unwrap();
        }
    }

    pub fn kill(&mut self, replica: usize) {
        if let Some(mut process) = self.replicas[replica].take() {
            process.kill();
        }
    }

    /// The status, or none where there was no answer.
    async fn post(&self, channel: &str, signed: Signed) -> Option<u16> {
        // Like a load balancer: another replica every time, and the next one where one doesn't answer.
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for number in 0..self.addresses.len() {
            let address = self.addresses[(first + number) % self.addresses.len()];
            let mut request =
                self.world.http.post(format!("http://{address}/webhooks/{channel}")).body(signed.body.clone());
            for (name, value) in &signed.headers {
                request = request.header(name, value);
            }
            if let Ok(answer) = request.timeout(Duration::from_secs(3)).send().await {
                return Some(answer.status().as_u16());
            }
        }
        None
    }

    /// Tries what is open until it is acknowledged, and starts again whatever dies meanwhile. True: something died.
    pub async fn push(&mut self, load: &mut Load, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut died = false;
        while Instant::now() < until && (!died || !load.open.is_empty()) {
            for (chat, number) in load.open.clone() {
                load.try_one(self, chat, number).await;
            }
            for replica in 0..self.replicas.len() {
                if self.replicas[replica].as_mut().is_some_and(Process::has_ended) {
                    died = true;
                    self.start_replica(replica, &[]).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        died
    }

    /// Waits until every acknowledged message is answered in its chat, or nothing has moved for long.
    pub async fn settled(&self, load: &Load) {
        let mut quiet_since = Instant::now();
        let mut before = 0;
        loop {
            let sent = self.world.outside.sent();
            let texts: String = sent.iter().map(|call| call.body.to_string()).collect();
            if load.all().all(|(chat, number)| texts.contains(&chat.text(number))) {
                return;
            }
            if sent.len() != before {
                (before, quiet_since) = (sent.len(), Instant::now());
            }
            if quiet_since.elapsed() > Duration::from_secs(25) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub fn logs(&self) -> String {
        self.replicas.iter().flatten().map(Process::log).collect()
    }
}
